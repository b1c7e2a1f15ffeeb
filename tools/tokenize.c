/* tokenize.c: what a model reads of a text: its pieces, their ids, how many, and whether they make the same text again.

       build/tokenize --text "Hello world"         by the tokenizer of the newest model in out/
       build/tokenize --model DIR --file book.txt --no-pieces --no-ids
       echo "<|im_end|>" | build/tokenize --parse-special

   On a terminal every piece has a colour, special tokens are inverse; through a pipe they stand in brackets, [piece]
   and [[special]]. Newlines and other control characters are shown as pictures of themselves, and a byte that is only
   a part of a character as <C3>. Ends with 1 where the ids do not give the same text. */

#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "hf.h"
#include "run.h"
#include "colour.h"
#include "newest.h"

typedef struct {
    const char *model, *text, *file;
    bool parse_special, pieces, ids;
} settings;

/* ---- the text ---- */

static char *read_stdin(size_t *size) {
    char *text = NULL;
    size_t room = 0, n = 1;
    if (isatty(STDIN_FILENO)) fputs("a text, then Ctrl-D:\n", stderr);
    for (*size = 0; n; *size += n) {
        text = llm_grow(text, &room, *size + 4096, 1);
        n = fread(text + *size, 1, 4096, stdin);
    }
    if (ferror(stdin)) llm_die("--file FILE", "cannot read the standard input");
    return text;
}
static char *read_text(const settings *s, size_t *size) {
    if (s->file) return llm_read_file(s->file, size);
    if (!s->text) return read_stdin(size);
    *size = strlen(s->text);
    return llm_format("%s", s->text);
}
static size_t count_characters(const char *text, size_t size) {
    size_t count = 0;
    uint32_t code;
    for (size_t at = 0; at < size; count++) at += (size_t)llm_utf8_get(text + at, size - at, &code);
    return count;
}

/* ---- the pieces ---- */

/* A stretch of bytes; where it ends within a line. */
static void put_bytes(const char *text, size_t size, FILE *out) {
    for (size_t at = 0, n; at < size; at += n) {
        uint32_t code;
        n = (size_t)llm_utf8_get(text + at, size - at, &code);
        if (code == UINT32_MAX) fprintf(out, "<%02X>", (unsigned char)text[at]);
        else if (code < 32) fprintf(out, "\xE2\x90%c", (char)(0x80 + code));
        else fwrite(text + at, 1, n, out);
    }
}
/* Neighbours differ in colour; behind a newline the next line begins. */
static void put_piece(const llm_tokenizer *t, int id, size_t index, FILE *out) {
    static const char *const colour[] = {"30;48;5;153", "30;48;5;193", "30;48;5;223", "30;48;5;183", "30;48;5;159"};
    const bool special = t->special[id], on = colour_on(out);
    const char *piece = t->token[id];
    const size_t n = (size_t)t->length[id];
    colour_set(out, special ? "1;7" : colour[index % (sizeof colour / sizeof *colour)]);
    if (!on) fputs(special ? "[[" : "[", out);
    put_bytes(piece, n, out);
    if (!on) fputs(special ? "]]" : "]", out);
    colour_set(out, NULL);
    if (n && piece[n - 1] == '\n') fputc('\n', out);
}
static void say_pieces(const llm_tokenizer *t, const int *ids, size_t count, FILE *out) {
    for (size_t i = 0; i < count; i++) put_piece(t, ids[i], i, out);
    const int last = ids[count - 1];
    if (!t->length[last] || t->token[last][t->length[last] - 1] != '\n') fputc('\n', out);
}
static void say_ids(const int *ids, size_t count, FILE *out) {
    fprintf(out, "ids:");
    for (size_t i = 0; i < count; i++) fprintf(out, " %d", ids[i]);
    fprintf(out, "\n");
}
static void say_counts(const llm_tokenizer *t, const int *ids, size_t count, const char *text, size_t size, FILE *out) {
    const size_t characters = count_characters(text, size);
    size_t special = 0;
    for (size_t i = 0; i < count; i++) special += t->special[ids[i]];
    fprintf(out, "%zu token%s (%zu special), %zu bytes, %zu characters", count, count == 1 ? "" : "s", special, size,
            characters);
    if (count)
        fprintf(out, ": %.2f bytes, %.2f characters a token", (double)size / (double)count,
                (double)characters / (double)count);
    fprintf(out, "\n");
}
/* Do the ids spell the text? */
static bool say_round_trip(const llm_tokenizer *t, const int *ids, size_t count, const char *text, size_t size,
                           FILE *out) {
    enum { AROUND = 16 };
    size_t back, at = 0;
    char *again = llm_decode(t, ids, count, true, &back);
    while (at < size && at < back && text[at] == again[at]) at++;
    const bool same = at == size && at == back;
    fprintf(out, "round trip: %s", same ? "the same text\n" : "");
    if (!same) {
        size_t normal = size;
        char *nfc = hf_wants_nfc(t) ? nfc_text(text, &normal, NULL) : NULL;
        if (nfc && normal == back && !memcmp(nfc, again, back)) fprintf(out, "the text in Unicode's NFC, ");
        llm_release(nfc);
        fprintf(out, "another text from byte %zu on: \"", at);
        put_bytes(text + at, (size_t)llm_min(AROUND, (int64_t)(size - at)), out);
        fprintf(out, "\" became \"");
        put_bytes(again + at, (size_t)llm_min(AROUND, (int64_t)(back - at)), out);
        fprintf(out, "\"\n");
    }
    llm_release(again);
    return same;
}
/* Which tokenizer it is, and its special tokens. */
static void say_tokenizer(const llm_tokenizer *t, const char *dir, FILE *out) {
    int specials = 0;
    fprintf(out, "tokenizer: %s, %d tokens; special:", dir, t->vocab_size);
    for (int i = 0; i < t->vocab_size; i++) {
        if (!t->special[i] || ++specials > 16) continue;
        fprintf(out, " ");
        put_bytes(t->token[i], (size_t)t->length[i], out);
        fprintf(out, " %d", i);
    }
    if (specials > 16) fprintf(out, " and %d more", specials - 16);
    fprintf(out, specials ? "\n" : " none\n");
}

/* ---- the program ---- */

static void parse(settings *s, int argc, char **argv) {
    const llm_option table[] = {
        {"model", LLM_TEXT, &s->model, 0, 0,
         "folder with a tokenizer.json, or that file; none: the newest model in out/", NULL, "m"},
        {"text", LLM_TEXT, &s->text, 0, 0, "the text; none: --file, or the standard input", NULL, "t"},
        {"file", LLM_TEXT, &s->file, 0, 0, "a file with the text", NULL, "f"},
        OPTION("parse-special", LLM_BOOL, &s->parse_special, 0, 0, "special tokens that the text spells get their ids"),
        OPTION("pieces", LLM_BOOL, &s->pieces, 0, 0, "show the text in pieces"),
        OPTION("ids", LLM_BOOL, &s->ids, 0, 0, "list the ids")};
    llm_options_parse(table, sizeof table / sizeof *table, "what a model reads of a text", argc, argv);
    llm_options_idle("file", s->text, "--text is the text");
}
/* The newest model that answers, else the base model. */
static const char *choose_tokenizer(const char *asked) {
    int count;
    if (asked) return asked;
    const char *newest = newest_model(&count);
    if (!newest && llm_exists("out/base/tokenizer.json")) newest = "out/base";
    if (!newest) llm_usage("--model DIR; or ./train_gpt, which makes out/base", "there is no tokenizer in out/");
    return newest;
}
int main(int argc, char **argv) {
    settings s = {.pieces = true, .ids = true};
    parse(&s, argc, argv);
    const char *dir = choose_tokenizer(s.model);
    llm_tokenizer t;
    hf_tokenizer_load(&t, dir);
    say_tokenizer(&t, dir, stderr);
    size_t size;
    char *text = read_text(&s, &size);
    int *ids = llm_alloc(t.room(text, size), sizeof *ids);
    const size_t count = s.parse_special ? hf_encode(&t, text, size, LLM_TEXT_BEGINS, true, NULL, ids, NULL)
                                         : llm_encode(&t, text, size, ids);
    hf_say_unspelled(&t);
    if (!s.parse_special && hf_spells_special(&t, text, size))
        fprintf(stderr, "note: the text spells special tokens; --parse-special gives them their ids\n");
    if (s.pieces && count) say_pieces(&t, ids, count, stdout);
    if (s.ids) say_ids(ids, count, stdout);
    say_counts(&t, ids, count, text, size, stdout);
    const bool same = say_round_trip(&t, ids, count, text, size, stdout);
    llm_release_all(text, ids);
    llm_tokenizer_free(&t);
    return !same;
}
