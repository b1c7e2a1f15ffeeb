/* contenders.h: programs that do the same work in turns, each in a process of its own; and what the bench programs, who
   read it after llm.h and timed_ops.h, have in common beside that. */
#ifndef CONTENDERS_H
#define CONTENDERS_H

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

typedef struct {
    char name[64], label[64];           /* what we call it; what it calls itself */
    llm_precision precision;            /* whose peak its rate is a share of */
    pid_t pid;
    FILE *to, *from;
    double best, loss, rss;
    int block;                          /* steps a turn */
} contender;

static inline bool contender_start(contender *c, const char *name, llm_precision p, const char *const *command) {
    int in[2], out[2];
    char threads[16];
    *c = (contender){.precision = p, .best = INFINITY, .block = 1};
    snprintf(c->name, sizeof c->name, "%s", name);
    if (pipe(in) || pipe(out)) llm_die(NULL, "no pipe: %s", strerror(errno));
    fflush(stdout);
    c->pid = fork();
    if (c->pid < 0) llm_die(NULL, "no process: %s", strerror(errno));
    if (!c->pid) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        int ends[] = {in[0], in[1], out[0], out[1]};
        for (int i = 0; i < 4; i++) close(ends[i]);
        snprintf(threads, sizeof threads, "%d", llm_threads(0));
        setenv("OMP_NUM_THREADS", threads, 1);
        if (strcmp(command[0], "/proc/self/exe")) unsetenv("GOMP_SPINCOUNT");   /* a peer waits as it likes to */
        execvp(command[0], (char *const *)command);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    fcntl(in[1], F_SETFD, FD_CLOEXEC);
    fcntl(out[0], F_SETFD, FD_CLOEXEC);
    c->to = fdopen(in[1], "w");
    c->from = fdopen(out[0], "r");
    char line[256];
    while (fgets(line, sizeof line, c->from))
        if (sscanf(line, "ready %63[^\n]", c->label) == 1) return true;
    fprintf(stderr, "SKIP: %s did not start\n", name);
    return false;
}
/* Say a line, hear one; false: it has ended. (Ignore SIGPIPE to hear of it.) */
static inline bool contender_ask(contender *c, const char *question, char *answer, int size) {
    fprintf(c->to, "%s\n", question);
    fflush(c->to);
    return fgets(answer, size, c->from) != NULL;
}
static inline void contender_turn(contender *c, int steps) {
    double seconds;
    char question[16], answer[256];
    snprintf(question, sizeof question, "%d", steps);
    if (!contender_ask(c, question, answer, sizeof answer) || sscanf(answer, "%lf %lf", &seconds, &c->loss) != 2)
        llm_die("run it by hand", "%s stopped in the middle", c->name);
    c->best = lower(c->best, seconds);
    usleep(30000);                      /* its threads still spin for a moment */
}
static inline void contender_end(contender *c) {
    struct rusage u;
    fclose(c->to);
    fclose(c->from);
    wait4(c->pid, NULL, 0, &u);
#ifdef __APPLE__
    c->rss = (double)u.ru_maxrss;
#else
    c->rss = (double)u.ru_maxrss * 1024;
#endif
}
/* Turns of all, two at least, and no round more than there is time for; between: what else a round measures. */
static inline void contenders_run(contender *x, int n, double seconds, void (*between)(void)) {
    const double began = llm_now();
    double now = began, round = 0;
    signal(SIGPIPE, SIG_IGN);           /* one that ends is heard of by its silence */
    for (int rounds = 0; n && (rounds < 2 || now - began + round < seconds); rounds++) {
        for (int i = 0; i < n; i++) {
            contender_turn(&x[i], x[i].block);
            x[i].block = x[i].best < 0.15 ? llm_min(64, (int)(0.3 / x[i].best) + 1) : 1;
        }
        if (between) between();
        round = llm_now() - now;
        now += round;
    }
    for (int i = 0; i < n; i++) contender_end(&x[i]);
}
/* The contender's side of the pipe. Every contender, ours or not, speaks like this: it says "ready NAME" after a first
   step, then for every line "n" it takes n steps and answers "seconds of the fastest, loss"; "0" ends it. */
static inline int contender_serve(const char *name, double (*step)(void *), void *self) {
    int n;
    step(self);
    printf("ready %s\n", name);
    fflush(stdout);
    while (scanf("%d", &n) == 1 && n > 0) {
        double best = INFINITY, loss = 0;
        for (int i = 0; i < n; i++) {
            double since = bench_now();
            loss = step(self);
            best = lower(best, bench_now() - since);
        }
        printf("%.9g %.6f\n", best, loss);
        fflush(stdout);
    }
    return 0;
}
/* Is a peer here? The command, which looks for it or builds it, says so; if not, what would bring it is told, once. */
static inline bool peer_here(const char *name, const char *remedy, char *command) {
    const bool here = system(command) == 0;
    if (!here) printf("SKIP: %s: %s\n", name, remedy);
    llm_release(command);
    return here;
}
/* The Python of a peer in that language: --torch, $PYTHON, python3. */
static inline const char *peer_python(const llm_list *given) {
    const char *python = getenv("PYTHON");
    return given->count ? given->item[0] : python && *python ? python : "python3";
}
static inline bool wants(const llm_list *list, const char *name) {
    for (int i = 0; i < list->count; i++)
        if (!strcmp(list->item[i], name)) return true;
    return list->count == 0;
}
/* The parts of the two programs that make bench runs; each takes its own. */
static inline void bench_check_parts(const llm_list *only) {
    static const char *const part[] = {"peaks", "products", "steps", "speak", "prompts", "batches"};
    for (int i = 0; i < only->count; i++) {
        int k = 0;
        while (k < 6 && strcmp(only->item[i], part[k])) k++;
        if (k == 6)
            llm_usage("peaks, products, steps, speak, prompts or batches", "no part is called '%s'", only->item[i]);
    }
}
/* "AMD EPYC, 2 threads" */
static inline const char *bench_machine(void) {
    static char text[240];
    char line[256], name[200] = "unknown processor";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "model name : %199[^\n]", name) == 1) break;
    if (f) fclose(f);
    snprintf(text, sizeof text, "%s, %d thread%s", name, llm_threads(0), llm_threads(0) > 1 ? "s" : "");
    return text;
}

#endif
