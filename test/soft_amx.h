/* soft_amx.h: AMX's tiles by AVX-512, so that the product's tile kernel is proven on machines that have no AMX. Compile
   a test with `-include test/soft_amx.h`: llm.h then believes in AMX, and its tile instructions are the functions
   here. */
#ifndef SOFT_AMX_H
#define SOFT_AMX_H
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __AVX512BF16__
#error "soft_amx.h needs a processor with AVX-512 BF16"
#endif
#undef __AMX_BF16__
#define __AMX_BF16__ 1
#define syscall(...) 0L                 /* Linux grants it */

typedef float soft_tile __attribute__((vector_size(64)));
static _Thread_local struct { soft_tile tile[8][16]; int configured; } soft_amx;

static inline void soft_loadconfig(const void *shape) {         /* the one shape that llm.h uses: 16 rows of 64 bytes */
    const uint8_t *byte = shape;
    uint16_t width[8];
    memcpy(width, byte + 16, sizeof width);
    soft_amx.configured = byte[0] == 1;
    for (int i = 0; i < 8; i++) soft_amx.configured &= width[i] == 64 && byte[48 + i] == 16;
    memset(soft_amx.tile, 0, sizeof soft_amx.tile);
}
static inline soft_tile *soft_use(int t) {
    /* on a real one, a tile instruction without a shape is a fault */
    if (!soft_amx.configured) abort();
    return soft_amx.tile[t];
}
static inline void soft_load(int t, const void *from, size_t stride) {
    soft_tile *to = soft_use(t);
    for (size_t i = 0; i < 16; i++) memcpy(&to[i], (const char *)from + i * stride, 64);
}
static inline void soft_store(int t, void *to, size_t stride) {
    const soft_tile *from = soft_use(t);
    for (size_t i = 0; i < 16; i++) memcpy((char *)to + i * stride, &from[i], 64);
}
/* c (16,16) += a (16 rows, 16 pairs) b (16 pairs, 16 columns). As Intel describes it: the first and the second numbers
   of the pairs have sums of their own, which come together at the end. */
static inline soft_tile soft_half(soft_tile pairs, int second) {
    const __m512i bits = (__m512i)pairs;
    return (soft_tile)(second ? _mm512_and_si512(bits, _mm512_set1_epi32(-65536)) : _mm512_slli_epi32(bits, 16));
}
static inline void soft_multiply(int c, int a, int b) {
    soft_tile *sum = soft_use(c), *rows = soft_use(a), *pairs = soft_use(b);
    for (int i = 0; i < 16; i++) {
        const soft_tile x[2] = {soft_half(rows[i], 0), soft_half(rows[i], 1)};
        soft_tile half[2] = {{0}};
        for (int k = 0; k < 16; k++)
            for (int s = 0; s < 2; s++) half[s] += x[s][k] * soft_half(pairs[k], s);
        sum[i] += half[0] + half[1];
    }
}
#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig soft_loadconfig
#define _tile_release() (soft_amx.configured = 0)
#define _tile_zero(t) memset(soft_use(t), 0, sizeof soft_amx.tile[t])
#define _tile_loadd(t, from, stride) soft_load(t, from, stride)
#define _tile_stored(t, to, stride) soft_store(t, to, stride)
#define _tile_dpbf16ps(c, a, b) soft_multiply(c, a, b)
#endif
