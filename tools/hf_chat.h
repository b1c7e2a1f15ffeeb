/* hf_chat.h: conversations as ids, by the chat template that a model's folder holds. Included by hf.h, which has the
   interface.

   The template is a program (jinja.h). Its text is encoded as other programs do it: added tokens are found first, what
   lies between is cut and merged in one go, a template's newline and the blanks of a user's words behind it together.
   Special tokens are found only where the template spells them: a user who types "<|im_end|>" typed ten characters.

   What is learned: what lies inside of {% generation %}, where a template has it: a token with a byte there. Else of
   each of the assistant's messages the region from where the text of the messages before it, with the opening of an
   answer, ends, up to the token that closes it (the one that closes an answer of plain words; or another special one):

       render(u)       <|im_start|>user\n Hi <|im_end|>\n <|im_start|>assistant\n
       render(u a)     <|im_start|>user\n Hi <|im_end|>\n <|im_start|>assistant\n  Hello <|im_end|>  \n
                                                                                   ================

   A token is learned that begins there. test/gen/chat_ids.py says the same in another language. */
#ifndef HF_CHAT_H
#define HF_CHAT_H
#ifdef LLM_IMPLEMENTATION

#include "jinja.h"

/* ---- what the template sees ---- */

/* What is read of a folder once for all conversations: tables->chat. */
typedef struct {
    jinja_template *tree;               /* NULL: it is not understood; error says why */
    char error[600];
    llm_json *config;                   /* tokenizer_config.json, which the variables point into */
    jinja_variable text[24]; size_t texts;      /* bos_token, eos_token ... */
    int closing;                        /* what closes an answer of plain words; -1: not known yet */
} hf_chat;

static void hf_chat_free(void *chat) {
    hf_chat *h = chat;
    jinja_free(h->tree);
    llm_json_free(h->config);
    llm_release(h);
}
static void hf_chat_name(hf_chat *h, const char *name, const char *text) {
    if (h->texts < sizeof h->text / sizeof *h->text) h->text[h->texts++] = (jinja_variable){.name = name, .text = text};
}
/* Members "..._token" are texts that templates know by these names. Where the file does not say, a tokenizer's class
   does, unless it is the one that says nothing. */
static void hf_chat_names(hf_chat *h, const llm_tokenizer *t) {
    const char *const key[] = {"bos_token", "eos_token", "pad_token"}, *class = NULL;
    const int id[] = {t->bos, t->eos, t->pad};
    for (const llm_json *c = h->config ? h->config->child : NULL; c; c = c->next) {
        const size_t n = strlen(c->key);
        const char *text = c->type == LLM_JSON_STRING ? c->string : llm_json_text(c, "content", NULL);
        if (n > 6 && !strcmp(c->key + n - 6, "_token") && text) hf_chat_name(h, c->key, text);
    }
    if (h->config) class = llm_json_text(h->config, "tokenizer_class", "PreTrainedTokenizerFast");
    if (class && (!strcmp(class, "PreTrainedTokenizerFast") || !strcmp(class, "TokenizersBackend"))) return;
    for (int i = 0; i < 3; i++)
        if (id[i] >= 0 && !llm_json_get(h->config, key[i])) hf_chat_name(h, key[i], t->token[id[i]]);
}
static void hf_chat_open(const llm_tokenizer *t) {
    struct llm_tokenizer_tables *k = t->tables;
    hf_chat *h = llm_alloc(1, sizeof *h);
    if (k->chat) hf_chat_free(k->chat);
    k->chat = h;
    h->closing = -1;
    k->forget_chat = hf_chat_free;
    h->tree = jinja_try(k->chat_template, strlen(k->chat_template), "the model's chat template", h->error);
    if (k->file[1]) h->config = llm_json_parse(k->file[1], k->file_size[1], tokenizer_file[1], 1);
    hf_chat_names(h, t);
}

/* A message as the template sees it, into fresh nodes: role and content, and what else the file says of it. Returns the
   node behind the last one. */
static llm_json *hf_chat_message(const llm_message *m, llm_json *node) {
    static const llm_json said = {.key = "content"}, plain = {.key = "role", .next = (llm_json *)&said};
    llm_json *object = node++, **end = &object->child;
    *object = (llm_json){.type = LLM_JSON_OBJECT};
    for (const llm_json *c = m->json ? m->json->child : &plain; c; c = c->next) {
        bool role = !strcmp(c->key, "role"), text = !strcmp(c->key, "content");
        if (!strcmp(c->key, "weight")) continue;        /* whether it is learned; not for the template */
        *node = *c;
        if (role) *node = (llm_json){.type = LLM_JSON_STRING, .string = m->role, .length = strlen(m->role)};
        if (text && (m->length || c->type != LLM_JSON_NULL || !m->json))
            *node = (llm_json){.type = LLM_JSON_STRING, .string = m->text, .length = m->length};
        node->key = c->key;
        node->next = NULL;
        *end = node;
        end = &node++->next;
        object->length++;
    }
    return node;
}
/* The text of n messages. False: x->error says why there is none. */
static bool hf_chat_text(const llm_tokenizer *t, const llm_message *m, int n, bool add_generation_prompt,
                         const llm_json *with, jinja_text *x) {
    const hf_chat *h = t->tables->chat;
    const llm_json generation = {.type = LLM_JSON_BOOL, .number = add_generation_prompt};
    const char *now = getenv("SOURCE_DATE_EPOCH");      /* for those who want the same ids tomorrow */
    size_t nodes = 1, count = 0;
    if (!h->tree) {
        snprintf(x->error, sizeof x->error, "%s", h->error);
        return false;
    }
    for (int i = 0; i < n; i++) nodes += m[i].json ? m[i].json->length + 1 : 3;
    llm_json *messages = llm_alloc(nodes, sizeof *messages), *node = messages + 1, **end = &messages->child;
    *messages = (llm_json){.type = LLM_JSON_ARRAY, .length = (size_t)n};
    for (int i = 0; i < n; i++) {
        *end = node;
        end = &node->next;
        node = hf_chat_message(&m[i], node);
    }
    jinja_variable *v = llm_alloc(h->texts + (with ? with->length : 0) + 4, sizeof *v);
    v[count++] = (jinja_variable){.name = "messages", .json = messages, .chat = true};
    v[count++] = (jinja_variable){.name = "add_generation_prompt", .json = &generation};
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "documents" : "tools";
        if (!with || !llm_json_get(with, name)) v[count++] = (jinja_variable){.name = name};
    }
    for (size_t i = 0; i < h->texts; i++) v[count++] = h->text[i];
    for (const llm_json *c = with ? with->child : NULL; c; c = c->next)
        v[count++] = (jinja_variable){.name = c->key, .json = c};
    bool well = jinja_render(h->tree, v, count, now ? (time_t)strtoll(now, NULL, 10) : 0, x);
    llm_release_all(messages, v);
    return well;
}
/* The first thing that the data say and the template never looks at, or NULL: it would be lost without a word. */
static const char *hf_chat_unheard(const llm_tokenizer *t, const llm_message *m, int n, const llm_json *with) {
    static const char *const key[][2] = {{"tool_calls", "tool_calls"}, {"reasoning_content", "thinking"},
                                         {"thinking", "reasoning_content"}, {"reasoning", "thinking"},
                                         {"function_call", "function_call"}};
    const char *source = t->tables->chat_template ? t->tables->chat_template : "";
    for (const llm_json *c = with ? with->child : NULL; c; c = c->next)
        if (!strstr(source, c->key) && !(c->type == LLM_JSON_ARRAY && !c->child)) return c->key;
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof key / sizeof *key && m[i].json; k++) {
            const llm_json *v = llm_json_get(m[i].json, key[k][0]);
            bool empty = !v || v->type == LLM_JSON_NULL || (!v->child && !v->length);
            if (!empty && !strstr(source, key[k][0]) && !strstr(source, key[k][1])) return key[k][0];
        }
    return NULL;
}

/* ---- what is learned ---- */

/* A text and its ids: at[count] are the bytes where they begin. */
typedef struct { const llm_tokenizer *t; const jinja_text *x; const int *id; const size_t *at; int count; } hf_laid;

static bool hf_chat_begins(const jinja_text *x, size_t byte, const char *s, size_t n) {
    return n <= x->length - byte && !memcmp(x->text + byte, s, n);
}
/* Bytes of the token that closes an answer, if the template has one at this byte, or 0. "</tool_call>", which is not
   special, closes none; but a family may close answers with such a token. usual: it is the one that closes an answer of
   plain words. */
static size_t hf_chat_closing(const hf_laid *l, size_t byte, bool *usual) {
    int low = 0, high = l->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (l->at[middle] < byte) low = middle + 1;
        else high = middle;
    }
    if (low == l->count || l->at[low] != byte) return 0;
    const int id = l->id[low], closing = ((const hf_chat *)l->t->tables->chat)->closing;
    const size_t n = (size_t)l->t->length[id];
    const bool closes = l->t->tables->hidden[id] && (l->t->special[id] || closing < 0 || closing == id);
    if (!closes || !hf_chat_begins(l->x, byte, l->t->token[id], n)) return 0;
    *usual = closing < 0 || closing == id;
    return n;
}
static bool hf_chat_words(const jinja_text *x, size_t byte) { return (x->mark[byte] & JINJA_WORDS) != 0; }
/* Where the answer begins whose own bytes are [first, ...): behind what the messages before it and the opening of an
   answer make. A template may write what is past in another way (Qwen3's thoughts): then behind the same opening. */
static size_t hf_chat_opening(const jinja_text *x, const jinja_text *before, size_t first) {
    size_t tail = before->length, p = first;
    if (hf_chat_begins(x, 0, before->text, tail) && first >= tail) return tail;
    while (tail && !hf_chat_words(before, tail - 1)) tail--;
    while (p && !hf_chat_words(x, p - 1)) p--;
    size_t n = before->length - tail;
    return first < x->length && hf_chat_begins(x, p, before->text + tail, n) && p + n <= first ? p + n : first;
}
/* The region of message i, of which `before` is what precedes it; false: the template leaves it out. */
static bool hf_chat_region(const hf_laid *l, int i, const jinja_text *before, size_t *begin, size_t *end) {
    const jinja_text *x = l->x;
    size_t first = x->length, last = 0;
    for (size_t k = 0; k < x->length; k++)
        if (x->mark[k] / JINJA_MESSAGE == i + 1) {
            first = size_min(first, k);
            last = k + 1;
        }
    *begin = before->text ? hf_chat_opening(x, before, first) : first;
    if (*begin == x->length) return false;
    *end = last = size_max(last, *begin);
    for (size_t k = last; k < x->length && !hf_chat_words(x, k); k++) {
        bool usual = false;             /* behind a call there may be more: "</tool_call><|im_end|>", both special */
        const size_t n = hf_chat_closing(l, k, &usual);
        if (n && (*end == last || usual)) *end = k + n;
        if (usual) break;
    }
    return true;
}
static bool hf_chat_weighs(const llm_message *m) {
    const llm_json *weight = m->json ? llm_json_get(m->json, "weight") : NULL;
    return !(weight && weight->number == 0 && weight->type != LLM_JSON_NULL);
}
static bool hf_chat_learned(const llm_message *m) { return !strcmp(m->role, "assistant") && hf_chat_weighs(m); }
/* {% generation %}: runs of bytes, whoever speaks there; one with words of a message of weight 0 is not learned. */
static bool hf_chat_runs(const jinja_text *x, const llm_message *m, int n, uint8_t *learn, size_t *last) {
    bool any = false;
    for (size_t i = 0, end; i < x->length; i = end) {
        bool learned = (x->mark[i] & JINJA_ANSWER) != 0;
        for (end = i; end < x->length && !(x->mark[end] & JINJA_ANSWER) == !(x->mark[i] & JINJA_ANSWER); end++) {
            int number = x->mark[end] / JINJA_MESSAGE;
            if (number && number <= n && !hf_chat_weighs(&m[number - 1])) learned = false;
        }
        if (x->mark[i] & JINJA_ANSWER) *last = i;
        any = any || (x->mark[i] & JINJA_ANSWER);
        memset(learn + i, learned, end - i);
    }
    return any;
}
/* learn[byte]: is it? Returns where the last answer begins, or the end. Where a template with {% generation %} has none
   in this conversation, nothing is learned. */
static size_t hf_chat_learn(const hf_laid *l, const llm_message *m, int n, const llm_json *with, uint8_t *learn) {
    size_t last = l->x->length, begin, end;
    const bool says = jinja_answers(((const hf_chat *)l->t->tables->chat)->tree);
    if (hf_chat_runs(l->x, m, n, learn, &last)) return last;
    for (int i = 0; i < n; i++) {
        if (strcmp(m[i].role, "assistant")) continue;
        jinja_text before = {0};
        hf_chat_text(l->t, m, i, true, with, &before);  /* where it is refused there is no text */
        if (hf_chat_region(l, i, &before, &begin, &end)) {
            if (hf_chat_learned(&m[i]) && !says) memset(learn + begin, 1, end - begin);
            last = begin;
        }
        jinja_text_free(&before);
    }
    return last;
}

/* ---- as ids ---- */

static void hf_chat_ids(const llm_tokenizer *t, const jinja_text *x, const llm_message *m, int n, bool asked,
                        const llm_json *with, llm_tokens *out) {
    uint8_t *words = llm_alloc(x->length + 1, 1), *learn = llm_alloc(x->length + 1, 1);
    const size_t room = t->room(x->text, x->length);
    size_t *at = llm_alloc(llm_add(room, 1), sizeof *at);
    for (size_t i = 0; i < x->length; i++) words[i] = hf_chat_words(x, i);
    tokens_reserve(out, room);
    out->count = (int)hf_encode(t, x->text, x->length, LLM_TEXT_BEGINS, true, words, out->id, at);
    out->prompt = out->count;
    memset(out->mask, 0, (size_t)out->count);
    const hf_laid laid = {t, x, out->id, at, out->count};
    const size_t last = hf_chat_learn(&laid, m, n, with, learn);
    const bool says = jinja_answers(((const hf_chat *)t->tables->chat)->tree);
    size_t end = x->length;             /* of the token */
    for (int i = out->count; i-- > 0;) {
        if (i + 1 < out->count && at[i + 1] > at[i]) end = at[i + 1];
        out->mask[i] = learn[at[i]] || (says && end > at[i] && memchr(learn + at[i], 1, end - at[i]));
        if (at[i] >= last && !asked) out->prompt = i;
    }
    llm_release_all(words, learn, at);
}
static const char *hf_chat_render(const llm_tokenizer *t, const llm_message *m, int n, bool add_generation_prompt,
                                  const llm_json *with, llm_tokens *out) {
    static char error[700];
    jinja_text x = {0};
    if (!n && !add_generation_prompt) return NULL;
    const char *unheard = hf_chat_unheard(t, m, n, with);
    if (unheard) {
        snprintf(error, sizeof error, "the model's chat template has no place for \"%.60s\"", unheard);
        return error;
    }
    if (!hf_chat_text(t, m, n, add_generation_prompt, with, &x)) {
        snprintf(error, sizeof error, "%s", x.error);
        return error;
    }
    hf_chat_ids(t, &x, m, n, add_generation_prompt, with, out);
    jinja_text_free(&x);
    return NULL;
}
static const llm_template hf_own_template = {.name = "the model's own", .render = hf_chat_render};

/* No template: the messages one after another, a line end between them, as a document. */
static const char *hf_plain_render(const llm_tokenizer *t, const llm_message *m, int n, bool add_generation_prompt,
                                   const llm_json *with, llm_tokens *out) {
    if (hf_chat_unheard(t, m, n, with))
        return "a model without a chat template is asked in plain text: there is no place for tools and thoughts";
    if (t->opens >= 0) put_id(out, t->opens, 0);
    for (int i = 0; i < n; i++) {
        bool says = !strcmp(m[i].role, "assistant");
        if (i) put_text(t, out, "\n", 1, LLM_TEXT_GOES_ON, 0);
        if (says) out->prompt = out->count;
        put_text(t, out, m[i].text, m[i].length, LLM_TEXT_NEW_LINE, hf_chat_learned(&m[i]));
        if (says) put_end(t, out, hf_chat_learned(&m[i]));
    }
    if (add_generation_prompt) {
        if (n) put_text(t, out, "\n", 1, LLM_TEXT_GOES_ON, 0);
        out->prompt = out->count;
    }
    return NULL;
}
const llm_template hf_plain_text = {.name = "none: plain text", .render = hf_plain_render};

/* The token that closes an answer: the last one that is learned, where it is one that ends; else eos. */
int hf_closing_token(const llm_tokenizer *t) {
    const llm_message m[] = {{"user", "a", 1, NULL}, {"assistant", "b", 1, NULL}};
    llm_tokens x = {0};
    int id = t->eos;
    if (!t->chat->render) llm_render(t, m, 2, false, &x);
    else t->chat->render(t, m, 2, false, NULL, &x);     /* one that refuses says so when it is asked in earnest */
    for (int i = 0; i < x.count; i++)
        if (x.mask[i]) id = x.id[i];
    llm_tokens_free(&x);
    return id >= 0 && (t->tables->hidden[id] || llm_is_stop(id, t->stop, t->stops)) ? id : t->eos;
}
/* The template of tables->chat_template from now on. The token that it closes an answer with is one that ends. */
static void hf_use_template(llm_tokenizer *t) {
    t->chat = t->tables->chat_template ? &hf_own_template : &hf_plain_text;
    if (!t->tables->chat_template) return;
    hf_chat_open(t);
    const int closing = hf_closing_token(t);
    ((hf_chat *)t->tables->chat)->closing = closing;
    add_stop(t, closing);
}

/* ---- templates by name, for a model that has none ---- */

static const struct { const char *name, *needs[3], *jinja; } hf_named[] = {
    {"chatml", {"<|im_start|>", "<|im_end|>"}, NULL},   /* llm_chatml's */
    {"llama3", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + "
     "m['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ "
     "'<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"},
    {"llama2", {""},
     "{% set s = namespace(t='') %}{% for m in messages %}{% if m['role'] == 'system' %}{% set s.t = "
     "'<<SYS>>\n' + m['content'] + '\n<</SYS>>\n\n' %}{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] "
     "| trim + ' ' + eos_token }}{% else %}{{ bos_token + '[INST] ' + s.t + m['content'] | trim + ' [/INST]' }}"
     "{% set s.t = '' %}{% endif %}{% endfor %}"},
    {"zephyr", {""},
     "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<|user|>\n' }}{% else %}{{ '<|' + m['role'] + "
     "'|>\n' }}{% endif %}{{ m['content'] + eos_token + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
     "'<|assistant|>\n' }}{% endif %}"},
    {"alpaca", {""},
     "{% for m in messages %}{% if not loop.first %}{{ '\n\n' }}{% endif %}{% if m['role'] == 'assistant' %}{{ "
     "'### Response:\n' + m['content'] + eos_token }}{% elif m['role'] == 'system' %}{{ m['content'] }}"
     "{% else %}{{ '### Instruction:\n' + m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}"
     "{{ '\n\n### Response:\n' }}{% endif %}"}};

static const char *hf_named_source(int i) { return i ? hf_named[i].jinja : llm_chatml.jinja; }

static void hf_give_template(llm_tokenizer *t, int which) {
    struct llm_tokenizer_tables *k = t->tables;
    const char *source = hf_named_source(which);
    for (int i = 0; i < 3 && hf_named[which].needs[i]; i++) {
        const char *token = hf_named[which].needs[i];
        if (*token ? llm_token_id(t, token) < 0 : t->eos < 0)
            llm_die("another --chat-template, or build/convert --add-tokens",
                    "the chat template %s wants %s: there is no such special token", hf_named[which].name,
                    *token ? token : "an eos token");
    }
    k->file_size[3] = strlen(source);
    k->file[3] = copy_text(source, k->file_size[3]);
    k->chat_template = copy_text(source, k->file_size[3]);
    hf_use_template(t);
}
void hf_chat_template(llm_tokenizer *t, const char *name) {
    const char *own = t->tables->chat_template;
    bool given = strcmp(name, "auto") != 0;
    const char *wanted = given ? name : t->im_start >= 0 && t->im_end >= 0 ? "chatml" : "alpaca";
    for (int i = 0; i < 5; i++) {
        if (strcmp(wanted, hf_named[i].name)) continue;
        if (own && given && strcmp(own, hf_named_source(i)))
            llm_usage("leave --chat-template out", "the model has a chat template of its own, not our %s", wanted);
        if (own && given) fprintf(stderr, "chat template: %s, the model's own already\n", name);
        if (!own) hf_give_template(t, i);
        if (!own) fprintf(stderr, "chat template: %s%s\n", wanted, given ? "" : " (the model has none)");
    }
}
#endif /* LLM_IMPLEMENTATION */
#endif
