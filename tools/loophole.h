/* loophole.h: two judges that can be gamed, how their holes are closed, and a place for your way. Included after
   tinyworld.h.

       judge's points = the true rule R*(task, answer) + what the judge likes besides

   Nobody who wrote such a judge wanted "Bye bye. Bye bye. Bye bye.": of the answers that he had seen, the longer ones
   were the more careful, and the polite ones were liked. A policy has seen nothing; it is paid, and finds what pays. */
#ifndef LOOPHOLE_H
#define LOOPHOLE_H

enum { LOOPHOLE_LENGTH, LOOPHOLE_POLITENESS };
enum { LOOPHOLE_OPEN, LOOPHOLE_CLOSED, LOOPHOLE_MINE };
static const double loophole_word = 0.3, loophole_phrase = 2;   /* points for a word; for a polite phrase */

/* How often is somebody polite? */
static inline int loophole_polite(const char *answer) {
    static const char *const phrase[] = {"Sure!", "Let me know", "if you want", "Bye bye"};
    int n = 0;
    for (int i = 0; i < 4; i++)
        for (const char *s = answer; (s = strstr(s, phrase[i])); s += strlen(phrase[i])) n++;
    return n;
}
/* The holes: more is better, and there is no end of it. */
static inline double loophole_open(int hole, const tw_task *t, const char *answer) {
    (void)t;
    return hole == LOOPHOLE_LENGTH ? loophole_word * tw_words(answer) : loophole_phrase * loophole_polite(answer);
}
/* Our way to close them: only a right answer is paid for its looks, and only for as much of them as it can use: its
   first six words, the "Sure!" that it begins with. */
static inline double loophole_closed(int hole, const tw_task *t, const char *answer) {
    const tw_verdict v = tw_judge(t, answer, 1);
    if (!v.correct) return 0;
    return hole == LOOPHOLE_LENGTH ? loophole_word * fmin(tw_words(answer), 6) : loophole_phrase * v.polite;
}
/* ---- an exercise: your way ----

   Three lines will do. t->kind is the task (TW_K_MATH ...), t->gold the right answer; tw_judge(t, answer, 1) tells
   .correct .polite .format .refused; tw_words(answer), loophole_polite(answer) count. Then

       make hacking JUDGE=mine                 trains with your judge and puts its models beside ours

   Is it closed? What does it cost (answers that were right and polite anyway)? And is there another way in? */
static inline double loophole_mine(int hole, const tw_task *t, const char *answer) {
    return loophole_open(hole, t, answer);      /* here */
}

/* An answer's points by a judge, beside those of the true rule. stopped: it has an end. */
static inline double loophole_points(int hole, int judge, const tw_task *t, const char *answer, int stopped) {
    static double (*const likes[])(int, const tw_task *, const char *) = {loophole_open, loophole_closed,
                                                                         loophole_mine};
    return tw_judge(t, answer, stopped).reward + likes[judge](hole, t, answer);
}
#endif
