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
    const int mark[] = {1, 0, -1, 1};
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
    THAT(times(text, "<figcaption>learning rate") == 1 && !strstr(text, "<figcaption>gradient norm"));
    THAT(times(text, "entropy of the text") == 0);
    llm_release(text);
    write_stage(one, 1);                /* the page is written again, in the order of the stages */
    draw(one, NULL);
    size_t size;
    text = llm_read_file(page, &size);
    THAT(strlen(text) == size);
    THAT(well_formed(text) > 100);
    THAT(times(text, "<section") == 2);
    THAT(strstr(text, ">First<") && strstr(text, "Second &lt;b&gt;"));
    THAT(strstr(text, ">First<") < strstr(text, "Second"));
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
/* What others may have put beside OUT: each is left out, with a note, and the page is drawn all the same. */
static void test_strangers(void) {
    static const char good[] = "{\"stage\": 1, \"time\": 5, \"title\": \"t\", \"result\": \"r\", \"parts\": [%s]}";
    static const struct { const char *file, *text; bool kept; } all[] = {
        {"stage.json", "", false}, {"stage.json", "years of work", false}, {"stage.json", "[1, 2]", false},
        {"stage.json", "{\"stage\": 1}", false}, {"stage.json", "{\"stage\": 1, \"time\": 9223372036854775807}", false},
        {"stage.json", "{\"stage\": \"<b>\", \"time\": 5}", false}, {"report.part", "report 1 5\nt\nr\n<script>", false},
        {NULL, "{\"kind\": \"table\", \"file\": \"../one/table.csv\"}", false},
        {NULL, "{\"kind\": \"table\", \"file\": \"nowhere.csv\"}", false}, {NULL, "{\"kind\": \"samples\"}", false},
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
    THAT(times(text, "lies elsewhere is not drawn") == 3 && times(text, "<figcaption>tokens per second") == 2);
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
    stage_tokens(out, &t, &b, 1, advantage, logp, logp, &score);
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
    THAT(strstr(text, ">elsewhere<") && !strstr(strstr(text, ">elsewhere</h2>"), "lies elsewhere"));
    THAT(strstr(strstr(text, ">elsewhere</h2>"), "tokens per second") && strstr(text, "b: KL, nats an answer"));
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
    double *x = report_column(path, "loss", NULL, NULL, &n);
    THAT(n == 3 && x[0] == 0.5 && x[2] == 7);
    llm_release(x);
    x = report_column(path, "val", "method", "ppo", &n);
    THAT(n == 2 && isnan(x[0]) && x[1] == 3);
    llm_release(x);
    THAT(!report_column(path, "nothing", NULL, NULL, &n) && n == 0);
    THAT(!report_column("/nowhere.csv", "loss", NULL, NULL, &n) && n == 0);
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
    test_log_elsewhere();
    test_shown();
    test_column();
    test_events();
    test_full_disk();
    test_logs();
    remove_tree(folder);
    return checks_done();
}
