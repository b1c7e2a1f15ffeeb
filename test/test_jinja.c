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
    for (size_t i = 0; i < x->length; i++) marks[i] = (char)('0' + x->mark[i] % JINJA_MESSAGE);
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
        if (marks[i] != '0' + x.mark[i] % JINJA_MESSAGE) {
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

/* ---- what is refused, and where ---- */

static bool known_render(const char *source, jinja_text *x) {
    llm_json *all = llm_json_parse(known, sizeof known - 1, "known", 1);
    jinja_variable v[8];
    bool well = render(source, strlen(source), v, known_variables(all, v), x);
    llm_json_free(all);
    return well;
}
static void refuses(const char *source, const char *why) {
    jinja_text x = {0};
    bool well = known_render(source, &x);
    CHECK(!well && strstr(x.error, why), "%.100s: wanted an error with '%s', got '%s'", source, why,
          well ? x.text : x.error);
    CHECK(well || !x.text, "an error comes with a text");
    jinja_text_free(&x);
}
static void test_refusals(void) {
    refuses("{% include 'a' %}", "test:1:4: the tag {% include %} is not read here");
    refuses("a\n  {% extends 'a' %}", "test:2:6: the tag {% extends %} is not read here");
    refuses("{% block a %}{% endblock %}", "test:1:4: the tag {% block %}");
    refuses("{% from 'a' import b %}", "test:1:4: the tag {% from %}");
    refuses("{% autoescape true %}{% endautoescape %}", "test:1:4: the tag {% autoescape %}");
    refuses("{% for a in d recursive %}{% endfor %}", "test:1:13: recursive loops are not read");
    refuses("{{ range(*d) }}", "test:1:10: arguments after * are not read");
    refuses("{{ dict(**d) }}", "test:1:9: arguments after * are not read");
    refuses("{% macro f() %}{{ varargs }}{% endmacro %}", "test:1:19: a macro's varargs are not read");
    refuses("\n\n{{ x | urlize }}", "test:3:8: the filter | urlize is not known here");
    refuses("{{ x is filter }}", "the test 'is filter' is not known here");
    refuses("{{ x.casefold() }}", ".casefold of a str is not known here");
    refuses("{{ lipsum() }}", "lipsum is not known here");
    refuses("{{ cycler(1) }}", "cycler is not known here");
    refuses("{{ x | safe + '<' }}", "text joined with text behind | safe");
    refuses("{{ 'Stra\xC3\x9F' | upper }}", "the upper or lower case of the letter U+00DF");
    refuses("{{ '\xCE\xA3' | lower }}", "the letter U+03A3");
    refuses("{{ '\xE1\xBC\x80' | lower }}", "the letter U+1F00");
    refuses("{{ '\\N{BULLET}' }}", "test:1:5: write the character itself");
    refuses("{{ 0x1F }}", "test:1:4: write this number in decimal digits");
    refuses("{{ 99999999999999999999 }}", "test:1:4: this number is too large");
    refuses("{{ 9223372036854775807 + 1 }}", "a whole number of more than 63 bits");
    refuses("{{ 10 ** 19 }}", "a whole number of more than 63 bits");
    refuses("{{ d['z'].y }}", "test:1:10: 'dict object' has no attribute 'z'");
    refuses("{{ nobody.y }}", "test:1:10: 'nobody' is undefined");
    refuses("{{ x.y.z }}", "test:1:7: 'str object' has no attribute 'y'");
    refuses("{{ messages.append(1) }}", "access to attribute 'append' of 'list' object is unsafe");
    refuses("{{ messages | map('trim') | length }}", "object of type 'generator' has no len()");
    refuses("{% if x %}\n{% for i in d %}\n{% endif %}", "test:3:4: the tag {% endif %} is not read here");
    refuses("{% if x %}a", "test:1:12: endif was expected, not the end of the template");
    refuses("a {{ x", "test:1:3: this tag has no end");
    refuses("a {# x", "test:1:3: this comment has no end");
    refuses("{{ x\n\n ? 1 }}", "test:3:2: unexpected character '?'");
    refuses("{{ raise_exception('the\x1b roles\n take turns') }}", "test:1:19: the? roles  take turns");
    jinja_text x = {0};
    CHECK(!known_render("{{ raise_exception('no') }}", &x) && x.raised, "raised by the template");
    CHECK(!known_render("{{ 1 / 0 }}", &x) && !x.raised, "raised by Python");
    llm_on_death = check_on_death;
    CHECK_DIES(jinja_parse("a\0b", 3, "zero"), "zero:1:1: a template holds a zero byte");
    jinja_text_free(&x);
}

/* ---- marks ---- */

static void marks(const char *source, const char *text, const char *wanted) {
    jinja_text x = {0};
    bool well = known_render(source, &x);
    CHECK(well && !strcmp(x.text, text), "%s: %s", source, well ? x.text : x.error);
    for (size_t i = 0; well && i < x.length; i++)
        if (wanted[i] != '0' + x.mark[i] % JINJA_MESSAGE) {
            CHECK(false, "%s: byte %zu has mark %d", source, i, x.mark[i]);
            break;
        }
    CHECK(well && strlen(wanted) == x.length, "%s: as many marks", source);
    jinja_text_free(&x);
}
static void test_marks(void) {
    jinja_text x = {0};
    CHECK(known_render("{{ n }}{{ messages[1].content ~ messages[0].content ~ x ~ messages[0].role }}", &x), "renders");
    static const int from[] = {0, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0};        /* "7" " Yo " "Hi" "It's" "user" */
    CHECK(x.length == 15, "'%s'", x.text);
    for (size_t i = 0; i < x.length; i++)
        CHECK(x.mark[i] / JINJA_MESSAGE == from[i], "byte %zu: message %d", i, x.mark[i] / JINJA_MESSAGE);
    jinja_text_free(&x);
    marks("<{{ x }}>", "<It's>", "011110");
    marks("{{ '<|' + messages[0].role + '|>' }}", "<|user|>", "00000000");
    marks("{{ 'a' + x[2:] | upper }}", "a'S", "011");
    marks("{{ x.replace('t', 'TT') ~ n }}", "ITT's7", "100110");
    marks("{{ [x, 'b'] }}", "[\"It's\", 'b']", "0011110000000");
    marks("{{ d | tojson }}", "{\"a\": 1, \"B\": [1, 2.5, null], \"items\": \"own\"}",
          "001000000010000000000000000000011111000011100");
    marks("{{ x.split('t') | join(x[0]) }}", "II's", "1111");
    marks("{% generation %}{{ x }}.{% endgeneration %}!", "It's.!", "333320");
    marks("{% set a %}{% generation %}b{{ x }}{% endgeneration %}c{% endset %}{{ (a ~ a)[:7] }}", "bIt'scb", "2333302");
    marks("{{ e | reverse }}", "z\xF0\x9F\x98\x80\xC3\xA9", "1111111");
    marks("{{ '%s-%s' % (x, 'a') }}{{ '{}!'.format(x) }}", "It's-aIt's!", "11110011110");
}

/* ---- bounds: each of these would run for ever, fill the memory or the stack ---- */

static void repeated(const char *before, const char *part, int times, const char *after, const char *why) {
    size_t n = strlen(part), a = strlen(before);
    char *source = llm_alloc(a + n * times + strlen(after) + 1, 1);
    memcpy(source, before, a);
    for (int i = 0; i < times; i++) memcpy(source + a + n * i, part, n);
    memcpy(source + a + n * times, after, strlen(after));
    double start = llm_now();
    jinja_text x = {0};
    bool well = known_render(source, &x);
    CHECK(why ? !well && strstr(x.error, why) : well, "%d x %s: wanted %s, got '%.200s'", times, part,
          why ? why : "a text", well ? x.text : x.error);
    CHECK_SMALL(llm_now() - start, 30, "%d x %s takes too long", times, part);
    jinja_text_free(&x);
    llm_release(source);
}
static void bounded(const char *source, const char *why) { repeated(source, "", 0, "", why); }
static void test_bounds(void) {
    static const char deep[] = "nested deeper than", work[] = "does not come to an end";
    static const char room[] = "the template wants more";
    bounded("{% set l = range(100000) %}{% for a in range(1000) if -1 in l %}{% endfor %}", work);
    bounded("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", deep);
    bounded("{% macro f() %}{% for i in range(9) %}{{ f() }}{% endfor %}{% endmacro %}{{ f() }}", deep);
    bounded("{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", room);
    bounded("{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", room);
    bounded("{{ 'ab' * 9000000000 }}", room);
    bounded("{{ [1] * 9000000000 }}", room);
    bounded("{{ '' * 9000000000 }}{{ [] * 9000000000 }}", NULL);
    bounded("{{ x.center(9000000000) }}", work);
    bounded("{{ x | indent(9000000000) }}", work);
    bounded("{{ d | tojson(indent=9000000000) }}", work);
    bounded("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", room);
    bounded("{{ '%99999999d' % 1 }}", "this % in a format");
    bounded("{{ 3 ** 9000000000 }}{{ 1 ** 9000000000 }}", "63 bits");
    bounded("{% set n = namespace(l=[]) %}{% for i in range(9999) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}", deep);
    bounded("{% set n = namespace(l=[]) %}{% for i in range(9999) %}{% set n.l = [n.l] %}{% endfor %}"
            "{{ n.l == [n.l] }}", deep);
    bounded("{% set ns = namespace(l=x) %}{% for i in range(9999) %}{% set ns.l = ns.l | map('string') %}{% endfor %}"
            "{{ ns.l | list }}", deep);
    bounded("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "a Namespace is printed");
    bounded("{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}", room);
    bounded("{% for i in range(99999) %}{{ x.replace('', x * 99) | length }}{% endfor %}", room);
    repeated("{{ ", "(", 100000, "1", deep);
    repeated("{{ ", "[", 100000, "1", deep);
    repeated("{{ ", "-", 100000, "1 }}", deep);
    repeated("{{ ", "not ", 100000, "1 }}", deep);
    repeated("{{ 1", " + 1", 100000, " }}", deep);
    repeated("{{ 1", " if 1 else 1", 100000, " }}", deep);
    repeated("{{ x", ".a", 100000, " }}", deep);
    repeated("{{ x", "|trim", 100000, " }}", deep);
    repeated("{{ x", " is string", 2, " }}", "a test behind a test");
    repeated("", "{% if 1 %}", 100000, "", deep);
    repeated("{% if 0 %}", "{% elif 0 %}", 100000, "{% endif %}", deep);
    repeated("{{ 1", " < 2", 1000, " }}", NULL);
    repeated("{{ 'a'", " 'a'", 2000, " }}", NULL);
    repeated("", "{{ x }}{% if n %}\n{% endif %}", 20000, "", NULL);
    repeated("", "{#-", 100000, "", "this comment has no end");
    repeated("", "{% raw %}", 100000, "", "this raw block has no end");
    repeated("", "    \n", 100000, "{%- if 1 %}{% endif %}", NULL);
    repeated("", "{{ '", 100000, "", "");
}

int main(void) {
    setenv("TZ", "UTC", 1);
    tzset();
    data = llm_json_file("test/data/jinja.json");
    test_templates();
    test_expressions();
    test_refusals();
    test_marks();
    test_bounds();
    llm_json_free(data);
    return checks_done();
}
