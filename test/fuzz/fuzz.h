/* fuzz.h: what the fuzz targets share. A target hands a reader whatever libFuzzer invents. Two outcomes are good: the
   reader accepts it, or it ends in llm_die, which here jumps back instead of ending the program. Anything else (a read
   outside, undefined behaviour, a hang, a large allocation for a small file) is a find.

   Jumping out of the middle of things leaves memory behind; so every block that is allocated while a target runs is
   entered in a list, and what a refusal left is freed here. What an accepted input leaves is a find too. */
#include <stddef.h>
static void *fuzz_malloc(size_t n);
static void *fuzz_calloc(size_t n, size_t size);
static void *fuzz_realloc(void *p, size_t n);
static int fuzz_memalign(void **p, size_t alignment, size_t n);
static void fuzz_free(void *p);

#define LLM_IMPLEMENTATION
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#define malloc fuzz_malloc
#define calloc fuzz_calloc
#define realloc fuzz_realloc
#define posix_memalign fuzz_memalign
#define free fuzz_free
#include "../../llm.h"
#undef malloc
#undef calloc
#undef realloc
#undef posix_memalign
#undef free
#include <setjmp.h>
#include <sys/stat.h>

/* ---- the list of blocks ---- */

enum { FUZZ_SLOTS = 1 << 16 };
static struct { void *p; } fuzz_block[FUZZ_SLOTS];      /* open addressing by address; (void *)1: was taken out */
static size_t fuzz_blocks, fuzz_used;
static bool fuzz_listing;

static size_t fuzz_slot(void *p, bool find) {
    size_t i = ((size_t)p >> 4) * 0x9E3779B97F4A7C15u >> 48;
    while (fuzz_block[i].p && (find ? fuzz_block[i].p != p : fuzz_block[i].p != (void *)1)) i = (i + 1) % FUZZ_SLOTS;
    return i;
}
static void *fuzz_enter(void *p) {
    if (!p || !fuzz_listing) return p;
    size_t i = fuzz_slot(p, false);
    fuzz_used += fuzz_block[i].p == NULL;
    fuzz_block[i].p = p;
    fuzz_blocks++;
    if (fuzz_used > FUZZ_SLOTS * 3 / 4) abort();        /* a small input that makes 49,000 blocks is a find */
    return p;
}
static void fuzz_leave(void *p) {
    if (!p || !fuzz_listing) return;
    size_t i = fuzz_slot(p, true);
    if (fuzz_block[i].p != p) return;                   /* from before, or a library's own */
    fuzz_block[i].p = (void *)1;
    fuzz_blocks--;
}
static void *fuzz_malloc(size_t n) { return fuzz_enter(malloc(n)); }
static void *fuzz_calloc(size_t n, size_t size) { return fuzz_enter(calloc(n, size)); }
static int fuzz_memalign(void **p, size_t alignment, size_t n) {
    const int error = posix_memalign(p, alignment, n);
    if (!error) fuzz_enter(*p);
    return error;
}
static void *fuzz_realloc(void *p, size_t n) {
    fuzz_leave(p);
    return fuzz_enter(realloc(p, n));
}
static void fuzz_free(void *p) {
    fuzz_leave(p);
    free(p);
}

/* ---- a run ---- */

static jmp_buf fuzz_escape;
static void fuzz_on_death(const char *message) {
    (void)message;
    longjmp(fuzz_escape, 1);
}
static void fuzz_run(void (*target)(const char *data, size_t size), const uint8_t *data, size_t size) {
    static void (*volatile run)(const char *data, size_t size);
    char *copy = malloc(size + 1);      /* exactly as large, so that a read behind the end is seen */
    memcpy(copy, data, size);
    run = target;
    fuzz_listing = true;
    llm_on_death = fuzz_on_death;
    if (!setjmp(fuzz_escape)) run(copy, size);
    else {                              /* refused: free what it left */
        llm_on_death = NULL;
        for (size_t i = 0; i < FUZZ_SLOTS && fuzz_blocks; i++)
            if ((size_t)fuzz_block[i].p > 1) {
                free(fuzz_block[i].p);
                fuzz_block[i].p = (void *)1;
                fuzz_blocks--;
            }
    }
    fuzz_listing = false;
    if (fuzz_blocks) {                  /* accepted, but something was not freed */
        for (size_t i = 0; i < FUZZ_SLOTS; i++)
            if ((size_t)fuzz_block[i].p > 1) fprintf(stderr, "left behind: %p\n", fuzz_block[i].p);
        abort();
    }
    if (fuzz_used > FUZZ_SLOTS / 8) {
        memset(fuzz_block, 0, sizeof fuzz_block);
        fuzz_used = 0;
    }
    free(copy);
}

/* A file in memory for readers that want a path. */
static inline const char *fuzz_folder(void) {
    static char path[64];
    if (!*path) {
        snprintf(path, sizeof path, "%s/llm_fuzz_%d", llm_is_dir("/dev/shm") ? "/dev/shm" : "/tmp", (int)getpid());
        mkdir(path, 0700);
    }
    return path;
}
static inline void fuzz_file(const char *name, const char *data, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size) abort();
    fclose(f);
}
static inline const char *fuzz_path(const char *name) {
    static char path[4][128];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", fuzz_folder(), name);
    return path[next];
}
