/*
 * tinyworld_files.h - the second half of tinyworld.h: preferences, and the files of the tiny world.
 *
 * Include tinyworld.h, then this, then tinyworld_personas.h. README.md in this folder shows one line of every file.
 */
#ifndef TINYWORLD_FILES_H
#define TINYWORLD_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* =====================================================================================================================
 * 8. Preferences: K responses to one prompt, ranked by a labeller who is sometimes wrong
 *
 * The labeller sorts by R*, but with probability `flip` holds the sheet upside down: the whole order is reversed. So
 * EVERY pair is flipped with exactly that probability while the ranking stays an order, and the ceiling of a reward
 * model's pair accuracy on such data is 1 - flip. Equal rewards share a rank ("="); losses leave those pairs out.
 * ================================================================================================================== */
TW_FN int tw_rank(const double *reward, int K, double flip, tw_rng *g, int *rank) // 1 = best; returns 1 if reversed
{
    const int flipped = tw_chance(g, flip);
    for (int i = 0; i < K; i++) {
        rank[i] = 1; // plus one for every different reward that is better
        for (int j = 0; j < K; j++) {
            int first = 1;
            for (int k = 0; k < j; k++) first &= fabs(reward[k] - reward[j]) > 1e-9;
            rank[i] += first && (flipped ? reward[i] - reward[j] : reward[j] - reward[i]) > 1e-9;
        }
    }
    return flipped;
}

/* =====================================================================================================================
 * 9. Files
 *
 * Every file is built in memory, written to NAME.tmp, flushed to the disk and renamed: it is complete or absent.
 * world.json is removed first and written last, so a folder that has it is complete. Numbers are printed from integers,
 * because printf("%f") asks the locale for its decimal point: the bytes depend on the seed alone.
 * ================================================================================================================== */
enum { TW_VAL_DOCUMENTS = 1000, TW_SFT_TRAIN = 12000, TW_SFT_TEST = 900, TW_PROMPTS = 800 };
enum { TW_ROW_BYTES = 155, TW_TURN_BYTES = 12 }; // a conversation's text plus 12 a turn: the row fits 128 tokens

typedef struct {
    char *p; // always ends in a 0
    size_t n, cap;
} tw_text;

TW_FN void tw_put(tw_text *b, const char *s)
{
    const size_t n = strlen(s);
    if (b->n + n + 1 > b->cap) {
        b->cap = 2 * (b->n + n + 1);
        b->p = realloc(b->p, b->cap);
        if (!b->p) {
            fprintf(stderr, "error: out of memory while writing the tiny world (%zu bytes): free some\n", b->cap);
            exit(1);
        }
    }
    memcpy(b->p + b->n, s, n + 1);
    b->n += n;
}

TW_FN void tw_put_fixed(tw_text *b, double x, int decimals) // like %.*f
{
    char s[48];
    long long scale = 1, v;
    for (int i = 0; i < decimals; i++) scale *= 10;
    v = llround(fabs(x) * (double)scale);
    snprintf(s, sizeof s, "%s%lld", x < 0 ? "-" : "", v / scale);
    tw_put(b, s);
    if (decimals) snprintf(s, sizeof s, ".%0*lld", decimals, v % scale), tw_put(b, s);
}

// A JSON string. Bytes that are not UTF-8 (a model may say anything) become U+FFFD.
TW_FN void tw_put_string(tw_text *b, const char *s)
{
    char c[8];
    tw_put(b, "\"");
    while (*s) {
        const size_t n = tw_utf8(s);
        if (!n) snprintf(c, sizeof c, "\xEF\xBF\xBD");
        else if (*s == '"' || *s == '\\') snprintf(c, sizeof c, "\\%c", *s);
        else if (*s == '\n') snprintf(c, sizeof c, "\\n");
        else if ((unsigned char)*s < 0x20) snprintf(c, sizeof c, "\\u%04x", (unsigned)*s);
        else snprintf(c, sizeof c, "%.*s", (int)n, s);
        tw_put(b, c);
        s += n ? n : 1;
    }
    tw_put(b, "\"");
}

TW_FN void tw_put_key(tw_text *b, const char *key) // , "key":   (without the comma after an opening brace)
{
    if (b->n && b->p[b->n - 1] != '{') tw_put(b, ", ");
    tw_put_string(b, key);
    tw_put(b, ": ");
}

TW_FN void tw_put_field(tw_text *b, const char *key, const char *value)
{
    tw_put_key(b, key);
    tw_put_string(b, value);
}

TW_FN void tw_put_number(tw_text *b, const char *key, double value, int decimals)
{
    tw_put_key(b, key);
    tw_put_fixed(b, value, decimals);
}

// One line of preference data: {"prompt", "responses": [K], "rank": [K], "label": [K]}. The label is a thumb up or
// down, R* >= 2, with the same noise: for losses that need no pairs (KTO).
TW_FN void tw_put_ranked(tw_text *b, const char *prompt, const char *const *responses, const double *reward, int K,
                         double flip, tw_rng *g)
{
    int *rank = malloc((size_t)K * sizeof *rank);
    if (!rank) {
        fprintf(stderr, "error: out of memory for %d ranks: rank fewer responses\n", K);
        exit(1);
    }
    tw_rank(reward, K, flip, g, rank);
    tw_put(b, "{");
    tw_put_field(b, "prompt", prompt);
    for (int field = 0; field < 3; field++) {
        tw_put_key(b, field == 0 ? "responses" : field == 1 ? "rank" : "label");
        for (int i = 0; i < K; i++) {
            tw_put(b, i ? ", " : "[");
            if (field == 0) tw_put_string(b, responses[i]);
            else if (field == 1) tw_put_fixed(b, rank[i], 0);
            else tw_put(b, (reward[i] > 2 - 1e-9) != tw_chance(g, flip) ? "true" : "false");
        }
        tw_put(b, "]");
    }
    tw_put(b, "}\n");
    free(rank);
}

TW_FN int tw_mkdir(const char *path) // with its parents; 0 if it is there now
{
    char part[1024];
    const size_t n = strlen(path);
    if (!n || n >= sizeof part) return errno = ENAMETOOLONG, -1;
    for (size_t i = 1; i <= n; i++) {
        if (path[i] && path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) && errno != EEXIST) return -1;
    }
    struct stat st;
    if (stat(path, &st)) return -1;
    return S_ISDIR(st.st_mode) ? 0 : (errno = ENOTDIR, -1);
}

TW_FN int tw_path(const char *dir, const char *name, char out[1200]) // 0, or -1 if that is no usable path
{
    if (!*dir || strlen(dir) > 1000 || strlen(name) > 100) return errno = *dir ? ENAMETOOLONG : ENOENT, -1;
    snprintf(out, 1200, "%.1000s/%.100s", dir, name);
    return 0;
}

// Writes dir/name, complete or not at all, and empties the buffer. On failure one line on stderr and -1.
TW_FN int tw_save(const char *dir, const char *name, tw_text *b)
{
    char path[1200], tmp[1216], parent[1200];
    FILE *f = NULL;
    int error = tw_path(dir, name, path) ? errno : 0;
    if (!error) {
        snprintf(tmp, sizeof tmp, "%s.tmp", path);
        snprintf(parent, sizeof parent, "%s", path);
        *strrchr(parent, '/') = 0;
        if (tw_mkdir(parent) || !(f = fopen(tmp, "wb"))) error = errno;
    }
    if (f && (fwrite(b->n ? b->p : "", 1, b->n, f) != b->n || fflush(f) || fsync(fileno(f)))) error = errno;
    if (f && fclose(f) && !error) error = errno;
    if (!error && rename(tmp, path)) error = errno;
    const int fd = error ? -1 : open(parent, O_RDONLY); // the new name is safe when the folder is flushed, too
    if (fd >= 0) (void)fsync(fd), close(fd);
    if (error) fprintf(stderr, "error: cannot write %s in '%.1000s': %s: make room or use another folder\n", name, dir,
                       strerror(error));
    if (error && f) remove(tmp);
    free(b->p);
    *b = (tw_text){NULL, 0, 0};
    return error ? -1 : 0;
}

// ---- pretraining text ---------------------------------------------------------------------------------------------

// Documents hold no line end; a blank line separates them. Returns the text's bits (mixture not counted).
TW_FN double tw_source_text(const tw_world *w, uint64_t seed, int source, tw_text *b)
{
    tw_rng g = tw_seed(seed, 10 + (uint64_t)source);
    char text[TW_TEXT];
    for (int i = 0; i < tw_documents[source]; i++) {
        tw_document(w, &g, source, text);
        tw_put(b, text);
        tw_put(b, "\n\n");
    }
    return g.bits;
}

// The validation text: sources drawn by the mixture, as the trainer's stream is. *bits is its exact surprise for a
// reader who knows world and mixture (*mixture of it for "which source is next"); bits / bytes is the floor of bits per
// byte. The end of a document costs nothing: no document is the beginning of another. Separators are not counted.
TW_FN size_t tw_val_text(const tw_world *w, uint64_t seed, tw_text *b, double *bits, double *mixture)
{
    tw_rng g = tw_seed(seed, 20);
    char text[TW_TEXT];
    size_t bytes = 0;
    *mixture = 0;
    for (int i = 0; i < TW_VAL_DOCUMENTS; i++) {
        const double before = g.bits;
        const int source = tw_draw_source(&g);
        *mixture += g.bits - before;
        tw_document(w, &g, source, text);
        bytes += strlen(text);
        tw_put(b, text);
        tw_put(b, "\n\n");
    }
    *bits = g.bits;
    return bytes;
}

TW_FN int tw_write_pretrain(const tw_world *w, uint64_t seed, const char *dir)
{
    tw_text b = {NULL, 0, 0}, mix = {NULL, 0, 0};
    int fail = 0;
    tw_put(&mix, "{");
    tw_put_field(&mix, "unit", "document"); // the proportion is the chance that the next DOCUMENT is from this file
    tw_put_key(&mix, "sources");
    for (int s = 0; s < TW_SOURCES && !fail; s++) {
        char file[64];
        const double bits = tw_source_text(w, seed, s, &b), bytes = (double)b.n - 2.0 * tw_documents[s];
        snprintf(file, sizeof file, "pretrain/%s.txt", tw_source_name[s]);
        tw_put(&mix, s ? ",\n  {" : "[\n  {");
        tw_put_field(&mix, "name", tw_source_name[s]);
        tw_put_field(&mix, "file", file);
        tw_put_number(&mix, "proportion", tw_percent[s] / 100.0, 2);
        tw_put_number(&mix, "documents", tw_documents[s], 0);
        tw_put_number(&mix, "bytes", bytes, 0);
        tw_put_number(&mix, "floor_bits_per_byte", bits / bytes, 6);
        tw_put(&mix, "}");
        fail = tw_save(dir, file, &b);
    }
    tw_put(&mix, "\n],\n\"validation\": \"val/val.txt\"}\n");
    if (fail) return free(mix.p), -1;
    if (tw_save(dir, "mixture.json", &mix)) return -1;

    double bits, mixture;
    const double bytes = (double)tw_val_text(w, seed, &b, &bits, &mixture);
    tw_put(&mix, "{");
    tw_put_number(&mix, "floor_bits_per_byte", bits / bytes, 6);
    tw_put_number(&mix, "val_documents", TW_VAL_DOCUMENTS, 0);
    tw_put_number(&mix, "val_bytes", bytes, 0);
    tw_put_number(&mix, "val_bits", bits, 3);
    tw_put_number(&mix, "mixture_bits", mixture, 3);
    tw_put(&mix, "}\n");
    if (tw_save(dir, "val/val.txt", &b)) return free(mix.p), -1;
    return tw_save(dir, "floor.json", &mix);
}

// ---- instructions -------------------------------------------------------------------------------------------------

// {"instruction", "input", ...}: output if given; kind and gold if asked for
TW_FN void tw_put_task(tw_text *b, const tw_task *t, const char *output, int gold)
{
    tw_put(b, "{");
    if (gold) tw_put_field(b, "kind", tw_kind_name[t->kind]);
    tw_put_field(b, "instruction", t->instruction);
    tw_put_field(b, "input", t->input);
    if (output) tw_put_field(b, "output", output);
    if (gold) tw_put_field(b, "gold", t->gold);
    tw_put(b, "}\n");
}

// A prompt that was not drawn before, as long as there are any of its kind: then all of them come round again.
typedef struct {
    uint32_t hash[TW_SFT_TEST];
    int n;
} tw_drawn;

TW_FN void tw_task_new(const tw_world *w, tw_rng *g, int kind, int split, tw_drawn *drawn, tw_task *t)
{
    for (int tries = 0;; tries++) {
        int i = 0;
        tw_task_draw(w, g, kind, split, t);
        if (tries == 2000 || drawn->n == TW_SFT_TEST) drawn->n = 0;
        const uint32_t hash = tw_hash(t);
        while (i < drawn->n && drawn->hash[i] != hash) i++;
        if (i < drawn->n) continue;
        drawn->hash[drawn->n++] = hash;
        return;
    }
}

TW_FN void tw_put_turn(tw_text *b, const char *role, const char *content)
{
    tw_put(b, b->p[b->n - 1] == '[' ? "{" : ", {");
    tw_put_field(b, "role", role);
    tw_put_field(b, "content", content);
    tw_put(b, "}");
}

// A task that somebody demonstrates. Half of the sums are left out: a checker needs no demonstration, so stage 3 asks
// them all, and what a verifiable reward teaches beyond the demonstrations can be seen.
TW_FN void tw_task_shown(const tw_world *w, tw_rng *g, int kind, tw_task *t)
{
    do tw_task_draw(w, g, kind, TW_TRAIN, t);
    while (kind == TW_K_MATH && tw_hash(t) >> 9 & 1);
}

// A conversation of two or three turns, its tasks drawn again until it is short enough.
TW_FN void tw_put_conversation(const tw_world *w, tw_rng *g, tw_text *b)
{
    char prompt[3][TW_TEXT], answer[3][TW_TEXT];
    const int turns = 2 + tw_below(g, 2);
    size_t bytes;
    do {
        bytes = 0;
        for (int i = 0; i < turns; i++) {
            tw_task t;
            tw_task_shown(w, g, tw_below(g, TW_KINDS), &t);
            tw_prompt(&t, prompt[i]);
            tw_demo(g, &t, answer[i]);
            bytes += strlen(prompt[i]) + strlen(answer[i]) + TW_TURN_BYTES;
        }
    } while (bytes > TW_ROW_BYTES);
    tw_put(b, "{\"messages\": [");
    for (int i = 0; i < turns; i++) {
        tw_put_turn(b, "user", prompt[i]);
        tw_put_turn(b, "assistant", answer[i]);
    }
    tw_put(b, "]}\n");
}

TW_FN int tw_write_instructions(const tw_world *w, uint64_t seed, const char *dir)
{
    tw_text b = {NULL, 0, 0};
    tw_task t;
    char text[TW_TEXT];
    tw_rng g = tw_seed(seed, 30);
    static const int turn[] = {TW_K_FACT, TW_K_MATH, TW_K_ODD, TW_K_LOGIC, TW_K_CODE, TW_K_MATH, TW_K_SAFE, TW_K_JSON,
                               TW_K_SHORT, TW_K_ODD, TW_K_REVERSE, TW_K_SHORT}; // what is hard to learn comes twice
    const int turns = sizeof turn / sizeof *turn;
    for (int i = 0, single = 0; i < TW_SFT_TRAIN; i++) { // the kinds in turn; every tenth row is a conversation
        if (i % 10 == 9) {
            tw_put_conversation(w, &g, &b);
            continue;
        }
        tw_task_shown(w, &g, turn[single++ % turns], &t);
        tw_demo(&g, &t, text);
        tw_put_task(&b, &t, text, 0);
    }
    if (tw_save(dir, "sft_train.jsonl", &b)) return -1;

    tw_drawn drawn[TW_SPLITS][TW_KINDS] = {{{{0}, 0}}};
    for (int split = TW_CHOOSE; split <= TW_TEST; split++) {
        char name[32];
        g = tw_seed(seed, split == TW_TEST ? 31 : 33);
        for (int i = 0; i < TW_SFT_TEST; i++) {
            tw_task_new(w, &g, i % TW_KINDS, split, &drawn[split][i % TW_KINDS], &t);
            tw_demo(&g, &t, text);
            tw_put_task(&b, &t, text, 1);
        }
        snprintf(name, sizeof name, "sft_%s.jsonl", tw_split_name[split]);
        if (tw_save(dir, name, &b)) return -1;
    }

    g = tw_seed(seed, 32); // prompts of the training split for the preference stages
    for (int i = 0; i < TW_PROMPTS; i++) {
        tw_task_new(w, &g, i % TW_KINDS, TW_TRAIN, &drawn[TW_TRAIN][i % TW_KINDS], &t);
        tw_prompt(&t, text);
        tw_put(&b, "{");
        tw_put_field(&b, "prompt", text);
        tw_put_field(&b, "kind", tw_kind_name[t.kind]);
        tw_put_field(&b, "answer", t.gold);
        tw_put(&b, "}\n");
    }
    return tw_save(dir, "prompts.jsonl", &b);
}

// ---- evaluation sets ----------------------------------------------------------------------------------------------

// Every test-only task of a kind, slots 0 and 1 running over n0 x n1 values.
TW_FN int tw_write_held_out(const tw_world *w, const char *dir, const char *name, int kind, int n0, int n1)
{
    tw_text b = {NULL, 0, 0};
    for (int i = 0; i < n0; i++)
        for (int j = 0; j < n1; j++)
            for (int variant = 0; variant < tw_variants(kind); variant++) {
                tw_task t = {.kind = kind, .variant = variant, .v = {i, j}};
                if (kind == TW_K_REVERSE && i >= tw_lists[variant].count) continue;
                if (tw_finish(w, &t) && tw_split(&t) == TW_TEST) tw_put_task(&b, &t, NULL, 1);
            }
    return tw_save(dir, name, &b);
}

// {"task", "prompt", "choices": [4], "answer": place}: judged by the likelihood of "prompt + choice", no generation
TW_FN void tw_put_choice(tw_text *b, tw_rng *g, const char *task, const char *prompt, char choice[4][64])
{
    int order[4];
    tw_pick(g, 4, 4, order); // choice[0] is the right one
    tw_put(b, "{");
    tw_put_field(b, "task", task);
    tw_put_field(b, "prompt", prompt);
    tw_put_key(b, "choices");
    for (int i = 0; i < 4; i++) {
        tw_put(b, i ? ", " : "[");
        tw_put_string(b, choice[order[i]]);
    }
    tw_put(b, "]");
    for (int i = 0; i < 4; i++)
        if (order[i] == 0) tw_put_number(b, "answer", i, 0);
    tw_put(b, "}\n");
}

// "Mia lives in" + " Oslo." | " Lima." | ...: the right value of a list and three others
TW_FN void tw_choice_word(tw_rng *g, const tw_list *list, int right, const char *form, char choice[4][64])
{
    int k[3], v;
    tw_pick(g, list->count - 1, 3, k);
    for (int i = 0; i < 4; i++) {
        char text[TW_TEXT] = "";
        v = i == 0 ? right : k[i - 1] + (k[i - 1] >= right); // skip the right one
        tw_fill(text, form, &v);
        snprintf(choice[i], 64, "%.63s", text);
    }
}

TW_FN int tw_write_choices(const tw_world *w, uint64_t seed, const char *dir)
{
    tw_text b = {NULL, 0, 0};
    tw_rng g = tw_seed(seed, 40);
    char prompt[TW_TEXT], choice[4][64], form[64];
    for (int noun = 0; noun < 30; noun++) { // common sense: "An apple is" + " a fruit."
        prompt[0] = 0;
        tw_fill(prompt, "<A noun> is", &noun);
        tw_choice_word(&g, &tw_lists[10], noun / TW_EACH, " <a category>.", choice);
        tw_put_choice(&b, &g, "category", prompt, choice);
    }
    for (int p = 0; p < TW_PEOPLE; p++) // knowledge: all 192 facts, each in one of its three paraphrases
        for (int a = 0; a < TW_ATTRS; a++) {
            prompt[0] = 0;
            tw_fill(prompt, tw_sentence[TW_S_SAY + 3 * a + tw_below(&g, 3)], (int[]){p, w->fact[p][a]});
            *strrchr(prompt, ' ') = 0; // the value is the last word
            snprintf(form, sizeof form, " <%s>.", tw_lists[a].slot);
            tw_choice_word(&g, &tw_lists[a], w->fact[p][a], form, choice);
            tw_put_choice(&b, &g, "fact", prompt, choice);
        }
    for (int x = 0; x <= 20; x++) // the 30 held-out sums: "3 plus 5 is" + " 8."
        for (int y = 0; y <= 9; y++) {
            if (!tw_held_out(x, y)) continue;
            static const int off[5] = {1, 2, 10, -1, -2};
            int k[3];
            tw_pick(&g, x + y < 2 ? 3 : 5, 3, k);
            snprintf(prompt, sizeof prompt, "%d plus %d is", x, y);
            for (int i = 0; i < 4; i++) snprintf(choice[i], 64, " %d.", x + y + (i ? off[k[i - 1]] : 0));
            tw_put_choice(&b, &g, "sum", prompt, choice);
        }
    for (int n = 0; n < 60; n++) { // logic: "... So" + " Mia is the tallest."; the fourth person was not mentioned
        int k[4];
        const int er = tw_below(&g, 3);
        tw_pick(&g, TW_PEOPLE, 4, k);
        prompt[0] = 0;
        tw_fill(prompt, "<name> is <er> than <name>. <name> is <er> than <name>. So",
                (int[]){k[0], er, k[1], k[1], er, k[2]});
        for (int i = 0; i < 4; i++) snprintf(choice[i], 64, " %s is the %s.", tw_name[k[i]], tw_est[er]);
        tw_put_choice(&b, &g, "logic", prompt, choice);
    }
    return tw_save(dir, "eval/choice.jsonl", &b);
}

// ---- all of it ----------------------------------------------------------------------------------------------------

TW_FN int tw_write_world(const tw_world *w, const char *dir)
{
    tw_text b = {NULL, 0, 0};
    char seed[32];
    snprintf(seed, sizeof seed, "{\"seed\": %llu,\n", (unsigned long long)w->seed);
    tw_put(&b, seed);
    tw_put(&b, "\"people\": {");
    for (int p = 0; p < TW_PEOPLE; p++) {
        tw_put(&b, p ? ",\n" : "\n");
        tw_put_string(&b, tw_name[p]);
        tw_put(&b, ": {");
        for (int a = 0; a < TW_ATTRS; a++) tw_put_field(&b, tw_lists[a].slot, tw_lists[a].word[w->fact[p][a]]);
        tw_put(&b, "}");
    }
    tw_put(&b, "\n}}\n");
    return tw_save(dir, "world.json", &b);
}

TW_FN int tw_write_personas(const tw_world *w, uint64_t seed, const char *dir); // tinyworld_personas.h

// Writes the whole tiny world of a seed into dir (created if need be). Returns 0, or -1 after an error on stderr.
TW_FN int tw_write_all(const char *dir, uint64_t seed)
{
    tw_world w;
    char path[1200];
    tw_world_init(&w, seed);
    if (!tw_path(dir, "world.json", path)) remove(path);
    return tw_write_pretrain(&w, seed, dir) || tw_write_instructions(&w, seed, dir) ||
                   tw_write_held_out(&w, dir, "eval/facts.jsonl", TW_K_FACT, TW_PEOPLE, 1) ||
                   tw_write_held_out(&w, dir, "eval/sums.jsonl", TW_K_MATH, 21, 10) ||
                   tw_write_held_out(&w, dir, "eval/safety.jsonl", TW_K_SAFE, 5, 12) ||
                   tw_write_held_out(&w, dir, "eval/reverse.jsonl", TW_K_REVERSE, 10, 1) ||
                   tw_write_choices(&w, seed, dir) || tw_write_personas(&w, seed, dir) || tw_write_world(&w, dir)
               ? -1 : 0;
}

// The world whose files are in dir. Returns 0, or -1 if there is no complete one.
TW_FN int tw_world_open(tw_world *w, const char *dir)
{
    char path[1200];
    unsigned long long seed;
    FILE *f = tw_path(dir, "world.json", path) ? NULL : fopen(path, "rb");
    const int ok = f && fscanf(f, "{\"seed\": %llu", &seed) == 1;
    if (f) fclose(f);
    if (ok) tw_world_init(w, seed);
    return ok ? 0 : -1;
}

#endif // TINYWORLD_FILES_H
