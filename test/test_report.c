/* test_report.c: the page that tools/report draws from what stages leave (tools/stage.h), and TensorBoard's events. The
   page must be well-formed whatever a model says, text must stay text, and files that are not ours must do no harm. */
#define main report_main
#include "../tools/report.c"
#undef main
#include "../tools/run.h"
#include "../tools/stage.h"
#include "check.h"
#define THAT(condition) CHECK(condition, "%s", #condition)

static char folder[] = "/tmp/test_report.XXXXXX";

/* Do the tags nest? Returns the number of elements, or -1 and says where it went wrong. */
static int well_formed(const char *s) {
    char open[64][16];
    int depth = 0, count = 0;
    for (; (s = strchr(s, '<')); s++) {
        if (s[1] == '!') continue;
        bool end = s[1] == '/';
        size_t n = strcspn(s + 1 + end, " >/\n");
        const char *close = s;
        for (bool quoted = false; *close && (quoted || *close != '>'); close++) quoted ^= *close == '"';
        if (!*close || n >= 16) return -1;
        char name[16];
        snprintf(name, sizeof name, "%.*s", (int)n, s + 1 + end);
        count++;
        if (end) {
            if (depth == 0 || strcmp(open[--depth], name)) {
                printf("</%s> closes <%s>\n", name, open[depth]);
                return -1;
            }
        } else if (close[-1] != '/' && strcmp(name, "meta")) {
            if (depth == 64) return -1;
            memcpy(open[depth++], name, sizeof name);
        }
        s = close;
    }
    return depth ? -1 : count;
}
/* Does it stand between two places? */
static bool between(const char *from, const char *to, const char *what) {
    const char *at = from ? strstr(from, what) : NULL;
    return at && to && at < to;
}
static int times(const char *text, const char *what) {
    int n = 0;
    for (; (text = strstr(text, what)); text++) n++;
    return n;
}
static const char *const evil = "<script>alert(1)</script> & \"quotes\" 'too' \xFF\x01 \xE2\x82\xAC";

static void draw(const char *out, const char *page) {
    char *argv[] = {(char *)"report", (char *)"--out", (char *)out, (char *)"--page", (char *)page};
    fflush(stdout);
    THAT(report_main(page ? 5 : 3, argv) == 0);
}
static void write_log(const char *out, const char *header, const char *row) {
    char *path = llm_format("%s/log.csv", out);
    FILE *f = fopen(path, "w");
    fprintf(f, "%s\n", header);
    for (int i = 0; i < 1000; i++) fprintf(f, row, i, exp(-i / 100.0), i % 7 ? NAN : 1.0 / (i + 1));
    fclose(f);
    llm_release(path);
}
static stage_card begin(const char *out, int stage, const char *title) {
    static char *argv[] = {(char *)"train", (char *)"--data", NULL};
    argv[2] = (char *)evil;
    return stage_begin(out, "off", stage, title, 3, argv);
}
static void write_stage(const char *out, int stage) {
    const char *cell[] = {"", evil, "sft", "fact", "0.5 0.4 0.6", NULL, evil, "", "1", "sums", "0.5 0.4 0.6", "1 1 1"};
    const char *model[] = {evil, "sft"}, *prompt[] = {evil, "2 < 3?"}, *answer[] = {"a", evil, "", "d"};
    const stage_verdict mark[] = {{1, 2.5}, {0, NAN}, {-1, NAN}, {1, 2}};
    stage_card c = begin(out, stage, stage == 1 ? "First" : "Second <b>");
    write_log(out, "step,loss,lr,gnorm,tok_per_s,val_loss,val_bpb", "%d,%.9g,0.5,nan,100,%.9g,1.5\n");
    stage_text(&c, "%s", evil);
    stage_log(&c, evil, "log.csv", stage == 1 ? 1.25 : NAN);
    stage_note(&c, "samples", evil);
    stage_table(&c, "table.csv", evil, "shares", cell, 3, 4);
    stage_samples(&c, "answers", model, 2, prompt, 2, answer, mark);
    stage_end(&c, "all of it: %s", evil);
}
static void test_page(void) {
    char *one = llm_format("%s/one", folder), *two = llm_format("%s/two", folder);
    char *page = llm_format("%s/report.html", folder), *slash = llm_format("%s/", two);
    llm_make_dirs(one);
    llm_make_dirs(two);
    write_stage(two, 2);
    draw(slash, NULL);
    char *text = llm_read_file(page, NULL);
    THAT(well_formed(text) > 50);
    THAT(times(text, "<section") == 1);
    THAT(times(text, ": learning rate</figcaption>") == 1 && !strstr(text, "gradient norm"));
    THAT(times(text, "entropy of the text") == 0);
    llm_release(text);
    write_stage(one, 1);                /* the page is written again, in the order of the stages */
    draw(one, NULL);
    size_t size;
    text = llm_read_file(page, &size);
    THAT(strlen(text) == size);
    THAT(well_formed(text) > 100);
    THAT(times(text, "<section") == 2);
    THAT(strstr(text, "1. First<") && strstr(text, "2. Second &lt;b&gt;"));
    THAT(strstr(text, "1. First<") < strstr(text, "2. Second"));
    THAT(times(text, "<figure>") > 8 && times(text, "<figure>") == times(text, "<p class=\"look\">"));
    THAT(!strstr(text, "look\"></p>") && times(text, "data-h=\"&lt;script") == 6);
    THAT(times(text, "id=\"top\"") == 1 && times(text, "href=\"#top\"") == 1);
    THAT(times(text, "</i> a<") == 2 && times(text, "&#10003; 2.5</i>") == 2 && times(text, "&#10007;</i>") == 4);
    THAT(times(text, "entropy of the text") == 1 && times(text, "<figcaption>shares") == 2);
    THAT(times(text, "<small>0.400 to 0.600</small>") == 4);
    THAT(times(text, "<script") == 0 && times(text, "&lt;script&gt;") > 10);
    THAT(times(text, "\xEF\xBF\xBD") > 10 && times(text, "\xE2\x82\xAC") > 10);   /* bad bytes replaced, a euro kept */
    THAT(times(text, "nan") == 0 && times(text, "inf\"") == 0);
    THAT(times(text, "http") == 1);    /* http-equiv: nothing is loaded from anywhere */
    int control = 0;
    for (const char *s = text; *s; s++) control += (unsigned char)*s < 32 && *s != '\n' && *s != '\t';
    THAT(control == 0);
    char *temporary = llm_format("%s/report.html.tmp", folder);
    THAT(!llm_exists(temporary));
    stage_card c = begin(NULL, 1, "x"); /* nobody wants it: every call on it does nothing */
    stage_text(&c, "nothing");
    stage_end(&c, "nothing");
    THAT(!c.parts);
    llm_release_all(one, two, page, text, temporary, slash);
}
/* A chart with both axes logarithmic: a power law is straight, and what has one name has one colour. */
static void test_chart(void) {
    char *out = llm_format("%s/charts/one", folder), *page = llm_format("%s/charts/report.html", folder);
    const double x[] = {1e10, 1e11, 1e12}, y[] = {0.8, 0.4, 0.2}, level[] = {0.2, 0.2}, ends[] = {1e10, 1e12};
    const stage_line line[] = {{"law", "line", x, y, 3}, {evil, "dashed", ends, level, 2}, {"law", "dots", x, y, 3}};
    double at[3], height[3];
    llm_make_dirs(out);
    stage_card c = begin(out, 8, "Laws");
    stage_chart(&c, "chart.csv", evil, "FLOPs", "xy", "look here", line, 3);
    stage_end(&c, "done");
    draw(out, NULL);
    char *text = llm_read_file(page, NULL), *path = strstr(text, "<path class=\"l c0\" d=\"M");
    THAT(well_formed(text) > 20 && times(text, "<script") == 0);
    THAT(times(text, "&#9632;") == 2 && times(text, "law 0.8 \xE2\x86\x92 0.2") == 1 && times(text, "look here") == 1);
    THAT(times(text, "class=\"l c0\"") == 1 && times(text, "class=\"d c0\"") == 3);
    THAT(times(text, "class=\"l dash c1\"") == 1);
    THAT(path && sscanf(path, "<path class=\"l c0\" d=\"M%lf %lfL%lf %lfL%lf %lf", at, height, at + 1, height + 1,
                        at + 2, height + 2) == 6);
    THAT(fabs(at[2] - 2 * at[1] + at[0]) < 0.3 && fabs(height[2] - 2 * height[1] + height[0]) < 0.3);
    THAT(at[1] - at[0] > 100 && height[1] - height[0] > 50);
    llm_release_all(out, page, text);
}
/* What others may have put beside OUT: each is left out, with a note, and the page is drawn all the same. */
static void test_strangers(void) {
    static const char good[] = "{\"stage\": 1, \"time\": 5, \"title\": \"t\", \"result\": \"r\", \"parts\": [%s]}";
    static const struct { const char *file, *text; bool kept; } all[] = {
        {"stage.json", "", false}, {"stage.json", "years of work", false}, {"stage.json", "[1, 2]", false},
        {"stage.json", "{\"stage\": 1}", false}, {"stage.json", "{\"stage\": 1, \"time\": 9223372036854775807}", false},
        {"stage.json", "{\"stage\": \"<b>\", \"time\": 5}", false}, {"report.part", "report 1 5\nt\nr\n<script>", false},
        {NULL, "{\"kind\": \"table\", \"file\": \"../one/table.csv\"}", false},
        {NULL, "{\"kind\": \"table\", \"file\": \"nowhere.csv\"}", false}, {NULL, "{\"kind\": \"samples\"}", false},
        {NULL, "{\"kind\": \"chart\", \"file\": \"../one/table.csv\"}", false},
        {NULL, "{\"kind\": \"tokens\"}, {\"kind\": \"methods\"}", false}, {NULL, "{\"kind\": \"magic\"}, 7, null", true},
        {NULL, "{\"kind\": \"log\", \"file\": \"/etc/passwd\"}", true},
        {NULL, "{\"kind\": \"log\", \"file\": \"../secret.csv\"}", true},
        {NULL, "{\"kind\": \"log\", \"file\": \"link.csv\"}", true},
        {NULL, "{\"kind\": \"text\", \"text\": 7, \"title\": [1]}", true},
        {NULL, "{\"kind\": \"text\", \"text\": \"</pre><script>alert(1)</script>\"}", true}};
    int kept = 2;                       /* those of test_page */
    char *secret = llm_format("%s/secret.csv", folder);
    write_log(folder, "step,loss,lr,gnorm,tok_per_s,secret", "%d,%.9g,0.5,nan,100,%.9g\n");
    char *log = llm_format("%s/log.csv", folder);
    THAT(!rename(log, secret));
    llm_release(log);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char *dir = llm_format("%s/strange%d", folder, (int)i);
        llm_make_dirs(dir);
        char *path = llm_format("%s/%s", dir, all[i].file ? all[i].file : "stage.json");
        FILE *f = fopen(path, "w");
        if (all[i].file) fputs(all[i].text, f);
        else fprintf(f, good, all[i].text);
        fclose(f);
        char *link = llm_format("%s/link.csv", dir);
        if (strstr(all[i].text, "link.csv")) THAT(!symlink(secret, link));
        llm_release(link);
        kept += all[i].kept;
        llm_release_all(dir, path);
    }
    char *dir = llm_format("%s/folder/stage.json", folder), *pipe = llm_format("%s/pipe", folder), *fifo =
        llm_format("%s/stage.json", pipe), *page = llm_format("%s/report.html", folder), *one = llm_format("%s/one", folder);
    llm_make_dirs(dir);
    llm_make_dirs(pipe);
    THAT(!mkfifo(fifo, 0600));
    draw(one, NULL);
    char *text = llm_read_file(page, NULL);
    THAT(times(text, "<section") == kept);
    THAT(well_formed(text) > 100 && times(text, "<script") == 0 && times(text, "root:") == 0);
    THAT(times(text, "lies elsewhere is not drawn") == 3 && times(text, ": tokens per second</figcaption>") == 2);
    llm_release(secret);
    llm_release(text);
    char *own = llm_format("%s/own.html", folder);
    FILE *f = fopen(own, "w");
    fputs("years of work", f);
    fclose(f);
    char *argv[] = {(char *)"report", (char *)"--out", one, (char *)"--page", own};
    THAT(report_main(5, argv) == 1);    /* somebody's own page stays */
    text = llm_read_file(own, NULL);
    THAT(!strcmp(text, "years of work"));
    char *theirs = llm_format("%s/theirs", folder), *samples = llm_format("%s/samples.jsonl", theirs);
    llm_make_dirs(theirs);
    f = fopen(samples, "w");
    fputs("years of work", f);
    fclose(f);
    stage_card c = begin(theirs, 1, "x");
    stage_samples(&c, "answers", NULL, 0, NULL, 0, NULL, NULL);
    stage_end(&c, "done");
    llm_release(text);
    text = llm_read_file(samples, NULL);
    THAT(!strcmp(text, "years of work"));
    llm_release_all(dir, pipe, fifo, page, one, own, text, theirs, samples);
}
static void test_tokens(void) {
    char *out = llm_format("%s/tokens", folder), *page = llm_format("%s/report.html", folder);
    llm_make_dirs(out);
    llm_tokenizer t;
    const char text[] = "a <b> & a <b> & a <b> &";
    llm_tokenizer_train(&t, text, sizeof text - 1, 270, true);
    int id[] = {t.im_start, 'a', ' ', '<', '&', t.im_end};
    for (int i = 1; i < 5; i++) {
        char byte = (char)id[i];
        llm_encode(&t, &byte, 1, &id[i]);
    }
    llm_sequence s = {id, 2, 6};        /* prompt: 2 ids; answer: 4 */
    llm_batch b = llm_batch_new(1, 7);
    llm_batch_rows(&b, &s, 1, t.pad);
    llm_real advantage[7] = {9, 1, -2, 0.5, 0.25, 9, 9}, logp[7] = {0};
    double score = 1.5;
    stage_card c = begin(out, 3, "tokens");
    stage_tokens(out, &t, &b, 1, (stage_numbers){.value = advantage, .logp = logp, .ref = logp, .score = &score});
    stage_file(&c, "tokens", "a batch", NULL);
    stage_end(&c, "done");
    draw(out, NULL);
    char *html = llm_read_file(page, NULL);
    THAT(well_formed(html) > 0);
    THAT(strstr(html, "<i>+1.00</i>") && strstr(html, "<i>-2.00</i>") && strstr(html, "<i>+0.25</i>"));
    THAT(!strstr(html, "9.00"));       /* advantages where nothing is trained are not shown */
    THAT(strstr(html, "&lt;|reward|&gt;<i>+1.50</i>"));
    THAT(strstr(html, "rgba(var(--bad),0.80)\" title=\"log p 0.000, reference 0.000\">&lt;<i>-2"));  /* most colour */
    THAT(times(html, "class=\"t p\"") == 1 + 2);       /* the key's, and the prompt's two */
    llm_batch_free(&b);
    llm_tokenizer_free(&t);
    llm_release_all(html, out, page);
}
/* The pictures of stage 2's mask and of ranked pairs: -log p under what counts; a name before, a sum behind a row. */
static void test_pictures(void) {
    char *out = llm_format("%s/mask", folder), *two = llm_format("%s/pairs", folder);
    char *page = llm_format("%s/report.html", folder);
    llm_make_dirs(out);
    llm_make_dirs(two);
    llm_tokenizer t;
    llm_tokenizer_train(&t, "a b a b", 7, 270, true);
    int id[] = {t.im_start, 'a', t.im_end, t.im_start, 'b', t.im_end};
    for (int i = 1; i < 5; i += 3) {
        char byte = (char)id[i];
        llm_encode(&t, &byte, 1, &id[i]);
    }
    llm_sequence s[] = {{id, 1, 3}, {id + 3, 1, 3}};
    llm_batch b = llm_batch_new(2, 3), packed = llm_batch_new(1, 4);
    llm_batch_rows(&b, s, 2, t.pad);
    llm_batch_rows(&packed, s, 1, t.pad);               /* two conversations in a row, as stage 2 packs them */
    for (int i = 0; i < 2; i++) {
        packed.tokens[i + 2] = b.tokens[3 + i], packed.targets[i + 2] = b.targets[3 + i];
        packed.weight[i + 2] = b.weight[3 + i], packed.positions[i + 2] = i;
    }
    const llm_real logp[] = {-0.25, -1.5, 7, -0.5, -2, 7}, part[] = {0.125, 0.25, 7, -1, -0.5, 7};
    const char *const name[] = {"chosen", evil};
    const double sum[] = {0.375, -1.5};
    stage_card c = begin(out, 2, "mask");
    stage_tokens(out, &t, &packed, 1, (stage_numbers){.logp = logp, .most = 3});
    stage_file(&c, "tokens", "a mask", "mask");
    stage_end(&c, "done");
    c = begin(two, 4, "pairs");
    stage_tokens(two, &t, &b, 2, (stage_numbers){.value = part, .logp = logp, .ref = logp, .name = name, .read = "sum",
                                                 .score = sum});
    stage_file(&c, "tokens", "two pairs", "pairs");
    stage_end(&c, "done");
    draw(out, NULL);
    char *html = llm_read_file(page, NULL), *mask = strstr(html, "a mask</h3>");
    char *pairs = strstr(html, "two pairs</h3>");
    THAT(well_formed(html) > 0 && mask && pairs && mask < pairs);
    THAT(strstr(mask, "only here the loss counts") && strstr(mask, ">a<i>0.25</i>") && strstr(mask, "<i>1.50</i>"));
    const char *rows_end = strstr(mask, "<details");
    THAT(between(strstr(mask, "<i>1.50</i>"), rows_end, "<span class=\"t p\">&lt;|im_start|&gt;</span>"));
    THAT(strstr(mask, ">b<i>-7.00</i>") && !between(mask, rows_end, "<i>0.50</i>"));    /* .most: 3 */
    THAT(!strstr(pairs, "7.00"));                       /* places without weight */
    THAT(strstr(pairs, "<b>chosen</b>") && strstr(pairs, "<b>&lt;script") && strstr(pairs, "sum<i>+0.38</i>"));
    THAT(strstr(pairs, "title=\"log p -2.000, reference -2.000\">&lt;|im_end|&gt;<i>-0.50</i>"));
    THAT(strstr(pairs, "sum<i>-1.50</i>") && times(html, "var(--mask),0.80") == 1);
    llm_batch_free(&b);
    llm_batch_free(&packed);
    llm_tokenizer_free(&t);
    remove_tree(out);
    remove_tree(two);
    llm_release_all(out, two, page, html);
}
/* What the page says of all models together: each number of the stages once, under the words that tell it apart. */
static void write_stages(const char *where, bool sweep) {
    static const char *const before[] = {"", "x/base", "x/sft", "fact", "0 0 0.1", "0.5 0.4 0.6", "all", "0 0 0.01",
                                         "0.671 0.638 0.703"};
    static const char *const after[] = {"", "sft", "ppo", "fact", "0.74 0.65 0.82", "0.7 0.6 0.78", "json",
        "0.19 0.1 0.3", "0.37 0.3 0.5", "all", "0.551 0.517 0.585", "0.6 0.566 0.633", "true reward",
        "1.027\n0.9 to 1.1", "1.450\n1.4 to 1.5"};
    static const char *const list[] = {"", "x/base", "x/sft", "x/ppo", "choose: fact, raw", "1 0.98 1", "1 0.98 1",
        "1 0.98 1", "choose: fact, per byte", "1 0.98 1", "1 0.98 1", "1 0.98 1", "all", "0 0 0.1",
        "0.639 0.6 0.68", "0.64 0.6 0.681"};
    static const char *const elo[] = {"", "games", "won", "Elo", "Bradley-Terry", "x/sft", "6", "0.3", "990",
                                      "1000\n1000 to 1000", "x/ppo", "6", "0.7", "1010", "1129\n1100 to 1163"};
    static const struct { const char *folder, *title; int stage, columns, rows; const char *const *cell; } all[] = {
        {"sft", "Fine-tuning", 2, 3, 3, before}, {"reward", "Reward model", 3, 0, 0, NULL},
        {"ppo", "Alignment", 4, 3, 5, after}, {"sweep", "Alignment", 4, 0, 0, NULL},
        {"eval", "Evaluation", 5, 4, 4, list}, {"arena", "Arena", 6, 5, 3, elo}};
    for (int i = 0; i < 6; i++) {
        char *out = llm_format("%s/%s", where, all[i].folder), *csv = llm_format("%s/table.csv", out);
        if (!sweep && !strcmp(all[i].folder, "sweep")) continue;
        llm_make_dirs(out);
        stage_card c = begin(out, all[i].stage, all[i].title);
        if (all[i].cell)
            stage_table(&c, all[i].stage == 4 ? "answers.csv" : "table.csv", "the table", NULL, all[i].cell,
                        all[i].columns, all[i].rows);
        if (all[i].stage == 4) {
            FILE *f = fopen(csv, "w");
            fputs("method,true_reward,win,win_low,win_high,reward,kl,length,stops,exact,fact\n"
                  "sft,1,0.5,0.498,0.502,0.125,0,7,1,0.55,0.7\n", f);
            fputs(strcmp(all[i].folder, "sweep") ? "ppo,1.45,0.675,0.653,0.696,0.64,1.04,6.6,1,0.6,0.7\n"
                  : "ppo kl 0,0.5,0.25,0.2,0.3,1.375,16,9,1,0.3,0.2\n"
                    "ppo kl 0.2,1.5,0.7,0.6,0.8,0.625,1,7,1,0.6,0.7\n", f);
            fclose(f);
            stage_file(&c, "methods", "methods", "true reward");
        }
        for (int k = 0; k < 2 && !strcmp(all[i].folder, "sweep"); k++)
            stage_log(&c, k ? "ppo kl 0.2" : "ppo kl 0", NULL, NAN);
        if (!strcmp(all[i].folder, "sweep")) write_log(out, "step,loss,kl", "%d,%.9g,%.9g\n");
        stage_end(&c, "%s is done", all[i].folder);
        llm_release_all(out, csv);
    }
}
static void test_together(void) {
    char *where = llm_format("%s/all", folder), *page = llm_format("%s/all/report.html", folder);
    char *sft = llm_format("%s/sft", where), *sweep = llm_format("%s/sweep", where);
    write_stages(where, false);
    draw(sft, NULL);
    char *text = llm_read_file(page, NULL), *better = strstr(text, "id=\"better\""), *first = strstr(text, "id=\"s0\"");
    THAT(well_formed(text) > 100 && better && first && better < first);
    THAT(between(better, first, "Which model is better, and why?"));
    THAT(between(better, first, "Fine-tuning (SFT) copies its demonstrations"));
    THAT(between(better, first, "<a href=\"#s1\">the labeller&#39;s rule</a>"));
    THAT(between(better, first, "<li>ppo: 1.03 \xE2\x86\x92 1.45 points by the true rule. Gained most: "
                                "json 0.19 \xE2\x86\x92 0.37, all 0.55 \xE2\x86\x92 0.60. Lost: fact 0.74 \xE2\x86\x92 0.70.</li>"));
    THAT(between(better, first, "<title>0.675 [0.653 0.696]</title>"));
    /* the three numbers of one model, each with its words; base was not sampled */
    THAT(between(better, first, "<th>sft</th><td data-h=\"greedy\">67.1 %<small>63.8 to 70.3</small></td>"
                        "<td data-h=\"sampled\">55.1 %<small>51.7 to 58.5</small></td>"
                        "<td data-h=\"the list, greedy\">63.9 %<small>60.0 to 68.0</small></td>"));
    THAT(between(better, first, "<th>base</th><td data-h=\"greedy\">0.0 %<small>0.0 to 1.0</small></td>"
                                "<td data-h=\"sampled\">-</td>"));
    THAT(between(better, first, "<b>sampled</b>: each token drawn"));
    THAT(between(better, first, "<b>greedy</b>: at each place"));
    THAT(times(text, "<figcaption>the table</figcaption>") == 3 && times(text, "per byte</text>") == 0);
    THAT(strstr(text, "<title>1129 [1100 1163]</title>") && strstr(text, "the first model has 1000 by definition"));
    THAT(times(text, "<figure>") == times(text, "<p class=\"look\">"));
    THAT(times(text, "<details><summary>the table") == 4);
    THAT(times(text, "id=\"goodhart\"") == 1 && !strstr(text, "<figcaption>Goodhart"));
    char *command = llm_format("./train_rlhf --sweep-kl --steps 100 --model %s/sft --reward %s/reward "
                               "--out %s/sweep</code>", where, where, where);
    THAT(between(strstr(text, "id=\"s2\""), strstr(text, "id=\"s3\""), command));
    llm_release(text);
    write_stages(where, true);
    draw(sft, NULL);
    text = llm_read_file(page, NULL);
    THAT(well_formed(text) > 100 && !strstr(text, "id=\"goodhart\"") && times(text, "<figcaption>Goodhart") == 1);
    char *law = strstr(text, "<figcaption>Goodhart");       /* gains over the SFT model, in the order of KL: 0, 1, 16 */
    THAT(law && strstr(law, "reward model&#39;s score 0 \xE2\x86\x92 1.25"));
    THAT(between(strstr(text, "<summary>ppo kl 0: curves<"), strstr(text, "<summary>ppo kl 0.2: curves<"), "ppo kl 0: KL"));
    THAT(times(text, "ppo kl 0: KL, nats an answer</fig") == 1 && times(text, "<figcaption>win-rate") == 1);
    THAT(law && strstr(law, "true rule 0 \xE2\x86\x92 -0.5"));
    THAT(between(law, strstr(law, "<title>1, 0.5</title>"), "<title>0, 0</title>"));
    THAT(between(law, strstr(law, "<title>16, 1.25</title>"), "<title>1, 0.5</title>"));
    THAT(strstr(text, "Alignment (ppo)</h2>") && strstr(text, "Alignment (sweep)</h2>"));  /* one title, two stages */
    llm_release(text);
    char *risky = llm_format("%s/$(x)", where);
    THAT(!rename(sft, risky));                              /* a name that a shell would read is not to be typed */
    remove_tree(sweep);
    draw(risky, NULL);
    text = llm_read_file(page, NULL);
    THAT(strstr(text, "/DIR --reward") && well_formed(text) > 0);
    remove_tree(where);
    llm_release_all(where, page, sft, sweep, text, command, risky);
}
/* --log elsewhere: the page reads what lies in its folder, so a copy does. */
static void test_log_elsewhere(void) {
    char *out = llm_format("%s/copied", folder), *away = llm_format("%s/away", folder), *log = llm_format("%s/log.csv", away);
    char *deep = llm_format("%s/ppo", out), *own = llm_format("%s/ppo/log.csv", out);
    llm_make_dirs(deep);
    llm_make_dirs(away);
    write_log(away, "step,loss,lr,gnorm,tok_per_s", "%d,%.9g,0.5,nan,100\n");
    write_log(deep, "step,loss,kl", "%d,%.9g,%.9g\n");
    stage_card c = begin(out, 1, "elsewhere");
    stage_log(&c, "a", log, NAN);
    stage_log(&c, "b", own, NAN);
    THAT(strstr(c.parts, "\"file\": \"log.csv\"") && strstr(c.parts, "\"file\": \"ppo/log.csv\""));
    stage_end(&c, "r");
    remove_tree(away);
    draw(out, NULL);
    char *page = llm_format("%s/report.html", folder), *text = llm_read_file(page, NULL);
    THAT(strstr(text, ">elsewhere<") && !strstr(strstr(text, ". elsewhere</h2>"), "lies elsewhere"));
    THAT(strstr(strstr(text, ". elsewhere</h2>"), "tokens per second") && strstr(text, "b: KL, nats an answer"));
    remove_tree(out);
    llm_release_all(out, away, log, deep, own, page, text);
}
/* Bytes as they come, as a terminal gets them. */
static void is_shown(const char *text, size_t n, const char *want) {
    char *got = NULL;
    size_t size;
    FILE *f = open_memstream(&got, &size);
    shown_text s = {.count = 0};
    for (size_t i = 0; i < n; i++) shown_put(&s, text + i, 1, f);       /* byte by byte: characters come in pieces */
    fclose(f);
    CHECK(!strcmp(got, want), "shown as %s, not %s", got, want);
    free(got);
}
static void test_shown(void) {
    static const struct { const char *text, *want; } all[] = {
        {"a\tb\n", "a\tb\n"}, {"\xE2\x82\xAC \xF0\x9F\x90\x88 \xD7\xA9", "\xE2\x82\xAC \xF0\x9F\x90\x88 \xD7\xA9"},
        {"\x1B]0;x\x07", "\xE2\x90\x9B]0;x\xE2\x90\x87"}, {"\r\x7F", "\xE2\x90\x8D\xE2\x90\xA1"},
        {"\xC2\x9Bm", "\xEF\xBF\xBDm"}, {"\xE2\x80\xAE!\xE2\x81\xA6!", "\xEF\xBF\xBD!\xEF\xBF\xBD!"},
        {"\xC2\xA0\xE2\x80\xAF", "\xC2\xA0\xE2\x80\xAF"}, {"\xFF\x80z", "\xEF\xBF\xBD\xEF\xBF\xBDz"},
        {"\xE2\x82(\x1B", "\xEF\xBF\xBD(\xE2\x90\x9B"}, {"\xE2\x1B[", "\xEF\xBF\xBD\xE2\x90\x9B["},
        {"\xED\xA0\x80.", "\xEF\xBF\xBD."}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) is_shown(all[i].text, strlen(all[i].text), all[i].want);
    is_shown("\0", 1, "\xE2\x90\x80");
    for (uint32_t c = 0; c < 256; c++) {                        /* no byte alone is let through that is no letter */
        char byte = (char)c, *got = NULL;
        size_t size;
        FILE *f = open_memstream(&got, &size);
        shown_text s = {.count = 0};
        shown_put(&s, &byte, 1, f);
        shown_put(&s, "\n", 1, f);
        fclose(f);
        const bool plain = c == '\n' || c == '\t' || (c >= 32 && c < 127);
        CHECK(plain == (size == 2 && got[0] == byte), "byte %u", c);
        free(got);
    }
}
static void test_column(void) {
    char *path = llm_format("%s/log.csv", folder);
    FILE *f = fopen(path, "w");
    fputs("method,step,loss,val\nppo,1,0.5,\nppo,2,0.25,3\ndpo,1,7,\n", f);
    fclose(f);
    int n;
    double *x = report_column(path, "loss", &n);
    THAT(n == 3 && x[0] == 0.5 && x[2] == 7);
    llm_release(x);
    x = report_column(path, "val", &n);
    THAT(n == 3 && isnan(x[0]) && x[1] == 3 && isnan(x[2]));
    llm_release(x);
    THAT(!report_column(path, "nothing", &n) && n == 0);
    THAT(!report_column("/nowhere.csv", "loss", &n) && n == 0);
    llm_release(path);
}
static void test_events(void) {
    THAT(tb_crc((const uint8_t *)"123456789", 9) == 0xE3069283u);      /* the check value of CRC-32C */
    char *dir = llm_format("%s/tb", folder);
    tensorboard t = tb_open(dir, "out/sft/");
    THAT(strstr(t.path, "/tb/sft/events.out.tfevents."));
    tb_scalar(&t, 300, "val/loss", 1.5);
    tb_scalar(&t, 301, "val/loss", NAN);
    size_t size;
    const uint8_t *x = (const uint8_t *)llm_read_file(t.path, &size);
    /* version: 12 + (9 + 2 + 15) + 4 bytes; then key 1 and 8 bytes of time, key 2 and step 300 as AC 02, key 5 and 17
       bytes of summary: 1: 15 bytes of value: 1: "val/loss", 2: 1.5f */
    static const uint8_t want[] = {0x10, 0xAC, 0x02, 0x2A, 17, 0x0A, 15, 0x0A, 8, 'v', 'a', 'l', '/',
                                   'l',  'o',  's',  's',  0x15, 0, 0, 0xC0, 0x3F};
    THAT(size == 42 + 12 + 9 + sizeof want + 4);
    THAT(!memcmp(x + 42 + 12 + 9, want, sizeof want));
    THAT(x[42] == 9 + sizeof want && x[42 + 12] == 9);
    llm_release((void *)x);
    THAT(tb_close(&t));
    tensorboard off = tb_open(NULL, "x");
    tb_scalar(&off, 1, "a", 1);
    THAT(tb_close(&off));
    llm_release(dir);
}
/* A step whose line in log.csv, or whose events, cannot be written ends the run, with a checkpoint (run_train). */
static void test_full_disk(void) {
    static const run_measure measure[] = {{"loss", "train/loss", NULL}, {"lr", NULL, NULL}, {"gnorm", NULL, NULL}};
    const run_stage g = {.name = "step", .measure = measure, .measures = 3};
    const double m[] = {1, 2, 3};
    for (int i = 0; i < 3; i++) {
        run_loop x = {.g = &g, .step = 7, .steps = 1000, .log = fopen(i == 1 ? "/dev/full" : "/dev/null", "a")};
        if (i == 2) x.board = (tensorboard){fopen("/dev/full", "a"), llm_format("events"), 0};
        const char *broken = run_write_step(&x, m);
        CHECK(i == 0 ? !broken : broken && strstr(broken, i == 1 ? "cannot write the log" : "cannot write events"),
              "%d: %s", i, broken ? broken : "no error");
        THAT(tb_close(&x.board) == (i != 2));
        fclose(x.log);
    }
}
/* What is a log of ours, and what only begins as one. */
static void test_logs(void) {
    static const struct { const char *text; bool ours; } log[] = {
        {"step,loss,lr,gnorm,kl_coefficient\n", true}, {"step,loss\n1,5.5\n2,nan\n3,1.2e-05\n", true},
        {"step,loss,lr\n1,5.5,\n2,5.", true},         /* killed while it was written */
        {"", true}, {"step,loss", true},
        {"step,loss\nchapter one\n", false}, {"step,loss\n1,5.5\nit was a dark night\n2,5\n", false},
        {"step,loss and other poems\n", false}, {"step,loss\n1,5.5\n\n2,5\n", false},
        {"step,loss\n1 of my enemies\n", false}, {"loss,step\n", false}};
    char *path = llm_format("%s/some.csv", folder);
    for (size_t i = 0; i < sizeof log / sizeof *log; i++) {
        llm_writer w = llm_write_begin(path);
        llm_write_text(&w, "%s", log[i].text);
        llm_write_done(&w);
        CHECK(run_is_log(path) == log[i].ours, "%s", log[i].text);
    }
    unlink(path);
    THAT(run_is_log(path) && !run_is_log("/dev/null") && !run_is_log(folder));
    llm_release(path);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    test_page();
    test_strangers();
    test_tokens();
    test_pictures();
    test_together();
    test_log_elsewhere();
    test_shown();
    test_column();
    test_events();
    test_full_disk();
    test_logs();
    test_chart();
    remove_tree(folder);
    return checks_done();
}
