/* tools.c: libFuzzer targets for what the programs read besides fuzz.c's files: the command line, a sampler's numbers,
   eval's tasks, tiktoken's ranks, a mixture.json, a stage.json, a request to build/serve.

       FUZZ=options build/fuzz_tools CORPUS    options, sampler, tasks, ranks, mixture, stage, serve

   llm.h can be in a program once: test_fuzz.sh takes it out of the three tools. */
#include "fuzz.h"
#define main eval_main
#include "eval.c"
#undef main
#define main report_main
#include "report.c"
#undef main
#define main convert_main
#define settings convert_settings
#define load convert_load
#define parse convert_parse
#define begin convert_begin
#define finish convert_finish
#define choices convert_choices
#include "convert.c"
#undef main
#undef settings
#undef load
#undef parse
#undef begin
#undef finish
#undef choices

#include "../../tools/mixture.h"
#include "../../tools/beam.h"
#include "../../tools/serve_request.h"
#include "../../tools/serve_engine.h"
#include "../../tools/serve_answer.h"

/* ---- options: words, cut at zero bytes; what is accepted keeps the table's promises ---- */

static void fuzz_options(const char *data, size_t size) {
    static char name[] = "fuzz";
    char *argv[64] = {name}, *text = copy_text(data, size);
    int argc = 1;
    int64_t whole = 5;
    double number = 0.5;
    bool flag = false;
    const char *word = NULL, *choice = "one";
    llm_list list = {0};
    while (options_given.lists) free((void *)options_given.list[--options_given.lists]);
    for (size_t at = 0; at < size && argc < 63; at += strlen(text + at) + 1) {
        argv[argc++] = text + at;
        if (!strcmp(text + at, "-h") || !strcmp(text + at, "--help")) argc--;         /* it ends the program */
    }
    const llm_option table[] = {
        {"whole-number", LLM_INT, &whole, 1, 1000, "h", NULL, "n"}, {"number", LLM_FLOAT, &number, 0, 1, "h", NULL, NULL},
        OPTION("any", LLM_FLOAT, &number, 0, 0, "h"), OPTION_HEADING("and"), OPTION("flag", LLM_BOOL, &flag, 0, 0, "h"),
        OPTION("word", LLM_TEXT, &word, 0, 0, "h"), {"choice", LLM_TEXT, &choice, 0, 0, "h", "one|two", "c"},
        OPTION("list", LLM_LIST, &list, 0, 0, "h")};
    llm_options_parse(table, sizeof table / sizeof *table, "fuzz", argc, argv);
    if (whole < 1 || whole > 1000 || !isfinite(number) || list.count >= argc) abort();
    if (strcmp(choice, "one") && strcmp(choice, "two")) abort();
    if (word && (word < text || word > text + size)) abort();
    for (int i = 0; i < list.count; i++) if (list.item[i] < text || list.item[i] > text + size) abort();
    llm_release(text);
}

/* ---- sampler: five numbers and a row of logits, any bits; what is drawn may be drawn ---- */

static void fuzz_sampler(const char *data, size_t size) {
    enum { MOST = 64 };
    double x[4];
    float logit[MOST];
    int32_t k;
    uint8_t banned[MOST] = {0};
    llm_real z[MOST], p[MOST];
    int said[MOST];
    if (size < sizeof x + sizeof k + 1 + sizeof *logit) return;
    memcpy(x, data, sizeof x);
    memcpy(&k, data + sizeof x, sizeof k);
    const unsigned char bits = (unsigned char)data[sizeof x + sizeof k];
    const char *rest = data + sizeof x + sizeof k + 1;
    const size_t V = size_min((size_t)(data + size - rest) / sizeof *logit, MOST);
    memcpy(logit, rest, V * sizeof *logit);
    for (size_t v = 0; v < V; v++) {
        z[v] = p[v] = (llm_real)logit[v];
        banned[v] = bits & 1 && v % (size_t)(1 + (bits >> 1) % 8) == 0;
        said[v] = (int)(v * 7 % V);
    }
    /* what the programs' flags let through */
    for (int i = 0; i < 4; i++) x[i] = isfinite(x[i]) ? fabs(x[i]) : i;
    llm_sampler s = {fmin(x[0], 100), k < 0 ? 0 : k, fmin(fmax(x[1], 1e-9), 1), fmin(x[2], 1), fmin(fmax(x[3], 0.01), 100), 1};
    const size_t count = bits & 64 ? V : 0;
    llm_rng r = llm_rng_seed(bits, 1), same = r;
    const int id = llm_sample(z, V, &s, &r, said, count, bits & 1 ? banned : NULL);
    if (id < 0 || (size_t)id >= V || banned[id] || !(z[id] > 0)) abort();
    for (size_t v = 0; v < V; v++) if (!(z[v] >= 0 && z[v] <= 1)) abort();
    if (llm_sample(p, V, &s, &same, said, count, bits & 1 ? banned : NULL) != id || memcmp(z, p, V * sizeof *z)) abort();
}

/* ---- tasks: any bytes as a file of eval's; what is accepted can be asked ---- */

static void fuzz_tasks(const char *data, size_t size) {
    task_list list = {0};
    fuzz_file("tasks.jsonl", data, size);
    read_tasks(&list, fuzz_path("tasks.jsonl"), NULL, 1000);
    drop_repeated(&list);
    if (list.count > 1) add_shots(&list, 1);
    for (int i = 0; i < list.count; i++) {
        const task_item *x = &list.item[i];
        if (!x->prompt || !x->task || x->choices < 0 || (x->choices && (x->gold < 0 || x->gold >= x->choices))) abort();
        for (int c = 0; c < x->choices; c++) if (!x->choice[c]) abort();
    }
    for (int i = 0; i < list.count; i++) free_item(&list.item[i]);
    llm_release(list.item);
}

/* ---- ranks: lines behind those of the 256 bytes; what is accepted has merges that make its tokens ---- */

static char *rank_lines;
static size_t rank_size;
static void begin_ranks(void) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    FILE *f = open_memstream(&rank_lines, &rank_size);
    for (int b = 0; b < 256; b++) fprintf(f, "%c%c== %d\n", digit[b >> 2], digit[(b & 3) << 4], b);
    fclose(f);
}
static void fuzz_ranks(const char *data, size_t size) {
    const bool bare = size && data[0] == '!';           /* no bytes before them */
    rank_table r = {0};
    char *all = llm_alloc(rank_size + size + 1, 1);
    const size_t before = bare ? 0 : rank_size;
    memcpy(all, rank_lines, before);
    memcpy(all + before, data + bare, size - bare);
    fuzz_file("ranks.tiktoken", all, before + size - bare);
    ranks_read(&r, fuzz_path("ranks.tiktoken"));
    llm_writer w = llm_write_begin(fuzz_path("merges"));
    if (write_ranked_merges(&w, &r) < 0) abort();
    llm_write_done(&w);
    llm_release_all(all, r.bytes, r.by_rank);
    word_free(&r.map);
}

/* ---- mixture: any bytes as mixture.json beside two texts; what is accepted names what lies there ---- */

static void begin_mixture(void) {
    mkdir(fuzz_path("mix"), 0700);
    fuzz_file("mix/one.txt", "One.\n\nTwo.", 10);
    fuzz_file("mix/two.txt", "Three.", 6);
}
static void fuzz_mixture(const char *data, size_t size) {
    const char *dir = fuzz_path("mix");
    fuzz_file("mix/mixture.json", data, size);
    mixture m = mixture_read(&dir, 1);
    for (size_t i = 0; i < m.source.count; i++)
        if (!path_within(dir, m.source.path[i]) || !(m.proportion[i] > 0)) abort();
    for (size_t i = 0; i < m.validation.count; i++) if (!path_within(dir, m.validation.path[i])) abort();
    mixture_free(&m);
}

/* ---- stage: any bytes as stage.json, whose drawing ends with its process; what is drawn is HTML and no script ---- */

static void fuzz_stage(const char *data, size_t size) {
    static char *html, *lines;
    static size_t length, told;
    static FILE *f, *found;
    static const char log[] = "step,loss,lr,gnorm,tok_per_s\n1,2,3,4,5\n2,1,3,4,5\n", table[] = "\"\",\"a\"\n\"x\",\"0.5 0.4 0.6\"\n";
    if (f) fclose(f), fclose(found);
    free(html), free(lines);
    f = open_memstream(&html, &length);
    found = open_memstream(&lines, &told);
    fuzz_file("log.csv", log, sizeof log - 1);
    fuzz_file("table.csv", table, sizeof table - 1);
    fuzz_file("stage.json", data, size);
    draw_stage(f, found, fuzz_folder());
    fflush(f);
    const char *body = html;
    for (int line = 0; line < 3 && body; line++) body = strchr(body, '\n') ? strchr(body, '\n') + 1 : NULL;
    if (!body || strstr(body, "<script") || strstr(body, "<img")) abort();
    for (const char *c = body; *c; c++) if ((unsigned char)*c < 32 && *c != '\n' && *c != '\t') abort();
    llm_die(NULL, "the end");
}

/* ---- serve: a letter (c: chat) and any bytes as a request. What is accepted is within its bounds; and a model of
   bytes that says the request itself is told alike whole and in pieces, without its stop texts ---- */

static engine_model byte_model;
static struct llm_tokenizer_tables byte_tables;
static void begin_serve(void) {
    static char text[257];
    static const char *token[257];
    static int length[257];
    static bool special[257];
    for (int i = 0; i < 257; i++) {
        text[i] = (char)i;
        token[i] = text + i;
        length[i] = 1;
    }
    special[256] = true;
    byte_model.id = "bytes";
    byte_model.tok = (llm_tokenizer){.vocab_size = 257, .token = token, .length = length, .special = special,
                                     .stop = {256}, .stops = 1, .tables = &byte_tables};
}
static void serve_bounds(const serve_request *q) {
    const llm_sampler *s = &q->sampler;
    const int answers = q->n * (q->chat ? 1 : q->prompts);
    if (answers < 1 || answers > SERVE_ANSWERS || q->stops > SERVE_STOPS || q->top < 0 || q->top > SERVE_TOP) abort();
    if (!(s->temperature >= 0 && s->temperature <= 100) || !(s->top_p > 0 && s->top_p <= 1) || s->top_k < 0) abort();
    if (!(s->min_p >= 0 && s->min_p <= 1) || !(s->repeat_penalty >= 0.01 && s->repeat_penalty <= 100)) abort();
    if (q->chat ? q->messages < 1 || q->messages > SERVE_MESSAGES : q->prompts < 1) abort();
    for (int i = 0; i < q->stops; i++) if (!*q->stop[i] || strlen(q->stop[i]) > SERVE_STOP_BYTES) abort();
    for (int i = 0; i < q->prompts; i++) if (!q->prompt[i].text == !q->prompt[i].id) abort();
    for (int i = 0; i < q->messages; i++) if (strlen(q->message[i].text) > q->message[i].length) abort();
    if (q->max_new < -1 || (q->max_new == 0 && !q->echo)) abort();
}
/* The texts of a stream's events, or of the one answer, one after another. */
static char *serve_told(const serve_text *x, bool streams, size_t *size) {
    char *all = copy_text("", *size = 0), *end = x->text;
    for (char *line = x->text; line < x->text + x->size; line = end + 2) {
        end = streams ? strstr(line, "\n\n") : x->text + x->size;
        if (!end || (streams && strncmp(line, "data: ", 6))) abort();
        if (streams && !strncmp(line, "data: [DONE]", 12)) continue;
        llm_json *root = llm_json_parse(line + 6 * streams, (size_t)(end - line) - 6 * streams, "told", 1);
        const llm_json *choices = llm_json_get(root, "choices"), *c = choices ? choices->child : NULL;
        const llm_json *chat = llm_json_get(c, streams ? "delta" : "message");
        const llm_json *text = chat ? llm_json_get(chat, "content") : llm_json_get(c, "text");
        if (!choices || (c && !chat && !text)) abort();
        const size_t n = text ? text->length : 0;
        char *longer = llm_alloc(*size + n + 1, 1);
        memcpy(longer, all, *size);
        if (n) memcpy(longer + *size, text->string, n);
        *size += n;
        llm_release(all);
        all = longer;
        llm_json_free(root);
    }
    return all;
}
static void serve_say(engine_job *job, const char *data, size_t size) {
    const size_t room = size + 3, top = (size_t)job->ask.top;
    const serve_name name = {"fuzz", 1};
    engine_answer a = {.id = llm_alloc(room, sizeof *a.id), .prompt = 1, .count = 1, .left = (int)size + 1,
                       .end = llm_alloc(room, sizeof *a.end), .logp = llm_alloc(room, sizeof *a.logp),
                       .likely = llm_alloc(llm_mul(room, top), sizeof *a.likely)};
    serve_text pieces, whole;
    size_t n, m;
    a.id[0] = 'p';
    job->answer = &a;
    job->answers = 1;
    job->ask.n = 1;
    text_open(&pieces);
    write_roles(&pieces.w, job, &name);
    for (size_t i = 0; i <= size && !a.finish; i++) {
        engine_hear(&byte_model, &job->ask, &a, i < size ? (unsigned char)data[i] : 256);
        write_chunk(&pieces.w, job, &a, &name);
    }
    write_stream_end(&pieces.w, job, &name);
    text_close(&pieces);
    a.told = 0;
    a.told_bytes = 0;
    text_open(&whole);
    write_whole(&whole.w, job, &name);
    text_close(&whole);
    char *one = serve_told(&pieces, true, &n), *two = serve_told(&whole, false, &m);
    if (n != m || memcmp(one, two, n)) abort();
    for (int i = 0; i < job->ask.stops && !job->ask.echo; i++) {
        const char *stop = job->ask.stop[i];
        if (memmem(one, n, stop, strlen(stop)) && !strstr(stop, "\xEF\xBF\xBD")) abort();
    }
    free(pieces.text);
    free(whole.text);
    llm_release_all(one, two, a.id, a.end, a.logp, a.likely, a.text);
    job->answers = 0;
    job->answer = NULL;
}
static void fuzz_serve(const char *data, size_t size) {
    if (!size) return;
    static engine_job job;
    memset(&job, 0, sizeof job);
    job.on = &byte_model;
    if (!serve_read(&job.ask, *data == 'c', data + 1, size - 1, &job.why)) {
        if (job.why.status < 400 || !*job.why.message || job.ask.messages || job.ask.prompts) abort();
        return;
    }
    serve_bounds(&job.ask);
    llm_on_death = NULL;                /* from here on nothing may be refused */
    serve_say(&job, data, size);
    engine_job_free(&job);
}

/* ---- which one ---- */

static const struct { const char *name; void (*begin)(void); void (*target)(const char *data, size_t size); } targets[] = {
    {"options", NULL, fuzz_options}, {"sampler", NULL, fuzz_sampler}, {"tasks", NULL, fuzz_tasks},
    {"ranks", begin_ranks, fuzz_ranks}, {"mixture", begin_mixture, fuzz_mixture}, {"stage", NULL, fuzz_stage},
    {"serve", begin_serve, fuzz_serve}};
static int target_chosen;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    const char *name = getenv("FUZZ");
    const int n = (int)(sizeof targets / sizeof *targets);
    (void)argc;
    (void)argv;
    while (target_chosen < n && (!name || strcmp(name, targets[target_chosen].name))) target_chosen++;
    if (target_chosen == n) llm_usage("FUZZ=options|sampler|tasks|ranks|mixture|stage|serve", "which reader?");
    if (targets[target_chosen].begin) targets[target_chosen].begin();
    return 0;
}
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_run(targets[target_chosen].target, data, size);
    return 0;
}
