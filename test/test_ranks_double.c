/* test_ranks_double.c: test_ranks.c in double. */
#define LLM_REAL double
#include "test_ranks.c"
