/* check.h: the little that our test programs share. Include after llm.h. */
#ifndef CHECK_H
#define CHECK_H

#include <dirent.h>
#include <setjmp.h>
#include <sys/stat.h>

static int checks_passed, checks_failed;
static bool checks_stop;                /* at the first that fails */

/* One check: counts, and says what failed. NaN fails because comparisons are written !(err <= tol). */
#define CHECK(condition, ...) do { \
        if (condition) checks_passed++; \
        else { checks_failed++; printf("FAIL %s:%d: ", __FILE__, __LINE__); printf(__VA_ARGS__); printf("\n"); } \
        if (checks_stop && checks_failed) exit(1); \
    } while (0)
#define CHECK_SMALL(error, tolerance, ...)                                                                             \
    do {                                                                                                               \
        double check_error = (error);                                                                                  \
        CHECK(!(!(check_error <= (tolerance))), __VA_ARGS__);                                                          \
        if (!(check_error <= (tolerance)))                                                                             \
            printf("     error %.3g, tolerance %.3g\n", check_error, (double)(tolerance));                             \
    } while (0)

/* The plain loops, and a build in double, have one precision. Tests of the others say what they leave out. */
#ifdef LLM_SIMD_H
#define ONLY_FP32 (sizeof(llm_real) == sizeof(double))
#else
#define ONLY_FP32 true
#endif
static inline void checks_skip_precisions(void) {
    if (ONLY_FP32) printf("SKIP: bf16x3 and bf16: this build has %s alone\n", sizeof(llm_real) == 8 ? "double" : "fp32");
}

static inline int checks_done(void) {
    printf("%d passed, %d failed\n", checks_passed, checks_failed);
    return checks_failed != 0;
}

/* Does the statement end in llm_die with a message that contains `expected`? */
static jmp_buf check_jump;
static char check_message[2048];
static inline void check_on_death(const char *message) {
    snprintf(check_message, sizeof check_message, "%s", message);
    longjmp(check_jump, 1);
}
#define CHECK_DIES(statement, expected)                                                                                \
    do {                                                                                                               \
        llm_on_death = check_on_death;                                                                                 \
        volatile bool check_died = true;                                                                               \
        if (!setjmp(check_jump)) {                                                                                     \
            statement;                                                                                                 \
            check_died = false;                                                                                        \
        }                                                                                                              \
        llm_on_death = NULL;                                                                                           \
        CHECK(check_died &&strstr(check_message, expected), "%s: wanted an error with '%s', got '%s'", #statement,     \
              expected, check_died ? check_message : "no error");                                                      \
    } while (0)

/* rm -r; nothing there is fine. A link's target is not ours. */
static inline void remove_tree(const char *path) {
    struct stat s;
    DIR *d = lstat(path, &s) || !S_ISDIR(s.st_mode) ? NULL : opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        char *child = llm_format("%s/%s", path, e->d_name);
        remove_tree(child);
        llm_release(child);
    }
    if (d) closedir(d);
    remove(path);
}

/* The larger of two errors. NaN is the largest, and stays. */
static inline double worse(double a, double b) { return a >= b || isnan(a) ? a : b; }

/* max|a - b| / max|b| */
static inline double relative_error(const llm_real *a, const llm_real *b, size_t n) {
    double error = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        double e = fabs((double)a[i] - (double)b[i]);
        error = worse(error, e);
        if (fabs((double)b[i]) > largest) largest = fabs((double)b[i]);
    }
    return error / (largest > 0 ? largest : 1);
}
#endif
