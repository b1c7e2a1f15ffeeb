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
    int processors, generation;         /* 8: A100, 9: H100 (the major number of its compute capability) */
    size_t shared_limit;                /* bytes of shared memory that a block may ask for */
    char name[256];
} gpu;

/* What `enter` takes over from the table that is to run. */
enum { HEAD_ROWS = 4096 };
static struct { bool tf32; size_t head_rows; } running = {false, HEAD_ROWS};

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
template <class A> constexpr bool half() { return sizeof(A) == 2; }
/* The residual stream's gradient as products read it: itself, or the bf16 copy that lies behind it. */
template <class A> static inline A *dres_for_products(const llm_res *dres, size_t N, size_t C) {
    return half<A>() ? (A *)((float *)dres + N * C) : (A *)dres;
}

/* ================================================================================================================
   Memory
   ================================================================================================================ */

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
