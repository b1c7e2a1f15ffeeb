/* gguf_llama.c: what llama.cpp computes from a GGUF file; built by gguf_check.py where llama.cpp is.

       gguf_llama model.gguf ids.txt out.f32      the logits of every place (T*V float32) of one row of ids
       gguf_llama model.gguf --encode text.txt    the ids of a text as llama.cpp cuts it, special tokens as text */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <llama.h>

static void quiet(enum ggml_log_level level, const char *text, void *user) {
    (void)user;
    if (level >= GGML_LOG_LEVEL_WARN) fputs(text, stderr);
}
int main(int argc, char **argv) {
    static llama_token ids[65536];
    static char text[65536];
    int n = 0;
    if (argc < 4) return 2;
    llama_log_set(quiet, NULL);
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return 1;
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    FILE *f = fopen(strcmp(argv[2], "--encode") ? argv[2] : argv[3], "rb");
    if (!f) return 1;
    if (!strcmp(argv[2], "--encode")) {
        size_t size = fread(text, 1, sizeof text, f);
        n = llama_tokenize(vocab, text, (int)size, ids, 65536, false, false);
        for (int i = 0; i < n; i++) printf("%d ", (int)ids[i]);
        printf("\nbos %d eos %d eot %d add_bos %d\n", (int)llama_vocab_bos(vocab), (int)llama_vocab_eos(vocab),
               (int)llama_vocab_eot(vocab), (int)llama_vocab_get_add_bos(vocab));
        return n < 0;
    }
    while (n < 65536 && fscanf(f, "%d", &ids[n]) == 1) n++;
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = p.n_batch = p.n_ubatch = (uint32_t)n;
    p.type_k = p.type_v = GGML_TYPE_F32;
    p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    struct llama_context *context = llama_init_from_model(model, p);
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    batch.n_tokens = n;
    if (!context || llama_decode(context, batch)) return 1;
    FILE *out = fopen(argv[3], "wb");
    for (int i = 0; i < n && out; i++)
        fwrite(llama_get_logits_ith(context, i), sizeof(float), (size_t)llama_vocab_n_tokens(vocab), out);
    return !out || fclose(out);
}
