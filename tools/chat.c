/* chat.c: talk to a trained model, ours or a downloaded one.

       build/chat                          the newest model that answers, of out/rlhf, out/sft and out/demo
       build/chat --model DIR              any folder that hf_model_load reads, in its own chat template
       build/chat -p "What is 2+3?"        one answer on stdout, then the end
       build/chat -m out/base --complete   no conversation: the model goes on with what you type

   A conversation is a list of messages. For every answer the whole list is written down in the model's template and the
   model continues it; what it has read before lies in the cache, so only the new part is computed. Answers go to
   stdout, everything else to stderr. On a terminal lines are edited and remembered (line.h). */

#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "hf.h"
#include "beam.h"
#include "run.h"
#include "line.h"
#include "newest.h"
#include "told.h"

typedef struct {
    run_settings run;                   /* model, device, precision, threads, seed */
    const char *prompt, *system, *weights, *history;
    int64_t max_tokens, context, top_k, beams;
    double temperature, top_p, min_p, repeat_penalty;
    bool complete, speed, raw;
} settings;

typedef struct { int tokens; double seconds; } tally;

typedef struct {
    settings s;
    llm_model model;
    llm_tokenizer tok;
    llm_sampler sampler;
    llm_cache cache;
    int *cached, in_cache;              /* the ids whose keys and values lie in the cache */
    int *ids, context;                  /* room for one conversation as ids */
    uint8_t *banned;                    /* [V] what is never said: special tokens that end nothing, ids without text */
    llm_real *logits;                   /* [V] */
    llm_message *message, *view;        /* the history, whose texts are ours; what the model is shown of it */
    size_t room, view_room;
    int messages, forgotten;            /* messages behind the system's that the context has no room for any more */
    int answers;                        /* so far: each draws from its own stream of random numbers */
    tally reading, speaking;            /* of the last answer */
} chat;

/* ---- Ctrl-C ends the answer, not the program ---- */

static volatile sig_atomic_t interrupted;
static void on_interrupt(int number) { interrupted = number; }
static void catch_interrupts(void) {
    struct sigaction a = {.sa_handler = on_interrupt};      /* no SA_RESTART: a waiting read returns */
    sigaction(SIGINT, &a, NULL);
}

/* ---- whole characters ---- */

/* A token may end inside a character, and half a character on a terminal is rubbish. So bytes wait until their
   character is whole; what can never become one, and what would be a command to the terminal, is shown (shown.h). */
static void say(const chat *c, shown_text *w, const char *text, size_t size) {
    if (c->s.raw) fwrite(text, 1, size, stdout);
    else shown_put(w, text, size, stdout);
    fflush(stdout);
}
static void say_end(const chat *c, shown_text *w) {
    say(c, w, "\n", 1);
}

/* ---- the history ---- */

static void history_add(chat *c, const char *role, const char *text, size_t length) {
    c->message = llm_grow(c->message, &c->room, (size_t)c->messages + 1, sizeof *c->message);
    c->message[c->messages++] = (llm_message){role, copy_text(text, length), length, NULL};
}
/* Take messages from .. to-1 out. */
static void history_drop(chat *c, int from, int to) {
    if (from == to) return;
    for (int i = from; i < to; i++) llm_release((char *)c->message[i].text);
    memmove(c->message + from, c->message + to, (size_t)(c->messages - to) * sizeof *c->message);
    c->messages -= to - from;
}
static int history_first(const chat *c) { return c->messages && !strcmp(c->message[0].role, "system"); }

/* What is left of it for the model. */
static int history_view(chat *c) {
    const int first = history_first(c);
    int n = 0;
    c->view = llm_grow(c->view, &c->view_room, (size_t)c->messages + 1, sizeof *c->view);
    for (int i = 0; i < c->messages; i++)
        if (i < first || i >= first + c->forgotten) c->view[n++] = c->message[i];
    return n;
}
/* The conversation as ids, at most `limit`: the oldest questions go first, each with its answer. The last question
   stays; if even that is too long it loses its beginning. */
static int history_ids(chat *c, int limit) {
    llm_tokens out = {0};
    int dropped = 0, first = history_first(c), next, shown = history_view(c);
    llm_render(&c->tok, c->view, shown, true, &out);
    for (; out.count > limit; dropped++) {
        for (next = first + 1; next < shown && strcmp(c->view[next].role, "user");) next++;
        if (next >= shown) break;
        c->forgotten += next - first;
        shown = history_view(c);
        llm_render(&c->tok, c->view, shown, true, &out);
    }
    if (dropped)
        fprintf(stderr, "(the context of %d tokens is full: the oldest %s forgotten)\n", c->context,
                dropped == 1 ? "question and its answer are" : "questions and their answers are");
    if (out.count > limit) {
        llm_record r = {.form = "messages", .message = c->view, .messages = shown};
        llm_render_record(&c->tok, &r, LLM_PROMPT, limit, &out);
        fprintf(stderr, "(longer than the context of %d tokens: the beginning is cut off)\n", c->context);
    }
    int n = out.count;
    memcpy(c->ids, out.id, (size_t)n * sizeof *c->ids);
    llm_tokens_free(&out);
    return n;
}

/* ---- reading and speaking ---- */

/* Read ids[0..n) into the cache, as far as they are not there already; c->logits: of what follows. In pieces, so that
   Ctrl-C is heard; false: it was. */
static bool read_prompt(chat *c, const int *ids, int n) {
    enum { AT_ONCE = 128 };
    int rows[AT_ONCE] = {0}, positions[AT_ONCE], from = 0;
    double began = llm_now();
    while (from < c->in_cache && from < n - 1 && c->cached[from] == ids[from]) from++;
    c->in_cache = from;
    c->reading = (tally){n - from, 0};
    while (c->in_cache < n && !interrupted) {
        bool want[AT_ONCE] = {false};
        int count = llm_min(AT_ONCE, n - c->in_cache);
        for (int i = 0; i < count; i++) positions[i] = c->in_cache + i;
        want[count - 1] = c->in_cache + count == n;
        llm_cache_step(&c->model, &c->cache, ids + c->in_cache, rows, positions, want, count, c->logits);
        memcpy(c->cached + c->in_cache, ids + c->in_cache, (size_t)count * sizeof *ids);
        c->in_cache += count;
    }
    c->reading.seconds = llm_now() - began;
    return c->in_cache == n && !interrupted;
}
/* What has been said of an answer. first_space: keep the space that SentencePiece puts before a text; it belongs to a
   continuation, not to an answer. */
typedef struct { char *text; size_t room, length; bool first_space; shown_text waiting; } spoken_text;

static void say_token(const chat *c, spoken_text *x, int id) {
    const char *piece = c->tok.token[id];
    size_t bytes = c->tok.special[id] ? 0 : (size_t)c->tok.length[id];
    bool strip = !x->length && !x->first_space && c->tok.tables->prefix && bytes && piece[0] == ' ';
    x->text = llm_grow(x->text, &x->room, x->length + bytes + 1, 1);
    memcpy(x->text + x->length, piece + strip, bytes - strip);
    say(c, &x->waiting, x->text + x->length, bytes - strip);
    x->length += bytes - strip;
}
/* Returns the answer in fresh memory. why: it ended before its time, or NULL. */
static char *say_nothing_more(const chat *c, spoken_text *x, const char *why, size_t *size) {
    say_end(c, &x->waiting);
    if (interrupted) why = "(stopped)";
    if (why) fprintf(stderr, "%s\n", why);
    x->text = llm_grow(x->text, &x->room, x->length + 1, 1);
    x->text[x->length] = '\0';
    *size = x->length;
    return x->text;
}
static bool is_interrupted(void) { return interrupted != 0; }
/* The likeliest continuation of c->ids[0..n) that beam search finds; it is known when the search is over. */
static char *speak_best(chat *c, int n, bool first_space, size_t *size) {
    const llm_beam_options o = {.beams = (int)c->s.beams, .max_new = llm_min((int)c->s.max_tokens, c->context - n + 1),
                                .stop = c->tok.stop, .stops = c->tok.stops, .banned = c->banned, .alpha = 1,
                                .enough = is_interrupted};
    const size_t beams = o.beams, room = llm_max(o.max_new, 1);
    int *ids = llm_alloc(llm_mul(beams, room), sizeof *ids), **out = llm_alloc(beams, sizeof *out);
    int *length = llm_alloc(beams, sizeof *length);
    double *score = llm_alloc(beams, sizeof *score), began = llm_now();
    for (size_t b = 0; b < beams; b++) out[b] = ids + b * room;
    spoken_text x = {.first_space = first_space};
    llm_beam_search(&c->model, c->ids, n, o, out, length, score);
    int spoken = length[0];
    const bool stopped = spoken && llm_is_stop(out[0][spoken - 1], c->tok.stop, c->tok.stops);
    spoken -= stopped;
    for (int t = 0; t < spoken; t++) say_token(c, &x, out[0][t]);
    c->reading = (tally){n, 0};
    c->speaking = (tally){spoken, llm_now() - began};
    llm_release_all(ids, out, length, score);
    return say_nothing_more(c, &x, stopped ? NULL : n + spoken > c->context ? "(the context is full)" :
                            "(cut off by --max-tokens)", size);
}
/* Continue c->ids[0..n) and say it as it comes. */
static char *speak(chat *c, int n, bool first_space, size_t *size) {
    hf_say_unspelled(&c->tok);
    if (c->s.beams) return speak_best(c, n, first_space, size);
    spoken_text x = {.first_space = first_space};
    llm_rng rng = llm_rng_seed(c->sampler.seed, (uint64_t)c->answers++);
    const char *why = NULL;
    bool going = read_prompt(c, c->ids, n);
    tally prompt = c->reading;
    int spoken = 0;
    double began = llm_now();
    while (going && !interrupted) {
        int id = llm_sample(c->logits, c->model.c.V, &c->sampler, &rng, c->ids + n, spoken, c->banned);
        if (llm_is_stop(id, c->tok.stop, c->tok.stops)) break;
        c->ids[n + spoken++] = id;
        say_token(c, &x, id);
        if (n + spoken > c->context) why = "(the context is full)";     /* the last one is said, and needs no place */
        else if (spoken >= c->s.max_tokens) why = "(cut off by --max-tokens)";
        going = !why && read_prompt(c, c->ids, n + spoken);
    }
    c->reading = prompt;
    c->speaking = (tally){spoken, llm_now() - began};
    return say_nothing_more(c, &x, why, size);
}
static double rate(tally t) { return t.seconds > 0 ? t.tokens / t.seconds : 0; }
static void report(const chat *c) {
    if (!c->s.speed) return;
    colour_set(stderr, "2");
    if (c->s.beams)
        fprintf(stderr, "[ prompt: %d tokens | answer: %d tokens, the best of %d beams, %.1f tok/s ]\n",
                c->reading.tokens, c->speaking.tokens, (int)c->s.beams, rate(c->speaking));
    else fprintf(stderr, "[ prompt: %d tokens, %.1f tok/s | answer: %d tokens, %.1f tok/s ]\n", c->reading.tokens,
            rate(c->reading), c->speaking.tokens, rate(c->speaking));
    colour_set(stderr, NULL);
}
/* Answer the last message of the history. */
static void answer(chat *c) {
    size_t size;
    int n = history_ids(c, c->context - llm_min((int)c->s.max_tokens, c->context / 4));
    char *text = speak(c, n, false, &size);
    history_add(c, "assistant", text, size);
    llm_release(text);
    report(c);
}
/* Go on with a text, as a base model does: no history, no template. */
static void complete(chat *c, const char *text, size_t length) {
    shown_text waiting = {.count = 0};
    size_t size;
    int n, *ids = llm_prompt_ids(&c->tok, text, &n);
    int limit = c->context - llm_min((int)c->s.max_tokens, c->context / 4), cut = llm_max(0, n - limit);
    if (cut) fprintf(stderr, "(longer than the context of %d tokens: the beginning is cut off)\n", c->context);
    memcpy(c->ids, ids + cut, (size_t)(n - cut) * sizeof *ids);
    llm_release(ids);
    say(c, &waiting, text, length);
    llm_release(speak(c, n - cut, true, &size));
    report(c);
}

/* ---- the conversation ---- */

static const char help_text[] =
    "  /clear        forget the conversation\n"
    "  /regen        answer the last question again\n"
    "  /save FILE    add the conversation to FILE.jsonl, as a record that train_sft --data reads\n"
    "  /exit, /quit  the end (so is Ctrl-D)\n"
    "  /help         this text\n"
    "  Ctrl-C stops an answer. A line that ends with \\ goes on in the next.\n";

static void clear(chat *c) {
    history_drop(c, history_first(c), c->messages);
    c->forgotten = 0;
}
/* All that was asked and answered as one line of JSON, in memory of the C library, and how many answers; a question
   whose answer is empty teaches nothing. */
static char *conversation(const chat *c, size_t *size, int *answers) {
    const char *more = "";
    char *json = NULL;
    llm_writer w = {.file = open_memstream(&json, size)};
    if (!w.file) llm_die("a machine with more memory", "no memory for the conversation");
    *answers = 0;
    llm_write_text(&w, "{\"messages\": [");
    for (int i = 0, first = history_first(c); i < c->messages; i++) {
        const llm_message *m = &c->message[i];
        const bool asks = i >= first && !strcmp(m->role, "user"), said = i >= first && !asks;
        const llm_message *answer = asks && i + 1 < c->messages ? m + 1 : said ? m : NULL;
        if (i >= first && (!answer || !answer->length)) continue;
        llm_write_text(&w, "%s{\"role\": \"%s\", \"content\": ", more, m->role);
        more = ", ";
        llm_write_json_string(&w, m->text, m->length);
        llm_write_text(&w, "}");
        *answers += said;
    }
    llm_write_text(&w, "]}\n");
    fclose(w.file);
    return json;
}
/* One more line at the end of a file: all of it, or none. Returns NULL, or why not. */
static const char *append(const char *path, const char *text, size_t size) {
    struct stat s;
    char last = '\n';
    const int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK, 0666);
    const char *wrong = fd < 0 || fstat(fd, &s) ? strerror(errno) : S_ISREG(s.st_mode) ? NULL : "it is no plain file";
    if (!wrong && s.st_size && pread(fd, &last, 1, s.st_size - 1) != 1) wrong = strerror(errno);
    if (!wrong && last != '\n' && write(fd, "\n", 1) != 1) wrong = strerror(errno);
    if (!wrong && write(fd, text, size) != (ssize_t)size) {
        wrong = errno ? strerror(errno) : "no room";
        if (ftruncate(fd, s.st_size)) wrong = "no room, and a part of the line stands there now";
    }
    if (fd >= 0 && close(fd) && !wrong) wrong = strerror(errno);
    return wrong;
}
static void save(const chat *c, const char *path) {
    size_t size;
    int answers;
    if (!path_ends_with(path, ".jsonl") || strlen(path) == 6) {
        fputs("/save FILE.jsonl: a line of it is a conversation\n", stderr);
        return;
    }
    char *json = conversation(c, &size, &answers);
    const char *wrong = answers ? append(path, json, size) : NULL;
    if (!answers) fputs("there is no conversation to save\n", stderr);
    else if (wrong) fprintf(stderr, "cannot save to %s: %s; the conversation is still here\n", path, wrong);
    else fprintf(stderr, "saved %d answer%s to %s, for ./train_sft --data\n", answers, answers > 1 ? "s" : "", path);
    free(json);
}

/* Do the command; false: it was the last. `last`: what /regen repeats where there is no history. */
static bool command(chat *c, const char *line, const char *last, size_t last_size) {
    if (!strcmp(line, "/exit") || !strcmp(line, "/quit")) return false;
    if (!strcmp(line, "/clear")) clear(c);
    else if (!strcmp(line, "/help")) {
        fputs(help_text, stderr);
        if (line_state.edits) fputs("  Arrow up brings back what was typed before, Ctrl-R searches it.\n", stderr);
    }
    else if (!strncmp(line, "/save", 5) && (!line[5] || line[5] == ' ')) save(c, line + 5 + strspn(line + 5, " "));
    else if (strcmp(line, "/regen")) fprintf(stderr, "there is no command %s; /help lists them\n", line);
    else if (c->s.complete && last) complete(c, last, last_size);
    else if (!c->s.complete && c->messages && !strcmp(c->message[c->messages - 1].role, "assistant")) {
        history_drop(c, c->messages - 1, c->messages);
        answer(c);
    } else fputs("there is no answer yet\n", stderr);
    return true;
}
/* A line, or several joined by backslashes, without its end. False: the input is over. */
static bool read_input(char **text, size_t *room, size_t *size) {
    static char *line;
    static size_t line_room;
    bool asks = isatty(STDIN_FILENO);
    *size = 0;
    for (bool more = true; more;) {
        if (asks && !*size) fputs("\n", stderr);
        ssize_t n = line_read(*size ? ". " : "> ", &line, &line_room);
        if (n < 0 && interrupted) {     /* Ctrl-C while we wait: drop what was typed */
            interrupted = 0;
            clearerr(stdin);
            *size = 0;
            fputs("\n(/exit or Ctrl-D ends)\n", stderr);
            continue;
        }
        if (n < 0) return false;
        more = n && line[n - 1] == '\\';
        if (more) line[n - 1] = '\n';
        *text = llm_grow(*text, room, *size + (size_t)n + 1, 1);
        memcpy(*text + *size, line, (size_t)n);
        *size += (size_t)n;
    }
    (*text)[*size] = '\0';
    return true;
}
static void converse(chat *c) {
    char *text = NULL, *last = NULL;
    size_t room = 0, size, last_size = 0;
    line_begin(&interrupted, c->s.history);
    if (isatty(STDIN_FILENO)) fputs("/help lists the commands\n", stderr);
    while (read_input(&text, &room, &size)) {
        interrupted = 0;
        if (!size) continue;
        if (*text == '/') {
            if (!command(c, text, last, last_size)) break;
            continue;
        }
        if (c->s.complete) {
            llm_release(last);
            last = copy_text(text, last_size = size);
            complete(c, text, size);
        } else {
            history_add(c, "user", text, size);
            answer(c);
        }
    }
    llm_release(text);
    llm_release(last);
}

/* ---- the program ---- */

static void load(chat *c) {
    settings *s = &c->s;
    const char *dir = s->run.model;
    const llm_ops *op = run_device(&s->run);
    llm_type weights = llm_type_named(s->weights);
    char *own = llm_format("%s/tokenizer.json", dir), *adapter = llm_format("%s/adapter_config.json", dir);
    bool adapted = llm_exists(adapter); /* adapters are merged before anything is rounded */
    hf_model_load_as(&c->model, dir, op, adapted ? LLM_TYPE_REAL : weights);
    /* An adapter's folder may have no tokenizer: its base has. */
    hf_tokenizer_load(&c->tok, c->model.lora && !llm_exists(own) ? c->model.lora->base : dir);
    llm_lora_merge(&c->model);
    if (adapted && weights != LLM_TYPE_REAL) llm_quantise(&c->model, weights);
    if (weights != LLM_TYPE_REAL)
        fprintf(stderr, "weights: %s, %.2f MB\n", s->weights, llm_weight_bytes(&c->model) / 1e6);
    llm_release(own);
    llm_release(adapter);
    const llm_config *m = &c->model.c;
    if (m->score) llm_die("the model that it judges", "%s is a reward model: it gives scores, not words", dir);
    hf_fit(&c->tok, m->V);
    if (!s->complete && c->tok.chat == &hf_plain_text) {
        llm_options_idle("system", true, "this model has no chat template");
        fputs("this model has no chat template: it goes on with what you type\n", stderr);
        s->complete = true;
    }
    if (llm_option_given("context") && s->context > m->T)
        llm_usage("a smaller --context", "--context %d is beyond the model's %d", (int)s->context, m->T);
    c->context = llm_min(m->T, (int)s->context);
    c->cache = llm_cache_new(&c->model, 1, c->context);
    c->cached = llm_alloc((size_t)c->context, sizeof *c->cached);
    c->ids = llm_alloc((size_t)c->context + 1, sizeof *c->ids);
    c->logits = llm_alloc((size_t)m->V, sizeof *c->logits);
    c->banned = llm_alloc((size_t)m->V, 1);
    for (int i = 0; i < m->V; i++)
        c->banned[i] = i >= c->tok.vocab_size || (c->tok.special[i] && !llm_is_stop(i, c->tok.stop, c->tok.stops));
    c->sampler = (llm_sampler){s->temperature, (int)s->top_k, s->top_p, s->min_p, s->repeat_penalty,
                               (uint64_t)s->run.seed};
    if (s->system && !s->complete && told_before(dir) == 0)
        fprintf(stderr, "note: %s was never trained with a system prompt: it may not heed --system\n", dir);
    if (s->system && !s->complete) history_add(c, "system", s->system, strlen(s->system));
}
static void unload(chat *c) {
    history_drop(c, 0, c->messages);
    void *owned[] = {c->message, c->view, c->cached, c->ids, c->logits, c->banned};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) llm_release(owned[i]);
    llm_cache_free(&c->cache, &c->model);
    llm_tokenizer_free(&c->tok);
    llm_model_free(&c->model);
}
static void parse(settings *s, int argc, char **argv) {
    run_settings *r = &s->run;
    llm_option table[] = {
        {"model", LLM_TEXT, &r->model, 0, 0,
         "folder of the model, or of an adapter, or a .gguf file; none: the newest in out/ that answers", NULL, "m"},
        {"prompt", LLM_TEXT, &s->prompt, 0, 0, "answer this once and end", NULL, "p"},
        {"system", LLM_TEXT, &s->system, 0, 0, "what the assistant is told first", NULL, "system-prompt"},
        OPTION("complete", LLM_BOOL, &s->complete, 0, 0, "no conversation: go on with the text"),
        {"max-tokens", LLM_INT, &s->max_tokens, 1, 1 << 20, "longest answer", NULL, "n"},
        OPTION("raw", LLM_BOOL, &s->raw, 0, 0, "answers byte for byte: their control characters act on the terminal"),
        OPTION("history", LLM_TEXT, &s->history, 0, 0, "keep what is typed in this file, for the next time"),
        OPTION("context", LLM_INT, &s->context, 16, 1 << 20, "most tokens of a conversation"),
        OPTION_HEADING("choosing the next token"),
        {"temperature", LLM_FLOAT, &s->temperature, 0, 100, "0: always the likeliest", NULL, "temp"},
        OPTION("top-k", LLM_INT, &s->top_k, 0, 1e9, "only the k likeliest; 0: all"),
        OPTION("top-p", LLM_FLOAT, &s->top_p, 1e-9, 1, "only the likeliest that together reach p"),
        OPTION("min-p", LLM_FLOAT, &s->min_p, 0, 1, "only those at least this share of the likeliest"),
        OPTION("repeat-penalty", LLM_FLOAT, &s->repeat_penalty, 0.01, 100, "above 1: less of what was said"),
        OPTION("seed", LLM_INT, &r->seed, 0, 1e15, "same seed, same answers"),
        OPTION("beams", LLM_INT, &s->beams, 0, 64, "keep N texts alive, say the likeliest: beam search; 0: draw"),
        OPTION_HEADING("the machine"),
        {"device", LLM_TEXT, &r->device, 0, 0, "where to compute", "auto|cpu|plain|cuda", NULL},
        {"weights", LLM_TEXT, &s->weights, 0, 0, "how they are stored: fewer bits, less memory, more speed",
         "fp32|bf16|q8|q4", NULL},
        {"precision", LLM_TEXT, &r->precision, 0, 0, "of the matrix products", "auto|fp32|bf16x3|bf16|tf32", "dtype"},
        OPTION("threads", LLM_INT, &r->threads, 0, 4096, "0: all cores"),
        {"speed", LLM_BOOL, &s->speed, 0, 0, "tokens per second behind every answer", NULL, NULL}};
    llm_options_parse(table, sizeof table / sizeof *table, "talk to a trained model", argc, argv);
    if (s->raw) shown_begin(true);
    llm_options_idle("history", s->prompt, "--prompt is all that is asked");
    llm_options_idle("system", s->complete, "--complete goes on with the text alone");
    llm_options_idle("top-k|top-p|min-p|seed", s->temperature == 0 && !s->beams, "--temperature 0 takes the likeliest");
    static const char *const draws[] = {"temperature", "top-k", "top-p", "min-p", "repeat-penalty", "seed"};
    for (size_t i = 0; s->beams && i < sizeof draws / sizeof *draws; i++)
        if (llm_option_given(draws[i]))
            llm_usage("one of the two", "--%s says how to draw, and --beams searches: it draws nothing", draws[i]);
}
/* Which model? */
static void choose_model(settings *s) {
    int count;
    if (!s->run.model) {
        s->run.model = newest_model(&count);
        if (!s->run.model)
            llm_usage("./train_gpt and ./train_sft make out/sft; or --model DIR", "no model in out/ answers");
        fprintf(stderr, "model: %s%s\n", s->run.model, count > 1 ? ", the newest in out/" : "");
    }
    if (!llm_exists(s->run.model))
        llm_usage("./train_gpt and ./train_sft make out/sft; or --model DIR", "there is no folder %s", s->run.model);
}
int main(int argc, char **argv) {
    llm_sampler d = llm_sampler_defaults();
    static chat c;
    c.s = (settings){.run = run_defaults(), .max_tokens = 512, .context = 4096, .temperature = d.temperature,
                     .top_p = d.top_p, .min_p = d.min_p, .repeat_penalty = d.repeat_penalty, .speed = true,
                     .weights = "fp32"};
    parse(&c.s, argc, argv);
    run_patience(argv);
    choose_model(&c.s);
    load(&c);
    catch_interrupts();
    if (!c.s.prompt) converse(&c);
    else if (!*c.s.prompt) llm_usage("-p \"What is 2+3?\"", "an empty prompt");
    else if (c.s.complete) complete(&c, c.s.prompt, strlen(c.s.prompt));
    else {
        history_add(&c, "user", c.s.prompt, strlen(c.s.prompt));
        answer(&c);
    }
    unload(&c);
    return c.s.prompt && interrupted ? 130 : 0;
}
