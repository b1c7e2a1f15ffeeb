/* laws.c: a scaling law, measured and put to the test (make laws). Five sizes of Llama read three amounts of the tiny
   world each: fifteen runs, every one with a schedule of its own that ends at its last step (a longer run that is cut
   short has not lowered its rate yet, and is worse than a run of that length). Then

       L(N,D) = E + A / N^a + B / D^b      (law.h)

   is fitted to the fifteen losses, once with E free, as for real text, and once with E the entropy of the text, which
   this world's generator knows. The law foretells the loss of a sixth model, larger than all of them, and only then is
   that one trained. This is what laws are for: to choose before one pays. Counted are

       N           all parameters: the embedding is among them, for it is the head, too (tied), and every token goes
                   through its product as it goes through those of the blocks. Whether the blocks' alone (Kaplan et
                   al. 2020) make a better law is tried, and printed.
       D           tokens read, repetitions included
       C = 6 N D   FLOPs: 2 for a parameter and token forward, 4 backward; attention's scores are left out
       L           held-out loss, bits per byte of val.txt

   A small model is trained faster by one core than by two that wait for each other: so each has a process of its own
   and one thread; the parent sends them out and writes what they bring to OUT/points.csv. What stands there, of this
   world and these settings, is not trained again. */

#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "hf.h"
#include "world.h"
#include "run.h"
#include "text.h"
#include "forms.h"
#include "mixture.h"
#include "stage.h"
#include "law.h"
#include <poll.h>

typedef struct {
    int L, C, steps;
    double N, blocks, D;                /* parameters: all, those of the blocks; tokens */
    double lr, loss, seconds;           /* loss: bits per byte, 0: not trained yet; seconds of one core's work */
} point;
typedef struct {
    run_settings run;
    const char *sizes, *tokens, *ahead;
    const llm_ops *op;
    llm_tokenizer tok;
    llm_corpus corpus;
    double floor;
    uint64_t world;                     /* fingerprint of the text and of all else that a loss depends on */
    point point[LAW_POINTS];            /* the last is the one that is foretold */
    int points;
    char *file, *kept;                  /* points.csv, and what stands in it */
} laws;

/* ---- what is to be trained ---- */

/* A Llama of L layers and C channels, heads of 16. */
static llm_config config_of(const laws *x, const point *p) {
    llm_config c = llm_preset("tiny");
    c.V = x->tok.vocab_size;
    c.T = (int)x->run.seq;
    c.L = p->L;
    c.C = p->C;
    c.D = 16;
    c.H = c.KV = c.C / c.D;
    c.F = (8 * c.C / 3 + 31) / 32 * 32;
    c.bos = x->tok.bos;
    c.eos = x->tok.eos;
    c.pad = x->tok.pad;
    return c;
}
/* A size, "4x64": layers x channels; and how many tokens it reads. The rate is train_gpt's for the width. */
static void add_point(laws *x, const char *size, double tokens) {
    point p = {.L = 0};
    int read = 0;
    if (sscanf(size, "%dx%d%n", &p.L, &p.C, &read) != 2 || (size[read] && size[read] != ',') || p.L < 1 || p.L > 64 ||
        p.C < 16 || p.C > 1024 || p.C % 16)
        llm_usage("4x64: layers x channels, a multiple of 16", "no size is called \"%.*s\"", (int)strcspn(size, ","),
                  size);
    if (x->points == LAW_POINTS) llm_usage("fewer --sizes or --tokens", "more than %d models", LAW_POINTS);
    const double step = (double)(x->run.batch * x->run.seq);
    const llm_config c = config_of(x, &p);
    p.N = (double)llm_parameters(&c);
    p.blocks = p.N - (double)c.V * c.C;
    p.steps = (int)ceil(tokens / step);
    p.D = p.steps * step;
    p.lr = 3e-3 * pow(96.0 / c.C, 0.774);
    x->point[x->points++] = p;
}
static double read_tokens(const char *text, char **end) {
    const double tokens = strtod(text, end);
    if (*end == text || (**end && **end != ',') || !(tokens >= 1 && tokens <= 1e9))
        llm_usage("500000,1000000: tokens", "a model cannot read \"%.*s\" tokens", (int)strcspn(text, ","), text);
    return tokens;
}
/* All sizes with all amounts, and the one ahead, which reads the largest amount. */
static void add_points(laws *x) {
    double most = 0;
    int sizes = 0, amounts = 0;
    for (const char *s = x->sizes; *s; s += strcspn(s, ","), s += *s == ',', sizes++) {
        char *end;
        amounts = 0;
        for (const char *t = x->tokens; *t; t = end + (*end == ','), amounts++) {
            const double tokens = read_tokens(t, &end);
            most = fmax(most, tokens);
            add_point(x, s, tokens);
        }
    }
    if (sizes < 3 || amounts < 3)
        llm_usage("three sizes and three amounts at least", "too few points for the five unknowns E, A, a, B and b: "
                  "sizes %d, amounts of tokens %d", sizes, amounts);
    add_point(x, x->ahead, most);
}
/* The text, and whatever else a loss depends on. */
static uint64_t fingerprint(const laws *x) {
    char *all = llm_format("%s %s batch %lld seq %lld warmup %lld seed %lld floor %.9g tokenizer %016llx", x->op->name,
                           llm_precision_name(x->op->precision), (long long)x->run.batch, (long long)x->run.seq,
                           (long long)x->run.warmup, (long long)x->run.seed, x->floor, (unsigned long long)x->tok.hash);
    uint64_t h = llm_hash(all, strlen(all), x->corpus.validation.hash);
    for (int i = 0; i < x->corpus.sources; i++) {
        const llm_source *s = &x->corpus.source[i];
        h = llm_hash(&s->hash, sizeof s->hash, h);
        h = llm_hash(&s->chance, sizeof s->chance, h);
    }
    llm_release(all);
    return h;
}

/* ---- points.csv ---- */

static const char points_head[] = "world,layers,channels,tokens,parameters,blocks,steps,rate,bits_per_byte,seconds\n";

static void points_read(laws *x) {
    if (!run_is_ours(x->file, "world,layers,channels,tokens,", false))
        llm_usage("another --out", "%s is no list of points of ours", x->file);
    x->kept = llm_exists(x->file) ? llm_read_file(x->file, NULL) : llm_format("%s", points_head);
    for (const char *line = x->kept; (line = strchr(line, '\n')) && *++line;) {
        unsigned long long world;
        point p;
        if (sscanf(line, "%llx,%d,%d,%lf,%lf,%lf,%d,%lf,%lf,%lf", &world, &p.L, &p.C, &p.D, &p.N, &p.blocks, &p.steps,
                   &p.lr, &p.loss, &p.seconds) != 10 || world != x->world) continue;
        for (int i = 0; i < x->points; i++) {
            point *mine = &x->point[i];
            if (mine->L == p.L && mine->C == p.C && mine->D == p.D) mine->loss = p.loss, mine->seconds = p.seconds;
        }
    }
}
static void points_add(laws *x, const point *p) {
    char *all = llm_format("%s%016llx,%d,%d,%.0f,%.0f,%.0f,%d,%.6g,%.6f,%.1f\n", x->kept, (unsigned long long)x->world,
                           p->L, p->C, p->D, p->N, p->blocks, p->steps, p->lr, p->loss, p->seconds);
    llm_release(x->kept);
    x->kept = all;
    llm_writer w = llm_write_begin(x->file);
    llm_write_bytes(&w, all, strlen(all));
    llm_write_done(&w);
}

/* ---- training ---- */

/* What a process tells its parent. loss 0: it is still training. */
typedef struct { double tokens, loss, seconds; } word;

static double evaluate(const laws *x, llm_model *m, llm_batch *b, llm_real *logp) {
    double nats = 0, bytes = 0;
    for (size_t i = 0; llm_corpus_validation(&x->corpus, i, b); i++) {
        llm_forward(m, b, logp, NULL, NULL);
        text_bits(b, &x->tok, logp, &nats, &bytes);
    }
    return nats / bytes / log(2);
}
/* The process of one model: reads from the text's beginning, as all do, and ends. Whoever tells a parent that is gone
   is ended by SIGPIPE. */
LLM_NORETURN static void train(laws *x, const point *p, int threads, int to) {
    llm_threads(threads);
    const llm_config c = config_of(x, p);
    llm_batch b = llm_batch_new((int)x->run.batch, (int)x->run.seq);
    llm_real *logp = llm_alloc(llm_places(&b), sizeof *logp), *dlogp = llm_alloc(llm_places(&b), sizeof *dlogp);
    const llm_schedule schedule = {LLM_COSINE, p->lr, 0.1, llm_min((int)x->run.warmup, p->steps / 10), p->steps, 0};
    llm_adamw adamw = llm_adamw_defaults();
    llm_model m;
    word w = {.loss = 0};
    llm_model_init(&m, &c, x->op, (uint64_t)x->run.seed);
    llm_model_train(&m);
    for (int step = 0; step < p->steps; step++) {
        llm_corpus_next(&x->corpus, &b);
        llm_loss_ce_weights(dlogp, &b, llm_batch_targets(&b));
        llm_forward_backward(&m, &b, dlogp, logp);
        llm_adamw_step(&adamw, &m, llm_schedule_lr(&schedule, step));
        w.tokens += (double)llm_places(&b);
        if (write(to, &w, sizeof w) != (ssize_t)sizeof w) _exit(1);
    }
    struct rusage used;
    w.loss = evaluate(x, &m, &b, logp);
    getrusage(RUSAGE_SELF, &used);
    w.seconds = (double)used.ru_utime.tv_sec + 1e-6 * (double)used.ru_utime.tv_usec;
    _exit(write(to, &w, sizeof w) != (ssize_t)sizeof w);
}
/* The processes at work: where each tells, and what of. */
typedef struct { struct pollfd tells[256]; point *of[256]; pid_t pid[256]; double tokens[256]; int count; } workers;

static void send_out(laws *x, workers *w, point *p, int threads) {
    int ends[2];
    if (pipe(ends)) llm_die("fewer --threads", "no pipe: %s", strerror(errno));
    fflush(NULL);
    pthread_mutex_lock(&shown_status.lock);             /* which the thread of progress.h may hold; it stays behind */
    const pid_t child = fork();
    pthread_mutex_unlock(&shown_status.lock);
    if (child < 0) llm_die("fewer --threads", "no process: %s", strerror(errno));
    if (child == 0) {
        progress.ended = true;
        for (int fd = 3; fd < 1024; fd++)               /* the others' ends and the lock of --out are the parent's */
            if (fd != ends[1]) close(fd);
        train(x, p, threads, ends[1]);
    }
    close(ends[1]);
    const int i = w->count++;
    w->tells[i] = (struct pollfd){.fd = ends[0], .events = POLLIN};
    w->of[i] = p;
    w->pid[i] = child;
    w->tokens[i] = 0;
}
/* One word of worker i; true: it was its last. */
static bool hear(laws *x, workers *w, int i) {
    word said;
    point *p = w->of[i];
    if (read(w->tells[i].fd, &said, sizeof said) != (ssize_t)sizeof said)
        llm_die("see above; the same command goes on behind the models that are done",
                "the process that trains %dx%d on %.0f tokens has ended", p->L, p->C, p->D);
    w->tokens[i] = said.tokens;
    if (!(said.loss > 0)) return false;
    p->loss = rint(1e6 * said.loss) / 1e6;              /* as it is written */
    p->seconds = said.seconds;
    close(w->tells[i].fd);
    waitpid(w->pid[i], NULL, 0);
    fprintf(stderr, "%2d layers x %3d channels, %7.0f parameters, %7.0f tokens: %.4f bits per byte, %.0f s\n", p->L,
            p->C, p->N, p->D, p->loss, p->seconds);
    points_add(x, p);
    const int last = --w->count;
    w->tells[i] = w->tells[last];
    w->of[i] = w->of[last];
    w->pid[i] = w->pid[last];
    w->tokens[i] = w->tokens[last];
    return true;
}
static int by_work(const void *a, const void *b) {
    const point *p = *(point *const *)a, *q = *(point *const *)b;
    return (p->N * p->D < q->N * q->D) - (p->N * p->D > q->N * q->D);
}
/* Train points from .. to - 1 that are not there yet, `jobs` at a time, the longest first. */
static void train_all(laws *x, int from, int to, int jobs, int threads, const char *what) {
    point *todo[LAW_POINTS];
    workers w = {.count = 0};
    int n = 0, next = 0;
    double all = 0, done = 0, tokens = 0;
    for (int i = from; i < to; i++)
        if (!(x->point[i].loss > 0)) all += x->point[i].N * x->point[i].D, todo[n++] = &x->point[i];
    if (n < to - from)
        fprintf(stderr, "%d of %d are in %s and not trained again\n", to - from - n, to - from, x->file);
    if (!n) return;
    fprintf(stderr, "%s: Ctrl-C loses no model that is done, the same command goes on with the others\n", x->file);
    qsort(todo, (size_t)n, sizeof *todo, by_work);
    progress_begin(what, 0, 6 * all, "FLOP");
    while (next < n || w.count) {
        while (next < n && w.count < jobs) send_out(x, &w, todo[next++], threads);
        if (poll(w.tells, (nfds_t)w.count, -1) < 0 && errno != EINTR) llm_die(NULL, "poll: %s", strerror(errno));
        double under_way = 0, read = tokens;
        for (int i = w.count; i-- > 0;) {
            const point *p = w.of[i];
            if (w.tells[i].revents && hear(x, &w, i)) done += p->N * p->D, tokens += p->D;
        }
        for (int i = 0; i < w.count; i++) under_way += w.of[i]->N * w.tokens[i], read += w.tokens[i];
        progress_tokens(6 * (done + under_way), read);
    }
    progress_end();
}

/* ---- the law ---- */

/* A law, how it was fitted, and what it said of the model ahead before that was trained. */
typedef struct {
    const char *name;
    bool blocks, known;                 /* N: of the blocks alone; E: the entropy of the text */
    law l;
    double left_out, said, low, high;   /* error at points that it was not fitted to; of the model ahead */
} fitted;
enum { FREE, KNOWN, FREE_BLOCKS, KNOWN_BLOCKS, LAWS };

static double size_of(const fitted *f, const point *p) { return f->blocks ? p->blocks : p->N; }
static void fit(const laws *x, fitted *f) {
    const int n = x->points - 1;
    const point *ahead = &x->point[n];
    const double floor = f->known ? x->floor : NAN;
    law_point p[LAW_POINTS];
    for (int i = 0; i < n; i++) p[i] = (law_point){size_of(f, &x->point[i]), x->point[i].D, x->point[i].loss};
    f->l = law_fit(p, n, floor);
    f->left_out = law_left_out(p, n, floor);
    f->said = law_loss(&f->l, size_of(f, ahead), ahead->D);
    law_interval(p, n, floor, size_of(f, ahead), ahead->D, (uint64_t)x->run.seed, &f->low, &f->high);
}
static void fit_all(const laws *x, fitted f[LAWS]) {
    static const char *const name[] = {"E free", "E known", "E free, N of the blocks", "E known, N of the blocks"};
    progress_begin("fitting the law", 0, LAWS, NULL);
    for (int i = 0; i < LAWS; i++) {
        f[i] = (fitted){.name = name[i], .blocks = i >= FREE_BLOCKS, .known = i % 2 == KNOWN};
        fit(x, &f[i]);
        progress_at(i + 1);
    }
    progress_end();
    printf("\nL(N,D) = E + A / N^a + B / D^b, bits per byte; the entropy of the text is %.4f\n", x->floor);
    printf("%-26s %7s %9s %6s %9s %6s %9s %9s %17s\n", "", "E", "A", "a", "B", "b", "misses by", "left out",
           "the one ahead");
    for (int i = 0; i < LAWS; i++)
        printf("%-26s %7.4f %9.3g %6.3f %9.3g %6.3f %7.2f %% %7.2f %%    %.4f (%.4f to %.4f)\n", f[i].name, f[i].l.E,
               f[i].l.A, f[i].l.a, f[i].l.B, f[i].l.b, 100 * f[i].l.miss, 100 * f[i].left_out, f[i].said, f[i].low,
               f[i].high);
}
/* Do both matter? */
static bool has_best(const law *l) { return l->A > 0 && l->B > 0; }
/* What the same compute would have bought at best, by the law whose N is all parameters. */
static void say_best(const laws *x, const law *l, char *text, size_t size) {
    const point *p = &x->point[x->points - 1];
    char n[32], d[32], N[32], D[32];
    double best, tokens, more, many;
    if (!has_best(l)) {
        snprintf(text, size, "By this law %s no difference: a budget has no best size.", l->A > 0 ? "tokens make" :
                 "parameters make");
        return;
    }
    law_optimum(l, 6 * p->N * p->D, &best, &tokens);
    law_optimum(l, 60 * p->N * p->D, &more, &many);
    snprintf(text, size, "Chosen by the law (E known), the %.3g FLOPs of the model ahead would go into %s parameters "
             "that read %s tokens (%.4f bits per byte), and ten times as many into %s and %s (%.4f): %.1f times the "
             "parameters, %.1f times the tokens.", 6 * p->N * p->D, say_number(n, best), say_number(d, tokens),
             law_loss(l, best, tokens), say_number(N, more), say_number(D, many), law_loss(l, more, many), more / best,
             many / tokens);
}
/* What came out, as a sentence of figures. */
static void say_result(const laws *x, const fitted f[LAWS], char *text, size_t size) {
    const point *p = &x->point[x->points - 1];
    const fitted *k = &f[KNOWN];
    const bool within = p->loss >= k->low && p->loss <= k->high;
    char n[32], d[32];
    snprintf(text, size, "Fitted, E comes out as %.4f; the text's entropy is %.4f. With E known the law foretold %.4f "
             "(%.4f to %.4f) bits per byte for a model of %s parameters on %s tokens that nobody had trained: it came "
             "to %.4f, %.1f %% %s, %s the interval", f[FREE].l.E, x->floor, k->said, k->low, k->high,
             say_number(n, p->N), say_number(d, p->D), p->loss, 100 * fabs(p->loss / k->said - 1),
             p->loss > k->said ? "worse" : "better", within ? "inside" : "outside");
}

/* ---- the page ---- */

static void release_cells(const char **cell, int from, int to) {
    for (int i = from; i < to; i++) llm_release((void *)(uintptr_t)cell[i]);
}
static void table_of_points(const laws *x, stage_card *card, const fitted *f) {
    enum { COLUMNS = 8 };
    static const char *const head[] = {"layers x channels", "parameters", "of the blocks", "tokens", "FLOPs",
                                       "bits per byte", "the law", "seconds"};
    const char *cell[(LAW_POINTS + 1) * COLUMNS];
    memcpy(cell, head, sizeof head);
    for (int i = 0; i < x->points; i++) {
        const point *p = &x->point[i];
        const char **row = cell + (i + 1) * COLUMNS;
        const double said = law_loss(&f->l, size_of(f, p), p->D);
        row[0] = llm_format("%s%d x %d", i == x->points - 1 ? "ahead: " : "", p->L, p->C);
        row[1] = llm_format("%.0f", p->N);
        row[2] = llm_format("%.0f", p->blocks);
        row[3] = llm_format("%.0f", p->D);
        row[4] = llm_format("%.2e", 6 * p->N * p->D);
        row[5] = llm_format("%.4f", p->loss);
        row[6] = llm_format("%.4f\n%+.1f %%", said, 100 * (p->loss / said - 1));
        row[7] = llm_format("%.0f", p->seconds);
    }
    stage_table(card, "table.csv", "Every model, and what the law (E known) says of it", NULL, cell, COLUMNS,
                x->points + 1);
    release_cells(cell, COLUMNS, (x->points + 1) * COLUMNS);
}
static void table_of_laws(const laws *x, stage_card *card, const fitted f[LAWS]) {
    enum { COLUMNS = 10 };
    static const char *const head[] = {"law", "E", "A", "a", "B", "b", "misses by", "one left out by",
                                       "the model ahead", "off by"};
    const char *cell[(LAWS + 1) * COLUMNS];
    const double loss = x->point[x->points - 1].loss;
    memcpy(cell, head, sizeof head);
    for (int i = 0; i < LAWS; i++) {
        const char **row = cell + (i + 1) * COLUMNS;
        const law *l = &f[i].l;
        row[0] = llm_format("%s", f[i].name);
        row[1] = llm_format("%.4f", l->E);
        row[2] = llm_format("%.3g", l->A);
        row[3] = llm_format("%.3f", l->a);
        row[4] = llm_format("%.3g", l->B);
        row[5] = llm_format("%.3f", l->b);
        row[6] = llm_format("%.2f %%", 100 * l->miss);
        row[7] = llm_format("%.2f %%", 100 * f[i].left_out);
        row[8] = llm_format("%.4f\n%.4f to %.4f", f[i].said, f[i].low, f[i].high);
        row[9] = llm_format("%.1f %%", 100 * (loss / f[i].said - 1));
    }
    stage_table(card, "laws.csv", "The law fitted in four ways, before the model ahead was trained", NULL, cell,
                COLUMNS, LAWS + 1);
    release_cells(cell, COLUMNS, (LAWS + 1) * COLUMNS);
}
/* Loss over compute, each size's law with its points in one colour. above: the level that is taken off. */
static void chart(const laws *x, stage_card *card, const law *l, const char *file, const char *title, double above,
                  const char *look) {
    enum { STEPS = 16 };
    stage_line line[2 * LAW_POINTS + 2];
    double *C = llm_alloc((LAW_POINTS + 2) * STEPS, sizeof *C), *y = llm_alloc((LAW_POINTS + 2) * STEPS, sizeof *y);
    double at[LAW_POINTS], loss[LAW_POINTS], low = HUGE_VAL, high = 0;
    int lines = 0, used = 0;
    for (int from = 0, to; from < x->points; from = to) {
        const point *p = &x->point[from];
        char n[32];
        const bool ahead = from == x->points - 1;
        for (to = from; to < x->points - !ahead && x->point[to].L == p->L && x->point[to].C == p->C; to++) {
            at[to] = 6 * p->N * x->point[to].D;
            loss[to] = x->point[to].loss - above;
            low = fmin(low, at[to]);
            high = fmax(high, at[to]);
        }
        const double first = x->point[0].D, last = x->point[x->points - 1].D;
        for (int i = 0; i < STEPS; i++) {
            const double D = first * pow(last / first, i / (STEPS - 1.0));
            C[used + i] = 6 * p->N * D;
            y[used + i] = law_loss(l, p->N, D) - above;
        }
        const char *name = llm_format("%s%s", ahead ? "ahead: " : "", say_number(n, p->N));
        line[lines++] = (stage_line){name, ahead ? "dashed" : "line", C + used, y + used, STEPS};
        line[lines++] = (stage_line){name, "dots", at + from, loss + from, to - from};
        used += STEPS;
    }
    for (int i = 0; i < STEPS; i++) {
        double N, D;
        C[used + i] = low * pow(high / low, i / (STEPS - 1.0));
        law_optimum(l, C[used + i], &N, &D);
        y[used + i] = law_loss(l, N, D) - above;
    }
    if (has_best(l)) line[lines++] = (stage_line){"best for its compute", "dashed", C + used, y + used, STEPS};
    const double ends[] = {low, high}, floor[] = {x->floor, x->floor};
    if (above == 0) line[lines++] = (stage_line){"entropy of the text", "dashed", ends, floor, 2};
    stage_chart(card, file, title, "FLOPs (6 N D)", "xy", look, line, lines);
    for (int i = 0; i < 2 * used / STEPS; i += 2) llm_release((void *)(uintptr_t)line[i].name);
    llm_release_all(C, y);
}
/* How often the largest amount reads the sources: the least and the most. */
static void repetitions(const laws *x, double *least, double *most) {
    *least = HUGE_VAL;
    *most = 0;
    for (int i = 0; i < x->corpus.sources; i++) {
        const llm_source *s = &x->corpus.source[i];
        const double times = x->point[x->points - 1].D * s->proportion / (double)s->count;
        *least = fmin(*least, times);
        *most = fmax(*most, times);
    }
}
static void show(const laws *x, const fitted f[LAWS], int argc, char **argv) {
    char best[512], result[512], n[32], d[32];
    const point *p = &x->point[x->points - 1];
    const law *l = &f[KNOWN].l;
    double least, most;
    stage_card card = stage_begin(x->run.out, x->run.report, 8, "Scaling laws", argc, argv);
    say_best(x, l, best, sizeof best);
    say_result(x, f, result, sizeof result);
    repetitions(x, &least, &most);
    stage_text(&card, "How large a model, and how long, for a given budget? Small models were trained on small "
               "amounts, a law, L(N,D) = E + A / N^a + B / D^b, was fitted to their losses, and the loss of a larger "
               "one, %s parameters on %s tokens, foretold before it was trained: so one chooses before one pays. Real "
               "text never tells its entropy E; this world's generator does, so the fitted E can be checked.",
               say_number(n, p->N), say_number(d, p->D));
    stage_text(&card, "%s", best);
    stage_text(&card, "Seed %lld, one run a point; the interval is a bootstrap of what the law misses. Steps of %lld "
               "tokens, a cosine to a tenth of the rate at each run's own end; the largest amount reads the sources "
               "%.1f to %.1f times.", (long long)x->run.seed, (long long)(x->run.batch * x->run.seq), least, most);
    chart(x, &card, l, "chart.csv", "loss over compute, bits per byte", 0, "Dots are models, a line is what the law "
          "says of one size. Each size pays for a while and then levels off: a larger one takes over, and the lower "
          "edge is the best for a budget. Nothing gets below the entropy.");
    chart(x, &card, l, "above.csv", "the same above the entropy", x->floor, "What is left to learn. The best for its "
          "compute is nearly straight here: a power of compute, which a ruler prolongs.");
    table_of_points(x, &card, &f[KNOWN]);
    table_of_laws(x, &card, f);
    printf("\n%s\n%s.\n", best, result);
    stage_end(&card, "%s", result);
}

/* ---- the program ---- */

static void prepare(laws *x) {
    const llm_list text = world_list(world_folder);
    size_t size;
    world_write();
    char *all = mixture_text(text.item, text.count, (size_t)64 << 20, &size);
    all = mixture_add_records(all, &size, world_questions, 1);
    PROGRESS(llm_tokenizer_train(&x->tok, all, size, 768, true), "training the tokenizer");
    llm_release(all);
    const llm_corpus_options o = {.paths = text.item, .count = text.count, .document_gap = true, .document_mask = true,
                                  .seed = (uint64_t)x->run.seed};
    mixture_open_cached(&x->corpus, &x->tok, o, false, x->run.out);
    x->floor = world_floor();
    x->world = fingerprint(x);
}
static laws defaults(void) {
    laws x = {.sizes = "2x16,2x32,2x48,3x48,4x64", .tokens = "500000,1000000,2000000", .ahead = "4x96"};
    x.run = run_defaults();
    x.run.out = "out/laws";
    x.run.batch = 4;
    x.run.seq = 128;
    x.run.warmup = 30;
    return x;
}
int main(int argc, char **argv) {
    run_patience(argv);
    laws x = defaults();
    llm_option options[] = {
        OPTION("sizes", LLM_TEXT, &x.sizes, 0, 0, "what is trained for the law: layers x channels"),
        OPTION("tokens", LLM_TEXT, &x.tokens, 0, 0, "how many each of them reads"),
        OPTION("ahead", LLM_TEXT, &x.ahead, 0, 0, "the model that is foretold; it reads the largest amount"),
        {"out", LLM_TEXT, &x.run.out, 0, 0, "what is done, and this experiment's part of the report", NULL, "o"},
        OPTION("report", LLM_TEXT, &x.run.report, 0, 0, "the page; none: report.html beside --out; off"),
        {"batch", LLM_INT, &x.run.batch, 1, 65536, "sequences of 128 tokens in a step", NULL, "batch-size"},
        OPTION("seed", LLM_INT, &x.run.seed, 0, 1e15, "of the weights, the order of the text, the bootstrap"),
        {"precision", LLM_TEXT, &x.run.precision, 0, 0, "of the matrix products", "auto|fp32|bf16x3|bf16", "dtype"},
        OPTION("threads", LLM_INT, &x.run.threads, 0, 256, "models at a time; the one ahead has all. 0: all cores"),
    };
    const int count = sizeof options / sizeof options[0];
    llm_options_parse(options, count, "a scaling law of the tiny world, put to the test", argc, argv);
    const int cores = x.run.threads ? (int)x.run.threads : llm_min(llm_threads(0), 256);
    x.run.threads = 1;                  /* the parent's: it forks, and threads do not come along */
    x.run.device = "cpu";
    x.op = run_device(&x.run);
    run_check_place(x.run.out, "--out", true);
    run_check_files(&x.run);
    if (run_holds(x.run.out)) llm_usage("another --out, for this experiment alone", "%s holds a model", x.run.out);
    prepare(&x);
    add_points(&x);
    llm_make_dirs(x.run.out);
    run_lock(x.run.out, "--out");
    x.file = llm_format("%s/points.csv", x.run.out);
    points_read(&x);
    fitted f[LAWS];
    char *what = llm_format("training %d models", x.points - 1);
    train_all(&x, 0, x.points - 1, cores, 1, what);
    fit_all(&x, f);
    fflush(stdout);
    train_all(&x, x.points - 1, x.points, 1, cores, "training the one ahead");
    show(&x, f, argc, argv);
    llm_release_all(what, x.file, x.kept);
    llm_corpus_free(&x.corpus);
    llm_tokenizer_free(&x.tok);
    return 0;
}
