/* test_templates.c: what a model sees of a conversation, and what of it is learned, in the chat templates that people
   use: ids, masks and where the last answer begins, as transformers has them (test/data/chat_ids.json, written by
   test/gen/chat_ids.py; the templates themselves are in test/data/jinja.json). */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/hf.h"
#include "check.h"

static char folder[64];
static int equal, refused, unheard;

/* ---- a family's folder ---- */

static void put(const char *name, const char *text, size_t n) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    llm_writer w = llm_write_begin(path);
    llm_write_bytes(&w, text, n);
    llm_write_done(&w);
}
/* Texts of these rows have no character that JSON would escape, but for line ends and tabs. */
static char *quoted(char *to, const char *s) {
    *to++ = '"';
    for (; *s; s++)
        if (*s == '\n' || *s == '\t') to += sprintf(to, "\\%c", *s == '\n' ? 'n' : 't');
        else *to++ = *s;
    *to++ = '"';
    *to = '\0';
    return to;
}
/* The tokens that are added, as members of the list in tokenizer.json; ids from `id` on. */
static char *added_tokens(const llm_json *added, int id) {
    static const char *const flag[] = {"single_word", "lstrip", "rstrip", "normalized", "special"};
    char *text = llm_alloc(300 * (added->length + 1), 1), *to = text;
    for (const llm_json *c = added->child; c; c = c->next) {
        to += sprintf(to, ", {\"id\": %d, \"content\": ", id++);
        to = quoted(to, llm_json_text(c, "content", ""));
        for (int i = 0; i < 5; i++)
            to += sprintf(to, ", \"%s\": %s", flag[i], llm_json_true(c, flag[i], false) ? "true" : "false");
        to += sprintf(to, "}");
    }
    return text;
}
/* The tokenizer of test/data/tok with the row's tokens, and its template. */
static void open_family(llm_tokenizer *t, const llm_json *row, const llm_json *template) {
    char path[128], bos[64] = "null", eos[64] = "null";
    size_t n;
    snprintf(path, sizeof path, "test/data/tok/%s", llm_json_text(row, "tokenizer", ""));
    hf_tokenizer_load(t, path);
    char *more = added_tokens(llm_json_get(row, "added"), t->vocab_size);
    llm_tokenizer_free(t);
    strcat(path, "/tokenizer.json");
    char *text = llm_read_file(path, &n), *end = strchr(strstr(text, "\"added_tokens\""), ']');
    char *all = llm_format("%.*s%s%s", (int)(end - text), text, more, end);
    put("tokenizer.json", all, strlen(all));
    if (llm_json_text(template, "bos", NULL)) quoted(bos, llm_json_text(template, "bos", NULL));
    if (llm_json_text(template, "eos", NULL)) quoted(eos, llm_json_text(template, "eos", NULL));
    char *config = llm_format("{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"bos_token\": %s, "
                              "\"eos_token\": %s}", bos, eos);
    put("tokenizer_config.json", config, strlen(config));
    const llm_json *source = llm_json_get(template, "source");
    put("chat_template.jinja", source->string, source->length);
    hf_tokenizer_load(t, folder);
    llm_release_all(more, text, all, config);
}

/* ---- a conversation ---- */

/* As tools/forms.h hands it on: what else is said than a role and words is in json. */
static llm_message *read_messages(const llm_json *talk, int *count) {
    const llm_json *list = llm_json_get(talk, "messages");
    llm_message *m = llm_alloc(list->length + 1, sizeof *m);
    *count = 0;
    for (const llm_json *c = list->child; c; c = c->next) {
        const llm_json *text = llm_json_get(c, "content");
        bool words = text && text->type == LLM_JSON_STRING;
        m[(*count)++] = (llm_message){llm_json_text(c, "role", ""), words ? text->string : "", words ? text->length : 0,
                                      words && c->length == 2 ? NULL : c};
    }
    return m;
}
static void leave_out(llm_json *from, const char *key) {
    for (llm_json **p = &from->child; *p;)
        if (!strcmp((*p)->key, key)) {
            *p = (*p)->next;
            from->length--;
        } else p = &(*p)->next;
}
/* What else the template is told: what stands behind these two. */
static llm_json told(const llm_json *talk) {
    llm_json with = *talk;
    for (; with.child && (!strcmp(with.child->key, "messages") || !strcmp(with.child->key, "add_generation_prompt"));
         with.length--) with.child = with.child->next;
    return with;
}
static uint32_t fnv(uint64_t h) { return (uint32_t)(h >> 32); }
static uint64_t fnv_byte(uint64_t h, int byte) { return (h ^ (uint64_t)byte) * 0x100000001B3u; }
static char *spell(const llm_tokens *x) {
    uint64_t ids = 0xCBF29CE484222325u, mask = ids;
    for (int i = 0; i < x->count; i++) {
        for (int k = 0; k < 32; k += 8) ids = fnv_byte(ids, x->id[i] >> k & 255);
        mask = fnv_byte(mask, x->mask[i]);
    }
    return llm_format("%08x %08x %d", fnv(ids), fnv(mask), x->prompt);
}
/* As text, what is learned in braces. */
static char *show(const llm_tokenizer *t, const llm_tokens *x) {
    char *out = llm_format("%s", "");
    for (int i = 0, end; i < x->count; i = end) {
        for (end = i; end < x->count && x->mask[end] == x->mask[i];) end++;
        char *part = llm_decode(t, x->id + i, (size_t)(end - i), true, NULL);
        char *more = llm_format(x->mask[i] ? "%s{%s}" : "%s%s", out, part);
        llm_release_all(part, out);
        out = more;
    }
    return out;
}
static void check_full(const llm_tokenizer *t, const llm_tokens *x, const llm_json *full, const char *name) {
    const llm_json *id = llm_json_get(full, "ids")->child;
    const char *mask = llm_json_text(full, "mask", "");
    int i = 0;
    while (i < x->count && id && x->id[i] == (int)id->number && x->mask[i] == mask[i] - '0') id = id->next, i++;
    if (i < x->count || id)
        CHECK(false, "%s: token %d is %d '%s', learned %d; not %d, %c", name, i, i < x->count ? x->id[i] : -1,
              i < x->count ? t->token[x->id[i]] : "", i < x->count && x->mask[i], id ? (int)id->number : -1, mask[i]);
}
static void compare(const llm_tokenizer *t, const llm_json *talk, const char *wanted, const llm_json *full,
                    const char *name) {
    llm_tokens x = {0};
    const llm_json with = told(talk);
    int n;
    bool asked = llm_json_true(talk, "add_generation_prompt", false);
    llm_message *m = read_messages(talk, &n);
    const char *why = t->chat->render(t, m, n, asked, with.child ? &with : NULL, &x);
    char *is = why ? NULL : spell(&x), *text = why ? NULL : show(t, &x);
    bool raised = !strncmp(wanted, "raised:", 7);
    if (raised || !strcmp(wanted, "error")) {
        CHECK(why && (!raised || strstr(why, wanted + 8)), "%s: wanted %s\n  is %s", name, wanted, why ? why : text);
        refused++;
    } else {
        CHECK(is && !strcmp(is, wanted), "%s: wanted %s, is %s\n%s", name, wanted, is ? is : "refused",
              is ? text : why);
        if (is && full) check_full(t, &x, full, name);
        equal++;
    }
    llm_tokens_free(&x);
    llm_release_all(m, is, text);
}
/* "unheard: KEY|...": it is refused by its name, and without it there is what follows. */
static void check_talk(const llm_tokenizer *t, llm_json *talk, const char *wanted, const llm_json *full,
                       const char *name) {
    while (!strncmp(wanted, "unheard: ", 9)) {
        llm_tokens x = {0};
        const llm_json with = told(talk);
        int n;
        llm_message *m = read_messages(talk, &n);
        char *key = llm_format("%.*s", (int)strcspn(wanted + 9, "|"), wanted + 9), *place = llm_format("\"%s\"", key);
        const char *why = t->chat->render(t, m, n, llm_json_true(talk, "add_generation_prompt", false), &with, &x);
        CHECK(why && strstr(why, "has no place for") && strstr(why, place), "%s: wanted %s: %s", name, wanted,
              why ? why : "no error");
        unheard++;
        leave_out(talk, key);
        for (llm_json *c = (llm_json *)llm_json_get(talk, "messages")->child; c; c = c->next) leave_out(c, key);
        wanted = strchr(wanted, '|') + 1;
        llm_tokens_free(&x);
        llm_release_all(m, key, place);
    }
    compare(t, talk, wanted, full, name);
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/test_templates.XXXXXX");
    if (!mkdtemp(folder)) return 1;
    setenv("TZ", "UTC", 1);
    setenv("SOURCE_DATE_EPOCH", "1772874303", 1);
    llm_json *all = llm_json_file("test/data/chat_ids.json"), *jinja = llm_json_file("test/data/jinja.json");
    const llm_json *template = llm_json_get(jinja, "templates")->child;
    int families = 0;
    for (const llm_json *row = llm_json_get(all, "templates")->child; row; row = row->next, families++) {
        llm_tokenizer t;
        int number = 0;
        const char *family = llm_json_text(row, "name", "");
        CHECK(template && !strcmp(family, llm_json_text(template, "name", "")), "%s: no such template", family);
        open_family(&t, row, template);
        const llm_json *wanted = llm_json_get(row, "result")->child;
        llm_json *talks = llm_json_file("test/data/chat_ids.json");     /* a copy, which is changed */
        for (llm_json *talk = (llm_json *)llm_json_get(talks, "talks")->child; talk && wanted; talk = talk->next) {
            char name[80], key[16];
            snprintf(key, sizeof key, "%d", number++);
            snprintf(name, sizeof name, "%s, conversation %s", family, key);
            check_talk(&t, talk, wanted->string, llm_json_get(llm_json_get(row, "full"), key), name);
            wanted = wanted->next;
        }
        CHECK(number >= 40 && !wanted, "%s: %d conversations", family, number);
        llm_json_free(talks);
        llm_tokenizer_free(&t);
        template = template->next;
    }
    CHECK(families >= 25 && equal >= families * 40, "%d families, %d with ids", families, equal);
    printf("%d families: %d times ids and masks, %d refused by the template, %d for what it never looks at\n", families,
           equal, refused, unheard);
    llm_json_free(all);
    llm_json_free(jinja);
    remove_tree(folder);
    return checks_done();
}
