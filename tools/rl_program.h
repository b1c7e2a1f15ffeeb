/* rl_program.h: a reward program of the user's. Included after llm.h.

   --reward-command PROG is started once by the shell. For each answer it reads one line {"prompt": ..., "answer": ...}
   and writes one line with a number, within --reward-timeout seconds. When it is late, dies or writes something else it
   is started again, and that answer gets the mean of the others in its batch: it then teaches nothing. After three
   failures in a row training stops with a checkpoint. It ends with us, however we end: beside it stands a guard, which
   waits for the end of a pipe that only we hold open, and then kills it. */
#ifndef RL_PROGRAM_H
#define RL_PROGRAM_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

typedef struct {                        /* while it runs */
    const char *command;
    double seconds;                     /* it may take for an answer */
    pid_t pid, guard;
    int to, from, alive;                /* alive: the end of the guard's pipe that we hold open */
    int failures, twice;                /* failures: in a row; twice: it wrote more than a line for an answer */
} rl_program;

/* A shell, not a fork of ours that waits: that would hold on to all our memory. It is there before the program, which
   joins its group, and kills that group, itself too. Ctrl-C is for the terminal's group, and not for this one. */
static void rl_program_guard(rl_program *p) {
    int pipes[2];
    if (pipe(pipes)) llm_die("fewer open files", "no pipe to the reward program's guard: %s", strerror(errno));
    fcntl(pipes[1], F_SETFD, FD_CLOEXEC);
    p->guard = fork();
    if (p->guard < 0) llm_die("more memory", "cannot start the reward program's guard: %s", strerror(errno));
    if (!p->guard) {
        setpgid(0, 0);
        dup2(pipes[0], 0);
        for (int i = 1; i < 3; i++) close(i);
        if (pipes[0] > 2) close(pipes[0]);
        execl("/bin/sh", "sh", "-c", "read -r line; kill -s KILL 0", (char *)NULL);
        _exit(127);
    }
    setpgid(p->guard, p->guard);
    close(pipes[0]);
    p->alive = pipes[1];
}
static void rl_program_start(rl_program *p, const char *command) {
    int in[2], out[2];
    rl_program_guard(p);
    if (pipe(in) || pipe(out)) llm_die("fewer open files", "no pipe to the reward program: %s", strerror(errno));
    signal(SIGPIPE, SIG_IGN);
    p->pid = fork();
    if (p->pid < 0) llm_die("more memory", "cannot start the reward program: %s", strerror(errno));
    if (!p->pid) {
        setpgid(0, p->guard);           /* so that what the shell starts ends with it */
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int i = 0; i < 2; i++) {
            close(in[i]);
            close(out[i]);
        }
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    setpgid(p->pid, p->guard);
    close(in[0]);
    close(out[1]);
    p->to = in[1];
    p->from = out[0];
    fcntl(p->to, F_SETFL, O_NONBLOCK);
    fcntl(p->to, F_SETFD, FD_CLOEXEC);
    fcntl(p->from, F_SETFD, FD_CLOEXEC);
}
static void rl_program_stop(rl_program *p) {
    if (p->pid <= 0) return;
    close(p->to);
    close(p->from);
    kill(-p->guard, SIGKILL);           /* the group: the guard, the program and what it has started */
    close(p->alive);
    waitpid(p->guard, NULL, 0);
    waitpid(p->pid, NULL, 0);
    p->pid = 0;
}
/* Write the question, read the line that answers it. Returns NULL, or what went wrong. */
static const char *rl_program_ask(rl_program *p, const char *line, size_t size, double seconds, double *score) {
    char reply[256];
    size_t sent = 0, got = 0;
    double end = llm_now() + seconds;
    while (!got || reply[got - 1] != '\n') {
        struct pollfd f[2] = {{p->from, POLLIN, 0}, {p->to, POLLOUT, 0}};
        double left = end - llm_now();
        if (left <= 0) return "it took too long";
        if (poll(f, sent < size ? 2 : 1, (int)ceil(left * 1000)) < 0 && errno != EINTR) return strerror(errno);
        if (sent < size && (f[1].revents & (POLLOUT | POLLERR))) {
            ssize_t n = write(p->to, line + sent, size - sent);
            if (n < 0 && errno != EAGAIN && errno != EINTR) return "it ended";
            sent += n > 0 ? (size_t)n : 0;
        }
        if (!(f[0].revents & (POLLIN | POLLHUP))) continue;
        ssize_t n = read(p->from, reply + got, sizeof reply - 1 - got);
        if (n == 0) return "it ended";
        got += n > 0 ? (size_t)n : 0;
        if (got == sizeof reply - 1) return "its line is too long";
    }
    char *rest;
    reply[got] = '\0';
    *score = strtod(reply, &rest);
    bool number = rest != reply && strspn(rest, " \t\r\n") == strlen(rest) && isfinite(*score);
    return number ? NULL : "its line is no number";
}
static char *rl_program_question(const char *prompt, const char *text, size_t *size) {
    char *line = NULL;                  /* JSON, by way of memory instead of a file */
    llm_writer w = {.file = open_memstream(&line, size)};
    if (!w.file) llm_die("more memory", "no memory for a question to the reward program");
    llm_write_text(&w, "{\"prompt\": ");
    llm_write_json_string(&w, prompt, strlen(prompt));
    llm_write_text(&w, ", \"answer\": ");
    llm_write_json_string(&w, text, strlen(text));
    llm_write_text(&w, "}\n");
    fclose(w.file);
    return line;
}
/* Has it written more than was asked, up to now or within some milliseconds? Then the line before may have been that of
   an earlier answer. */
static bool rl_program_says_more(rl_program *p, int milliseconds) {
    struct pollfd f = {p->from, POLLIN, 0};
    if (p->pid <= 0 || poll(&f, 1, milliseconds) <= 0 || !(f.revents & POLLIN)) return false;
    fprintf(stderr, "warning: the reward program wrote more than one line for an answer; the answer gets the mean of "
            "its batch\n");
    rl_program_stop(p);
    if (++p->twice >= 3) p->failures = 3;
    return true;
}
/* Its number for an answer; false: it failed, and will be started again. */
static bool rl_program_score(rl_program *p, const char *prompt, const char *text, double *score) {
    size_t size;
    char *line = rl_program_question(prompt, text, &size);
    if (p->pid <= 0) rl_program_start(p, p->command);
    const char *wrong = rl_program_ask(p, line, size, p->seconds, score);
    free(line);
    p->failures = wrong ? p->failures + 1 : 0;
    if (!wrong) return true;
    fprintf(stderr, "warning: the reward program failed on an answer (%s); the answer gets the mean of its batch\n",
            wrong);
    rl_program_stop(p);
    return false;
}
#endif
