/* test_progress.c: what a program says while it works. By a clock of ours: on a terminal (a pseudo terminal) never
   five seconds of silence, whatever it does; in a pipe whole lines, and not many. By the real one: the thread that
   watches. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include <fcntl.h>
#include <sys/wait.h>
static double clock_now;                /* 0: the real one */
static double test_now(void) { return clock_now > 0 ? clock_now : llm_now(); }
#define llm_now test_now
#include "../tools/progress.h"
#include "check.h"

/* What the program writes to fd 2 comes out at `from`. */
static int from, before;
static char said[1 << 16];
static size_t said_size;
static void watch(bool terminal) {
    int pipes[2] = {-1, -1};
    before = dup(2);
    if (terminal) {
        from = posix_openpt(O_RDWR | O_NOCTTY);
        if (from < 0 || grantpt(from) || unlockpt(from)) llm_die(NULL, "no pseudo terminal");
        pipes[1] = open(ptsname(from), O_RDWR | O_NOCTTY);
    } else if (pipe(pipes)) llm_die(NULL, "no pipe");
    if (!terminal) from = pipes[0];
    fcntl(from, F_SETFL, O_NONBLOCK);
    dup2(pipes[1], 2);
    close(pipes[1]);
    shown_begin(false);                 /* once: stderr shows; later: looks again what fd 2 is */
    shown_status.terminal[1] = false;   /* the test's own words go elsewhere */
    shown_status.hooked = true;
    shown_status.within = false;
    shown_status.when = test_now();
    progress.depth = 0;
    progress.shown = progress.busy = 0;
    said_size = 0;
}
static bool heard(void) {
    ssize_t n = read(from, said + said_size, sizeof said - 1 - said_size);
    said_size += n > 0 ? (size_t)n : 0;
    said[said_size] = '\0';
    return n > 0;
}
/* The program prints, and all of it has come out: a pseudo terminal may hand it on a moment later. */
static void prints(const char *text) {
    const size_t size = said_size;
    const char last = text[strlen(text) - 1];
    fputs(text, stderr);
    for (int i = 0; i < 2000 && (said_size == size || said[said_size - 1] != last); i++)
        if (!heard()) usleep(1000);
}
static void watched(void) {
    dup2(before, 2);
    close(before);
    close(from);
}
/* Seconds go by, in quarters, as the thread sees them; work: the share of them in which the program computes. Returns
   the longest silence. */
static double last_heard, worked;
static double pass(double seconds, double work) {
    double longest = 0;
    for (double end = clock_now + seconds; clock_now < end;) {
        clock_now += 0.25;
        worked += 0.25 * work;
        progress_look(clock_now, worked);
        if (heard()) last_heard = clock_now;
        longest = fmax(longest, clock_now - last_heard);
    }
    return longest;
}
static int count(char byte) {
    int n = 0;
    for (size_t i = 0; i < said_size; i++) n += said[i] == byte;
    return n;
}

static void test_terminal(void) {
    clock_now = last_heard = 1000;
    watch(true);
    CHECK_SMALL(pass(60, 1), 5, "a program that works and has no name for it");
    CHECK(strstr(said, "\rworking | 5s") && strstr(said, "\rworking | 59s"), "said: %s", said);
    prints("a line\n");
    char *end = strstr(said, "\ra line");
    CHECK(end && end > said + 10 && end[-1] == ' ', "the line takes its place");
    last_heard = clock_now;
    progress_begin("reading", 0, 0, NULL);
    CHECK_SMALL(pass(60, 0), 5, "a long call that nobody counts, which waits for a disk");
    progress_begin("encoding \x1b[2J.txt", 0, 200e6, "B");
    double longest = 0;
    for (int i = 1; i <= 60; i++) {
        progress_at(2e6 * i);
        longest = fmax(longest, pass(1, 1));
    }
    CHECK_SMALL(longest, 5, "what is counted");
    CHECK(strstr(said, "encoding \xE2\x90\x9B[2J.txt 100.0M/200.0MB | 2.0MB/s | eta "), "said: %s", said);
    CHECK(!strchr(said, 27), "no command of a file's name");
    progress_end();
    progress_end();
    progress_begin("ppo", 0, 10, NULL);
    for (int i = 0; i < 200; i++) {     /* what is too short to be shown hides nothing */
        progress_begin(i % 2 ? "answers" : NULL, 0, 8, NULL);
        longest = fmax(longest, pass(0.5, 0));
        progress_end();
    }
    CHECK_SMALL(longest, 5, "many short parts of a long one");
    progress_end();
    last_heard = clock_now;
    for (int i = 0; i < 100; i++) {
        progress_begin("short", 0, 8, NULL);
        longest = fmax(longest, pass(0.75, 0));
        progress_end();
    }
    CHECK_SMALL(longest, 5, "many short parts of nothing");
    prints("a question? ");
    const size_t size = said_size;
    pass(60, 1);
    CHECK(said_size == size, "nothing is written behind half a line: %s", said + size);
    prints("\n");
    pass(60, 0);
    CHECK(said_size <= size + 3, "nor where a program waits for its user: %s", said + size);
    watched();
}
static void test_pipe(void) {
    clock_now = last_heard = 5000;
    watch(false);
    pass(100, 1);
    CHECK(!said_size, "no name, no line: %s", said);
    progress_begin("all of it", 0, 0, NULL);
    progress_begin("encoding", 0, 3600, "tokens");
    for (int i = 1; i <= 3600; i++) {
        progress_at(i);
        pass(1, 1);
    }
    progress_end();
    progress_end();
    CHECK(!strstr(said, "all of it"), "what has a counted part within says nothing itself: %s", said);
    CHECK(count('\n') >= 20 && count('\n') <= 60, "a modest number of lines in an hour: %d", count('\n'));
    CHECK(!count('\r') && !count('\x1b'), "plain lines");
    CHECK(!strncmp(said, "encoding 10/3600 tokens | 1 tokens/s | eta 59m", 46), "said: %s", said);
    CHECK(said_size && said[said_size - 1] == '\n', "whole lines");
    said_size = 0;
    progress_begin("step", 5, 100, NULL);
    progress_quiet();
    for (int i = 6; i < 100; i++) progress_at(i), pass(5, 1);
    progress_end();
    CHECK(!said_size, "a loop with lines of its own: %s", said);
    for (int i = 0; i < 20; i++) {
        progress_begin("quick", 0, 2, NULL);
        pass(9, 1);
        progress_end();
    }
    CHECK(!said_size, "nothing is said of what is quick: %s", said);
    watched();
}
/* The thread, by the real clock: 2.5 seconds in one call. And a program that dies takes its line away. */
static void test_thread(void) {
    clock_now = 0;
    watch(true);
    pid_t child = fork();
    if (!child) {
        progress_start();
        progress_begin("a long call", 0, 0, NULL);
        for (double end = llm_now() + 2.5; llm_now() < end;) continue;
        exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    while (heard()) continue;
    CHECK(!status, "it ended: %d", status);
    CHECK(strstr(said, "\ra long call | "), "said: %s", said);
    CHECK(said_size && said[said_size - 1] == '\r' && said[said_size - 2] == ' ', "and left nothing behind");
    watched();
}
int main(void) {
    test_terminal();
    test_pipe();
    test_thread();
    return checks_done();
}
