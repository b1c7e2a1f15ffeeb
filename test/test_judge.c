/* test_judge.c: can the judge judge? Every exercise's stub must be called wrong, llm.h's own body right, and mutants of
   it (a sign, a factor, a forgotten `accumulate` ...) wrong; where one of them is a classic mistake, the hint must name
   it. test_exercise.sh builds and runs this, and writes VARIANTS: bodies under names of their own, and the list
   `variants`. Each is judged in a child, for a mutant may write anywhere. */
#include "judge.c"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    const char *op, *kind; /* "stub", "right", "mutant": what must come out follows from it */
    any f;
    const char *what; /* of a mutant: the change */
    const char *hint; /* what must be said of it, or NULL */
} variant;
#ifdef VARIANTS
#include VARIANTS
#else
static const variant variants[1];       /* so that any compiler can look at it */
#endif

enum { RIGHT, WRONG, CRASHED };
/* Judged in a child; `complaint` comes back through a pipe. */
static int verdict(const variant *v) {
    int end[2], status;
    if (pipe(end)) llm_die(NULL, "no pipe");
    fflush(stdout);
    const pid_t child = fork();
    if (child < 0) llm_die(NULL, "no second process");
    if (child == 0) {
        alarm(20);
        freopen("/dev/null", "w", stderr);
        judge(find_exercise(v->op), v->f);
        const ssize_t written = write(end[1], complaint, sizeof complaint);
        _exit(written != (ssize_t)sizeof complaint);
    }
    close(end[1]);
    memset(complaint, 0, sizeof complaint);
    for (size_t n = 0; n < sizeof complaint;) {
        const ssize_t got = read(end[0], complaint + n, sizeof complaint - n);
        if (got <= 0) break;
        n += (size_t)got;
    }
    close(end[0]);
    waitpid(child, &status, 0);
    return !WIFEXITED(status) || WEXITSTATUS(status) ? CRASHED : complaint[0] ? WRONG : RIGHT;
}

int main(int argc, char **argv) {
    static const char *const name[] = {"right", "wrong", "a crash"};
    const int count = sizeof variants / sizeof *variants;
    const bool verbose = argc > 1 && !strcmp(argv[1], "verbose");
    int passed = 0, failed = 0, same = 0, red[EXERCISES] = {0}, stubs[EXERCISES] = {0}, bodies[EXERCISES] = {0};
    for (int i = 0; i < count; i++) {
        const variant *v = &variants[i];
        const int found = verdict(v), e = (int)(find_exercise(v->op) - exercises);
        const bool mutant = !strcmp(v->kind, "mutant"), right = !strcmp(v->kind, "right");
        /* A mutant that computes the same (a product of two minuses) is no mutant: three of an exercise must be found.
         */
        const bool ok = v->hint ? strstr(complaint, v->hint) != NULL : mutant || right == (found == RIGHT);
        same += mutant && found == RIGHT;
        red[e] += mutant && found != RIGHT;
        stubs[e] += !strcmp(v->kind, "stub") && found == WRONG;
        bodies[e] += right && found == RIGHT;
        if (verbose)
            printf("%s %s %s: %s\n%s", v->op, v->kind, v->what, name[found], complaint);
        else if (!ok)
            printf("FAIL %s, %s %s: judged %s\n%s", v->op, v->kind, v->what, name[found], complaint);
        if (v->hint && !ok) printf("     wanted the hint: %s\n", v->hint);
        ok ? passed++ : failed++;
    }
    for (int e = 0; e < EXERCISES; e++)
        if (stubs[e] != 1 || bodies[e] != 1 || red[e] < 3) {
            printf("FAIL %s: %d stub, %d right, %d wrong bodies recognised\n", exercises[e].op, stubs[e], bodies[e],
                   red[e]);
            failed++;
        }
    printf("%d of %d mutants compute what llm.h does, or the judge is blind to them\n", same, count - 2 * EXERCISES);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
