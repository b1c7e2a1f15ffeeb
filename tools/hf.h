/* hf.h: folders that other programs wrote: Hugging Face's, with the tokenizers, chat templates, configurations, shards
   and adapters of the families GPT-2, Llama, Mistral, Qwen2, Qwen3, SmolLM3, OLMo-2 and Phi-3. llm.h itself reads what
   it wrote. A file of llama.cpp's, model.gguf, is such a folder in one file (gguf.h): it may stand wherever a model's
   folder may.

   Included after llm.h. The functions stand where LLM_IMPLEMENTATION is defined; elsewhere these are declarations. Each
   does what its namesake in llm.h does, for any folder, ours among them (adapters are read and written here alone);
   what we do not compute is refused by its key: a model that runs and is wrong would be worse. */
#ifndef HF_H
#define HF_H
#ifdef __cplusplus
extern "C" {
#endif

/* A folder or its tokenizer.json, with tokenizer_config.json, chat_template.jinja ... beside it. */
void hf_tokenizer_load(llm_tokenizer *t, const char *dir_or_file);
llm_config hf_config_load(const char *dir);
void hf_model_load(llm_model *m, const char *dir, const llm_ops *ops);
void hf_model_load_as(llm_model *m, const char *dir, const llm_ops *ops, llm_type weights);
/* A tokenizer beside a model of V rows. A pad behind the last row is none: many were added to a tokenizer and never to
   its model, which only ever saw it masked. Another token there is an error. */
void hf_fit(llm_tokenizer *t, int V);
/* A folder of PEFT: adapter_config.json, adapter_model.safetensors. hf_model_load of it loads the base that it names
   and hangs them on it; hf_lora_load hangs them on a model without any. */
void hf_lora_save(const llm_model *m, const char *dir);
void hf_lora_load(llm_model *m, const char *dir);

/* safetensors, by name. Opening checks the header against the file, field by field, before anything is used: a file, an
   index of shards (.json), or a folder of either. */
typedef struct { char *name; int dims; size_t shape[4]; char dtype[8]; size_t begin, end; int file; } hf_tensor_info;
typedef struct {
    hf_tensor_info *tensor; int count;  /* by name */
    char **path; int paths;             /* the files; data_start: where the numbers of each begin */
    size_t *data_start;
    const struct gguf_file *gguf;       /* not NULL: the tensors of a GGUF file */
} hf_safetensors;
void hf_safetensors_open(hf_safetensors *s, const char *dir_or_file);
const hf_tensor_info *hf_safetensors_find(const hf_safetensors *s, const char *name);
void hf_safetensors_read(const hf_safetensors *s, const hf_tensor_info *t, double *out);        /* any dtype, widened */
void hf_safetensors_read_real(const hf_safetensors *s, const hf_tensor_info *t, llm_real *out);
void hf_safetensors_close(hf_safetensors *s);

/* A folder's chat template is run, whatever it says (tools/hf_chat.h). A model without one is asked in plain text: its
   tokenizer's chat is this. */
extern const llm_template hf_plain_text;
/* Give a model without a chat template the one of this name ("chatml", "llama3", "llama2", "zephyr", "alpaca"), or
   "auto": what suits its tokens. Its folder will say so, in Jinja. If the model has another template: an error. */
void hf_chat_template(llm_tokenizer *t, const char *name);
int hf_closing_token(const llm_tokenizer *t);   /* what ends an answer */

/* Text to ids as other programs do it, who look for added tokens in the text before it is cut. Those that are not
   special ("<think>", a user's own) llm_encode finds too. Special ones are found where `specials` holds, and none of
   their bytes is somebody's words: words[i] is not 0 for a byte that is (NULL: none is). at (or NULL): at[i] becomes
   the byte where ids[i] begins. Room for t->room(text, size) ids; thread-safe. */
size_t hf_encode(const llm_tokenizer *t, const char *text, size_t size, llm_where where, bool specials,
                 const uint8_t *words, int *ids, size_t *at);

/* From now on special tokens are found, too, in text for pretraining and in records of plain text (LLM_TEXT_PLAIN), and
   nowhere else. Are they? Does a text spell one? */
void hf_parse_special(llm_tokenizer *t);
bool hf_parses_special(const llm_tokenizer *t);
bool hf_spells_special(const llm_tokenizer *t, const char *text, size_t size);
/* Bytes of texts that no token spells are dropped, as other programs do. Says how many since this was asked last. */
void hf_say_unspelled(const llm_tokenizer *t);

/* How text is cut: llm_tokenizer.split. */
enum { HF_SPLIT_LLAMA3 = 1, HF_SPLIT_QWEN2 = 3, HF_SPLIT_SPM = 4, HF_SPLIT_TEKKEN = 5 };
const char *hf_expression(int split);           /* as a regular expression; NULL: it is none */

#ifdef __cplusplus
}
#endif

#ifdef LLM_IMPLEMENTATION
#include "path.h"
#include "nfc.h"
#include "added.h"
#include "hf_chat.h"
#include "tekken.h"
static void hf_tensors_sort(hf_safetensors *s);
#include "gguf.h"

/* ---- where a model's files lie: in a folder, or in a GGUF file ---- */

typedef struct { const char *path; gguf_file *gguf; } hf_folder;

static hf_folder hf_folder_open(const char *path) { return (hf_folder){path, gguf_is(path) ? gguf_open(path) : NULL}; }
static void hf_folder_close(hf_folder *f) { gguf_close(f->gguf); }
/* NULL: there is no such file. */
static char *hf_folder_text(const hf_folder *f, const char *name, size_t *size) {
    if (f->gguf) return gguf_file_text(f->gguf, name, size);
    char *path = llm_format("%s/%s", f->path, name), *text = llm_exists(path) ? llm_read_file(path, size) : NULL;
    llm_release(path);
    return text;
}
static llm_json *hf_folder_json(const hf_folder *f, const char *name) {
    size_t size;
    char *text = hf_folder_text(f, name, &size), *path = llm_format("%s/%s", f->path, name);
    llm_json *root = text ? llm_json_parse(text, size, path, 1) : NULL;
    llm_release_all(text, path);
    return root;
}

/* ---- cutting, and Unicode ---- */

static inline bool newline_at(const llm_text *c, size_t at) { return c->s[at] == '\r' || c->s[at] == '\n'; }
/* Llama 3:  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
             \s+(?!\S)|\s+          Qwen2: the same with \p{N} for \p{N}{1,3} */
static size_t hf_cut_llama3(const llm_text *c, size_t at) {
    size_t next, after, word = contraction(c, at, true);
    if (word) return at + word;
    int kind = class_at(c, at, &next), second = class_at(c, next, &after);
    bool joins = kind != CLASS_NUMBER && !newline_at(c, at) && second == CLASS_LETTER;
    if (kind == CLASS_LETTER || joins) return run_of(c, next, CLASS_LETTER);
    if (kind == CLASS_NUMBER) {
        int more = c->split == HF_SPLIT_LLAMA3 ? 2 : 0;
        for (; more > 0 && class_at(c, next, &after) == CLASS_NUMBER; more--) next = after;
        return next;
    }
    if (kind == CLASS_OTHER || (c->s[at] == ' ' && second == CLASS_OTHER)) {
        size_t end = run_of(c, next, CLASS_OTHER);
        while (end < c->n && newline_at(c, end)) end++;
        return end;
    }
    size_t line = run_of(c, at, CLASS_SPACE);           /* \s*[\r\n]+ : up to the last line end of the run */
    while (line > at && !newline_at(c, line - 1)) line--;
    return line > at ? line : cut_space(c, at);
}

/* ---- NFC, where tokenizer.json asks for it ---- */

static size_t hf_room_nfc(const char *text, size_t size) { return llm_add(nfc_room(text, size), 1); }
static bool hf_wants_nfc(const llm_tokenizer *t) { return t->room == hf_room_nfc; }
static char *hf_nfc_text(const llm_tokenizer *t, const char *text, size_t *size, llm_where where, size_t **from) {
    (void)where;
    return hf_wants_nfc(t) ? nfc_text(text, size, from) : NULL;
}
static size_t hf_encode_nfc(const llm_tokenizer *t, const char *text, size_t size, llm_where where, int *ids) {
    char *normal = nfc_text(text, &size, NULL);
    size_t count = encode_bpe(t, normal ? normal : text, size, where, ids);
    llm_release(normal);
    return count;
}

/* ---- SentencePiece (Llama 2) ----
   Merging begins with characters, not with bytes; a space is spelled U+2581 in the file and ' ' here. Characters that
   are no token become bytes, spelled <0x41>. */

/* A space before every stretch; before the first; before every one: the last two where it begins with none. */
enum { HF_PREFIX_NONE, HF_PREFIX_ALWAYS, HF_PREFIX_FIRST, HF_PREFIX_EACH };

/* No cut. But if no token holds a space behind a letter, none reaches from a word into the next space, and cutting
   there changes nothing but the time. */
static size_t hf_cut_words(const llm_text *c, size_t at) {
    while (at < c->n && c->s[at] == ' ') at++;
    while (at < c->n && c->s[at] != ' ') at++;
    return at;
}
/* Metaspace's split: before every space. */
static size_t hf_cut_spaces(const llm_text *c, size_t at) {
    for (at++; at < c->n && c->s[at] != ' ';) at++;
    return at;
}
static size_t hf_cut_nowhere(const llm_text *c, size_t at) {
    (void)at;
    return c->n;
}
static bool hf_words_apart(const llm_tokenizer *t) {
    for (int i = 0; i < t->merges; i++) {
        bpe_merge m = t->tables->merge[i];
        const char *a = t->token[m.a];
        int n = t->length[m.a];
        if (!t->special[m.id] && n && a[n - 1] != ' ' && t->token[m.b][0] == ' ') return false;
    }
    return true;
}
static size_t hf_spm_symbols(const llm_tokenizer *t, const char *s, size_t n, int *ids) {
    size_t count = 0;
    for (size_t i = 0, end; i < n; i = end) {
        uint32_t code;
        end = i + (size_t)llm_utf8_get(s + i, n - i, &code);
        const word_entry *character = word_find(&t->tables->words, s + i, end - i);
        if (character) ids[count++] = (int)character->value;
        else count += byte_symbols(t, s + i, end - i, ids + count);     /* all 256 are there: hf_spell_tokens */
    }
    return count;
}
/* SPM spells a space as U+2581, so it takes them for the same; in our tokens and here they are ' '. A text begins with
   one. */
static char *hf_spm_text(const llm_tokenizer *t, const char *text, size_t *size, llm_where where, size_t **from) {
    size_t n = 0, *before = NULL;
    char *nfc = hf_nfc_text(t, text, size, where, from ? &before : NULL), *copy = llm_alloc(llm_add(*size, 2), 1);
    if (nfc) text = nfc;
    if (from) *from = llm_alloc(llm_add(*size, 2), sizeof **from);
    bool has_space = *size && (text[0] == ' ' || hf_spm_space_at(text, *size));
    int prefix = where == LLM_TEXT_NEW_LINE ? HF_PREFIX_NONE : t->tables->prefix;
    bool begins = where == LLM_TEXT_BEGINS || where == LLM_TEXT_PLAIN;
    bool some = prefix == HF_PREFIX_EACH || (prefix == HF_PREFIX_FIRST && begins);
    if (*size && (prefix == HF_PREFIX_ALWAYS || (some && !has_space))) copy[n++] = ' ';
    for (size_t i = 0, step; i < *size; i += step) {
        step = hf_spm_space_at(text + i, *size - i) ? 3 : 1;
        if (from) (*from)[n] = before ? before[i] : i;
        copy[n++] = step == 3 ? ' ' : text[i];
    }
    *size = n;
    llm_release_all(nfc, before);
    return copy;
}
static size_t hf_encode_spm_normal(const llm_tokenizer *t, const char *text, size_t size, llm_where where, int *ids) {
    (void)where;
    llm_text c = {text, size, t->tables->class_of, t->split};
    size_t count = 0;
    for (size_t at = 0, end; at < size; at = end) {
        end = t->cut(&c, at);
        count += encode_piece(t, hf_spm_symbols, text + at, end - at, ids + count);
    }
    return count;
}
static size_t hf_encode_spm(const llm_tokenizer *t, const char *text, size_t size, llm_where where, int *ids) {
    char *copy = hf_spm_text(t, text, &size, where, NULL);
    size_t count = hf_encode_spm_normal(t, copy, size, where, ids);
    llm_release(copy);
    return count;
}
/* The space before a stretch is one too many behind a newline: encode the newline too and drop its ids. */
static size_t hf_encode_spm_line(const llm_tokenizer *t, const char *text, size_t size, llm_where where, int *ids) {
    if (where != LLM_TEXT_NEW_LINE) return hf_encode_spm(t, text, size, where, ids);
    char *line = llm_alloc(llm_add(size, 1), 1);
    line[0] = '\n';
    memcpy(line + 1, text, size);
    int newline[4], *all = llm_alloc(t->room(line, size + 1), sizeof *all);
    size_t n = hf_encode_spm(t, "\n", 1, where, newline), count = hf_encode_spm(t, line, size + 1, where, all);
    bool apart = count >= n && !memcmp(all, newline, n * sizeof *all);
    if (apart) memcpy(ids, all + n, (count - n) * sizeof *ids);
    llm_release(line);
    llm_release(all);
    return apart ? count - n : hf_encode_spm(t, text, size, LLM_TEXT_GOES_ON, ids);
}
/* The characters that are tokens: what hf_spm_symbols begins with. (<0x41> is not the letter A.) */
static void hf_spm_characters(llm_tokenizer *t, const bool *both) {
    struct llm_tokenizer_tables *k = t->tables;
    for (int i = 0; i < t->vocab_size; i++) {
        const char *s = t->token[i];
        size_t n = (size_t)t->length[i];
        uint32_t code;
        if ((k->hidden[i] && !both[i]) || !n || (n == 1 && k->byte[(unsigned char)s[0]] == i)) continue;
        if ((size_t)llm_utf8_get(s, n, &code) == n) word_add(&k->words, s, n)->value = i;
    }
}

/* ---- tokenizer.json ----
   It can describe any tokenizer; we know five pipelines and refuse every other by its name. */

/* A tokenizer.json being read. spelling: from a token as the file writes it to its id. */
typedef struct {
    llm_tokenizer *t;
    const char *where;
    const llm_json *root, *model;
    word_map spelling;
    hf_added_token *added; size_t addeds, room;
    bool *both;                         /* [V] added, but merges may make it too */
    bool spaces;                        /* the normalizer spells them U+2581 */
    bool ignore_merges;                 /* Llama 3: a piece in the vocabulary needs no merges that lead to it */
} hf_reader;
static const char hf_bad_file[] = "download the file again, or save it once more with transformers' save_pretrained";
static const char hf_other_model[] = "a model of the GPT-2, Llama, Mistral, Qwen, SmolLM, OLMo-2 or Phi-3 family";

static bool hf_says(const llm_json *node, const char *key, const char *text) {
    return !strcmp(llm_json_text(node, key, ""), text);
}
static bool hf_is_step(const llm_json *node, const char *type) { return hf_says(node, "type", type); }
/* Step i of a Sequence; any other node is its own step 0. */
static const llm_json *hf_step_of(const llm_json *node, const char *list, int i) {
    if (!hf_is_step(node, "Sequence")) return i == 0 && node && node->type == LLM_JSON_OBJECT ? node : NULL;
    const llm_json *steps = llm_json_get(node, list), *c = steps ? steps->child : NULL;
    for (; c && i > 0; i--) c = c->next;
    return c;
}
static const struct { int split; const char *regex; } hf_expressions[] = {
    {LLM_SPLIT_GPT2, "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {HF_SPLIT_LLAMA3, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
                      " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {HF_SPLIT_QWEN2, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
                     " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {HF_SPLIT_TEKKEN, "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
                      "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
                      "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}};
enum { HF_EXPRESSIONS = sizeof hf_expressions / sizeof *hf_expressions };
const char *hf_expression(int split) {
    for (int i = 0; i < HF_EXPRESSIONS; i++)
        if (hf_expressions[i].split == split) return hf_expressions[i].regex;
    return NULL;
}
/* The pieces are what the expression finds, which is all of the text: nothing lies between them that "Removed" could
   take away (OLMo-2's dolma2). */
static bool hf_known_expression(const llm_json *step, int *split) {
    bool invert = llm_json_true(step, "invert", false);
    bool isolated = hf_is_step(step, "Split") && hf_says(step, "behavior", invert ? "Removed" : "Isolated");
    for (int i = 0; i < HF_EXPRESSIONS; i++) {
        *split = hf_expressions[i].split;
        if (hf_says(llm_json_get(step, "pattern"), "Regex", hf_expressions[i].regex)) return isolated;
    }
    return false;
}
/* What happens before the merges: normalizer steps n[0..1] besides NFC, pre-tokenizer steps p[0..1]. */
static bool hf_recognise_split(const llm_json **n, const llm_json **p, llm_tokenizer *t) {
    struct llm_tokenizer_tables *k = t->tables;
    const char *space = "\xE2\x96\x81";                 /* U+2581 */
    const llm_json *bytes = p[1] ? p[1] : p[0], *replace = n[1] ? n[1] : n[0];
    if (hf_is_step(bytes, "ByteLevel") && !llm_json_true(bytes, "add_prefix_space", true)) {
        bool gpt2 = llm_json_true(bytes, "use_regex", true);
        bool digits = p[1] && hf_is_step(p[0], "Digits") && llm_json_true(p[0], "individual_digits", false);
        if (gpt2 && (digits || !p[1])) t->split = digits ? LLM_SPLIT_DIGITS : LLM_SPLIT_GPT2;
        else if (gpt2 || !p[1] || !hf_known_expression(p[0], &t->split)) return false;
        if (hf_wants_nfc(t)) t->encode = hf_encode_nfc;
        return !n[0];
    }
    t->split = HF_SPLIT_SPM;
    t->encode = hf_encode_spm_line;
    if (!p[0]) {                        /* normalizer: [Prepend U+2581,] Replace " " by U+2581 */
        k->prefix = n[1] ? HF_PREFIX_ALWAYS : HF_PREFIX_NONE;
        bool prepend = hf_is_step(n[0], "Prepend") && hf_says(n[0], "prepend", space);
        return (prepend || !n[1]) && hf_is_step(replace, "Replace") && hf_says(replace, "content", space) &&
               hf_says(llm_json_get(replace, "pattern"), "String", " ");
    }
    const char *scheme = llm_json_text(p[0], "prepend_scheme", "");
    k->prefix = !strcmp(scheme, "first") ? HF_PREFIX_FIRST : !strcmp(scheme, "always") ? HF_PREFIX_EACH :
                                                                                         HF_PREFIX_NONE;
    if (llm_json_true(p[0], "split", true)) t->cut = hf_cut_spaces;
    return !p[1] && !n[0] && hf_is_step(p[0], "Metaspace") && hf_says(p[0], "replacement", space) &&
           (k->prefix || !strcmp(scheme, "never"));
}
/* The steps of the normalizer but NFC, of which it does not matter what stands before it: a space and U+2581 join
   nothing. */
static void hf_read_normalizer(hf_reader *r, const llm_json *n[3]) {
    const llm_json *node = llm_json_get(r->root, "normalizer"), *step = hf_step_of(node, "normalizers", 0);
    for (int count = 0; step && count < 3; step = hf_is_step(node, "Sequence") ? step->next : NULL) {
        if (!hf_is_step(step, "NFC")) n[count++] = step;
        else r->t->room = hf_room_nfc, nfc_begin();
    }
}
static void hf_read_pipeline(hf_reader *r) {
    const llm_json *model = r->model = llm_json_get(r->root, "model"), *n[3] = {NULL, NULL, NULL}, *p[3];
    const char *type = llm_json_text(model, "type", llm_json_get(model, "merges") ? "BPE" : "(none)");
    if (strcmp(type, "BPE"))
        llm_die(hf_other_model, "%s: a model of type \"%s\", only BPE is supported", r->where, type);
    hf_read_normalizer(r, n);
    for (int i = 0; i < 3; i++) p[i] = hf_step_of(llm_json_get(r->root, "pre_tokenizer"), "pretokenizers", i);
    if (n[2] || p[2] || !hf_recognise_split(n, p, r->t))
        llm_die(hf_other_model,
                "%s: this way to cut text is not supported: pre_tokenizer %s %s %.200s%s, normalizer %s %s", r->where,
                llm_json_text(p[0], "type", "null"), llm_json_text(p[1], "type", ""),
                llm_json_text(llm_json_get(p[0], "pattern"), "Regex", ""), llm_json_text(p[0], "prepend_scheme", ""),
                llm_json_text(n[0], "type", "null"), llm_json_text(n[1], "type", ""));
    r->ignore_merges = llm_json_true(model, "ignore_merges", false);
    r->spaces = r->t->split == HF_SPLIT_SPM && n[0];
    if (r->t->split == HF_SPLIT_LLAMA3 || r->t->split == HF_SPLIT_QWEN2) r->t->cut = hf_cut_llama3;
    if (r->t->split == HF_SPLIT_TEKKEN) r->t->cut = tekken_cut;
    bool spm = r->t->split == HF_SPLIT_SPM;
    const char *odd = *llm_json_text(model, "continuing_subword_prefix", "") ? "with continuing_subword_prefix" :
                      *llm_json_text(model, "end_of_word_suffix", "") ? "with end_of_word_suffix" :
                      llm_json_number(model, "dropout", 0) != 0 ? "with dropout" :
                      spm && !llm_json_true(model, "byte_fallback", false) ? "of SentencePiece without byte_fallback" :
                      spm && r->ignore_merges ? "of SentencePiece with ignore_merges" : NULL;
    if (odd) llm_die(hf_other_model, "%s: a vocabulary %s is not supported", r->where, odd);
}

/* Note a token's spelling and id; `again`: the same may have been said before. */
static void hf_read_token(hf_reader *r, const char *spelling, size_t n, const llm_json *id, int line, bool again) {
    int value = whole_number(id);
    if (value < 0 || n > INT_MAX / 4)
        llm_die(hf_bad_file, "%s:%d: the id of token \"%.40s\" is not a whole number", r->where, line, spelling);
    size_t before = r->spelling.count;
    word_entry *w = word_add(&r->spelling, spelling, n);
    if (r->spelling.count == before && !(again && w->value == value))
        llm_die(hf_bad_file, "%s:%d: token \"%.40s\" has two ids, %d and %d", r->where, line, spelling, (int)w->value,
                value);
    w->value = value;
}
static int hf_how_added(const llm_json *c) {
    static const struct { const char *key; int flag; } row[] = {
        {"lstrip", HF_LSTRIP}, {"rstrip", HF_RSTRIP}, {"single_word", HF_SINGLE_WORD}, {"normalized", HF_NORMALIZED}};
    int how = 0;
    for (int i = 0; i < 4; i++) how |= llm_json_true(c, row[i].key, false) ? row[i].flag : 0;
    return how;
}
static void hf_add_token(hf_reader *r, int id, const char *text, size_t n, int how) {
    r->added = llm_grow(r->added, &r->room, r->addeds + 1, sizeof *r->added);
    r->added[r->addeds++] = (hf_added_token){text, n, id, how, false};
    r->t->tables->hidden[id] = true;
}
/* The vocabulary and the added tokens: ids 0 .. V-1, each once; spelled as in the file until hf_spell_tokens. */
static void hf_read_vocabulary(hf_reader *r) {
    llm_tokenizer *t = r->t;
    const llm_json *vocab = llm_json_get(r->model, "vocab"), *added = llm_json_get(r->root, "added_tokens");
    if (!vocab || vocab->type != LLM_JSON_OBJECT) llm_die(hf_bad_file, "%s: model.vocab is not an object", r->where);
    for (const llm_json *c = vocab->child; c; c = c->next) hf_read_token(r, c->key, strlen(c->key), c, c->line, false);
    const int modelled = (int)size_min(r->spelling.count, INT_MAX / 2);
    for (const llm_json *c = added ? added->child : NULL; c; c = c->next) {
        const llm_json *content = llm_json_get(c, "content");
        if (!content || content->type != LLM_JSON_STRING)
            llm_die(hf_bad_file, "%s:%d: an added token without \"content\"", r->where, c->line);
        hf_read_token(r, content->string, content->length, llm_json_get(c, "id"), c->line, true);
    }
    if (r->spelling.count < 1 || r->spelling.count > INT_MAX / 2)
        llm_die(hf_bad_file, "%s: a vocabulary of %zu tokens", r->where, r->spelling.count);
    int V = (int)r->spelling.count;
    tokenizer_allocate(t, V);
    r->both = llm_alloc((size_t)V, sizeof *r->both);
    for (const word_entry *w = r->spelling.word; w < r->spelling.word + V; w++) {
        int id = (int)w->value;
        if (id >= V) llm_die(hf_bad_file, "%s: token \"%.40s\" has id %d, but %d tokens want ids 0 to %d without holes",
                             r->where, w->text, id, V, V - 1);
        if (t->token[id]) llm_die(hf_bad_file, "%s: two tokens have the id %d: \"%.40s\" and \"%.40s\"", r->where, id,
                                  t->token[id], w->text);
        t->token[id] = w->text;
        t->length[id] = (int)w->length;
    }
    for (const llm_json *c = added ? added->child : NULL; c; c = c->next) {
        int id = whole_number(llm_json_get(c, "id"));
        t->special[id] = llm_json_true(c, "special", false);
        hf_add_token(r, id, t->token[id], (size_t)t->length[id], hf_how_added(c));
    }
    for (int i = 0; i < modelled; i++) {
        int id = (int)r->spelling.word[i].value;
        r->both[id] = t->tables->hidden[id] && !t->special[id];
    }
}
/* One token from its spelling (n bytes) to its bytes; returns how many. *hidden: no text has such a piece. */
static int hf_spell_token(int split, const char *s, int n, char *out, bool *hidden) {
    int count = 0;
    for (int i = 0, step; i < n && !*hidden; i += step) {
        uint32_t code;
        step = llm_utf8_get(s + i, (size_t)(n - i), &code);
        int byte = split == HF_SPLIT_SPM ? (code == 0x2581 ? ' ' : -1) : code == UINT32_MAX ? -1 : char_to_byte(code);
        *hidden = split == HF_SPLIT_SPM ? s[i] == ' ' : byte < 0;              /* SPM's texts have U+2581 for ' ' */
        if (byte >= 0) out[count++] = (char)byte;
        else for (int j = 0; j < step; j++) out[count++] = s[i + j];
    }
    if (*hidden) memcpy(out, s, (size_t)n);
    return *hidden ? n : count;
}
/* Where the model has an unknown token, it stands for every byte that has none (else such a byte is dropped). */
static void hf_spell_unknown(hf_reader *r) {
    const char *unknown = llm_json_text(r->model, "unk_token", NULL);
    const word_entry *w = unknown ? word_find(&r->spelling, unknown, strlen(unknown)) : NULL;
    int *byte = r->t->tables->byte;
    for (int i = 0; i < 256 && w; i++) {
        if (byte[i] >= 0) continue;
        if (llm_json_true(r->model, "fuse_unk", false))
            llm_die(hf_other_model, "%s: fuse_unk, and no token for the byte 0x%02X", r->where, i);
        byte[i] = (int)w->value;
    }
}
static void hf_spell_tokens(hf_reader *r) {
    llm_tokenizer *t = r->t;
    struct llm_tokenizer_tables *k = t->tables;
    bool spm = t->split == HF_SPLIT_SPM, space = false;
    size_t bytes = 0;
    for (int i = 0; i < 256; i++) k->byte[i] = -1;
    for (int i = 0; i < t->vocab_size; i++) bytes = llm_add(bytes, (size_t)t->length[i] + 1);
    char *out = k->bytes = llm_alloc(bytes, 1);
    for (int i = 0; i < t->vocab_size; out += t->length[i++] + 1) {
        unsigned byte = 0;
        int end = 0;
        bool hidden = k->hidden[i] && !r->both[i];
        t->length[i] = hf_spell_token(t->split, t->token[i], t->length[i], out, &hidden);
        t->token[i] = out;
        k->hidden[i] = k->hidden[i] || hidden;
        if (hidden) continue;
        if (spm && t->length[i] == 6 && sscanf(out, "<0x%2X>%n", &byte, &end) == 1 && end == 6) {       /* <0x41> */
            memset(out, 0, 6);
            out[0] = (char)byte;
            t->length[i] = 1;
            k->byte[byte] = i;
        } else if (spm) space = space || !strcmp(out, " ");
        else if (t->length[i] == 1) k->byte[(unsigned char)out[0]] = i;
    }
    if (!spm) hf_spell_unknown(r);
    if (spm && !space) llm_die(hf_bad_file, "%s: a SentencePiece vocabulary without the space, U+2581", r->where);
    for (int i = 0; i < 256 && spm; i++)
        if (k->byte[i] < 0) llm_die(hf_bad_file, "%s: byte_fallback wants a token <0x%02X>", r->where, i);
}
/* merges: ["a b", ...] or [["a", "b"], ...] */
static void hf_read_merges(hf_reader *r) {
    llm_tokenizer *t = r->t;
    const llm_json *merges = llm_json_get(r->model, "merges");
    if (!merges || merges->type != LLM_JSON_ARRAY || merges->length > INT_MAX / 4)
        llm_die(hf_bad_file, "%s: model.merges is not a list", r->where);
    t->tables->merge = llm_alloc(merges->length, sizeof *t->tables->merge);
    char *both = NULL;
    size_t capacity = 0;
    for (const llm_json *c = merges->child; c; c = c->next) {
        const llm_json *one = c->child, *two = one ? one->next : NULL;
        const char *a = c->string, *b = a, *space = c->type == LLM_JSON_STRING ? memchr(a, ' ', c->length) : NULL;
        size_t n = 0, m = 0;            /* the lengths of a and b */
        if (space) n = (size_t)(space - a), m = c->length - n - 1, b = space + 1;
        else if (c->length == 2 && one && one->type == LLM_JSON_STRING && two->type == LLM_JSON_STRING)
            a = one->string, n = one->length, b = two->string, m = two->length;
        if (!n || !m)
            llm_die(hf_bad_file, "%s:%d: merge %d is neither \"a b\" nor [\"a\", \"b\"]", r->where, c->line, t->merges);
        both = llm_grow(both, &capacity, llm_add(llm_add(n, m), 1), 1);
        memcpy(both, a, n);
        memcpy(both + n, b, m);
        both[n + m] = '\0';
        const word_entry *wa = word_find(&r->spelling, a, n), *wb = word_find(&r->spelling, b, m);
        const word_entry *made = word_find(&r->spelling, both, n + m);
        if (!wa || !wb || !made)
            llm_die(hf_bad_file, "%s:%d: merge %d, \"%.*s\" and \"%.*s\": %s is not in the vocabulary", r->where,
                    c->line, t->merges, (int)size_min(n, 40), a, (int)size_min(m, 40), b,
                    !wa ? "the first" : !wb ? "the second" : "what they make");
        t->tables->merge[t->merges++] = (bpe_merge){(int)wa->value, (int)wb->value, (int)made->value};
    }
    llm_release(both);
}

/* The id that the configuration calls `key`: the spelling of a token, or an added token with "content". Old files leave
   out what their family is used to: then the first of `usual` that was added. A token with such a duty is special. */
static int hf_named_token(hf_reader *r, const llm_json *config, const char *key, const char *const usual[3]) {
    const llm_json *v = llm_json_get(config, key);
    const word_entry *w = NULL;
    for (int i = 0; i < 3 && !v && !w; i++) {
        w = word_find(&r->spelling, usual[i], strlen(usual[i]));
        if (w && !r->t->tables->hidden[w->value]) w = NULL;
    }
    if (v && v->type == LLM_JSON_OBJECT) v = llm_json_get(v, "content");
    if (v && v->type == LLM_JSON_STRING && !(w = word_find(&r->spelling, v->string, v->length)))
        llm_die("add it to added_tokens in tokenizer.json, or take it out", "%s: the %s \"%.40s\" of %s is not in it",
                r->where, key, v->string, tokenizer_file[1]);
    if (!w) return -1;
    r->t->special[w->value] = true;
    r->both[w->value] = false;
    if (!r->t->tables->hidden[w->value]) hf_add_token(r, (int)w->value, w->text, w->length, 0);
    return (int)w->value;
}
/* What the post-processor puts before a text: bos, as the template says (or BERT's way, with "cls"), unless the
   configuration has a word on it. */
static int hf_opener(const hf_reader *r, const llm_json *config) {
    const llm_json *post = llm_json_get(r->root, "post_processor");
    int opens = -1;
    for (int i = 0; i < 4; i++) {
        const llm_json *step = hf_step_of(post, "processors", i), *first = llm_json_get(step, "single");
        const llm_json *cls = llm_json_get(step, "cls"), *token = first ? first->child : NULL;
        const char *name = llm_json_text(llm_json_get(token, "SpecialToken"), "id", NULL);
        if (cls && cls->type == LLM_JSON_ARRAY && cls->child) name = cls->child->string;
        const word_entry *w = name ? word_find(&r->spelling, name, strlen(name)) : NULL;
        if (name && token && token->next && llm_json_get(token->next, "SpecialToken"))
            llm_die(hf_other_model, "%s: two special tokens before a text, \"%s\" and another", r->where, name);
        if (name && !w) llm_die(hf_bad_file, "%s: post_processor wants \"%s\", which is no token", r->where, name);
        if (w) opens = (int)w->value;
    }
    const llm_json *add = llm_json_get(config, "add_bos_token");
    if (add && add->type != LLM_JSON_NULL && r->t->bos >= 0) {
        if (llm_json_true(config, "add_bos_token", false)) opens = r->t->bos;
        else if (opens == r->t->bos) opens = -1;
    }
    return opens;
}
/* tokenizer_config.json: bos, eos, pad, and the chat template (newer folders: chat_template.jinja, which wins). */
static void hf_read_config(hf_reader *r, const char *folder) {
    llm_tokenizer *t = r->t;
    struct llm_tokenizer_tables *k = t->tables;
    char *where = llm_format("%s/%s", folder, tokenizer_file[1]);
    llm_json *config = k->file[1] ? llm_json_parse(k->file[1], k->file_size[1], where, 1) : NULL;
    t->bos = hf_named_token(r, config, "bos_token", (const char *[]){"<s>", "<|begin_of_text|>", "<|endoftext|>"});
    t->eos = hf_named_token(r, config, "eos_token", (const char *[]){"</s>", "<|end_of_text|>", "<|endoftext|>"});
    t->pad = hf_named_token(r, config, "pad_token", (const char *[]){"<pad>", "<|pad|>", "[PAD]"});
    t->opens = hf_opener(r, config);
    const llm_json *chat = llm_json_get(config, "chat_template");
    if (chat && chat->type == LLM_JSON_ARRAY) {         /* [{"name": "default", "template": ...}, ...] */
        const llm_json *c = chat->child;
        while (c && !hf_says(c, "name", "default")) c = c->next;
        chat = llm_json_get(c ? c : chat->child, "template");
    }
    if (k->file[3]) k->chat_template = copy_text(k->file[3], k->file_size[3]);
    else if (chat && chat->type == LLM_JSON_STRING) k->chat_template = copy_text(chat->string, chat->length);
    llm_json_free(config);
    llm_release(where);
}
/* Added tokens that are not special are found in every text. Returns what else than spelling and rank decides ids. */
static uint64_t hf_index_added(hf_reader *r) {
    llm_tokenizer *t = r->t;
    struct llm_tokenizer_tables *k = t->tables;
    bool each = k->prefix == HF_PREFIX_ALWAYS || k->prefix == HF_PREFIX_EACH, found = false;
    bool bytes = t->encode == hf_encode_nfc, nfc = hf_wants_nfc(t);
    uint64_t salt = r->ignore_merges + 2 * (uint64_t)k->prefix + 16 * (uint64_t)nfc;
    for (size_t i = 0; i < (size_t)r->addeds; i++) {
        const hf_added_token *a = &r->added[i];
        if (each && a->n < 2)           /* no more ids than t->room says */
            llm_die(hf_other_model, "%s: the added token \"%s\", of one byte, where every stretch of text gets a space",
                    r->where, a->text);
        found = found || !t->special[a->id];
        if (!t->special[a->id] || a->how)
            salt = llm_hash(&a->how, sizeof a->how, llm_hash(&a->id, sizeof a->id, salt));
    }
    k->added = hf_added_new(t, r->added, r->addeds, (hf_added){
        .normal = r->spaces ? hf_spm_text : nfc ? hf_nfc_text : NULL, .encode = t->encode, .spelled = r->spaces,
        .encode_normal = r->spaces ? hf_encode_spm_normal : bytes ? encode_bpe : t->encode});
    if (found) t->encode = hf_encode_added;
    return salt;
}
/* What encoding needs, as llm.h does it, and what SentencePiece and Llama 3 have besides. */
static void hf_index(hf_reader *r) {
    llm_tokenizer *t = r->t;
    struct llm_tokenizer_tables *k = t->tables;
    bool spm = t->split == HF_SPLIT_SPM;
    k->class_of = classes_new();
    if (t->split == HF_SPLIT_TEKKEN) tekken_classes(k->class_of);
    if (spm && t->cut != hf_cut_spaces) t->cut = hf_words_apart(t) ? hf_cut_words : hf_cut_nowhere;
    if (spm) hf_spm_characters(t, r->both);
    tokenizer_index(t, spm ? hf_spm_symbols : byte_symbols, hf_index_added(r));
    for (int i = 0; i < t->vocab_size && r->ignore_merges; i++) /* tokens that no merges lead to are found too */
        if ((!k->hidden[i] || r->both[i]) && t->length[i])
            word_add(&k->words, t->token[i], (size_t)t->length[i])->value = i;
}
/* The ids that end an answer. GPT2Config(vocab_size=401) writes those of GPT-2's own vocabulary: other programs never
   meet them, and go on. */
static bool hf_read_stops(llm_tokenizer *t, const hf_folder *f, const char *name) {
    llm_json *config = hf_folder_json(f, name);
    const llm_json *eos = llm_json_get(config, "eos_token_id");
    bool list = eos && eos->type == LLM_JSON_ARRAY, first = !strcmp(name, "generation_config.json");
    if (first && list && eos->length > 60)
        llm_die("leave out those that it never says", "%s/%s: %zu ids end an answer, more than 60", f->path, name,
                eos->length);
    for (const llm_json *c = list ? eos->child : eos; c && first; c = list ? c->next : NULL)
        if (c->type == LLM_JSON_NUMBER && (whole_number(c) < 0 || whole_number(c) >= t->vocab_size))
            fprintf(stderr, "%s/%s: eos_token_id %.17g is not in the vocabulary of %d: ignored\n", f->path, name,
                    c->number, t->vocab_size);
    bool found = read_stops(t, config);
    llm_json_free(config);
    return found;
}
void hf_tokenizer_load(llm_tokenizer *t, const char *dir_or_file) {
    *t = (llm_tokenizer){.cut = cut_gpt2, .encode = encode_bpe, .room = room_for_bytes};
    struct llm_tokenizer_tables *k = t->tables = llm_alloc(1, sizeof *k);
    const char *slash = strrchr(dir_or_file, '/');
    bool whole = llm_is_dir(dir_or_file) || gguf_is(dir_or_file);       /* else a tokenizer.json */
    char *folder = whole ? llm_format("%s", dir_or_file) :
                   slash ? copy_text(dir_or_file, (size_t)(slash - dir_or_file) + 1) : llm_format(".");
    char *path = whole ? llm_format("%s/%s", folder, tokenizer_file[0]) : llm_format("%s", dir_or_file);
    hf_folder f = hf_folder_open(folder);
    for (int i = 0; i < TOKENIZER_FILES; i++)
        if (i || whole) k->file[i] = hf_folder_text(&f, tokenizer_file[i], &k->file_size[i]);
        else if (llm_exists(path)) k->file[i] = llm_read_file(path, &k->file_size[i]);
    if (!k->file[0]) llm_die("a Hugging Face folder; an old one: save it once with transformers' save_pretrained",
                             "there is no %s", path);
    llm_json *root = llm_json_parse(k->file[0], k->file_size[0], path, 1);
    hf_reader r = {.t = t, .where = path, .root = root};
    hf_read_pipeline(&r);
    hf_read_vocabulary(&r);
    hf_read_config(&r, folder);
    hf_read_merges(&r);
    hf_spell_tokens(&r);
    hf_index(&r);
    if (!hf_read_stops(t, &f, "generation_config.json")) hf_read_stops(t, &f, "config.json");
    tokenizer_name_ids(t);
    add_stop(t, llm_token_id(t, "<|eot_id|>"));
    hf_use_template(t);
    hf_folder_close(&f);
    word_free(&r.spelling);
    llm_release_all(r.added, r.both);
    llm_json_free(root);
    llm_release(folder);
    llm_release(path);
}

/* ---- safetensors ----
   A file may come from anywhere, so nothing in it is believed: the tensors must tile the rest of the file exactly, and
   each one's bytes must be its shape times its type. After that no offset can point outside. */

static const char hf_refetch[] = "fetch the file again: it is cut short, damaged, or no safetensors file";

static bool hf_known_dtype(const char *dtype) {
    static const char known[] = "|F64|F32|F16|BF16|I64|I32|I16|I8|U64|U32|U16|U8|BOOL|"
                                "C64|F8_E5M2|F8_E4M3|F8_E8M0|F6_E2M3|F6_E3M2|F4|";         /* these are not read */
    char name[16];
    snprintf(name, sizeof name, "|%.12s|", dtype);
    return strlen(name) > 3 && !strchr(dtype, '|') && strstr(known, name);
}
/* A size as JSON spells it, digit by digit: a double would round above 2^53. */
static size_t hf_json_size(const llm_json *v, const char *path, const char *tensor) {
    size_t x = 0;
    bool good = v->type == LLM_JSON_NUMBER;
    for (size_t i = 0; good && i < v->length; i++) {
        good = isdigit((unsigned char)v->string[i]) && x <= (SIZE_MAX - 9) / 10;
        x = x * 10 + (size_t)(v->string[i] - '0');
    }
    if (!good) llm_die(hf_refetch, "%s: tensor \"%s\" has a shape or an offset that is no size", path, tensor);
    return x;
}
static hf_tensor_info hf_tensor_entry(const llm_json *entry, const char *path, int file, size_t data_bytes) {
    static const char *const key[] = {"dtype", "shape", "data_offsets"};
    const llm_json *value[3] = {NULL, NULL, NULL};
    const char *name = entry->key;
    for (const llm_json *c = entry->child; c && entry->type == LLM_JSON_OBJECT; c = c->next)
        for (int i = 0; i < 3; i++) {
            if (strcmp(c->key, key[i])) continue;
            if (value[i]) llm_die(hf_refetch, "%s: tensor \"%s\" says \"%s\" twice", path, name, key[i]);
            value[i] = c;
        }
    if (!value[0] || value[0]->type != LLM_JSON_STRING || !value[1] || value[1]->type != LLM_JSON_ARRAY || !value[2] ||
        value[2]->type != LLM_JSON_ARRAY || value[2]->length != 2)
        llm_die(hf_refetch, "%s: tensor \"%s\" lacks a dtype, a shape or two data_offsets", path, name);
    size_t dims = value[1]->length, bits = tensor_bits(value[0]->string);
    if (!hf_known_dtype(value[0]->string))
        llm_die(hf_refetch, "%s: tensor \"%s\" has the unknown dtype \"%s\"", path, name, value[0]->string);
    if (dims > 4) llm_die("a language model", "%s: tensor \"%s\" has %zu dimensions, more than 4", path, name, dims);
    hf_tensor_info t = {.file = file, .dims = (int)dims};
    snprintf(t.dtype, sizeof t.dtype, "%s", value[0]->string);
    const llm_json *d = value[1]->child;
    for (size_t i = 0; i < dims; i++, d = d->next) {
        t.shape[i] = hf_json_size(d, path, name);
        if (t.shape[i] && bits > SIZE_MAX / t.shape[i])
            llm_die(hf_refetch, "%s: the shape of tensor \"%s\" overflows", path, name);
        bits *= t.shape[i];
    }
    t.begin = hf_json_size(value[2]->child, path, name);
    t.end = hf_json_size(value[2]->child->next, path, name);
    if (t.begin > t.end || t.end > data_bytes)
        llm_die(hf_refetch, "%s: tensor \"%s\" lies at %zu .. %zu of %zu bytes", path, name, t.begin, t.end,
                data_bytes);
    if (bits % 8 || bits / 8 != t.end - t.begin)
        llm_die(hf_refetch, "%s: tensor \"%s\" has %zu bytes, but its shape and dtype make %zu", path, name,
                t.end - t.begin, bits / 8);
    t.name = copy_text(name, strlen(name));
    return t;
}
static int hf_by_place(const void *a, const void *b) {
    const hf_tensor_info *x = a, *y = b;
    return x->begin != y->begin ? (x->begin < y->begin ? -1 : 1) : (x->end > y->end) - (x->end < y->end);
}
static int hf_by_name(const void *a, const void *b) {
    return strcmp(((const hf_tensor_info *)a)->name, ((const hf_tensor_info *)b)->name);
}
static void hf_add_file(hf_safetensors *s, const char *path) {
    size_t n, data_bytes, count = (size_t)s->count, first = count, room = count, place = 0;
    char *text = tensor_header(path, &n, &data_bytes);
    bool utf8 = true;
    if (*text != '{') llm_die(hf_refetch, "%s: the header does not begin with '{'", path);
    for (size_t i = 0; i < n && utf8;) {
        uint32_t code;
        i += (size_t)llm_utf8_get(text + i, n - i, &code);
        utf8 = code != UINT32_MAX;
    }
    if (!utf8) llm_die(hf_refetch, "%s: the header is not UTF-8", path);
    llm_json *header = llm_json_parse(text, n, path, 1);
    const llm_json *metadata = NULL;
    for (const llm_json *e = header->child; e; e = e->next) {
        if (strcmp(e->key, "__metadata__")) {
            s->tensor = llm_grow(s->tensor, &room, count + 1, sizeof *s->tensor);
            s->tensor[count++] = hf_tensor_entry(e, path, s->paths, data_bytes);
            continue;
        }
        bool good = !metadata && e->type == LLM_JSON_OBJECT;
        for (const llm_json *c = e->child; c; c = c->next) good = good && c->type == LLM_JSON_STRING;
        if (!good) llm_die(hf_refetch, "%s: __metadata__ must appear once and map text to text", path);
        metadata = e;
    }
    llm_json_free(header);
    llm_release(text);
    if (count > first) qsort(s->tensor + first, count - first, sizeof *s->tensor, hf_by_place);
    for (size_t i = first; i < count; place = s->tensor[i++].end)
        if (s->tensor[i].begin != place)
            llm_die(hf_refetch, "%s: tensor \"%s\" begins at byte %zu, but the one before ends at %zu", path,
                    s->tensor[i].name, s->tensor[i].begin, place);
    if (place != data_bytes)
        llm_die(hf_refetch, "%s: the tensors have %zu bytes, but the file holds %zu", path, place, data_bytes);
    size_t rooms[2] = {(size_t)s->paths, (size_t)s->paths};
    s->path = llm_grow(s->path, &rooms[0], rooms[0] + 1, sizeof *s->path);
    s->data_start = llm_grow(s->data_start, &rooms[1], rooms[1] + 1, sizeof *s->data_start);
    s->path[s->paths] = copy_text(path, strlen(path));
    s->data_start[s->paths++] = n + 8;
    s->count = (int)count;              /* a header of 100 MB cannot name more than fit an int */
}
static void hf_tensors_sort(hf_safetensors *s) {
    if (s->count) qsort(s->tensor, (size_t)s->count, sizeof *s->tensor, hf_by_name);
    for (int i = 1; i < s->count; i++)
        if (!hf_by_name(&s->tensor[i - 1], &s->tensor[i]))
            llm_die(hf_refetch, "%s: tensor \"%s\" appears twice", s->path[s->tensor[i].file], s->tensor[i].name);
}
const hf_tensor_info *hf_safetensors_find(const hf_safetensors *s, const char *name) {
    hf_tensor_info key = {.name = (char *)name};
    return s->count ? bsearch(&key, s->tensor, (size_t)s->count, sizeof key, hf_by_name) : NULL;
}
void hf_safetensors_close(hf_safetensors *s) {
    for (int i = 0; i < s->count; i++) llm_release(s->tensor[i].name);
    for (int i = 0; i < s->paths; i++) llm_release(s->path[i]);
    llm_release(s->tensor);
    llm_release(s->path);
    llm_release(s->data_start);
    *s = (hf_safetensors){.count = 0};
}
/* A large model comes in shards, and an index hf_says which file holds which tensor. */
static void hf_add_shards(hf_safetensors *s, const char *index) {
    llm_json *root = llm_json_file(index);
    const llm_json *map = llm_json_get(root, "weight_map");
    if (!map || map->type != LLM_JSON_OBJECT || !map->child) llm_die(hf_refetch, "%s: no \"weight_map\"", index);
    const char *slash = strrchr(index, '/');
    int folder = slash ? (int)(slash - index) + 1 : 0;
    for (const llm_json *e = map->child; e; e = e->next) {
        if (e->type != LLM_JSON_STRING || !e->length || strlen(e->string) != e->length || strchr(e->string, '/'))
            llm_die(hf_refetch, "%s:%d: \"%s\" must name a file in the same folder", index, e->line, e->key);
        int i = s->paths;
        while (--i >= 0 && strcmp(s->path[i] + folder, e->string)) {}
        if (i >= 0) continue;
        char *path = llm_format("%.*s%s", folder, index, e->string);
        hf_add_file(s, path);
        llm_release(path);
    }
    hf_tensors_sort(s);
    for (const llm_json *e = map->child; e; e = e->next) {
        const hf_tensor_info *t = hf_safetensors_find(s, e->key);
        if (!t || strcmp(s->path[t->file] + folder, e->string))
            llm_die(hf_refetch, "%s:%d: tensor \"%s\" is not in %s", index, e->line, e->key, e->string);
    }
    llm_json_free(root);
}
void hf_safetensors_open(hf_safetensors *s, const char *dir_or_file) {
    *s = (hf_safetensors){.count = 0};
    char *path = llm_format(llm_is_dir(dir_or_file) ? "%s/model.safetensors" : "%s", dir_or_file);
    if (llm_is_dir(dir_or_file) && !llm_exists(path)) {
        llm_release(path);
        path = llm_format("%s/model.safetensors.index.json", dir_or_file);
        if (!llm_exists(path))
            llm_die("a folder saved in the safetensors format (a pytorch_model.bin must be converted first)",
                    "%s holds neither model.safetensors nor model.safetensors.index.json", dir_or_file);
    }
    if (path_ends_with(path, ".json")) hf_add_shards(s, path);
    else {
        hf_add_file(s, path);
        hf_tensors_sort(s);
    }
    llm_release(path);
}
/* n numbers as they lie in the file, whole ones too, as doubles; false: a type that is not read. */
static bool hf_widen(double *out, const void *raw, const char *dtype, size_t n) {
#define WIDEN(name, type, expression)                                                              \
    if (!strcmp(dtype, name)) {                                                                    \
        const type *x = raw;                                                                       \
        for (size_t i = 0; i < n; i++) out[i] = (double)(expression);                              \
        return true;                                                                               \
    }
    WIDEN("I64", int64_t, x[i])
    WIDEN("I32", int32_t, x[i])
    WIDEN("I16", int16_t, x[i])
    WIDEN("I8", int8_t, x[i])
    WIDEN("U64", uint64_t, x[i])
    WIDEN("U32", uint32_t, x[i])
    WIDEN("U16", uint16_t, x[i])
    WIDEN("U8", uint8_t, x[i])
    WIDEN("BOOL", uint8_t, x[i] != 0)
#undef WIDEN
    return widen(out, raw, dtype, n);
}
static size_t hf_tensor_count(const hf_tensor_info *t) { return (t->end - t->begin) * 8 / tensor_bits(t->dtype); }
static size_t hf_place(const hf_safetensors *s, const hf_tensor_info *t) { return s->data_start[t->file] + t->begin; }

void hf_safetensors_read(const hf_safetensors *s, const hf_tensor_info *t, double *out) {
    const char *path = s->path[t->file];
    if (!hf_widen(out, "", t->dtype, 0))
        llm_die("convert it to BF16 or F32", "%s: tensor \"%s\" is stored as %s, which is not read", path, t->name,
                t->dtype);
    FILE *f = fopen(path, "rb");
    if (!f) llm_die("check the path", "cannot open %s: %s", path, strerror(errno));
    size_t bytes = t->end - t->begin;
    void *raw = llm_alloc(bytes, 1);
    bool good = !fseeko(f, (off_t)hf_place(s, t), SEEK_SET) && fread(raw, 1, bytes, f) == bytes;
    fclose(f);
    if (!good) llm_die("check the disk", "cannot read tensor \"%s\" of %s", t->name, path);
    hf_widen(out, raw, t->dtype, hf_tensor_count(t));
    llm_release(raw);
}
void hf_safetensors_read_real(const hf_safetensors *s, const hf_tensor_info *t, llm_real *out) {
    size_t n = hf_tensor_count(t);
    double *wide = llm_alloc(n, sizeof *wide);
    hf_safetensors_read(s, t, wide);
    for (size_t i = 0; i < n; i++) out[i] = (llm_real)wide[i];
    llm_release(wide);
}

/* ---- a model's folder ----
   Over the years transformers has spelled the same thing in several ways: all are read, the oldest is written. */

static const char hf_other_folder[] = "a complete Hugging Face folder: config.json and weights of one model";

typedef struct { const llm_json *json; const char *path; } hf_config_file;

/* The value of a key. null counts as missing, as in Python. */
static const llm_json *hf_config_get(hf_config_file f, const char *key, llm_json_type type) {
    static const char *const name[] = {"null", "true or false", "a number", "a text", "a list", "an object"};
    const llm_json *v = llm_json_get(f.json, key);
    if (!v || v->type == LLM_JSON_NULL) return NULL;
    if (v->type != type) llm_die(hf_other_folder, "%s:%d: \"%s\" must be %s", f.path, v->line, key, name[type]);
    return v;
}
static double hf_config_number(hf_config_file f, const char *key, double otherwise) {     /* otherwise NAN: required */
    const llm_json *v = hf_config_get(f, key, LLM_JSON_NUMBER);
    if (!v && isnan(otherwise)) llm_die(hf_other_folder, "%s: missing key \"%s\"", f.path, key);
    return v ? v->number : otherwise;
}
static int hf_config_int(hf_config_file f, const char *key, double otherwise) {
    double x = hf_config_number(f, key, otherwise);
    if (!(x >= 0 && x <= INT_MAX) || x != floor(x))
        llm_die(hf_other_folder, "%s: \"%s\": %g is no size", f.path, key, x);
    return (int)x;
}
static bool hf_config_bool(hf_config_file f, const char *key, bool otherwise) {
    const llm_json *v = hf_config_get(f, key, LLM_JSON_BOOL);
    return v ? v->number != 0 : otherwise;
}
static const char *hf_config_text(hf_config_file f, const char *key, const char *otherwise) {
    const llm_json *v = hf_config_get(f, key, LLM_JSON_STRING);
    return v ? v->string : otherwise;
}
static const char hf_other_architecture[] = "a GPT-2, Llama, Mistral, Qwen2, Qwen3, SmolLM3, OLMo-2 or Phi-3 model";

LLM_NORETURN static void hf_config_refuse(hf_config_file f, const char *key, const char *value) {
    llm_die(hf_other_architecture, "%s: \"%s\": %s is not implemented", f.path, key, value);
}
/* Keys that change the arithmetic, and the values that we compute with (the first is the default). */
static void hf_config_expect(hf_config_file f) {
    static const struct { const char *key, *one, *other; } texts[] = {
        {"activation_function", "gelu_new", "gelu_pytorch_tanh"}, {"hidden_act", "silu", "swish"}};
    static const struct { const char *key; bool value; } flags[] = {
        {"scale_attn_weights", true}, {"scale_attn_by_inverse_layer_idx", false}, {"add_cross_attention", false}};
    for (int i = 0; i < 2; i++) {
        const char *text = hf_config_text(f, texts[i].key, texts[i].one);
        if (strcmp(text, texts[i].one) && strcmp(text, texts[i].other)) hf_config_refuse(f, texts[i].key, text);
    }
    for (int i = 0; i < 3; i++)
        if (hf_config_bool(f, flags[i].key, flags[i].value) != flags[i].value)
            hf_config_refuse(f, flags[i].key, flags[i].value ? "false" : "true");
    if (hf_config_get(f, "quantization_config", LLM_JSON_OBJECT))
        hf_config_refuse(f, "quantization_config", "a quantised model");
}
/* A token id, or the first of a list (Llama-3 ends an answer in three ways; the tokenizer knows them all); -1: none. */
static int hf_config_id(hf_config_file f, const char *key) {
    const llm_json *v = llm_json_get(f.json, key);
    bool list = v && v->type == LLM_JSON_ARRAY;
    int id = -1;
    for (const llm_json *c = list ? v->child : v; c; c = list ? c->next : NULL) {
        if (c->type == LLM_JSON_NULL || c->number == -1) continue;
        if (whole_number(c) < 0)
            llm_die("a token id or a list of them", "%s:%d: \"%s\" is no token id", f.path, c->line, key);
        if (id < 0) id = whole_number(c);
    }
    return id;
}
static void hf_config_gpt2(llm_config *c, hf_config_file f) {
    for (int i = 0; i < 5; i++) *(int *)((char *)c + gpt2_row[i].at) = hf_config_int(f, gpt2_row[i].key, NAN);
    c->KV = c->H;
    c->D = c->H && c->C % c->H == 0 ? c->C / c->H : 0;
    c->F = hf_config_int(f, "n_inner", 4.0 * c->C);
    c->eps = hf_config_number(f, "layer_norm_epsilon", 1e-5);
    c->tied = hf_config_bool(f, "tie_word_embeddings", true);
}
/* What a file that does not say it means, by family: key/value heads and the size of a head (0: as many as heads, C/H;
   so is null), the norms' epsilon, rope's theta, a head tied to the embedding. */
static const struct { int KV, D; double eps, theta; bool tied; } hf_defaults[LLM_PHI3 + 1] = {
    [LLM_LLAMA] = {0, 0, 1e-6, 1e4, false}, [LLM_QWEN2] = {32, 0, 1e-6, 1e4, false},
    [LLM_MISTRAL] = {8, 0, 1e-6, 1e4, false}, [LLM_QWEN3] = {32, 128, 1e-6, 1e4, false},
    [LLM_SMOLLM3] = {4, 0, 1e-6, 2e6, true}, [LLM_OLMO2] = {0, 0, 1e-5, 1e4, false},
    [LLM_PHI3] = {0, 0, 1e-5, 1e4, false}};
/* Not there, and not null either. */
static bool hf_config_silent(hf_config_file f, const char *key) { return !llm_json_get(f.json, key); }

/* The factor that yarn lengthens q and k by, as its authors chose it or as the file says. */
static double hf_config_length(hf_config_file r, double factor) {
    const double one = hf_config_number(r, "mscale", 0), all = hf_config_number(r, "mscale_all_dim", 0);
    const double grown = factor > 1 ? 0.1 * log(factor) : 0;
    return hf_config_number(r, "attention_factor", one && all ? (one * grown + 1) / (all * grown + 1) : grown + 1);
}
/* Old files: "rope_theta" and "rope_scaling": null or {"type" or "rope_type": ..}. New: all in "rope_parameters". */
static void hf_config_rope(llm_config *c, hf_config_file f) {
    static const char known[] = "|rope_theta|rope_type|type|factor|low_freq_factor|high_freq_factor|beta_fast|"
                                "beta_slow|attention_factor|mscale|mscale_all_dim|truncate|partial_rotary_factor|"
                                "original_max_position_embeddings|finetuned|";
    const char *key = llm_json_get(f.json, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    hf_config_file r = {hf_config_get(f, key, LLM_JSON_OBJECT), f.path};
    for (const llm_json *e = r.json ? r.json->child : NULL; e; e = e->next) {
        char *name = llm_format("|%s|", e->key);
        if (!strstr(known, name) && e->type != LLM_JSON_NULL) hf_config_refuse(f, key, e->key);
        llm_release(name);
    }
    c->rope_theta = hf_config_number(r, "rope_theta", hf_config_number(f, "rope_theta", hf_defaults[c->family].theta));
    if (hf_config_number(r, "partial_rotary_factor", hf_config_number(f, "partial_rotary_factor", 1)) != 1)
        hf_config_refuse(f, "partial_rotary_factor", "a value other than 1");
    const char *type = hf_config_text(r, "rope_type", hf_config_text(r, "type", "default"));
    int kind = LLM_ROPE_YARN;
    while (kind >= 0 && strcmp(rope_kinds[kind].type, type)) kind--;
    if (kind < 0 || (kind && c->family == LLM_PHI3)) hf_config_refuse(f, key, type);
    c->rope_scaling = kind;
    if (!kind) return;
    const int own = hf_config_int(r, "original_max_position_embeddings", c->T);
    c->rope_original = hf_config_int(f, "original_max_position_embeddings", own);
    c->rope_factor = hf_config_number(r, "factor", kind == LLM_ROPE_YARN ? (double)c->T / c->rope_original : NAN);
    if (kind == LLM_ROPE_LLAMA3) {
        c->rope_low = hf_config_number(r, "low_freq_factor", NAN);
        c->rope_high = hf_config_number(r, "high_freq_factor", NAN);
    } else if (kind == LLM_ROPE_YARN) {
        const double low = hf_config_number(r, "beta_slow", 0), high = hf_config_number(r, "beta_fast", 0);
        c->rope_low = low != 0 ? low : 1;
        c->rope_high = high != 0 ? high : 32;
        c->rope_length = hf_config_length(r, c->rope_factor);
        c->rope_truncate = hf_config_bool(r, "truncate", true);
    } else {
        c->rope_original = kind == LLM_ROPE_DYNAMIC ? c->T : 0;
        if (kind == LLM_ROPE_DYNAMIC) c->T = dynamic_context(c);
    }
}
/* SmolLM3's layers without rope: one in so many, or a list that says the same (0: it has none). */
static void hf_config_no_rope(llm_config *c, hf_config_file f) {
    const llm_json *list = hf_config_get(f, "no_rope_layers", LLM_JSON_ARRAY), *e = list ? list->child : NULL;
    int every = list ? 0 : hf_config_int(f, "no_rope_layer_interval", 4), l = 0;
    if (!list && !every) hf_config_refuse(f, "no_rope_layer_interval", "0");
    for (; e && l < c->L; e = e->next, l++) {
        if (!every && e->number == 0) every = l + 1;
        if ((e->number != 0) != (!every || (l + 1) % every != 0)) break;
    }
    if (list && l < c->L) hf_config_refuse(f, "no_rope_layers", "a list that is not every n-th layer of all");
    c->no_rope_every = every <= c->L ? every : 0;
}
/* Layers that look at the last `window` tokens alone. In a text no longer than that they are as all others: the context
   ends there. */
static void hf_config_window(llm_config *c, hf_config_file f) {
    const bool always = c->family == LLM_MISTRAL || c->family == LLM_PHI3;
    const llm_json *types = always ? NULL : hf_config_get(f, "layer_types", LLM_JSON_ARRAY);
    bool slides = always || (!types && (c->family == LLM_SMOLLM3 ? c->no_rope_every > 0 :
                                        hf_config_int(f, "max_window_layers", 28) < c->L));
    for (const llm_json *e = types ? types->child : NULL; e; e = e->next) {
        const char *type = e->type == LLM_JSON_STRING ? e->string : "(no text)";
        if (!strcmp(type, "sliding_attention")) slides = true;
        else if (strcmp(type, "full_attention")) hf_config_refuse(f, "layer_types", type);
    }
    const bool fixed = hf_config_silent(f, "sliding_window") && c->family != LLM_PHI3 && c->family != LLM_SMOLLM3;
    const int window = hf_config_int(f, "sliding_window", fixed ? 4096 : INT_MAX);
    if (!slides || (!always && !hf_config_bool(f, "use_sliding_window", false)) || window >= c->T) return;
    if (!window) hf_config_refuse(f, "sliding_window", "0");
    fprintf(stderr, "note: %s: context %d -> %d: sliding_window\n", f.path, c->T, window);
    c->T = window;
}
static bool hf_config_bias(hf_config_file f, const char *key, bool may, bool ignored) {
    const bool said = hf_config_bool(f, key, false);
    if (said && !may && !ignored) hf_config_refuse(f, key, "true");
    return said && may;
}
static void hf_config_llama(llm_config *c, hf_config_file f) {
    const family_row *family = &model_families[c->family];
    for (int i = 0; i < 6; i++) *(int *)((char *)c + llama_row[i].at) = hf_config_int(f, llama_row[i].key, NAN);
    const int KV = hf_defaults[c->family].KV, D = hf_defaults[c->family].D;
    c->KV = hf_config_int(f, "num_key_value_heads", KV && hf_config_silent(f, "num_key_value_heads") ? KV : c->H);
    c->D = hf_config_int(f, "head_dim", D && hf_config_silent(f, "head_dim") ? D : c->H ? c->C / c->H : 0);
    c->eps = hf_config_number(f, "rms_norm_eps", hf_defaults[c->family].eps);
    c->tied = hf_config_bool(f, "tie_word_embeddings", hf_defaults[c->family].tied);
    const bool bias = hf_config_bias(f, "attention_bias", family->attention_bias, c->family == LLM_QWEN2);
    if (family->attention_bias) c->qkv_bias = c->proj_bias = bias;
    c->mlp_bias = hf_config_bias(f, "mlp_bias", family->mlp_bias, false);
    hf_config_rope(c, f);
    if (c->family == LLM_SMOLLM3) hf_config_no_rope(c, f);
    if (c->family != LLM_LLAMA && c->family != LLM_OLMO2) hf_config_window(c, f);
}
/* A reward model is a "...ForSequenceClassification" with one label; how many there are is told by their names. */
static bool hf_config_score(hf_config_file f) {
    const llm_json *list = hf_config_get(f, "architectures", LLM_JSON_ARRAY);
    const llm_json *labels = hf_config_get(f, "id2label", LLM_JSON_OBJECT);
    const char *name = list && list->child && list->child->type == LLM_JSON_STRING ? list->child->string : "Model";
    if (path_ends_with(name, "LMHeadModel") || path_ends_with(name, "ForCausalLM") || path_ends_with(name, "Model"))
        return false;
    if (!path_ends_with(name, "ForSequenceClassification")) hf_config_refuse(f, "architectures", name);
    if (hf_config_number(f, "num_labels", labels ? (double)labels->length : 2) != 1)
        hf_config_refuse(f, "id2label", "a classifier with other than 1 label");
    return true;
}
static llm_config hf_folder_config(const hf_folder *folder) {
    char *path = llm_format("%s/config.json", folder->path);
    llm_json *root = hf_folder_json(folder, "config.json");
    if (!root) llm_die("the folder of a Hugging Face model, or of one of our stages, or a .gguf file",
                       "%s does not exist", path);
    hf_config_file f = {root, path};
    const char *type = hf_config_text(f, "model_type", "(missing)");
    llm_config c = config_parts(type);
    if (strcmp(model_families[c.family].type, type)) hf_config_refuse(f, "model_type", type);
    hf_config_expect(f);
    if (gpt2_names(&c)) hf_config_gpt2(&c, f);
    else hf_config_llama(&c, f);
    c.score = hf_config_score(f);
    c.bos = hf_config_id(f, "bos_token_id");
    c.eos = hf_config_id(f, "eos_token_id");
    c.pad = hf_config_id(f, "pad_token_id");
    llm_config_check(&c, path);
    llm_json_free(root);
    llm_release(path);
    return c;
}
llm_config hf_config_load(const char *dir) {
    hf_folder f = hf_folder_open(dir);
    llm_config c = hf_folder_config(&f);
    hf_folder_close(&f);
    return c;
}
/* Constants that old releases saved beside the weights (causal mask, rope frequencies); the head of a tied model. */
static bool hf_ignored(const char *name, bool tied) {
    return path_ends_with(name, ".attn.bias") || path_ends_with(name, ".attn.masked_bias") ||
           path_ends_with(name, ".rotary_emb.inv_freq") || (tied && !strcmp(name, "lm_head.weight"));
}
/* The names as our table has them: the original GPT-2 files lack "transformer.", others "model.". */
static void hf_rename(hf_safetensors *s, const llm_config *c) {
    const char *prefix = gpt2_names(c) ? "transformer." : "model.";
    int kept = 0;
    for (int i = 0; i < s->count; i++) {
        hf_tensor_info t = s->tensor[i];
        bool whole = !strncmp(t.name, prefix, strlen(prefix)) || !strncmp(t.name, "lm_head.", 8) ||
                     !strncmp(t.name, "score.", 6);
        char *name = llm_format("%s%s", whole ? "" : prefix, t.name);
        llm_release(t.name);
        t.name = name;
        if (hf_ignored(name, c->tied)) llm_release(name);
        else s->tensor[kept++] = t;
    }
    s->count = kept;
    hf_tensors_sort(s);
}
static void hf_check_shape(const hf_safetensors *s, const hf_tensor_info *t, const llm_param *p) {
    file_tensor *want = stored_rows(p, 1, t->dtype);
    if (t->dims != want->dims || memcmp(t->shape, want->shape, (size_t)t->dims * sizeof *t->shape))
        llm_die(hf_other_folder, "%s: tensor \"%s\" has the shape %s, but config.json makes it %s", s->path[t->file],
                t->name, shape_text(t->dims, t->shape), shape_text(want->dims, want->shape));
    llm_release(want);
    if (!s->gguf && !widen(NULL, NULL, t->dtype, 0))
        llm_die("convert it to BF16 or F32", "%s: tensor \"%s\" is stored as %s, which is not read", s->path[t->file],
                t->name, t->dtype);
}
static void hf_load_tensor(const hf_safetensors *s, const hf_tensor_info *t, const llm_param *p, const llm_ops *op) {
    if (s->gguf) gguf_load(s->gguf, t, p, op);
    else param_load(p, s->path[t->file], hf_place(s, t), t->dtype, op);
}
/* Are the tensors those that config.json promises, no more and no other shape? Asked before memory is taken for them:
   its sizes are somebody's claim. */
static void hf_check_tensors(const hf_safetensors *s, const llm_config *c, const char *dir) {
    llm_model m = table_only(c);
    bool *known = llm_alloc((size_t)s->count, sizeof *known);
    for (int i = 0; i < m.params; i++) {
        const hf_tensor_info *t = hf_safetensors_find(s, m.param[i].name);
        if (!t) llm_die(hf_other_folder, "%s: no tensor \"%s\", but config.json asks for it", dir, m.param[i].name);
        hf_check_shape(s, t, &m.param[i]);
        known[t - s->tensor] = true;
    }
    for (int i = 0; i < s->count; i++)
        if (!known[i])
            llm_die(hf_other_architecture, "%s: unexpected tensor \"%s\": the model has a part that we do not compute",
                    s->path[s->tensor[i].file], s->tensor[i].name);
    llm_release_all(known, m.layer, m.param);
}
/* A folder of adapters alone names its base: load that, and hang them on it. NULL: it is another kind of folder. */
static char *hf_adapter_base(const char *dir) {
    if (llm_result_exists(dir) || !folder_holds(dir, "adapter_config.json")) return NULL;
    char *path = llm_format("%s/adapter_config.json", dir);
    llm_json *root = llm_json_file(path);
    const char *base = llm_json_text(root, "base_model_name_or_path", NULL);
    if (!base || !(llm_result_exists(base) || gguf_is(base)))   /* adapters on adapters could go round in a circle */
        llm_die("load the base model, or let that key name its folder",
                "%s: \"base_model_name_or_path\": %s is no folder here that holds a model, nor a .gguf file", path,
                base ? base : "null");
    char *found = copy_text(base, strlen(base));
    llm_json_free(root);
    llm_release(path);
    return found;
}
void hf_fit(llm_tokenizer *t, int V) {
    if (V >= t->vocab_size) return;
    if (t->vocab_size != V + 1 || t->pad != V)
        llm_die("the folder's own tokenizer", "the tokenizer has %d tokens, the model %d", t->vocab_size, V);
    fprintf(stderr, "note: the padding \"%s\" is token %d, which the model does not have: rows are filled with token "
            "0, which nothing reads there\n", t->token[V], V);
    t->vocab_size = V;
    t->pad = -1;
    hf_added *added = t->tables->added;                         /* nor does text spell it */
    for (int k = 0; added && k < 2; k++) {
        hf_added_list *l = &added->list[k];
        size_t kept = 0;
        for (size_t i = 0; i < l->count; i++)
            if (l->token[i].id < V) l->token[kept++] = l->token[i];
        l->count = kept;
    }
}
/* Do two tensors of a folder hold the same? */
static bool hf_same_tensor(const hf_safetensors *s, const hf_tensor_info *a, const hf_tensor_info *b) {
    enum { PIECE = 1 << 16 };
    const hf_tensor_info *t[2] = {a, b};
    size_t left = a->end - a->begin;
    bool same = left == b->end - b->begin && !strcmp(a->dtype, b->dtype);
    FILE *f[2];
    char *piece[2];
    for (int i = 0; i < 2; i++) {
        const char *path = s->path[t[i]->file];
        f[i] = fopen(path, "rb");
        if (!f[i] || fseeko(f[i], (off_t)hf_place(s, t[i]), SEEK_SET))
            llm_die("check the disk", "cannot read %s: %s", path, strerror(errno));
        piece[i] = llm_alloc(PIECE, 1);
    }
    for (size_t n; same && left; left -= n) {
        n = size_min(left, PIECE);
        same = fread(piece[0], 1, n, f[0]) == n && fread(piece[1], 1, n, f[1]) == n && !memcmp(piece[0], piece[1], n);
    }
    for (int i = 0; i < 2; i++) fclose(f[i]);
    llm_release_all(piece[0], piece[1]);
    return same;
}
/* A model whose head is tied to its embedding may be saved under either name; where a folder has both and they differ,
   config.json is wrong (a head that was trained alone, say), and both are read, as transformers does from 5.0 on. */
static void hf_tie(const hf_safetensors *s, llm_config *c, const char *dir) {
    const char *name = gpt2_names(c) ? "transformer.wte.weight" : "model.embed_tokens.weight";
    const hf_tensor_info *head = hf_safetensors_find(s, "lm_head.weight"), *bare, *embedding;
    if (!c->tied || c->score || !head) return;
    embedding = hf_safetensors_find(s, name);
    bare = hf_safetensors_find(s, strchr(name, '.') + 1);
    if (!embedding) embedding = bare;
    if (!embedding) {
        hf_tensor_info *only = &s->tensor[head - s->tensor];
        llm_release(only->name);
        only->name = copy_text(name, strlen(name));             /* hf_rename sorts */
    } else if (!hf_same_tensor(s, embedding, head)) {
        c->tied = false;
        fprintf(stderr, "note: %s: lm_head.weight differs from the embedding, although config.json ties them: both are "
                "read\n", dir);
    }
}
/* The tensors under the names that our table has for them. */
static void hf_tensors_of(const hf_folder *f, llm_config *c, hf_safetensors *s) {
    if (f->gguf) {
        gguf_tensors(f->gguf, c, s);
        return;
    }
    hf_safetensors_open(s, f->path);
    /* A reward model has no head over the vocabulary, and nobody asks it for words. */
    if (c->score && !hf_safetensors_find(s, "lm_head.weight")) c->tied = true;
    hf_tie(s, c, f->path);
    hf_rename(s, c);
}
void hf_model_load(llm_model *m, const char *dir, const llm_ops *ops) { hf_model_load_as(m, dir, ops, LLM_TYPE_REAL); }
void hf_model_load_as(llm_model *m, const char *dir, const llm_ops *ops, llm_type weights) {
    char *base = hf_adapter_base(dir);
    if (base) {
        hf_model_load_as(m, base, ops, weights);
        hf_lora_load(m, dir);
    } else {
        hf_folder f = hf_folder_open(dir);
        llm_config c = hf_folder_config(&f);
        hf_safetensors s;
        hf_tensors_of(&f, &c, &s);
        hf_check_tensors(&s, &c, dir);
        model_allocate(m, &c, ops, weights);
        for (int i = 0; i < m->params; i++)
            hf_load_tensor(&s, hf_safetensors_find(&s, m->param[i].name), &m->param[i], ops);
        if (s.gguf) gguf_tell_rounded(&s, m);
        llm_weights_changed(m);
        hf_safetensors_close(&s);
        hf_folder_close(&f);
    }
    llm_release(base);
}

/* ---- adapters: the folder of Hugging Face's PEFT ----

       adapter_config.json          r, lora_alpha, target_modules, the base model ...
       adapter_model.safetensors    base_model.model.<module>.lora_A.weight (r,I) and .lora_B.weight (O,r)

   GPT-2's matrices lie transposed in its files (chapter 5); fan_in_fan_out tells PEFT so. A and B do not. */

static void hf_adapter_write(llm_writer *w, const llm_model *m) {
    const llm_lora *x = m->lora;
    char *names = llm_lora_modules(m, true, "\", \"");
    llm_write_text(w, "{\n  \"peft_type\": \"LORA\",\n  \"task_type\": \"CAUSAL_LM\",\n"
                   "  \"base_model_name_or_path\": ");
    if (x->base) llm_write_json_string(w, x->base, strlen(x->base));
    else llm_write_text(w, "null");
    llm_write_text(w, ",\n  \"r\": %d,\n", x->rank);
    write_number(w, "lora_alpha", x->alpha);
    llm_write_text(w, "  \"target_modules\": [\"%s\"],\n  \"fan_in_fan_out\": %s,\n", names,
                   gpt2_names(&m->c) ? "true" : "false");
    llm_write_text(w, "  \"use_rslora\": %s,\n", x->scale == x->alpha / x->rank ? "false" : "true");
    llm_write_text(w, "  \"lora_dropout\": 0.0,\n  \"bias\": \"none\",\n  \"use_dora\": false,\n"
                   "  \"init_lora_weights\": true,\n"
                   "  \"inference_mode\": true,\n  \"modules_to_save\": null\n}\n");
    llm_release(names);
}
void hf_lora_save(const llm_model *m, const char *dir) {
    const llm_lora *x = m->lora;
    if (!x) llm_die("llm_lora_attach", "a model without adapters has none to save in %s", dir);
    llm_make_dirs(dir);
    table_save(m->ops, x->param, x->params, dir, "adapter_model.safetensors", real_dtype());
    llm_writer w = begin_in(dir, "adapter_config.json");
    hf_adapter_write(&w, m);
    llm_write_done(&w);                 /* last: a folder with it is whole */
}
/* What changes the arithmetic and is not computed here is refused by its key. */
static void hf_adapter_refuse(hf_config_file f) {
    static const char other[] = "an adapter of plain LoRA";
    static const char *const flag[] = {"use_dora", "lora_bias", "use_qalora"};
    static const char *const table[] = {"rank_pattern", "alpha_pattern"};
    static const char *const absent[] = {"modules_to_save", "layer_replication", "trainable_token_indices",
                                         "target_parameters", "use_bdlora", "kasa_config"};
    const char *type = hf_config_text(f, "peft_type", "(missing)"), *bias = hf_config_text(f, "bias", "none");
    if (strcmp(type, "LORA")) llm_die(other, "%s: \"peft_type\": %s is not implemented", f.path, type);
    if (strcmp(bias, "none")) llm_die(other, "%s: \"bias\": %s is not implemented", f.path, bias);
    for (int i = 0; i < 3; i++)
        if (hf_config_bool(f, flag[i], false)) llm_die(other, "%s: \"%s\": true is not implemented", f.path, flag[i]);
    for (int i = 0; i < 2; i++) {
        const llm_json *v = hf_config_get(f, table[i], LLM_JSON_OBJECT);
        if (v && v->length) llm_die(other, "%s: \"%s\": ranks by module are not implemented", f.path, table[i]);
    }
    for (int i = 0; i < 6; i++) {
        const llm_json *v = llm_json_get(f.json, absent[i]);
        if (v && v->type != LLM_JSON_NULL && (v->length || v->number != 0))
            llm_die(other, "%s: \"%s\" is not implemented", f.path, absent[i]);
    }
}
static void hf_adapter_read(llm_model *m, hf_config_file f, const char *dir) {
    char *weights = llm_format("%s/adapter_model.safetensors", dir), name[96];
    int rank = hf_config_int(f, "r", NAN), found = 0;
    double alpha = hf_config_number(f, "lora_alpha", NAN);
    if (rank < 1 || rank > 1 << 16) llm_die("an adapter of plain LoRA", "%s: \"r\": impossible rank %d", f.path, rank);
    hf_safetensors s;
    hf_safetensors_open(&s, weights);
    bool *wanted = llm_alloc((size_t)m->params, sizeof *wanted);
    for (int i = 0; i < m->params; i++) {       /* the tensors tell where; target_modules may be a pattern */
        if (!adaptable(&m->param[i])) continue;
        adapter_name(&m->param[i], 'A', name);
        const hf_tensor_info *a = hf_safetensors_find(&s, name);
        if (a && a->shape[0] != (size_t)rank)           /* before memory is asked for */
            llm_die("files of one adapter", "%s: tensor \"%s\" is not of rank %d, as %s says", weights, name, rank,
                    f.path);
        wanted[i] = a != NULL;
        found += wanted[i];
    }
    if (!found || s.count != 2 * found)
        llm_die("the base model that the adapter was trained on", "%s: %d of its %d tensors belong to this model",
                weights, 2 * found, s.count);
    double scale = hf_config_bool(f, "use_rslora", false) ? alpha / sqrt(rank) : alpha / rank;
    lora_allocate(m, rank, alpha, scale, wanted, hf_config_text(f, "base_model_name_or_path", NULL));
    for (int i = 0; i < m->lora->params; i++) {
        const llm_param *p = &m->lora->param[i];
        const hf_tensor_info *t = hf_safetensors_find(&s, p->name);
        if (!t) llm_die("the whole folder", "%s: no tensor \"%s\"", weights, p->name);
        hf_check_shape(&s, t, p);
        hf_load_tensor(&s, t, p, m->ops);
    }
    hf_safetensors_close(&s);
    llm_release(wanted);
    llm_release(weights);
}
void hf_lora_load(llm_model *m, const char *dir) {
    char *path = llm_format("%s/adapter_config.json", dir);
    llm_json *root = llm_json_file(path);
    hf_config_file f = {root, path};
    hf_adapter_refuse(f);
    hf_adapter_read(m, f, dir);
    llm_json_free(root);
    llm_release(path);
}

#endif /* LLM_IMPLEMENTATION */
#endif
