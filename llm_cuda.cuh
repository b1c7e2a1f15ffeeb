/* llm_cuda.cuh: the table of operations for NVIDIA's GPUs

   llm.h defines every operation as a plain loop (chapter 4, plain_<op>); here stands the same mathematics, cuda_<op>,
   in the order of the table, arranged for a machine with a hundred processors and ten thousands of numbers in flight,
   whose memory is the bottleneck. Beside each kernel: the equation where it takes another shape, and who does what.

   build:  nvcc -x cu -std=c++20 -O3 -gencode arch=compute_80,code=sm_80
                -gencode arch=compute_90,code=[sm_90,compute_90] -c llm_cuda.cuh -o llm_cuda.o      (CUDA 12 or later)
           and link it, -lcudart, -lcublasLt with a C program compiled with -DLLM_CUDA: `make train_gpt` does all that.
   Without a GPU every kernel runs on the CPU, thread by thread, from this same text: test/cuda_on_cpu, make test_cuda.

   How a GPU works, as far as this file needs it.

       kernel   a function (KERNEL) that the host launches, and the GPU runs in each thread of a grid. DEVICE: one that
                kernels call. A thread finds its share by blockIdx (which block, of gridDim) and threadIdx (which
                thread, of blockDim), each .x .y .z
       grid     blocks that run in any order, and share nothing but the GPU's memory
       block    up to 1024 threads on one of the processors. They share 48 to 227 KiB of fast memory (__shared__), and
                wait for one another at __syncthreads(), a barrier. KERNEL(t, b): at most t threads a block, and b
                blocks should fit a processor, which rations their registers
       warp     32 threads in step; lane = threadIdx.x % 32. They exchange registers (__shfl...; ~0u: all take part)
       memory   neighbouring lanes should read neighbouring addresses, 16 bytes each: one transfer serves the warp.
                `wide` says that rows are multiples of 8 numbers, so that 16 bytes at a time are allowed
       pinned   host memory that the system may not move: the GPU copies from it by itself

   A launch kernel<<<grid, block, shared bytes, stream>>>(...) returns at once; launches on one stream run in order.
   No sum depends on who comes first: either one thread adds in a fixed order, or a tree of a fixed shape does. So two
   runs give the same bits. (The shape follows the number of rows and the GPU: the same row beside others may be rounded
   otherwise.) Atomics add whole numbers only, whose order does not matter.

   Numbers. A: how activations are stored, float (tables fp32, tf32) or bf16 (table bf16). The residual stream is float;
   its gradient too, in the bf16 table followed by a copy in bf16 that products read (dres_size: 4 + 2 bytes a number).
   Statistics, logits of logprob_forward and _backward, gradients of parameters and moments are float, every sum is made
   in float. x' is x transposed, `turned` in code. Of C++: templates (a text compiled for each type or number in <>),
   references, lambdas. */

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef LLM_NCCL
#include <nccl.h>
#include <unistd.h>
#endif
#include "llm.h"
#ifdef LLM_NCCL
#include "tools/torchrun.h"
#endif

typedef __nv_bfloat16 bf16;
typedef unsigned long long u64;
#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")        /* registers have no addresses: an index must be known when compiling */

/* ---- the machine ---- */

static struct {
    cudaStream_t stream;                /* all work is on this one, in order */
    cublasLtHandle_t lt;
    void *workspace;                    /* for cuBLASLt: workspace_bytes */
    int processors, generation;         /* 8: A100, 9: H100 (the major number of its compute capability) */
    size_t shared_limit;                /* bytes of shared memory that a block may ask for */
    size_t memory, unused;              /* bytes that the GPU has; that were free when it was opened */
    int local;                          /* of several processes on this machine: this one, and so which of the GPUs */
    void (*watch)(cudaStream_t s);      /* many ranks: waits for s and sees when one is lost; NULL: alone */
    char name[256];
} gpu;

static const size_t workspace_bytes = 32 << 20;

static llm_ops running;                 /* a copy of the table that is to run, by `enter` */

/* A CUDA call that must succeed. */
#define CUDA(call) cuda_must((call), #call, __LINE__)
static void cuda_must(cudaError_t e, const char *call, int line) {
    if (e != cudaSuccess) llm_die(NULL, "%s on %s (llm_cuda.cuh:%d: %s)", cudaGetErrorString(e), gpu.name, line, call);
}
/* The stream for a launch; dies where the one before was refused, and says in which function that stands. */
#define STREAM launch_from(__func__)
static cudaStream_t launch_from(const char *function) {
    static const char *before = "";
    const cudaError_t e = cudaGetLastError();
    if (e != cudaSuccess) llm_die(NULL, "%s on %s: a launch of %s", cudaGetErrorString(e), gpu.name, before);
    before = function;
    return gpu.stream;
}
/* Scratch memory, which grows when a step is larger than any before. A room is good until the next room_for of it: the
   stream runs in order, so a launch is done with it before the next one's begins. HEAD: logits, and their rows of
   hidden; a dbias that is to be added. PARTS: parts of sums; small matrices widened. WIDE: a large one. ATTENTION:
   of_query; parts in speaking. SPEAK: gpu_speech. LEARNING: learners. */
enum { ROOM_HEAD, ROOM_PARTS, ROOM_WIDE, ROOM_ATTENTION, ROOM_SPEAK, ROOM_LEARNING, ROOMS };
static struct { void *memory; size_t bytes; } room[ROOMS];

static void *room_for(int which, size_t bytes) {
    if (bytes > room[which].bytes) {
        CUDA(cudaStreamSynchronize(gpu.stream));    /* nobody uses the old one any more; refused while recording */
        CUDA(cudaFree(room[which].memory));
        room[which] = {};                                       /* who catches a death finds it empty */
        if (cudaMalloc(&room[which].memory, bytes) != cudaSuccess) {
            cudaGetLastError();                                 /* told here, not again by the next wait */
            llm_die("a smaller --batch, --seq or model, or --recompute", "out of memory: %.1f MB of scratch on %s",
                    bytes / 1e6, gpu.name);
        }
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

/* Eight numbers from, and to, an address that is a multiple of 16 bytes (as where tensors begin: llm.h's table_add). */
DEVICE void load8(float (&x)[8], const bf16 *p) {
    const uint4 v = *(const uint4 *)p;
    UNROLL for (int i = 0; i < 4; i++) {
        const float2 f = __bfloat1622float2(((const __nv_bfloat162 *)&v)[i]);
        x[2 * i] = f.x, x[2 * i + 1] = f.y;
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
/* The same near the end of a row, or where rows are not wide: number by number; what is beyond `left` numbers is 0, and
   not written (left <= 0: all). */
template <class X> DEVICE void load_up_to_8(float (&x)[8], const X *p, int left, bool wide) {
    if (wide && left >= 8) load8(x, p);
    else { UNROLL for (int i = 0; i < 8; i++) x[i] = i < left ? to_float(p[i]) : 0; }
}
template <class X> DEVICE void store_up_to_8(X *p, const float (&x)[8], int left, bool wide) {
    if (wide && left >= 8) store8(p, x);
    else { UNROLL for (int i = 0; i < 8; i++) if (i < left) store(p + i, x[i]); }
}
/* Over a warp (or LANES neighbours in it): lanes exchange with the one 16, 8, 4, 2, 1 away; all get the same sum. */
template <int LANES = 32, class X> DEVICE X warp_sum(X x) {
    UNROLL for (int d = LANES / 2; d; d /= 2) x += __shfl_xor_sync(~0u, x, d);
    return x;
}
template <int LANES = 32> DEVICE float warp_max(float x) {
    UNROLL for (int d = LANES / 2; d; d /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, d));
    return x;
}
/* Over a block whose threads are a multiple of 32: join joins a warp's; each warp then joins the results of all warps,
   so that every thread has it. none: in the place of a warp that this block does not have. */
template <class X, class J> DEVICE X block_join(X x, X none, J join) {
    __shared__ X part[32];
    x = join(x);
    __syncthreads();                    /* the last call's readers are done */
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    return join(threadIdx.x % 32 < blockDim.x / 32 ? part[threadIdx.x % 32] : none);
}
template <class X> DEVICE X block_sum(X x) { return block_join(x, (X)0, [](X y) { return warp_sum(y); }); }
DEVICE float block_max(float x) { return block_join(x, -INFINITY, [](float y) { return warp_max(y); }); }
/* Is this block the last of n that come here? Then it sees what the others wrote before. count: 0 before and after. */
DEVICE bool last_of(int n, int *count) {
    __shared__ bool last;
    __threadfence();                    /* what this thread wrote is seen before its block is counted */
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(count, 1) == n - 1;
        if (last) *count = 0;
    }
    __syncthreads();
    __threadfence();
    return last;
}
/* How a sum over many rows ends. Each block has added up some of them, and left its sum, a row of n numbers, in `part`.
   These are added in two rounds, by whichever block finishes last, but always in the order of the blocks:

       part          0 1 .. 15 | 16 .. 31 | ..       a row for each block
       groups            0     |    1     | ..       of NEIGHBOURS; the last block of a group adds its rows into one
       to, second              sum                   the last of those blocks adds the groups' rows

   Columns 0 .. half-1 go to `to`, the others to `second`; NULL: dropped. */
enum { NEIGHBOURS = 16, SUM_BLOCKS = 1024 };                    /* SUM_BLOCKS: of a launch, at most */
__device__ int sum_done[1 + SUM_BLOCKS / NEIGHBOURS];           /* counts: groups; the blocks of each */

/* Column c of rows that other blocks have written (__ldcg: not from an older copy); eight reads are under way. */
DEVICE float column_sum(const float *part, int rows, int n, int c) {
    float sum[8] = {}, all = 0;
    for (int r = 0; r < rows; r += 8)
        UNROLL for (int j = 0; j < 8; j++) sum[j] += r + j < rows ? __ldcg(part + (size_t)(r + j) * n + c) : 0;
    UNROLL for (int j = 0; j < 8; j++) all += sum[j];
    return all;
}
DEVICE void sum_parts(float *to, float *second, float *part, int half, int n, bool accumulate) {
    const int group = blockIdx.x / NEIGHBOURS, first = group * NEIGHBOURS;
    const int rows = min((int)NEIGHBOURS, (int)gridDim.x - first), groups = (gridDim.x + NEIGHBOURS - 1) / NEIGHBOURS;
    float *sums = part + (size_t)gridDim.x * n;                 /* behind them: a row for each group */
    if (!last_of(rows, &sum_done[1 + group])) return;
    for (int c = threadIdx.x; c < n; c += blockDim.x)
        sums[(size_t)group * n + c] = column_sum(part + (size_t)first * n, rows, n, c);
    if (!last_of(groups, &sum_done[0])) return;
    for (int c = threadIdx.x; c < n; c += blockDim.x) {
        float *x = c < half ? to : second;
        if (x) x[c % half] = (accumulate ? x[c % half] : 0) + column_sum(sums, groups, n, c);
    }
}
static unsigned sum_blocks(size_t most) { return min((unsigned)min(most, (size_t)SUM_BLOCKS), 4u * gpu.processors); }
static size_t sum_rows(unsigned blocks) { return blocks + blocks_for(blocks, NEIGHBOURS); }     /* of part */

/* How a kernel begins, and a row of the table that has activations. */
#define KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)
#define ROW template <class A> static void
template <class A> constexpr bool in_bf16() { return sizeof(A) == 2; }
/* The residual stream's gradient as products read it: itself, or the bf16 copy that lies behind it. */
template <class A> static inline A *dres_for_products(const llm_res *dres, size_t N, size_t C) {
    return in_bf16<A>() ? (A *)((float *)dres + N * C) : (A *)dres;
}

/* ---- weights in fewer bits: eight numbers from column i on (a multiple of 8) of row `row` ----

   q8: an int8 each. q4: byte b of a block of 32 has number b in its low half and b + 16 in its high half, plus 8. Both
   times their block's scale, an f16. */
DEVICE void load_weights(float (&x)[8], llm_weight w, size_t row, int i, int cols) {
    const size_t at = row * cols + i, block = row * ((cols + 31) / 32) + i / 32;
    const bool wide = cols % 8 == 0 && (uintptr_t)w.data % 16 == 0, q8 = w.type == LLM_TYPE_Q8;
    if (w.type == LLM_TYPE_REAL) load_up_to_8(x, (const float *)w.data + at, cols - i, wide);
    else if (w.type == LLM_TYPE_BF16) load_up_to_8(x, (const bf16 *)w.data + at, cols - i, wide);
    else {
        const float scale = __half2float(__ushort_as_half(w.scale[block]));
        const uint8_t *p = (const uint8_t *)w.data + (q8 ? at : block * 16 + i % 16);
        uint2 bits = {0, 0};
        if (!q8 || wide) bits = *(const uint2 *)p;              /* q4's blocks are padded */
        else {
            UNROLL for (int j = 0; j < 8; j++)
                if (i + j < cols) (j < 4 ? bits.x : bits.y) |= (uint32_t)p[j] << j % 4 * 8;
        }
        UNROLL for (int j = 0; j < 8; j++) {
            const int byte = (j < 4 ? bits.x : bits.y) >> j % 4 * 8 & 255;
            x[j] = scale * (q8 ? (int8_t)byte : (i % 32 < 16 ? byte & 15 : byte >> 4) - 8);
        }
    }
}

/* to (rows, cols) = w, a thread for 8 numbers; up to `padded` rows, those that w does not have are 0. */
template <class A> KERNEL(256) widen_kernel(A *to, llm_weight w, size_t rows, size_t padded, int cols, bool wide) {
    const size_t each = (cols + 7) / 8, t = (size_t)blockIdx.x * 256 + threadIdx.x, row = t / each;
    const int i = (int)(t % each) * 8;
    float x[8] = {};
    if (row < rows) load_weights(x, w, row, i, cols);
    if (row < padded) store_up_to_8(to + row * cols + i, x, cols - i, wide);
}
/* wide: do rows of n numbers, and all of these pointers, lie at multiples of 16 bytes? n 0: one long row. */
static inline bool all_wide(size_t n, const void *a, const void *b = NULL, const void *c = NULL) {
    return n % 8 == 0 && ((uintptr_t)a | (uintptr_t)b | (uintptr_t)c) % 16 == 0;
}
template <class A> static void widen(A *to, llm_weight w, size_t rows, size_t cols, size_t padded = 0) {
    padded = max(rows, padded);
    const unsigned blocks = blocks_for(padded * ((cols + 7) / 8), 256);
    if (blocks) widen_kernel<A><<<blocks, 256, 0, STREAM>>>(to, w, rows, padded, (int)cols, all_wide(cols, to));
}

/* ================================================================================================================
   Memory
   ================================================================================================================ */

/* Copies between host and GPU run beside the host's own work only from pinned memory. So what is sent is copied into a
   pinned buffer first (then the caller may change it at once); what is fetched arrives in another, and cuda_wait hands
   it over (more than STAGE bytes: at once). Of the first, two halves take turns: one is filled while copies out of the
   other are under way. */
static const size_t STAGE = 4 << 20;    /* bytes of a half */
static struct {
    char *up[2], *down;                 /* pinned; down (STAGE) */
    cudaEvent_t sent[2];                /* marks in the stream: all copies out of this half are done */
    int half;
    size_t used, fetched;               /* bytes of the half that is being filled; of down */
    struct { void *host; size_t at, bytes; } fetch[256];
    int fetches;                        /* that were asked for since the last wait */
} stage;

/* HOST: the host's own memory, pinned, which kernels read and write at the same address, over PCIe: 25 to 55 GB/s each
   way if whole lines are asked for once, as AdamW's warps do (8 bytes a parameter each way, 4 with moments16). */
template <bool HOST> static void *cuda_alloc(size_t bytes) {
    void *p = NULL;
    const size_t some = bytes + (bytes == 0);
    if ((HOST ? cudaHostAlloc(&p, some, cudaHostAllocMapped) : cudaMalloc(&p, some)) != cudaSuccess) {
        cudaGetLastError();             /* cleared: the caller sees NULL */
        return NULL;
    }
    CUDA(cudaMemsetAsync(p, 0, bytes, gpu.stream));
    return p;
}
static void cuda_release(void *p) {
    cudaPointerAttributes a;
    CUDA(cudaPointerGetAttributes(&a, p));
    CUDA(cudaStreamSynchronize(gpu.stream));
    CUDA(a.type == cudaMemoryTypeHost ? cudaFreeHost(p) : cudaFree(p));
}
static void cuda_upload(void *device, const void *host, size_t bytes) {
    for (size_t at = 0, n; at < bytes; at += n) {
        n = min(STAGE, bytes - at);
        if (stage.used + n > STAGE) {                      /* the other half, once nothing is under way from there */
            stage.half = !stage.half;
            stage.used = 0;
            CUDA(cudaEventSynchronize(stage.sent[stage.half]));         /* at once, if never recorded */
        }
        char *room = stage.up[stage.half] + stage.used;
        memcpy(room, (const char *)host + at, n);
        CUDA(cudaMemcpyAsync((char *)device + at, room, n, cudaMemcpyDefault, gpu.stream));
        CUDA(cudaEventRecord(stage.sent[stage.half], gpu.stream));
        stage.used += n;
    }
}
static void cuda_wait(void) {
    const int fetches = stage.fetches;
    stage.fetches = 0, stage.fetched = 0;                       /* also for who catches a death of what follows */
    if (gpu.watch) gpu.watch(STREAM);
    CUDA(cudaStreamSynchronize(STREAM));
    for (int i = 0; i < fetches; i++)
        memcpy(stage.fetch[i].host, stage.down + stage.fetch[i].at, stage.fetch[i].bytes);
}
static void cuda_download(void *host, const void *device, size_t bytes) {
    CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDefault, gpu.stream));
    cuda_wait();
}
static void cuda_fetch(void *host, const void *device, size_t bytes) {
    if (bytes > STAGE) return cuda_download(host, device, bytes);
    if (stage.fetched + bytes > STAGE || stage.fetches == 256) cuda_wait();
    CUDA(cudaMemcpyAsync(stage.down + stage.fetched, device, bytes, cudaMemcpyDefault, gpu.stream));
    stage.fetch[stage.fetches++] = {host, stage.fetched, bytes};
    stage.fetched += bytes;
}

/* Who looked up which row of the embedding: what its backward pass (embed_backward) adds up, in a fixed order and
   without atomics. load_ids sorts on the host, mostly while the GPU is busy with what was asked before. The places (of
   tokens in the batch) 0 .. N-1 are sorted by the row of the table that they looked up, rise inside a row, and are cut
   into runs of at most RUN places, so that a frequent word is the work of many blocks:

       tokens  7 2 7 7 2 5, RUN 2      place  0 2 | 3 | 1 4 | 5       run r: place[run[r]] .. place[run[r+1] - 1]
                                       row    7     7   2     5       of the table, for each run

   Rows that are split, into several runs, come first: runs 0 .. split-1, whose sums are added up in a second step; each
   later run is all of its row. One order for tokens and one for positions, one behind the other in llm_ids.own. */
enum { RUN = 256, ORDER_BYTES = 2 * 3 * sizeof(int) };          /* ... of llm_ids.own for each token, and once more */
struct cuda_order {                     /* pointers into the GPU's memory */
    const int *count;                   /* [2]: runs; those of rows that are split */
    const int *place, *run, *row;       /* [N], [runs + 1], [runs] */
};
static cuda_order order_in(const void *own, size_t N, int which) {      /* 0: tokens, 1: positions */
    const int *at = (const int *)own + which * (3 * N + 3);
    return {at, at + 2, at + 2 + N, at + 3 + 2 * N};
}
/* Bounds for launches, since the counts themselves are on the GPU (blocks beyond them return): of all runs, for a table
   of `rows` rows, and of those of split rows, of which at least every second is full. */
static inline size_t runs_at_most(size_t N, size_t rows) { return N / RUN + (N < rows ? N : rows); }
static inline size_t split_at_most(size_t N) { return 2 * N / RUN; }

/* A counting sort of places by id. order: 3 N + 3 ints, as order_in reads them. next[v]: where v's next place goes. */
static void order_sort(int *order, const int *id, int N) {
    int largest = 0, runs = 0, filled = 0, *place = order + 2, *run = place + N, *row = run + N + 1;
    for (int n = 0; n < N; n++) largest = id[n] > largest ? id[n] : largest;
    int *times = (int *)llm_alloc(2 * ((size_t)largest + 1), sizeof *times), *next = times + largest + 1;
    for (int n = 0; n < N; n++) times[id[n]]++;
    for (int pass = 0; pass < 2; pass++) {                      /* rows with several runs, then those with one */
        for (int v = 0; v <= largest; v++) {
            if (!times[v] || (times[v] > RUN) != (pass == 0)) continue;
            next[v] = filled;
            for (int i = 0; i < times[v]; i += RUN) run[runs] = filled + i, row[runs++] = v;
            filled += times[v];
        }
        order[1 - pass] = runs;         /* after the first pass those of split rows, after the second all */
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

static void cuda_store_weights(void *to, const llm_real *w, size_t n) {
    const size_t full = n / 4096 * 4096;
    widen((bf16 *)to, {w, LLM_TYPE_REAL, NULL, w}, n / 4096, 4096);
    widen((bf16 *)to + full, {w + full, LLM_TYPE_REAL, NULL, w}, 1, n - full);
}

/* ================================================================================================================
   Embedding

   forward    out[n] = wte[tokens[n]] + wpe[positions[n]]: a thread for each 8 numbers of out.
   backward   dwte[v] (=|+=) sum of dout[n] over the places n of token v, in the order of the batch (cuda_order): a
              block adds a run of places, a thread 8 columns of it. The sums of split rows wait in `part`, and the
              block of the row's first run adds them. By position likewise: dwpe.
   ================================================================================================================ */

KERNEL(256) embed_kernel(float *out, llm_weight wte, const float *wpe, const int *tokens, const int *positions,
                         size_t N, int C, bool wide) {
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x, n = i / ((C + 7) / 8);
    const int c = (int)(i % ((C + 7) / 8)) * 8;
    if (n >= N) return;
    const int row = tokens[n];
    float x[8], p[8] = {};
    load_weights(x, wte, row, c, C);
    if (wpe) load_up_to_8(p, wpe + (size_t)positions[n] * C + c, C - c, wide);
    UNROLL for (int j = 0; j < 8; j++) x[j] += p[j];
    store_up_to_8(out + n * C + c, x, C - c, wide);
}
static void cuda_embed_forward(llm_res *out, llm_weight wte, const llm_real *wpe, const int *tokens,
                               const int *positions, size_t N, size_t C) {
    embed_kernel<<<blocks_for(N * ((C + 7) / 8), 256), 256, 0, STREAM>>>(
        (float *)out, wte, wpe, tokens, positions, N, (int)C, all_wide(C, out, wte.data, wpe));
}
KERNEL(128) embed_runs_kernel(float *table, float *part, const float *dout, cuda_order o, int C) {
    const int r = blockIdx.x, runs = o.count[0], split = o.count[1];
    if (r >= runs) return;
    float *to = r < split ? part + (size_t)r * C : table + (size_t)o.row[r] * C;
    const int from = o.run[r], end = o.run[r + 1];
    for (int c = threadIdx.x * 8; c < C; c += 128 * 8) {
        float sum[8] = {}, x[8];
        if (r >= split) load_up_to_8(sum, to + c, C - c, C % 8 == 0);   /* 0 unless accumulating */
        _Pragma("unroll 4") for (int i = from; i < end; i++) {
            load_up_to_8(x, dout + (size_t)o.place[i] * C + c, C - c, C % 8 == 0);
            UNROLL for (int j = 0; j < 8; j++) sum[j] += x[j];
        }
        store_up_to_8(to + c, sum, C - c, C % 8 == 0);
    }
}
KERNEL(128) embed_split_kernel(float *table, const float *part, cuda_order o, int C) {
    const int r = blockIdx.x, split = o.count[1];
    if (r >= split || (r > 0 && o.row[r - 1] == o.row[r])) return;
    for (int c = threadIdx.x; c < C; c += 128) {
        float sum = table[(size_t)o.row[r] * C + c];
        for (int i = r; i < split && o.row[i] == o.row[r]; i++) sum += part[(size_t)i * C + c];
        table[(size_t)o.row[r] * C + c] = sum;
    }
}
static void embed_gather(float *table, const float *dout, cuda_order o, size_t N, size_t C, size_t rows,
                         bool accumulate) {
    if (!accumulate) CUDA(cudaMemsetAsync(table, 0, rows * C * sizeof *table, gpu.stream));
    const unsigned split = (unsigned)split_at_most(N);
    float *part = (float *)room_for(ROOM_PARTS, (split + 1) * C * sizeof *part);       /* never 0 bytes */
    embed_runs_kernel<<<(unsigned)runs_at_most(N, rows), 128, 0, STREAM>>>(table, part, dout, o, (int)C);
    if (split) embed_split_kernel<<<split, 128, 0, STREAM>>>(table, part, o, (int)C);
}
static void cuda_embed_backward(llm_real *dwte, llm_real *dwpe, const llm_res *dout, const llm_ids *ids, size_t N,
                                size_t C, size_t V, size_t T, bool accumulate_wte, bool accumulate_wpe) {
    const float *d = (const float *)dout;
    if (dwte) embed_gather(dwte, d, order_in(ids->own, N, 0), N, C, V, accumulate_wte);
    if (dwpe) embed_gather(dwpe, d, order_in(ids->own, N, 1), N, C, T, accumulate_wpe);
}

/* ================================================================================================================
   Norms

   Layer norm and RMS norm (mean NULL) of rows of C numbers, as in chapter 4:

       xhat = (x - mean) rstd      out = xhat w + bias      dx = rstd (g - mean(g) - xhat mean(g xhat)), g = w dout

   A row belongs to a team of threads, who hold it in registers, so that memory is read once: up to C = 768 a warp (a
   block has four teams, up to 256 eight), above a whole block. Thread t of a team of W has, of each chunk i, eight
   neighbours:

       c = (i W + t) 8 .. + 7       16 bytes (bf16) or twice 16; neighbours in the team are neighbours in memory

   dw and dbias are sums over rows. Of G teams in the grid, team i takes rows i, i + G, ... and adds each to sums of its
   own in shared memory (dw and dbias, padded to whole chunks), where a thread meets only its own numbers: no barrier.
   A block adds its teams in order; the blocks' sums are sum_parts' affair.

   The same kernels do the RMS norms elsewhere. Of q or k, inside qkv and in place: `groups` rows lie side by side in
   each longer one. Behind a branch: out = xhat w + res, which takes the bias's place.
   ================================================================================================================ */

/* Where rows of C numbers lie in what goes out (backward: in dx and dout); all else lies densely, row on row. */
struct norm_rows {
    size_t N, C, ld, groups;            /* rows in all; longer rows are ld numbers apart */
    bool wide;
    DEVICE size_t at(size_t n) const { return groups == 1 ? n * ld : n / groups * ld + n % groups * C; }
};

template <int WARPS> DEVICE float team_sum(float x) {
    if constexpr (WARPS == 1) return warp_sum(x);
    else return block_sum(x);
}
/* O, I: how out, inp are stored. saved: a copy of inp, or NULL. bias: rows bias_ld apart (0: one for all), or NULL */
template <class O, class I, int WARPS, int CHUNKS>
KERNEL(256) norm_forward_kernel(O *out, I *saved, float *mean, float *rstd, const I *inp, const float *w,
                                const float *bias, size_t bias_ld, float eps, norm_rows rows) {
    enum { W = WARPS * 32 };
    const size_t n = (size_t)blockIdx.x * (blockDim.x / W) + threadIdx.x / W, at = rows.at(n);
    const int t = threadIdx.x % W, C = (int)rows.C;
    const bool wide = rows.wide;
    if (n >= rows.N) return;            /* the whole team */
    float x[CHUNKS][8], sum = 0, square = 0, m = 0;
    UNROLL for (int i = 0; i < CHUNKS; i++) {
        const int c = (i * W + t) * 8;
        load_up_to_8(x[i], inp + at + c, C - c, wide);
        if (saved) store_up_to_8(saved + n * C + c, x[i], C - c, wide);
        UNROLL for (int j = 0; j < 8; j++) sum += x[i][j];
    }
    if (mean) m = team_sum<WARPS>(sum) / C;
    UNROLL for (int i = 0; i < CHUNKS; i++)
        UNROLL for (int j = 0; j < 8; j++) {
            x[i][j] -= m;
            square += (i * W + t) * 8 + j < C ? x[i][j] * x[i][j] : 0;
        }
    const float r = 1 / sqrtf(team_sum<WARPS>(square) / C + eps);
    UNROLL for (int i = 0; i < CHUNKS; i++) {
        const int c = (i * W + t) * 8;
        float a[8], b[8] = {};
        load_up_to_8(a, w + c, C - c, wide);
        if (bias) load_up_to_8(b, bias + n * bias_ld + c, C - c, wide);
        UNROLL for (int j = 0; j < 8; j++) x[i][j] = x[i][j] * r * a[j] + b[j];
        store_up_to_8(out + at + c, x[i], C - c, wide);
    }
    if (t == 0) rstd[n] = r;
    if (t == 0 && mean) mean[n] = m;
}
/* D, G, I: how dx, dout, inp are stored. dx may be dout itself. copy: where the bf16 copy of dx lies, if it is dres, or
   NULL. part (blocks, 2, C): dw | dbias; NULL: frozen, sums are dropped. */
template <class D, class G, class I, int WARPS, int CHUNKS>
KERNEL(256) norm_backward_kernel(D *dx_all, G *copy, float *dw_all, float *dbias_all, float *part, const G *dout,
                                 const I *inp, const float *w, const float *mean, const float *rstd, norm_rows rows,
                                 bool accumulate_dinp, bool accumulate) {
    enum { W = WARPS * 32, SUMS = CHUNKS * 8 * W };
    extern __shared__ float shared_sums[];      /* (teams, 2, CHUNKS, 8, W): column (i W + t) 8 + j lies at i, j, t, */
    const int teams = blockDim.x / W, team = threadIdx.x / W, t = threadIdx.x % W;    /* so lanes lie side by side */
    const int C = (int)rows.C;
    const bool wide = rows.wide;
    float *dw = shared_sums + team * 2 * SUMS + t, *dbias = dw + SUMS;
    UNROLL for (int i = 0; i < CHUNKS * 8; i++) dw[i * W] = dbias[i * W] = 0;
    for (size_t n = (size_t)blockIdx.x * teams + team; n < rows.N; n += (size_t)gridDim.x * teams) {
        const size_t at = rows.at(n);
        const float m = mean ? mean[n] : 0, r = rstd[n];
        float g[CHUNKS][8], h[CHUNKS][8], a[8], mean_g = 0, mean_gh = 0;        /* h: xhat */
        UNROLL for (int i = 0; i < CHUNKS; i++) {
            const int c = (i * W + t) * 8;
            load_up_to_8(g[i], dout + at + c, C - c, wide);
            load_up_to_8(h[i], inp + n * C + c, C - c, wide);
            load_up_to_8(a, w + c, C - c, wide);
            UNROLL for (int j = 0; j < 8; j++) {
                h[i][j] = (h[i][j] - m) * r;
                dw[(i * 8 + j) * W] += g[i][j] * h[i][j];
                if (dbias_all) dbias[(i * 8 + j) * W] += g[i][j];
                g[i][j] *= a[j];                                /* beyond the row: 0 */
                mean_g += g[i][j];
                mean_gh += g[i][j] * h[i][j];
            }
        }
        mean_g = mean ? team_sum<WARPS>(mean_g) / C : 0;
        mean_gh = team_sum<WARPS>(mean_gh) / C;
        UNROLL for (int i = 0; i < CHUNKS; i++) {
            const int c = (i * W + t) * 8;
            float dx[8] = {};
            if (accumulate_dinp) load_up_to_8(dx, dx_all + at + c, C - c, wide);
            UNROLL for (int j = 0; j < 8; j++) dx[j] += r * (g[i][j] - mean_g - h[i][j] * mean_gh);
            store_up_to_8(dx_all + at + c, dx, C - c, wide);
            if (copy) store_up_to_8(copy + at + c, dx, C - c, wide);
        }
    }
    if (!part) return;
    __syncthreads();
    for (int c = threadIdx.x; c < C; c += blockDim.x)
        for (int k = 0; k < 2; k++) {
            const float *x = shared_sums + k * SUMS + (c / 8 / W * 8 + c % 8) * W + c / 8 % W;
            float sum = 0;
            for (int i = 0; i < teams; i++) sum += x[i * 2 * SUMS];
            part[((size_t)blockIdx.x * 2 + k) * C + c] = sum;
        }
    sum_parts(dw_all, dbias_all, part, C, 2 * C, accumulate);
}
/* The team for rows of C numbers, and the kernel compiled for it: WARPS warps hold 8 x 32 WARPS x CHUNKS numbers. */
#define NORM_KERNEL(C, kernel, ...) \
    ((C) <= 256 ? kernel<__VA_ARGS__, 1, 1> : (C) <= 768 ? kernel<__VA_ARGS__, 1, 3> : \
     (C) <= 2048 ? kernel<__VA_ARGS__, 4, 2> : (C) <= 8192 ? kernel<__VA_ARGS__, 8, 4> : kernel<__VA_ARGS__, 8, 8>)
typedef struct { unsigned threads, teams; size_t shared; } norm_block;         /* shared: bytes, of the backward pass */
static norm_block norm_block_for(size_t C) {
    const unsigned threads = C > 256 && C <= 2048 ? 128 : 256;
    const unsigned chunks = C <= 256 ? 1 : C <= 768 ? 3 : C <= 2048 ? 2 : C <= 8192 ? 4 : 8;
    const size_t shared = 2 * 8 * chunks * threads * sizeof(float), most = shared > gpu.shared_limit ? 8192 : 16384;
    if (C > most) llm_die("--device cpu", "norms of rows of %zu numbers: on %s at most %zu", C, gpu.name, most);
    return {threads, C <= 768 ? threads / 32 : 1, shared};
}
static norm_rows dense_rows(size_t N, size_t C) { return {N, C, C, 1, C % 8 == 0}; }
static norm_rows rows_inside(const void *wide_rows, size_t N, llm_slice s, size_t width) {
    const size_t groups = s.cols / width;
    return {N * groups, width, s.ld, groups, all_wide(width | s.ld | s.col, wide_rows)};
}
template <class O, class I>
static void norm_forward(O *out, I *saved, float *mean, float *rstd, const I *inp, const float *w, const float *bias,
                         size_t bias_ld, float eps, norm_rows rows) {
    const norm_block b = norm_block_for(rows.C);
    auto kernel = NORM_KERNEL(rows.C, norm_forward_kernel, O, I);
    kernel<<<blocks_for(rows.N, b.teams), b.threads, 0, STREAM>>>(
        out, saved, mean, rstd, inp, w, bias, bias_ld, eps, rows);
}
template <class D, class G, class I>
static void norm_backward(D *dx, G *copy, float *dw, float *dbias, const G *dout, const I *inp, const float *w,
                          const float *mean, const float *rstd, norm_rows rows, bool accumulate_dinp, bool accumulate) {
    const norm_block b = norm_block_for(rows.C);
    const unsigned blocks = sum_blocks(blocks_for(rows.N, b.teams));
    float *part = dw || dbias ? (float *)room_for(ROOM_PARTS, sum_rows(blocks) * 2 * rows.C * sizeof *part) : NULL;
    auto kernel = NORM_KERNEL(rows.C, norm_backward_kernel, D, G, I);
    if (b.shared > 48 << 10)            /* then a kernel must say so first */
        CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)b.shared));
    kernel<<<blocks, b.threads, b.shared, STREAM>>>(
        dx, copy, dw, dbias, part, dout, inp, w, mean, rstd, rows, accumulate_dinp, accumulate);
}
ROW cuda_layernorm_forward(llm_act *out, llm_real *mean, llm_real *rstd, const llm_res *inp, const llm_real *w,
                           const llm_real *bias, llm_real eps, size_t N, size_t C) {
    norm_forward<A, float>((A *)out, NULL, mean, rstd, (const float *)inp, w, bias, 0, eps, dense_rows(N, C));
}
ROW cuda_layernorm_backward(llm_res *dinp, llm_real *dw, llm_real *dbias, const llm_act *dout, const llm_res *inp,
                            const llm_real *w, const llm_real *mean, const llm_real *rstd, size_t N, size_t C,
                            bool accumulate_dinp, bool accumulate) {
    A *copy = in_bf16<A>() ? dres_for_products<A>(dinp, N, C) : NULL;
    norm_backward((float *)dinp, copy, dw, dbias, (const A *)dout, (const float *)inp, w, mean, rstd, dense_rows(N, C),
                  accumulate_dinp, accumulate);
}
ROW cuda_rmsnorm_forward(llm_act *out, llm_real *rstd, const llm_res *inp, const llm_real *w, llm_real eps, size_t N,
                         size_t C) {
    cuda_layernorm_forward<A>(out, NULL, rstd, inp, w, NULL, eps, N, C);
}
ROW cuda_rmsnorm_backward(llm_res *dinp, llm_real *dw, const llm_act *dout, const llm_res *inp, const llm_real *w,
                          const llm_real *rstd, size_t N, size_t C, bool accumulate_dinp, bool accumulate) {
    cuda_layernorm_backward<A>(dinp, dw, NULL, dout, inp, w, NULL, rstd, N, C, accumulate_dinp, accumulate);
}
ROW cuda_qk_norm_forward(llm_act *qkv, llm_act *raw, llm_real *rstd, const llm_real *w, llm_real eps, size_t N,
                         llm_slice s, size_t width) {
    A *x = (A *)qkv + s.col;
    norm_forward<A, A>(x, (A *)raw, NULL, rstd, x, w, NULL, 0, eps, rows_inside(qkv, N, s, width));
}
ROW cuda_qk_norm_backward(llm_act *dqkv, llm_real *dw, const llm_act *raw, const llm_real *rstd, const llm_real *w,
                          size_t N, llm_slice s, size_t width, bool accumulate) {
    A *dx = (A *)dqkv + s.col;
    norm_backward<A, A, A>(dx, NULL, dw, NULL, dx, (const A *)raw, w, NULL, rstd, rows_inside(dqkv, N, s, width), false,
                           accumulate);
}
ROW cuda_post_norm_forward(llm_res *out, llm_real *rstd, const llm_res *res, const llm_act *y, const llm_real *w,
                           llm_real eps, size_t N, size_t C) {
    norm_forward<float, A>((float *)out, NULL, NULL, rstd, (const A *)y, w, (const float *)res, C, eps,
                           dense_rows(N, C));
}
ROW cuda_post_norm_backward(llm_act *dy, llm_real *dw, const llm_res *dout, const llm_act *y, const llm_real *w,
                            const llm_real *rstd, size_t N, size_t C, bool accumulate) {
    norm_backward<A, float, A>((A *)dy, NULL, dw, NULL, (const float *)dout, (const A *)y, w, NULL, rstd,
                               dense_rows(N, C), false, accumulate);
}

/* ---- the stream, as a branch without a norm before it reads it: a thread has 8 numbers ---- */

template <class A> KERNEL(256) stream_backward_kernel(float *dres, A *copy, const A *dout, size_t n) {
    const size_t i = ((size_t)blockIdx.x * 256 + threadIdx.x) * 8;
    if (i >= n) return;
    const int left = (int)min(n - i, (size_t)8);
    float x[8], y[8];
    load_up_to_8(x, dres + i, left, true);
    load_up_to_8(y, dout + i, left, true);
    UNROLL for (int j = 0; j < 8; j++) x[j] += y[j];
    store_up_to_8(dres + i, x, left, true);
    if (copy) store_up_to_8(copy + i, x, left, n % 8 == 0);
}
ROW cuda_stream_forward(llm_act *out, const llm_res *inp, size_t n) {
    const size_t cols = n % 8 ? 1 : 8;
    widen((A *)out, {inp, LLM_TYPE_REAL, NULL, NULL}, n / cols, cols);
}
ROW cuda_stream_backward(llm_res *dinp, const llm_act *dout, size_t n) {
    A *copy = in_bf16<A>() ? dres_for_products<A>(dinp, n, 1) : NULL;
    stream_backward_kernel<A><<<blocks_for(n, 256 * 8), 256, 0, STREAM>>>((float *)dinp, copy, (const A *)dout, n);
}

/* ================================================================================================================
   Products: linear, residual, LoRA
   ================================================================================================================
   Four fifths of all the work, and the one thing we do not write ourselves (but few_rows, and what is inside of
   attention): NVIDIA's cuBLASLt has a kernel for every shape.

   It thinks in columns: number (i,j) of its matrix lies at i + j ld, of ours at i ld + j. Nothing is moved; the same
   memory is, in its eyes, the transpose:

       memory  a b c d e f        ours: x (2,3), ld 3     a b c       cuBLAS's: x' (3,2), ld 3     a d
                                                          d e f                                    b e
                                                                                                   c f
   And out = left right is out' = right' left'. So the factors are handed over in the other order, as they lie; one that
   our equation itself transposes (w in out = inp w', dout in dw = dout' inp) is marked turned, for cuBLAS too. */

template <class X> constexpr cudaDataType_t cuda_type() { return sizeof(X) == 2 ? CUDA_R_16BF : CUDA_R_32F; }
struct matrix { const void *data; cudaDataType_t type; size_t ld; bool turned; };
template <class X> static matrix as_is(const X *x, size_t ld) { return {x, cuda_type<X>(), ld, false}; }
template <class X> static matrix turned(const X *x, size_t ld) { return {x, cuda_type<X>(), ld, true}; }

/* out = scale left right + plus, then the epilogue, what cuBLASLt does to out before it is written. plus: as out lies
   (or out itself), or NULL. bias: of out's type, a number for each column of out, added; BGRADB writes it: for
   dw = dout' inp the column sums of dout, a number for each row of out. aux: as wide as out. split: the sum may be cut
   and its parts added ("split-K"), as long sums over tokens want. (Without it too a row's bits depend on how many rows
   there are: each number of rows has a plan of its own.) */
struct ending {
    float scale = 1;
    const void *plus = NULL;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const void *bias = NULL, *aux = NULL;                       /* BGRADB writes bias, GELU_AUX aux */
    bool split = false;
};
/* What cuBLASLt's choice of a kernel depends on; and the choice, made once. */
struct product_shape {
    size_t rows, cols, inner, ld_left, ld_right, ld_out;
    cudaDataType_t type, out_type;
    cublasLtEpilogue_t epilogue;
    uint32_t alignment;                 /* the largest power of 2, at most 16, that divides all addresses */
    bool turned_left, turned_right, split, tf32;
    bool operator==(const product_shape &) const = default;
};
enum { PLANS = 256 };                   /* the oldest makes room for a new one */
static struct product_plan { product_shape shape; cublasLtMatmulAlgo_t algorithm; bool found; } plan[PLANS];
static size_t plans;

#define LT(call) product_must((call), __LINE__)
static void product_must(cublasStatus_t e, int line) {
    if (e != CUBLAS_STATUS_SUCCESS) llm_die(NULL, "cuBLASLt on %s: error %d (llm_cuda.cuh:%d)", gpu.name, (int)e, line);
}
static product_plan *plan_for(const product_shape &s, cublasLtMatmulDesc_t call, cublasLtMatrixLayout_t right,
                              cublasLtMatrixLayout_t left, cublasLtMatrixLayout_t out) {
    for (size_t i = 0; i < plans && i < PLANS; i++)
        if (plan[i].shape == s) return &plan[i];
    cublasLtMatmulPreference_t want;
    cublasLtMatmulHeuristicResult_t best = {};
    int found = 0;
    LT(cublasLtMatmulPreferenceCreate(&want));
    auto set = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) {
        LT(cublasLtMatmulPreferenceSetAttribute(want, what, &value, sizeof value));
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        (uint32_t)(s.split ? CUBLASLT_REDUCTION_SCHEME_MASK : CUBLASLT_REDUCTION_SCHEME_NONE));
    for (auto what : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
        set(what, s.alignment);
    const auto e = cublasLtMatmulAlgoGetHeuristic(gpu.lt, call, right, left, out, out, want, 1, &best, &found);
    LT(cublasLtMatmulPreferenceDestroy(want));
    product_plan *p = &plan[plans++ % PLANS];
    *p = {s, best.algo, e == CUBLAS_STATUS_SUCCESS && found > 0 && best.state == CUBLAS_STATUS_SUCCESS};
    return p;
}
/* out (rows, cols) = left (rows, inner) right (inner, cols), and its ending. Returns false, with nothing done, where
   cuBLASLt has no kernel for it. */
static bool product(matrix out, matrix left, matrix right, size_t rows, size_t cols, size_t inner, ending e = {}) {
    if (!rows || !cols) return true;
    const bool tf32 = running.precision == LLM_TF32 && left.type == CUDA_R_32F;    /* factors rounded to 10 bits */
    const void *plus = e.plus ? e.plus : out.data;      /* out is then not read: beta is 0 */
    const float beta = e.plus ? 1 : 0;
    const uintptr_t bits = (uintptr_t)left.data | (uintptr_t)right.data | (uintptr_t)plus | (uintptr_t)out.data |
                           (uintptr_t)e.bias | 16;
    const product_shape s = {rows, cols, inner, left.ld, right.ld, out.ld, left.type, out.type, e.epilogue,
                             (uint32_t)(bits & -bits), left.turned, right.turned, e.split, tf32};
    cublasLtMatmulDesc_t call;
    LT(cublasLtMatmulDescCreate(&call, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
    auto set = [&](cublasLtMatmulDescAttributes_t what, auto value) {
        LT(cublasLtMatmulDescSetAttribute(call, what, &value, sizeof value));
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, right.turned ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, left.turned ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, e.epilogue);
    if (e.bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, e.bias);
    if (e.aux) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, e.aux);
    if (e.aux) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, (int64_t)out.ld);
    auto layout = [](const matrix &m, size_t rows, size_t cols) {       /* in its eyes: columns before rows */
        cublasLtMatrixLayout_t l;
        LT(cublasLtMatrixLayoutCreate(&l, m.type, m.turned ? rows : cols, m.turned ? cols : rows, (int64_t)m.ld));
        return l;
    };
    const auto l = layout(left, rows, inner), r = layout(right, inner, cols), o = layout(out, rows, cols);
    product_plan *p = plan_for(s, call, r, l, o);
    if (p->found) {
        const auto done = cublasLtMatmul(
            gpu.lt, call, &e.scale, right.data, r, left.data, l, &beta, plus, o, (void *)out.data, o, &p->algorithm,
            gpu.workspace, workspace_bytes, gpu.stream);
        p->found = done != CUBLAS_STATUS_NOT_SUPPORTED;         /* the heuristic may be wrong about epilogues */
        if (p->found) LT(done);
    }
    if (!p->found && e.epilogue == CUBLASLT_EPILOGUE_DEFAULT)
        llm_die(NULL, "cuBLASLt on %s has no product for %zu x %zu x %zu", gpu.name, rows, cols, inner);
    LT(cublasLtMatmulDescDestroy(call));
    for (cublasLtMatrixLayout_t x : {l, r, o}) LT(cublasLtMatrixLayoutDestroy(x));
    return p->found;
}

/* A matrix as products with A want it: where it lies, or widened (from float: narrowed) into a room. padded: the number
   of rows that a product is to find there. */
template <class A> static const A *matrix_of(llm_weight w, size_t rows, size_t cols, int which, size_t padded = 0) {
    if (w.type == (in_bf16<A>() ? LLM_TYPE_BF16 : LLM_TYPE_REAL) && padded <= rows) return (const A *)w.data;
    A *to = (A *)room_for(which, max(rows, padded) * cols * sizeof(A));
    widen(to, w, rows, cols, padded);
    return to;
}
template <class A> static const A *matrix_of(const llm_real *x, size_t rows, size_t cols, int which) {
    return matrix_of<A>({x, LLM_TYPE_REAL, NULL, x}, rows, cols, which);
}

/* ---- few rows, as in speaking: out[n][o] = inp[n] . w[o] + bias[o] + plus[n][o] ----

   Each weight is used for a few numbers only, so what counts is reading w as fast as memory gives it, in its own bits.
   A warp for each output o, of up to ROWS rows n: its lanes walk along w[o], 8 numbers each, and add up. row:
   inp[row[n]] in inp[n]'s place, or NULL. R: how out is stored, as activations or float. */
enum { FEW_ROWS = 8 };
template <class A, class R, int ROWS>
KERNEL(256) few_rows_kernel(R *out, const R *plus, const A *inp, const int *row, llm_weight w, const float *bias,
                            size_t N, int I, size_t O) {
    const size_t o = blockIdx.x * 8 + threadIdx.x / 32, first = blockIdx.y * ROWS;
    const int lane = threadIdx.x % 32, rows = (int)min(N - first, (size_t)ROWS);
    const bool wide = I % 8 == 0 && (uintptr_t)inp % 16 == 0;
    if (o >= O) return;
    float sum[ROWS] = {};
    for (int i = lane * 8; i < I; i += 32 * 8) {
        float x[8], y[8];
        load_weights(y, w, o, i, I);
        UNROLL for (int n = 0; n < ROWS; n++) {
            if (n >= rows) continue;
            load_up_to_8(x, inp + (row ? row[first + n] : first + n) * I + i, I - i, wide);
            UNROLL for (int j = 0; j < 8; j++) sum[n] += x[j] * y[j];
        }
    }
    UNROLL for (int n = 0; n < ROWS; n++) {
        const float s = warp_sum(sum[n]) + (bias ? bias[o] : 0);
        if (lane || n >= rows) continue;
        const size_t at = (first + n) * O + o;
        store(out + at, plus ? to_float(plus[at]) + s : s);
    }
}
template <class A, class R>
static void few_rows(R *out, const R *plus, const A *inp, const int *row, llm_weight w, const float *bias, size_t N,
                     size_t I, size_t O) {
    const dim3 grid(blocks_for(O, 8), N == 1 ? 1 : blocks_for(N, FEW_ROWS));
    auto kernel = N == 1 ? few_rows_kernel<A, R, 1> : few_rows_kernel<A, R, FEW_ROWS>;
    kernel<<<grid, 256, 0, STREAM>>>(out, plus, inp, row, w, bias, N, (int)I, O);
}

/* ---- column sums: to[o] (=|+=) sum over n of scale[n] x[n][o], x (N,O); scale NULL: 1 ----

   A block takes every gridDim.x-th row, a thread 8 of its columns at a time. */
template <class A> KERNEL(128) column_sums_kernel(float *to, float *part, const A *x, const float *scale, size_t N,
                                                  int O, bool wide, bool accumulate) {
    for (int o = threadIdx.x * 8; o < O; o += 128 * 8) {
        float sum[8] = {}, y[8];
        _Pragma("unroll 4") for (size_t n = blockIdx.x; n < N; n += gridDim.x) {
            load_up_to_8(y, x + n * O + o, O - o, wide);
            UNROLL for (int j = 0; j < 8; j++) sum[j] += scale ? scale[n] * y[j] : y[j];
        }
        store_up_to_8(part + (size_t)blockIdx.x * O + o, sum, O - o, O % 8 == 0);
    }
    sum_parts(to, NULL, part, O, O, accumulate);
}
template <class A> static void column_sums(float *to, const A *x, const float *scale, size_t N, size_t O,
                                           bool accumulate) {
    const unsigned blocks = sum_blocks(blocks_for(N, 16));
    float *part = (float *)room_for(ROOM_PARTS, sum_rows(blocks) * O * sizeof *part);
    const bool wide = all_wide(O, x);
    column_sums_kernel<A><<<blocks, 128, 0, STREAM>>>(to, part, x, scale, N, (int)O, wide, accumulate);
}

/* ---- linear:  out (N,O) = inp (N,I) w' + bias   dinp = dout w   dw = dout' inp   dbias = column sums of dout ---- */

/* R: how out is stored, as activations (R is A) or float, the residual stream: `plus` joins it there. Where cuBLASLt
   has no kernel that adds this bias, because rows are at odd places, few_rows is slow and right. */
template <class A, class R> static void linear(R *out, const R *plus, const llm_act *inp, llm_weight w, llm_weight bias,
                                               size_t N, size_t I, size_t O) {
    const A *x = (const A *)inp;
    if (N > FEW_ROWS) {
        const A *weights = matrix_of<A>(w, O, I, ROOM_WIDE);
        const R *b = !bias.data ? NULL : in_bf16<R>() ? matrix_of<R>(bias, 1, O, ROOM_PARTS) : (const R *)bias.full;
        const ending e = {.plus = plus, .epilogue = b ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT, .bias = b};
        if (product(as_is(out, O), as_is(x, I), turned(weights, I), N, O, I, e)) return;
    }
    few_rows<A, R>(out, plus, x, NULL, w, bias.full, N, I, O);
}
ROW cuda_linear_forward(llm_act *out, const llm_act *inp, llm_weight w, llm_weight bias, size_t N, size_t I, size_t O) {
    linear<A, A>((A *)out, NULL, inp, w, bias, N, I, O);
}
/* dbias comes with dw, where cuBLASLt can (BGRADB). It would overwrite: so what is to be added waits in `sums`. */
ROW cuda_linear_backward(llm_act *dinp, llm_real *dw, llm_real *dbias, const llm_act *dout, const llm_act *inp,
                         llm_weight w, size_t N, size_t I, size_t O, bool accumulate) {
    const matrix dy = as_is((const A *)dout, O), turned_dy = turned((const A *)dout, O), x = as_is((const A *)inp, I);
    float *sums = dbias && accumulate ? (float *)room_for(ROOM_HEAD, O * sizeof *sums) : dbias;
    ending e = {.plus = accumulate ? dw : NULL, .epilogue = CUBLASLT_EPILOGUE_BGRADB, .bias = sums, .split = true};
    if (dinp) product(as_is((A *)dinp, I), dy, as_is(matrix_of<A>(w, O, I, ROOM_WIDE), I), N, I, O);
    if (dw && dbias && product(as_is(dw, I), turned_dy, x, O, I, N, e)) {
        if (accumulate) column_sums(dbias, sums, NULL, 1, O, true);
        return;
    }
    e.epilogue = CUBLASLT_EPILOGUE_DEFAULT, e.bias = NULL;
    if (dw) product(as_is(dw, I), turned_dy, x, O, I, N, e);
    if (dbias) column_sums(dbias, (const A *)dout, NULL, N, O, accumulate);
}
/* The same into the residual stream. */
ROW cuda_residual_forward(llm_res *out, const llm_res *res, const llm_act *inp, llm_weight w, llm_weight bias, size_t N,
                          size_t I, size_t O) {
    linear<A, float>((float *)out, (const float *)res, inp, w, bias, N, I, O);
}
ROW cuda_residual_backward(llm_act *dinp, llm_real *dw, llm_real *dbias, const llm_res *dout, const llm_act *inp,
                           llm_weight w, size_t N, size_t I, size_t O, bool accumulate) {
    cuda_linear_backward<A>(dinp, dw, dbias, (llm_act *)dres_for_products<A>(dout, N, O), inp, w, N, I, O, accumulate);
}

/* ---- LoRA:  u = scale inp A'   out += u B'   du = scale dout B   dinp += du A   dA = du' inp   dB = dout' u ----

   u (N,r), A (r,I), B (cols,r). A slice of a wider matrix is a matrix to a product, with rows that are ld apart. */
ROW cuda_lora_forward(void *out, llm_act *u, const llm_act *inp, const llm_real *a, const llm_real *b, llm_real scale,
                      size_t N, size_t I, size_t r, llm_slice s, bool to_residual) {
    const matrix turned_a = turned(matrix_of<A>(a, r, I, ROOM_WIDE), I), x = as_is((const A *)inp, I);
    const matrix turned_b = turned(matrix_of<A>(b, s.cols, r, ROOM_PARTS), r), v = as_is((const A *)u, r);
    product(as_is((A *)u, r), x, turned_a, N, r, I, {.scale = scale});
    const matrix y = to_residual ? as_is((float *)out + s.col, s.ld) : as_is((A *)out + s.col, s.ld);
    product(y, v, turned_b, N, s.cols, r, {.plus = y.data});
}
ROW cuda_lora_backward(llm_act *dinp, llm_real *da, llm_real *db, llm_act *du, const void *dout, const llm_act *u,
                       const llm_act *inp, const llm_real *a, const llm_real *b, llm_real scale, size_t N, size_t I,
                       size_t r, llm_slice s, bool from_residual, bool accumulate) {
    const A *d = (from_residual ? dres_for_products<A>((const llm_res *)dout, N, s.ld) : (const A *)dout) + s.col;
    const matrix factor_a = as_is(matrix_of<A>(a, r, I, ROOM_WIDE), I);
    const matrix factor_b = as_is(matrix_of<A>(b, s.cols, r, ROOM_PARTS), r);
    A *v = (A *)du, *dx = (A *)dinp;
    product(as_is(v, r), as_is(d, s.ld), factor_b, N, r, s.cols, {.scale = scale});
    if (dx) product(as_is(dx, I), as_is(v, r), factor_a, N, I, r, {.plus = dx});
    if (da) product(as_is(da, I), turned(v, r), as_is((const A *)inp, I), r, I, N,
                    {.plus = accumulate ? da : NULL, .split = true});
    if (db) product(as_is(db, r), turned(d, s.ld), as_is((const A *)u, r), s.cols, r, N,
                    {.plus = accumulate ? db : NULL, .split = true});
}

/* ================================================================================================================
   Rotary positions and activations
   ================================================================================================================ */

/* ---- rotary positions: (a, b) = (x[j], x[j + D/2]) turns by the angle t = position freq[j], backward by -t ----

   A thread has 8 neighbouring pairs of one token and walks over its heads, for which the 8 angles are the same. t goes
   up to 100,000 and more; its whole turns are taken off in double: then sincospif (sin and cos of pi x) adds no error
   to that of t. */
template <class A> KERNEL(128) rope_kernel(A *qkv, const float *freq, const int *positions, size_t N, int heads,
                                           size_t width, int D, bool wide, float scale) {
    const int pairs = D / 2, groups = (pairs + 7) / 8;
    const size_t i = (size_t)blockIdx.x * 128 + threadIdx.x, n = i / groups;
    const int j = (int)(i % groups) * 8, left = pairs - j;
    if (n >= N) return;
    float f[8], a[8], b[8], c[8], s[8];
    load_up_to_8(f, freq + j, left, wide);
    UNROLL for (int k = 0; k < 8; k++) {
        const double turns = (double)(positions[n] * f[k]) * 0.15915494309189535;      /* t / (2 pi) */
        sincospif((float)(2 * (turns - rint(turns))), &s[k], &c[k]);
        c[k] *= fabsf(scale), s[k] *= scale;            /* scale < 0: back */
    }
    A *x = qkv + n * width + j;
    for (int h = 0; h < heads; h++, x += D) {                   /* query heads, then key heads */
        load_up_to_8(a, x, left, wide);
        load_up_to_8(b, x + pairs, left, wide);
        UNROLL for (int k = 0; k < 8; k++) {
            const float was = a[k];
            a[k] = was * c[k] - b[k] * s[k];
            b[k] = b[k] * c[k] + was * s[k];
        }
        store_up_to_8(x, a, left, wide);
        store_up_to_8(x + pairs, b, left, wide);
    }
}
template <class A, int WAY> static void cuda_rope(llm_act *qkv, const float *freq, float scale, const int *positions,
                                                  size_t N, size_t H, size_t KV, size_t D) {
    rope_kernel<A><<<blocks_for(N * ((D / 2 + 7) / 8), 128), 128, 0, STREAM>>>(
        (A *)qkv, freq, positions, N, (int)(H + KV), (H + 2 * KV) * D, (int)D, D % 16 == 0, WAY * scale);
}

/* ---- gelu and swiglu: a thread has 8 neighbouring numbers. Memory is all that takes time ---- */

/* By the machine's own 2^x and 1/x, whose last bits are off: exact ones would take longer than memory. */
DEVICE float sigmoid(float x) { return __fdividef(1, 1 + __expf(-x)); }

/* dout NULL: to = y = x s, s = sigmoid(2u). Else to = dx = dout (s + x s (1 - s) 2u'), and may be dout itself. */
template <class A> KERNEL(256) gelu_kernel(A *to, const A *dout, const A *inp, size_t n) {
    const size_t i = ((size_t)blockIdx.x * 256 + threadIdx.x) * 8;
    const int left = (int)min((size_t)8, n - min(n, i));
    float x[8], dy[8];
    load_up_to_8(x, inp + i, left, true);
    if (dout) load_up_to_8(dy, dout + i, left, true);
    UNROLL for (int k = 0; k < 8; k++) {
        const float s = sigmoid(1.5957691216057308f * (x[k] + 0.044715f * x[k] * x[k] * x[k]));
        const float two_du = 1.5957691216057308f * (1 + 3 * 0.044715f * x[k] * x[k]);
        x[k] = dout ? dy[k] * (s + x[k] * s * (1 - s) * two_du) : x[k] * s;
    }
    store_up_to_8(to + i, x, left, true);
}
/* Rows of gateup are g | u, s = sigmoid(g). dout NULL: to (N,F) = y = g s u. Else to (N,2F) = dg | du, with
   dg = dout u s (1 + g (1 - s)) and du = dout g s. Thread i has 8 columns of row i / groups. */
template <class A> KERNEL(256) swiglu_kernel(A *to, const A *dout, const A *gateup, size_t N, size_t F, bool wide) {
    const size_t groups = (F + 7) / 8, i = (size_t)blockIdx.x * 256 + threadIdx.x, n = i / groups, c = i % groups * 8;
    if (n >= N) return;
    const int left = (int)min((size_t)8, F - c);
    float g[8], u[8], dy[8];
    load_up_to_8(g, gateup + n * 2 * F + c, left, wide);
    load_up_to_8(u, gateup + n * 2 * F + F + c, left, wide);
    if (dout) load_up_to_8(dy, dout + n * F + c, left, wide);
    UNROLL for (int k = 0; k < 8; k++) {
        const float s = sigmoid(g[k]), silu = g[k] * s;
        g[k] = dout ? dy[k] * u[k] * s * (1 + g[k] * (1 - s)) : silu * u[k];
        u[k] = dout ? dy[k] * silu : 0;
    }
    to += n * (dout ? 2 * F : F) + c;
    store_up_to_8(to, g, left, wide);
    if (dout) store_up_to_8(to + F, u, left, wide);
}
ROW cuda_gelu_backward(llm_act *dinp, const llm_act *dout, const llm_act *inp, size_t n) {
    gelu_kernel<A><<<blocks_for(n, 2048), 256, 0, STREAM>>>((A *)dinp, (const A *)dout, (const A *)inp, n);
}
ROW cuda_gelu_forward(llm_act *out, const llm_act *inp, size_t n) {
    cuda_gelu_backward<A>(out, NULL, inp, n);
}
ROW cuda_swiglu_backward(llm_act *dgateup, const llm_act *dout, const llm_act *gateup, size_t N, size_t F) {
    const unsigned grid = blocks_for(N * ((F + 7) / 8), 256);
    swiglu_kernel<A><<<grid, 256, 0, STREAM>>>((A *)dgateup, (const A *)dout, (const A *)gateup, N, F, F % 8 == 0);
}
ROW cuda_swiglu_forward(llm_act *out, const llm_act *gateup, size_t N, size_t F) {
    cuda_swiglu_backward<A>(out, NULL, gateup, N, F);
}

/* ---- the feed-forward part: product and gelu in one, where the card does both well ----

   cuBLASLt leaves what stands before gelu in aux (our out) and gelu of it, before it was rounded, in D; backward it
   multiplies D by gelu'(aux). Older cards (sm_80) lose more in the product than a kernel takes. */
template <class A> static bool gelu_in_product(const void *aux, size_t cols) {
    return in_bf16<A>() && gpu.generation >= 9 && all_wide(cols, aux);
}
ROW cuda_linear_gelu_forward(llm_act *out, llm_act *activated, const llm_act *inp, llm_weight w, llm_weight bias,
                             size_t N, size_t I, size_t O) {
    if (N > FEW_ROWS && bias.data && gelu_in_product<A>(out, O)) {
        const ending gelu = {.epilogue = CUBLASLT_EPILOGUE_GELU_AUX_BIAS, .bias = matrix_of<A>(bias, 1, O, ROOM_PARTS),
                             .aux = out};
        const A *weights = matrix_of<A>(w, O, I, ROOM_WIDE);
        if (product(as_is((A *)activated, O), as_is((const A *)inp, I), turned(weights, I), N, O, I, gelu)) return;
    }
    cuda_linear_forward<A>(out, inp, w, bias, N, I, O);
    cuda_gelu_forward<A>(activated, out, N * O);
}
ROW cuda_residual_gelu_backward(llm_act *dpre, llm_real *dw, llm_real *dbias, const llm_res *dout, const llm_act *inp,
                                const llm_act *pre, llm_weight w, size_t N, size_t I, size_t O, bool accumulate) {
    const A *dy = dres_for_products<A>(dout, N, O);
    const bool in_product = gelu_in_product<A>(pre, I) &&
                            product(as_is((A *)dpre, I), as_is(dy, O), as_is(matrix_of<A>(w, O, I, ROOM_WIDE), I), N, I,
                                    O, {.epilogue = CUBLASLT_EPILOGUE_DGELU, .aux = pre});
    cuda_residual_backward<A>(in_product ? NULL : dpre, dw, dbias, dout, inp, w, N, I, O, accumulate);
    if (!in_product) cuda_gelu_backward<A>(dpre, dpre, pre, N * I);
}

/* ================================================================================================================
   Attention
   ================================================================================================================

   The mathematics is llm.h's (chapter 4, "attention", which also says where dS comes from):

       forward    S = q k' / sqrt(D)    P[i,j] = exp(S[i,j] - lse[i]) for start[i] <= j <= i, else 0    out = P v
       backward   dv = P' dout    dP = dout v'    dS = P (dP - delta) / sqrt(D), delta[i] = dout[i] . out[i]
                  dq = dS k       dk = dS' q

   What is new is the order. S has T x T numbers a head, several times what q, k, v and out have together, and memory
   is what a GPU waits for. So S never goes there (Dao et al. 2022, "FlashAttention"): a block of threads takes a tile
   of queries and walks over the tiles of keys that they see; a tile of S is made, used and forgotten in registers.

                     keys, a tile at a time ->
                   +-----+-----+-----+-----+
       queries of  |#####|#####|###  |     |      # is seen. At the diagonal, and where a text begins inside a tile,
       this block  |#####|#####|#### |     |      the others are masked out. A tile of which no query sees anything
                   |#####|#####|#####|     |      is never visited.
                   +-----+-----+-----+-----+

   Online softmax (Milakov and Gimelshein 2018). exp wants the row's largest score subtracted, which the walk knows only
   at its end. So each row keeps, of the keys so far,

       top = max S[j]          sum = sum of exp(S[j] - top)          o = sum of exp(S[j] - top) v[j]

   When a tile brings a larger score, new, all that was added up is too large by one and the same factor, because
   exp(S[j] - new) = exp(S[j] - top) exp(top - new). The old sums shrink to the new top, then the tile is added:

       shrink = exp(top - new)   sum = shrink sum + the tile's       o = shrink o + the tile's         top = new

   At the end out = o / sum and lse = top + log sum: the same softmax, in one walk. (Before the first key top is
   -infinity, and shrink 0. A tile of which one row sees nothing can leave it there: then 0 is subtracted, for infinity
   minus infinity is no number.) Backward has lse, and P = exp(S - lse) at once.

   Backward walks twice, because a sum that crossed blocks would depend on which comes first. Once a block owns queries,
   walks over their keys and adds up dq. Once it owns keys, walks over the queries that see them, of all the heads that
   share them, and adds up dk and dv. Both make S and dP: 7 products where 5 would do. So the bits of a token's results
   depend on nothing but its own text, and on where in the row that begins: tiles are cut at the same places for all. */

/* What the kernels are given. Block x has tile x % tiles of sequence x / tiles, and sees of everything the rows of its
   sequence: head h of q, H + h of k, H + KV + h of v in qkv and dqkv; head h in out and dout. */
template <class A> struct rows_of { A *at; size_t stride; };
struct alignas(16) of_query { float lse, delta; int start; };
template <class A> struct attention {
    A *out;
    float *lse;                         /* (N,H) */
    A *dqkv;                            /* NULL: forward, which writes out and lse */
    of_query *known;                    /* (N,H); backward's first walk writes it, its second reads it */
    const A *dout, *qkv;
    const int *start;
    int B, T, H, KV, D, tiles;
    DEVICE int tile() const { return blockIdx.x % tiles; }
    DEVICE int late_tile() const { return tiles - 1 - tile(); }         /* those with most keys begin first */
    DEVICE size_t first_row() const { return (size_t)(blockIdx.x / tiles) * T; }
    template <class X> DEVICE rows_of<X> head(X *of, int h, int heads) const {
        return {of + (first_row() * heads + h) * D, (size_t)heads * D};
    }
    DEVICE rows_of<const A> part(int h) const { return head(qkv, h, H + 2 * KV); }
    DEVICE rows_of<A> dpart(int h) const { return head(dqkv, h, H + 2 * KV); }
    DEVICE rows_of<const A> dy(int h) const { return head(dout, h, H); }
};
/* What backward wants to know of query `row`: four lanes take the pieces of delta = dout . out, and all four get it. */
template <class A> DEVICE of_query known_of(const attention<A> &a, int row, int h) {
    const size_t n = a.first_row() + row, i = n * a.H + h;
    float delta = 0, x[8], y[8];
    for (int c = threadIdx.x % 4 * 8; c < a.D; c += 32) {
        load_up_to_8(x, a.dout + i * a.D + c, a.D - c, a.D % 8 == 0);
        load_up_to_8(y, a.out + i * a.D + c, a.D - c, a.D % 8 == 0);
        UNROLL for (int j = 0; j < 8; j++) delta += x[j] * y[j];
    }
    return {a.lse[i], warp_sum<4>(delta), a.start[n]};
}
/* The first key that any of the queries first .. end-1 sees; the last query below T that sees any of the keys up to
   `key`. */
DEVICE int first_key(const int *start, int first, int end) {
    int low = first;
    for (int i = first + threadIdx.x; i < end; i += blockDim.x) low = min(low, start[i]);
    return block_join(low, first, [](int x) { return __reduce_min_sync(~0u, x); });
}
DEVICE int last_query(const int *start, int key, int first, int T) {
    int high = first;
    for (int i = first + threadIdx.x; i < T; i += blockDim.x) high = start[i] <= key ? i : high;
    return block_join(high, first, [](int x) { return __reduce_max_sync(~0u, x); });
}
#define NEVER (-INFINITY)               /* a score that must not count */

/* ---- tiles on tensor cores (Dao 2023, "FlashAttention-2") ----

   A tensor core multiplies 16 x 16 by 16 x 8 numbers in one instruction of a whole warp, mma.sync.m16n8k16. The three
   matrices lie in the registers of its 32 lanes. Call a lane 4 g + t, g = 0..7, t = 0..3; then it holds, of each, the
   places that are named here (a register of A and B has two neighbours in bf16, one of C a float):

          A (16 x 16), 4 registers          B (16 x 8), 2 registers          C (16 x 8), 4 registers: C += A B

             columns 2t,+1   2t+8,+9            column g                         columns 2t,+1
            +-------------+---------+      rows +------+                        +-----------+
      row g |     a0      |   a2    |     2t,+1 |  b0  |                  row g |  c0  c1   |
            +-------------+---------+           +------+                        +-----------+
    row g+8 |     a1      |   a3    |   2t+8,+9 |  b1  |                row g+8 |  c2  c3   |
            +-------------+---------+           +------+                        +-----------+

   S = q k' comes out as C, in pieces of 16 queries x 8 keys. A row of it lies in the four lanes with the same g, which
   find its largest score with two shuffles. Now look at C and A: two neighbouring C, rounded to bf16, are one A. The
   left one's c0c1 and c2c3 are a0 and a1, the right one's are a2 and a3. So P, made from S in its registers, already
   lies as the left factor of P v wants it, and never sees memory.

   The other factors come from shared memory. ldmatrix fills an A, or two B: it reads four matrices of 8 x 8, and lane l
   names the place of row l % 8 of matrix l / 8; "turned" deals out columns in place of rows. Rows lie D + 8 numbers
   apart, so that 8 rows' 16 bytes fall into different eighths of the banks (shared memory has 32, of 4 bytes, and each
   gives one word at a time) and are read at once. Meanwhile cp.async (copy_ahead) brings the next tile: two stages of
   shared memory take turns.

   Who does what. Grid: (tiles of all sequences, heads). A block has 4 warps, which share the tiles that it walks over.
   A warp owns 16 M rows of the block's tile (queries; for dk and dv keys) and their whole sums, so no two add to the
   same one. M is 2 where registers allow: each B that ldmatrix brings is used twice. Where D is above 128 a head's
   columns are dealt to two blocks, of 2 warps, each of which makes all of S.

   Floats, which tensor cores would round, take the same way, each number in the same lane; only the two products are
   plain loops (product_abt, product_ab). */

/* Instructions without a word in C++. What each does lane by lane: their twins for the CPU, test/cuda_on_cpu/ptx.h. */
#ifdef CUDA_ON_CPU
#include "ptx.h"
#else
DEVICE void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t *b) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DEVICE void ldmatrix(uint32_t (&r)[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"((uint32_t)__cvta_generic_to_shared(row)) : "memory");
}
DEVICE void ldmatrix_turned(uint32_t (&r)[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"((uint32_t)__cvta_generic_to_shared(row)) : "memory");
}
/* 16 bytes (zeros unless valid) begin to travel from global to shared memory. copies_wait: this thread's have arrived;
   other threads see them after a barrier. */
DEVICE void copy_ahead(void *shared, const void *global, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
        :: "r"((uint32_t)__cvta_generic_to_shared(shared)), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
DEVICE void copies_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }
DEVICE float exp2_fast(float x) {
    asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(x));
    return x;
}
#endif

/* Tiles by head size: rows of D numbers, of which those beyond the model's are zeros. A block owns ROWS, 16 M of them
   a warp, and of the results COLS columns; it walks over TILE rows at a time, of which backward works with 8 N at
   once. More rows to a warp: less shared memory read for a product; but their sums, COLS / 8 x 4 M floats a lane, and
   S and dP must fit in its 255 registers. BYTES of shared memory: OWN tiles, two stages of two tiles, and what backward
   knows of the queries. */
enum walk_of { FORWARD, DQ, DKV };
template <class A, int D> constexpr int LD = D + 16 / sizeof(A);        /* from row to row of a tile in shared memory */
template <int D> constexpr int THREADS = D > 128 ? 64 : 128;
template <class A, int D, walk_of W> struct flash {
    enum { KEYS = W == DKV, BF16 = in_bf16<A>(), COLS = D > 128 ? 128 : D, PIECES = D / COLS,
           M = !BF16 || D > 128 || (KEYS && D > 64) ? 1 : 2, ROWS = THREADS<D> / 2 * M,
           TILE = BF16 ? D <= 64 ? 64 : D > 128 || (D > 96 && W == DQ) ? 16 : 32 : D <= 64 ? 32 : 8,
           N = TILE == 8 ? 1 : TILE == 16 || (D > 80 && !KEYS) ? 2 : 4,
           OWN = W == FORWARD ? 1 : 2, QUERIES = W == FORWARD ? 0 : KEYS ? 2 * TILE : ROWS,
           BYTES = (OWN * ROWS + 4 * TILE) * LD<A, D> * (int)sizeof(A) + QUERIES * (int)sizeof(of_query) };
    static_assert(BYTES + 256 <= 99 << 10);                     /* what every GPU has from sm_80 on */
};
/* Of a result of 16 M x 8 N numbers a lane has x[M][N][4]: c0 .. c3 of each piece of 16 x 8. Seen by rows: 2 N numbers
   of each of 2 M rows. at(x, r, i) stands in row 8 r + g of the result, column i/2 * 8 + 2t + i%2. */
template <int M, int N> DEVICE float &at(float (&x)[M][N][4], int r, int i) {
    return x[r / 2][i / 2][r % 2 * 2 + i % 2];
}
DEVICE uint32_t pack(float low, float high) {
    const __nv_bfloat162 two = __floats2bfloat162_rn(low, high);
    return *(const uint32_t *)&two;
}
/* s (16 M, 8 N) += a b'; a, b in shared memory, rows of D numbers. Which 8 numbers a lane names for ldmatrix: of a, in
   16 rows those for a0 and a1, then beside them those for a2 and a3; of b, in 8 rows those for b0, then those for b1,
   then the same in the next 8 rows. */
template <int D, int M, int N> DEVICE void product_abt(float (&s)[M][N][4], const bf16 *a, const bf16 *b) {
    const int lane = threadIdx.x % 32;
    a += lane % 16 * LD<bf16, D> + lane / 16 * 8;
    b += (lane / 16 * 8 + lane % 8) * LD<bf16, D> + lane / 8 % 2 * 8;
    UNROLL for (int k = 0; k < D; k += 16) {
        uint32_t fa[M][4], fb[4];
        UNROLL for (int m = 0; m < M; m++) ldmatrix(fa[m], a + m * 16 * LD<bf16, D> + k);
        UNROLL for (int n = 0; n < N; n += 2) {
            ldmatrix(fb, b + n * 8 * LD<bf16, D> + k);
            UNROLL for (int m = 0; m < M; m++) {
                mma(s[m][n], fa[m], fb);
                mma(s[m][n + 1], fa[m], fb + 2);
            }
        }
    }
}
/* sum (16 M, 8 C) += p b; p (16 M, 8 N) as product_abt left it, rounded; b in shared memory, 8 N rows. Two neighbours
   in a register of B lie below each other in b, not side by side as above: so it is turned. */
template <int D, int M, int N, int C> DEVICE void product_ab(float (&sum)[M][C][4], float (&p)[M][N][4],
                                                             const bf16 *b) {
    const int lane = threadIdx.x % 32;
    b += lane % 16 * LD<bf16, D> + lane / 16 * 8;
    UNROLL for (int k = 0; k < N; k += 2) {
        uint32_t fa[M][4], fb[4];
        UNROLL for (int m = 0; m < M; m++)
            UNROLL for (int i = 0; i < 4; i++) {                /* two C to an A: left or right, c0c1 or c2c3 */
                const float *c = &p[m][k + i / 2][i % 2 * 2];
                fa[m][i] = pack(c[0], c[1]);
            }
        UNROLL for (int n = 0; n < C; n += 2) {
            ldmatrix_turned(fb, b + k * 8 * LD<bf16, D> + n * 8);
            UNROLL for (int m = 0; m < M; m++) {
                mma(sum[m][n], fa[m], fb);
                mma(sum[m][n + 1], fa[m], fb + 2);
            }
        }
    }
}
/* The same in float. The four lanes of a row have its p between them; each is shown to the other three. */
template <int D, int M, int N> DEVICE void product_abt(float (&s)[M][N][4], const float *a, const float *b) {
    a += threadIdx.x % 32 / 4 * LD<float, D>, b += threadIdx.x % 4 * 2 * LD<float, D>;
    _Pragma("unroll 2") for (int k = 0; k < D; k += 4)
        UNROLL for (int i = 0; i < 2 * N; i++) {
            const float4 y = *(const float4 *)(b + (i / 2 * 8 + i % 2) * LD<float, D> + k);
            UNROLL for (int r = 0; r < 2 * M; r++) {
                const float4 x = *(const float4 *)(a + r * 8 * LD<float, D> + k);
                at(s, r, i) = at(s, r, i) + x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
            }
        }
}
template <int D, int M, int N, int C> DEVICE void product_ab(float (&sum)[M][C][4], float (&p)[M][N][4],
                                                             const float *b) {
    b += threadIdx.x % 4 * 2;
    UNROLL for (int k = 0; k < 8 * N; k++, b += LD<float, D>)
        UNROLL for (int r = 0; r < 2 * M; r++) {
            const float x = __shfl_sync(~0u, at(p, r, k / 8 * 2 + k % 2), k % 8 / 2, 4);
            UNROLL for (int n = 0; n < C; n++) {
                const float2 y = *(const float2 *)(b + 8 * n);
                at(sum, r, 2 * n) += x * y.x;
                at(sum, r, 2 * n + 1) += x * y.y;
            }
        }
}
/* Rows from `first` on begin to travel into a tile; those from T on, and columns from `real` on, become zeros. */
template <int D, int ROWS, class A> DEVICE void load_tile(A *to, rows_of<const A> x, int first, int T, int real) {
    enum { EACH = 16 / sizeof(A) };
    _Pragma("unroll (D <= 96 ? 2 : 1)")         /* as registers allow */
    for (int i = threadIdx.x; i < ROWS * (D / EACH); i += THREADS<D>) {
        const int r = i / (D / EACH), c = i % (D / EACH) * EACH, row = first + r;
        const A *from = x.at + (row < T ? row * x.stride + c : 0);
        if (real % EACH == 0) copy_ahead(to + r * LD<A, D> + c, from, row < T && c < real);
        else _Pragma("unroll 1") for (int j = 0; j < EACH; j++)
            store(to + r * LD<A, D> + c + j, row < T && c + j < real ? to_float(from[j]) : 0);
    }
}
/* Tiles one after another: while `use` works with one, `load` has the next travel into the other stage. */
template <class L, class U> DEVICE void walk(int tiles, L load, U use) {
    load(0);
    for (int i = 0; i < tiles; i++) {
        copies_wait();
        __syncthreads();                /* tile i is here, for everyone, and everyone is done with the one before, */
        if (i + 1 < tiles) load(i + 1);                         /* whose stage this takes */
        use(i);
    }
}
DEVICE void store_two(bf16 *to, float x, float y) { *(uint32_t *)to = pack(x, y); }
DEVICE void store_two(float *to, float x, float y) { *(float2 *)to = make_float2(x, y); }
/* The result of a warp, times factor, to rows from `mine`, columns from c0 on; those from T and D on do not exist. */
template <class A, int M, int C> DEVICE void store_tile(rows_of<A> to, float (&x)[M][C][4], int mine, int T, int c0,
                                                        int D, float factor) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    UNROLL for (int r = 0; r < 2 * M; r++)
        UNROLL for (int i = 0; i < 2 * C; i += 2) {
            const int row = mine + 8 * r + g, c = c0 + i / 2 * 8 + 2 * t;
            const float low = at(x, r, i) * factor, high = at(x, r, i + 1) * factor;
            A *here = to.at + row * to.stride + c;
            if (row < T && D % 2 == 0 && c < D) store_two(here, low, high);
            else if (row < T && c < D) {
                store(here, low);
                if (c + 1 < D) store(here + 1, high);
            }
        }
}

#define LOG2E 1.4426950408889634f       /* exp(x) = 2^(x log2 e): the machine knows 2^x. sharp = log2 e / sqrt(D) */

/* Online softmax of one tile: s, not yet divided by sqrt(D), becomes exp((s - top) / sqrt(D)); o, top (of the row) and
   sum (of the lane's own keys: joined at the end) go on to include it. The warp's rows begin with query `mine`, the
   tile with key k0; row r of the lane sees keys from from[r] to itself. */
template <int M, int N, int C> DEVICE void online_softmax(float (&s)[M][N][4], float (&o)[M][C][4],
                                                          float (&top)[2 * M], float (&sum)[2 * M],
                                                          const int (&from)[2 * M], int mine, int k0, float sharp) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    UNROLL for (int r = 0; r < 2 * M; r++) {
        const int row = mine + 8 * r + g;
        if (k0 + 8 * N > row + 1 || k0 < from[r])               /* at the diagonal, or where a text begins */
            UNROLL for (int i = 0; i < 2 * N; i++) {
                const int key = k0 + i / 2 * 8 + 2 * t + i % 2;
                if (key > row || key < from[r]) at(s, r, i) = NEVER;
            }
        float best = top[r], total = 0;
        UNROLL for (int i = 0; i < 2 * N; i++) best = fmaxf(best, at(s, r, i));
        best = warp_max<4>(best);
        const float base = best == NEVER ? 0 : best * sharp, shrink = exp2_fast(top[r] * sharp - base);
        UNROLL for (int i = 0; i < 2 * N; i++) total += at(s, r, i) = exp2_fast(at(s, r, i) * sharp - base);
        UNROLL for (int i = 0; i < 2 * C; i++) at(o, r, i) *= shrink;
        sum[r] = sum[r] * shrink + total;
        top[r] = best;
    }
}
/* Block (tile of queries, head and piece of COLS columns). by: 1 / sqrt(D), D of the model. */
template <class A, int D> KERNEL(THREADS<D>, 2) attention_forward_kernel(attention<A> a, float by) {
    extern __shared__ uint4 attention_tiles[];
    typedef flash<A, D, FORWARD> F;
    enum { M = F::M, ROWS = F::ROWS, TILE = F::TILE, COLS = F::COLS };
    A *q = (A *)attention_tiles, *kv = q + ROWS * LD<A, D>;
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, h = blockIdx.y / F::PIECES, T = a.T;
    const int k_head = a.H + h / (a.H / a.KV), c0 = blockIdx.y % F::PIECES * COLS;
    const int first = a.late_tile() * ROWS, end = min(T, first + ROWS);
    const int mine = first + threadIdx.x / 32 * 16 * M;         /* the warp's first query */
    const int *start = a.start + a.first_row();
    const float sharp = by * LOG2E;
    float o[M][COLS / 8][4] = {}, top[2 * M], sum[2 * M] = {};
    int from[2 * M];
    UNROLL for (int r = 0; r < 2 * M; r++) {
        from[r] = start[min(T - 1, mine + 8 * r + g)];
        top[r] = NEVER;
    }
    const int begin = first_key(start, first, end) / TILE * TILE;
    load_tile<D, ROWS>(q, a.part(h), first, T, a.D);
    walk((end - 1 - begin) / TILE + 1, [&](int step) {
        A *k = kv + step % 2 * 2 * TILE * LD<A, D>;
        load_tile<D, TILE>(k, a.part(k_head), begin + step * TILE, T, a.D);
        load_tile<D, TILE>(k + TILE * LD<A, D>, a.part(k_head + a.KV), begin + step * TILE, T, a.D);
    }, [&](int step) {
        const int k0 = begin + step * TILE;
        if (k0 >= mine + 16 * M) return;                        /* all of the warp's queries lie before it */
        const A *k = kv + step % 2 * 2 * TILE * LD<A, D>;
        float s[M][TILE / 8][4] = {};
        product_abt<D>(s, q + (mine - first) * LD<A, D>, k);
        online_softmax(s, o, top, sum, from, mine, k0, sharp);
        product_ab<D>(o, s, k + TILE * LD<A, D> + c0);
    });
    UNROLL for (int r = 0; r < 2 * M; r++) {
        const int row = mine + 8 * r + g;
        const float total = warp_sum<4>(sum[r]);
        if (row < T && t == 0 && c0 == 0)
            a.lse[(a.first_row() + row) * a.H + h] = (top[r] * sharp + log2f(total)) / LOG2E;
        UNROLL for (int i = 0; i < COLS / 4; i++) at(o, r, i) /= total;
    }
    store_tile(a.head(a.out, h, a.H), o, mine, T, c0, a.D, 1);
}
/* s becomes P, dp becomes dS sqrt(D); or P' and dS' (KEYS), where rows are keys and columns queries. known: of these
   queries. */
template <bool KEYS, int M, int N> DEVICE void softmax_backward(float (&s)[M][N][4], float (&dp)[M][N][4],
                                                                const of_query *known, int mine, int other, int T,
                                                                float sharp) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    UNROLL for (int k = 0; k < 4 * M * N; k++) {                /* inside, what belongs to one query stays together */
        const int r = KEYS ? k % (2 * M) : k / (2 * N), i = KEYS ? k / (2 * M) : k % (2 * N);
        const int y = 8 * r + g, x = i / 2 * 8 + 2 * t + i % 2;
        const int row = KEYS ? other + x : mine + y, key = KEYS ? mine + y : other + x;
        const of_query q = known[KEYS ? x : y];
        const bool seen = row < T && key <= row && key >= q.start;
        const float p = seen ? exp2_fast(at(s, r, i) * sharp - q.lse * LOG2E) : 0;
        at(s, r, i) = p;
        at(dp, r, i) = p * (at(dp, r, i) - q.delta);
    }
}
/* One kernel, two walks. A block owns queries, and walks over k and v to add up dq; or it owns keys (KEYS), and walks
   over q and dout to add up dk and dv. Then everything lies on its side, S' = k q' and dP' = v dout', so that P' and
   dS' come out as the left factors of dv = P' dout and dk = dS' q. S is made of own1 and walk1: q and k (KEYS: k and
   q); dP of own2 and walk2: dout and v (KEYS: v and dout). */
template <class A, int D, walk_of W> KERNEL(THREADS<D>, 2)
attention_backward_kernel(attention<A> a, float by) {
    extern __shared__ uint4 attention_tiles[];
    typedef flash<A, D, W> F;
    constexpr bool KEYS = W == DKV;
    enum { M = F::M, N = F::N, ROWS = F::ROWS, TILE = F::TILE, COLS = F::COLS, PAIR = 2 * TILE * LD<A, D> };
    A *own1 = (A *)attention_tiles, *own2 = own1 + ROWS * LD<A, D>, *stages = own2 + ROWS * LD<A, D>;
    of_query *known = (of_query *)(stages + 2 * PAIR);          /* of the block's queries, or of those in each stage */
    const int own = blockIdx.y / F::PIECES, c0 = blockIdx.y % F::PIECES * COLS, G = a.H / a.KV, T = a.T;
    const int first = (KEYS ? a.tile() : a.late_tile()) * ROWS, end = min(T, first + ROWS);
    const int mine = first + threadIdx.x / 32 * 16 * M, i = threadIdx.x;
    const int *start = a.start + a.first_row();
    of_query *all_known = a.known + a.first_row() * a.H;
    load_tile<D, ROWS>(own1, a.part(KEYS ? a.H + own : own), first, T, a.D);
    load_tile<D, ROWS>(own2, KEYS ? a.part(a.H + a.KV + own) : a.dy(own), first, T, a.D);
    if (!KEYS) for (int r = i / 4; r < ROWS; r += THREADS<D> / 4) {
        const of_query q = known_of(a, min(T - 1, first + r), own);
        if (i % 4 == 0) known[r] = q;
        if (i % 4 == 0 && first + r < T && c0 == 0) all_known[(size_t)(first + r) * a.H + own] = q;
    }
    const int begin = (KEYS ? first : first_key(start, first, end)) / TILE * TILE;
    const int steps = ((KEYS ? last_query(start, end - 1, first, T) : end - 1) - begin) / TILE + 1;
    float dq_or_dk[M][COLS / 8][4] = {}, dv[M][COLS / 8][4] = {};
    walk((KEYS ? G : 1) * steps, [&](int step) {                /* tile step % steps of head step / steps */
        const int row = begin + step % steps * TILE, h = KEYS ? own * G + step / steps : a.H + own / G;
        A *to = stages + step % 2 * PAIR;
        load_tile<D, TILE>(to, a.part(h), row, T, a.D);
        load_tile<D, TILE>(to + TILE * LD<A, D>, KEYS ? a.dy(h) : a.part(h + a.KV), row, T, a.D);
        if (KEYS && i < TILE)
            copy_ahead(known + step % 2 * TILE + i, all_known + (size_t)min(T - 1, row + i) * a.H + h, true);
    }, [&](int step) {
        const A *walk1 = stages + step % 2 * PAIR, *walk2 = walk1 + TILE * LD<A, D>;
        _Pragma("unroll 1") for (int j = 0; j < TILE; j += 8 * N) {
            const int other = begin + step % steps * TILE + j;
            if (KEYS ? other + 8 * N <= mine : other >= mine + 16 * M) continue;        /* nothing is seen */
            float s[M][N][4] = {}, dp[M][N][4] = {};
            product_abt<D>(s, own1 + (mine - first) * LD<A, D>, walk1 + j * LD<A, D>);
            product_abt<D>(dp, own2 + (mine - first) * LD<A, D>, walk2 + j * LD<A, D>);
            softmax_backward<KEYS>(s, dp, known + (KEYS ? step % 2 * TILE + j : mine - first), mine, other, T,
                                   by * LOG2E);
            if (KEYS) product_ab<D>(dv, s, walk2 + j * LD<A, D> + c0);
            product_ab<D>(dq_or_dk, dp, walk1 + j * LD<A, D> + c0);
        }
    });
    store_tile(a.dpart(KEYS ? a.H + own : own), dq_or_dk, mine, T, c0, a.D, by);
    if (KEYS) store_tile(a.dpart(a.H + a.KV + own), dv, mine, T, c0, a.D, 1);
}

/* ---- launches ---- */

/* Above 48 KiB of shared memory a kernel must say so first. */
template <class A, int D, walk_of W> static void launch(void (*kernel)(attention<A>, float), attention<A> a,
                                                         int heads) {
    typedef flash<A, D, W> F;
    a.tiles = blocks_for(a.T, F::ROWS);
    CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, F::BYTES));
    kernel<<<dim3(a.tiles * a.B, heads * F::PIECES), THREADS<D>, F::BYTES, STREAM>>>(a, 1 / sqrtf((float)a.D));
}
template <class A, int D> static void attend(const attention<A> &a) {
    if (!a.dqkv) return launch<A, D, FORWARD>(attention_forward_kernel<A, D>, a, a.H);
    launch<A, D, DQ>(attention_backward_kernel<A, D, DQ>, a, a.H);
    launch<A, D, DKV>(attention_backward_kernel<A, D, DKV>, a, a.KV);
}
template <class A> static void attend_any(const attention<A> &a) {
    if (a.D > 256) llm_die("a model with more and smaller heads", "head size %d: on a GPU it is at most 256", a.D);
    (a.D <= 32 ? attend<A, 32> : a.D <= 64 ? attend<A, 64> : a.D <= 80 ? attend<A, in_bf16<A>() ? 80 : 128>
     : a.D <= 96 ? attend<A, in_bf16<A>() ? 96 : 128> : a.D <= 128 ? attend<A, 128> : attend<A, 256>)(a);
}
ROW cuda_attention_forward(llm_act *out, llm_real *lse, const llm_act *qkv, const int *start, size_t B, size_t T,
                           size_t H, size_t KV, size_t D) {
    attend_any<A>({(A *)out, lse, NULL, NULL, NULL, (const A *)qkv, start, (int)B, (int)T, (int)H, (int)KV, (int)D, 0});
}
ROW cuda_attention_backward(llm_act *dqkv, const llm_act *dout, const llm_act *out, const llm_real *lse,
                            const llm_act *qkv, const int *start, size_t B, size_t T, size_t H, size_t KV, size_t D) {
    of_query *known = (of_query *)room_for(ROOM_ATTENTION, B * T * H * sizeof *known);
    attend_any<A>({(A *)out, (float *)lse, (A *)dqkv, known, (const A *)dout, (const A *)qkv, start, (int)B, (int)T,
                   (int)H, (int)KV, (int)D, 0});
}

/* ================================================================================================================
   The head and the value
   ================================================================================================================

   forward    z (V) = hidden w' / temperature, banned ids at -infinity    lse = log sum exp z    logp = z[target] - lse
              p = exp(z - lse)                                            entropy = -sum p log p
   backward   dz[k] = dlogp (1[k = target] - p[k]) - dentropy p[k] (log p[k] + entropy)
              dlogits = dz / temperature     dhidden = dlogits w     dw (=|+=) dlogits' hidden

   For one chunk of rows at a time: a product makes the logits (rows, ld), a kernel puts their gradient in their place,
   two products use it. ld is V, padded to 64, as cuBLASLt's fast kernels want matrices of multiples of 16 bytes, which
   50257 words are not: w is copied with rows of zeros behind, and dw, where no row may follow, is made by two products.
   A block for each row; its threads take 8 numbers each in turn.

   Logits are float in logprob_forward and _backward: in bf16 a logit of 10 is wrong by up to 0.03, too much for the
   ratio of two probabilities. Only the fused sweep, whose logp is a loss to look at, has them in A. */

enum { HEAD_THREADS = 512 };
constexpr float banned_z = -1e30f;      /* for -infinity, as in llm.h: its exp is exactly 0, and 0 times it is 0 */
struct head_view {
    const int *targets;
    const uint8_t *banned;
    const int *row;                     /* row i of a chunk is row[first + i] of the batch; NULL: first + i */
    float cold;                         /* 1 / temperature */
    int first, V, ld;
    float *logp = NULL, *lse = NULL, *entropy = NULL;           /* (N) each */
    const float *dlogp = NULL, *dentropy = NULL;
    DEVICE int place() const { return row ? row[first + blockIdx.x] : first + (int)blockIdx.x; }
};
/* z of one id; of 8 neighbours. */
template <class Z> DEVICE float head_z(const Z *logits, int k, const head_view &h) {
    return h.banned && h.banned[k] ? banned_z : to_float(logits[k]) * h.cold;
}
template <class Z> DEVICE void head_load(float (&z)[8], const Z *logits, int k, const head_view &h) {
    load8(z, logits + k);
    UNROLL for (int j = 0; j < 8; j++)
        z[j] = k + j < h.V && !(h.banned && h.banned[k + j]) ? z[j] * h.cold : banned_z;
}
/* log sum exp z in one pass: a thread scales its sum anew whenever its maximum rises; then the threads' are joined. */
template <class Z> DEVICE float head_lse(const Z *logits, const head_view &h) {
    float top = -INFINITY, sum = 0, z[8];
    for (int k = threadIdx.x * 8; k < h.V; k += blockDim.x * 8) {
        head_load(z, logits, k, h);
        float best = top;
        UNROLL for (int j = 0; j < 8; j++) best = fmaxf(best, z[j]);
        sum *= __expf(top - best);
        top = best;
        UNROLL for (int j = 0; j < 8; j++) sum += __expf(z[j] - top);
    }
    const float max = block_max(top);
    return max + logf(block_sum(sum * __expf(top - max)));
}
KERNEL(HEAD_THREADS) head_forward_kernel(const float *logits, head_view h) {
    const float *mine = logits + (size_t)blockIdx.x * h.ld;
    const int n = h.place();
    const float l = head_lse(mine, h);
    float plogp = 0, z[8];
    for (int k = threadIdx.x * 8; k < h.V && h.entropy; k += blockDim.x * 8) {
        head_load(z, mine, k, h);
        UNROLL for (int j = 0; j < 8; j++) plogp += __expf(z[j] - l) * (z[j] - l);
    }
    if (h.entropy) plogp = block_sum(plogp);
    if (threadIdx.x) return;
    h.logp[n] = head_z(mine, h.targets[n], h) - l;
    h.lse[n] = l;
    if (h.entropy) h.entropy[n] = -plogp;
}
/* dlogits in the place of the logits. (h.lse NULL, the fused sweep: logp is made on the way.) Where they are narrower,
   bf16 for float, the front half of the row is enough:

       logits    |    round 0    |    round 1    |    round 2    |      a round: 8 numbers for each thread of the block
       dlogits   |round 0|round 1|round 2|

   In a round all read before one writes; what later rounds read lies behind what this one writes. Padding becomes 0. */
template <class Z, class A> KERNEL(HEAD_THREADS) head_backward_kernel(Z *logits, head_view h) {
    Z *mine = logits + (size_t)blockIdx.x * h.ld;
    const int n = h.place(), target = h.targets[n];
    const float at_target = h.lse ? 0 : head_z(mine, target, h);        /* before it is overwritten */
    const float lse = h.lse ? h.lse[n] : head_lse(mine, h);             /* has barriers */
    const float dlogp = h.dlogp[n], dentropy = h.dentropy ? h.dentropy[n] : 0, entropy = h.dentropy ? h.entropy[n] : 0;
    if (!h.lse && threadIdx.x == 0) h.logp[n] = at_target - lse;
    for (int round = 0; round < h.ld; round += blockDim.x * 8) {
        const int k = round + threadIdx.x * 8;
        float z[8];
        if (k < h.ld) head_load(z, mine, k, h);
        UNROLL for (int j = 0; j < 8 && k < h.ld; j++) {
            const float l = z[j] - lse, p = __expf(l);
            const float dz = dlogp * ((k + j == target) - p) - dentropy * p * (l + entropy);
            z[j] = z[j] > banned_z ? dz * h.cold : 0;     /* a banned logit is a constant */
        }
        if (sizeof(A) < sizeof(Z)) __syncthreads();
        if (k < h.ld) store8((A *)mine + k, z);
    }
}
/* to[to_row[i]] = from[from_row[i]], rows of C numbers, a block each; NULL: i. */
template <class A> KERNEL(128) copy_rows_kernel(A *to, const int *to_row, const A *from, const int *from_row,
                                                size_t C) {
    const size_t i = blockIdx.x;
    for (size_t c = threadIdx.x; c < C; c += 128)
        to[(to_row ? to_row[i] : i) * C + c] = from[(from_row ? from_row[i] : i) * C + c];
}
static head_view head_begin(const int *targets, llm_head head, size_t V) {
    if (!(head.temperature > 0)) llm_die("--temperature 1", "log-probabilities at temperature %g", head.temperature);
    return {targets, head.banned, head.row, 1 / head.temperature, 0, (int)V, (int)(V + 63) / 64 * 64};
}
/* Rows of a chunk when n rows are cut evenly: 4097 rows are not 4096 and 1, but 2112 and 1985. */
static size_t head_chunk(size_t n) {
    const size_t most = running.head_rows, chunks = (n + most - 1) / most;
    return chunks < 2 ? n : min(most, ((n + chunks - 1) / chunks + 63) / 64 * 64);
}
static int head_threads(const head_view &h) { return min((int)HEAD_THREADS, (h.V + 255) / 256 * 32); }

/* What becomes of the logits of a chunk, as Z: log-probabilities (h.dlogp NULL), or their gradient in A. Rows without a
   gradient are left out: those that have one are gathered, and of the others dhidden is 0. */
template <class A, class Z> static void head_sweep(llm_act *dhidden, float *dw, const llm_act *hidden, llm_weight w,
                                                   head_view h, llm_head head, size_t N, size_t C, bool accumulate) {
    const size_t n = h.row ? head.rows : N, V = h.V, chunk = head_chunk(n), width = h.ld * sizeof(Z) / sizeof(A);
    if (h.row && dhidden) CUDA(cudaMemsetAsync(dhidden, 0, N * C * sizeof(A), gpu.stream));
    if (!n && dw && !accumulate) CUDA(cudaMemsetAsync(dw, 0, V * C * sizeof *dw, gpu.stream));
    if (!n) return;
    const A *padded = matrix_of<A>(w, V, C, ROOM_WIDE, h.ld);
    const size_t gathered = h.row ? chunk * C : 0;
    Z *logits = (Z *)room_for(ROOM_HEAD, chunk * h.ld * sizeof(Z) + 2 * gathered * sizeof(A));
    A *dlogits = (A *)logits, *x_rows = dlogits + chunk * width, *dx_rows = x_rows + gathered;
    for (size_t first = 0; first < n; first += chunk) {
        const size_t rows = min(chunk, n - first), even = V / 64 * 64;
        const int *row = h.row ? h.row + first : NULL;
        if (row) copy_rows_kernel<A><<<rows, 128, 0, STREAM>>>(x_rows, NULL, (const A *)hidden, row, C);
        const A *x = row ? x_rows : (const A *)hidden + first * C;
        A *dx = row ? dx_rows : (A *)dhidden + first * C;
        product(as_is(logits, h.ld), as_is(x, C), turned(padded, C), rows, h.ld, C);
        h.first = first;
        if (!h.dlogp) head_forward_kernel<<<rows, head_threads(h), 0, STREAM>>>((float *)logits, h);
        else head_backward_kernel<Z, A><<<rows, head_threads(h), 0, STREAM>>>(logits, h);
        if (dhidden) product(as_is(dx, C), as_is(dlogits, width), as_is(padded, C), rows, C, h.ld);
        for (size_t v = 0, words; v < V && dw; v += words) {            /* a multiple of 64; the others */
            words = v < even ? even : V - even;
            float *to = dw + v * C;
            product(as_is(to, C), turned(dlogits + v, width), as_is(x, C), words, C, rows,
                    {.plus = accumulate || first ? to : NULL, .split = true});
        }
        if (row && dhidden) copy_rows_kernel<A><<<rows, 128, 0, STREAM>>>((A *)dhidden, row, dx_rows, NULL, C);
    }
}
ROW cuda_logprob_forward(llm_real *logp, llm_real *lse, llm_real *entropy, const llm_act *hidden, llm_weight w,
                         const int *targets, llm_head head, size_t N, size_t C, size_t V) {
    head.row = NULL;                    /* logp is wanted of all */
    head_view h = head_begin(targets, head, V);
    h.logp = logp, h.lse = lse, h.entropy = entropy;
    head_sweep<A, float>(NULL, NULL, hidden, w, h, head, N, C, false);
}
ROW cuda_logprob_backward(llm_act *dhidden, llm_real *dw, const llm_real *dlogp, const llm_real *dentropy,
                          const llm_real *lse, const llm_real *entropy, const llm_act *hidden, llm_weight w,
                          const int *targets, llm_head head, size_t N, size_t C, size_t V, bool accumulate) {
    head_view h = head_begin(targets, head, V);
    h.dlogp = dlogp, h.dentropy = dentropy, h.lse = (float *)lse, h.entropy = (float *)entropy;
    head_sweep<A, float>(dhidden, dw, hidden, w, h, head, N, C, accumulate);
}
ROW cuda_logprob_fused(llm_real *logp, llm_act *dhidden, llm_real *dw, const llm_real *dlogp, const llm_act *hidden,
                       llm_weight w, const int *targets, llm_head head, size_t N, size_t C, size_t V, bool accumulate) {
    head_view h = head_begin(targets, head, V);
    h.dlogp = dlogp, h.logp = logp;
    head_sweep<A, A>(dhidden, dw, hidden, w, h, head, N, C, accumulate);
}
ROW cuda_logits(llm_real *out, const llm_act *hidden, llm_weight w, const int *row, size_t n, size_t C, size_t V) {
    const A *x = (const A *)hidden;
    if (n <= FEW_ROWS) return few_rows<A, float>(out, NULL, x, row, w, NULL, n, C, V);
    if (row) {
        A *gathered = (A *)room_for(ROOM_HEAD, n * C * sizeof(A));
        copy_rows_kernel<A><<<n, 128, 0, STREAM>>>(gathered, NULL, x, row, C);
        x = gathered;
    }
    product(as_is(out, V), as_is(x, C), turned(matrix_of<A>(w, V, C, ROOM_WIDE), C), n, V, C);
}

/* ---- the value:  value[n] = hidden[n] . u   dhidden[n] (=|+=) dvalue[n] u   du (=|+=) sum of dvalue[n] hidden[n] ----

   Forward is a product with one row, u, and hidden in the place of the weights. Backward: a thread for 8 numbers. */
template <class A> KERNEL(256) value_backward_kernel(A *dhidden, const float *dvalue, const float *u, size_t N, int C,
                                                     bool accumulate, bool wide) {
    const size_t each = (C + 7) / 8, t = (size_t)blockIdx.x * 256 + threadIdx.x, n = t / each;
    const int c = (int)(t % each) * 8;
    if (n >= N) return;
    float x[8] = {}, y[8];
    if (accumulate) load_up_to_8(x, dhidden + n * C + c, C - c, wide);
    load_up_to_8(y, u + c, C - c, wide);
    UNROLL for (int j = 0; j < 8; j++) x[j] += dvalue[n] * y[j];
    store_up_to_8(dhidden + n * C + c, x, C - c, wide);
}
ROW cuda_value_forward(llm_real *value, const llm_act *hidden, const llm_real *u, size_t N, size_t C) {
    const llm_weight rows = {hidden, in_bf16<A>() ? LLM_TYPE_BF16 : LLM_TYPE_REAL, NULL, NULL};
    few_rows<float, float>(value, NULL, u, NULL, rows, NULL, 1, C, N);
}
ROW cuda_value_backward(llm_act *dhidden, llm_real *du, const llm_real *dvalue, const llm_act *hidden,
                        const llm_real *u, size_t N, size_t C, bool accumulate_dhidden, bool accumulate_du) {
    const unsigned grid = blocks_for(N * ((C + 7) / 8), 256);
    if (dhidden)
        value_backward_kernel<A><<<grid, 256, 0, STREAM>>>((A *)dhidden, dvalue, u, N, (int)C, accumulate_dhidden,
                                                               all_wide(C, dhidden, u));
    if (du) column_sums(du, (const A *)hidden, dvalue, N, C, accumulate_du);
}

/* ================================================================================================================
   Learning

   The norm of the gradient and AdamW over all tensors, two launches each, and no answer to the host:

       sumsq_kernel        block (i, t): the sum of squares of tensor t's share i, in double
       sumsq_add_kernel    one block adds the shares' sums, each thread in order: state->sumsq
       adamw_judge_kernel  one thread: clip, or leave the step out? (llm_adamw_judge: the CPU's own text)
       adamw_kernel        block (i, t) moves weights, moments and bf16 copy of a share, unless the judge said no

   Share i of a tensor: of its pieces of 2048 numbers (8 for each of 256 threads) the i-th of every gridDim.x.
   ================================================================================================================ */

enum { SHARES = 128 };                  /* at most */
struct learner {
    float *w; bf16 *copy; const float *grad;
    size_t offset, size;                /* offset: of the moments */
    int decays, wide;                   /* wide: all of them lie at multiples of 16 bytes */
};
/* fast = 1 - beta, c = 1 / (1 - beta^step) */
struct adamw_constants { float scale, fast1, fast2, c1, c2, lr, eps, decay; int step; bool skip; };
struct learners { adamw_constants *constants; double *sum; learner *tensor; unsigned tensors, shares; size_t first; };

static learners learners_of(const llm_param *param, int params) {
    learner *list = (learner *)llm_alloc((size_t)params + 1, sizeof *list);
    size_t n = 0, largest = 0, first = 0;
    for (const llm_param *p = param; p < param + params; p++) {
        if (!p->used || !p->grad || !p->size) continue;         /* no pass has written its gradient, or it is frozen */
        if (n == 0) first = p->offset;
        bf16 *copy = p->w.type == LLM_TYPE_BF16 ? (bf16 *)p->w.data : NULL;
        largest = max(largest, p->size);
        list[n++] = {p->data, copy, p->grad, p->offset, p->size, !p->vector,
                     p->offset % 8 == 0 && all_wide(0, p->data, p->grad, copy)};
    }
    const size_t bytes = sizeof(adamw_constants) + n * (SHARES * sizeof(double) + sizeof *list);
    adamw_constants *constants = (adamw_constants *)room_for(ROOM_LEARNING, bytes);
    double *sum = (double *)(constants + 1);
    learner *tensor = (learner *)(sum + n * SHARES);
    cuda_upload(tensor, list, n * sizeof *list);
    llm_release(list);
    return {constants, sum, tensor, (unsigned)n, min((unsigned)SHARES, blocks_for(largest, 2048)), first};
}
KERNEL(256) sumsq_kernel(double *sum, const learner *tensor) {
    const learner t = tensor[blockIdx.y];
    double s = 0;
    for (size_t i = ((size_t)blockIdx.x * 256 + threadIdx.x) * 8; i < t.size; i += gridDim.x * 2048) {
        float g[8];
        load_up_to_8(g, t.grad + i, (int)min(t.size - i, (size_t)8), t.wide);
        UNROLL for (int j = 0; j < 8; j++) s += (double)g[j] * g[j];
    }
    s = block_sum(s);
    if (threadIdx.x == 0) sum[blockIdx.y * gridDim.x + blockIdx.x] = s;
}
KERNEL(1024) sumsq_add_kernel(llm_adamw_state *state, const double *sum, unsigned n) {
    double s = 0;
    for (unsigned i = threadIdx.x; i < n; i += 1024) s += sum[i];
    s = block_sum(s);
    if (threadIdx.x == 0) state->sumsq = s;
}
static void cuda_grad_norm(llm_adamw_state *state, const llm_param *param, int params) {
    const learners l = learners_of(param, params);
    if (l.tensors) sumsq_kernel<<<dim3(l.shares, l.tensors), 256, 0, STREAM>>>(l.sum, l.tensor);
    sumsq_add_kernel<<<1, 1024, 0, STREAM>>>(state, l.sum, l.tensors * l.shares);
}
KERNEL(1) adamw_judge_kernel(adamw_constants *a, llm_adamw_state *state, llm_adamw_rule r) {
    llm_adamw_judge(state, &r);
    a->scale = (float)state->scale, a->step = state->step, a->skip = state->skip;
    a->fast1 = (float)(1 - r.beta1), a->c1 = (float)(1 / (1 - pow(r.beta1, state->step)));
    a->fast2 = (float)(1 - r.beta2), a->c2 = (float)(1 / (1 - pow(r.beta2, state->step)));
    a->lr = (float)r.lr, a->eps = (float)r.eps, a->decay = (float)r.weight_decay;
}
/* How a moment is stored: as it is, or as the bf16 above or below, by a chance that is a hash of its number and the
   step (chapter 4's moment_put, bit for bit); `shift` picks 16 bits of it, others for m than for v. */
template <class M> DEVICE float moment_rounded(float x, size_t number, int step, int shift) {
    if (sizeof(M) == sizeof(float)) return x;
    unsigned chance = ((unsigned)number ^ (unsigned)step * 0x9E3779B9u) * 0x85EBCA6Bu;
    chance = (chance ^ chance >> 15) * 0xC2B2AE35u;
    chance ^= chance >> 16;
    return __uint_as_float((__float_as_uint(x) + (chance >> shift & 0xFFFF)) & 0xFFFF0000u);
}
/* m, v: from moment `first` on. */
template <class M> KERNEL(256) adamw_kernel(M *m, M *v, const learner *tensor, const adamw_constants *constants,
                                            size_t first) {
    const adamw_constants a = *constants;
    const learner t = tensor[blockIdx.y];
    const float decay = t.decays ? a.decay : 0;
    M *moment1 = m + (t.offset - first), *moment2 = v + (t.offset - first);
    if (a.skip) return;
    for (size_t i = ((size_t)blockIdx.x * 256 + threadIdx.x) * 8; i < t.size; i += gridDim.x * 2048) {
        const int left = (int)min(t.size - i, (size_t)8);
        float w[8], g[8], mi[8], vi[8];
        load_up_to_8(w, t.w + i, left, t.wide);
        load_up_to_8(g, t.grad + i, left, t.wide);
        load_up_to_8(mi, moment1 + i, left, t.wide);
        load_up_to_8(vi, moment2 + i, left, t.wide);
        UNROLL for (int j = 0; j < 8; j++) {
            g[j] *= a.scale;
            mi[j] += a.fast1 * (g[j] - mi[j]);
            vi[j] += a.fast2 * (g[j] * g[j] - vi[j]);
            w[j] -= a.lr * (mi[j] * a.c1 / (sqrtf(vi[j] * a.c2) + a.eps) + decay * w[j]);
            mi[j] = moment_rounded<M>(mi[j], t.offset + i + j, a.step, 16);
            vi[j] = moment_rounded<M>(vi[j], t.offset + i + j, a.step, 0);
        }
        store_up_to_8(t.w + i, w, left, t.wide);
        if (t.copy) store_up_to_8(t.copy + i, w, left, t.wide);
        store_up_to_8(moment1 + i, mi, left, t.wide);
        store_up_to_8(moment2 + i, vi, left, t.wide);
    }
}
static void cuda_adamw(const llm_param *param, int params, void *m, void *v, llm_adamw_rule rule,
                       llm_adamw_state *state) {
    const learners l = learners_of(param, params);
    adamw_judge_kernel<<<1, 1, 0, STREAM>>>(l.constants, state, rule);
    const dim3 grid(l.shares, l.tensors);
    if (!l.tensors) return;
    bf16 *m16 = (bf16 *)m + l.first, *v16 = (bf16 *)v + l.first;
    float *m32 = (float *)m + l.first, *v32 = (float *)v + l.first;
    if (rule.moments16) adamw_kernel<bf16><<<grid, 256, 0, STREAM>>>(m16, v16, l.tensor, l.constants, l.first);
    else adamw_kernel<float><<<grid, 256, 0, STREAM>>>(m32, v32, l.tensor, l.constants, l.first);
}

/* ================================================================================================================
   Speaking

   A row of the cache holds T tokens of KV heads of D numbers, as in chapter 4. New keys and values are put away first;
   then each query looks back, and many past tokens are the work of many warps ("flash decoding", Dao et al. 2023): a
   block is a warp, and takes SPLIT keys of one key head, and up to 4 of the query heads that share them.

       s_t = q . k_t / sqrt(D)    m = max s_t    e_t = exp(s_t - m)    l = sum e_t    o = sum e_t v_t       of its keys
       out = sum over blocks of exp(m - M) o, divided by the same sum of exp(m - M) l,                      M = max m

   The last block to finish does the second line, in the order of the blocks.
   ================================================================================================================ */

enum { SPLIT = 64, SPEAKERS = 128 };    /* keys of a block; who speak at a time */
enum { CACHE_COUNTS = 65535, CACHE_PARTS = 32 << 20 };          /* of a launch: (token, group); numbers of part */
__device__ int cache_done[CACHE_COUNTS];                        /* blocks that have finished, of each (token, group) */

/* Keys and values of n new tokens into the cache, a thread for each number. */
template <class A> KERNEL(256) cache_store_kernel(A *k, A *v, const A *qkv, const int *rows, const int *positions,
                                                  size_t n, size_t T, size_t queries, size_t kv) {
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x, token = i / (2 * kv), c = i % (2 * kv);
    if (token >= n) return;
    A *to = (c < kv ? k : v) + (rows[token] * T + positions[token]) * kv + c % kv;
    *to = qkv[token * (queries + 2 * kv) + queries + c];
}
/* Block (b, g, n): keys SPLIT b and on, for group g of HEADS query heads (g counts those of all key heads), of new
   token n. The grid spans T, since positions are on the device; blocks behind them return, nobody waits for them. part
   (n, groups, blocks, HEADS, D + 2): m, l, o. Where a group has fewer heads, its last is done again, and dropped. */
template <class A, int HEADS>
KERNEL(32) cache_attention_kernel(A *out, float *part, const A *qkv, const A *k, const A *v, const int *rows,
                                  const int *positions, size_t T, int H, int KV, int D) {
    __shared__ float e[HEADS][SPLIT];                           /* s_t, then e_t in its place */
    const int G = H / KV, groups = (G + HEADS - 1) / HEADS, head = blockIdx.y / groups;
    const int h0 = blockIdx.y % groups * HEADS, heads = min(HEADS, G - h0);             /* of the G on this key head */
    const int lane = threadIdx.x, each = HEADS * (D + 2);
    const size_t n = blockIdx.z, place = n * gridDim.y + blockIdx.y, kv = (size_t)KV * D;
    const int seen = positions[n] + 1, first = blockIdx.x * SPLIT, keys = min((int)SPLIT, seen - first);
    const size_t query = (size_t)(head * G + h0) * D, at = (rows[n] * T + first) * kv + (size_t)head * D;
    if (keys <= 0) return;
    qkv += n * (H * D + 2 * kv) + query;
    out += n * H * D + query;
    for (int i = 0; i < keys; i += 4) {                         /* scores: 8 lanes a key, 8 numbers each at a time */
        const int key = min(i + lane / 8, keys - 1);            /* behind the last: it once more */
        float s[HEADS] = {}, x[8], q[8];
        for (int d = lane % 8 * 8; d < D; d += 64) {
            load_up_to_8(x, k + at + key * kv + d, D - d, D % 8 == 0);
            UNROLL for (int h = 0; h < HEADS; h++) {
                load_up_to_8(q, qkv + min(h, heads - 1) * D + d, D - d, D % 8 == 0);
                UNROLL for (int j = 0; j < 8; j++) s[h] += q[j] * x[j];
            }
        }
        UNROLL for (int h = 0; h < HEADS; h++) {
            s[h] = warp_sum<8>(s[h]) / sqrtf(D);
            if (lane % 8 == 0 && i + lane / 8 < keys) e[h][key] = s[h];
        }
    }
    __syncwarp();                       /* scores are there */
    float *mine = part + (place * gridDim.x + blockIdx.x) * each;
    UNROLL for (int h = 0; h < HEADS; h++) {
        float m = -INFINITY, l = 0;
        for (int i = lane; i < keys; i += 32) m = fmaxf(m, e[h][i]);
        m = warp_max(m);
        for (int i = lane; i < keys; i += 32) l += e[h][i] = expf(e[h][i] - m);
        l = warp_sum(l);
        if (lane == 0) mine[h * (D + 2)] = m, mine[h * (D + 2) + 1] = l;
    }
    __syncwarp();                       /* e and l are there */
    const bool alone = seen <= SPLIT;                           /* then what the block has is all */
    for (int i = lane; i < heads * D; i += 32) {                /* a lane for each number of o */
        float *of = mine + i / D * (D + 2), o = 0;
        _Pragma("unroll 8") for (int key = 0; key < keys; key++)
            o += e[i / D][key] * to_float(v[at + key * kv + i % D]);
        if (alone) store(out + i, o / of[1]);
        else of[2 + i % D] = o;
    }
    const int blocks = (seen + SPLIT - 1) / SPLIT;
    if (alone || !last_of(blocks, &cache_done[place])) return;
    for (int i = lane; i < heads * D; i += 32) {
        const float *of = part + place * gridDim.x * each + i / D * (D + 2);
        float m = -INFINITY, l = 0, o = 0;
        for (int b = 0; b < blocks; b++) m = fmaxf(m, __ldcg(of + (size_t)b * each));
        for (int b = 0; b < blocks; b++) {
            const float *x = of + (size_t)b * each, c = expf(__ldcg(x) - m);
            l += c * __ldcg(x + 1);
            o += c * __ldcg(x + 2 + i % D);
        }
        store(out + i, o / l);
    }
}
/* So many tokens at a time that their parts stay near 128 MB, but one at least. */
ROW cuda_cache_attention(llm_act *out, llm_act *k, llm_act *v, const llm_act *qkv, const int *rows,
                         const int *positions, size_t n, size_t T, size_t H, size_t KV, size_t D) {
    const size_t kv = KV * D, row = H * D + 2 * kv, G = H / KV, heads = G <= 2 ? G : 4;
    const size_t groups = KV * blocks_for(G, heads), each = groups * blocks_for(T, SPLIT) * heads * (D + 2);
    const size_t at_once = min(n, min(CACHE_PARTS / each + 1, CACHE_COUNTS / groups));
    auto kernel = heads == 1 ? cache_attention_kernel<A, 1>
                             : heads == 2 ? cache_attention_kernel<A, 2> : cache_attention_kernel<A, 4>;
    float *part = (float *)room_for(ROOM_ATTENTION, at_once * each * sizeof *part);
    cache_store_kernel<A><<<blocks_for(n * 2 * kv, 256), 256, 0, STREAM>>>(
        (A *)k, (A *)v, (const A *)qkv, rows, positions, n, T, H * D, kv);
    for (size_t i = 0; i < n; i += at_once) {
        const dim3 grid(blocks_for(T, SPLIT), (unsigned)groups, (unsigned)min(at_once, n - i));
        kernel<<<grid, 32, 0, STREAM>>>((A *)out + i * H * D, part, (const A *)qkv + i * row, (const A *)k,
                                        (const A *)v, rows + i, positions + i, T, (int)H, (int)KV, (int)D);
    }
}
ROW cuda_cache_copy(llm_act *k, llm_act *v, size_t to, size_t from, size_t length, size_t T, size_t KV, size_t D) {
    const size_t row = T * KV * D, bytes = length * KV * D * sizeof(A);
    for (A *x : {(A *)k, (A *)v})
        CUDA(cudaMemcpyAsync(x + to * row, x + from * row, bytes, cudaMemcpyDeviceToDevice, gpu.stream));
}

/* ---- several tokens without the host ----

   A step is the model, and the choice (sample_kernel), which leaves on the device what the next step needs: who says
   what, and where. So every step is the same list of launches; it is written down once, as a graph, and handed over as
   a whole: one call in the place of a hundred, each of which would take the host as long as it takes the GPU.

   The choice is chapter 7's, a block for each speaker. A word weighs e^((z - best) / t), in whole numbers of 2^-40: for
   their sums the order of the threads does not matter. The rest are darts, thrown at weights that lie side by side: for
   top-k and top-p in the order of what they weigh, the largest first; for the choice itself in the order of ids, at
   what the filters leave. Chapter 7 differs in two things: it drops words that equal the last one that top-p keeps, and
   may draw one less likely than 2^-40 of the best. */

struct gpu_speech {
    int n, stops;
    int *id; float *logp;                                       /* (steps,n): -1 and NaN until something is said */
    int *token, *position, *stop; uint8_t *banned;              /* of the step (n); (stops); (V) or NULL */
    llm_sampler sampler;
    llm_speaker who[SPEAKERS];
    int at[SPEAKERS];                                           /* where in id and logp the next is to stand */
};
/* Weights w(0), w(1) ... lie side by side: returns the number of the one in which the dart falls. *dart, counted from
   the first one's left end, is then counted from that one's. By a warp, 32 weights at a time; *dart < their sum. */
template <class W> DEVICE int fallen(u64 *dart, W weight) {
    const int lane = threadIdx.x % 32;
    for (int first = 0;; first += 32) {
        u64 upto = weight(first + lane);                        /* the sum of those up to this lane's */
        UNROLL for (int d = 1; d < 32; d *= 2) {
            const u64 left = __shfl_up_sync(~0u, upto, d);
            if (lane >= d) upto += left;
        }
        const int before = __popc(__ballot_sync(~0u, upto <= *dart));           /* so many lie before it */
        if (before) *dart -= __shfl_sync(~0u, upto, before - 1);
        if (before < 32) return first + before;
    }
}
DEVICE u64 mass_of(float p) { return (u64)(p * 0x1p40f); }
/* Words lie side by side from the likeliest down, each as wide as it is heavy (MASS), or 1: returns p of the one in
   which the dart falls. As bits, whose order is that of floats >= 0; the upper two are 0, for p <= 1. They are found
   from above, 8 in a round: the threads add up, for each value of the next 8 (`next`), what the words weigh that begin
   with the bits found so far and go on with it; then every warp looks which value the dart meets. */
template <bool MASS> DEVICE unsigned limit_for(const float *p, int V, u64 dart) {
    __shared__ unsigned low[256];       /* halves of the sums: shared memory adds 32 bits at a time */
    __shared__ unsigned high[256];
    unsigned found = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        __syncthreads();                /* all have read the sums of before */
        for (int i = threadIdx.x; i < 256; i += blockDim.x) low[i] = high[i] = 0;
        __syncthreads();
        for (int v = threadIdx.x; v < V; v += blockDim.x) {
            const unsigned bits = __float_as_uint(p[v]) << 2, next = bits >> shift & 255;
            const u64 w = MASS ? mass_of(p[v]) : 1;
            if ((bits ^ found) >> shift > 255 || w == 0) continue;
            const bool carry = atomicAdd(&low[next], (unsigned)w) + (unsigned)w < (unsigned)w;
            if (w >> 32 || carry) atomicAdd(&high[next], (unsigned)(w >> 32) + carry);
        }
        __syncthreads();
        found |= (255 - fallen(&dart, [&](int i) { return (u64)high[255 - i] << 32 | low[255 - i]; })) << shift;
    }
    return found >> 2;
}
/* Block i chooses for speaker i. The logits z become p = e^((z - best) / t); the filters leave p >= low; the dart is
   thrown at what the warps' stretches of words weigh, and the warp that it hits finds the word. */
KERNEL(1024, 1) sample_kernel(gpu_speech *s, float *z, int V) {
    __shared__ u64 of_warp[32];
    llm_speaker *who = &s->who[blockIdx.x];
    const llm_sampler *o = &s->sampler;
    const float t = (float)o->temperature;
    float *p = z + (size_t)blockIdx.x * V, best = -INFINITY;
    bool wrong = false;
    if (who->left <= 0) return;         /* silent: the same key and value go to the same place once more */
    for (int v = threadIdx.x; v < V; v += blockDim.x) {
        wrong |= !(p[v] < INFINITY);
        if (s->banned && s->banned[v]) p[v] = -INFINITY;
        best = fmaxf(best, p[v]);
    }
    best = block_max(best);
    for (int v = threadIdx.x; v < V; v += blockDim.x) p[v] = t <= 0 ? p[v] == best : expf((p[v] - best) / t);
    const int at = s->at[blockIdx.x];
    if (__syncthreads_or(wrong || !(best > -INFINITY))) {
        if (threadIdx.x == 0) s->id[at] = 0, who->left = 0;     /* with the NaN that stands there: the host complains */
        return;
    }
    /* Each warp has a stretch of the words; `low`: what the filters leave, p of at least this (as bits; 0 is out). */
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32, each = (V + warps - 1) / warps;
    unsigned low = 1;
    auto weight = [&](int i) {
        const int v = warp * each + i;
        return i < each && v < V && __float_as_uint(p[v]) >= low ? mass_of(p[v]) : 0;
    };
    auto weigh = [&] {                  /* at most twice: then limit_for's barriers lie between */
        u64 mine = 0;
        for (int i = lane; i < each; i += 32) mine += weight(i);
        mine = warp_sum(mine);
        if (lane == 0) of_warp[warp] = mine;
        __syncthreads();
        return warp_sum(lane < warps ? of_warp[lane] : 0);
    };
    if (t > 0) {
        if (o->top_k > 0 && o->top_k < V) low = max(low, limit_for<false>(p, V, o->top_k - 1));
        if (o->top_p < 1) low = max(low, limit_for<true>(p, V, (u64)max(0., ceil(o->top_p * (double)weigh()) - 1)));
        if (o->min_p > 0) low = max(low, __float_as_uint((float)o->min_p));             /* -0 has a bit */
    }
    llm_rng rng = who->rng;
    const u64 total = weigh();
    u64 dart = min((u64)(llm_rng_uniform(&rng) * (double)total), total - 1);
    if (t <= 0) dart = 0;               /* the first of the best */
    if (fallen(&dart, [&](int w) { return w < warps ? of_warp[w] : 0; }) != warp) return;
    const int v = warp * each + fallen(&dart, weight);
    if (lane > 0) return;
    bool ends = false;
    for (int i = 0; i < s->stops; i++) ends |= s->stop[i] == v;
    s->id[at] = v;
    s->logp[at] = t <= 0 ? 0 : (float)(log((double)p[v]) - log((double)total * 0x1p-40));
    s->at[blockIdx.x] = at + s->n;
    who->rng = rng;
    llm_speaker_said(who, v, ends);
    if (who->left > 0) s->token[blockIdx.x] = v, s->position[blockIdx.x]++;
}
static void speak_step(llm_model *m, llm_cache *cache, size_t n, gpu_speech *s) {
    llm_cache_forward(m, cache, n, n);
    const unsigned threads = min(1024u, 32 * blocks_for(m->c.V, 256));          /* 8 words for a thread, or more */
    sample_kernel<<<(unsigned)n, threads, 0, STREAM>>>(s, (float *)cache->scratch, m->c.V);
}
/* The graph of a step: launches between begin and end are written down, not run. Where it has the form of the last one,
   that takes over what is new in it (pointers, sizes), for less than another costs. */
static cudaGraphExec_t speak_graph(llm_model *m, llm_cache *cache, size_t n, gpu_speech *s) {
    static cudaGraphExec_t last;
    cudaGraph_t graph;
    cudaGraphExecUpdateResultInfo why;
    CUDA(cudaStreamBeginCapture(gpu.stream, cudaStreamCaptureModeThreadLocal));
    speak_step(m, cache, n, s);
    CUDA(cudaStreamEndCapture(gpu.stream, &graph));
    if (!last || cudaGraphExecUpdate(last, graph, &why) != cudaSuccess) {
        cudaGetLastError();             /* another form */
        if (last) CUDA(cudaGraphExecDestroy(last));
        CUDA(cudaGraphInstantiate(&last, graph, 0));
    }
    CUDA(cudaGraphDestroy(graph));
    return last;
}
/* A repetition penalty needs what was said before: that stays with the host, as does the complaint about min_p. */
static bool cuda_speak(llm_model *m, llm_cache *cache, llm_speaker *who, size_t n, size_t steps, const llm_sampler *s,
                       const llm_request *x, int *id, llm_real *logp) {
    if (n > SPEAKERS || s->repeat_penalty != 1 || s->min_p > 1) return false;
    const size_t said = steps * n, stops = (size_t)x->stops, V = m->c.V, ints = 2 * said + stops;
    gpu_speech *device = (gpu_speech *)room_for(ROOM_SPEAK, sizeof *device + ints * sizeof(int) + V);
    int *data = (int *)(device + 1), row[SPEAKERS], token[SPEAKERS], position[SPEAKERS];
    llm_cache_reserve(m, cache, n, n);
    gpu_speech h = {.n = (int)n, .stops = x->stops, .id = data, .logp = (float *)(data + said), .token = m->ids.tokens,
                .position = m->ids.positions, .stop = data + 2 * said,
                .banned = x->banned ? (uint8_t *)(data + ints) : NULL, .sampler = *s};
    for (int i = 0; i < (int)n; i++)
        h.who[i] = who[i], h.at[i] = i, row[i] = who[i].row, token[i] = who[i].last, position[i] = who[i].position;
    cuda_upload(device, &h, sizeof h);
    cuda_upload(h.stop, x->stop, stops * sizeof *x->stop);
    if (x->banned) cuda_upload(h.banned, x->banned, V);
    cuda_upload(h.token, token, n * sizeof *token);
    cuda_upload(h.position, position, n * sizeof *position);
    cuda_upload(m->ids.start, row, n * sizeof *row);            /* start: rows */
    CUDA(cudaMemsetAsync(data, -1, 2 * said * sizeof *data, gpu.stream));
    speak_step(m, cache, n, device);                            /* as it comes: rooms grow, plans are made */
    cudaGraphExec_t graph = steps > 1 ? speak_graph(m, cache, n, device) : NULL;
    for (size_t step = 1; step < steps; step++) CUDA(cudaGraphLaunch(graph, gpu.stream));
    cuda_fetch(who, device->who, n * sizeof *who);
    cuda_fetch(id, h.id, said * sizeof *id);
    cuda_fetch(logp, h.logp, said * sizeof *logp);
    return true;
}

/* ================================================================================================================
   The table
   ================================================================================================================ */

/* GPUs that this file is written for (sm_80, Ampere, and later). text: their first, or why there is none. */
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
/* The first such GPU, or gpu.local's, all in turn: its stream, its cuBLASLt, its sizes. */
static void cuda_open(void) {
    char text[400];
    const int count = llm_cuda_devices(text, sizeof text);
    if (!count) llm_die("--device cpu", "there is no GPU to compute on: %s", text);
    cudaDeviceProp p;
    int device = -1;
    for (int before = gpu.local % count; before >= 0; before -= p.major >= 8)
        CUDA(cudaGetDeviceProperties(&p, ++device));
    CUDA(cudaSetDevice(device));
    memcpy(gpu.name, p.name, sizeof gpu.name);
    cudaFuncAttributes a;
    if (cudaFuncGetAttributes(&a, sample_kernel) != cudaSuccess)
        llm_die("-gencode for it, as on llm_cuda.cuh's first page", "this program was not compiled for %s (sm_%d%d)",
                gpu.name, p.major, p.minor);
    gpu.processors = p.multiProcessorCount;
    gpu.generation = p.major;
    gpu.shared_limit = p.sharedMemPerBlockOptin;
    CUDA(cudaMemGetInfo(&gpu.unused, &gpu.memory));
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
extern "C" size_t llm_cuda_memory(void) { return gpu.unused; }
/* Rows of logits at a time: 8192 fill the largest GPU; halved until as floats of 131072 words they take at most an
   eighth of memory. */
static size_t head_rows_for(size_t memory) {
    size_t rows = 8192;
    while (rows > 64 && rows * 131072 * sizeof(float) > memory / 8) rows /= 2;
    return rows;
}
/* What the table allocates besides the chunk of logits, for the planner: a bound of what room_for is asked for (but
   that of weights of another type than the table's: c does not tell). */
template <class A> static size_t cuda_scratch_bytes(const llm_config *c, size_t B, size_t T, bool train) {
    const size_t N = B * T, C = c->C, heads = c->H, speaking = 2 * heads * blocks_for(T, SPLIT) * (c->D + 2);
    const size_t parts = min(max(T, (size_t)SPEAKERS) * speaking, CACHE_PARTS + speaking) * sizeof(float);
    const size_t padded = c->V % 64 ? (c->V + 63) / 64 * 64 * C * sizeof(A) : 0;
    if (!train) return workspace_bytes + parts + padded;
    const size_t widest = max((size_t)(c->activation == LLM_SWIGLU ? 2 : 1) * c->F, (heads + 2 * c->KV) * c->D);
    const size_t of_block = max(widest, 2 * max(C, heads * c->D));
    const size_t sums = max(sum_rows(sum_blocks(N)) * of_block, (split_at_most(N) + 1) * C);
    const size_t chunk = min(N, head_rows_for(gpu.memory));
    const size_t head = chunk * (64 * sizeof(float) + 2 * C * sizeof(A));       /* padding; the rows with a gradient */
    const size_t learning = (20 * c->L + 6) * (SHARES * sizeof(double) + sizeof(learner));      /* tensors, at most */
    return workspace_bytes + sums * sizeof(float) + N * heads * sizeof(of_query) + head + learning + padded;
}
static void cuda_enter(const llm_ops *ops) { running = *ops; }

template <class A> static llm_ops cuda_table(llm_precision precision) {
    return {
        .name = "cuda", .precision = precision,
        .act_size = sizeof(A), .res_size = sizeof(float), .dres_size = in_bf16<A>() ? 6 : 4, .ids_size = ORDER_BYTES,
        .head_rows = head_rows_for(gpu.memory), .speakers = SPEAKERS,

        .alloc = cuda_alloc<false>, .release = cuda_release,
        .upload = cuda_upload, .download = cuda_download,
        .fetch = cuda_fetch, .wait = cuda_wait,
        .load_ids = cuda_load_ids, .store_weights = cuda_store_weights,
        .embed_forward = cuda_embed_forward, .embed_backward = cuda_embed_backward,
        .layernorm_forward = cuda_layernorm_forward<A>, .layernorm_backward = cuda_layernorm_backward<A>,
        .rmsnorm_forward = cuda_rmsnorm_forward<A>, .rmsnorm_backward = cuda_rmsnorm_backward<A>,
        .linear_forward = cuda_linear_forward<A>, .linear_backward = cuda_linear_backward<A>,
        .residual_forward = cuda_residual_forward<A>, .residual_backward = cuda_residual_backward<A>,
        .lora_forward = cuda_lora_forward<A>, .lora_backward = cuda_lora_backward<A>,
        .rope_forward = cuda_rope<A, 1>, .rope_backward = cuda_rope<A, -1>,
        .qk_norm_forward = cuda_qk_norm_forward<A>, .qk_norm_backward = cuda_qk_norm_backward<A>,
        .post_norm_forward = cuda_post_norm_forward<A>, .post_norm_backward = cuda_post_norm_backward<A>,
        .stream_forward = cuda_stream_forward<A>, .stream_backward = cuda_stream_backward<A>,
        .attention_forward = cuda_attention_forward<A>, .attention_backward = cuda_attention_backward<A>,
        .gelu_forward = cuda_gelu_forward<A>, .gelu_backward = cuda_gelu_backward<A>,
        .swiglu_forward = cuda_swiglu_forward<A>, .swiglu_backward = cuda_swiglu_backward<A>,
        .logprob_forward = cuda_logprob_forward<A>, .logprob_backward = cuda_logprob_backward<A>,
        .logits = cuda_logits<A>,
        .value_forward = cuda_value_forward<A>, .value_backward = cuda_value_backward<A>,
        .grad_norm = cuda_grad_norm, .adamw = cuda_adamw,
        .cache_attention = cuda_cache_attention<A>, .cache_copy = cuda_cache_copy<A>,
        .enter = cuda_enter, .logprob_fused = cuda_logprob_fused<A>,
        .linear_gelu_forward = cuda_linear_gelu_forward<A>,
        .residual_gelu_backward = cuda_residual_gelu_backward<A>,
        .speak = cuda_speak, .alloc_host = cuda_alloc<true>, .scratch_bytes = cuda_scratch_bytes<A>,
    };
}
/* The table for a precision, made when it is first asked for; the GPU is then opened. */
extern "C" const llm_ops *llm_cuda(llm_precision p) {
    static llm_ops table[LLM_TF32 + 1];
    if (p == LLM_BF16X3) llm_die("--precision bf16, tf32 or fp32", "bf16x3 is how a CPU multiplies, not a GPU");
    if (!gpu.stream) cuda_open();
    if (!table[p].name) table[p] = p == LLM_BF16 ? cuda_table<bf16>(p) : cuda_table<float>(p);
    return &table[p];
}

/* ================================================================================================================
   Many GPUs (-DLLM_NCCL): the rows of llm_ranks, chapter 10, by NVIDIA's library NCCL; a process for each GPU

   What NCCL does is kernels, too. They run on a stream of their own, the wire, beside those that compute. An event is a
   mark in a stream: before each row the wire waits for what was launched so far, and `wait` lets computing wait for the
   wire. All ranks ask in the same order, on one stream: so nobody waits in a circle.

       stream   backward of block 12 | 11        | 10        | ...    wait | AdamW
       wire                          | sum of 12 | sum of 11 | sum of 10   |
   ================================================================================================================ */
#ifdef LLM_NCCL

static const size_t WIRE_ROOM = 16 << 20;       /* bytes */
static struct {
    llm_ranks team;
    llm_ranks *mpi;                     /* who brought the ranks together; NULL: torchrun */
    cudaStream_t stream;
    cudaEvent_t mark;
    ncclComm_t all, data, layer;        /* all ranks; data ranks (all, if tensors is 1); those that share a layer */
    char *host, *device;                /* WIRE_ROOM each: host rows, and sums that are to be added, go through it */
} wire;

#define NCCL(call) nccl_must((call), #call, __LINE__)
static void nccl_must(ncclResult_t e, const char *call, int line) {
    if (e != ncclSuccess && e != ncclInProgress)
        llm_die("NCCL_DEBUG=INFO, with which NCCL tells more", "NCCL: %s: %s (llm_cuda.cuh:%d: %s)",
                ncclGetErrorString(e), ncclGetLastError(NULL), line, call);
}
/* The host waits for a stream, and asks meanwhile whether NCCL still reaches all. */
static void wire_watch(cudaStream_t s) {
    const ncclComm_t comm[] = {wire.all, wire.data, wire.layer};
    llm_team_watch("work of the GPU that waits for theirs");
    while (cudaStreamQuery(s) == cudaErrorNotReady) {
        cudaGetLastError();             /* which is no error */
        for (int i = 0; i < 3; i++) {
            ncclResult_t e = ncclSuccess;
            if (comm[i]) NCCL(ncclCommGetAsyncError(comm[i], &e));
        NCCL(e);
        }
    }
    CUDA(cudaStreamSynchronize(s));
    llm_team_watch(NULL);
}
/* The clock that is set here runs until the host has waited for the GPU. */
static void wire_begin(const char *what) {
    llm_team_watch(what);
    CUDA(cudaEventRecord(wire.mark, STREAM));
    CUDA(cudaStreamWaitEvent(wire.stream, wire.mark, 0));
}
static void wire_wait(void) {
    CUDA(cudaEventRecord(wire.mark, wire.stream));
    CUDA(cudaStreamWaitEvent(gpu.stream, wire.mark, 0));
}
KERNEL(256) add_kernel(float *acc, const float *x, size_t n) {
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (i < n) acc[i] += x[i];
}
/* What is to be added to acc comes into the room first, piece by piece. */
static void wire_sum(llm_real *acc, const llm_real *part, size_t n, int root, bool add) {
    const llm_ranks *t = &wire.team;
    const bool mine = root < 0 || root == t->data;
    float *room = (float *)wire.device;
    wire_begin("a sum over the data ranks");
    for (size_t at = 0, k; at < n; at += k) {
        k = add ? min(n - at, WIRE_ROOM / sizeof *acc) : n;
        float *to = !mine ? NULL : add ? room : acc + at;
        if (root < 0) NCCL(ncclAllReduce(part + at, to, k, ncclFloat, ncclSum, wire.data, wire.stream));
        else NCCL(ncclReduce(part + at, to, k, ncclFloat, ncclSum, root, wire.data, wire.stream));
        if (add && mine) add_kernel<<<blocks_for(k, 256), 256, 0, wire.stream>>>(acc + at, room, k);
    }
    const double bytes = (double)n * sizeof *acc;
    wire.team.sent += root < 0 ? 2 * bytes * (t->datas - 1) / t->datas : mine ? 0 : bytes;
}
/* In a ring each passes it on but the last, the one before root. */
static double ring_bytes(double bytes, int me, int ranks, int root) { return (me + 1) % ranks == root ? 0 : bytes; }

static void wire_spread(llm_real *x, const llm_real *own, size_t n, int root) {
    wire_begin("numbers of a data rank");
    NCCL(ncclBroadcast(own ? own : x, x, n, ncclFloat, root, wire.data, wire.stream));
    wire.team.sent += ring_bytes((double)n * sizeof *x, wire.team.data, wire.team.datas, root);
}
static void wire_all_sum(void *x, size_t n, size_t bytes_each) {
    const int ranks = wire.team.tensors;
    if (ranks == 1) return;
    wire_begin("a sum over the ranks of a layer");
    NCCL(ncclAllReduce(x, x, n, bytes_each == 2 ? ncclBfloat16 : ncclFloat, ncclSum, wire.layer, wire.stream));
    wire.team.sent += 2. * n * bytes_each * (ranks - 1) / ranks;
}
static void wire_gather(void *all, size_t bytes_each) {
    const size_t ranks = wire.team.size, me = wire.team.rank;
    for (size_t at = 0, k; at < bytes_each; at += k) {
        k = min(bytes_each - at, WIRE_ROOM / ranks);
        memcpy(wire.host, (char *)all + me * bytes_each + at, k);
        CUDA(cudaMemcpyAsync(wire.device + me * k, wire.host, k, cudaMemcpyDefault, wire.stream));
        NCCL(ncclAllGather(wire.device + me * k, wire.device, k, ncclUint8, wire.all, wire.stream));
        CUDA(cudaMemcpyAsync(wire.host, wire.device, ranks * k, cudaMemcpyDefault, wire.stream));
        wire_watch(wire.stream);
        for (size_t r = 0; r < ranks; r++) memcpy((char *)all + r * bytes_each + at, wire.host + r * k, k);
    }
    wire.team.sent += (ranks - 1.) * bytes_each;
}
static void wire_share(void *x, size_t bytes, int root) {
    for (size_t at = 0, k; at < bytes; at += k) {
        k = min(bytes - at, WIRE_ROOM);
        memcpy(wire.host, (char *)x + at, k);
        CUDA(cudaMemcpyAsync(wire.device, wire.host, k, cudaMemcpyDefault, wire.stream));
        NCCL(ncclBroadcast(wire.device, wire.device, k, ncclUint8, root, wire.all, wire.stream));
        CUDA(cudaMemcpyAsync(wire.host, wire.device, k, cudaMemcpyDefault, wire.stream));
        wire_watch(wire.stream);
        memcpy((char *)x + at, wire.host, k);
    }
    wire.team.sent += ring_bytes(bytes, wire.team.rank, wire.team.size, root);
}
static void wire_unsplit(ncclResult_t (*end)(ncclComm_t)) {
    if (wire.layer) NCCL(end(wire.layer)), NCCL(end(wire.data));
    wire.layer = NULL, wire.data = wire.all;
}
static void wire_split(int tensors) {
    llm_team_watch("llm_team_set");
    wire_unsplit(ncclCommDestroy);
    if (tensors > 1) {                  /* color: who are together */
        NCCL(ncclCommSplit(wire.all, wire.team.tensor, wire.team.rank, &wire.data, NULL));
        NCCL(ncclCommSplit(wire.all, wire.team.data, wire.team.rank, &wire.layer, NULL));
    }
    llm_team_watch(NULL);
}

static void wire_stop(int code) {
    torchrun_stop();
    signal(SIGALRM, SIG_DFL);
    alarm(5);                           /* should NCCL not end */
    wire_unsplit(ncclCommAbort);
    if (wire.all) ncclCommAbort(wire.all);
    if (wire.mpi) wire.mpi->stop(code);
    _exit(code);
}
static void wire_close(void) {
    if (!wire.all) return;
    torchrun_leave();
    char *word = (char *)llm_alloc(wire.team.size, 1);
    wire_gather(word, 1);               /* all have left: nobody minds any more who goes first */
    llm_release(word);
    wire_unsplit(ncclCommDestroy);
    NCCL(ncclCommDestroy(wire.all));
    wire.all = wire.data = NULL;
    gpu.watch = NULL;
    if (wire.mpi) wire.mpi->close();
}
/* NULL: this process is alone. */
extern "C" llm_ranks *llm_nccl(void) {
    llm_ranks *t = &wire.team;
    ncclUniqueId id;
#ifdef LLM_MPI
    if (!torchrun_started()) *t = *(wire.mpi = llm_mpi(NULL, NULL));
#endif
    if (!wire.mpi && !torchrun_started()) return NULL;
    t->engine = "NCCL", t->sum = wire_sum, t->spread = wire_spread, t->all_sum = wire_all_sum, t->wait = wire_wait;
    t->gather = wire_gather, t->share = wire_share, t->split = wire_split, t->stop = wire_stop, t->close = wire_close;
    if (wire.mpi) llm_team = t;         /* it has joined already */
    else torchrun_join(t);
    if (t->rank == 0) NCCL(ncclGetUniqueId(&id));
    if (wire.mpi) wire.mpi->share(&id, sizeof id, 0);
    else torchrun_meet(&id, sizeof id);                         /* first of all: an error of one is known to all */
    gpu.local = t->local;
    if (!gpu.stream) cuda_open();
    CUDA(cudaStreamCreateWithFlags(&wire.stream, cudaStreamNonBlocking));
    CUDA(cudaEventCreateWithFlags(&wire.mark, cudaEventDisableTiming));
    CUDA(cudaMallocHost(&wire.host, WIRE_ROOM));
    CUDA(cudaMalloc(&wire.device, WIRE_ROOM));
    llm_team_watch("ncclCommInitRank");
    NCCL(ncclCommInitRank(&wire.all, t->size, id, t->rank));
    llm_team_watch(NULL);
    CUDA(cudaMemGetInfo(&gpu.unused, &gpu.memory));             /* NCCL takes its share */
    gpu.watch = wire_watch;
    atexit(wire_close);                 /* also after --help */
    llm_team_set(0, 1);
    return t;
}
#endif
