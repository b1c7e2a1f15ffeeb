/* test_jinja.c: chat templates as transformers renders them (test/data/jinja.json, written by test/gen/jinja.py): text,
   where each byte came from, what stands in {% generation %}; expressions; what is refused, and where; bounds. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/jinja.h"
#include "check.h"

static llm_json *data;

/* What the template makes of the variables, errors of parsing among those of rendering. */
static bool render(const char *source, size_t size, const jinja_variable *v, size_t count, jinja_text *out) {
    time_t now = (time_t)llm_json_number(data, "now", 0);
    jinja_text_free(out);
    llm_on_death = check_on_death;
    if (setjmp(check_jump)) {
        llm_on_death = NULL;
        snprintf(out->error, sizeof out->error, "%.599s", check_message);
        return false;
    }
    jinja_template *t = jinja_parse(source, size, "test");
    llm_on_death = NULL;
    bool well = jinja_render(t, v, count, now, out);
    jinja_free(t);
    return well;
}

/* ---- templates x conversations ---- */

static uint64_t fnv(uint64_t h, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
    return h;
}
/* As the fixtures spell a result: a hash of text and marks, or what is raised. */
static char *spell(bool well, const jinja_text *x) {
    const char *what = x->error;
    for (int colons = 0; !well && colons < 3; what++) colons += *what == ':';
    if (!well) return x->raised ? llm_format("raised:%s", what) : llm_format("error");
    char *marks = llm_alloc(x->length + 1, 1);
    for (size_t i = 0; i < x->length; i++) marks[i] = (char)('0' + x->mark[i]);
    uint64_t h = fnv(fnv(fnv(0xCBF29CE484222325u, x->text, x->length), "|", 1), marks, x->length);
    llm_release(marks);
    return llm_format("%016llx", (unsigned long long)h);
}
static size_t variables(const llm_json *talk, const llm_json *row, jinja_variable *v) {
    static const llm_json no = {.type = LLM_JSON_BOOL};
    size_t n = 0;
    v[n++] = (jinja_variable){.name = "documents"};
    if (!llm_json_get(talk, "tools")) v[n++] = (jinja_variable){.name = "tools"};
    if (!llm_json_get(talk, "add_generation_prompt"))
        v[n++] = (jinja_variable){.name = "add_generation_prompt", .json = &no};
    const char *bos = llm_json_text(row, "bos", NULL), *eos = llm_json_text(row, "eos", NULL);
    if (bos) v[n++] = (jinja_variable){.name = "bos_token", .text = bos};
    if (eos) v[n++] = (jinja_variable){.name = "eos_token", .text = eos};
    for (const llm_json *c = talk->child; c; c = c->next)
        v[n++] = (jinja_variable){.name = c->key, .json = c, .chat = !strcmp(c->key, "messages")};
    return n;
}
static void compare(const llm_json *row, const llm_json *talk, const llm_json *wanted, int number) {
    const llm_json *source = llm_json_get(row, "source");
    const char *name = llm_json_text(row, "name", "");
    char key[16];
    jinja_variable v[16];
    jinja_text x = {0};
    bool well = render(source->string, source->length, v, variables(talk, row, v), &x);
    char *got = spell(well, &x);
    snprintf(key, sizeof key, "%d", number);
    const char *text = llm_json_text(llm_json_get(row, "text"), key, NULL);
    CHECK(!strcmp(got, wanted->string), "%s, conversation %d: %s, not %s\n%s\n%s", name, number, got, wanted->string,
          well ? x.text : x.error, text ? text : "");
    if (text) CHECK(well && !strcmp(text, x.text), "%s, conversation %d: the text", name, number);
    const char *marks = llm_json_text(llm_json_get(row, "marks"), key, NULL);
    for (size_t i = 0; marks && i < x.length; i++)
        if (marks[i] != '0' + x.mark[i]) {
            CHECK(false, "%s, conversation %d: byte %zu has mark %d, not %c", name, number, i, x.mark[i], marks[i]);
            break;
        }
    llm_release(got);
    jinja_text_free(&x);
}
static void test_templates(void) {
    int templates = 0;
    for (const llm_json *row = llm_json_get(data, "templates")->child; row; row = row->next, templates++) {
        const llm_json *wanted = llm_json_get(row, "result")->child;
        int number = 0;
        for (const llm_json *talk = llm_json_get(data, "talks")->child; talk; talk = talk->next, number++) {
            compare(row, talk, wanted, number);
            wanted = wanted->next;
        }
        CHECK(number == 40 && !wanted, "40 conversations");
    }
    CHECK(templates >= 25, "25 templates");
}

/* ---- expressions ---- */

static const char known[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \" Yo \"}], "
    "\"x\": \"It's\", \"n\": 7, \"d\": {\"a\": 1, \"B\": [1, 2.5, null], \"items\": \"own\"}, "
    "\"e\": \"\xC3\xA9\xF0\x9F\x98\x80z\"}";
static size_t known_variables(const llm_json *all, jinja_variable *v) {
    size_t n = 0;
    for (const llm_json *c = all->child; c; c = c->next)
        v[n++] = (jinja_variable){.name = c->key, .json = c, .chat = !strcmp(c->key, "messages")};
    return n;
}
static void test_expressions(void) {
    llm_json *all = llm_json_parse(known, sizeof known - 1, "known", 1);
    jinja_variable v[8];
    jinja_text x = {0};
    size_t n = known_variables(all, v);
    for (const llm_json *c = llm_json_get(data, "cases")->child; c; c = c->next) {
        const llm_json *source = c->child, *wanted = source->next;
        bool well = render(source->string, source->length, v, n, &x);
        bool same = wanted->type == LLM_JSON_NULL ? !well : well && x.length == wanted->length &&
                                                    !memcmp(x.text, wanted->string, x.length);
        CHECK(same, "%s\n    gives  %s\n    wanted %s", source->string, well ? x.text : x.error,
              wanted->type == LLM_JSON_NULL ? "an error" : wanted->string);
    }
    jinja_text_free(&x);
    llm_json_free(all);
}

int main(void) {
    setenv("TZ", "UTC", 1);
    tzset();
    data = llm_json_file("test/data/jinja.json");
    test_templates();
    test_expressions();
    llm_json_free(data);
    return checks_done();
}
