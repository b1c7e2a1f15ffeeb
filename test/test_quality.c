/*
 * test_quality.c - are the sets of data/tinyworld_quality.h what they claim to be? Counted by the true rule.
 * The last line is "N passed, N failed".
 */
#include "../data/tinyworld.h"
#include "../data/tinyworld_files.h"
#include "../data/tinyworld_personas.h"
#include "../data/tinyworld_quality.h"
#include "world_check.h"

enum { ROWS = 1800, SEED = 3 };
static tw_world world;
static tw_task task[TW_QUALITIES][ROWS];
static char said[TW_QUALITIES][ROWS][TW_TEXT];
static tw_quality_count count[TW_QUALITIES];

static int set(const char *name)
{
    for (int k = 0; k < TW_QUALITIES; k++)
        if (!strcmp(tw_qualities[k].name, name)) return k;
    printf("FAILED: no set '%s'\n", name);
    exit(1);
}

static int by_hash(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

// What is asked of the models, as a file has it: no set may train it.
static int asked(const tw_task *t)
{
    static uint32_t hash[TW_KINDS * 4000];
    static int n;
    tw_rng g = tw_seed(SEED, 1);
    for (int i = 0; !n && i < TW_KINDS * 4000; i++) {
        tw_task x;
        tw_task_draw(&world, &g, i % TW_KINDS, TW_ASKED, &x);
        hash[i] = tw_hash(&x);
    }
    if (!n) qsort(hash, n = TW_KINDS * 4000, sizeof *hash, by_hash);
    const uint32_t h = tw_hash(t);
    return bsearch(&h, hash, (size_t)n, sizeof *hash, by_hash) != NULL;
}

static void draw_all(void)
{
    static tw_counted_row row[ROWS];
    for (int k = 0; k < TW_QUALITIES; k++) {
        const int n = tw_quality_rows(&tw_qualities[k], ROWS);
        for (int i = 0; i < n; i++) {
            tw_task *t = &task[k][i];
            tw_quality_row(&world, &tw_qualities[k], SEED, i, t, said[k][i]);
            CHECK(!asked(t), "%s asks in training what is held out: %s", tw_qualities[k].name, t->instruction);
            CHECK(*said[k][i], "%s row %d has no answer: %s", tw_qualities[k].name, i, t->instruction);
            row[i] = (tw_counted_row){tw_hash(t), tw_judge(t, said[k][i], 1).correct};
        }
        count[k] = tw_count_quality(row, n);
    }
}

static void test_amounts(void)
{
    const tw_quality_count all = count[set("usual")], few = count[set("few")], padded = count[set("padded")];
    CHECK(all.rows == ROWS && count[set("tenth")].rows == ROWS / 10, "%d %d", all.rows, count[set("tenth")].rows);
    CHECK(few.prompts <= TW_FEW * TW_KINDS && few.prompts > TW_FEW * TW_KINDS / 2, "%d few prompts", few.prompts);
    CHECK(count[set("tenth")].prompts > few.prompts * 3 / 2, "a tenth of the rows has more different prompts: %d, %d",
          count[set("tenth")].prompts, few.prompts);
    CHECK(padded.prompts > few.prompts && padded.prompts < all.prompts, "%d", padded.prompts);
    for (int i = 0; i < ROWS; i++) {
        CHECK(task[set("facts")][i].kind == TW_K_FACT, "row %d", i);
        CHECK(task[set("usual")][i].kind == i % TW_KINDS, "row %d", i);
    }
}

// A share of the rows is near what it should be: within four standard deviations.
static void near(const char *name, int hits, int n, double share)
{
    const double room = 4 * sqrt(share * (1 - share) * n);
    CHECK(!(fabs(hits - share * n) > room), "%s: %d of %d, not %.2f", name, hits, n, share);
}

static void test_errors(void)
{
    const int usual = set("usual"), best = set("best"), errors = set("errors"), conflicts = set("conflicts");
    int changed = 0, both = 0;
    CHECK(count[best].wrong == 0 && count[set("best-tenth")].wrong == 0, "%d", count[best].wrong);
    CHECK(count[usual].wrong > ROWS / 20 && count[usual].wrong < ROWS / 4, "%d", count[usual].wrong);
    for (int i = 0; i < ROWS; i++) {
        const int differs = strcmp(said[usual][i], said[errors][i]) != 0;
        const tw_verdict v = tw_judge(&task[errors][i], said[errors][i], 1);
        CHECK(!differs || !v.correct, "no error: %s %s", task[errors][i].instruction, said[errors][i]);
        CHECK(tw_hash(&task[usual][i]) == tw_hash(&task[errors][i]), "another task in row %d", i);
        changed += differs;
        both += strcmp(said[usual][i], said[conflicts][i]) != 0;
    }
    const double share = 0.5 - 1.0 / (8 * TW_KINDS); // half; but safe's fourth style is wrong anyway and stays
    near("errors", changed, ROWS, share);
    near("conflicts", both, ROWS, share);
    CHECK(abs(count[errors].wrong - count[conflicts].wrong) <= ROWS / 50, "as many wrong answers in both: %d, %d",
          count[errors].wrong, count[conflicts].wrong);
}

// The other rule says the same each time, a slip hardly ever.
static void test_consistency(void)
{
    int slips = 0, same = 0;
    for (int i = 0; i < ROWS; i++) {
        const tw_task *t = &task[set("usual")][i];
        char a[TW_TEXT], b[TW_TEXT];
        tw_rng g = tw_seed(SEED, (uint64_t)i), h = tw_seed(SEED + 1, (uint64_t)i);
        tw_spoil(&world, &g, t, TW_CONFLICT, 0, a);
        tw_spoil(&world, &h, t, TW_CONFLICT, 0, b);
        CHECK(!strcmp(a, b), "%s: %s, then %s", t->instruction, a, b);
        CHECK(!tw_judge(t, a, 1).correct || t->kind == TW_K_CODE, "the other rule is right: %s %s", t->instruction, a);
        if (t->kind == TW_K_SAFE || t->kind == TW_K_LOGIC) continue; // few ways to be wrong
        tw_spoil(&world, &g, t, TW_ERROR, 0, a);
        tw_spoil(&world, &h, t, TW_ERROR, 0, b);
        slips++;
        same += !strcmp(a, b);
    }
    CHECK(same < slips / 5, "slips agree %d times of %d", same, slips);
}

// The count finds what was put there.
static void test_count(void)
{
    tw_counted_row row[] = {{7, 1}, {5, 0}, {7, 0}, {9, 1}, {7, 1}, {5, 0}};
    const tw_quality_count c = tw_count_quality(row, 6);
    CHECK(c.rows == 6 && c.prompts == 3 && c.wrong == 3 && c.both == 3, "%d %d %d %d", c.rows, c.prompts, c.wrong,
          c.both);
}

int main(void)
{
    tw_world_init(&world, 7);
    draw_all();
    test_amounts();
    test_errors();
    test_consistency();
    test_count();
    return checks_end();
}
