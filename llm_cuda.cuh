/* llm_cuda.cuh: the table of operations for NVIDIA's GPUs

   llm.h defines every operation as a plain loop (chapter 4, plain_<op>); here stands the same mathematics, cuda_<op>, in
   the order of the table, arranged for a machine with a hundred processors and ten thousands of numbers in flight, whose
   memory is the bottleneck. Beside each kernel: the equation where it takes another shape, and who does what.

   build:  nvcc -x cu -std=c++20 -O3 -arch=sm_90 -c llm_cuda.cuh -o llm_cuda.o, and link it with a C program that was
           compiled with -DLLM_CUDA: `make train_gpt` does both where it finds nvcc.
   Without a GPU every kernel runs on the CPU, thread by thread, from this same text: test/cuda_on_cpu, `make test_cuda`.

   How a GPU works, as far as this file needs it.

       grid     blocks that run in any order, and share nothing but the GPU's memory
       block    up to 1024 threads on one of the processors. They share 48 to 227 KiB of fast memory (__shared__), and
                wait for one another at __syncthreads()
       warp     32 threads in step; a thread is a lane of its warp. They hand each other registers (__shfl)
       lane     at best neighbours read neighbouring addresses, 16 bytes each: then memory gives what it can

   A launch kernel<<<grid, block, shared bytes, stream>>>(...) returns at once; launches on one stream run in order.
   No sum depends on who comes first: either one thread adds in a fixed order, or a tree of a fixed shape does. So two
   runs give the same bits. Where atomics stand they add whole numbers, whose order does not matter.

   Numbers. A: how activations are stored, float (tables fp32, tf32) or bf16 (table bf16). The residual stream is float;
   its gradient too, in the bf16 table followed by a copy in bf16 that products read (dres_size 6). Statistics, logits
   of logprob_forward and _backward, gradients of parameters and moments are float, every sum is made in float. */

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "llm.h"

typedef __nv_bfloat16 bf16;
typedef unsigned long long u64;         /* as atomicAdd spells it */
#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")        /* loops over registers: an index must be known when compiling */

/* ---- the machine ---- */

static struct {
    cudaStream_t stream;                /* all work is on this one, in order */
    cublasLtHandle_t lt;
    void *workspace;                    /* for cuBLASLt: workspace_bytes */
    int processors, generation;         /* 8: A100, 9: H100 (the major number of its compute capability) */
    size_t shared_limit;                /* bytes of shared memory that a block may ask for */
    size_t memory;                      /* bytes that the GPU has */
    char name[256];
} gpu;

static const size_t workspace_bytes = 32 << 20;

/* What `enter` takes over from the table that is to run. tf32: products of floats round their factors to 10 bits. */
static struct { bool tf32; size_t head_rows; } running;

/* A CUDA call that must succeed. */
#define CUDA(call) cuda_must((call), #call, __LINE__)
static void cuda_must(cudaError_t e, const char *call, int line) {
    if (e != cudaSuccess) llm_die(NULL, "%s on %s (llm_cuda.cuh:%d: %s)", cudaGetErrorString(e), gpu.name, line, call);
}
/* Memory of the table's own, which grows when a step is larger than any before; one piece for each purpose. */
enum { ROOM_PRODUCTS, ROOM_HEAD, ROOM_PARTS, ROOM_ATTENTION, ROOM_WIDE, ROOM_SPEAK, ROOMS };
static struct { void *memory; size_t bytes; } room[ROOMS];

static void *room_for(int which, size_t bytes) {
    if (bytes > room[which].bytes) {
        CUDA(cudaStreamSynchronize(gpu.stream));                /* nobody uses the old one any more */
        CUDA(cudaFree(room[which].memory));
        room[which].memory = NULL;
        if (cudaMalloc(&room[which].memory, bytes) != cudaSuccess)
            llm_die("a smaller --batch, --seq or model, or --recompute", "out of memory: %.1f MB of scratch on %s",
                    bytes / 1e6, gpu.name);
        room[which].bytes = bytes;
    }
    return room[which].memory;
}
static inline unsigned blocks_for(size_t n, size_t each) { return (unsigned)((n + each - 1) / each); }

/* ---- 16 bytes at a time, and sums in a fixed order ---- */

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16 x) { return __bfloat162float(x); }
DEVICE void store(float *p, float x) { *p = x; }
DEVICE void store(bf16 *p, float x) { *p = __float2bfloat16_rn(x); }

/* Eight numbers from, and to, an address that is a multiple of 16 bytes. */
DEVICE void load8(float (&x)[8], const bf16 *p) {
    const uint4 v = *(const uint4 *)p;
    UNROLL for (int i = 0; i < 4; i++) {
        const float2 f = __bfloat1622float2(((const __nv_bfloat162 *)&v)[i]);
        x[2 * i] = f.x;
        x[2 * i + 1] = f.y;
    }
}
DEVICE void load8(float (&x)[8], const float *p) {
    const float4 a = ((const float4 *)p)[0], b = ((const float4 *)p)[1];
    x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
}
DEVICE void store8(bf16 *p, const float (&x)[8]) {
    uint4 v;
    UNROLL for (int i = 0; i < 4; i++) ((__nv_bfloat162 *)&v)[i] = __floats2bfloat162_rn(x[2 * i], x[2 * i + 1]);
    *(uint4 *)p = v;
}
DEVICE void store8(float *p, const float (&x)[8]) {
    ((float4 *)p)[0] = make_float4(x[0], x[1], x[2], x[3]);
    ((float4 *)p)[1] = make_float4(x[4], x[5], x[6], x[7]);
}
/* The same near the end of a row, or where rows are not a multiple of 8 numbers (wide false): number by number; what is
   beyond `left` numbers is 0, and not written. */
template <class X> DEVICE void load_up_to_8(float (&x)[8], const X *p, int left, bool wide) {
    if (wide && left >= 8) load8(x, p);
    else UNROLL for (int i = 0; i < 8; i++) x[i] = i < left ? to_float(p[i]) : 0;
}
template <class X> DEVICE void store_up_to_8(X *p, const float (&x)[8], int left, bool wide) {
    if (wide && left >= 8) store8(p, x);
    else UNROLL for (int i = 0; i < 8; i++) if (i < left) store(p + i, x[i]);
}
/* Over a warp: lanes exchange with the one 16, 8, 4, 2, 1 places away; all end with the same sum. */
DEVICE float warp_sum(float x) {
    UNROLL for (int d = 16; d; d /= 2) x += __shfl_xor_sync(~0u, x, d);
    return x;
}
DEVICE float warp_max(float x) {
    UNROLL for (int d = 16; d; d /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, d));
    return x;
}
/* Over a block whose threads are a multiple of 32; two barriers. */
DEVICE float block_sum(float x) {
    __shared__ float part[32];
    const int warps = blockDim.x / 32;
    x = warp_sum(x);
    __syncthreads();                    /* the last call's readers are done */
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    return warp_sum((int)threadIdx.x % 32 < warps ? part[threadIdx.x % 32] : 0);
}
DEVICE float block_max(float x) {
    __shared__ float part[32];
    const int warps = blockDim.x / 32;
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    return warp_max((int)threadIdx.x % 32 < warps ? part[threadIdx.x % 32] : -INFINITY);
}
/* to[c] (=|+=) the sum over rows of part (rows, n), in order: how blocks that each have a part of a sum end it. */
__global__ void __launch_bounds__(128) gather_kernel(float *to, const float *part, int rows, int n, bool accumulate) {
    const int c = blockIdx.x * 128 + threadIdx.x;
    if (c >= n) return;
    float sum = accumulate ? to[c] : 0;
    for (int r = 0; r < rows; r++) sum += part[(size_t)r * n + c];
    to[c] = sum;
}
template <class A> constexpr bool in_bf16() { return sizeof(A) == 2; }
/* The residual stream's gradient as products read it: itself, or the bf16 copy that lies behind it. */
template <class A> static inline A *dres_for_products(const llm_res *dres, size_t N, size_t C) {
    return in_bf16<A>() ? (A *)((float *)dres + N * C) : (A *)dres;
}

/* ================================================================================================================
   Memory
   ================================================================================================================ */

/* Copies between host and GPU run beside the host's own work only from pinned memory, which the GPU reads by itself. So
   what is sent is copied into a pinned buffer first (then the caller may change it at once), what is fetched arrives in
   one and is handed over by wait. Two halves take turns: one is filled while copies out of the other are under way. */
static const size_t STAGE = 4 << 20;    /* bytes of a half */
static struct {
    char *up[2], *down;                 /* pinned; down (STAGE) */
    cudaEvent_t sent[2];                /* all copies out of this half are done */
    int half;
    size_t used, fetched;               /* bytes of the half that is being filled; of down */
    struct { void *host; size_t at, bytes; } fetch[256];
    int fetches;                        /* that were asked for since the last wait */
} stage;

static void *cuda_alloc(size_t bytes) {
    void *p = NULL;
    if (cudaMalloc(&p, bytes + (bytes == 0)) != cudaSuccess) {
        cudaGetLastError();             /* it is told by NULL */
        return NULL;
    }
    CUDA(cudaMemsetAsync(p, 0, bytes, gpu.stream));
    return p;
}
static void cuda_release(void *device) {
    CUDA(cudaStreamSynchronize(gpu.stream));
    CUDA(cudaFree(device));
}
/* Room for `bytes` of at most a half, once nothing is under way from there. */
static char *stage_room(size_t bytes) {
    if (stage.used + bytes > STAGE) {
        CUDA(cudaEventRecord(stage.sent[stage.half], gpu.stream));
        stage.half = !stage.half;
        stage.used = 0;
        CUDA(cudaEventSynchronize(stage.sent[stage.half]));
    }
    char *room = stage.up[stage.half] + stage.used;
    stage.used += bytes;
    return room;
}
static void cuda_upload(void *device, const void *host, size_t bytes) {
    for (size_t at = 0; at < bytes; at += STAGE) {
        const size_t n = bytes - at < STAGE ? bytes - at : STAGE;
        char *room = stage_room(n);
        memcpy(room, (const char *)host + at, n);
        CUDA(cudaMemcpyAsync((char *)device + at, room, n, cudaMemcpyHostToDevice, gpu.stream));
    }
}
static void cuda_wait(void) {
    CUDA(cudaGetLastError());           /* a launch that was refused */
    CUDA(cudaStreamSynchronize(gpu.stream));
    for (int i = 0; i < stage.fetches; i++)
        memcpy(stage.fetch[i].host, stage.down + stage.fetch[i].at, stage.fetch[i].bytes);
    stage.fetches = 0;
    stage.fetched = 0;
}
static void cuda_download(void *host, const void *device, size_t bytes) {
    CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, gpu.stream));
    cuda_wait();
}
static void cuda_fetch(void *host, const void *device, size_t bytes) {
    if (bytes > STAGE) {
        cuda_download(host, device, bytes);
        return;
    }
    if (stage.fetched + bytes > STAGE || stage.fetches == 256) cuda_wait();
    stage.fetch[stage.fetches].host = host;
    stage.fetch[stage.fetches].at = stage.fetched;
    stage.fetch[stage.fetches++].bytes = bytes;
    CUDA(cudaMemcpyAsync(stage.down + stage.fetched, device, bytes, cudaMemcpyDeviceToHost, gpu.stream));
    stage.fetched += bytes;
}

/* Who looked up which row of the embedding: what its backward pass (embed_backward) adds up, in a fixed order and
   without atomics. load_ids sorts on the host, while the GPU is busy with what was asked before. The places 0 .. N-1
   lie by row, in order within a row, cut into runs of at most RUN places, so that a frequent word is the work of many
   blocks:

       tokens  7 2 7 7 2 5, RUN 2      place  0 2 | 3 | 1 4 | 5       run r: place[run[r]] .. place[run[r+1] - 1]
                                       row    7     7   2     5       of the table, for each run

   Rows that need several runs come first: runs 0 .. shared-1, whose sums are added up in a second step; each later run
   is all of its row. One order for tokens and one for positions, one behind the other in llm_ids.own. */
enum { RUN = 256, ORDER_BYTES = 2 * 3 * sizeof(int) };          /* ... of llm_ids.own for each token, and once more */
struct cuda_order {
    const int *count;                   /* [2] on the GPU: runs; shared, those of rows with several */
    const int *place, *run, *row;       /* [N], [runs + 1], [runs] */
};
static cuda_order order_in(const void *own, size_t N, int which) {      /* 0: tokens, 1: positions */
    const int *at = (const int *)own + which * (3 * N + 3);
    return {at, at + 2, at + 2 + N, at + 3 + 2 * N};
}
/* Bounds for launches, since the counts themselves are on the GPU: of all runs, for a table of `rows` rows, and of the
   shared ones, of which at least every second is full. */
static inline size_t runs_at_most(size_t N, size_t rows) { return N / RUN + (N < rows ? N : rows); }
static inline size_t shared_at_most(size_t N) { return 2 * N / RUN; }

/* A counting sort of places by id. order: 3 N + 3 ints. */
static void order_sort(int *order, const int *id, int N) {
    int most = 0, runs = 0, filled = 0, *place = order + 2, *run = place + N, *row = run + N + 1;
    for (int n = 0; n < N; n++) most = id[n] > most ? id[n] : most;
    int *times = (int *)llm_alloc(2 * ((size_t)most + 1), sizeof *times), *next = times + most + 1;
    for (int n = 0; n < N; n++) times[id[n]]++;
    for (int pass = 0; pass < 2; pass++) {                      /* rows with several runs, then those with one */
        for (int v = 0; v <= most; v++) {
            if (!times[v] || (times[v] > RUN) != (pass == 0)) continue;
            next[v] = filled;
            for (int i = 0; i < times[v]; i += RUN) run[runs] = filled + i, row[runs++] = v;
            filled += times[v];
        }
        order[1 - pass] = runs;
    }
    run[runs] = N;
    for (int n = 0; n < N; n++) place[next[id[n]]++] = n;
    llm_release(times);
}
static void cuda_load_ids(llm_ids *ids, const llm_batch *b) {
    const size_t N = llm_places(b);
    cuda_upload(ids->tokens, b->tokens, N * sizeof(int));
    cuda_upload(ids->targets, b->targets, N * sizeof(int));
    cuda_upload(ids->positions, b->positions, N * sizeof(int));
    cuda_upload(ids->start, b->start, N * sizeof(int));
    if (!ids->own) return;
    int *order = (int *)llm_alloc(N + 1, ORDER_BYTES);
    order_sort(order, b->tokens, (int)N);
    order_sort(order + 3 * N + 3, b->positions, (int)N);
    cuda_upload(ids->own, order, (N + 1) * ORDER_BYTES);
    llm_release(order);
}

/* Master weights to bf16, a thread for each 8. */
__global__ void __launch_bounds__(256) store_weights_kernel(bf16 *to, const float *from, size_t n, bool wide) {
    const size_t i = ((size_t)blockIdx.x * 256 + threadIdx.x) * 8;
    if (i >= n) return;
    const int left = n - i < 8 ? (int)(n - i) : 8;
    float x[8];
    load_up_to_8(x, from + i, left, wide);
    store_up_to_8(to + i, x, left, wide);
}
/* Do rows of n numbers, and all of these pointers, lie at multiples of 16 bytes? Then lanes take 8 numbers at a time. */
static inline bool all_wide(size_t n, const void *a, const void *b = NULL, const void *c = NULL) {
    return n % 8 == 0 && ((uintptr_t)a | (uintptr_t)b | (uintptr_t)c) % 16 == 0;
}
static void cuda_store_weights(void *to, const llm_real *w, size_t n) {
    if (!n) return;
    store_weights_kernel<<<blocks_for(n, 2048), 256, 0, gpu.stream>>>((bf16 *)to, w, n, all_wide(0, to, w));
}

/* ================================================================================================================
   Embedding
   ================================================================================================================ */

/* ================================================================================================================
   Norms
   ================================================================================================================ */

/* ================================================================================================================
   Products: linear, residual, LoRA
   ================================================================================================================ */

/* ================================================================================================================
   Rotary positions and activations
   ================================================================================================================ */

/* ================================================================================================================
   Attention
   ================================================================================================================ */

/* ================================================================================================================
   The head and the value
   ================================================================================================================ */

/* ================================================================================================================
   Learning
   ================================================================================================================ */

/* ================================================================================================================
   Speaking
   ================================================================================================================ */

/* ================================================================================================================
   The table
   ================================================================================================================ */

/* GPUs that this file has code for (sm_80, Ampere, and later). text: their first, or why there is none. */
extern "C" int llm_cuda_devices(char *text, size_t size) {
    int all = 0, count = 0;
    const cudaError_t e = cudaGetDeviceCount(&all);
    snprintf(text, size, "%s", e != cudaSuccess ? cudaGetErrorString(e) : "no GPU answers");
    cudaGetLastError();
    for (int i = e == cudaSuccess ? all - 1 : -1; i >= 0; i--) {
        cudaDeviceProp p;
        CUDA(cudaGetDeviceProperties(&p, i));
        if (p.major >= 8) count++;
        if (p.major >= 8) snprintf(text, size, "%s, %.1f GB", p.name, p.totalGlobalMem / 1e9);
        else if (!count) snprintf(text, size, "%s is of sm_%d%d; sm_80 or later is needed", p.name, p.major, p.minor);
    }
    return count;
}
/* The first such GPU: its stream, its cuBLASLt, its sizes. */
static void cuda_open(void) {
    char text[400];
    if (!llm_cuda_devices(text, sizeof text)) llm_die("--device cpu", "there is no GPU to compute on: %s", text);
    cudaDeviceProp p;
    int device = 0;
    for (CUDA(cudaGetDeviceProperties(&p, 0)); p.major < 8;) CUDA(cudaGetDeviceProperties(&p, ++device));
    CUDA(cudaSetDevice(device));
    memcpy(gpu.name, p.name, sizeof gpu.name);
    gpu.processors = p.multiProcessorCount;
    gpu.generation = p.major;
    gpu.shared_limit = p.sharedMemPerBlockOptin;
    gpu.memory = p.totalGlobalMem;
    CUDA(cudaStreamCreateWithFlags(&gpu.stream, cudaStreamNonBlocking));
    if (cublasLtCreate(&gpu.lt) != CUBLAS_STATUS_SUCCESS)
        llm_die("--device cpu", "cuBLASLt does not start on %s", gpu.name);
    CUDA(cudaMalloc(&gpu.workspace, workspace_bytes));
    for (int i = 0; i < 2; i++) {
        CUDA(cudaMallocHost(&stage.up[i], STAGE));
        CUDA(cudaEventCreateWithFlags(&stage.sent[i], cudaEventDisableTiming));
    }
    CUDA(cudaMallocHost(&stage.down, STAGE));
}
/* Rows of logits at a time: 8192 fill the largest GPU; as floats of 131072 words they may take an eighth of memory. */
static size_t head_rows_for(size_t memory) {
    size_t rows = 8192;
    while (rows > 64 && rows * 131072 * sizeof(float) > memory / 8) rows /= 2;
    return rows;
}
static void cuda_enter(const llm_ops *ops) {
    running.tf32 = false;               /* TODO: ops->precision == LLM_TF32, once llm.h has it */
    running.head_rows = ops->head_rows;
}

template <class A> static llm_ops cuda_table(llm_precision precision) {
    return {
        .name = "cuda",
        .precision = precision,
        .act_size = sizeof(A),
        .res_size = sizeof(float),
        .dres_size = in_bf16<A>() ? 6 : 4,
        .ids_size = ORDER_BYTES,
        .head_rows = head_rows_for(gpu.memory),
        .speakers = 128,

        .alloc = cuda_alloc,
        .release = cuda_release,
        .upload = cuda_upload,
        .download = cuda_download,
        .fetch = cuda_fetch,
        .wait = cuda_wait,
        .load_ids = cuda_load_ids,
        .store_weights = cuda_store_weights,

        /* Embedding */
        /* Norms */
        /* Products: linear, residual, LoRA */
        /* Rotary positions */
        /* Attention */
        /* gelu, swiglu */
        /* The head and the value */
        /* Learning */
        /* Speaking: cache_attention, cache_copy */

        .enter = cuda_enter,
        /* logprob_fused, linear_gelu_forward, residual_gelu_backward, decode, speak, scratch_bytes */
    };
}
/* The table for a precision, made when it is first asked for; the GPU is then opened. */
extern "C" const llm_ops *llm_cuda(llm_precision p) {
    static llm_ops table[LLM_BF16 + 1];
    if (p == LLM_BF16X3) llm_die("--precision bf16, or fp32", "bf16x3 is how a CPU with AMX multiplies fp32");
    if (!gpu.stream) cuda_open();
    if (!table[p].name) table[p] = p == LLM_BF16 ? cuda_table<bf16>(p) : cuda_table<float>(p);
    return &table[p];
}
