/* jinja_probe: our side of test/jinja_compare.py. Reads JSON lines {"source", "variables": {...}, "texts": {...}} on
   stdin and prints for each {"text": ...} or {"error": ...}.

       jinja_probe < lines */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/jinja.h"

static jmp_buf escape;
static char why[700];
static void on_death(const char *message) {
    snprintf(why, sizeof why, "%s", message);
    longjmp(escape, 1);
}
static void say(const char *key, const char *text, size_t n) {
    llm_writer w = {.file = stdout};
    printf("{\"%s\": ", key);
    llm_write_json_string(&w, text, n);
    printf("}\n");
    fflush(stdout);
}
static void render(const llm_json *line) {
    jinja_variable v[64];
    jinja_text out = {0};
    size_t n = 0;
    const llm_json *source = llm_json_get(line, "source");
    for (const llm_json *c = llm_json_get(line, "variables")->child; c && n < 60; c = c->next)
        v[n++] = (jinja_variable){.name = c->key, .json = c, .chat = !strcmp(c->key, "messages")};
    for (const llm_json *c = llm_json_get(line, "texts")->child; c && n < 64; c = c->next)
        v[n++] = (jinja_variable){.name = c->key, .text = c->string};
    jinja_template *t = jinja_parse(source->string, source->length, "template");
    if (jinja_render(t, v, n, 1772874303, &out)) say("text", out.text, out.length);
    else say("error", out.error, strlen(out.error));
    jinja_text_free(&out);
    jinja_free(t);
}
/* The function that setjmp returns in twice holds no variables: what would they be worth the second time? */
static void answer(const llm_json *line) {
    llm_on_death = on_death;
    if (setjmp(escape)) say("error", why, strlen(why));
    else render(line);
}
int main(void) {
    char *line = NULL;
    size_t room = 0;
    for (ssize_t n; (n = getline(&line, &room, stdin)) > 0;) {
        llm_json *root = llm_json_parse(line, (size_t)n, "stdin", 1);
        answer(root);
        llm_json_free(root);
    }
    free(line);
    return 0;
}
