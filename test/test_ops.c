/* test_ops.c: every row of a table of operations against llm_plain's, and llm_plain against finite differences.

   Built twice from this source:
     -DLLM_REAL=double   llm_plain's gradients equal finite differences of its forward pass to 1e-7 of the tensor's
                         largest gradient, and the rows of llm_cpu equal llm_plain's to 1e-12;
     float               the rows of each precision's table equal llm_plain's within that precision's tolerance.

   Both, for llm_plain and for each table: 1, 2 and 4 threads give the same bits; outputs are poisoned with NaN before,
   so that what must be written is written and what must be added is added; the gradient of a frozen tensor may be NULL
   and changes nothing else. The table under test sees its own memory alone (alloc, upload, download), in its own forms.

   A formula of their own, in double, have here only the rows that finite differences do not reach: grad_norm and adamw,
   and how q8 and q4 are read. With -DLLM_PLAIN llm_plain is the only table. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "op_tests.h"

static void test_all(void) {
    test_rest();
    test_layers();
    test_head();
    use(false);
    test_speaking();
    test_learning();
}

int main(void) {
    static const char *const name[] = {"fp32", "bf16x3", "bf16"};
    static const double allowed[] = {exact ? 1e-12 : 1e-5, 1e-4, 2e-2};
    const llm_ops *tables[4] = {&llm_plain};
    int count = 1;
    for (int p = 0; p < (exact ? 1 : 3) && llm_cpu(LLM_FP32) != &llm_plain; p++)
        tables[count++] = llm_cpu((llm_precision)p);
    for (int i = 0; i < count; i++) {
        const int before = passed + failed;
        table = tables[i];
        llm_ops_check(table);
        tolerance = allowed[table->precision];
        rng = llm_rng_seed(5, (uint64_t)i);
        test_all();
        printf("%s, table \"%s\", %s: %d checks\n", exact ? "double" : "float", table->name, name[table->precision],
               passed + failed - before);
        if (i == 0 && failed) {
            printf("llm_plain itself is wrong (llm.h, chapter 4): the other tables are not compared with it\n");
            break;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
