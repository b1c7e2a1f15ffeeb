/* llm_simd.h: the operations of llm.h once more, fast: for AVX-512, AMX, AVX2 and NEON, on all cores

   What it is. llm.h defines every operation as a plain loop and is complete without this file. Here stand faster bodies
   for the same table: the same equations, cut and added up in another order, so that results agree to rounding, but not
   to the bit. test/test_ops.c compares every row with its plain loop. Nothing in here belongs to the lecture but one
   question: how fast can it be?

   Who includes it. llm.h, at the end of its implementation, where this file lies beside it (not with -DLLM_PLAIN, and
   only for gcc and clang, whose vector types it is written in). It uses what llm.h has defined, so nobody else can.
   llm_cpu() then returns llm_plain's table with these bodies in it, and a row that has none here keeps its plain loop.

   How it is laid out. The equations stand in llm.h, chapter 4, and are not repeated; what is explained here is what
   makes the fast form fast.

       1  vectors                       vector types, exp; the current precision, and how activations are stored
       2  the product                   C = A B: packing, the kernels for vectors and AMX, sharing it among threads
       3  the operations                in the order of the table
       4  a matrix times few rows       what speaking spends its time on
       5  speaking                      attention over the cache; a whole step in one parallel region
       6  the table                     what all this takes, for the planner; llm_cpu

   All results are the same bits for any number of threads: work is split over outputs or over fixed chunks whose sums
   are added in order, never by who comes first. Macros end with the file; names are simd_<op> for a row of the table,
   gemm_, attention_, head_, few_ for what serves one section, v... for vectors, cpu_ for the rest. */
#ifndef LLM_SIMD_H
#define LLM_SIMD_H

/* ================================================================================================================
   1. Vectors
   ================================================================================================================
   A vector register holds VL numbers and one instruction works on all of them. The compilers' vector extensions give
   us + - * / and comparisons on whole vectors in plain C, for AVX-512, AVX2 and NEON from the same source. A comparison
   gives a mask: all bits one where it holds. */

#include <sched.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#if LLM_DOUBLE
#define VL (VECTOR_BYTES / 8)
typedef int64_t real_bits;              /* an integer as wide as llm_real */
#else
#define VL (VECTOR_BYTES / 4)
typedef int32_t real_bits;
#endif
#define ALWAYS_INLINE inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
typedef llm_real vreal __attribute__((vector_size(VECTOR_BYTES)));
typedef real_bits vbits __attribute__((vector_size(VECTOR_BYTES)));
typedef llm_real vreal_any __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(llm_real)), may_alias));

static inline vreal vload(const llm_real *p) { return *(const vreal_any *)p; }          /* of any alignment */
static inline void vstore(llm_real *p, vreal v) { *(vreal_any *)p = v; }
static inline vreal vset(llm_real x) { return x - (vreal){0}; }         /* minus: keeps the sign of -0 */
/* The last few numbers of a row: n < VL of them, the other lanes 0. From VL on, a whole vector. So a loop
   `for (i = 0; i < n; i += VL) vstore_n(y + i, f(vload_n(x + i, n - i)), n - i)` treats every element alike. */
static inline vreal vload_n(const llm_real *p, size_t n) {
    if (n >= VL) return vload(p);
    vreal v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
}
static inline void vstore_n(llm_real *p, vreal v, size_t n) {
    if (n >= VL) vstore(p, v);
    else memcpy(p, &v, n * sizeof *p);
}
/* mask ? a : b. C has no such operator on vectors. */
static inline vreal vselect(vbits mask, vreal a, vreal b) { return (vreal)((mask & (vbits)a) | (~mask & (vbits)b)); }
/* The larger, the smaller of two; when a is NaN it stays NaN. (Intrinsics: one instruction instead of three.) */
#if defined(__AVX512F__) && !LLM_DOUBLE
static inline vreal vmax(vreal a, vreal b) { return (vreal)_mm512_max_ps((__m512)b, (__m512)a); }
static inline vreal vmin(vreal a, vreal b) { return (vreal)_mm512_min_ps((__m512)b, (__m512)a); }
#else
static inline vreal vmax(vreal a, vreal b) { return vselect(a < b, b, a); }
static inline vreal vmin(vreal a, vreal b) { return vselect(b < a, b, a); }
#endif
/* ZIP: interleave the low, the high halves of two vectors. */
#if VL == 16
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif VL == 8
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif VL == 4
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 2)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif
/* Sum and maximum over the lanes: log2(VL) times the two halves are brought together, until every lane holds the
   result. */
static inline llm_real vsum(vreal v) {
    for (int n = 1; n < VL; n *= 2) v = ZIP_LOW(v, v) + ZIP_HIGH(v, v);
    return v[0];
}
static inline llm_real vhmax(vreal v) {
    for (int n = 1; n < VL; n *= 2) v = vmax(ZIP_LOW(v, v), ZIP_HIGH(v, v));
    return v[0];
}

/* exp(x) = 2^n exp(r) with n = x / log 2 rounded to an integer, which goes straight into the exponent bits, and
   |r| <= log(2)/2, where a polynomial of degree 6 is off by 3e-9: the best one that begins with 1 + r (Remez: its error
   swings evenly between -3.1e-9 and 3.1e-9). Below -87.3 the result is 0, above 88.3 it stays at
   2.4e38, NaN stays NaN. The result is within one unit in the last place. The double build calls libm lane by lane. */
static inline vreal vexp(vreal x) {
#if LLM_DOUBLE
    vreal y;
    for (int i = 0; i < VL; i++) y[i] = exp(x[i]);
    return y;
#else
    const float low = -87.336f, high = 88.37f, round = 0x1.8p23f;       /* adding 1.5 * 2^23 rounds to an integer */
    vreal z = vmin(vmax(x, vset(low)), vset(high));
    vreal n = z * 1.44269504f + round;
    vbits power = ((vbits)n - 0x4B400000 + 127) << 23;      /* the bits of 2^n; 0x4B400000 are those of `round` */
    n -= round;
    vreal r = z - n * 0x1.62e4p-1f - n * 1.42860682e-6f;    /* log 2 in two pieces; n times the short one is exact */
    vreal p = 1.38145401e-3f * r + 8.36874511e-3f;
    p = p * r + 4.16683908e-2f;
    p = p * r + 1.66665204e-1f;
    p = p * r + 4.99999934e-1f;
    p = p * r * r + r + 1.0f;
    return (vreal)((vbits)(p * (vreal)power) & ~(x < low));
#endif
}
static inline vreal vsigmoid(vreal x) { return 1 / (1 + vexp(-x)); }
static inline vreal vtanh(vreal x) { return 1 - 2 / (1 + vexp(2 * x)); }        /* absolute error 1e-7 */
/* gelu(x) / x and gelu'(x): "gelu and swiglu", below. */
static inline vreal gelu_gate(vreal x) { return vsigmoid(gelu_scale * (x + gelu_cubic * x * x * x)); }
static inline vreal gelu_slope(vreal x) {
    const vreal s = gelu_gate(x);
    return s + x * s * (1 - s) * gelu_scale * (1 + 3 * gelu_cubic * x * x);
}
/* The same for one number: the same bits as in a vector. */
static inline llm_real real_exp(llm_real x) { return vexp(vset(x))[0]; }
static inline llm_real real_sigmoid(llm_real x) { return vsigmoid(vset(x))[0]; }
static inline llm_real real_tanh(llm_real x) { return vtanh(vset(x))[0]; }

/* ---- the state of the CPU, and how activations are stored ----

   The precision says how activations are stored and multiplied (the residual stream, gradients of weights and the
   weights that learn stay fp32). One is current: llm_cpu(p) makes p so, and every pass of a model that of its own table
   (cpu_enter), so models of several precisions may take turns. Not several threads: a pass has all of them already.

       precision   activations   product
       fp32        fp32          AMX: each number split in three bf16, 24 bits in all, six products, fp32 sums
       bf16x3      fp32          AMX: each number split in two bf16, three products, fp32 sums
       bf16        bf16          AMX, or AMD's vectors for bf16: numbers rounded to bf16, fp32 sums

   Where there is no AMX (or LLM_AMX=0 forbids it) vector instructions multiply what is stored: then fp32 and bf16x3 are
   plain fp32, and bf16 saves time on AMD's processors from Zen 4 on, elsewhere only memory. Attention's products are
   always by vectors, in llm_real. (With AMX and several parts, infinity and what bf16 rounds to it, from 3.396e38 on,
   become NaN, and below 1e-33 the last bits are lost.) */

/* Is the product for AMX compiled in? (GCC and clang spell the macro differently.) */
#if (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__AVX512BF16__) && defined(__linux__) && !LLM_DOUBLE
#define LLM_AMX 1
#include <sys/syscall.h>
#else
#define LLM_AMX 0
#endif
/* Can vectors be written past the caches? */
#if defined(__AVX512F__) && !LLM_DOUBLE
#define LLM_STREAM 1
#else
#define LLM_STREAM 0
#endif
/* Are there vector instructions for bf16? Then we can multiply pairs of them, and write them past the caches, too. */
#if defined(__AVX512BF16__) && !LLM_DOUBLE
#define LLM_PAIRS 1
#else
#define LLM_PAIRS 0
#endif

static struct {
    llm_precision precision;
    llm_type act;                       /* LLM_TYPE_REAL or LLM_TYPE_BF16 */
    size_t act_size;                    /* bytes of one stored activation */
    bool amx;                           /* multiply with AMX tiles */
    bool pairs;                         /* multiply pairs of bf16 with vectors */
    size_t block;                       /* bytes of one matrix of a product that shall stay in a core's L2 cache */
} cpu = {LLM_FP32, LLM_TYPE_REAL, sizeof(llm_real), false, false, 0};

/* The AMX registers are 8 KB of state per thread, so Linux wants to be asked before a process uses them. */
bool llm_has_amx(void) {
#if LLM_AMX
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    static int granted = -1;
    const char *wish = getenv("LLM_AMX");
    if (granted < 0 && wish && !strcmp(wish, "0")) granted = 0;
    if (granted < 0) granted = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
    return granted;
#else
    return false;
#endif
}
/* A vector instruction for pairs of bf16 does twice the work of one for fp32. AMD's Zen 4 and 5 start as many of them
   in a cycle, Intel's processors a quarter as many. */
static bool cpu_has_fast_pairs(void) {
#if LLM_PAIRS
    return __builtin_cpu_is("amd");
#else
    return false;
#endif
}
static const char *simd_product_name(llm_precision p) {
    static const char *const tiles[] = {"three bf16 parts on AMX", "two bf16 parts on AMX", "AMX"};
    if (llm_has_amx()) return tiles[p];
    if (p == LLM_BF16X3) return "vectors, as fp32: no AMX here";
    return p == LLM_FP32 ? "vectors" : cpu_has_fast_pairs() ? "vectors of bf16 pairs" : "fp32 vectors";
}
llm_precision llm_precision_best(void) { return llm_has_amx() ? LLM_BF16X3 : LLM_FP32; }

/* A good third of L2; what else passes through needs the rest. An L2 of more than 2 MB is one that cores share. */
static size_t cpu_block(void) {
    long size = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
    size = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    if (size <= 0) size = 1 << 20;      /* the system does not say */
    return (size_t)llm_max(1 << 18, (int)size_min((size_t)size, 2 << 20)) / 8 * 3;
}
static void cpu_set_precision(llm_precision p) {
    if (!cpu.block) cpu.block = cpu_block();
    if (sizeof(llm_real) == sizeof(double) && p != LLM_FP32)
        llm_die("--precision fp32", "bf16x3 and bf16 are not part of a build with -DLLM_REAL=double");
    if (p == LLM_TF32) llm_die("--precision fp32, bf16x3 or bf16", "tf32 is how a GPU multiplies, not a CPU");
    cpu.precision = p;
    cpu.act = p == LLM_BF16 ? LLM_TYPE_BF16 : LLM_TYPE_REAL;
    cpu.act_size = p == LLM_BF16 ? sizeof(uint16_t) : sizeof(llm_real);
    cpu.amx = llm_has_amx();
    cpu.pairs = p == LLM_BF16 && !cpu.amx && cpu_has_fast_pairs();
}

/* VL bf16 at once, by the machine's own instruction where there is one (it also turns numbers below 1.2e-38 into 0). In
   the double build, where nothing is stored so, they go one by one. */
typedef uint16_t vhalf __attribute__((vector_size(VL * 2), aligned(2), may_alias));
static inline vreal vload_bf16(const uint16_t *p) {
#if LLM_DOUBLE
    vreal v = {0};
    for (int i = 0; i < VL; i++) v[i] = bf16_to_real(p[i]);
    return v;
#elif defined(__AVX512BF16__)
    return (vreal)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)*(const vhalf *)p), 16);
#else
    return (vreal)(__builtin_convertvector(*(const vhalf *)p, vbits) << 16);
#endif
}
static inline void vstore_bf16(uint16_t *p, vreal v) {
#if LLM_DOUBLE
    for (int i = 0; i < VL; i++) p[i] = real_to_bf16(v[i]);
#elif defined(__AVX512BF16__)
    *(vhalf *)p = (vhalf)_mm512_cvtneps_pbh((__m512)v);
#else
    vbits bits = (vbits)v, rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
    *(vhalf *)p = __builtin_convertvector((vbits)vselect(v == v, (vreal)rounded, (vreal)nan), vhalf);
#endif
}

/* Numbers i .. i+VL-1 of an array of reals or bf16 as a vector; when n < VL only the first n of them. */
static inline vreal load_n(const void *x, llm_type type, size_t i, size_t n) {
    if (type == LLM_TYPE_REAL) return vload_n((const llm_real *)x + i, n);
    const uint16_t *p = (const uint16_t *)x + i;
    if (n >= VL) return vload_bf16(p);
    uint16_t part[VL] = {0};
    memcpy(part, p, n * sizeof *p);
    return vload_bf16(part);
}
static inline void store_n(void *x, llm_type type, size_t i, vreal v, size_t n) {
    if (type == LLM_TYPE_REAL) {
        vstore_n((llm_real *)x + i, v, n);
        return;
    }
    uint16_t *p = (uint16_t *)x + i, part[VL];
    vstore_bf16(n >= VL ? p : part, v);
    if (n < VL) memcpy(p, part, n * sizeof *p);
}
static inline vreal act_load_n(const llm_act *x, size_t i, size_t n) { return load_n(x, cpu.act, i, n); }
static inline void act_store_n(llm_act *x, size_t i, vreal v, size_t n) { store_n(x, cpu.act, i, v, n); }
static inline vreal act_load(const llm_act *x, size_t i) { return load_n(x, cpu.act, i, VL); }
static inline void act_store(llm_act *x, size_t i, vreal v) { store_n(x, cpu.act, i, v, VL); }
/* Address of element i. */
static inline const llm_act *act_at(const llm_act *x, size_t i) {
    return (const llm_act *)((const char *)x + i * cpu.act_size);
}
static inline llm_act *act_place(llm_act *x, size_t i) { return (llm_act *)((char *)x + i * cpu.act_size); }
/* n activations from element `offset` on: the place itself when stored as llm_real, else widened into scratch. */
static inline const llm_real *cpu_row(const llm_act *x, size_t offset, size_t n, llm_real *scratch) {
    if (cpu.act == LLM_TYPE_REAL) return (const llm_real *)x + offset;
    for (size_t i = 0; i < n; i += VL) vstore_n(scratch + i, act_load_n(x, offset + i, n - i), n - i);
    return scratch;
}
/* Where to compute a row that cpu_store will then store: the place itself, or scratch. */
static inline llm_real *cpu_row_out(llm_act *x, size_t offset, llm_real *scratch) {
    return cpu.act == LLM_TYPE_REAL ? (llm_real *)x + offset : scratch;
}
static inline void cpu_store(llm_act *x, size_t offset, const llm_real *row, size_t n) {
    if (cpu.act == LLM_TYPE_REAL && (const llm_real *)x + offset == row) return;
    for (size_t i = 0; i < n; i += VL) act_store_n(x, offset + i, vload_n(row + i, n - i), n - i);
}

/* ================================================================================================================
   2. The product
   ================================================================================================================
   C (M,N) = A (M,K) B (K,N) is where the time of training goes. Each number of A is used N times and each of B M times,
   but memory delivers a hundred times fewer numbers than the arithmetic can use up. So the product is cut into pieces
   that stay in a cache while they are used again and again:

                                 N                     block   some rows of A, in L2 while panel after panel of B
                       +-------------+----+-----+              passes by
                       |             | p  |     |      panel   a few columns of B, in L2 too (for AMX in L1, a
                     K |             | a  |     |              step at a time) while the block's tiles pass by
                       |             | n  |     |      tile    the corner where the two meet, summed in registers:
                       |             | el |     |              8 x 48 numbers in 24 AVX-512 registers, or 32 x 32 in
                       +-------------+----+-----+              four AMX tiles
            K
       +---------+     +-------------+----+-----+      First all threads pack, then they multiply.
       |  block  |     |             |tile|     |      Packing copies so that the inner loop reads front to back. It
     M |         |     |             |    |     |      alone knows about transposes (strides) and types (real, bf16,
       |         |     |             |    |     |      q8, q4): one function serves A B, A B' and A' B. (Rows of A
       +---------+     +-------------+----+-----+      that already lie as the vector kernel wants them are read there.)

   Every element of C is summed over K in one order, however many threads and rows there are: the same numbers give the
   same bits. C is touched once, after its last sum, where bias, residual and storage type are taken
   care of. */

/* A matrix in memory: element (i,j) is number i*rs + j*cs. One stride is 1; swapping the two transposes. q8 and q4 have
   an f16 scale for each 32 numbers of a memory row (of at least 2 numbers). q8: an int8 times the scale. q4: 16 bytes a
   block, byte b holding numbers b (low half) and b + 16 (high half), minus 8, times the scale; a row is padded to whole
   blocks. */
typedef struct { const void *data; llm_type type; size_t rs, cs; const uint16_t *scale; } cpu_view;
/* Where a product goes: C (M,N), rows ld apart as in all these matrices, = (C if accumulate) + A B + bias (N) + add.
   gelu: gelu(C) is wanted, too. pre: C is multiplied by gelu'(pre). Both are stored as C is. */
typedef struct {
    void *data; llm_type type; size_t ld; bool accumulate; const llm_real *bias, *add;
    void *gelu; const void *pre;
} cpu_out;

static inline cpu_view real_view(const llm_real *x, size_t rs, size_t cs) {
    return (cpu_view){x, LLM_TYPE_REAL, rs, cs, NULL};
}
static inline cpu_view act_view(const llm_act *x, size_t rs, size_t cs) { return (cpu_view){x, cpu.act, rs, cs, NULL}; }
static inline cpu_view cpu_weight_view(llm_weight w, int cols) {
    return (cpu_view){w.data, w.type, (size_t)cols, 1, w.scale};
}
static inline cpu_view cpu_transposed(cpu_view v) { return (cpu_view){v.data, v.type, v.cs, v.rs, v.scale}; }
static inline cpu_out real_out(llm_real *x, size_t ld, bool accumulate) {
    return (cpu_out){x, LLM_TYPE_REAL, ld, accumulate, NULL, NULL, NULL, NULL};
}
static inline cpu_out act_out(llm_act *x, size_t ld) {
    return (cpu_out){x, cpu.act, ld, false, NULL, NULL, NULL, NULL};
}

/* A block's scale. */
static inline llm_real block_scale(uint16_t h) {
#if defined(__F16C__)
    return _cvtsh_ss(h);
#elif defined(__ARM_FP16_FORMAT_IEEE)
    __fp16 x;
    memcpy(&x, &h, sizeof x);
    return x;
#else
    return f16_to_real(h);
#endif
}
typedef struct { vreal v[32 / VL]; } weights32;

/* Block b of a row, 32 weights. GCC 12 turns its own conversion of int8 vectors into scalar code, hence intrinsics. */
static ALWAYS_INLINE weights32 weight_block(const llm_type type, const void *row, const uint16_t *scale, size_t b) {
    weights32 w;
    if (type == LLM_TYPE_REAL || type == LLM_TYPE_BF16) {
        UNROLL for (int i = 0; i < 32 / VL; i++) w.v[i] = load_n(row, type, 32 * b + (size_t)(i * VL), VL);
        return w;
    }
    const int8_t *q8 = (const int8_t *)row + 32 * b;
    const uint8_t *q4 = (const uint8_t *)row + 16 * b;
#if defined(__AVX2__) && defined(__F16C__) && !LLM_DOUBLE
    const __m128i nibble = _mm_set1_epi8(15), bytes = _mm_loadu_si128((const void *)q4);
    const __m256 s = _mm256_cvtph_ps(_mm_set1_epi16((short)scale[b]));
    const __m128i half[2] = {_mm_and_si128(bytes, nibble), _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble)};
    for (int i = 0; i < 4; i++) {
        const __m128i part = i % 2 ? _mm_srli_si128(half[i / 2], 8) : half[i / 2];
        const __m256i q = type == LLM_TYPE_Q8 ? _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(q8 + 8 * i)))
                                              : _mm256_sub_epi32(_mm256_cvtepu8_epi32(part), _mm256_set1_epi32(8));
        const __m256 x = _mm256_mul_ps(s, _mm256_cvtepi32_ps(q));
        memcpy((char *)&w + 32 * i, &x, sizeof x);
    }
#else
    const llm_real s = block_scale(scale[b]);
    llm_real whole[32];
    for (int i = 0; i < 32; i++)
        whole[i] = s * (type == LLM_TYPE_Q8 ? q8[i] : (i < 16 ? q4[i] & 15 : q4[i - 16] >> 4) - 8);
    memcpy(&w, whole, sizeof w);
#endif
    return w;
}
/* The n numbers from column c on of memory row r, widened to reals. */
static void view_row(const cpu_view *v, size_t r, size_t c, size_t n, llm_real *out) {
    size_t ld = v->cs == 1 ? v->rs : v->cs, blocks = (ld + 31) / 32;
    if (v->type == LLM_TYPE_REAL || v->type == LLM_TYPE_BF16) {
        for (size_t i = 0; i < n; i += VL) vstore_n(out + i, load_n(v->data, v->type, r * ld + c + i, n - i), n - i);
        return;
    }
    const uint16_t *scale = v->scale + r * blocks;
    for (size_t i = 0, count; i < n; i += count) {          /* block by block; the first and the last may be cut */
        const size_t block = (c + i) / 32, from = (c + i) % 32;
        count = size_min(32 - from, n - i);
        if (v->type == LLM_TYPE_Q8) {
            const int8_t *q = (const int8_t *)v->data + r * ld + c + i;
            const llm_real one = block_scale(scale[block]);
            for (size_t k = 0; k < count; k++) out[i + k] = q[k] * one;
        } else {
            const weights32 w = weight_block(LLM_TYPE_Q4, (const char *)v->data + r * blocks * 16, scale, block);
            if (count == 32) memcpy(out + i, &w, sizeof w);
            else memcpy(out + i, (const llm_real *)&w + from, count * sizeof *out);
        }
    }
}
/* Row r of a matrix of weights: the place itself, or widened into scratch. */
static inline const llm_real *cpu_weight_row(llm_weight w, int cols, size_t r, llm_real *scratch) {
    if (w.type == LLM_TYPE_REAL) return (const llm_real *)w.data + r * (size_t)cols;
    cpu_view v = cpu_weight_view(w, cols);
    view_row(&v, r, 0, (size_t)cols, scratch);
    return scratch;
}

/* -- the kernel for vectors --

   B is packed as panels of GEMM_COLS columns, row after row, and A, the left-hand matrix, as panels of GEMM_ROWS rows,
   column after column, unless its rows are as good where they lie: numbers of A are loaded one by one, and 16
   neighbours of a row make a cache line just as 2 columns of a panel do. With AVX-512 a step of a tile loads 3 vectors
   of B and multiplies them by 8 numbers of A: 24 multiply-adds for 11 loads.

   For bf16 everything stays as it is, but that a "number" is a pair of neighbours along K, and that the instruction
   multiplies pairs: s += a0 b0 + a1 b1. */

enum { GEMM_VECTORS = 3, GEMM_COLS = GEMM_VECTORS * VL };
#if VECTOR_BYTES == 64 || defined(__aarch64__)
enum { GEMM_ROWS = 8 };                                     /* 32 registers: 24 sums, 3 of B, 1 of A */
#else
enum { GEMM_ROWS = 4 };                                     /* 16 registers: 12 sums, 3 of B, 1 of A */
#endif

/* Transpose rows x VL numbers in registers: log2(rows) rounds of interleaving row i with row i + rows/2, perfect
   shuffles. */
static ALWAYS_INLINE void transpose(const int rows, vbits r[]) {
    for (int round = 1; round < rows; round *= 2) {
        vbits t[16];
        UNROLL for (int i = 0; i < rows / 2; i++) {
            t[2 * i] = ZIP_LOW(r[i], r[i + rows / 2]);
            t[2 * i + 1] = ZIP_HIGH(r[i], r[i + rows / 2]);
        }
        UNROLL for (int i = 0; i < rows; i++) r[i] = t[i];
    }
}
/* Pack n rows of k numbers, element (i,j) at x[i*rs + j*cs], as panels of P rows: out[(i/P*ld + j)*P + i%P]. out
   needs room for pad_to(VL, n) rows and whole panels; lanes beyond n hold anything: what they give is never stored. */
static ALWAYS_INLINE void pack_vector(const int P, llm_real *out, const llm_real *x, size_t rs, size_t cs, int n,
                                      int k, int ld) {
    const int run = P < VL ? P : VL, whole = cs == 1 ? k / VL * VL : 0;
    for (int i = 0; i < n && whole; i += VL) {              /* contiguous along k: transpose squares of VL x VL */
        for (int j = 0; j < whole; j += VL) {
            vbits r[VL];
            UNROLL for (int l = 0; l < VL; l++) r[l] = (vbits)vload(x + (size_t)llm_min(i + l, n - 1) * rs + j);
            transpose(VL, r);
            for (int part = 0; part < VL; part += run) {
                llm_real *to = out + ((size_t)((i + part) / P) * (size_t)ld + (size_t)j) * P + (i + part) % P;
                UNROLL for (int l = 0; l < VL; l++) memcpy(to + l * P, (llm_real *)&r[l] + part, run * sizeof *to);
            }
        }
    }
    for (int j0 = whole; j0 < k; j0 += 16)                  /* contiguous along the rows, or the rest */
        for (int i = 0; i < n; i += P) for (int j = j0; j < llm_min(j0 + 16, k); j++) {
            const llm_real *from = x + (size_t)j * cs + (size_t)i * rs;
            llm_real *to = out + ((size_t)(i / P) * (size_t)ld + (size_t)j) * P;
            for (int l = 0; l < P && rs == 1; l += VL) __builtin_prefetch(from + 16 * cs + l, 0, 2);
            if (rs == 1 && n - i >= P) memcpy(to, from, P * sizeof *to);
            else for (int l = 0; l < llm_min(P, n - i); l += run) {
                if (rs == 1 && n - i - l >= run) memcpy(to + l, from + l, run * sizeof *to);
                else for (int r = l; r < llm_min(l + run, n - i); r++) to[r] = from[(size_t)r * rs];
            }
        }
}
/* The left-hand matrix as the kernel wants it; the right-hand one, transposed: its row i is column i of B. */
static void pack_left(llm_real *out, const llm_real *x, size_t rs, size_t cs, int n, int k, int ld) {
    pack_vector(GEMM_ROWS, out, x, rs, cs, n, k, ld);
}
static void pack_right(llm_real *out, const llm_real *x, size_t rs, size_t cs, int n, int k, int ld) {
    pack_vector(GEMM_COLS, out, x, rs, cs, n, k, ld);
}
/* s + a b. With `pairs` a is a pair of bf16 (in the bits of a real) and so is each lane of b; those of s are sums. */
static ALWAYS_INLINE vreal multiply_add(const bool pairs, vreal s, llm_real a, vreal b) {
#if LLM_PAIRS
    if (pairs) return (vreal)_mm512_dpbf16_ps((__m512)s, (__m512bh)_mm512_set1_ps(a), (__m512bh)b);
#endif
    (void)pairs;
    return s + a * b;
}
/* s (GEMM_ROWS, `wide` vectors) += A B, k steps, in registers. Element (i,p) of A is a[i*row + p*step]; rows of B lie
   ld apart. */
static ALWAYS_INLINE void tile_sum(vreal s[GEMM_ROWS][GEMM_VECTORS], const bool pairs, const int wide, int k,
                                   const llm_real *a, const int row, const int step, const llm_real *b, const int ld) {
    for (int p = 0; p < k; p++, a += step, b += ld) {
        vreal b0 = vload(b), b1 = wide > 1 ? vload(b + VL) : b0, b2 = wide > 2 ? vload(b + 2 * VL) : b0;
        UNROLL for (int i = 0; i < GEMM_ROWS; i++) {
            s[i][0] = multiply_add(pairs, s[i][0], a[i * row], b0);
            if (wide > 1) s[i][1] = multiply_add(pairs, s[i][1], a[i * row], b1);
            if (wide > 2) s[i][2] = multiply_add(pairs, s[i][2], a[i * row], b2);
        }
    }
}
/* c (GEMM_ROWS,GEMM_COLS) (=|+=) rows of A times the first vectors of a panel of B. */
static ALWAYS_INLINE void tile_vectors(const bool pairs, const int wide, int k, const llm_real *a, const int row,
                                       const int step, const llm_real *b, llm_real *c, bool add) {
    vreal s[GEMM_ROWS][GEMM_VECTORS] = {0};
    tile_sum(s, pairs, wide, k, a, row, step, b, GEMM_COLS);
    UNROLL for (int i = 0; i < GEMM_ROWS; i++) {
        UNROLL for (int v = 0; v < wide; v++) {
            llm_real *to = c + i * GEMM_COLS + v * VL;
            vstore(to, add ? vload(to) + s[i][v] : s[i][v]);
        }
    }
}
/* Of the columns n <= GEMM_COLS are wanted: a narrow last panel costs only its own vectors. */
static ALWAYS_INLINE void tile_columns(const bool pairs, int k, int n, const llm_real *a, const int row, const int step,
                                       const llm_real *b, llm_real *c, bool add) {
    if (n > 2 * VL) tile_vectors(pairs, 3, k, a, row, step, b, c, add);
    else if (n > VL) tile_vectors(pairs, 2, k, a, row, step, b, c, add);
    else tile_vectors(pairs, 1, k, a, row, step, b, c, add);
}
/* With a packed panel of A; and with rows of A where they lie, ld apart. */
static void tile_reals(int k, int n, const llm_real *a, const llm_real *b, llm_real *c, bool add) {
    tile_columns(false, k, n, a, 1, GEMM_ROWS, b, c, add);
}
static void tile_reals_rows(int k, int n, const llm_real *a, int ld, const llm_real *b, llm_real *c, bool add) {
    tile_columns(false, k, n, a, ld, 1, b, c, add);
}

#if LLM_PAIRS
static void tile_pairs(int k, int n, const llm_real *a, const llm_real *b, llm_real *c, bool add) {
    tile_columns(true, (k + 1) / 2, n, a, 1, GEMM_ROWS, b, c, add);
}
static void tile_pairs_rows(int k, int n, const llm_real *a, int ld, const llm_real *b, llm_real *c, bool add) {
    tile_columns(true, k / 2, n, a, ld, 1, b, c, add);
}
/* The first n of 16 lanes. */
static inline __mmask16 lanes(int n) { return n >= 16 ? 0xFFFF : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }
/* The np numbers at x[p] and the nq at x[q], each filled up to 16 with zeros, as 32 bf16 in row i of a square. AMX
   wants what rounding left over, too: the parts square[0][i], square[1][i] ... */
static ALWAYS_INLINE void load_pairs(const int parts, vbits square[][16], int i, const void *x, const bool bf16,
                                     size_t p, int np, size_t q, int nq) {
    if (bf16) {                                             /* it has one part, the others are 0 */
        const uint16_t *h = x;
        __m512i first = _mm512_castsi256_si512(_mm256_maskz_loadu_epi16(lanes(np), h + p));
        square[0][i] = (vbits)_mm512_inserti64x4(first, _mm256_maskz_loadu_epi16(lanes(nq), h + q), 1);
        for (int part = 1; part < parts; part++) square[part][i] = (vbits){0};
        return;
    }
    const float *f = x;
    __m512 a = _mm512_maskz_loadu_ps(lanes(np), f + p), b = _mm512_maskz_loadu_ps(lanes(nq), f + q);
    UNROLL for (int part = 0; part < parts; part++) {
        __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(b, a);
        square[part][i] = (vbits)rounded;
        a -= (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(rounded)), 16);
        b -= (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(rounded, 1)), 16);
    }
}
/* Rows r .. r+15 of v and 32 k from j on as a square of 16 x 16 pairs; of v, n rows of k numbers count, from number
   `at` on. Where memory runs along k a row of the square is a row of v, else it is a pair of k with its 16 rows. */
static ALWAYS_INLINE void load_square(const int parts, vbits square[][16], const bool bf16, const cpu_view *v,
                                      size_t at, int r, int j, int n, int k) {
    vbits zip;
    for (int i = 0; i < 16; i++) zip[i] = i | (i + 16) << 16;           /* words 0, 16, 1, 17 ... */
    UNROLL for (int i = 0; i < 16; i++) {
        if (v->cs == 1) {
            const size_t p = at + (size_t)llm_min(r + i, n - 1) * v->rs + (size_t)j;
            __builtin_prefetch((const char *)v->data + (p + 16 * v->rs) * (bf16 ? sizeof(uint16_t) : sizeof(float)));
            load_pairs(parts, square, i, v->data, bf16, p, k - j, p + 16, k - j - 16);
        } else {
            const size_t p = at + (size_t)r + (size_t)(j + 2 * i) * v->cs;
            const int left = k - j - 2 * i;
            const size_t next = p + 32 * v->cs, size = bf16 ? sizeof(uint16_t) : sizeof(float);
            __builtin_prefetch((const char *)v->data + next * size, 0, 2);
            __builtin_prefetch((const char *)v->data + (next + v->cs) * size, 0, 2);
            load_pairs(parts, square, i, v->data, bf16, p, left > 0 ? n - r : 0, p + v->cs, left > 1 ? n - r : 0);
            for (int part = 0; part < parts; part++)
                square[part][i] = (vbits)_mm512_permutexvar_epi16((__m512i)zip, (__m512i)square[part][i]);
        }
    }
}
/* pack_vector for pairs: element (i,j) goes into pair out[(i/P*((ld+1)/2) + j/2)*P + i%P]. Beyond k: 0. */
static ALWAYS_INLINE void pack_pairs_as(const bool bf16, const int P, uint32_t *out, const cpu_view *v, size_t at,
                                        int n, int k, int ld) {
    const int groups = (n + 15) / 16, steps = (k + 31) / 32, run = P < 16 ? P : 16;
    for (int t = 0; t < groups * steps; t++) {              /* in the order of memory */
        const int r = 16 * (v->cs == 1 ? t / steps : t % groups), j = 32 * (v->cs == 1 ? t % steps : t / groups);
        const int left = llm_min(16, (k - j + 1) / 2);
        vbits square[1][16];
        load_square(1, square, bf16, v, at, r, j, n, k);
        if (v->cs == 1) transpose(VL, square[0]);
        for (int part = 0; part < 16; part += run) {
            const size_t panel = (size_t)((r + part) / P) * (size_t)((ld + 1) / 2) * P;
            uint32_t *to = out + panel + (size_t)(j / 2 * P + (r + part) % P);
            for (int l = 0; l < left; l++)
                memcpy(to + l * P, (const uint32_t *)&square[0][l] + part, (size_t)run * sizeof *to);
        }
    }
}
static void pack_pairs(void *out, const cpu_view *v, size_t at, int n, int k, int ld, bool is_b) {
    const bool bf16 = v->type == LLM_TYPE_BF16;             /* copies, each with its type and panel compiled in */
    if (bf16 && is_b) pack_pairs_as(true, GEMM_COLS, out, v, at, n, k, ld);
    else if (bf16) pack_pairs_as(true, GEMM_ROWS, out, v, at, n, k, ld);
    else if (is_b) pack_pairs_as(false, GEMM_COLS, out, v, at, n, k, ld);
    else pack_pairs_as(false, GEMM_ROWS, out, v, at, n, k, ld);
}
#endif

#if LLM_AMX
/* -- the kernel for AMX --

   AMX has eight tiles of 16 rows of 64 bytes. One instruction multiplies 16 x 32 bf16 of A by 32 x 16 of B and adds to
   16 x 16 fp32 sums; 2 x 2 of these are our tile of 32 x 32. B's tile wants pairs of k side by side, 16 pairs a row.

   A bf16 has 8 bits of precision. A number written as a sum of several, each the rounding of what those before it left
   over, has 8 bits more with each, and products of such sums are multiplied out:

       parts   products, without those below the precision              precision          AMX's speed divided by
       1       a0 b0                                                    8 bits: bf16       1
       2       a0 b0 + a0 b1 + a1 b0                                    16: bf16x3         3
       3       a0 b0 + a0 b1 + a1 b0 + a1 b1 + a0 b2 + a2 b0            24: all of fp32    6

   Three parts are as good as fp32 vectors: for 768 products a sum's error is half of theirs (2e-7; twice theirs, 1e-6,
   over 16,384, as a tile's sum runs on through all of K), in two thirds of the time. */

enum { AMX_TILE = 512 };                                    /* bf16 in a tile */
#define MEMORY_BARRIER __asm__ volatile("" ::: "memory")    /* the compiler cannot see what tile instructions touch */

static void amx_begin(void) {
    static const struct { uint8_t palette, start, zero[14]; uint16_t bytes[16]; uint8_t rows[16]; } shape = {
        .palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&shape);           /* static: of a local one GCC 12 leaves out all but 8 bytes */
}
/* Pack n rows of k numbers from number `at` of v on as panels of 32 rows. A panel is, for each 32 k: rows 0-15, part by
   part, then rows 16-31 likewise, each a tile: of A 16 rows x 32 k, of B 16 pairs of k x 16 rows x 2. Beyond k: 0. */
static ALWAYS_INLINE void pack_amx_as(const bool bf16, const int parts, uint16_t *out, const cpu_view *v, size_t at,
                                      int n, int k, int ld, bool is_b) {
    const bool along = v->cs == 1;                          /* memory runs along k */
    const int groups = (n + 31) / 32 * 2, steps = (k + 31) / 32;
    for (int t = 0; t < groups * steps; t++) {              /* in the order of memory */
        const int r = 16 * (along ? t / steps : t % groups), j = 32 * (along ? t % steps : t / groups);
        vbits tile[3][16];
        load_square(parts, tile, bf16, v, at, r, j, n, k);
        size_t index = ((size_t)(r / 32) * (size_t)((ld + 31) / 32) + (size_t)(j / 32)) * 2 + (size_t)(r / 16 % 2);
        for (int part = 0; part < parts; part++) {
            if (along == is_b) transpose(VL, tile[part]);
            memcpy(out + (index * (size_t)parts + (size_t)part) * AMX_TILE, tile[part], sizeof tile[part]);
        }
    }
}
static void pack_amx(int parts, uint16_t *out, const cpu_view *v, size_t at, int n, int k, int ld, bool is_b) {
    bool bf16 = v->type == LLM_TYPE_BF16;                   /* copies, each with its type and parts compiled in */
    if (bf16 && parts == 1) pack_amx_as(true, 1, out, v, at, n, k, ld, is_b);
    else if (bf16 && parts == 2) pack_amx_as(true, 2, out, v, at, n, k, ld, is_b);
    else if (bf16) pack_amx_as(true, 3, out, v, at, n, k, ld, is_b);
    else if (parts == 1) pack_amx_as(false, 1, out, v, at, n, k, ld, is_b);
    else if (parts == 2) pack_amx_as(false, 2, out, v, at, n, k, ld, is_b);
    else pack_amx_as(false, 3, out, v, at, n, k, ld, is_b);
}
/* c (32,32) (=|+=) a panel of A times a panel of B over k. Tiles 0-3 hold the sums, 4 and 5 A, 6 and 7 B. */
static ALWAYS_INLINE void tile_amx(const int parts, int k, const uint16_t *a, const uint16_t *b, float *c, bool add) {
    static const uint8_t meet[3][6][2] = {                  /* part x of A with part y of B; one of them stays loaded */
        {{0, 0}}, {{0, 1}, {0, 0}, {1, 0}}, {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {0, 0}, {2, 0}}};
    const int next = parts * AMX_TILE, products = parts * (parts + 1) / 2;      /* next: from rows 0-15 to 16-31 */
    MEMORY_BARRIER;
    if (add) {
        _tile_loadd(0, c, 128); _tile_loadd(1, c + 16, 128); _tile_loadd(2, c + 512, 128); _tile_loadd(3, c + 528, 128);
    } else {
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    }
    for (int p = 0; p < k; p += 32, a += 2 * next, b += 2 * next) {
        UNROLL for (int i = 0; i < products; i++) {
            const uint8_t *now = meet[parts - 1][i], *before = meet[parts - 1][i ? i - 1 : 0];
            const uint16_t *x = a + now[0] * AMX_TILE, *y = b + now[1] * AMX_TILE;
            const bool load_a = i == 0 || now[0] != before[0], load_b = i == 0 || now[1] != before[1];
            if (load_a) _tile_loadd(4, x, 64);
            if (load_b) _tile_loadd(6, y, 64);
            _tile_dpbf16ps(0, 4, 6);
            if (load_b) _tile_loadd(7, y + next, 64);
            _tile_dpbf16ps(1, 4, 7);
            if (load_a) _tile_loadd(5, x + next, 64);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, 128); _tile_stored(1, c + 16, 128); _tile_stored(2, c + 512, 128); _tile_stored(3, c + 528, 128);
    MEMORY_BARRIER;
}
#endif

/* -- the driver, the same for both kernels -- */

enum {
    GEMM_DEPTH = 768,                   /* numbers of a packed row that are multiplied in one go */
    GEMM_ONCE = 3 << 18,                /* bytes of packed A up to which B is packed just before it is used */
    GEMM_CHUNK = 96,                    /* rows of A or columns of B in a chunk; a multiple of every tile's */
    GEMM_WIDTH = 5 * GEMM_CHUNK,        /* columns of a piece, at most */
    GEMM_STEP = 512,                    /* bytes of a packed row in one call of tile_amx: B's 16 to 18 KB stay in L1 */
    GEMM_GROUP = 64,                    /* rows of C summed before they are written */
    GEMM_PACKED = 5 << 20,              /* bytes of all that is packed at a time: in a cache still when they are read */
    GEMM_PACKED_AMX = 16 << 20,         /* with AMX, as it was measured there */
    GEMM_THREADS = 1024                 /* at most */
};

/* Memory that is kept from call to call and grows. */
typedef struct { void *data; size_t size; } gemm_memory;
/* Room for one thread, in a table: thread-local memory would be lost with its thread. */
typedef struct {
    llm_real tile[GEMM_GROUP * GEMM_COLS], wide[GEMM_CHUNK * GEMM_DEPTH];
    gemm_memory packed, panel, sums;
} gemm_room;
static gemm_room *gemm_rooms[GEMM_THREADS];

/* How a product is cut.

   A region is what is packed at a time: m rows of A, n columns of B, k numbers of each; small matrices whole. All
   threads pack it, chunk by chunk, and then multiply it, piece by piece. A piece is height (a block) x width of C.

   What this is made for is the way into L2: beyond it a thread gets about 8 bytes a cycle, from L3 and memory alike,
   and in a cycle AMX does 512 multiply-adds. So each number that comes in must serve hundreds of times: a row of A
   the `width` columns of a piece, a column of B its `height` rows. Where one block holds all rows of A, B would be
   read back only once; then it is not packed beforehand but by the thread that needs it, into its own L2.

   How K is cut into sums depends on the kernel alone, not on M or the threads: so a row's sum is always the same. */
typedef struct {
    int M, N, K;
    cpu_view A, B;                      /* B transposed: its columns are the rows that are packed */
    cpu_out C;
    bool amx;                           /* by AMX's tiles, else by vectors */
    int parts;                          /* bf16 numbers to a number: 1, for AMX up to 3; 0: reals */
    int rows, cols;                     /* of a tile */
    int unit;                           /* numbers along K that go together: 1, a pair, for AMX 32 */
    size_t size;                        /* bytes of a packed number */
    int step;                           /* of a tile along K */
    int m, n, k;                        /* of a region */
    int height, width;                  /* of a piece */
    bool once;                          /* B is packed just before it is used */
    bool direct;                        /* A is read where it lies: as the kernel multiplies it, side by side along K */
    char *a, *b;                        /* the region, packed */
    llm_real *sums;                     /* where K takes several regions: the unfinished sums of all pieces */
    bool stream;                        /* write C past the caches */
    int tickets, finished;              /* tickets handed out and finished: see gemm_ticket */
} gemm_plan;
/* Rows i .. i+m of A, columns j .. j+n of B, k0 .. k0+k of both. */
typedef struct { int i, m, j, n, k0, k; } gemm_region;

static inline int thread_index(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}
static int thread_count(void) {
#ifdef _OPENMP
    return omp_get_num_threads();
#else
    return 1;
#endif
}
static gemm_room *gemm_my_room(void) {
    int id = thread_index();
    if (id >= GEMM_THREADS) llm_die("OMP_NUM_THREADS=64", "more than %d threads", GEMM_THREADS);
    if (!gemm_rooms[id]) gemm_rooms[id] = llm_alloc(1, sizeof(gemm_room));
    return gemm_rooms[id];
}
static void *gemm_take(gemm_memory *m, size_t bytes) {
    if (bytes > m->size) {
        llm_release(m->data);
        *m = (gemm_memory){llm_alloc(bytes, 1), bytes};
    }
    return m->data;
}
static inline int ceil_div(int n, int size) { return n / size + (n % size > 0); }       /* n in parts of `size` */
static inline int pad_to(int multiple, int n) { return ceil_div(n, multiple) * multiple; }
/* Bytes of a packed row of k numbers. */
static inline size_t gemm_stride(const gemm_plan *g, int k) { return (size_t)pad_to(g->unit, k) * g->size; }
/* All n rows, or as many as have room in `bytes`: a multiple of `unit`. */
static int gemm_fit(int n, size_t row, size_t bytes, int unit) {
    const size_t most = bytes / row;
    return (size_t)n <= most ? n : llm_max((int)most / unit, 1) * unit;
}

#if LLM_STREAM
/* A result larger than L2 is written past the caches, whole lines at a time: a plain store first reads the line
   that it is going to overwrite. */
static bool gemm_streams(const cpu_out *C, int M, int N) {
    const size_t size = C->type == LLM_TYPE_REAL ? sizeof(llm_real) : sizeof(uint16_t), large = 2 << 20;
    return !C->accumulate && (size_t)M * (size_t)N * size >= large && (LLM_PAIRS || C->type == LLM_TYPE_REAL) &&
           ((uintptr_t)C->data | (uintptr_t)C->gelu | C->ld * size) % 64 == 0;
}
#endif

static gemm_plan gemm_cut(int M, int N, int K, cpu_view A, cpu_view B, cpu_out C, int threads) {
    gemm_plan g = {.M = M, .N = N, .K = K, .A = A, .B = cpu_transposed(B), .C = C};
    g.amx = cpu.amx;
    if (g.amx) g.parts = cpu.precision == LLM_BF16 ? 1 : cpu.precision == LLM_BF16X3 ? 2 : 3;
    else g.parts = cpu.pairs;
    g.rows = g.amx ? 32 : GEMM_ROWS;
    g.cols = g.amx ? 32 : GEMM_COLS;
    g.unit = g.amx ? 32 : g.parts ? 2 : 1;
    g.size = g.parts ? sizeof(uint16_t) * (size_t)g.parts : sizeof(llm_real);
    g.step = g.amx ? pad_to(32, GEMM_STEP / (int)g.size) : GEMM_DEPTH;
    const size_t row = gemm_stride(&g, llm_min(K, GEMM_DEPTH)), packed = g.amx ? GEMM_PACKED_AMX : GEMM_PACKED;
    g.direct = !g.amx && A.cs == 1 && A.rs < INT_MAX &&
               (g.parts ? A.type == LLM_TYPE_BF16 && K % 2 == 0 && A.rs % 2 == 0 && (uintptr_t)A.data % 4 == 0
                        : A.type == LLM_TYPE_REAL);
    g.m = g.direct ? M : gemm_fit(M, row, packed / 2, GEMM_CHUNK);
    g.once = (size_t)M <= GEMM_ONCE / row;
    g.height = pad_to(32, g.once ? M : gemm_fit(g.m, row, cpu.block, 32));
    g.n = g.once ? N : gemm_fit(N, row, g.direct ? packed : packed / 2, GEMM_CHUNK);
    const int depths = (int)(packed / row) / llm_max(1, (g.direct ? 0 : g.m) + (g.once ? 0 : g.n));
    g.k = depths >= ceil_div(K, GEMM_DEPTH) ? K : llm_max(depths, 1) * GEMM_DEPTH;
    /* about four pieces a thread, so that the last delays the others little; one, where each reads a long A whole */
    const bool long_a = (double)M * K * (double)g.size > (double)packed;
    const int wanted = threads < 2 ? 1 : g.once && long_a ? threads : 4 * threads;
    g.width = llm_min(GEMM_WIDTH, pad_to(g.cols, ceil_div(g.n, ceil_div(wanted, ceil_div(g.m, g.height)))));
    const int across = ceil_div(g.n, g.width);
    if (!g.once) g.height = llm_min(g.height, pad_to(32, ceil_div(g.m, ceil_div(wanted, across))));
#if LLM_STREAM
    g.stream = gemm_streams(&C, M, N);
#endif
    return g;
}
/* Bytes of a region's A and B, and of unfinished sums: one piece's, or all of them where K takes several regions. */
static size_t gemm_bytes_a(const gemm_plan *g) {
    return g->direct ? 0 : llm_mul((size_t)pad_to(GEMM_CHUNK, g->m), gemm_stride(g, g->k));
}
static size_t gemm_bytes_b(const gemm_plan *g) {
    return g->once ? 0 : llm_mul((size_t)pad_to(GEMM_CHUNK, g->n), gemm_stride(g, g->k));
}
static size_t gemm_bytes_sums(const gemm_plan *g) {
    const size_t one = (size_t)g->height * (size_t)g->width * sizeof(llm_real);
    if (g->K <= g->k) return g->K > GEMM_DEPTH ? one : 0;
    return llm_mul(one, (size_t)ceil_div(g->m, g->height) * (size_t)ceil_div(g->n, g->width));
}
static void gemm_begin(gemm_plan *g) {
    gemm_room *room = gemm_my_room();
    g->a = gemm_take(&room->packed, llm_add(gemm_bytes_a(g), gemm_bytes_b(g)));
    g->b = g->a + gemm_bytes_a(g);
    if (g->K > g->k) g->sums = gemm_take(&room->sums, gemm_bytes_sums(g));
}

/* Pack n rows of k numbers of v from (i,j) on into panels that are `ld` numbers long. What the kernel cannot read is
   first widened to reals. */
static void gemm_pack(const gemm_plan *g, llm_real *wide, void *out, cpu_view v, int i, int j, int n, int k, int ld,
                      bool is_b) {
    size_t at = (size_t)i * v.rs + (size_t)j * v.cs;
    if (v.type != LLM_TYPE_REAL && !(v.type == LLM_TYPE_BF16 && g->parts)) {
        bool along = v.cs == 1;
        int rows = along ? n : k, cols = along ? k : n, r0 = along ? i : j, c0 = along ? j : i;
        for (int r = 0; r < rows; r++)
            view_row(&v, (size_t)(r0 + r), (size_t)c0, (size_t)cols, wide + (size_t)r * (size_t)cols);
        v = real_view(wide, along ? (size_t)k : 1, along ? 1 : (size_t)n);
        at = 0;
    }
#if LLM_AMX
    if (g->amx) {
        pack_amx(g->parts, out, &v, at, n, k, ld, is_b);
        return;
    }
#endif
#if LLM_PAIRS
    if (g->parts) {
        pack_pairs(out, &v, at, n, k, ld, is_b);
        return;
    }
#endif
    (is_b ? pack_right : pack_left)(out, (const llm_real *)v.data + at, v.rs, v.cs, n, k, ld);
}
static inline void gemm_tile(const gemm_plan *g, int k, int n, const void *a, const void *b, llm_real *c, bool add) {
#if LLM_AMX
    if (g->amx) {
        if (g->parts == 1) tile_amx(1, k, a, b, c, add);
        if (g->parts == 2) tile_amx(2, k, a, b, c, add);
        if (g->parts == 3) tile_amx(3, k, a, b, c, add);
        return;
    }
#endif
#if LLM_PAIRS
    if (g->parts) {
        tile_pairs(k, n, a, b, c, add);
        return;
    }
#endif
    (void)g;
    tile_reals(k, n, a, b, c, add);
}
/* The same with rows from i on of A where they lie. Fewer than a tile has are packed: nothing behind them is read. */
static inline void gemm_tile_rows(const gemm_plan *g, gemm_room *room, int i, int at, int k, int n, const void *b,
                                  llm_real *c, bool add) {
    const size_t from = (size_t)i * g->A.rs + (size_t)at;
    if (g->M - i < GEMM_ROWS) {
        gemm_pack(g, NULL, room->wide, g->A, i, at, g->M - i, k, k, false);
        gemm_tile(g, k, n, room->wide, b, c, add);
        return;
    }
#if LLM_PAIRS
    if (g->parts) {
        tile_pairs_rows(k, n, (const void *)((const uint16_t *)g->A.data + from), (int)g->A.rs / 2, b, c, add);
        return;
    }
#endif
    tile_reals_rows(k, n, (const llm_real *)g->A.data + from, (int)g->A.rs, b, c, add);
}
/* Ask for C's lines, so that they come from memory while their tile is summed. */
static inline void gemm_fetch(const cpu_out *C, int i, int m, int j, int n) {
    const size_t size = C->type == LLM_TYPE_REAL ? sizeof(llm_real) : sizeof(uint16_t);
    for (int r = i; r < i + m; r++) {
        const char *row = (const char *)C->data + ((size_t)r * C->ld + (size_t)j) * size;
        for (size_t q = 0; q < (size_t)n * size; q += 64) __builtin_prefetch(row + q, 1, 2);
    }
}
/* What becomes of n <= VL finished sums on their way to number `at` of C, in column j. */
static ALWAYS_INLINE vreal gemm_end(const cpu_out *C, const llm_type type, vreal x, size_t at, int j, size_t n) {
    if (C->accumulate) x += load_n(C->data, type, at, n);
    if (C->bias) x += vload_n(C->bias + j, n);
    if (C->add) x += vload_n(C->add + at, n);
    if (C->pre) x *= gelu_slope(load_n(C->pre, type, at, n));
    return x;
}
/* Where C is written: m x n finished sums, rows ld apart, go to C at (i,j). */
static ALWAYS_INLINE void gemm_write_as(const llm_type type, const bool plain, cpu_out C, const llm_real *sums, int ld,
                                        int i, int m, int j, int n) {
    for (int r = 0; r < m; r++, sums += ld) {
        const size_t row = (size_t)(i + r) * C.ld + (size_t)j;
        for (int q = 0; q < n; q += VL) {
            const size_t at = row + (size_t)q, left = (size_t)(n - q);
            const vreal x = vload(sums + q);
            store_n(C.data, type, at, plain ? x : gemm_end(&C, type, x, at, j + q, left), left);
            if (plain || !C.gelu) continue;
            const vreal y = load_n(C.data, type, at, left);             /* as it was rounded */
            store_n(C.gelu, type, at, y * gelu_gate(y), left);
        }
    }
}
#if LLM_STREAM
/* Two vectors, n = VL or 2 VL numbers, go to number `at` of out; they become what is stored. */
static ALWAYS_INLINE void stream_two(void *out, const llm_type type, size_t at, vreal x[2], int n) {
    if (type == LLM_TYPE_REAL) {
        _mm512_stream_ps((float *)out + at, (__m512)x[0]);
        if (n > VL) _mm512_stream_ps((float *)out + at + VL, (__m512)x[1]);
        return;
    }
#if LLM_PAIRS
    uint16_t rounded[2 * VL] __attribute__((aligned(64)));
    *(__m512i *)rounded = (__m512i)_mm512_cvtne2ps_pbh((__m512)x[1], (__m512)x[0]);
    _mm512_stream_si512((void *)((uint16_t *)out + at), *(__m512i *)rounded);
    for (int k = 0; k < 2; k++) x[k] = vload_bf16(rounded + k * VL);
#endif
}
static ALWAYS_INLINE void gemm_stream_as(const llm_type type, cpu_out C, const llm_real *sums, int ld, int i, int m,
                                         int j, int n) {
    for (int r = 0; r < m; r++, sums += ld) {
        const size_t row = (size_t)(i + r) * C.ld + (size_t)j;
        for (int q = 0; q < n; q += 2 * VL) {
            const size_t at = row + (size_t)q;
            const bool two = q + VL < n;
            vreal x[2] = {gemm_end(&C, type, vload(sums + q), at, j + q, VL), {0}};
            if (two) x[1] = gemm_end(&C, type, vload(sums + q + VL), at + VL, j + q + VL, VL);
            stream_two(C.data, type, at, x, two ? 2 * VL : VL);
            if (!C.gelu) continue;
            for (int k = 0; k < 2; k++) x[k] *= gelu_gate(x[k]);
            stream_two(C.gelu, type, at, x, two ? 2 * VL : VL);
        }
    }
}
#endif
static void gemm_write(const gemm_plan *g, const llm_real *sums, int ld, int i, int m, int j, int n) {
    const cpu_out C = g->C;
    const bool plain = !C.accumulate && !C.bias && !C.add && !C.gelu && !C.pre;
#if LLM_STREAM
    const size_t line = C.type == LLM_TYPE_REAL ? VL : 2 * VL;          /* numbers */
    if (g->stream && (size_t)n % line == 0 && (size_t)j % line == 0) {
        if (C.type == LLM_TYPE_REAL) gemm_stream_as(LLM_TYPE_REAL, C, sums, ld, i, m, j, n);
        else gemm_stream_as(LLM_TYPE_BF16, C, sums, ld, i, m, j, n);
        return;
    }
#endif
    if (C.type == LLM_TYPE_BF16 && plain) gemm_write_as(LLM_TYPE_BF16, true, C, sums, ld, i, m, j, n);
    else if (C.type == LLM_TYPE_BF16) gemm_write_as(LLM_TYPE_BF16, false, C, sums, ld, i, m, j, n);
    else if (plain) gemm_write_as(LLM_TYPE_REAL, true, C, sums, ld, i, m, j, n);
    else gemm_write_as(LLM_TYPE_REAL, false, C, sums, ld, i, m, j, n);
}
/* Ask for unfinished sums, before a tile adds to them. */
static inline void gemm_ask(const void *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)p + i, 1, 3);
}
/* Rows r0 .. r1 of a region times one panel of B, the columns from j on, over k numbers from d on. sums: those of the
   panel, or NULL where k is all of K. */
static void gemm_panel(const gemm_plan *g, gemm_room *room, const gemm_region *q, int r0, int r1, const char *panel,
                       int j, int d, int k, llm_real *sums) {
    const size_t stride = gemm_stride(g, q->k);
    const int n = llm_min(g->cols, q->n - j);
    const bool last = q->k0 + d + k == g->K, fetch = last && !g->stream && k >= 256;   /* shorter: ends too soon */
    for (int r = r0; r < r1; r += GEMM_GROUP) {             /* few rows: their sums stay in L1 until they are written */
        const int end = llm_min(r + GEMM_GROUP, r1);
        llm_real *sum = sums ? sums + (size_t)(r - r0) * (size_t)g->cols : room->tile;
        for (int s = 0; s < k; s += g->step) {
            for (int i = r; i < end; i += g->rows) {
                const size_t a = (size_t)i * stride + (size_t)((d + s) * g->rows) * g->size;
                const char *b = panel + (size_t)(s * g->cols) * g->size;
                llm_real *c = sum + (i - r) * g->cols;
                const int at = q->k0 + d + s, steps = llm_min(g->step, k - s);
                if (sums && at > 0) gemm_ask(c, (size_t)(g->rows * g->cols) * sizeof *c);
                if (fetch && s == 0) gemm_fetch(&g->C, q->i + i, llm_min(g->rows, end - i), q->j + j, n);
                if (g->direct) gemm_tile_rows(g, room, q->i + i, at, steps, n, b, c, at > 0);
                else gemm_tile(g, steps, n, g->a + a, b, c, at > 0);
            }
        }
        if (last) gemm_write(g, sum, g->cols, q->i + r, end - r, q->j + j, n);
    }
}
/* One piece of C: rows r0 .. r1 and columns j0 .. j1 of a region. sums: room for all of them, or NULL. */
static void gemm_piece(const gemm_plan *g, gemm_room *room, const gemm_region *q, int r0, int r1, int j0, int j1,
                       llm_real *sums) {
    for (int d = 0; d < q->k; d += GEMM_DEPTH) {
        const int k = llm_min(GEMM_DEPTH, q->k - d);
        for (int j = j0; j < j1; j += g->cols) {
            const int in = (j - j0) % GEMM_CHUNK;
            char *panel;
            if (!g->once) panel = g->b + (size_t)j * gemm_stride(g, q->k) + (size_t)(d * g->cols) * g->size;
            else {
                char *panels = gemm_take(&room->panel, GEMM_CHUNK * gemm_stride(g, GEMM_DEPTH));
                if (in == 0)
                    gemm_pack(g, room->wide, panels, g->B, q->j + j, q->k0 + d, llm_min(GEMM_CHUNK, j1 - j), k, k,
                              true);
                panel = panels + (size_t)in * gemm_stride(g, k);
            }
            gemm_panel(g, room, q, r0, r1, panel, j, d, k, sums ? sums + (size_t)(j - j0) * (size_t)g->height : NULL);
        }
    }
}
/* Work is handed out by tickets, so that a thread that another program holds up delays the others little; who does what
   does not change the result. The stages take turns: chunks to pack, pieces to multiply, the next region's chunks. A
   ticket may start when all those of the stages before it are finished. */
static int gemm_ticket(gemm_plan *g) { return __atomic_fetch_add(&g->tickets, 1, __ATOMIC_RELAXED); }
static void gemm_wait(gemm_plan *g, int finished) {
    while (__atomic_load_n(&g->finished, __ATOMIC_ACQUIRE) < finished) sched_yield();
}
static void gemm_finish(gemm_plan *g) {
#if LLM_STREAM
    _mm_sfence();                       /* streamed lines become visible before the ticket does */
#endif
    __atomic_fetch_add(&g->finished, 1, __ATOMIC_RELEASE);
}
/* Pack A's or B's part of a region. Tickets count from `first`, the stage before ended with `ready`; returns how many
   there are. A chunk is long in the direction of memory: a page that is visited is used. */
static int gemm_chunks(gemm_plan *g, gemm_room *room, const gemm_region *q, bool is_b, int *ticket, int ready,
                       int first) {
    const cpu_view v = is_b ? g->B : g->A;
    const int all = is_b ? q->n : q->m, from = is_b ? q->j : q->i, cols = is_b ? g->cols : g->rows;
    const int n = v.cs == 1 ? GEMM_CHUNK : GEMM_DEPTH, k = v.cs == 1 ? GEMM_DEPTH : GEMM_CHUNK;
    const int deep = ceil_div(q->k, k), count = ceil_div(all, n) * deep;
    for (; *ticket < first + count; *ticket = gemm_ticket(g)) {
        const int r = (*ticket - first) / deep * n, d = (*ticket - first) % deep * k;
        char *to = (is_b ? g->b : g->a) + (size_t)r * gemm_stride(g, q->k) + (size_t)(d * cols) * g->size;
        gemm_wait(g, ready);
        gemm_pack(g, room->wide, to, v, from + r, q->k0 + d, llm_min(n, all - r), llm_min(k, q->k - d), q->k, is_b);
        gemm_finish(g);
    }
    return count;
}
/* Multiply a region; tickets as above. */
static int gemm_pieces(gemm_plan *g, gemm_room *room, const gemm_region *q, int *ticket, int first) {
    const int down = ceil_div(q->m, g->height), across = ceil_div(q->n, g->width), count = down * across;
    const size_t one = (size_t)(g->height * g->width);
    for (; *ticket < first + count; *ticket = gemm_ticket(g)) {
        const int piece = *ticket - first, r = piece / across * g->height, j = piece % across * g->width;
        llm_real *sums = NULL;
        if (g->K > g->k) sums = g->sums + (size_t)piece * one;
        else if (g->K > GEMM_DEPTH) sums = gemm_take(&room->sums, gemm_bytes_sums(g));
        gemm_wait(g, first);
        gemm_piece(g, room, q, r, llm_min(q->m, r + g->height), j, llm_min(q->n, j + g->width), sums);
        gemm_finish(g);
    }
    return count;
}
/* What each thread of a product does: region by region, K innermost. What is packed already is not packed again. */
static void gemm_work(gemm_plan *g, gemm_room *room) {
    int ticket = gemm_ticket(g), first = 0;
#if LLM_AMX
    if (g->amx) amx_begin();
#endif
    gemm_region q;
    for (q.i = 0; q.i < g->M; q.i += g->m) {
        q.m = llm_min(g->m, g->M - q.i);
        for (q.j = 0; q.j < g->N; q.j += g->n) {
            q.n = llm_min(g->n, g->N - q.j);
            for (q.k0 = 0; q.k0 < g->K; q.k0 += g->k) {
                q.k = llm_min(g->k, g->K - q.k0);
                const int ready = first;
                const bool k_cut = g->k < g->K;
                if (!g->direct && (k_cut || q.j == 0)) first += gemm_chunks(g, room, &q, false, &ticket, ready, first);
                if (!g->once && (k_cut || q.i == 0 || g->n < g->N))
                    first += gemm_chunks(g, room, &q, true, &ticket, ready, first);
                first += gemm_pieces(g, room, &q, &ticket, first);
            }
        }
    }
#if LLM_AMX
    if (g->amx) _tile_release();
#endif
}
/* C = A B by the calling thread alone: small products, and any inside a parallel region. */
static void cpu_gemm_one(int M, int N, int K, cpu_view A, cpu_view B, cpu_out C) {
    if (M < 1 || N < 1 || K < 1) return;
    gemm_plan g = gemm_cut(M, N, K, A, B, C, 1);
    gemm_begin(&g);
    gemm_work(&g, gemm_my_room());
}
/* The same by all threads; below half a million multiply-adds they would cost more than they bring. */
static void cpu_gemm(int M, int N, int K, cpu_view A, cpu_view B, cpu_out C) {
    bool alone = (double)M * N * K < 5e5;                   /* an empty one leaves C as it is */
#ifdef _OPENMP
    alone |= omp_in_parallel() != 0;
#endif
    if (alone) {
        cpu_gemm_one(M, N, K, A, B, C);
        return;
    }
    gemm_plan g = gemm_cut(M, N, K, A, B, C, llm_threads(0));
    gemm_begin(&g);
    LLM_OMP(parallel)
    gemm_work(&g, gemm_my_room());
}

/* ================================================================================================================
   3. The operations
   ================================================================================================================
   In the order of the table. Equations, shapes and derivations: llm.h, chapter 4. */

/* ---- memory ----

   On the CPU "the device" is ordinary memory. All threads touch fresh memory first, a piece each: on many machines
   getting the pages from the system costs more than filling them. */

static void fill_zeros(void *device, size_t bytes) {
    const size_t piece = (size_t)1 << 20;
    LLM_OMP(parallel for if(bytes > piece))
    for (size_t i = 0; i < bytes; i += piece) memset((char *)device + i, 0, size_min(piece, bytes - i));
}
static void *simd_alloc(size_t bytes) {
    void *p = aligned_memory(bytes);
    if (p) fill_zeros(p, bytes);
    return p;
}

/* The working copy of the master weights in bf16: what the product reads when --precision is bf16. */
static void simd_store_weights(void *bf16, const llm_real *w, size_t n) {
    LLM_OMP(parallel for)
    for (size_t i = 0; i < (n + VL - 1) / VL; i++)
        store_n(bf16, LLM_TYPE_BF16, i * VL, vload_n(w + i * VL, n - i * VL), n - i * VL);
}

/* At least `count` numbers of scratch memory, which one operation uses while it runs. It stays allocated: fresh pages
   in every call would cost more than the work done on them (a chunk of logits is 200 MB, or 0.2 s of page faults). */
static llm_real *cpu_scratch(size_t count) {
    static llm_real *memory;
    static size_t room;
    if (count > room) {
        const size_t bytes = llm_mul(count, sizeof *memory);
        free(memory);
        room = 0;
        memory = simd_alloc(bytes);
        if (!memory) llm_die("a smaller --batch or --seq", "out of memory: %.1f MB wanted", (double)bytes / 1e6);
        room = count;
    }
    return memory;
}
/* Element-wise operations hand out pieces of this many numbers, and ask for memory SIMD_AHEAD numbers before they need
   it. Past the end of an array nothing happens. */
enum { SIMD_PIECE = 8192, SIMD_AHEAD = 1024 };
static inline void fetch(const llm_real *x) { __builtin_prefetch(x + SIMD_AHEAD); }
static inline void act_fetch(const llm_act *x, size_t i) { __builtin_prefetch(act_at(x, i + SIMD_AHEAD)); }

static inline size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }
/* The first n lanes of v, `other` in the rest. */
static inline vreal vkeep(vreal v, size_t n, llm_real other) {
    if (n >= VL) return v;
    vbits lane;
    for (int i = 0; i < VL; i++) lane[i] = i;
    return vselect(lane < (vbits){0} + (real_bits)n, v, vset(other));
}

/* ---- embedding ----

   The backward pass is a scatter: two tokens of a batch may be the same word, hence two threads would meet in one row
   of dwte. They take different columns instead, and every sum runs over n in order. */

static void simd_embed_forward(llm_res *out, llm_weight wte, const llm_real *wpe, const int *tokens,
                              const int *positions, size_t N, size_t C) {
    const size_t width = C;
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        llm_real *o = (llm_real *)out + n * width;
        const llm_real *e = cpu_weight_row(wte, C, (size_t)tokens[n], o);
        const llm_real *p = wpe ? wpe + (size_t)positions[n] * width : NULL;
        for (size_t i = 0; i < width; i += VL) {
            vreal x = vload_n(e + i, width - i);
            vstore_n(o + i, p ? x + vload_n(p + i, width - i) : x, width - i);
        }
    }
}
/* table[row[n]] += d[n], over strips of columns. */
static void scatter_rows(llm_real *table, const llm_real *d, const int *row, int N, int C, int rows, bool accumulate) {
    const size_t width = (size_t)C, strip = 64;
    if (!accumulate) fill_zeros(table, (size_t)rows * width * sizeof *table);
    LLM_OMP(parallel for)
    for (size_t c = 0; c < width; c += strip) {
        const size_t end = size_min(width, c + strip);
        for (int n = 0; n < N; n++) {
            llm_real *to = table + (size_t)row[n] * width;
            const llm_real *from = d + (size_t)n * width;
            for (size_t i = c; i < end; i += VL)
                vstore_n(to + i, vload_n(to + i, end - i) + vload_n(from + i, end - i), end - i);
        }
    }
}
static void simd_embed_backward(llm_real *dwte, llm_real *dwpe, const llm_res *dout, const llm_ids *ids, size_t N,
                                size_t C, size_t V, size_t T, bool accumulate_wte, bool accumulate_wpe) {
    const llm_real *d = (const llm_real *)dout;
    if (dwte) scatter_rows(dwte, d, ids->tokens, N, C, V, accumulate_wte);
    if (dwpe) scatter_rows(dwpe, d, ids->positions, N, C, T, accumulate_wpe);
}

/* ---- layer norm and RMS norm: a row to a thread, in vectors; mean NULL: RMS norm, centered around 0 ---- */

static void simd_layernorm_forward(llm_act *out, llm_real *mean, llm_real *rstd, const llm_res *inp, const llm_real *w,
                                  const llm_real *bias, llm_real eps, size_t N, size_t C) {
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        const llm_real *x = (const llm_real *)inp + n * C;
        vreal sum = {0}, square = {0};
        for (size_t i = 0; i < C && mean; i += VL) {
            fetch(x + i);
            sum += vload_n(x + i, C - i);
        }
        const llm_real m = vsum(sum) / (llm_real)C;
        for (size_t i = 0; i < C; i += VL) {            /* a second pass: E(x^2) - E(x)^2 would cancel */
            vreal d = vkeep(vload_n(x + i, C - i) - m, C - i, 0);
            if (!mean) fetch(x + i);
            square += d * d;
        }
        const llm_real r = 1 / LLM_MATH(sqrt)(vsum(square) / (llm_real)C + eps);
        for (size_t i = 0; i < C; i += VL) {
            vreal y = (vload_n(x + i, C - i) - m) * r * vload_n(w + i, C - i);
            if (bias) y += vload_n(bias + i, C - i);
            act_store_n(out, n * C + i, y, C - i);
        }
        if (mean) mean[n] = m;
        rstd[n] = r;
    }
}
static void simd_rmsnorm_forward(llm_act *out, llm_real *rstd, const llm_res *inp, const llm_real *w, llm_real eps,
                                size_t N, size_t C) {
    simd_layernorm_forward(out, NULL, rstd, inp, w, NULL, eps, N, C);
}
/* The backward pass of one row. dw and dbias are added to. */
static void norm_row_backward(llm_real *dx, llm_real *dw, llm_real *dbias, const llm_act *dout, size_t at,
                              const llm_real *x, const llm_real *w, llm_real mean, llm_real rstd, size_t C,
                              bool centered) {
    vreal sum = {0}, dot = {0};
    for (size_t i = 0; i < C; i += VL) {
        const size_t left = C - i;
        act_fetch(dout, at + i);
        fetch(x + i);
        fetch(dx + i);
        vreal d = act_load_n(dout, at + i, left), xhat = (vload_n(x + i, left) - mean) * rstd;
        vreal g = d * vload_n(w + i, left);
        sum += g;
        dot += g * xhat;
        if (dw) vstore_n(dw + i, vload_n(dw + i, left) + d * xhat, left);
        if (dbias) vstore_n(dbias + i, vload_n(dbias + i, left) + d, left);
    }
    const llm_real mean_g = centered ? vsum(sum) / (llm_real)C : 0, mean_gx = vsum(dot) / (llm_real)C;
    for (size_t i = 0; i < C; i += VL) {
        const size_t left = C - i;
        vreal xhat = (vload_n(x + i, left) - mean) * rstd, g = act_load_n(dout, at + i, left) * vload_n(w + i, left);
        vstore_n(dx + i, vload_n(dx + i, left) + rstd * (g - mean_g - xhat * mean_gx), left);
    }
}
/* All rows. dw and dbias are sums over rows: each chunk of rows (64 chunks or fewer, cut by N alone) has sums of its
   own, a row of scratch, which are then added chunk by chunk. This reads dout and x once, where a second pass over
   columns reads them twice. */
static void norm_backward(llm_real *dinp, llm_real *dw, llm_real *dbias, const llm_act *dout, const llm_real *inp,
                          const llm_real *w, const llm_real *mean, const llm_real *rstd, int N, int C,
                          bool accumulate) {
    const int rows = llm_max(16, (N + 63) / 64), chunks = (N + rows - 1) / rows;
    const size_t width = (size_t)C;
    llm_real *partial = dw || dbias ? cpu_scratch(llm_mul((size_t)chunks * 2, width)) : NULL;
    LLM_OMP(parallel for)
    for (int chunk = 0; chunk < chunks; chunk++) {
        llm_real *dws = partial ? partial + (size_t)chunk * 2 * width : NULL, *dbs = dbias ? dws + width : NULL;
        if (partial) memset(dws, 0, 2 * width * sizeof *dws);
        for (int n = chunk * rows; n < llm_min(N, (chunk + 1) * rows); n++) {
            const size_t at = (size_t)n * width;
            const llm_real m = mean ? mean[n] : 0;
            norm_row_backward(dinp + at, dws, dbs, dout, at, inp + at, w, m, rstd[n], width, mean != NULL);
        }
    }
    for (int which = 0; which < 2; which++) {           /* 0: dw, 1: dbias */
        llm_real *d = which ? dbias : dw;
        if (!d) continue;
        LLM_OMP(parallel for)
        for (size_t i = 0; i < width; i += VL) {
            const llm_real *part = partial + (size_t)which * width + i;
            vreal sum = accumulate ? vload_n(d + i, width - i) : (vreal){0};
            for (int chunk = 0; chunk < chunks; chunk++, part += 2 * width) sum += vload_n(part, width - i);
            vstore_n(d + i, sum, width - i);
        }
    }
}
static void simd_layernorm_backward(llm_res *dinp, llm_real *dw, llm_real *dbias, const llm_act *dout,
                                    const llm_res *inp, const llm_real *w, const llm_real *mean, const llm_real *rstd,
                                    size_t N, size_t C, bool accumulate_dinp, bool accumulate) {
    if (!accumulate_dinp) fill_zeros(dinp, N * C * sizeof(llm_real));
    norm_backward((llm_real *)dinp, dw, dbias, dout, (const llm_real *)inp, w, mean, rstd, N, C, accumulate);
}
static void simd_rmsnorm_backward(llm_res *dinp, llm_real *dw, const llm_act *dout, const llm_res *inp,
                                  const llm_real *w, const llm_real *rstd, size_t N, size_t C, bool accumulate_dinp,
                                  bool accumulate) {
    simd_layernorm_backward(dinp, dw, NULL, dout, inp, w, NULL, rstd, N, C, accumulate_dinp, accumulate);
}

/* ---- an RMS norm of activations: on q or k, and behind a branch ---- */

/* Row r of a slice's rows of `width` numbers begins here. */
static size_t slice_at(llm_slice s, size_t width, size_t r) {
    const size_t each = s.cols / width;
    return r / each * s.ld + s.col + r % each * width;
}
static void simd_qk_norm_forward(llm_act *qkv, llm_act *raw, llm_real *rstd, const llm_real *w, llm_real eps, size_t N,
                                 llm_slice s, size_t width) {
    LLM_OMP(parallel for)
    for (size_t r = 0; r < N * (s.cols / width); r++) {
        const size_t at = slice_at(s, width, r);
        vreal square = {0};
        for (size_t i = 0; i < width; i += VL) {
            const vreal x = act_load_n(qkv, at + i, width - i);
            act_store_n(raw, r * width + i, x, width - i);
            square += x * x;
        }
        rstd[r] = 1 / LLM_MATH(sqrt)(vsum(square) / (llm_real)width + eps);
        for (size_t i = 0; i < width; i += VL) {
            const vreal y = act_load_n(raw, r * width + i, width - i) * rstd[r] * vload_n(w + i, width - i);
            act_store_n(qkv, at + i, y, width - i);
        }
    }
}
/* dx of every row of the slice, dw in chunks as above. dout: llm_real rows of their own, or NULL: it lies where dx will
   lie. */
static void act_norm_backward(llm_act *dx, llm_slice s, const llm_real *dout, llm_real *dw, const llm_act *x,
                              const llm_real *w, const llm_real *rstd, size_t rows, size_t C, bool accumulate) {
    const size_t each = size_max(16, (rows + 63) / 64), chunks = (rows + each - 1) / each;
    llm_real *partial = cpu_scratch(llm_mul(chunks, C));
    LLM_OMP(parallel for)
    for (size_t r0 = 0; r0 < rows; r0 += each) {
        llm_real *part = partial + r0 / each * C;
        memset(part, 0, C * sizeof *part);
        for (size_t r = r0; r < size_min(rows, r0 + each); r++) {
            const size_t at = slice_at(s, C, r);
            vreal sum = {0};
            for (size_t i = 0; i < C; i += VL) {
                const vreal d = dout ? vload_n(dout + r * C + i, C - i) : act_load_n(dx, at + i, C - i);
                const vreal dxhat = d * act_load_n(x, r * C + i, C - i) * rstd[r];
                sum += dxhat * vload_n(w + i, C - i);
                vstore_n(part + i, vload_n(part + i, C - i) + dxhat, C - i);
            }
            const llm_real mean_gx = vsum(sum) / (llm_real)C;
            for (size_t i = 0; i < C; i += VL) {
                const vreal d = dout ? vload_n(dout + r * C + i, C - i) : act_load_n(dx, at + i, C - i);
                const vreal xhat = act_load_n(x, r * C + i, C - i) * rstd[r];
                act_store_n(dx, at + i, rstd[r] * (d * vload_n(w + i, C - i) - xhat * mean_gx), C - i);
            }
        }
    }
    LLM_OMP(parallel for)
    for (size_t i = 0; i < (dw ? C : 0); i += VL) {
        vreal sum = accumulate ? vload_n(dw + i, C - i) : (vreal){0};
        for (size_t chunk = 0; chunk < chunks; chunk++) sum += vload_n(partial + chunk * C + i, C - i);
        vstore_n(dw + i, sum, C - i);
    }
}
static void simd_qk_norm_backward(llm_act *dqkv, llm_real *dw, const llm_act *raw, const llm_real *rstd,
                                  const llm_real *w, size_t N, llm_slice s, size_t width, bool accumulate) {
    act_norm_backward(dqkv, s, NULL, dw, raw, w, rstd, N * (s.cols / width), width, accumulate);
}
static void simd_post_norm_forward(llm_res *out, llm_real *rstd, const llm_res *res, const llm_act *y,
                                   const llm_real *w, llm_real eps, size_t N, size_t C) {
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        const llm_real *stream = (const llm_real *)res + n * C;
        vreal square = {0};
        for (size_t i = 0; i < C; i += VL) {
            const vreal x = act_load_n(y, n * C + i, C - i);
            square += x * x;
        }
        rstd[n] = 1 / LLM_MATH(sqrt)(vsum(square) / (llm_real)C + eps);
        for (size_t i = 0; i < C; i += VL) {
            const vreal x = act_load_n(y, n * C + i, C - i) * rstd[n] * vload_n(w + i, C - i);
            vstore_n((llm_real *)out + n * C + i, vload_n(stream + i, C - i) + x, C - i);
        }
    }
}
static void simd_post_norm_backward(llm_act *dy, llm_real *dw, const llm_res *dout, const llm_act *y, const llm_real *w,
                                    const llm_real *rstd, size_t N, size_t C, bool accumulate) {
    act_norm_backward(dy, (llm_slice){C, 0, C}, (const llm_real *)dout, dw, y, w, rstd, N, C, accumulate);
}
static void simd_stream_forward(llm_act *out, const llm_res *inp, size_t n) {
    LLM_OMP(parallel for)
    for (size_t i = 0; i < n; i += VL) act_store_n(out, i, vload_n((const llm_real *)inp + i, n - i), n - i);
}
static void simd_stream_backward(llm_res *dinp, const llm_act *dout, size_t n) {
    llm_real *d = (llm_real *)dinp;
    LLM_OMP(parallel for)
    for (size_t i = 0; i < n; i += VL) vstore_n(d + i, vload_n(d + i, n - i) + act_load_n(dout, i, n - i), n - i);
}

/* ---- linear, and the same into the residual stream ----

   Three products: y = x W', dx = dy W, dW = dy' x. Bias and residual are added where the product writes its result. */

static void simd_linear_gelu_forward(llm_act *out, llm_act *activated, const llm_act *inp, llm_weight w,
                                     llm_weight bias, size_t N, size_t in, size_t out_n) {
    cpu_out o = act_out(out, out_n);
    o.bias = bias.full;
    o.gelu = activated;
    cpu_gemm(N, out_n, in, act_view(inp, in, 1), cpu_transposed(cpu_weight_view(w, in)), o);
}
static void simd_linear_forward(llm_act *out, const llm_act *inp, llm_weight w, llm_weight bias, size_t N, size_t in,
                               size_t out_n) {
    simd_linear_gelu_forward(out, NULL, inp, w, bias, N, in, out_n);
}

/* dbias (=|+=) the column sums of d (N,O). At most 32 fixed chunks of rows, each read in the order of memory, have sums
   of their own, which are then added chunk by chunk. */
static void column_sums(llm_real *dbias, cpu_view d, int N, int O, bool accumulate) {
    const int rows = llm_max(64, (N + 31) / 32), chunks = (N + rows - 1) / rows;
    const size_t width = (size_t)O, size = d.type == LLM_TYPE_REAL ? sizeof(llm_real) : sizeof(uint16_t);
    llm_real *partial = cpu_scratch(llm_mul((size_t)chunks, width));
    LLM_OMP(parallel for)
    for (int chunk = 0; chunk < chunks; chunk++) {
        llm_real *sum = partial + (size_t)chunk * width;
        memset(sum, 0, width * sizeof *sum);
        const int end = llm_min(N, (chunk + 1) * rows);
        for (int n = chunk * rows, take; n < end; n += take) {
            take = n + 4 <= end ? 4 : 1;                            /* 4 rows at a time: four streams from memory */
            for (size_t i = 0; i < width; i += VL) {
                vreal x = vload_n(sum + i, width - i);
                for (int r = n; r < n + take; r++) {
                    __builtin_prefetch((const char *)d.data + ((size_t)(r + 4) * d.rs + i) * size);
                    x += load_n(d.data, d.type, (size_t)r * d.rs + i, width - i);
                }
                vstore_n(sum + i, x, width - i);
            }
        }
    }
    for (size_t i = 0; i < width; i += VL) {
        vreal sum = accumulate ? vload_n(dbias + i, width - i) : (vreal){0};
        for (int chunk = 0; chunk < chunks; chunk++)
            sum += vload_n(partial + (size_t)chunk * width + i, width - i);
        vstore_n(dbias + i, sum, width - i);
    }
}
/* Both linear_backward and residual_backward, which differ in how dout is stored. pre: dinp is multiplied by
   gelu'(pre); or NULL. */
static void linear_gradients(llm_act *dinp, llm_real *dw, llm_real *dbias, cpu_view dout, const llm_act *inp,
                             const llm_act *pre, llm_weight w, int N, int in, int out_n, bool accumulate) {
    cpu_view x = act_view(inp, (size_t)in, 1);
    cpu_out d = act_out(dinp, (size_t)in);
    d.pre = pre;
    if (dinp) cpu_gemm(N, in, out_n, dout, cpu_weight_view(w, in), d);
    if (dw) cpu_gemm(out_n, in, N, cpu_transposed(dout), x, real_out(dw, (size_t)in, accumulate));
    if (dbias) column_sums(dbias, dout, N, out_n, accumulate);
}
static void simd_linear_backward(llm_act *dinp, llm_real *dw, llm_real *dbias, const llm_act *dout, const llm_act *inp,
                                llm_weight w, size_t N, size_t in, size_t out_n, bool accumulate) {
    linear_gradients(dinp, dw, dbias, act_view(dout, out_n, 1), inp, NULL, w, N, in, out_n, accumulate);
}

static void simd_residual_forward(llm_res *out, const llm_res *res, const llm_act *inp, llm_weight w, llm_weight bias,
                                  size_t N, size_t in, size_t out_n) {
    cpu_out o = real_out((llm_real *)out, out_n, false);
    o.bias = bias.full;
    o.add = (const llm_real *)res;
    cpu_gemm(N, out_n, in, act_view(inp, in, 1), cpu_transposed(cpu_weight_view(w, in)), o);
}
static void simd_residual_backward(llm_act *dinp, llm_real *dw, llm_real *dbias, const llm_res *dout,
                                   const llm_act *inp, llm_weight w, size_t N, size_t in, size_t out_n,
                                   bool accumulate) {
    linear_gradients(dinp, dw, dbias, real_view((const llm_real *)dout, out_n, 1), inp, NULL, w, N, in, out_n,
                     accumulate);
}
static void simd_residual_gelu_backward(llm_act *dpre, llm_real *dw, llm_real *dbias, const llm_res *dout,
                                        const llm_act *inp, const llm_act *pre, llm_weight w, size_t N, size_t in,
                                        size_t out_n, bool accumulate) {
    linear_gradients(dpre, dw, dbias, real_view((const llm_real *)dout, out_n, 1), inp, pre, w, N, in, out_n,
                     accumulate);
}

/* ---- LoRA: thin products ----

   The scale is multiplied into u and du, so that it appears nowhere else. */

static void scale_acts(llm_act *x, llm_real scale, size_t n) {
    for (size_t i = 0; i < n; i += VL) act_store_n(x, i, act_load_n(x, i, n - i) * scale, n - i);
}
static void simd_lora_forward(void *out, llm_act *u, const llm_act *inp, const llm_real *A, const llm_real *B,
                              llm_real scale, size_t N, size_t in, size_t r, llm_slice s, bool to_residual) {
    cpu_gemm(N, r, in, act_view(inp, in, 1), real_view(A, 1, in), act_out(u, r));
    scale_acts(u, scale, N * r);
    cpu_out o = to_residual ? real_out((llm_real *)out + s.col, s.ld, true) : act_out(act_place(out, s.col), s.ld);
    o.accumulate = true;
    cpu_gemm(N, s.cols, r, act_view(u, r, 1), real_view(B, 1, r), o);
}
static void simd_lora_backward(llm_act *dinp, llm_real *dA, llm_real *dB, llm_act *du, const void *dout,
                               const llm_act *u, const llm_act *inp, const llm_real *A, const llm_real *B,
                               llm_real scale, size_t N, size_t in, size_t r, llm_slice s, bool from_residual,
                               bool accumulate) {
    cpu_view d = from_residual ? real_view((const llm_real *)dout + s.col, s.ld, 1)
                               : act_view(act_at(dout, s.col), s.ld, 1);
    cpu_view x = act_view(inp, in, 1), du_view = act_view(du, r, 1);
    cpu_gemm(N, r, s.cols, d, real_view(B, r, 1), act_out(du, r));
    scale_acts(du, scale, N * r);
    if (dB) cpu_gemm(s.cols, r, N, cpu_transposed(d), act_view(u, r, 1), real_out(dB, r, accumulate));
    if (dA) cpu_gemm(r, in, N, cpu_transposed(du_view), x, real_out(dA, in, accumulate));
    if (dinp) {
        cpu_out o = act_out(dinp, in);
        o.accumulate = true;
        cpu_gemm(N, in, r, du_view, real_view(A, in, 1), o);
    }
}

/* ---- rotary positions: by a table of cosines and sines ---- */

/* cos and sin of all angles at positions 0 .. positions-1: (positions, 2, half). The table stays from call to call and
   grows; every layer asks for the same one, a model with other frequencies for a new one. The angle is rounded to
   llm_real before the cosine, as everybody does. */
static const llm_real *rope_table(const llm_real *freq, int half, int positions) {
    static llm_real *table, *known;                     /* known: the frequencies the table was made for */
    static int rows, width;
    const size_t size = (size_t)half;
    const bool same = width == half && !memcmp(known, freq, size * sizeof *freq);
    if (same && rows >= positions) return table;
    llm_release(table);
    llm_release(known);
    rows = llm_max(positions, same && rows <= INT_MAX / 2 ? 2 * rows : 0);      /* other frequencies: from the start */
    width = half;
    table = llm_alloc(llm_mul((size_t)rows, 2 * size), sizeof *table);
    known = llm_alloc(size, sizeof *known);
    memcpy(known, freq, size * sizeof *known);
    LLM_OMP(parallel for)
    for (int p = 0; p < rows; p++) {
        for (size_t j = 0; j < size; j++) {
            const llm_real angle = (llm_real)p * freq[j];
            table[(size_t)p * 2 * size + j] = LLM_MATH(cos)(angle);
            table[((size_t)p * 2 + 1) * size + j] = LLM_MATH(sin)(angle);
        }
    }
    return table;
}
static void rope_rotate(llm_act *qkv, const llm_real *freq, llm_real scale, const int *positions, int N, int H, int KV,
                        int D) {
    int last = 0;
    for (int n = 0; n < N; n++) last = llm_max(last, positions[n]);
    const size_t half = (size_t)D / 2, row = (size_t)(H + 2 * KV) * (size_t)D;
    const llm_real *table = rope_table(freq, D / 2, last + 1), size = LLM_MATH(fabs)(scale);
    LLM_OMP(parallel for)
    for (int n = 0; n < N; n++) {
        const llm_real *cosine = table + (size_t)positions[n] * 2 * half, *sine = cosine + half;
        for (int h = 0; h < H + KV; h++) {              /* the query heads, then the key heads */
            const size_t at = (size_t)n * row + (size_t)h * (size_t)D;
            for (size_t j = 0; j < half; j += VL) {
                const size_t left = half - j;
                vreal a = act_load_n(qkv, at + j, left), b = act_load_n(qkv, at + half + j, left);
                vreal c = vload_n(cosine + j, left) * size, s = vload_n(sine + j, left) * scale;
                act_store_n(qkv, at + j, a * c - b * s, left);
                act_store_n(qkv, at + half + j, b * c + a * s, left);
            }
        }
    }
}
static void simd_rope_forward(llm_act *qkv, const llm_real *freq, llm_real scale, const int *positions, size_t N,
                              size_t H, size_t KV, size_t D) {
    rope_rotate(qkv, freq, scale, positions, N, H, KV, D);
}
static void simd_rope_backward(llm_act *dqkv, const llm_real *freq, llm_real scale, const int *positions, size_t N,
                               size_t H, size_t KV, size_t D) {
    rope_rotate(dqkv, freq, -scale, positions, N, H, KV, D);
}

/* ---- attention, in blocks that never hold a T x T matrix (Dao et al. 2022) ----

   S, P, lse, d, dP, dS: llm.h, chapter 4. T x T scores of every head would be the largest thing in memory. So queries
   go in blocks, and the scores of a block are held transposed: keys down, the queries of the block across, one query to
   a lane.

                     queries                          S'   = K q', by the product's kernel for vectors
                   +---------+                        P'   = exp(S' - maximum): each lane has its own maximum and
              D    |   q'    |                               sum, nothing is added up across lanes
                   +---------+                        out' = v' P', divided by the sums
         D         +---------+
       +---+       |         |                        So P' is made just as the kernel wants its right-hand matrix, and
       |   |       |  S' P'  |   keys, the causal     the keys and values of a head, packed once, serve all blocks.
       | K |  keys |         |   half only            Backward the same holds for dP' = v dout' and dq' = K' dS', and in
       +---+       +---------+                        dk = dS' q and dv = P' dout the kernel reads dS' and P' as they
                   +---------+                        lie: a row of them is a row of its left-hand matrix.
              D    |  out'   |
                   +---------+

   (P' is still to be divided by its sums here.) Saved are out and lse, a number a row and head: with lse the backward
   pass makes P again by one product and one exp. Forward, blocks are independent of each other. Backward, all queries
   add to the dk and dv of their key head, so one thread does a whole key head: for each chunk of keys, small enough
   for L2, all heads and blocks that see it. Every sum runs over keys, or over heads and their queries, in order,
   wherever blocks and chunks begin, and what is masked adds 0 (to finite numbers): so a text gives the same bits
   alone and packed behind another. Numbers are llm_real here however activations are stored. */

enum {
    ATT_KEYS = 256,                     /* keys of a chunk of the backward pass, a multiple of GEMM_ROWS */
    ATT_QUERIES = GEMM_COLS             /* queries of a block */
};

typedef struct {
    const llm_act *qkv;
    const int *start;
    int B, T, H, KV, D;
    size_t row;                         /* numbers in a row of qkv */
    llm_real scale;                     /* 1/sqrt(D) */
    int dims;                           /* D, padded to whole tiles */
} att_call;
/* One block: queries first .. first + rows-1 of a sequence, one to a lane, `wide` vectors of them. */
typedef struct {
    int first, rows, wide;
    int low, high;                      /* the keys they see lie in low .. high-1; low: a multiple of GEMM_ROWS */
    int all_from, all_to;               /* all of them see keys all_from .. all_to-1 */
    vbits start[GEMM_VECTORS], place[GEMM_VECTORS];         /* by lane: it sees keys start .. place */
} att_block;

static att_call attention_call(const llm_act *qkv, const int *start, int B, int T, int H, int KV, int D) {
    return (att_call){qkv, start, B, T, H, KV, D, (size_t)(H + 2 * KV) * (size_t)D, 1 / LLM_MATH(sqrt)((llm_real)D),
                      pad_to(GEMM_ROWS, D)};
}
static att_block attention_block(const att_call *a, int b, int index) {
    att_block t = {.first = index * ATT_QUERIES};
    t.rows = llm_min(ATT_QUERIES, a->T - t.first);
    t.wide = ceil_div(t.rows, VL);
    t.low = t.first;
    t.high = t.first + t.rows;
    t.all_to = t.first + 1;
    const int *start = a->start + (size_t)b * (size_t)a->T + (size_t)t.first;
    for (int i = 0; i < ATT_QUERIES; i++) {                 /* lanes beyond the last row see what it sees */
        const int s = start[llm_min(i, t.rows - 1)];
        t.start[i / VL][i % VL] = s;
        t.place[i / VL][i % VL] = t.first + llm_min(i, t.rows - 1);
        t.low = llm_min(t.low, s);
        t.all_from = llm_max(t.all_from, s);
    }
    t.low = t.low / GEMM_ROWS * GEMM_ROWS;
    return t;
}
/* The scores of one key as they count: those of lanes that must not see it are so low that their exp is 0. */
static inline vreal attention_mask(vreal s, const att_block *t, int v, int key) {
    return vselect((t->start[v] <= key) & (t->place[v] >= key), s, vset(never));
}
static inline bool attention_needs_mask(const att_block *t, int key) {       /* need the keys of this tile a mask? */
    return key < t->all_from || key + GEMM_ROWS > t->all_to;
}
/* The first vector of queries that reaches this key: those before it lie behind it. */
static inline int attention_reach(const att_block *t, int key) { return llm_max(0, key - t->first) / VL; }

/* A head's slice (n,D) of activations, gathered: reals, rows D apart. A vector may reach behind the last. */
static void attention_gather(llm_real *to, const llm_act *x, size_t at, size_t ld, int n, int D) {
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t c = 0, width = (size_t)D; c < width; c += VL)
            vstore(to + i * width + c, act_load_n(x, at + i * ld + c, width - c));
}
/* x' (D, queries) as the kernel's right-hand matrix, times a factor. */
static void attention_pack_queries(llm_real *to, const llm_real *x, int n, int D, llm_real factor) {
    pack_right(to, x, (size_t)D, 1, n, D, D);
    for (size_t i = 0; i < (size_t)D * GEMM_COLS; i += VL) vstore(to + i, vload(to + i) * factor);
}
/* x (dims, queries), each query times its factor, to n rows of D activations, ld apart. */
static void attention_store(llm_act *to, size_t at, size_t ld, const llm_real *x, const llm_real *factor, int n, int D,
                            llm_real *scratch) {
    const size_t width = (size_t)D;
    pack_vector(VL, scratch, x, GEMM_COLS, 1, D, pad_to(VL, n), GEMM_COLS);         /* transposed: D across */
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t c = 0; c < width; c += VL)
            act_store_n(to, at + i * ld + c, vload(scratch + c * GEMM_COLS + i * VL) * factor[i], width - c);
}

/* What a thread works in, cut from one piece of memory and padded to whole vectors and tiles both ways. */
typedef struct {
    llm_real *K, *V;                    /* backward: a chunk (keys, D) */
    llm_real *dK, *dV;                  /* sums: for a tile of keys, for a panel of GEMM_COLS dimensions: (8,48) say */
    llm_real *q, *g;                    /* a block's q' / sqrt(D) and dout' as right-hand matrices (D, queries) */
    llm_real *rows_q, *rows_g;          /* q and dout (queries, D) */
    llm_real *S, *dS;                   /* P' and dS' (keys, queries); dk and dq get dS's 1/sqrt(D) when written */
    llm_real *o;                        /* out', or all blocks' dq' (D, queries) */
    llm_real *scratch;                  /* to transpose a block */
} att_room;
static llm_real *attention_cut(llm_real *memory, size_t *used, bool wanted, int n, int m) {
    llm_real *piece = memory && wanted ? memory + *used : NULL;
    n = pad_to(GEMM_COLS, pad_to(GEMM_ROWS, n));
    m = pad_to(GEMM_COLS, pad_to(GEMM_ROWS, m));
    if (wanted) *used = llm_add(*used, llm_mul((size_t)n, (size_t)m));
    return piece;
}
/* Returns the numbers it takes; memory NULL: only that. */
static size_t attention_room(const att_call *a, bool back, llm_real *memory, att_room *r) {
    const int D = a->D, Q = ATT_QUERIES, T = a->T, keys = back ? llm_min(T, ATT_KEYS) : T;
    const int blocks = back ? a->H / a->KV * ceil_div(T, Q) : 1;
    size_t used = 0;
    r->K = attention_cut(memory, &used, back, keys, D);
    r->V = attention_cut(memory, &used, back, keys, D);
    r->dK = attention_cut(memory, &used, back, keys, D);
    r->dV = attention_cut(memory, &used, back, keys, D);
    r->q = attention_cut(memory, &used, true, Q, D);
    r->g = attention_cut(memory, &used, back, Q, D);
    r->rows_q = attention_cut(memory, &used, true, Q, D);
    r->rows_g = attention_cut(memory, &used, back, Q, D);
    r->S = attention_cut(memory, &used, true, keys, Q);
    r->dS = attention_cut(memory, &used, back, keys, Q);
    r->o = attention_cut(memory, &used, true, blocks * Q, D);
    r->scratch = attention_cut(memory, &used, true, Q, D);
    return used;
}

/* Numbers of a head's keys, gathered for a forward pass; its values take as many. */
static size_t attention_packed(const att_call *a) {
    size_t half = 0;
    attention_cut(NULL, &half, true, a->T, a->D);
    return half;
}
/* Numbers of scratch of a whole pass. */
static size_t attention_scratch(const att_call *a, bool back) {
    att_room unused;
    const size_t rooms = llm_mul((size_t)llm_threads(0), attention_room(a, back, NULL, &unused));
    return back ? rooms : llm_add(llm_mul(2 * (size_t)a->B * (size_t)a->KV, attention_packed(a)), rooms);
}

/* c (GEMM_ROWS, wide vectors) = (c +) A B over k steps, strides as in tile_sum. Unlike tile_vectors, which adds a
   finished sum, this goes on with the sum in c: where a sum is cut does not change its bits. begin: it begins at 0. */
static ALWAYS_INLINE void attention_tile_as(const int wide, int k, const llm_real *a, const int row, const int step,
                                            const llm_real *b, const int ld, llm_real *c, bool begin) {
    vreal s[GEMM_ROWS][GEMM_VECTORS] = {0};
    if (!begin) {
        UNROLL for (int i = 0; i < GEMM_ROWS; i++)
            UNROLL for (int v = 0; v < wide; v++) s[i][v] = vload(c + i * GEMM_COLS + v * VL);
    }
    tile_sum(s, false, wide, k, a, row, step, b, ld);
    UNROLL for (int i = 0; i < GEMM_ROWS; i++)
        UNROLL for (int v = 0; v < wide; v++) vstore(c + i * GEMM_COLS + v * VL, s[i][v]);
}
/* The three products of attention: of rows of K or V with queries, scores (GEMM_ROWS keys, queries) over D; of their
   columns with scores, (GEMM_ROWS dimensions, queries) over keys; of scores with rows, (GEMM_ROWS keys, dimensions)
   over queries. */
static void attention_tile(int wide, int k, const llm_real *a, int row, int step, const llm_real *b, int ld,
                           llm_real *c, bool begin) {
    if (wide > 2) attention_tile_as(3, k, a, row, step, b, ld, c, begin);
    else if (wide > 1) attention_tile_as(2, k, a, row, step, b, ld, c, begin);
    else attention_tile_as(1, k, a, row, step, b, ld, c, begin);
}

/* c (GEMM_ROWS, queries) = (c +) A S for keys from .. to-1, those of a vector of queries only as far as it sees: at the
   diagonal it does not see all. */
static void attention_tile_keys(const att_block *t, int from, int to, int D, const llm_real *a, const llm_real *s,
                                llm_real *c, bool begin) {
    for (int key = from, end; key < to; key = end, begin = false) {
        const int reach = attention_reach(t, key), at = reach * VL;
        end = llm_min(to, reach + 1 < t->wide ? t->first + at + VL : to);
        attention_tile(t->wide - reach, end - key, a + (key - from) * D, 1, D, s + (key - from) * GEMM_COLS + at,
                       GEMM_COLS, c + at, begin);
    }
}
/* S', whose row 0 is key t->low, masked, and each lane's maximum. K: all keys of the head, from 0 on. */
static void attention_scores(llm_real *S, vreal top[GEMM_VECTORS], const att_call *a, const att_block *t,
                             const llm_real *K, const llm_real *q) {
    for (int v = 0; v < GEMM_VECTORS; v++) top[v] = vset(never);
    for (int key = t->low; key < t->high; key += GEMM_ROWS) {
        llm_real *s = S + (size_t)(key - t->low) * GEMM_COLS;
        const int reach = attention_reach(t, key), from = reach * VL;
        attention_tile(t->wide - reach, a->D, K + (size_t)key * (size_t)a->D, a->D, 1, q + from, GEMM_COLS, s + from,
                       true);
        const bool masks = attention_needs_mask(t, key);
        for (int i = 0; i < llm_min(GEMM_ROWS, t->high - key); i++, s += GEMM_COLS)
            for (int v = reach; v < t->wide; v++) {
                if (masks) vstore(s + v * VL, attention_mask(vload(s + v * VL), t, v, key + i));
                top[v] = vmax(top[v], vload(s + v * VL));
            }
    }
}
/* A block of query head h. K and V: its keys and values, gathered. */
static void attention_forward_block(llm_act *out, llm_real *lse, const att_call *a, int b, int h, int block,
                                    const llm_real *K, const llm_real *V, const att_room *r) {
    const att_block t = attention_block(a, b, block);
    const int D = a->D, keys = t.high - t.low;
    const size_t n = (size_t)b * (size_t)a->T + (size_t)t.first, heads = (size_t)a->H;
    llm_real sum[ATT_QUERIES], inverse[ATT_QUERIES];
    vreal top[GEMM_VECTORS];
    attention_gather(r->rows_q, a->qkv, n * a->row + (size_t)(h * D), a->row, t.rows, D);
    attention_pack_queries(r->q, r->rows_q, t.rows, D, a->scale);
    attention_scores(r->S, top, a, &t, K, r->q);
    for (int v = 0; v < t.wide; v++) {
        vreal total = {0};
        const int seen = llm_min(keys, t.first + (v + 1) * VL - t.low);         /* the last lane sees most */
        for (llm_real *s = r->S + v * VL; s < r->S + seen * GEMM_COLS; s += GEMM_COLS) {
            const vreal e = vexp(vload(s) - top[v]);
            vstore(s, e);
            total += e;
        }
        vstore(sum + v * VL, total);
    }
    for (int c = 0; c < D; c += GEMM_ROWS)
        attention_tile_keys(&t, t.low, t.high, D, V + (size_t)t.low * (size_t)D + c, r->S, r->o + c * GEMM_COLS, true);
    for (int i = 0; i < t.rows; i++) {
        inverse[i] = 1 / sum[i];
        lse[(n + (size_t)i) * heads + (size_t)h] = top[i / VL][i % VL] + LLM_MATH(log)(sum[i]);
    }
    attention_store(out, (n * heads + (size_t)h) * (size_t)D, heads * (size_t)D, r->o, inverse, t.rows, D, r->scratch);
}
static void simd_attention_forward(llm_act *out, llm_real *lse, const llm_act *qkv, const int *start, size_t B,
                                   size_t T, size_t H, size_t KV, size_t D) {
    const att_call a = attention_call(qkv, start, B, T, H, KV, D);
    att_room unused;
    const size_t half = attention_packed(&a), own = attention_room(&a, false, NULL, &unused);
    llm_real *packed = cpu_scratch(attention_scratch(&a, false)), *rooms = packed + 2 * a.B * a.KV * half;
    LLM_OMP(parallel for collapse(2))
    for (int b = 0; b < a.B; b++)
        for (int kv = 0; kv < a.KV; kv++) {
            llm_real *K = packed + 2 * (size_t)(b * a.KV + kv) * half;        /* the values lie behind the keys */
            const size_t at = (size_t)b * a.T * a.row + (a.H + kv) * D;
            attention_gather(K, qkv, at, a.row, a.T, a.D);
            attention_gather(K + half, qkv, at + a.KV * D, a.row, a.T, a.D);
        }
    LLM_OMP(parallel for collapse(3) schedule(dynamic))
    for (int b = 0; b < a.B; b++)
        for (int h = 0; h < a.H; h++)
            for (int block = (a.T - 1) / ATT_QUERIES; block >= 0; block--) {
                att_room r;
                attention_room(&a, false, rooms + (size_t)thread_index() * own, &r);
                const llm_real *K = packed + 2 * (size_t)(b * a.KV + h / (a.H / a.KV)) * half;
                attention_forward_block(out, lse, &a, b, h, block, K, K + half, &r);
            }
}

/* What a thread of the backward pass works on: key/value head kv of sequence b, a chunk of its keys at a time. */
typedef struct {
    const llm_act *dout, *out;
    const llm_real *lse;
    int b, kv;
    int low, high;                      /* the chunk: keys low .. high-1 */
    att_room r;
} att_back;

/* What a block brings along: q and dout in both forms; each lane's lse and d. */
static void attention_block_load(const att_call *a, const att_back *k, const att_block *t, int h, llm_real *lse,
                                 llm_real *d) {
    const int D = a->D;
    const size_t n = (size_t)k->b * (size_t)a->T + (size_t)t->first, heads = (size_t)a->H, width = (size_t)D;
    attention_gather(k->r.rows_q, a->qkv, n * a->row + (size_t)h * width, a->row, t->rows, D);
    attention_gather(k->r.rows_g, k->dout, (n * heads + (size_t)h) * width, heads * width, t->rows, D);
    attention_pack_queries(k->r.q, k->r.rows_q, t->rows, D, a->scale);
    attention_pack_queries(k->r.g, k->r.rows_g, t->rows, D, 1);
    for (size_t i = 0; i < ATT_QUERIES; i++) {              /* lanes beyond the last row: never stored nor summed */
        const size_t row = size_min(i, (size_t)t->rows - 1), at = (n + row) * heads + (size_t)h;
        vreal dot = {0};
        for (size_t c = 0; c < width; c += VL)
            dot += vload_n(k->r.rows_g + row * width + c, width - c) * act_load_n(k->out, at * width + c, width - c);
        d[i] = vsum(dot);
        lse[i] = k->lse[at];
    }
}
/* Keys from .. to-1 of the chunk meet the block of head h whose dq' is at dq. Rows of S and dS count from key `from`,
   those of K, V, dK and dV from k->low. The chunk that holds t->low comes first, and begins dq. */
static void attention_backward_block(const att_call *a, const att_back *k, const att_block *t, int h, int from, int to,
                                     llm_real *dq) {
    const int D = a->D, panels = ceil_div(D, GEMM_COLS);
    const att_room *r = &k->r;
    llm_real lse[ATT_QUERIES], d[ATT_QUERIES];
    attention_block_load(a, k, t, h, lse, d);
    for (int key = from; key < to; key += GEMM_ROWS) {
        llm_real *s = r->S + (key - from) * GEMM_COLS, *ds = r->dS + (key - from) * GEMM_COLS;
        const int reach = attention_reach(t, key), at = reach * VL;
        attention_tile(t->wide - reach, D, r->K + (key - k->low) * D, D, 1, r->q + at, GEMM_COLS, s + at, true);
        attention_tile(t->wide - reach, D, r->V + (key - k->low) * D, D, 1, r->g + at, GEMM_COLS, ds + at, true);
        const bool masks = attention_needs_mask(t, key);
        for (int i = 0; i < GEMM_ROWS; i++, s += GEMM_COLS, ds += GEMM_COLS)
            for (int v = reach; v < t->wide; v++) {
                vreal x = vload(s + v * VL);
                if (masks) x = attention_mask(x, t, v, key + i);
                const vreal p = vexp(x - vload(lse + v * VL));
                vstore(s + v * VL, p);
                vstore(ds + v * VL, p * (vload(ds + v * VL) - vload(d + v * VL)));
            }
    }
    for (int c = 0; c < D; c += GEMM_ROWS)
        attention_tile_keys(t, from, to, D, r->K + (from - k->low) * D + c, r->dS, dq + c * GEMM_COLS, from == t->low);
    for (int p = 0; p < panels; p++) {
        const int wide = llm_min(GEMM_VECTORS, ceil_div(D - p * GEMM_COLS, VL));
        const llm_real *q = r->rows_q + p * GEMM_COLS, *g = r->rows_g + p * GEMM_COLS;
        for (int key = from; key < to; key += GEMM_ROWS) {
            const int tile = ((key - k->low) * panels + p * GEMM_ROWS) * GEMM_COLS, at = attention_reach(t, key) * VL;
            const int s = (key - from) * GEMM_COLS + at, rows = t->rows - at;
            attention_tile(wide, rows, r->dS + s, GEMM_COLS, 1, q + at * D, D, r->dK + tile, false);
            attention_tile(wide, rows, r->S + s, GEMM_COLS, 1, g + at * D, D, r->dV + tile, false);
        }
    }
}
/* All queries of the chunk's keys; then the chunk's dk and dv are written. */
static void attention_backward_chunk(llm_act *dqkv, const att_call *a, const att_back *k) {
    const int D = a->D, group = a->H / a->KV, blocks = ceil_div(a->T, ATT_QUERIES), panels = ceil_div(D, GEMM_COLS);
    const int keys = k->high - k->low;
    const att_room *r = &k->r;
    const size_t n = (size_t)k->b * (size_t)a->T + (size_t)k->low, width = (size_t)D;
    const size_t sums = (size_t)(pad_to(GEMM_ROWS, keys) * panels * GEMM_COLS);
    const size_t at = n * a->row + (size_t)(a->H + k->kv) * width;
    attention_gather(r->K, a->qkv, at, a->row, keys, D);
    attention_gather(r->V, a->qkv, at + (size_t)a->KV * width, a->row, keys, D);
    memset(r->dK, 0, sums * sizeof *r->dK);
    memset(r->dV, 0, sums * sizeof *r->dV);
    for (int h = 0; h < group; h++)
        for (int block = k->low / ATT_QUERIES; block < blocks; block++) {
            const att_block t = attention_block(a, k->b, block);
            const int from = llm_max(t.low, k->low), to = llm_min(t.high, k->high);
            llm_real *dq = r->o + (size_t)(h * blocks + block) * (size_t)(a->dims * GEMM_COLS);
            if (from < to) attention_backward_block(a, k, &t, k->kv * group + h, from, to, dq);
        }
    for (int key = 0; key < keys; key++)
        for (size_t c = 0; c < width; c += VL) {
            const size_t tile = (size_t)(key / GEMM_ROWS * panels) + c / GEMM_COLS;
            const size_t from = (tile * GEMM_ROWS + (size_t)(key % GEMM_ROWS)) * GEMM_COLS + c % GEMM_COLS;
            const size_t to = at + (size_t)key * a->row + c;
            act_store_n(dqkv, to, vload(r->dK + from) * a->scale, width - c);
            act_store_n(dqkv, to + (size_t)a->KV * width, vload(r->dV + from), width - c);
        }
}
static void simd_attention_backward(llm_act *dqkv, const llm_act *dout, const llm_act *out, const llm_real *lse,
                                   const llm_act *qkv, const int *start, size_t B, size_t T, size_t H, size_t KV,
                                    size_t D) {
    const att_call a = attention_call(qkv, start, B, T, H, KV, D);
    att_room unused;
    const size_t own = attention_room(&a, true, NULL, &unused);
    llm_real *memory = cpu_scratch(attention_scratch(&a, true)), factor[ATT_QUERIES];
    for (int i = 0; i < ATT_QUERIES; i++) factor[i] = a.scale;
    LLM_OMP(parallel for collapse(2) schedule(dynamic))
    for (int b = 0; b < a.B; b++)
        for (int kv = 0; kv < a.KV; kv++) {
            att_back k = {.dout = dout, .out = out, .lse = lse, .b = b, .kv = kv};
            attention_room(&a, true, memory + (size_t)thread_index() * own, &k.r);
            for (k.low = 0; k.low < a.T; k.low = k.high) {
                k.high = llm_min(a.T, k.low + ATT_KEYS);
                attention_backward_chunk(dqkv, &a, &k);
            }
            const int blocks = ceil_div(a.T, ATT_QUERIES);
            for (int i = 0; i < a.H / a.KV * blocks; i++) {
                const int h = kv * (a.H / a.KV) + i / blocks, first = i % blocks * ATT_QUERIES;
                const size_t to = ((size_t)b * a.T + (size_t)first) * a.row + (size_t)(h * a.D);
                attention_store(dqkv, to, a.row, k.r.o + (size_t)i * (size_t)(a.dims * GEMM_COLS), factor,
                                llm_min(ATT_QUERIES, a.T - first), a.D, k.r.scratch);
            }
        }
}

/* ---- gelu and swiglu: one exp a number ----

   gelu: (1 + tanh u)/2 = sigmoid(2u), so y = x s with s = sigmoid(2u), and dx = dy (s + x s (1 - s) 2u'). Where a
   product stands beside it, it is taken as the product is written (cpu_out). */

static void simd_gelu_forward(llm_act *out, const llm_act *inp, size_t n) {
    LLM_OMP(parallel for)
    for (size_t piece = 0; piece < n; piece += SIMD_PIECE) {
        const size_t end = size_min(n, piece + SIMD_PIECE);
        for (size_t i = piece; i < end; i += VL) {
            act_fetch(inp, i);
            vreal x = act_load_n(inp, i, end - i);
            act_store_n(out, i, x * gelu_gate(x), end - i);
        }
    }
}
static void simd_gelu_backward(llm_act *dinp, const llm_act *dout, const llm_act *inp, size_t n) {
    LLM_OMP(parallel for)
    for (size_t piece = 0; piece < n; piece += SIMD_PIECE) {
        const size_t end = size_min(n, piece + SIMD_PIECE);
        for (size_t i = piece; i < end; i += VL) {
            act_fetch(inp, i);
            act_fetch(dout, i);
            act_store_n(dinp, i, act_load_n(dout, i, end - i) * gelu_slope(act_load_n(inp, i, end - i)), end - i);
        }
    }
}

static void simd_swiglu_forward(llm_act *out, const llm_act *gateup, size_t N, size_t F) {
    const size_t width = F;
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        const size_t to = n * width, from = 2 * to;
        for (size_t i = 0; i < width; i += VL) {
            act_fetch(gateup, from + i);
            act_fetch(gateup, from + width + i);
            vreal g = act_load_n(gateup, from + i, width - i), u = act_load_n(gateup, from + width + i, width - i);
            act_store_n(out, to + i, g * vsigmoid(g) * u, width - i);
        }
    }
}
static void simd_swiglu_backward(llm_act *dgateup, const llm_act *dout, const llm_act *gateup, size_t N, size_t F) {
    const size_t width = F;
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        const size_t from = n * width, to = 2 * from;
        for (size_t i = 0; i < width; i += VL) {
            const size_t left = width - i;
            act_fetch(gateup, to + i);
            act_fetch(gateup, to + width + i);
            act_fetch(dout, from + i);
            vreal g = act_load_n(gateup, to + i, left), u = act_load_n(gateup, to + width + i, left);
            vreal d = act_load_n(dout, from + i, left), s = vsigmoid(g);
            act_store_n(dgateup, to + i, d * u * s * (1 + g * (1 - s)), left);
            act_store_n(dgateup, to + width + i, d * g * s, left);
        }
    }
}

/* ---- the head: log-probabilities of the targets ----

   Logits live for one chunk of rows at a time and are overwritten by their gradient: with V near 50,000 they would be
   the largest tensor of all. Saved are lse and entropy, two numbers a token: the backward pass computes the logits once
   more, and the fused sweep, for stages that know dlogp beforehand, not at all. Rows without a gradient (prompts,
   padding) are left out of the backward pass and of the fused sweep: in fine-tuning that is often half of the head's
   work. The fused sweep does not write their logp. */

enum { SIMD_HEAD_ROWS = 512 };          /* 1024 would cost GPT-2 100 MB more */

typedef struct {
    const llm_act *hidden;
    llm_weight w;
    const int *targets;
    llm_head head;
    int N, C, V;
    size_t ld;                          /* numbers in a row of logits: V, padded */
} head_call;

static head_call head_begin(const llm_act *hidden, llm_weight w, const int *targets, llm_head head, int N, int C,
                            int V) {
    if (!(head.temperature > 0))
        llm_die("--temperature 1", "log-probabilities at temperature %g", (double)head.temperature);
    return (head_call){hidden, w, targets, head, N, C, V, round_up((size_t)V, 4 * VL)};
}
/* Rows of a chunk when n rows are cut evenly: 513 rows are two chunks of 257, not 512 and 1. */
static int head_rows(int n) {
    const int chunks = llm_max(1, (n + SIMD_HEAD_ROWS - 1) / SIMD_HEAD_ROWS);
    return (n + chunks - 1) / chunks;
}
static void head_logits(llm_real *z, const llm_act *hidden, const head_call *c, int rows) {
    const cpu_view h = act_view(hidden, (size_t)c->C, 1), w = cpu_weight_view(c->w, c->C);
    cpu_gemm(rows, c->V, c->C, h, cpu_transposed(w), real_out(z, c->ld, false));
}
/* Ban what is banned, and the padding behind the row, which so needs no loop of its own. Returns the maximum. */
static llm_real head_mask(llm_real *z, const head_call *c) {
    for (size_t k = (size_t)c->V; k < c->ld; k++) z[k] = never;
    if (c->head.banned)
        for (int k = 0; k < c->V; k++) z[k] = c->head.banned[k] ? never : z[k];
    vreal top[4] = {vload(z), vload(z), vload(z), vload(z)};
    for (size_t k = 0; k < c->ld; k += 4 * VL)
        for (size_t j = 0; j < 4; j++) top[j] = vmax(top[j], vload(z + k + j * VL));
    return vhmax(vmax(vmax(top[0], top[1]), vmax(top[2], top[3])));
}
static llm_real head_row_forward(llm_real *z, const head_call *c, int target, llm_real *lse, llm_real *entropy) {
    const llm_real max = head_mask(z, c), sharp = 1 / c->head.temperature;
    vreal sum = {0}, dot = {0};
    for (size_t k = 0; k < c->ld; k += VL) {
        vreal y = (vload(z + k) - max) * sharp, e = vexp(y);
        sum += e;
        if (entropy) dot += e * y;
    }
    const llm_real total = vsum(sum);
    *lse = max * sharp + LLM_MATH(log)(total);
    if (entropy) *entropy = LLM_MATH(log)(total) - vsum(dot) / total;
    return (z[target] - max) * sharp - LLM_MATH(log)(total);
}
static void simd_logprob_forward(llm_real *logp, llm_real *lse, llm_real *entropy, const llm_act *hidden, llm_weight w,
                                const int *targets, llm_head head, size_t N, size_t C, size_t V) {
    const head_call c = head_begin(hidden, w, targets, head, N, C, V);
    const int chunk = head_rows(N);
    llm_real *z = cpu_scratch(llm_mul((size_t)chunk, c.ld));
    for (int first = 0; first < c.N; first += chunk) {
        const int rows = llm_min(chunk, c.N - first);
        head_logits(z, act_at(hidden, first * C), &c, rows);
        LLM_OMP(parallel for)
        for (int i = 0; i < rows; i++) {
            const int n = first + i;
            logp[n] = head_row_forward(z + (size_t)i * c.ld, &c, targets[n], &lse[n], entropy ? &entropy[n] : NULL);
        }
    }
}
/* Logits of one row to their gradient, in place. */
static void head_row_backward(llm_real *z, const head_call *c, int target, llm_real dlogp, llm_real dentropy,
                              llm_real lse, llm_real entropy) {
    const llm_real sharp = 1 / c->head.temperature;
    head_mask(z, c);
    const bool fixed = z[target] == never;       /* a banned logit is a constant */
    for (size_t k = 0; k < c->ld; k += VL) {
        vreal l = vload(z + k) * sharp - lse;           /* log p */
        vstore(z + k, -sharp * (dlogp + dentropy * (l + entropy)) * vexp(l));
    }
    if (!fixed) z[target] += sharp * dlogp;
}
/* Forward and backward at once: exp is taken once, and scaled when its sum is known. Returns logp. */
static llm_real head_row_fused(llm_real *z, const head_call *c, int target, llm_real dlogp) {
    const llm_real max = head_mask(z, c), sharp = 1 / c->head.temperature, at_target = z[target];
    vreal sum = {0};
    for (size_t k = 0; k < c->ld; k += VL) {
        vreal e = vexp((vload(z + k) - max) * sharp);
        vstore(z + k, e);
        sum += e;
    }
    const llm_real total = vsum(sum), scale = -sharp * dlogp / total;
    for (size_t k = 0; k < c->ld; k += VL) vstore(z + k, vload(z + k) * scale);
    if (at_target != never) z[target] += sharp * dlogp;
    return (at_target - max) * sharp - LLM_MATH(log)(total);
}
/* The sweep of both backward (lse given) and fused (lse NULL, logp written). wanted: the n rows that have a gradient.
   */
static void head_sweep(llm_real *logp, llm_act *dhidden, llm_real *dw, const llm_real *dlogp, const llm_real *dentropy,
                       const llm_real *lse, const llm_real *entropy, const head_call *c, const int *wanted, int n,
                       bool accumulate) {
    const int chunk = head_rows(n), C = c->C;
    const size_t width = (size_t)C, row_bytes = width * cpu.act_size;
    const bool all = !wanted;                           /* no row is left out: nothing to gather */
    llm_real *z = cpu_scratch(llm_add(llm_mul((size_t)chunk, c->ld), all ? 0 : llm_mul((size_t)chunk, 2 * width)));
    llm_act *gathered = (llm_act *)(z + (size_t)chunk * c->ld), *dgathered = act_place(gathered, (size_t)chunk * width);
    for (int first = 0; first < n; first += chunk) {
        const int rows = llm_min(chunk, n - first);
        const llm_act *hidden = all ? act_at(c->hidden, (size_t)first * width) : gathered;
        llm_act *d = all ? act_place(dhidden, (size_t)first * width) : dgathered;
        for (int i = 0; !all && i < rows; i++) {
            const llm_act *from = act_at(c->hidden, (size_t)wanted[first + i] * width);
            memcpy(act_place(gathered, (size_t)i * width), from, row_bytes);
        }
        head_logits(z, hidden, c, rows);
        LLM_OMP(parallel for)
        for (int i = 0; i < rows; i++) {
            const int t = all ? first + i : wanted[first + i];
            llm_real *row = z + (size_t)i * c->ld;
            const llm_real dh = dentropy ? dentropy[t] : 0, h = dentropy ? entropy[t] : 0;
            if (lse) head_row_backward(row, c, c->targets[t], dlogp[t], dh, lse[t], h);
            else logp[t] = head_row_fused(row, c, c->targets[t], dlogp[t]);
        }
        const cpu_view dz = real_view(z, c->ld, 1);
        const cpu_out dw_out = real_out(dw, width, accumulate || first > 0);
        if (dhidden) cpu_gemm(rows, C, c->V, dz, cpu_weight_view(c->w, C), act_out(d, width));
        if (dw) cpu_gemm(c->V, C, rows, cpu_transposed(dz), act_view(hidden, width, 1), dw_out);
        for (int i = 0; !all && dhidden && i < rows; i++) {
            llm_act *to = act_place(dhidden, (size_t)wanted[first + i] * width);
            memcpy(to, act_at(dgathered, (size_t)i * width), row_bytes);
        }
    }
}
/* The rows that have a gradient are swept; of the others dhidden is 0. */
static void head_gradients(llm_real *logp, llm_act *dhidden, llm_real *dw, const llm_real *dlogp,
                           const llm_real *dentropy, const llm_real *lse, const llm_real *entropy, const head_call *c,
                           bool accumulate) {
    const size_t width = (size_t)c->C;
    const int *wanted = c->head.row, n = wanted ? (int)c->head.rows : c->N;
    for (int t = 0, i = 0; t < c->N && wanted && dhidden; t++) {
        if (i < n && wanted[i] == t) i++;
        else memset(act_place(dhidden, (size_t)t * width), 0, width * cpu.act_size);
    }
    if (n) head_sweep(logp, dhidden, dw, dlogp, dentropy, lse, entropy, c, wanted, n, accumulate);
    else if (dw && !accumulate) fill_zeros(dw, (size_t)c->V * width * sizeof *dw);
}
static void simd_logprob_backward(llm_act *dhidden, llm_real *dw, const llm_real *dlogp, const llm_real *dentropy,
                                 const llm_real *lse, const llm_real *entropy, const llm_act *hidden, llm_weight w,
                                 const int *targets, llm_head head, size_t N, size_t C, size_t V, bool accumulate) {
    const head_call c = head_begin(hidden, w, targets, head, N, C, V);
    head_gradients(NULL, dhidden, dw, dlogp, dentropy, lse, entropy, &c, accumulate);
}
static void simd_logprob_fused(llm_real *logp, llm_act *dhidden, llm_real *dw, const llm_real *dlogp,
                              const llm_act *hidden, llm_weight w, const int *targets, llm_head head, size_t N,
                              size_t C, size_t V, bool accumulate) {
    const head_call c = head_begin(hidden, w, targets, head, N, C, V);
    head_gradients(logp, dhidden, dw, dlogp, NULL, NULL, NULL, &c, accumulate);
}

/* Whole logits: where only some rows are asked for, they are gathered first. */
static void simd_logits(llm_real *out, const llm_act *hidden, llm_weight w, const int *row, size_t n, size_t C,
                        size_t V) {
    llm_act *gathered = row ? llm_alloc(llm_mul(n, C), cpu.act_size) : NULL;
    for (size_t i = 0; i < n && row; i++)
        memcpy(act_place(gathered, i * C), act_at(hidden, row[i] * C), C * cpu.act_size);
    cpu_view h = act_view(row ? gathered : hidden, C, 1);
    cpu_gemm(n, V, C, h, cpu_transposed(cpu_weight_view(w, C)), real_out(out, V, false));
    llm_release(gathered);
}

/* ---- the value: du is a sum over tokens, so threads take columns ---- */

static void simd_value_forward(llm_real *value, const llm_act *hidden, const llm_real *u, size_t N, size_t C) {
    const size_t width = C;
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        vreal dot = {0};
        for (size_t i = 0; i < width; i += VL)
            dot += act_load_n(hidden, n * width + i, width - i) * vload_n(u + i, width - i);
        value[n] = vsum(dot);
    }
}
static void simd_value_backward(llm_act *dhidden, llm_real *du, const llm_real *dvalue, const llm_act *hidden,
                               const llm_real *u, size_t N, size_t C, bool accumulate_dhidden, bool accumulate_du) {
    const size_t width = C;
    LLM_OMP(parallel for if(dhidden != NULL))
    for (size_t n = 0; n < (dhidden ? N : 0); n++) {
        const size_t at = n * width;
        for (size_t i = 0; i < width; i += VL) {
            vreal d = dvalue[n] * vload_n(u + i, width - i);
            if (accumulate_dhidden) d += act_load_n(dhidden, at + i, width - i);
            act_store_n(dhidden, at + i, d, width - i);
        }
    }
    LLM_OMP(parallel for if(du != NULL))
    for (size_t i = 0; i < (du ? width : 0); i += VL) {
        vreal sum = accumulate_du ? vload_n(du + i, width - i) : (vreal){0};
        for (size_t n = 0; n < N; n++) sum += dvalue[n] * act_load_n(hidden, n * width + i, width - i);
        vstore_n(du + i, sum, width - i);
    }
}

/* ---- learning ----

   AdamW is the one operation that memory alone limits: 28 bytes a parameter in one pass, none of them touched twice.
   Clipping is a factor on the gradient where it is read anyway, and the bf16 copy of the weights is written along. */

/* With a team all of it in double: then the norm, a float, does not depend on where the ranks' ranges are cut. */
static double squares_in_double(const llm_real *x, size_t n) {
    double sum = 0;
    LLM_SIMD(reduction(+ : sum))
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}
/* In vectors over pieces of SIMD_PIECE numbers, whose sums are added in double, in order. */
static double sum_of_squares(const llm_real *x, size_t n) {
    const size_t pieces = (n + SIMD_PIECE - 1) / SIMD_PIECE;
    double *sum = llm_alloc(pieces, sizeof *sum), total = 0;
    LLM_OMP(parallel for if(pieces > 4))
    for (size_t piece = 0; piece < pieces; piece++) {
        const size_t end = size_min(n, (piece + 1) * SIMD_PIECE);
        vreal s[4] = {{0}};                             /* four sums: one would wait for its own last addition */
        size_t i = piece * SIMD_PIECE;
        for (; i + 4 * VL <= end && !llm_team; i += 4 * VL)
            for (size_t j = 0; j < 4; j++) {
                fetch(x + i + j * VL);
                s[j] += vload(x + i + j * VL) * vload(x + i + j * VL);
            }
        for (; i < end && !llm_team; i += VL) s[0] += vload_n(x + i, end - i) * vload_n(x + i, end - i);
        sum[piece] = llm_team ? squares_in_double(x + i, end - i) : (double)vsum(s[0] + s[1] + (s[2] + s[3]));
    }
    for (size_t piece = 0; piece < pieces; piece++) total += sum[piece];
    llm_release(sum);
    return total;
}

static inline vreal vsqrt(vreal x) {
    for (int i = 0; i < VL; i++) x[i] = LLM_MATH(sqrt)(x[i]);           /* one instruction, compilers see it */
    return x;
}
/* The first n lanes of a moment as bf16, rounded up or down by chance, in proportion. Rounded to nearest it would
   stand still: bf16 has steps of 0.4 to 0.8%, and with beta2 = 0.999 v moves by 0.1% of its way. The chance is a hash
   of the parameter's place and the step, so that runs repeat. */
static inline void store_by_chance(uint16_t *p, vreal x, const uint32_t *chance, int shift, size_t n) {
    uint16_t part[VL];
    for (int i = 0; i < VL; i++) {
        const float f = (float)x[i];
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        part[i] = (uint16_t)((bits + (chance[i] >> shift & 0xFFFF)) >> 16);
    }
    if (n >= VL) memcpy(p, part, sizeof part);
    else memcpy(p, part, n * sizeof *p);
}
static inline void draw_chances(uint32_t *chance, uint32_t place, uint32_t step) {
    for (uint32_t i = 0; i < VL; i++) {
        uint32_t r = ((place + i) ^ step * 0x9E3779B9u) * 0x85EBCA6Bu;
        r = (r ^ r >> 15) * 0xC2B2AE35u;
        chance[i] = r ^ r >> 16;
    }
}

/* The formula's constants: grad_scale, 1 - beta1, 1 - beta2, lr / (1 - beta1^step), 1 / sqrt(1 - beta2^step), eps,
   lr weight_decay. */
typedef struct {
    llm_real scale, fast1, fast2, rate, root, eps, decay;
    bool moments16; size_t place; int step;             /* place: of the first parameter in the arena */
} adamw_call;

/* One vector of parameters: m and v are updated, the new weights returned. */
static inline vreal adamw_vector(const adamw_call *a, vreal w, vreal grad, vreal *m, vreal *v) {
    const vreal g = grad * a->scale;
    *m += a->fast1 * (g - *m);
    *v += a->fast2 * (g * g - *v);
    return w - a->decay * w - a->rate * *m / (vsqrt(*v) * a->root + a->eps);
}
/* Ask for memory 512 parameters ahead. Past the end of an array nothing happens. */
static inline void prefetch_ahead(const llm_real *w, const llm_real *grad, const void *m, const void *v, size_t size) {
    __builtin_prefetch(w + 512, 1);
    __builtin_prefetch(grad + 512);
    __builtin_prefetch((const char *)m + 512 * size, 1);
    __builtin_prefetch((const char *)v + 512 * size, 1);
}
static void adamw_piece(const adamw_call *a, llm_real *w, uint16_t *work, const llm_real *grad, llm_real *m,
                        llm_real *v, size_t n) {
    for (size_t i = 0; i < n; i += VL) {
        const size_t left = n - i;
        prefetch_ahead(w + i, grad + i, m + i, v + i, sizeof *m);
        vreal mi = vload_n(m + i, left), vi = vload_n(v + i, left);
        vreal x = adamw_vector(a, vload_n(w + i, left), vload_n(grad + i, left), &mi, &vi);
        vstore_n(m + i, mi, left);
        vstore_n(v + i, vi, left);
        vstore_n(w + i, x, left);
        if (work) store_n(work, LLM_TYPE_BF16, i, x, left);
    }
}
/* The same with moments in bf16. `place` is that of the first parameter in the arena. */
static void adamw_piece16(const adamw_call *a, llm_real *w, uint16_t *work, const llm_real *grad, uint16_t *m,
                          uint16_t *v, size_t n, uint32_t place) {
    for (size_t i = 0; i < n; i += VL) {
        const size_t left = n - i;
        prefetch_ahead(w + i, grad + i, m + i, v + i, sizeof *m);
        vreal mi = load_n(m, LLM_TYPE_BF16, i, left), vi = load_n(v, LLM_TYPE_BF16, i, left);
        vreal x = adamw_vector(a, vload_n(w + i, left), vload_n(grad + i, left), &mi, &vi);
        uint32_t chance[VL];                            /* 16 bits for m, 16 for v */
        draw_chances(chance, place + (uint32_t)i, (uint32_t)a->step);
        store_by_chance(m + i, mi, chance, 16, left);
        store_by_chance(v + i, vi, chance, 0, left);
        vstore_n(w + i, x, left);
        if (work) store_n(work, LLM_TYPE_BF16, i, x, left);
    }
}
/* The norm is added up tensor by tensor, in the order of the table. */
static void simd_grad_norm(llm_adamw_state *state, const llm_param *param, int params) {
    state->sumsq = 0;
    for (int i = 0; i < params; i++)
        if (has_gradient(&param[i])) state->sumsq += sum_of_squares(param[i].grad, param[i].size);
}
/* One pass over n parameters that lie side by side. work: their bf16 copy, or NULL. */
static void adamw_run(const adamw_call *call, llm_real *w, uint16_t *work, const llm_real *grad, void *m, void *v,
                      size_t n) {
    LLM_OMP(parallel for)
    for (size_t piece = 0; piece < n; piece += SIMD_PIECE) {
        const size_t count = size_min(n - piece, SIMD_PIECE);
        uint16_t *copy = work ? work + piece : NULL;
        uint16_t *m16 = (uint16_t *)m + piece, *v16 = (uint16_t *)v + piece;
        llm_real *mr = (llm_real *)m + piece, *vr = (llm_real *)v + piece;
        if (!call->moments16) adamw_piece(call, w + piece, copy, grad + piece, mr, vr, count);
        else adamw_piece16(call, w + piece, copy, grad + piece, m16, v16, count, (uint32_t)(call->place + piece));
    }
}
static void simd_adamw(const llm_param *param, int params, void *m, void *v, llm_adamw_rule r, llm_adamw_state *s) {
    llm_adamw_judge(s, &r);
    const size_t size = r.moments16 ? sizeof(uint16_t) : sizeof(llm_real);
    const double c1 = 1 - pow(r.beta1, s->step), c2 = 1 - pow(r.beta2, s->step);
    for (int i = 0, next; i < params && !s->skip; i = next) {
        const llm_param *p = &param[i];
        next = i + 1;
        if (!has_gradient(p)) continue;
        /* Rows lie side by side in the arenas, padded with zeros that stay zero: few calls, and long ones. */
        while (next < params && has_gradient(&param[next]) && param[next].vector == p->vector) next++;
        const size_t n = param[next - 1].offset + param[next - 1].size - p->offset;
        const double decay = p->vector ? 0 : r.weight_decay;
        const adamw_call call = {(llm_real)s->scale, (llm_real)(1 - r.beta1), (llm_real)(1 - r.beta2),
                                 (llm_real)(r.lr / c1), (llm_real)(1 / sqrt(c2)), (llm_real)r.eps,
                                 (llm_real)(r.lr * decay), r.moments16, p->offset, s->step};
        uint16_t *work = p->w.type == LLM_TYPE_BF16 ? (uint16_t *)p->w.data : NULL;
        adamw_run(&call, p->data, work, p->grad, (char *)m + size * p->offset, (char *)v + size * p->offset, n);
    }
}

/* ================================================================================================================
   4. A matrix times few rows
   ================================================================================================================
   To say one token is to multiply every matrix by one vector: each weight is read from memory, used once and not needed
   again. Packing, tiles and blocks gain nothing here: what counts is that memory is never idle. So each thread reads
   its own rows of W in four streams that lie far apart, each front to back, a row of each at a time, and asks for what
   comes next while it multiplies. (Four neighbouring rows would be one stream that jumps.) Weights are widened in
   registers, so fewer bits are less to read. Up to four vectors, several texts at once, are multiplied with each weight
   read.

       y (n,O) = x (n,K) W'          W (O,K) in any form          sums run over k in VL lanes, which are added last

   The order of the sums does not depend on n, nor on how the rows are divided among threads. */

enum { HEAD_MOST = 1 << 12 };           /* numbers of a head: llm_config_check */
enum { FEW_AHEAD = 1024 };              /* bytes of a row that are asked for in advance */
enum { FEW_ROWS = 4 };                  /* of W at a time: four streams keep memory busy, one only half */
enum { FEW_CACHED = 16384 };            /* bytes of W that wait in L1 for the next vectors */

/* The halves of a and of b are added; their sums take turns. */
static inline vreal fold(vreal a, vreal b) { return (vreal)ZIP_LOW(a, b) + (vreal)ZIP_HIGH(a, b); }
/* sum[j] = the sum of the lanes of s[j]. */
static ALWAYS_INLINE void sum_lanes(llm_real sum[4], const vreal s[4]) {
#if VL == 2
    for (int j = 0; j < 4; j++) sum[j] = vsum(s[j]);
#else
    vreal four = fold(fold(s[0], s[2]), fold(s[1], s[3]));
    UNROLL for (int n = 4; n < VL; n *= 2) four = fold(four, four);
    UNROLL for (int j = 0; j < 4; j++) sum[j] = four[j * (VL / 4)];
#endif
}

/* - integers times integers -

   Widened to reals, eight bits cost more instructions than memory costs time. AVX-512 VNNI multiplies bytes: each of 16
   lanes adds four products of an unsigned and a signed byte. So x becomes integers too, but of 16 bits, X = round(x/t)
   with t = max|x| / 32512 over the block's 32 numbers, which is off by t/2: as good as exact beside weights of 8 bits.
   X = 256 hi + lo, two signed bytes; the weights are made unsigned by an offset, whose part is taken off again:

       sum w x = s t (256 sum (q + 128) hi + sum (q + 128) lo - 128 sum X)            q4: 8 in the place of 128

   One vector holds 64 q8 (two blocks) or 128 q4 (four blocks: the low halves, then the high ones). In a row's last one
   blocks may be missing: there X is 0. */
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__F16C__) && !LLM_DOUBLE
#define LLM_VNNI 1
typedef struct { __m512i hi[2], lo[2], offset; vreal scale; } few_x;    /* what a vector of weights meets */

/* The products of one vector of weights, unsigned as they are, and their part of a sum. */
static ALWAYS_INLINE __m512i few_dot(const bool q4, const __m512i q[2], const few_x *x) {
    __m512i t = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q[0], x->hi[0]);
    if (q4) t = _mm512_dpbusd_epi32(t, q[1], x->hi[1]);
    t = _mm512_dpbusd_epi32(_mm512_slli_epi32(t, 8), q[0], x->lo[0]);
    return q4 ? _mm512_dpbusd_epi32(t, q[1], x->lo[1]) : t;
}
static ALWAYS_INLINE vreal few_add(const bool q4, vreal s, const __m512i q[2], vreal scale, const few_x *x) {
    const __m512i t = _mm512_add_epi32(few_dot(q4, q, x), x->offset);
    return s + (vreal)_mm512_cvtepi32_ps(t) * (scale * x->scale);
}
/* x as integers, in the order of the weights: 16 columns at a time. */
static void few_pack(llm_type type, few_x *out, const llm_real *x, size_t K) {
    const bool q4 = type == LLM_TYPE_Q4;
    const size_t wide = q4 ? 128 : 64;
    const __m512i offset = _mm512_set1_epi8(q4 ? 8 : -128);             /* unsigned: 128 */
    static const llm_real none[32];
    for (size_t first = 0; first + 32 <= K; first += wide, out++) {
        for (size_t u = 0; u < 4; u++) {                    /* bytes 16 u and on, which go into lanes 4 u and on */
            const size_t at = first + 32 * (q4 ? u : u / 2);
            const llm_real *block = at + 32 <= K ? x + at : none, *run = q4 ? block : block + 16 * (u % 2);
            const vreal a = vload(block), b = vload(block + 16);
            const llm_real t = vhmax(vmax(vmax(a, -a), vmax(b, -b))) / 32512, by = t > 1e-30f ? 1 / t : 0;
            for (size_t h = 0; h <= (size_t)q4; h++) {      /* adding 1.5 * 2^23 rounds to an integer, as in vexp */
                const vbits X = (vbits)(vload(run + 16 * h) * by + 0x1.8p23f) - 0x4B400000, hi = (X + 128) >> 8;
                ((__m128i *)&out->hi[h])[u] = _mm512_cvtepi32_epi8((__m512i)hi);
                ((__m128i *)&out->lo[h])[u] = _mm512_cvtepi32_epi8((__m512i)(X - 256 * hi));
            }
            for (size_t lane = 4 * u; lane < 4 * u + 4; lane++) out->scale[lane] = t;
        }
        out->offset = _mm512_sub_epi32(_mm512_setzero_si512(), few_dot(q4, (__m512i[2]){offset, offset}, out));
    }
}
/* The unsigned weights of group g, and their scales, each spread over the lanes of its block. n: blocks it has. */
static ALWAYS_INLINE vreal few_load(const bool q4, __m512i q[2], const char *row, const uint16_t *scale, size_t g,
                                    size_t n) {
    const size_t most = q4 ? 4 : 2;
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i w = n == most ? _mm512_loadu_si512(row + 64 * g)
                                : _mm512_maskz_loadu_epi8(~(__mmask64)0 >> (64 - 64 / most * n), row + 64 * g);
    const vbits lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const __m512i from = (__m512i)(q4 ? lane / 4 : lane / 8);           /* which scale a lane takes */
    q[0] = q4 ? _mm512_and_si512(w, low) : _mm512_xor_si512(w, _mm512_set1_epi8(-128));
    q[1] = _mm512_and_si512(_mm512_srli_epi16(w, 4), low);
    __m128i some = _mm_setzero_si128();
    if (n == most) memcpy(&some, scale + most * g, most * sizeof *scale);
    else some = _mm_maskz_loadu_epi16((__mmask8)((1 << n) - 1), scale + most * g);
    const __m128 wide = _mm_cvtph_ps(some);
    return (vreal)_mm512_permutexvar_ps(from, _mm512_castps128_ps512(wide));
}
#else
#define LLM_VNNI 0
typedef struct { char none; } few_x;
#endif
/* Vectors of weights that are multiplied as integers: they hold all whole blocks of a row. */
static inline size_t few_whole(llm_type type, int K) {
    const size_t most = type == LLM_TYPE_Q4 ? 4 : 2;
    return LLM_VNNI && (type == LLM_TYPE_Q8 || type == LLM_TYPE_Q4) ? ((size_t)K / 32 + most - 1) / most : 0;
}

typedef struct {
    llm_real *y; size_t ldy;            /* (n,O), rows ldy apart */
    llm_weight w; int K;                /* (O,K) */
    const llm_real *x;                  /* (n,K) */
    few_x *packed;                      /* room for (n, few_whole): the same as integers */
    size_t apart, last;                 /* rows of W so far apart are read together; there is none behind the last */
    size_t deep, rows;                  /* tokens in lanes: how; so many plain rows of y are asked for, or 0 */
} few_call;

typedef uint64_t vwide __attribute__((vector_size(VECTOR_BYTES)));

/* `deep` numbers, of which n are there, for each token (see "tokens in lanes"); a token's sum in the place of each. */
static ALWAYS_INLINE vreal few_spread(const size_t deep, const llm_real *p, size_t n) {
    uint64_t two = 0;
#if VL == 16
    if (deep == VL) return (vreal)_mm512_maskz_loadu_ps((__mmask16)(n < VL ? (1 << n) - 1 : -1), p);
#endif
    if (deep == VL) return vload_n(p, n);
    if (deep == 1) return vset(*p);
    memcpy(&two, p, sizeof two);
    return (vreal)(two + (vwide){0});
}
static ALWAYS_INLINE vreal few_both(const size_t deep, vreal v) {
    return deep == VL ? vset(vsum(v)) : deep == 1 ? v : v + (vreal)((vwide)v << 32 | (vwide)v >> 32);
}
#if LLM_VNNI
/* Group g of some rows, which has so many blocks, times that of some vectors. */
static ALWAYS_INLINE void few_group(const llm_type type, const int n, const few_call *c, size_t i0,
                                    vreal s[4][FEW_ROWS], const char *const row[], const uint16_t *const scale[],
                                    size_t g, size_t blocks, size_t groups) {
    const bool q4 = type == LLM_TYPE_Q4;
    UNROLL for (size_t j = 0; j < FEW_ROWS; j++) {
        __m512i q[2];
        const vreal spread = few_load(q4, q, row[j], scale[j], g, blocks);
        __builtin_prefetch(row[j] + FEW_AHEAD + 64 * g);
        UNROLL for (size_t i = 0; i < (size_t)n; i++)
            s[i][j] = few_add(q4, s[i][j], q, spread, c->packed + (i0 + i) * groups + g);
    }
}
#endif
/* The last columns of a tile, fewer than 32, unless they are reals. */
static void few_rest(const few_call *c, int n, size_t i0, size_t r) {
    const size_t K = (size_t)c->K, whole = K / 32 * 32;
    const cpu_view v = cpu_weight_view(c->w, c->K);
    llm_real part[32];
    for (size_t j = 0, at = 0; j < FEW_ROWS && (!j || at < c->last); j++) {
        at = size_min(r + j * c->apart, c->last);
        view_row(&v, at, whole, K - whole, part);
        for (size_t i = i0; i < i0 + (size_t)n; i++) {
            llm_real sum = 0;
            for (size_t k = whole; k < K; k++) sum += part[k - whole] * c->x[i * K + k];
            c->y[i * c->ldy + at] += sum;
        }
    }
}
/* y[i][r + j apart] for i < n and j < FEW_ROWS. */
static ALWAYS_INLINE void few_tile(const llm_type type, const int n, const few_call *c, size_t i0, size_t r) {
    const size_t K = (size_t)c->K, bytes = weight_row_bytes(type, c->K), blocks = K / 32;
    const size_t scales = weight_blocks(type, c->K), block_bytes = weight_row_bytes(type, 32);
    const char *row[FEW_ROWS];
    const uint16_t *scale[FEW_ROWS];
    const llm_real *x = c->x + i0 * K;
    size_t whole = few_whole(type, c->K), at[FEW_ROWS];
    vreal s[4][FEW_ROWS];
    UNROLL for (size_t j = 0; j < FEW_ROWS; j++) {          /* beyond the last: that one again */
        at[j] = size_min(r + j * c->apart, c->last);
        row[j] = (const char *)c->w.data + at[j] * bytes;
        scale[j] = c->w.scale + at[j] * scales;
        UNROLL for (size_t i = 0; i < (size_t)n; i++) s[i][j] = (vreal){0};
    }
#if LLM_VNNI
    const size_t most = type == LLM_TYPE_Q4 ? 4 : 2, full = whole ? blocks / most : 0;
    for (size_t g = 0; g < full; g++) few_group(type, n, c, i0, s, row, scale, g, most, whole);
    if (full < whole) few_group(type, n, c, i0, s, row, scale, full, blocks % most, whole);
    if (whole) whole = blocks;
#endif
    for (size_t b = whole; b < blocks; b++)
        UNROLL for (size_t j = 0; j < FEW_ROWS; j++) {
            const weights32 w = weight_block(type, row[j], scale[j], b);
            for (size_t line = 0; line < block_bytes; line += 64)
                __builtin_prefetch(row[j] + FEW_AHEAD + b * block_bytes + line);
            UNROLL for (size_t i = 0; i < (size_t)n; i++)
                UNROLL for (size_t q = 0; q < 32 / VL; q++) s[i][j] += w.v[q] * vload(x + i * K + 32 * b + q * VL);
        }
    for (size_t k = 32 * blocks; k < K && type == LLM_TYPE_REAL; k += VL)
        UNROLL for (size_t j = 0; j < FEW_ROWS; j++) {
            const vreal w = few_spread(VL, (const llm_real *)row[j] + k, K - k);
            UNROLL for (size_t i = 0; i < (size_t)n; i++) s[i][j] += w * few_spread(VL, x + i * K + k, K - k);
        }
    UNROLL for (size_t i = 0; i < (size_t)n; i++) {
        llm_real sum[FEW_ROWS];
        sum_lanes(sum, s[i]);
        UNROLL for (size_t j = 0; j < FEW_ROWS; j++) c->y[(i0 + i) * c->ldy + at[j]] = sum[j];
    }
    if (K % 32 && type != LLM_TYPE_REAL) few_rest(c, n, i0, r);
}
/* Twelve copies, each with its form of weights and number of vectors compiled in. */
#define FEW_TILE(type, n)                                                                                              \
    static void few_##type##_##n(const few_call *c, size_t i, size_t r, size_t end) {                                  \
        for (; r < end; r++) few_tile(LLM_TYPE_##type, n, c, i, r);                                                    \
    }
#define FEW_TILES(type) FEW_TILE(type, 1) FEW_TILE(type, 2) FEW_TILE(type, 4)
FEW_TILES(REAL) FEW_TILES(BF16) FEW_TILES(Q8) FEW_TILES(Q4)
#define FEW_NAMES(type) {few_##type##_1, few_##type##_2, few_##type##_4}
static void (*const few_tiles[4][3])(const few_call *, size_t, size_t, size_t) = {
    FEW_NAMES(REAL), FEW_NAMES(BF16), FEW_NAMES(Q8), FEW_NAMES(Q4)};
/* Columns r0 .. r1-1 of y for n rows of x, by the calling thread. */
static void few_product(few_call c, int n, int r0, int r1) {
#if LLM_VNNI
    const size_t whole = few_whole(c.w.type, c.K);
    for (size_t i = 0; i < (size_t)n && whole; i++)
        few_pack(c.w.type, c.packed + i * whole, c.x + i * (size_t)c.K, (size_t)c.K);
#endif
    const size_t in_cache = llm_max(1, FEW_CACHED / (int)(FEW_ROWS * weight_row_bytes(c.w.type, c.K)));
    c.apart = (size_t)ceil_div(r1 - r0, FEW_ROWS);          /* four pieces of W, each read front to back */
    c.last = (size_t)r1 - 1;
    for (size_t r = 0; r < c.apart; r += in_cache)
        for (int i = 0, take; i < n; i += take) {           /* fours, twos, ones */
            const int size = n - i >= 4 ? 2 : n - i >= 2;
            few_tiles[c.w.type][size](&c, (size_t)i, (size_t)r0 + r, (size_t)r0 + size_min(c.apart, r + in_cache));
            take = 1 << size;
        }
}

/* - tokens in lanes -

   Of many texts VL stand side by side in a vector: then no lanes are to be added up. Of fewer VL/2, each with two
   neighbouring numbers, whose sums are added at the end. So a panel has `lanes` tokens, and deep = VL / lanes numbers
   of each stand together: number k of token i at x[(i/lanes K + k/deep deep) lanes + i%lanes deep + k%deep]; lanes = 1
   are plain rows. y likewise: it is the next product's x; or plain rows, if so many are asked for. GEMM_ROWS rows of
   W, read where they lie (reals only), meet up to GEMM_VECTORS panels. Sums run over k in order. */
static ALWAYS_INLINE void few_lanes_tile(const int wide, const size_t deep, const few_call *c,
                                         const llm_real *const w[GEMM_ROWS], size_t panel, size_t r, size_t rows) {
    const size_t K = (size_t)c->K, lanes = VL / deep, next = K * lanes;
    const llm_real *x = c->x + panel * next;
    const vbits first = (vbits)((vwide){0} + 0xFFFFFFFF);   /* of two numbers */
    vreal s[GEMM_ROWS][GEMM_VECTORS] = {0};
    for (size_t k = 0; k < K; k += deep) {
        const llm_real *at = x + k * lanes;
        const vreal b0 = vload(at), b1 = wide > 1 ? vload(at + next) : b0, b2 = wide > 2 ? vload(at + 2 * next) : b0;
        if (k % 16 == 0)                                    /* the next rows of W */
            UNROLL for (int i = 0; i < GEMM_ROWS; i++) __builtin_prefetch(w[i] + GEMM_ROWS * K + k);
        UNROLL for (int i = 0; i < GEMM_ROWS; i++) {
            const vreal a = few_spread(deep, w[i] + k, deep);
            s[i][0] += a * b0;
            if (wide > 1) s[i][1] += a * b1;
            if (wide > 2) s[i][2] += a * b2;
        }
    }
    UNROLL for (size_t v = 0; v < (size_t)wide; v++) {
        const size_t i0 = (panel + v) * lanes;
        vreal sum[GEMM_ROWS];
        UNROLL for (int i = 0; i < GEMM_ROWS; i++) sum[i] = few_both(deep, s[i][v]);
        if (c->rows) {
            transpose(GEMM_ROWS, (vbits *)sum);             /* (lanes,deep,GEMM_ROWS) */
            const llm_real *from = (const llm_real *)sum;
            for (size_t i = i0; i < size_min(c->rows, i0 + lanes); i++, from += deep * GEMM_ROWS)
                if (rows == GEMM_ROWS) memcpy(c->y + i * c->ldy + r, from, GEMM_ROWS * sizeof *from);
                else memcpy(c->y + i * c->ldy + r, from, rows * sizeof *from);
        } else
            UNROLL for (size_t i = 0; i < GEMM_ROWS; i += deep)
                if (i < rows) vstore(c->y + i0 * c->ldy + (r + i) * lanes,
                                     deep == 1 ? sum[i] : vselect(first, sum[i], sum[i + deep - 1]));
    }
}
#define FEW_LANES(wide, deep)                                                                                          \
    static void few_lanes_##deep##_##wide(const few_call *c, const llm_real *const *w, size_t p, size_t r, size_t n) { \
        few_lanes_tile(wide, deep, c, w, p, r, n);                                                                     \
    }
FEW_LANES(1, 1) FEW_LANES(2, 1) FEW_LANES(3, 1) FEW_LANES(1, 2) FEW_LANES(2, 2) FEW_LANES(3, 2)
static void (*const few_lanes_tiles[2][3])(const few_call *, const llm_real *const *, size_t, size_t, size_t) = {
    {few_lanes_1_1, few_lanes_1_2, few_lanes_1_3}, {few_lanes_2_1, few_lanes_2_2, few_lanes_2_3}};
/* Columns r0 .. r1-1 of y, by the calling thread. */
static void few_lanes(const few_call *c, int panels, int r0, int r1) {
    const llm_real *w[GEMM_ROWS];
    for (int r = r0; r < r1; r += GEMM_ROWS) {
        const int rows = llm_min(GEMM_ROWS, r1 - r);
        for (int i = 0; i < GEMM_ROWS; i++)                 /* beyond the last: that one again */
            w[i] = (const llm_real *)c->w.data + (size_t)(r + llm_min(i, rows - 1)) * (size_t)c->K;
        for (int p = 0, take; p < panels; p += take) {
            take = panels - p == 4 ? 2 : llm_min(3, panels - p);
            few_lanes_tiles[c->deep - 1][take - 1](c, w, (size_t)p, (size_t)r, (size_t)rows);
        }
    }
}

/* ================================================================================================================
   5. Speaking
   ================================================================================================================ */

/* ---- attention over the cache ----

   Keys lie as (rows, KV, D, T), transposed, so that the scores of VL neighbouring tokens are one vector; values as
   (rows, KV, T, D), so that the weighted sum is one. Both are stored as activations. */

static size_t cache_head(size_t row, size_t kv, size_t T, size_t KV, size_t D) { return (row * KV + kv) * D * T; }
static void simd_cache_copy(llm_act *k, llm_act *v, size_t to, size_t from, size_t length, size_t T, size_t KV,
                            size_t D) {
    LLM_OMP(parallel for)
    for (size_t kv = 0; kv < KV; kv++) {
        const size_t a = cache_head(to, kv, T, KV, D), b = cache_head(from, kv, T, KV, D), size = cpu.act_size;
        for (size_t d = 0; d < D; d++) memcpy(act_place(k, a + d * T), act_at(k, b + d * T), length * size);
        memcpy(act_place(v, a), act_at(v, b), length * D * size);
    }
}

/* The weights of a layer. */
static double few_layer(const llm_config *c) { return (double)c->C * (2.0 * (c->H + c->KV) * c->D + 3.0 * c->F); }
/* A thread for each 16 KB of a layer's weights: fewer would wait for each other more than they work. */
static int few_threads(const llm_model *m) {
    return llm_max(1, (int)fmin(llm_threads(0), few_layer(&m->c) * sizeof(llm_real) / 16384));
}
/* Queries that look back together, tokens of a prompt or heads that share a key: what is loaded serves all of them, and
   their sums fill the registers. Each has the sums it has alone: what it must not see adds 0. */
enum { ATTEND_MOST = GEMM_ROWS / 4 * 3 };
/* out (m,D) = factor (m) p (m,T) v (T,D) over the first tokens: `vectors` of a head's D numbers, from d on. */
static ALWAYS_INLINE void attend_values(const llm_type type, const int m, const int vectors, size_t d, llm_real *out,
                                        const llm_real *factor, const llm_real *p, const llm_act *v, size_t v0,
                                        size_t D, size_t T, size_t seen) {
    const size_t n = vectors > 1 ? VL : D - d;
    vreal o[2][ATTEND_MOST][4] = {{{{0}}}};                 /* even and odd t: no sum waits for its last addition */
    for (size_t t = 0; t < seen; t += 2)
        UNROLL for (size_t odd = 0; odd < 2; odd++) {
            if (odd && t + 1 == seen) break;
            UNROLL for (size_t i = 0; i < (size_t)vectors; i++) {
                const vreal value = load_n(v, type, v0 + (t + odd) * D + d + i * VL, n);
                UNROLL for (size_t j = 0; j < (size_t)m; j++) o[odd][j][i] += p[j * T + t + odd] * value;
            }
        }
    UNROLL for (size_t j = 0; j < (size_t)m; j++)
        UNROLL for (size_t i = 0; i < (size_t)vectors; i++)
            vstore_n(out + j * D + d + i * VL, (o[0][j][i] + o[1][j][i]) * factor[j], n);
}
/* x (m,D) = softmax(x keys / sqrt(D)) values of one head; query j sees seen[j] tokens. score: (m,T). */
static ALWAYS_INLINE void attend_as(const llm_type type, const int m, llm_real *x, const size_t *seen, const llm_act *k,
                                    const llm_act *v, size_t head, size_t D, size_t T, llm_real *score) {
    const llm_real scale = 1 / LLM_MATH(sqrt)((llm_real)D);
    llm_real inverse[ATTEND_MOST];
    size_t most = 0, d = 0;
    for (int j = 0; j < m; j++) most = size_max(most, seen[j]);
    for (size_t t = 0; t < most; t += 4 * VL) {             /* four vectors: no sum waits for its own last addition */
        vreal s[ATTEND_MOST][4] = {{{0}}};
        for (d = 0; d < D; d++)
            UNROLL for (size_t i = 0; i < 4; i++) {
                const vreal key = load_n(k, type, head + d * T + t + i * VL, VL);
                UNROLL for (int j = 0; j < m; j++) s[j][i] += x[(size_t)j * D + d] * key;
            }
        UNROLL for (int j = 0; j < m; j++)
            UNROLL for (size_t i = 0; i < 4; i++) vstore(score + (size_t)j * T + t + i * VL, s[j][i] * scale);
    }
    for (int j = 0; j < m; j++) {
        llm_real *p = score + (size_t)j * T;
        vreal top = vset(-1e30f), total = {0};
        for (size_t t = seen[j]; t % VL || t < most; t++) p[t] = -1e30f;        /* tokens that it must not see */
        for (size_t t = 0; t < most; t += VL) top = vmax(top, vload(p + t));
        const llm_real best = vhmax(top);
        for (size_t t = 0; t < most; t += VL) {
            const vreal e = vexp(vload(p + t) - best);
            total += e;
            vstore(p + t, e);
        }
        inverse[j] = 1 / vsum(total);
    }
    for (d = 0; m == 1 && d + 4 * VL <= D; d += 4 * VL)
        attend_values(type, m, 4, d, x, inverse, score, v, head, D, T, most);
    for (; d + 2 * VL <= D; d += 2 * VL) attend_values(type, m, 2, d, x, inverse, score, v, head, D, T, most);
    for (; d < D; d += VL) attend_values(type, m, 1, d, x, inverse, score, v, head, D, T, most);
}
/* For one query, or up to ATTEND_MOST: there is room for so many. */
static void look_back(size_t m, llm_real *x, const size_t *seen, const llm_act *k, const llm_act *v, size_t head,
                      size_t D, size_t T, llm_real *score) {
    const bool reals = cpu.act == LLM_TYPE_REAL;
    if (m == 1 && reals) attend_as(LLM_TYPE_REAL, 1, x, seen, k, v, head, D, T, score);
    else if (m == 1) attend_as(LLM_TYPE_BF16, 1, x, seen, k, v, head, D, T, score);
    else if (reals) attend_as(LLM_TYPE_REAL, ATTEND_MOST, x, seen, k, v, head, D, T, score);
    else attend_as(LLM_TYPE_BF16, ATTEND_MOST, x, seen, k, v, head, D, T, score);
}
static void simd_cache_attention(llm_act *out, llm_act *k, llm_act *v, const llm_act *qkv, const int *rows,
                                 const int *positions, size_t n, size_t T, size_t H, size_t KV, size_t D) {
    const size_t QKV = (H + 2 * KV) * D, G = H / KV, room = llm_mul(ATTEND_MOST, T + D) + VL;
    llm_real *rooms = cpu_scratch(llm_mul((size_t)llm_threads(0), room));
    LLM_OMP(parallel for collapse(2))
    for (size_t kv = 0; kv < KV; kv++) for (size_t d = 0; d < D; d++)   /* a prompt's keys: side by side */
        for (size_t i = 0; i < n; i++) {
            const size_t to = cache_head(rows[i], kv, T, KV, D), pos = positions[i], from = i * QKV + (H + kv) * D;
            if (cpu.act == LLM_TYPE_REAL) ((llm_real *)k)[to + d * T + pos] = ((const llm_real *)qkv)[from + d];
            else ((uint16_t *)k)[to + d * T + pos] = ((const uint16_t *)qkv)[from + d];
            if (d == 0) memcpy(act_place(v, to + pos * D), act_at(qkv, from + KV * D), D * cpu.act_size);
        }
    LLM_OMP(parallel for collapse(2) schedule(dynamic))
    for (size_t i = 0; i < n; i += ATTEND_MOST) for (size_t kv = 0; kv < KV; kv++) {
        llm_real *score = rooms + (size_t)thread_index() * room, *x = score + ATTEND_MOST * T;
        for (size_t j = i * G, end = size_min(n, i + ATTEND_MOST) * G, m; j < end; j += m) {
            size_t seen[ATTEND_MOST] = {0};
            const size_t head = cache_head(rows[j / G], kv, T, KV, D);
            for (m = 0; m < ATTEND_MOST && j + m < end && rows[(j + m) / G] == rows[j / G]; m++) {
                const size_t token = (j + m) / G, h = kv * G + (j + m) % G;
                seen[m] = (size_t)positions[token] + 1;
                attention_gather(x + m * D, qkv, token * QKV + h * D, 0, 1, (int)D);
            }
            look_back(m, x, seen, k, v, head, D, T, score);
            for (size_t r = 0; r < m; r++) cpu_store(out, ((j + r) / G * H + kv * G + (j + r) % G) * D, x + r * D, D);
        }
    }
}

/* ---- a whole step in one parallel region ----

   A token of a large model costs some milliseconds, one of a small model some microseconds: less than it takes to wake
   threads for each product. So the threads are called once a step and walk through the layers together; each owns some
   rows of every matrix, and they meet where one needs what another made: six times a layer. Here all activations are
   llm_real, only the cache is stored as activations are. */

/* Rows of a cache and tokens of a step up to which this is faster than products, with weights that are reals (and no
   AMX) or in fewer bits; and rows beyond which tokens are lanes, two numbers of each together, or one. */
enum { FEW_MOST = 64, FEW_MOST_BITS = 16, FEW_HALF = 4, FEW_APART = 8 };

typedef struct {                        /* each thread's own */
    llm_real *xn, *u, *v, *score;       /* (n,C) output of a norm, (n,r) and (n,O) of adapters, (T) */
    few_x *packed;                      /* (n, widest matrix) */
} few_room;
typedef struct {
    llm_model *m; llm_cache *cache;
    const int *tokens, *rows, *positions; int n;
    const bool *want; llm_real *logits;
    bool apart;                         /* all tokens are of different rows */
    size_t lanes, deep, panels;         /* tokens to a panel, neighbouring numbers of each, and all panels ... */
    llm_real *x, *mid, *att, *pre, *ff; /* ... in which (n,C), (n,C), (n,H*D), (n,2F), (n,F) lie ... */
    llm_real *qkv;                      /* ... but not (n,QKV) */
    const llm_real *angles;             /* rope: cosines and sines by position */
    llm_real scale;                     /* of rope */
    int arrived, meetings;
} few_step;

/* Wait for the others: spinning first, as they are microseconds behind; then leaving the processor to whoever needs it,
   perhaps to the thread that is waited for. */
static void few_meet(few_step *s, int threads) {
    const int meeting = __atomic_load_n(&s->meetings, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&s->arrived, 1, __ATOMIC_ACQ_REL) == threads) {
        __atomic_store_n(&s->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&s->meetings, meeting + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int tries = 0; __atomic_load_n(&s->meetings, __ATOMIC_ACQUIRE) == meeting; tries++)
        if (tries > 3000) sched_yield();
}
/* Outputs [from, to) of n are this thread's. */
typedef struct { int from, to; } few_share;
static few_share few_part(int id, int threads, int n) {
    const int each = pad_to(GEMM_ROWS, (n + threads - 1) / threads);
    return (few_share){llm_min(n, id * each), llm_min(n, (id + 1) * each)};
}
/* The norm of a panel, or of a plain row, deep = VL. */
static ALWAYS_INLINE void few_norm_as(const size_t deep, llm_real *out, const llm_real *x, const llm_part *part,
                                      const llm_config *c) {
    const size_t C = part->w->cols, lanes = VL / deep;
    vreal sum = {0}, square = {0};
    for (size_t i = 0; i < C && c->norm == LLM_LAYERNORM; i += deep) sum += vload_n(x + i * lanes, (C - i) * lanes);
    const vreal mean = few_both(deep, sum) / (llm_real)C;
    for (size_t i = 0; i < C; i += deep) {
        const vreal d = vkeep(vload_n(x + i * lanes, (C - i) * lanes) - mean, (C - i) * lanes, 0);
        square += d * d;
    }
    const vreal rstd = 1 / vsqrt(few_both(deep, square) / (llm_real)C + (llm_real)c->eps);
    for (size_t i = 0; i < C; i += deep) {
        const size_t n = (C - i) * lanes;
        const vreal y = (vload_n(x + i * lanes, n) - mean) * rstd * few_spread(deep, part->w->data + i, n);
        vstore_n(out + i * lanes, part->bias ? y + few_spread(deep, part->bias->data + i, n) : y, n);
    }
}
static void few_norm(size_t deep, llm_real *out, const llm_real *x, const llm_part *part, const llm_config *c) {
    if (deep == 1) few_norm_as(1, out, x, part, c);
    else if (deep == VL) few_norm_as(VL, out, x, part, c);
    else few_norm_as(2, out, x, part, c);
}
static const llm_real *few_read(const few_step *s, llm_real *xn, const llm_real *x, const llm_part *part) {
    const size_t panel = (size_t)s->m->c.C * s->lanes;
    if (s->m->c.post_norm) return x;
    for (size_t p = 0; p < s->panels; p++) few_norm(s->deep, xn + p * panel, x + p * panel, part, &s->m->c);
    return xn;
}
/* The norms of q and k, in place, a token to a thread; and one behind a branch, x += norm(y), a panel to a thread. */
static void few_qk_norms(few_step *s, int id, int threads, const llm_part qk[2]) {
    const llm_config *c = &s->m->c;
    if (!c->qk_norm) return;
    for (int i = id; i < s->n; i += threads)
        for (int k = 0; k < 2; k++) {
            const llm_slice part = qk_slice(c, k);
            llm_real *x = s->qkv + (size_t)i * part.ld + part.col;
            for (size_t j = 0; j < part.cols; j += qk_width(c, k)) few_norm(VL, x + j, x + j, &qk[k], c);
        }
    few_meet(s, threads);
}
static void few_post_norm(few_step *s, int id, int threads, llm_real *y, const llm_real *x, const llm_part *norm) {
    const size_t panel = (size_t)s->m->c.C * s->lanes;
    if (!s->m->c.post_norm) return;
    for (size_t p = (size_t)id; p < s->panels; p += (size_t)threads) {
        few_norm(s->deep, y + p * panel, y + p * panel, norm, &s->m->c);
        for (size_t j = p * panel; j < (p + 1) * panel; j++) y[j] += x[j];
    }
    few_meet(s, threads);
}
/* y (n,O) = x W', columns from .. to of it. */
static void few_matrix(const few_step *s, few_call call, int n, int from, int to) {
    if (s->lanes > 1) few_lanes(&call, ceil_div(n, (int)s->lanes), from, to);
    else few_product(call, n, from, to);
}
/* y (n,O) = x W' + bias + add, columns from .. to of it, as model_linear_forward does. plain: y is plain rows. */
static void few_linear(const few_step *s, llm_real *y, bool plain, const llm_real *add, const llm_real *x,
                       const llm_part *part, int from, int to, few_room *room) {
    const llm_param *w = part->w, *bias = part->bias;
    const size_t O = part_outputs(part), rows = plain ? (size_t)s->n : 0, deep = plain ? VL : s->deep;
    const size_t lanes = VL / deep, panels = plain ? rows : s->panels;
    const llm_lora *lora = s->m->lora_off ? NULL : s->m->lora;
    few_call call = {.y = y, .ldy = O, .w = w->w, .K = w->cols, .x = x, .packed = room->packed, .deep = s->deep,
                     .rows = rows};
    few_matrix(s, call, s->n, from, to);
    for (size_t p = 0; p < panels; p++) {
        for (size_t o = (size_t)from; o < (size_t)to && bias; o += deep) {
            const size_t n = ((size_t)to - o) * lanes;
            llm_real *at = y + (p * O + o) * lanes;
            vstore_n(at, vload_n(at, n) + few_spread(deep, bias->data + o, n), n);
        }
        for (size_t i = (p * O + (size_t)from) * lanes; i < (p * O + (size_t)to) * lanes && add; i++) y[i] += add[i];
    }
    for (int t = 0, col = 0; lora && t < part->pieces; col += w[t++].rows) {
        const llm_adapter *a = w[t].adapter;
        const int first = llm_max(from, col), end = llm_min(to, col + (int)w[t].rows);
        const size_t r = (size_t)lora->rank;
        if (!a || first >= end) continue;
        call = (few_call){.y = room->u, .ldy = r, .w = a->A->w, .K = w->cols, .x = x, .deep = s->deep};
        few_matrix(s, call, s->n, 0, lora->rank);
        call = (few_call){.y = room->v, .ldy = w[t].rows, .w = a->B->w, .K = (int)r, .x = room->u, .deep = s->deep,
                          .rows = rows};
        few_matrix(s, call, s->n, first - col, end - col);
        for (size_t p = 0; p < panels; p++)
            for (size_t i = (size_t)(first - col) * lanes; i < (size_t)(end - col) * lanes; i++)
                y[(p * O + (size_t)col) * lanes + i] += (llm_real)lora->scale * room->v[p * w[t].rows * lanes + i];
    }
}
/* Where number j of token i of a tensor (n,width) is. */
static inline size_t few_at(const few_step *s, size_t width, int i, size_t j) {
    const size_t in = j & (s->deep - 1);                    /* deep is a power of two */
    return ((size_t)i / s->lanes * width + j - in) * s->lanes + (size_t)i % s->lanes * s->deep + in;
}
/* A query or key of token i, turned to its position; without rope as it is. */
static void few_rope(const few_step *s, int l, llm_real *out, int i, size_t head) {
    const size_t D = (size_t)s->m->c.D, half = D / 2, heads = (size_t)(s->m->c.H + 2 * s->m->c.KV);
    const llm_real *x = s->qkv + ((size_t)i * heads + head) * D;
    memcpy(out, x, D * sizeof *x);
    if (!has_rope(&s->m->c, l)) return;
    const llm_real *cosine = s->angles + (size_t)s->positions[i] * 2 * half, *sine = cosine + half;
    LLM_SIMD()
    for (size_t j = 0; j < half; j++) {
        out[j] = (x[j] * cosine[j] - x[half + j] * sine[j]) * s->scale;
        out[half + j] = (x[half + j] * cosine[j] + x[j] * sine[j]) * s->scale;
    }
}
/* The new key and value of token i go into the cache. */
static void few_remember(const few_step *s, int l, int i, int kv) {
    const size_t D = (size_t)s->m->c.D, T = (size_t)s->cache->T, pos = (size_t)s->positions[i];
    const size_t H = (size_t)s->m->c.H, KV = (size_t)s->m->c.KV, to = cache_head(s->rows[i], kv, T, KV, D);
    llm_real key[HEAD_MOST];
    few_rope(s, l, key, i, H + (size_t)kv);
    if (cpu.act == LLM_TYPE_REAL)
        for (size_t d = 0; d < D; d++) ((llm_real *)s->cache->k[l])[to + d * T + pos] = key[d];
    else for (size_t d = 0; d < D; d++) act_store_n(s->cache->k[l], to + d * T + pos, vset(key[d]), 1);
    cpu_store(s->cache->v[l], to + pos * D, s->qkv + ((size_t)i * (H + 2 * KV) + H + KV + (size_t)kv) * D, D);
}
/* Its query heads that share this key look back. */
static void few_look_back(const few_step *s, int l, int i, int kv, llm_real *score) {
    const int H = s->m->c.H, KV = s->m->c.KV, D = s->m->c.D;
    const size_t head = cache_head(s->rows[i], kv, s->cache->T, KV, D), seen = (size_t)s->positions[i] + 1;
    llm_real x[HEAD_MOST];
    for (int h = kv * (H / KV); h < (kv + 1) * (H / KV); h++) {
        few_rope(s, l, x, i, (size_t)h);
        look_back(1, x, &seen, s->cache->k[l], s->cache->v[l], head, (size_t)D, (size_t)s->cache->T, score);
        for (int d = 0; d < D; d++) s->att[few_at(s, (size_t)(H * D), i, (size_t)(h * D + d))] = x[d];
    }
}
/* Where all tokens are of different rows, each key is used as soon as it is stored. In a prompt tokens look at each
   other: all keys are stored first. */
static void few_attention(few_step *s, int id, int threads, int l, llm_real *score) {
    const int KV = s->m->c.KV, from = s->n * KV * id / threads, to = s->n * KV * (id + 1) / threads;
    for (int j = from; j < to; j++) {
        few_remember(s, l, j / KV, j % KV);
        if (s->apart) few_look_back(s, l, j / KV, j % KV, score);
    }
    if (s->apart) return;
    few_meet(s, threads);
    for (int j = from; j < to; j++) few_look_back(s, l, j / KV, j % KV, score);
}
/* gelu, or silu(gate) up, of the columns that this thread made of `pre`. */
static void few_activation(const few_step *s, int from, int to) {
    const size_t F = (size_t)s->m->c.F * s->lanes, end = (size_t)to * s->lanes;
    const bool gelu = s->m->c.activation == LLM_GELU;
    for (size_t p = 0; p < s->panels; p++)
        for (size_t f = (size_t)from * s->lanes; f < end; f += VL) {
            const vreal g = vload_n(s->pre + p * F * (gelu ? 1 : 2) + f, end - f);
            const vreal y = gelu ? g * gelu_gate(g) : g * vsigmoid(g) * vload_n(s->pre + (2 * p + 1) * F + f, end - f);
            vstore_n(s->ff + p * F + f, y, end - f);
        }
}
/* What each thread does: the lines of block_forward, each on its own columns. */
static void few_walk(few_step *s, few_room *room, int id, int threads) {
    llm_model *m = s->m;
    const llm_config *c = &m->c;
    const llm_real *xn;
    const few_share qkv = few_part(id, threads, (c->H + 2 * c->KV) * c->D), stream = few_part(id, threads, c->C);
    const few_share ff = few_part(id, threads, c->F), words = few_part(id, threads, c->V);
    for (int i = id; i < (int)(s->panels * s->lanes); i += threads) {   /* lanes beyond the last: that one again */
        const int at = llm_min(i, s->n - 1);
        simd_embed_forward((llm_res *)room->xn, embedding_of(m), data_of(m->wpe), s->tokens + at, s->positions + at, 1,
                           c->C);
        for (size_t j = 0; j < (size_t)c->C; j++) s->x[few_at(s, c->C, i, j)] = room->xn[j];
    }
    few_meet(s, threads);
    for (int l = 0; l < c->L; l++) {
        const llm_layer *w = &m->layer[l];
        xn = few_read(s, room->xn, s->x, &w->norm1);
        few_linear(s, s->qkv, true, NULL, xn, &w->qkv, qkv.from, qkv.to, room);
        few_meet(s, threads);
        few_qk_norms(s, id, threads, w->qk_norm);
        few_attention(s, id, threads, l, room->score);
        few_meet(s, threads);
        few_linear(s, s->mid, false, c->post_norm ? NULL : s->x, s->att, &w->proj, stream.from, stream.to, room);
        few_meet(s, threads);
        few_post_norm(s, id, threads, s->mid, s->x, &w->norm1);
        xn = few_read(s, room->xn, s->mid, &w->norm2);
        few_linear(s, s->pre, false, NULL, xn, &w->up, ff.from, ff.to, room);
        if (c->activation == LLM_SWIGLU)        /* the same columns of gate and of up */
            few_linear(s, s->pre, false, NULL, xn, &w->up, c->F + ff.from, c->F + ff.to, room);
        few_activation(s, ff.from, ff.to);
        few_meet(s, threads);
        few_linear(s, s->x, false, c->post_norm ? NULL : s->mid, s->ff, &w->down, stream.from, stream.to, room);
        few_meet(s, threads);
        few_post_norm(s, id, threads, s->x, s->mid, &w->norm2);
    }
    int wants = 0;
    for (int i = 0; i < s->n; wants += s->want[i++])
        for (size_t j = 0; j < (size_t)c->C && s->want[i]; j++)
            room->xn[few_at(s, c->C, wants, j)] = s->x[few_at(s, c->C, i, j)];
    for (int i = 0; i < wants; i += (int)s->lanes) {
        llm_real *x = room->xn + (size_t)i * (size_t)c->C;
        few_norm(s->deep, x, x, &m->normf, c);
    }
    const few_call call = {.y = s->logits, .ldy = (size_t)c->V, .w = m->head->w, .K = c->C, .x = room->xn,
                           .packed = room->packed, .deep = s->deep, .rows = (size_t)wants};
    few_matrix(s, call, wants, words.from, words.to);
}
static bool simd_decode(llm_model *m, llm_cache *cache, const int *tokens, const int *rows, const int *positions,
                        const bool *want, size_t count, llm_real *logits) {
    const bool reals = m->layer[0].qkv.w->w.type == LLM_TYPE_REAL && m->head->w.type == LLM_TYPE_REAL;
    const size_t most = reals && !cpu.amx ? FEW_MOST : FEW_MOST_BITS;
    if (cache->rows > most || count > most) return false;
    const llm_config *c = &m->c;
    const int n = (int)count, threads = few_threads(m);
    few_step s = {.m = m, .cache = cache, .tokens = tokens, .rows = rows, .positions = positions, .want = want,
                  .n = n, .apart = true, .logits = logits, .scale = rope_scale(c)};
    int last = 0;
    for (int i = 0; i < n; i++) {
        last = llm_max(last, positions[i]);
        for (int j = 0; j < i; j++) s.apart &= rows[j] != rows[i];
    }
    if (c->position == LLM_ROPE) s.angles = rope_table(m->freq, c->D / 2, last + 1);
    few_room *room = llm_alloc((size_t)threads, sizeof *room);
    const int widest = llm_max(c->F, llm_max(c->C, c->H * c->D));
    const int r = m->lora ? m->lora->rank : 0;
    const bool pairs = VL == 16 && (c->C | c->F | c->D | r) % 2 == 0;
    s.lanes = !reals ? 1 : cache->rows > FEW_APART ? VL : pairs && cache->rows > FEW_HALF ? VL / 2 : 1;
    s.deep = VL / s.lanes;
    s.panels = ((size_t)n + s.lanes - 1) / s.lanes;
    for (int pass = 0; pass < 2; pass++) {
        pool_cutter k = {pass ? cache->scratch : NULL, 0, m->ops};
        const size_t N = s.panels * s.lanes;
        s.x = pool_real(&k, N, c->C);
        s.mid = pool_real(&k, N, c->C);
        s.qkv = pool_real(&k, N, (c->H + 2 * c->KV) * c->D);
        s.att = pool_real(&k, N, c->H * c->D);
        s.pre = pool_real(&k, N, 2 * c->F);
        s.ff = pool_real(&k, N, c->F);
        for (int t = 0; t < threads; t++) {
            room[t].xn = pool_real(&k, N, c->C);
            room[t].u = pool_real(&k, N, r);
            room[t].v = pool_real(&k, N, r ? c->C + 2 * c->F + (c->H + 2 * c->KV) * c->D : 0);
            room[t].score = pool_real(&k, 1, cache->T);
            room[t].packed = pool_take(&k, s.lanes > 1 ? 0 : llm_mul(N, few_whole(m->weights, widest)), sizeof(few_x));
        }
        if (!pass) cache_room(m, cache, k.used);
    }
    LLM_OMP(parallel num_threads(threads))
    few_walk(&s, room + thread_index(), thread_index(), thread_count());
    llm_release(room);
    return true;
}

/* ================================================================================================================
   6. The table
   ================================================================================================================ */

/* ---- what all this takes: for the planner ----

   Each thread's room, what the largest product of a step packs, and by how much attention needs more scratch than the
   logits, which it shares with them. */
static size_t simd_scratch_bytes(const llm_config *c, size_t B, size_t T, bool train) {
    const int n = (int)(B * T), C = c->C, F = c->activation == LLM_SWIGLU ? 2 * c->F : c->F;
    const int wide = llm_max(F, (c->H + 2 * c->KV) * c->D), head = llm_min(n, SIMD_HEAD_ROWS);
    const int product[][3] = {{n, wide, C}, {n, C, wide}, {wide, C, n}, {n, C, c->F}, {n, c->F, C}, {C, c->F, n},
                              {head, c->V, C}, {head, C, c->V}, {c->V, C, head}};
    const cpu_view none = {0};
    const cpu_out nowhere = {0};
    const size_t threads = (size_t)llm_threads(0), logits = (size_t)head_rows(n) * (size_t)c->V * sizeof(llm_real);
    size_t packed = 0, sums = 0, panels = 0;
    for (size_t i = 0; i < sizeof product / sizeof *product; i++) {
        const gemm_plan g = gemm_cut(product[i][0], product[i][1], product[i][2], none, none, nowhere, (int)threads);
        packed = size_max(packed, gemm_bytes_a(&g) + gemm_bytes_b(&g));
        sums = size_max(sums, gemm_bytes_sums(&g) * (g.K > g.k ? 1 : threads));
        if (g.once) panels = GEMM_CHUNK * gemm_stride(&g, GEMM_DEPTH);
    }
    const att_call a = attention_call(NULL, NULL, (int)B, (int)T, c->H, c->KV, c->D);
    const size_t forward = attention_scratch(&a, false), back = train ? attention_scratch(&a, true) : 0;
    const size_t attention = size_max(forward, back) * sizeof(llm_real);
    return packed + sums + (attention > logits ? attention - logits : 0) + threads * (sizeof(gemm_room) + panels);
}

/* ---- the table: llm_plain's rows, and ours in their place ---- */

static void cpu_enter(const llm_ops *ops) {
    if (ops->precision != cpu.precision) cpu_set_precision(ops->precision);
}
const llm_ops *llm_cpu(llm_precision p) {
    static llm_ops ops[3];                              /* one for each precision */
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 1 << 20); /* large arrays go back to the system when released: glibc would keep some */
#endif
    cpu_set_precision(p);
    llm_ops t = llm_plain;
    t.name = "cpu", t.precision = p, t.act_size = cpu.act_size, t.head_rows = SIMD_HEAD_ROWS;
    t.alloc = simd_alloc, t.store_weights = simd_store_weights;
    t.embed_forward = simd_embed_forward, t.embed_backward = simd_embed_backward;
    t.layernorm_forward = simd_layernorm_forward, t.layernorm_backward = simd_layernorm_backward;
    t.rmsnorm_forward = simd_rmsnorm_forward, t.rmsnorm_backward = simd_rmsnorm_backward;
    t.qk_norm_forward = simd_qk_norm_forward, t.qk_norm_backward = simd_qk_norm_backward;
    t.post_norm_forward = simd_post_norm_forward, t.post_norm_backward = simd_post_norm_backward;
    t.stream_forward = simd_stream_forward, t.stream_backward = simd_stream_backward;
    t.linear_forward = simd_linear_forward, t.linear_backward = simd_linear_backward;
    t.residual_forward = simd_residual_forward, t.residual_backward = simd_residual_backward;
    t.linear_gelu_forward = simd_linear_gelu_forward, t.residual_gelu_backward = simd_residual_gelu_backward;
    t.lora_forward = simd_lora_forward, t.lora_backward = simd_lora_backward;
    t.rope_forward = simd_rope_forward, t.rope_backward = simd_rope_backward;
    t.attention_forward = simd_attention_forward, t.attention_backward = simd_attention_backward;
    t.gelu_forward = simd_gelu_forward, t.gelu_backward = simd_gelu_backward;
    t.swiglu_forward = simd_swiglu_forward, t.swiglu_backward = simd_swiglu_backward;
    t.logprob_forward = simd_logprob_forward, t.logprob_backward = simd_logprob_backward, t.logits = simd_logits;
    t.value_forward = simd_value_forward, t.value_backward = simd_value_backward;
    t.grad_norm = simd_grad_norm, t.adamw = simd_adamw;
    t.cache_attention = simd_cache_attention, t.cache_copy = simd_cache_copy;
    t.enter = cpu_enter, t.logprob_fused = simd_logprob_fused, t.decode = simd_decode;
    t.scratch_bytes = simd_scratch_bytes;
    ops[p] = t;
    return &ops[p];
}

/* Macros end here, but for the tests and benchmarks that look inside. */
#ifndef LLM_SIMD_INSIDE
#undef VECTOR_BYTES
#undef VL
#undef ZIP_LOW
#undef ZIP_HIGH
#undef ALWAYS_INLINE
#undef UNROLL
#undef MEMORY_BARRIER
#endif
#undef FEW_TILE
#undef FEW_TILES
#undef FEW_NAMES
#endif /* LLM_SIMD_H */
