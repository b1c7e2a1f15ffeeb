/* jinja.h of the fuzz targets: any bytes as a chat template, over one conversation. What is accepted renders twice to
   the same text, with known marks; what is refused names its place. */
#include "../../tools/jinja.h"

static const char jinja_fuzz_variables[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \" Be\\n\"}, {\"role\": \"user\", \"content\": "
    "\"Hi <|im_end|> \xC3\xA9\xF0\x9F\x98\x80\"}, {\"role\": \"assistant\", \"content\": \"<think>a</think>b\", \"tool_calls\": "
    "[{\"id\": \"abcdefgh1\", \"function\": {\"name\": \"f\", \"arguments\": {\"a\": 1.5, \"b\": [true, null]}}}]}, "
    "{\"role\": \"tool\", \"content\": \"5\"}], \"tools\": [{\"function\": {\"name\": \"f\", \"description\": \"d\", "
    "\"parameters\": {\"properties\": {\"a\": {\"type\": \"number\"}}, \"required\": [\"a\"]}}}], "
    "\"add_generation_prompt\": true, \"x\": \"It's\", \"n\": 7, \"d\": {\"a\": 1, \"B\": [1, 2.5, null]}, "
    "\"e\": \"z\"}";

static void fuzz_jinja(const char *data, size_t size) {
    jinja_template *t = jinja_parse(data, size, "fuzz");
    llm_json *all = llm_json_parse(jinja_fuzz_variables, sizeof jinja_fuzz_variables - 1, "variables", 1);
    jinja_variable v[12] = {{.name = "bos_token", .text = "<s>"}, {.name = "eos_token", .text = "</s>"}};
    jinja_text x = {0}, again = {0};
    size_t n = 2;
    for (const llm_json *c = all->child; c; c = c->next)
        v[n++] = (jinja_variable){.name = c->key, .json = c, .chat = !strcmp(c->key, "messages")};
    bool well = jinja_render(t, v, n, 1, &x);
    if (well != jinja_render(t, v, n, 1, &again) || x.length != again.length) abort();
    if (well && (x.text[x.length] || memcmp(x.text, again.text, x.length))) abort();
    if (!well && (strncmp(x.error, "fuzz:", 5) || x.text)) abort();
    for (size_t i = 0; i < x.length; i++)
        if (x.mark[i] / JINJA_MESSAGE > 4 || x.mark[i] != again.mark[i]) abort();
    jinja_text_free(&x);
    jinja_text_free(&again);
    llm_json_free(all);
    jinja_free(t);
}
