/*
 * tinyworld.c - writes the tiny world to a folder and prints what is in it.
 *
 *     tinyworld [--out DIR] [--seed N] [--stats]
 *
 * The table is the LLaMA paper's Table 1 with one column more, the floor: the fewest bits per byte that any model can
 * reach on text of this source. All of it is in tinyworld.h; README.md in this folder describes the files.
 */
#include <dirent.h>
#include "tinyworld.h"
#include "tinyworld_files.h"
#include "tinyworld_personas.h"

static const char usage[] =
    "usage: tinyworld [--out DIR] [--seed N] [--stats]\n"
    "  --out DIR   folder to write (default out/tinyworld); files of an earlier run are replaced\n"
    "  --seed N    which world, and which texts about it (default 7)\n"
    "  --stats     also print how good the demonstrations are, and the head-room above them\n";

// Tokens of a document with its end marker, on average by the mixture: measured with a vocabulary of 768.
static const double tokens_per_document = 36.0;

static void print_sources(const tw_world *w, uint64_t seed)
{
    double all_bytes = 0, all_bits = 0;
    printf("source   prop.  documents      bytes  bytes/doc  bits/doc  floor bits/byte  epochs at 2.05 M tokens\n");
    for (int s = 0; s < TW_SOURCES; s++) {
        tw_text b = {NULL, 0, 0};
        const int n = tw_documents[s];
        const double p = tw_percent[s] / 100.0, bits = tw_source_text(w, seed, s, &b), bytes = (double)b.n - 2.0 * n;
        printf("%-6s  %5.1f%%  %9d  %9.0f  %9.1f  %8.2f  %15.3f  %22.2f\n", tw_source_name[s], 100 * p, n, bytes,
               bytes / n, bits / n, bits / bytes, p * 2.05e6 / tokens_per_document / n);
        all_bytes += p * bytes / n;
        all_bits += p * (bits / n - log2(p)); // what the document says, and which source it is from
        free(b.p);
    }
    printf("mixture 100.0%%  %9s  %9s  %9.1f  %8.2f  %15.3f\n", "", "", all_bytes, all_bits, all_bits / all_bytes);

    tw_text b = {NULL, 0, 0};
    double bits, mixture;
    const double bytes = (double)tw_val_text(w, seed, &b, &bits, &mixture);
    printf("val.txt         %9d  %9.0f  %9.1f  %8.2f  %15.3f\n", TW_VAL_DOCUMENTS, bytes, bytes / TW_VAL_DOCUMENTS,
           bits / TW_VAL_DOCUMENTS, bits / bytes);
    free(b.p);
}

// How good are demonstrations under the true rule, and how often does the best style beat one?
static void print_headroom(const tw_world *w, uint64_t seed)
{
    enum { N = 4000 };
    tw_rng g = tw_seed(seed, 90);
    double pass = 0, reward = 0, win = 0, lose = 0, pairs = 0, tied = 0;
    printf("\ndemonstrations on test prompts:\nkind      pass   mean R*   best style's R*\n");
    for (int kind = 0; kind < TW_KINDS; kind++) {
        double kpass = 0, kreward = 0, kbest = 0;
        for (int i = 0; i < N; i++) {
            tw_task t;
            char text[TW_TEXT];
            double r[4];
            tw_task_draw(w, &g, kind, TW_TEST, &t);
            for (int k = 0; k < 4; k++) {
                tw_demo(&g, &t, text);
                const tw_verdict v = tw_judge(&t, text, 1);
                r[k] = v.reward;
                if (k == 0) kpass += v.correct;
                for (int j = 0; j < k; j++) pairs++, tied += fabs(r[j] - r[k]) < 1e-9;
            }
            tw_best(&t, text);
            const double best = tw_judge(&t, text, 1).reward;
            kreward += r[0];
            kbest += best;
            win += best > r[0] + 1e-9;
            lose += best < r[0] - 1e-9;
        }
        printf("%-6s  %5.1f%%  %8.3f  %16.3f\n", tw_kind_name[kind], 100 * kpass / N, kreward / N, kbest / N);
        pass += kpass;
        reward += kreward;
    }
    const double n = (double)N * TW_KINDS;
    printf("all     %5.1f%%  %8.3f\n", 100 * pass / n, reward / n);
    printf("best style against a demonstration: wins %.1f%%, ties %.1f%%, loses %.1f%%: win-rate %.3f (ties half)\n",
           100 * win / n, 100 * (n - win - lose) / n, 100 * lose / n, (win + (n - win - lose) / 2) / n);
    printf("pairs of demonstrations of one prompt that are tied: %.1f%%\n", 100 * tied / pairs);
}

// A folder with files in it and no world: they are somebody's, and some of ours have common names.
static int somebody_s(const char *dir)
{
    tw_world w;
    int entries = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) entries += e->d_name[0] != '.';
    if (d) closedir(d);
    return entries && tw_world_open(&w, dir);
}

int main(int argc, char **argv)
{
    const char *out = "out/tinyworld";
    unsigned long long seed = 7;
    int stats = 0;
    for (int i = 1; i < argc; i++) {
        char *end = NULL;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return fputs(usage, stdout), 0;
        if (!strcmp(argv[i], "--stats")) {
            stats = 1;
        } else if (!strcmp(argv[i], "--out") && i + 1 < argc && *argv[i + 1]) {
            out = argv[++i];
        } else if (!strcmp(argv[i], "--seed") && i + 1 < argc && tw_digit(*argv[i + 1])) {
            errno = 0;
            seed = strtoull(argv[++i], &end, 10);
            if (*end || errno) return fprintf(stderr, "error: --seed %s is not a 64-bit number\n", argv[i]), 2;
        } else {
            return fprintf(stderr, "error: cannot use '%s' here\n%s", argv[i], usage), 2;
        }
    }
    if (somebody_s(out)) {
        fprintf(stderr, "error: %s holds files and no world: they will not be replaced\n  try: another --out\n", out);
        return 2;
    }
    if (tw_write_all(out, seed)) return 1;
    tw_world w;
    tw_world_init(&w, seed);
    print_sources(&w, seed);
    if (stats) print_headroom(&w, seed);
    fprintf(stderr, "wrote the world of seed %llu to %s\n", seed, out);
    if (!fflush(stdout) && !ferror(stdout)) return 0;
    fprintf(stderr, "error: cannot write the output\n  try: another place for it, or more room\n");
    return 1;
}
