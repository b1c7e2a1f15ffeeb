/* hf_probe: our side of test/interop.py. Loads a Hugging Face folder with llm.h and writes its logits, or saves it
   again.

       hf_probe DIR ids.txt out.f32         ids: one row of numbers; out: T*V float32; prints the peak memory
       hf_probe --resave DIR OUT
       hf_probe --encode DIR text.txt       prints the ids of the text, one a line
       hf_probe --nfc                       lines of standard input in Unicode's NFC (test/gen/nfc_tables.py --try) */

#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/hf.h"
#include "logits.h"
#include <sys/resource.h>

static int write_logits(const char *dir, const char *ids, const char *out) {
    llm_model m;
    hf_model_load(&m, dir, llm_cpu(LLM_FP32));
    llm_batch b = llm_batch_new(1, m.c.T);
    char *text = llm_read_file(ids, NULL), *end;
    int n = 0;
    for (char *p = text; n < m.c.T; p = end) {
        long id = strtol(p, &end, 10);
        if (end == p) break;
        b.tokens[n] = (int)id;
        b.positions[n] = n;
        n++;
    }
    b.T = n;
    llm_real *logits = llm_alloc(llm_mul((size_t)n, (size_t)m.c.V), sizeof *logits);
    all_logits(&m, &b, logits);
    llm_writer w = llm_write_begin(out);
    llm_write_bytes(&w, logits, (size_t)n * (size_t)m.c.V * sizeof *logits);
    llm_write_done(&w);
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf("peak %.3f GB\n", (double)u.ru_maxrss * 1024e-9);
    llm_release(logits);
    llm_release(text);
    llm_batch_free(&b);
    llm_model_free(&m);
    return 0;
}
static int resave(const char *dir, const char *out) {
    llm_model m;
    hf_model_load(&m, dir, llm_cpu(LLM_FP32));
    llm_make_dirs(out);
    llm_model_save(&m, out);
    llm_model_free(&m);
    return 0;
}
static int encode(const char *dir, const char *path) {
    llm_tokenizer t;
    hf_tokenizer_load(&t, dir);
    size_t size;
    char *text = llm_read_file(path, &size);
    int *ids = llm_alloc(t.room(text, size), sizeof *ids);
    size_t n = llm_encode(&t, text, size, ids);
    for (size_t i = 0; i < n; i++) printf("%d\n", ids[i]);
    llm_release(ids);
    llm_release(text);
    llm_tokenizer_free(&t);
    return 0;
}
static int print_nfc(void) {
    char *line = NULL, *normal;
    size_t room = 0, n;
    nfc_begin();
    for (ssize_t got; (got = getline(&line, &room, stdin)) >= 0; llm_release(normal)) {
        n = (size_t)got;
        normal = nfc_text(line, &n, NULL);
        fwrite(normal ? normal : line, 1, n, stdout);
    }
    free(line);
    return fflush(stdout) != 0;
}
int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--nfc")) return print_nfc();
    if (argc == 4 && !strcmp(argv[1], "--resave")) return resave(argv[2], argv[3]);
    if (argc == 4 && !strcmp(argv[1], "--encode")) return encode(argv[2], argv[3]);
    if (argc == 4) return write_logits(argv[1], argv[2], argv[3]);
    llm_usage("hf_probe DIR ids.txt out.f32", "wrong arguments");
}
