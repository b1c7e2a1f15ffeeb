/* world_check.h: what the tests of data/ share. They do without llm.h, so check.h is not for them. */
#ifndef WORLD_CHECK_H
#define WORLD_CHECK_H

static int passed, failed;

// One check: only failures are printed.
#define CHECK(cond, ...)                                    \
    do {                                                    \
        if (cond) {                                         \
            passed++;                                       \
        } else {                                            \
            failed++;                                       \
            printf("FAILED line %d: %s: ", __LINE__, #cond); \
            printf(__VA_ARGS__);                            \
            printf("\n");                                   \
        }                                                   \
    } while (0)

static int checks_end(void)
{
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

#endif
