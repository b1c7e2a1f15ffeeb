/* fuzz.c: libFuzzer targets for every reader, in one program (compiling llm.h with the sanitizers takes a minute).

       FUZZ=json build/fuzz CORPUS             json, tokenizer, nfc, safetensors, gguf, data, adapter, chat, jinja
                                               (others: tools.c)

   `make fuzz FUZZ_SECONDS=600` runs all, one after the other; `make test` runs each for a moment where clang is. */
#include "fuzz.h"
#include "../../tools/hf.h"
#include "../../tools/forms.h"
#include "jinja.h"

/* ---- json: any bytes; what is accepted can be walked ---- */

static size_t walk(const llm_json *v) {
    size_t sum = v->length;
    if (v->type == LLM_JSON_STRING && v->string[v->length]) abort();
    for (const llm_json *c = v->child; c; c = c->next) sum += walk(c) + (c->key ? strlen(c->key) : 0);
    return sum;
}
static void fuzz_json(const char *data, size_t size) {
    llm_json *root = llm_json_parse(data, size, "fuzz", 1);
    volatile size_t sum = walk(root);
    (void)sum;
    llm_json_free(root);
}

/* ---- tokenizer: any bytes as tokenizer.json; what is accepted cuts a text into ids that spell it again ---- */

/* Tables that are made once, for all texts, are there before a refusal could take them away. */
static void begin_tables(void) {
    llm_tokenizer t;
    int ids[8];
    hf_tokenizer_load(&t, "test/data/tok/qwen2");
    llm_encode(&t, "e\xCC\x81", 3, ids);
    llm_tokenizer_free(&t);
}
static void fuzz_tokenizer(const char *data, size_t size) {
    static const char text[] = "The cat's 12 mats,\n\t caf\xC3\xA9 e\xCC\x81 \xF0\x9F\x90\x88 <|im_end|>  \xFF";
    llm_tokenizer t;
    size_t n;
    fuzz_file("tokenizer.json", data, size);
    hf_tokenizer_load(&t, fuzz_folder());
    int ids[3 * sizeof text];
    size_t count = llm_encode(&t, text, sizeof text - 1, ids), want = sizeof text - 1;
    char *back = llm_decode(&t, ids, count, false, &n);
    char *normal = hf_wants_nfc(&t) ? nfc_text(text, &want, NULL) : NULL;
    const size_t dropped = t.tables->unspelled;
    const hf_added *a = t.tables->added;                /* (an added token may swallow white space) */
    bool added = a->list[0].count || a->list[1].count, unknown = false;
    for (int i = 0; i < 256; i++) unknown = unknown || (t.tables->byte[i] >= 0 && t.tables->hidden[t.tables->byte[i]]);
    if (t.split != HF_SPLIT_SPM && !added && !unknown &&
        (n + dropped != want || (!dropped && memcmp(back, normal ? normal : text, n)))) abort();
    llm_release_all(back, normal);
    llm_tokenizer_free(&t);
    llm_tokenizer_load(&t, fuzz_folder());      /* of these nearly all are not ours */
    llm_tokenizer_free(&t);
}

/* ---- nfc: any bytes as a text; NFC of NFC is NFC, and as long as was promised ---- */

static void fuzz_nfc(const char *data, size_t size) {
    size_t n = size, *from = NULL;
    char *normal = nfc_text(data, &n, &from);
    size_t again = n;
    char *twice = normal ? nfc_text(normal, &again, NULL) : NULL;
    if (n > nfc_room(data, size) || (twice && (again != n || memcmp(twice, normal, n)))) abort();
    for (size_t i = 0; i < n && from; i++) if (from[i] >= size || (i && from[i] < from[i - 1])) abort();
    llm_release_all(normal, twice, from);
}

/* ---- safetensors: any bytes as model.safetensors; every tensor of an accepted file is read ---- */

static void fuzz_safetensors(const char *data, size_t size) {
    hf_safetensors s;
    fuzz_file("model.safetensors", data, size);
    hf_safetensors_open(&s, fuzz_path("model.safetensors"));
    for (int i = 0; i < s.count; i++) {
        const hf_tensor_info *t = hf_safetensors_find(&s, s.tensor[i].name);
        if (t != &s.tensor[i]) abort();
        double *out = llm_alloc(hf_tensor_count(t), sizeof *out);
        hf_safetensors_read(&s, t, out);
        llm_release(out);
    }
    hf_safetensors_close(&s);
}

/* ---- gguf: any bytes as a GGUF file; the last one says which part is read ---- */

static void fuzz_gguf(const char *data, size_t size) {
    static const char text[] = "The cat's 12 mats,\n\t caf\xC3\xA9 <|im_end|>  \xFF";
    fuzz_file("x.gguf", data, size);
    if (size && data[size - 1] & 1) {
        llm_tokenizer t;
        size_t n;
        hf_tokenizer_load(&t, fuzz_path("x.gguf"));
        int ids[3 * sizeof text];
        size_t count = llm_encode(&t, text, sizeof text - 1, ids);
        llm_release(llm_decode(&t, ids, count, false, &n));
        llm_tokenizer_free(&t);
    } else {
        llm_model m;
        hf_model_load_as(&m, fuzz_path("x.gguf"), llm_cpu(LLM_FP32), size % 2 ? LLM_TYPE_Q4 : LLM_TYPE_REAL);
        llm_model_free(&m);
    }
}

/* ---- data: any bytes as a file of data ----
   The first byte chooses: records in .json or .jsonl, broken ones skipped or not; plain text, with or without
   paragraphs. What is accepted is rendered, packed and laid into batches. */

static llm_tokenizer tok;
static void begin_tokenizer(void) {
    static const char text[] = "the user said to the assistant that the answer is the answer";
    llm_tokenizer_train(&tok, text, sizeof text - 1, 280, false);
    llm_release(tok.tables->chat_template);
    tok.tables->chat_template = NULL;
}
static void records(const char *name, bool skip_bad) {
    const char *path = fuzz_path(name);
    llm_records r, held;
    llm_tokens out = {0};
    forms_read(&r, &path, 1, NULL, skip_bad);
    for (int i = 0; i < r.count; i++)
        for (int which = LLM_PROMPT; which < r.record[i].responses; which++)
            llm_render_record(&tok, &r.record[i], which, 40, &out);
    if (r.count > 1) {
        forms_split(&r, &held, 0.3);
        llm_sft s;
        llm_batch b = llm_batch_new(2, 32);
        llm_sft_open(&s, &tok, &r, 32, true, 1);
        llm_sft_next(&s, &b, 1);
        llm_sft_free(&s);
        llm_batch_free(&b);
        forms_free(&held);
    }
    llm_tokens_free(&out);
    forms_free(&r);
}
static void plain_text(const char *name, bool gaps) {
    const char *path = fuzz_path(name);
    llm_corpus c;
    llm_batch b = llm_batch_new(1, 16);
    llm_corpus_open(&c, &tok, (llm_corpus_options){.paths = &path, .count = 1, .val_fraction = 0.1,
                                                   .document_gap = gaps, .document_mask = true, .seed = 1});
    llm_corpus_next(&c, &b);
    llm_corpus_free(&c);
    llm_batch_free(&b);
}
static void fuzz_data(const char *data, size_t size) {
    static const char *const name[] = {"data.json", "data.jsonl", "data.txt"};
    if (!size) return;
    int way = (unsigned char)data[0] % 6;
    fuzz_file(name[way / 2], data + 1, size - 1);
    if (way < 4) records(name[way / 2], way % 2);
    else plain_text(name[2], way % 2);
}
/* ---- adapter: a folder of adapters ----
   The bytes are adapter_config.json; behind a zero byte, if there is one, comes adapter_model.safetensors, otherwise a
   good one is used. */

static llm_model model;
static char *good;
static size_t good_size;

static void fuzz_adapter(const char *data, size_t size) {
    model.lora = NULL;                  /* what a refusal left half made is gone */
    for (int i = 0; i < model.params; i++) model.param[i].adapter = NULL;
    const char *zero = memchr(data, 0, size);
    size_t n = zero ? (size_t)(zero - data) : size;
    fuzz_file("adapter_config.json", data, n);
    fuzz_file("adapter_model.safetensors", zero ? zero + 1 : good, zero ? size - n - 1 : good_size);
    hf_lora_load(&model, fuzz_folder());
    llm_lora_free(&model);
}
static void begin_adapter(void) {
    llm_config c = llm_preset("nano");
    c.V = 32, c.T = 8, c.L = 1, c.C = 8, c.H = c.KV = 2, c.D = 4, c.F = 8;
    llm_model_init(&model, &c, llm_cpu(LLM_FP32), 1);
    llm_lora_attach(&model, 2, 4, "q_proj,v_proj", NULL, 1);
    hf_lora_save(&model, fuzz_folder());
    llm_lora_free(&model);
    good = llm_read_file(fuzz_path("adapter_model.safetensors"), &good_size);
}

/* ---- chat: a conversation of any words in each template ----
   The bytes are split at newlines into turns; the first byte of a line is its role, the first line also the template
   of the folder. No text becomes a special token, the mask marks only ids, shortened records keep to their limit. */

static void check_ids(const llm_tokens *out, int limit) {
    if (limit && out->count > limit) abort();
    if (out->prompt < 0 || out->prompt > out->count) abort();
    for (int i = 0; i < out->count; i++)
        if (out->id[i] < 0 || out->id[i] >= tok.vocab_size || out->mask[i] > 1) abort();
}
static int count_id(const llm_tokens *out, int id) {
    int n = 0;
    for (int i = 0; i < out->count; i++) n += out->id[i] == id;
    return n;
}
static void fuzz_chat(const char *data, size_t size) {
    static const char *const role[] = {"user", "assistant", "tool", "system"};
    llm_message m[16];
    int n = 0;
    llm_tokens out = {0};
    for (size_t at = 0, end; at < size && n < 16; at = end + 1) {
        for (end = at; end < size && data[end] != '\n';) end++;
        int who = (unsigned char)data[at] % 4;
        char *text = copy_text(data + at, end - at);
        m[n] = (llm_message){role[who == 3 && n ? 0 : who], text, end - at, NULL};
        n++;
    }
    if (!n) return;
    for (int i = -1; i < 5; i++) {      /* llm.h's own ChatML, then those that tools/hf_chat.h runs */
        if (i == 1) continue;           /* (our tokens cannot write Llama 3's) */
        tok.tables->chat = tok.tables->chat_template = tok.tables->file[3] = NULL;  /* a refusal's are freed */
        tok.chat = &llm_chatml;
        if (i >= 0) hf_give_template(&tok, i);
        llm_render(&tok, m, n, true, &out);
        check_ids(&out, 0);
        if (i < 1 && count_id(&out, tok.im_start) != n + 1) abort();
        for (int limit = 8; limit <= 64; limit *= 2) {
            llm_record r = {.form = "messages", .message = m, .messages = n};
            llm_render_record(&tok, &r, LLM_WHOLE, limit, &out);
            check_ids(&out, limit);
            llm_render_record(&tok, &r, LLM_PROMPT, limit, &out);
            check_ids(&out, limit);
        }
        if (i >= 0) tok.tables->forget_chat(tok.tables->chat);
        llm_release_all(tok.tables->chat_template, tok.tables->file[3]);
        tok.tables->chat_template = tok.tables->file[3] = NULL;
        tok.tables->chat = NULL;
    }
    for (int i = 0; i < n; i++) llm_release((char *)m[i].text);
    llm_tokens_free(&out);
}
/* ---- which one ---- */

static const struct { const char *name; void (*begin)(void); void (*target)(const char *data, size_t size); } all[] = {
    {"json", NULL, fuzz_json}, {"tokenizer", begin_tables, fuzz_tokenizer}, {"nfc", nfc_begin, fuzz_nfc},
    {"safetensors", NULL, fuzz_safetensors}, {"gguf", begin_tables, fuzz_gguf},
    {"data", begin_tokenizer, fuzz_data}, {"adapter", begin_adapter, fuzz_adapter},
    {"chat", begin_tokenizer, fuzz_chat}, {"jinja", NULL, fuzz_jinja}};
static int chosen;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    const char *name = getenv("FUZZ");
    int n = (int)(sizeof all / sizeof *all);
    (void)argc;
    (void)argv;
    while (chosen < n && (!name || strcmp(name, all[chosen].name))) chosen++;
    if (chosen == n) llm_usage("FUZZ=json|tokenizer|nfc|safetensors|gguf|data|adapter|chat|jinja", "which reader?");
    if (all[chosen].begin) all[chosen].begin();
    return 0;
}
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_run(all[chosen].target, data, size);
    return 0;
}
