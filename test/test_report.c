/* test_report.c: the report page and TensorBoard's events. The page must be well-formed whatever a model says, text
   must stay text, and a part that is not ours must do no harm. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/report.h"
#include "../tools/tensorboard.h"
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

static void write_part(const char *out, int stage) {
    report_card r;
    const char *head[] = {"", evil, "sft"}, *cell[] = {"fact", "0.5\n0.4 to 0.6", NULL, evil, "", "1"};
    const char *prompt[] = {evil, "2 < 3?"}, *answer[] = {"a", evil, "", "d"};
    const int mark[] = {1, 0, -1, 1};
    double x[] = {0, 1, 2, 3}, y[] = {5, NAN, 1, 0.5}, none[] = {NAN, NAN, NAN, NAN}, many[1000], over[1000];
    double share[] = {0.5, 0.4, 0.6, NAN, NAN, NAN};
    for (int i = 0; i < 1000; i++) {
        over[i] = i;
        many[i] = exp(-i / 100.0);
    }
    const report_line line[] = {{evil, x, y, 4, REPORT_LINE}, {"nothing", x, none, 4, REPORT_DOTS},
                                {"one", x, x, 1, REPORT_DASHED}, {"many", over, many, 1000, REPORT_LINE}};
    char *argv[] = {(char *)"train", (char *)"--data", (char *)evil};
    report_open(&r, out, NULL, stage, stage == 1 ? "First" : "Second <b>", 3, argv);
    report_text(&r, "%s", evil);
    report_chart(&r, evil, "step", line, 4, true);
    report_chart(&r, "constant", "step", &line[2], 1, false);
    report_chart(&r, "nothing", "step", &line[1], 1, true);
    report_lines(&r, "samples", evil);
    report_table(&r, evil, head, 3, cell, 2);
    report_intervals(&r, "shares", head + 1, 1, head + 1, 2, share, 0, 1);
    report_samples(&r, "answers", head + 1, 2, prompt, 2, answer, mark);
    report_close(&r, "all of it: %s", evil);
}
static void test_page(void) {
    char *one = llm_format("%s/one", folder), *two = llm_format("%s/two/", folder), *page = llm_format("%s/report.html",
                                                                                                     folder);
    llm_make_dirs(one);
    llm_make_dirs(two);
    write_part(two, 2);
    char *text = llm_read_file(page, NULL);
    THAT(well_formed(text) > 50);
    THAT(times(text, "<section") == 1);
    THAT(times(text, "<figcaption>constant") == 1 && !strstr(text, "<figcaption>nothing"));
    llm_release(text);
    write_part(one, 1);                 /* the page is written again, in the order of the stages */
    char *strange = llm_format("%s/strange", folder), *part = llm_format("%s/strange/report.part", folder);
    llm_make_dirs(strange);
    FILE *f = fopen(part, "w");
    fputs("<script>not ours", f);
    fclose(f);
    write_part(one, 1);
    size_t size;
    text = llm_read_file(page, &size);
    THAT(strlen(text) == size);
    THAT(well_formed(text) > 100);
    THAT(times(text, "<section") == 2);
    THAT(strstr(text, ">First<") && strstr(text, "Second &lt;b&gt;"));
    THAT(strstr(text, ">First<") < strstr(text, "Second"));
    THAT(times(text, "<script") == 0 && times(text, "&lt;script&gt;") > 10 && times(text, "not ours") == 0);
    THAT(times(text, "\xEF\xBF\xBD") > 10 && times(text, "\xE2\x82\xAC") > 10);   /* bad bytes replaced, a euro kept */
    THAT(times(text, "nan") == 0 && times(text, "inf\"") == 0);
    THAT(times(text, "http") == 1);    /* http-equiv: nothing is loaded from anywhere */
    int control = 0;
    for (const char *s = text; *s; s++) control += (unsigned char)*s < 32 && *s != '\n' && *s != '\t';
    THAT(control == 0);
    char *temporary = llm_format("%s/report.html.tmp", folder);
    THAT(!llm_exists(temporary));
    report_card r;
    report_open(&r, one, "off", 1, "x", 0, NULL);
    THAT(r.body == NULL);
    report_text(&r, "nothing");         /* every call on it does nothing */
    report_close(&r, "nothing");
    char *all[] = {one, two, page, text, strange, part, temporary};
    for (int i = 0; i < 7; i++) llm_release(all[i]);
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
    report_card r;
    report_open(&r, out, NULL, 3, "tokens", 0, NULL);
    report_tokens(&r, "a batch", &t, &b, 1, advantage, logp, NULL, &score);
    report_close(&r, "done");
    char *html = llm_read_file(page, NULL);
    THAT(well_formed(html) > 0);
    THAT(strstr(html, "<i>+1.00</i>") && strstr(html, "<i>-2.00</i>") && strstr(html, "<i>+0.25</i>"));
    THAT(!strstr(html, "9.00"));       /* advantages where nothing is trained are not shown */
    THAT(strstr(html, "&lt;|reward|&gt;<i>+1.50</i>"));
    THAT(strstr(html, "rgba(var(--bad),0.80)\" title=\"log p 0.000\">&lt;<i>-2"));  /* the largest: most colour */
    THAT(times(html, "class=\"t p\"") == 1 + 2);       /* the key's, and the prompt's two */
    llm_batch_free(&b);
    llm_tokenizer_free(&t);
    llm_release(html);
    llm_release(out);
    llm_release(page);
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
    tb_close(&t);
    tensorboard off = tb_open(NULL, "x");
    tb_scalar(&off, 1, "a", 1);
    tb_close(&off);
    llm_release(dir);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    test_page();
    test_tokens();
    test_column();
    test_events();
    llm_remove_tree(folder);
    return checks_done();
}
