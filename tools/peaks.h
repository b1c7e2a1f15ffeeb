/* peaks.h: the machine's own limits: FLOP/s of its multiply-add units with everything in registers, GB/s of its memory.
   Read by the bench programs of CPUs, after llm.h (with LLM_SIMD_INSIDE) and timed_ops.h. */
#ifndef PEAKS_H
#define PEAKS_H

/* 24 independent multiply-adds on registers, as many as a tile of the product has; n rounds. */
static inline vreal spin_vectors(size_t n) {
    volatile llm_real one = 1;
    vreal s[8][3], a = vset(one), b = vset(one * (llm_real)1e-9);
    UNROLL for (int i = 0; i < 8; i++) {                /* all different: equal ones would be computed once */
        s[i][0] = vset(one * (llm_real)(3 * i));
        s[i][1] = vset(one * (llm_real)(3 * i + 1));
        s[i][2] = vset(one * (llm_real)(3 * i + 2));
    }
    for (size_t r = 0; r < n; r++) {
        UNROLL for (int i = 0; i < 8; i++) {
            s[i][0] = s[i][0] * a + b;
            s[i][1] = s[i][1] * a + b;
            s[i][2] = s[i][2] * a + b;
        }
    }
    UNROLL for (int i = 1; i < 8; i++) s[0][0] += s[i][0] + s[i][1] + s[i][2];
    return s[0][0] + s[0][1] + s[0][2];
}
#if LLM_AMX
static inline void spin_tiles(size_t n) {
    static uint16_t random[4 * AMX_TILE] __attribute__((aligned(64)));
    for (int i = 0; i < 4 * AMX_TILE; i++) random[i] = real_to_bf16((llm_real)sin(i));     /* zeros would run faster */
    MEMORY_BARRIER;
    amx_begin();
    _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    _tile_loadd(4, random, 64); _tile_loadd(5, random + AMX_TILE, 64);
    _tile_loadd(6, random + 2 * AMX_TILE, 64); _tile_loadd(7, random + 3 * AMX_TILE, 64);
    for (size_t r = 0; r < n; r++) {
        _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}
#endif
#if LLM_PAIRS
static inline vreal spin_pairs(size_t n) {
    volatile llm_real one = 1;
    const llm_real a = one;
    vreal s[12] = {{0}}, b = vset(a);
    for (size_t r = 0; r < 2 * n; r++) UNROLL for (int i = 0; i < 12; i++) s[i] = multiply_add(true, s[i], a, b);
    for (int i = 1; i < 12; i++) s[0] += s[i];
    return s[0];
}
#endif
typedef enum { BY_VECTORS, BY_PAIRS, BY_TILES } unit;
static inline double peak_flops(unit by, int repeats) {
    const bool amx = by == BY_TILES;
    const size_t rounds = amx ? 200000 : 800000;
    double best = 0;
    for (int i = 0; i < repeats; i++) {
        double t = bench_now();
        LLM_OMP(parallel)
        {
            volatile llm_real keep = 0;
#if LLM_AMX
            if (by == BY_TILES) spin_tiles(rounds);
#endif
#if LLM_PAIRS
            if (by == BY_PAIRS) keep = spin_pairs(rounds)[0];
#endif
            if (by == BY_VECTORS) keep = spin_vectors(rounds)[0];
            (void)keep;
        }
        t = bench_now() - t;
        double work = (double)rounds * (amx ? 4 * 16384.0 : 24 * (by == BY_PAIRS ? 4.0 : 2.0) * VL) * llm_threads(0);
        if (work / t > best) best = work / t;
    }
    return best;
}
/* What one thread does to its piece of n numbers of each of four arrays. ahead: prefetch distance. */
typedef enum { READ, COPY, MIXED } stream;
static inline void stream_piece(stream what, llm_real *x[4], size_t from, size_t n, size_t ahead) {
    llm_real *a = x[0] + from, *b = x[1] + from, *c = x[2] + from, *d = x[3] + from;
    vreal sum = {0};
    for (size_t i = 0; i < n; i += VL) {
        if (ahead) {
            __builtin_prefetch(a + i + ahead);
            __builtin_prefetch(b + i + ahead);
            if (what != COPY) __builtin_prefetch(c + i + ahead);
            if (what != COPY) __builtin_prefetch(d + i + ahead);
        }
        if (what == READ) sum += (vload(a + i) + vload(b + i)) + (vload(c + i) + vload(d + i));
        if (what == COPY) vstore(b + i, vload(a + i));
        if (what == MIXED) {                            /* as AdamW: three arrays are updated by a fourth */
            vreal g = vload(d + i);
            vstore(a + i, vload(a + i) + g);
            vstore(b + i, vload(b + i) + g);
            vstore(c + i, vload(c + i) + g);
        }
    }
    if (what == READ) x[0][from] = vsum(sum) * 0 + a[0];
}
/* GB/s, the best over prefetch distances. Bytes are those the program asks for: a line that is only written counts
   once, though many machines read it first. */
static inline double peak_stream(stream what, int repeats) {
    const size_t n = (size_t)1 << 25, piece = SIMD_PIECE;
    const llm_ops *op = llm_cpu(LLM_FP32);
    llm_real *x[4];
    double best = 0;
    for (int i = 0; i < 4; i++) {
        x[i] = op->alloc(n * sizeof(llm_real));
        if (!x[i]) llm_die("a machine with 1 GB of free memory", "out of memory");
    }
    for (size_t ahead = 0; ahead <= 2048; ahead = ahead ? 2 * ahead : 256)
        for (int r = 0; r < repeats; r++) {
            double t = bench_now();
            LLM_OMP(parallel for)
            for (size_t i = 0; i < n; i += piece) stream_piece(what, x, i, piece, ahead);
            t = bench_now() - t;
            double bytes = (double)n * sizeof(llm_real) * (what == READ ? 4 : what == COPY ? 2 : 7);
            if (bytes / t > best) best = bytes / t;
        }
    for (int i = 0; i < 4; i++) op->release(x[i]);
    return best;
}

#endif
