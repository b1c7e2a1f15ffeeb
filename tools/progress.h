/* progress.h: how far something is that takes long, for whoever waits for it. Included by options.h, after llm.h.

       progress_begin("encoding book.txt", 0, size, "B");       how much there is to do; 0: nobody knows
       progress_at(done);                                       now and then
       progress_end();

   One is inside another: "ppo 12/60" stands still while "answers 80/256" are sampled. On a terminal the innermost is
   its last line, written anew twice a second and taken away by whatever is printed (shown.h); a program that says
   nothing at all, but works, says so after three seconds. Elsewhere (a pipe, a file) there are whole lines: the first
   after ten seconds, the next after as many or a tenth of the time that has passed. A thread watches the clock, so that
   what is inside of a long call is seen, too. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include "shown.h"

typedef struct {
    char what[100];                     /* empty: it has no name, and what is around it is shown */
    const char *unit;                   /* "B": bytes; "tokens" ...; NULL: things */
    double first, done, all;            /* first: done when it began (a run that goes on) */
    double tokens;                      /* so many were read or said meanwhile, or 0 */
    double began, next;                 /* next: its next line, where there is no terminal */
    bool quiet;                         /* no such lines: it prints some of its own */
} progress_part;
enum { PROGRESS_DEEPEST = 8 };
static double progress_seconds = 10;    /* until the first line where there is no terminal */
static struct {
    progress_part part[PROGRESS_DEEPEST];
    int depth;
    double shown, busy;                 /* the line was last written; seconds of work until then */
    bool ended;
} progress;

static inline const char *progress_time(double s, char text[32]) {
    if (!(s >= 0 && s < 1e9)) snprintf(text, 32, "?");
    else if (s < 60) snprintf(text, 32, "%.0fs", s);
    else if (s < 3600) snprintf(text, 32, "%dm%02ds", (int)s / 60, (int)s % 60);
    else snprintf(text, 32, "%dh%02dm", (int)(s / 3600), (int)s / 60 % 60);
    return text;
}
static inline const char *progress_amount(double x, char text[32]) {
    static const char *const unit[] = {"", "k", "M", "G", "T"};
    int u = 0;
    for (; u < 4 && x >= 999.95; u++) x /= 1000;
    snprintf(text, 32, u ? "%.1f%s" : "%.0f%s", x, unit[u]);
    return text;
}
/* "encoding book.txt 12.1M/200.0MB | 3.4MB/s | eta 56s", "answers 12/84 | 310 tokens/s | eta 5s", "packing | 7s" */
static inline void progress_text(const progress_part *p, double now, char *text, size_t size) {
    char a[32], b[32], d[32], eta[32];
    const double passed = now - p->began, done = p->done - p->first;
    int n = snprintf(text, size, "%s", p->what);
    if (!(p->all > 0)) {
        snprintf(text + n, size - (size_t)n, " | %s", progress_time(passed, a));
        return;
    }
    const bool counts = !p->unit || p->all < 1e5;
    if (counts) n += snprintf(text + n, size - (size_t)n, " %.0f/%.0f", p->done, p->all);
    else n += snprintf(text + n, size - (size_t)n, " %s/%s", progress_amount(p->done, a), progress_amount(p->all, b));
    if (p->unit) n += snprintf(text + n, size - (size_t)n, "%s%s", strcmp(p->unit, "B") ? " " : "", p->unit);
    const double rate = (p->tokens > 0 ? p->tokens : done) / passed;
    if ((p->tokens > 0 || (p->unit && done > 0)) && passed > 0)
        n += snprintf(text + n, size - (size_t)n, " | %s%s/s", progress_amount(rate, d),
                      p->tokens > 0 ? " tokens" : strcmp(p->unit, "B") ? " tokens" : "B");
    if (done > 0)
        snprintf(text + n, size - (size_t)n, " | eta %s", progress_time(passed / done * (p->all - p->done), eta));
}
/* The line, with what a stranger's file name may hold made harmless; cut where the terminal ends. */
static inline void progress_put(const char *text, bool line) {
    struct winsize w = {.ws_col = 0};
    shown_text s = {.count = 0};
    char out[512] = "\r";
    size_t n = !line, most = sizeof out - 16;
    if (!line && !ioctl(2, TIOCGWINSZ, &w) && w.ws_col > 8 && w.ws_col < most) most = w.ws_col;
    for (const char *p = text; *p && n < most; p++) n += shown_byte(&s, *p, out + n);
    const int width = (int)n - 1;
    while (!line && (int)n <= shown_status.width && n < sizeof out - 1) out[n++] = ' ';
    if (line) out[n++] = '\n';
    shown_send(2, out, n);
    shown_status.width = line ? 0 : width;
    shown_status.when = llm_now();
}
/* The innermost that has a name and began `age` seconds ago, or NULL. */
static inline progress_part *progress_inner(double now, double age) {
    for (int i = llm_min(progress.depth, PROGRESS_DEEPEST); i-- > 0;)
        if (progress.part[i].what[0] && now - progress.part[i].began >= age) return &progress.part[i];
    return NULL;
}
/* Is it time for the part's next line, where there is no terminal? */
static inline bool progress_due(const progress_part *p, double now) {
    const bool begun = !(p->all > 0) || (p->done > p->first && p->done < p->all);
    return p->what[0] && begun && now >= p->next && !(p->quiet && !shown_status.terminal[2]);
}
/* The terminal's line. It has something to say of what began a second ago, and of a program that has said nothing for
   three and works. */
static inline void progress_renew(double now, double busy) {
    const double passed = now - progress.shown, share = (busy - progress.busy) / passed;
    const bool stands = shown_status.width > 0, works = progress.depth > 0 || share > 0.5;
    static double silent;               /* since then */
    char text[300];
    if (passed < 0.5) return;
    progress.shown = now;
    progress.busy = busy;
    if (!stands) silent = shown_status.when;
    const progress_part *p = progress_inner(now, 1), working = {.what = "working", .began = silent};
    if (!p && !(works && (stands || now - silent >= 3))) return;
    progress_text(p ? p : &working, now, text, sizeof text);
    progress_put(text, false);
}
/* The time is `now`, and the program has worked for `busy` seconds: what is there to be shown? (With the lock.) */
static inline void progress_look(double now, double busy) {
    char text[300];
    if (progress.ended || shown_status.within) return;
    if (shown_status.hooked && shown_status.terminal[2]) {
        progress_renew(now, busy);
        return;
    }
    bool inside = false;
    for (int i = llm_min(progress.depth, PROGRESS_DEEPEST); i-- > 0;) {
        progress_part *p = &progress.part[i];
        const bool due = progress_due(p, now) && (p->all > 0 || !inside);
        inside = inside || p->what[0];
        if (!due) continue;
        p->next = now + fmax(progress_seconds, 0.1 * (now - p->began));
        progress_text(p, now, text, sizeof text);
        progress_put(text, true);
        return;
    }
}
static inline void progress_now(void) {
    struct rusage u = {.ru_maxrss = 0};
    getrusage(RUSAGE_SELF, &u);
    const double disk = 0.01 * (double)(u.ru_inblock + u.ru_oublock);   /* who waits for a disk works, too */
    progress_look(llm_now(), (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec + disk +
                  1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec));
}
/* Among others the program ends: its last line is its own. */
static inline void progress_at_exit(void) {
    pthread_mutex_lock(&shown_status.lock);
    shown_wipe();
    progress.ended = true;
    pthread_mutex_unlock(&shown_status.lock);
}
/* Older C libraries have threads in a library of their own, which comes with OpenMP. */
#if defined(_OPENMP) || !defined(__GLIBC__) || __GLIBC_MINOR__ >= 34
static inline void *progress_watch(void *unused) {
    const struct timespec quarter = {0, 250000000};
    while (!nanosleep(&quarter, NULL) || errno == EINTR) {
        pthread_mutex_lock(&shown_status.lock);
        progress_now();
        pthread_mutex_unlock(&shown_status.lock);
    }
    return unused;
}
static inline void progress_start(void) {
    static bool started;
    pthread_t thread;
    sigset_t all, before;
    if (started || !llm_leads()) return;
    started = true;
    shown_status.when = llm_now();
    atexit(progress_at_exit);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);        /* signals are the program's */
    if (!pthread_create(&thread, NULL, progress_watch, NULL)) pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
#else
static inline void progress_start(void) { atexit(progress_at_exit); }
#endif

/* first: what is done already. what NULL: nothing is said of it. */
static inline void progress_begin(const char *what, double first, double all, const char *unit) {
    pthread_mutex_lock(&shown_status.lock);
    if (progress.depth++ < PROGRESS_DEEPEST) {
        progress_part *p = &progress.part[progress.depth - 1];
        const double now = llm_now();
        *p = (progress_part){.unit = unit, .first = first, .done = first, .all = all, .began = now,
                             .next = now + progress_seconds};
        snprintf(p->what, sizeof p->what, "%s", what ? what : "");
    }
    pthread_mutex_unlock(&shown_status.lock);
}
/* tokens: read or said since it began; 0: not counted. */
static inline void progress_tokens(double done, double tokens) {
    pthread_mutex_lock(&shown_status.lock);
    if (progress.depth > 0 && progress.depth <= PROGRESS_DEEPEST) {
        progress_part *p = &progress.part[progress.depth - 1];
        p->done = p->all > 0 ? fmin(done, p->all) : done;
        p->tokens = tokens;
        progress_now();
    }
    pthread_mutex_unlock(&shown_status.lock);
}
static inline void progress_at(double done) { progress_tokens(done, 0); }
/* What is done now prints lines of its own, where there is no terminal. */
static inline void progress_quiet(void) {
    if (progress.depth > 0 && progress.depth <= PROGRESS_DEEPEST) progress.part[progress.depth - 1].quiet = true;
}
static inline void progress_end(void) {
    pthread_mutex_lock(&shown_status.lock);
    if (progress.depth > 0) progress.depth--;
    if (!progress.depth) shown_wipe();
    pthread_mutex_unlock(&shown_status.lock);
}
/* PROGRESS(statement, "loading %s", dir): so it is called while the statement runs, which nobody counts. */
#define PROGRESS(statement, ...)                                                                                       \
    do {                                                                                                               \
        char progress_called[100];                                                                                     \
        snprintf(progress_called, sizeof progress_called, __VA_ARGS__);                                                \
        progress_begin(progress_called, 0, 0, NULL);                                                                   \
        statement;                                                                                                     \
        progress_end();                                                                                                \
    } while (0)
#endif
