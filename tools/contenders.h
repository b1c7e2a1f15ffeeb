/* contenders.h: programs that do the same work in turns, each in a process of its own. Read by the bench programs,
   after llm.h and timed_ops.h. */
#ifndef CONTENDERS_H
#define CONTENDERS_H

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

#endif
