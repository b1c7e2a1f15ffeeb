/* serve_request.h: what a client of build/serve asks for, read from the JSON of its request. Included after llm.h and
   options.h.

   Whatever arrives is somebody's invention until it has passed here: serve_read copies what it understands, bounded,
   and refuses the rest by the field's name. A field that would change the answer is done or refused, never dropped. */
#ifndef SERVE_REQUEST_H
#define SERVE_REQUEST_H

enum {
    SERVE_BODY = 1 << 20,               /* bytes of a request */
    SERVE_MESSAGES = 512,               /* of a conversation */
    SERVE_ANSWERS = 64,                 /* prompts times n */
    SERVE_STOPS = 16, SERVE_STOP_BYTES = 256,
    SERVE_TOP = 20                      /* likeliest tokens that are told beside the one that was said */
};
/* Why there is no answer: what the client is told. */
typedef struct { int status; const char *code; char param[64], message[600]; } serve_refusal;

typedef struct { char *text; size_t length; int *id, ids; } serve_prompt;       /* a text, or ids; the other is NULL */

typedef struct {
    bool chat;                          /* messages; else prompts */
    char *model;                        /* as the client calls it, or NULL */
    llm_message *message; int messages;
    serve_prompt *prompt; int prompts;
    int n, max_new;                     /* answers to each prompt; ids of an answer, -1: the client does not say */
    llm_sampler sampler; bool seeded;
    char *stop[SERVE_STOPS]; int stops;
    bool logprobs; int top;             /* are they told; of how many of the likeliest */
    bool echo, stream, usage;           /* usage: at the end of a stream */
} serve_request;

static inline bool serve_read(serve_request *q, bool chat, const char *body, size_t size, serve_refusal *why);
static inline void serve_request_free(serve_request *q);
/* Fill in a refusal; returns false. param, code: NULL: none. */
LLM_PRINTF(5, 6) static inline bool serve_refuse(serve_refusal *why, int status, const char *param, const char *code,
                                                 const char *message, ...);

static inline bool serve_refuse(serve_refusal *why, int status, const char *param, const char *code,
                                const char *message, ...) {
    va_list a;
    *why = (serve_refusal){.status = status, .code = code};
    snprintf(why->param, sizeof why->param, "%s", param ? param : "");
    va_start(a, message);
    vsnprintf(why->message, sizeof why->message, message, a);
    va_end(a);
    return false;
}
static inline void serve_request_free(serve_request *q) {
    for (int i = 0; i < q->messages; i++) llm_release_all((char *)q->message[i].role, (char *)q->message[i].text);
    for (int i = 0; i < q->prompts; i++) llm_release_all(q->prompt[i].text, q->prompt[i].id);
    for (int i = 0; i < q->stops; i++) llm_release(q->stop[i]);
    llm_release_all(q->model, q->message, q->prompt);
    *q = (serve_request){0};
}

/* ---- fields ---- */

/* What both endpoints take; what one of them takes; what changes no answer. */
static const char serve_both[] = "model|n|max_tokens|temperature|top_p|top_k|min_p|repetition_penalty|stop|seed|stream|"
                                 "stream_options|logprobs";
static const char serve_of_chat[] = "messages|max_completion_tokens|top_logprobs";
static const char serve_of_completions[] = "prompt|echo";
static const char serve_harmless[] = "user|metadata|store|service_tier|safety_identifier|prompt_cache_key|"
                                     "parallel_tool_calls";

/* Does the value of a field that we do not do ask for nothing? No penalty, no bias, an empty list, plain text. */
static inline bool serve_neutral(const llm_json *v) {
    if (v->type == LLM_JSON_NULL) return !isnan(v->number);
    if (v->type == LLM_JSON_NUMBER || v->type == LLM_JSON_BOOL)
        return v->number == 0 || (!strcmp(v->key, "best_of") && v->number == 1);
    if (!strcmp(v->key, "response_format")) return !strcmp(llm_json_text(v, "type", ""), "text");
    if (!strcmp(v->key, "tool_choice")) return v->type == LLM_JSON_STRING && !strcmp(v->string, "none");
    if (!strcmp(v->key, "modalities"))
        return v->length == 1 && v->child && v->child->type == LLM_JSON_STRING && !strcmp(v->child->string, "text");
    return v->length == 0;
}
static inline bool serve_known(const llm_json *root, bool chat, serve_refusal *why) {
    for (const llm_json *c = root->child; c; c = c->next) {
        const bool known = one_of(serve_both, c->key) || one_of(serve_harmless, c->key) ||
                           one_of(chat ? serve_of_chat : serve_of_completions, c->key);
        if (known || serve_neutral(c)) continue;
        return serve_refuse(why, 400, c->key, "unsupported_parameter",
                            "\"%.60s\" would change the answer, and this server does not do it: leave it out", c->key);
    }
    return true;
}
/* A number within [low, high], `otherwise` where there is none. */
static inline bool serve_number(const llm_json *root, const char *key, bool whole, double low, double high,
                                double otherwise, double *x, serve_refusal *why) {
    const llm_json *v = llm_json_get(root, key);
    *x = otherwise;
    if (!v || (v->type == LLM_JSON_NULL && !isnan(v->number))) return true;
    *x = v->number;
    if (v->type == LLM_JSON_NUMBER && *x >= low && *x <= high && (!whole || *x == floor(*x))) return true;
    return serve_refuse(why, 400, key, NULL, "\"%s\" must be a%s number from %g to %g", key, whole ? " whole" : "", low,
                        high);
}
static inline bool serve_flag(const llm_json *root, const char *key, bool *x, serve_refusal *why) {
    const llm_json *v = llm_json_get(root, key);
    *x = v && v->number != 0;
    if (!v || v->type == LLM_JSON_NULL || v->type == LLM_JSON_BOOL) return true;
    return serve_refuse(why, 400, key, NULL, "\"%s\" must be true or false", key);
}
static inline bool serve_sampler(serve_request *q, const llm_json *root, serve_refusal *why) {
    llm_sampler *s = &q->sampler;
    double k = 0, seed = 0;
    const llm_json *given = llm_json_get(root, "seed");
    const bool well = serve_number(root, "temperature", false, 0, 100, 1, &s->temperature, why) &&
                      serve_number(root, "top_p", false, 0, 1, 1, &s->top_p, why) &&
                      serve_number(root, "top_k", true, -1, 1e9, 0, &k, why) &&
                      serve_number(root, "min_p", false, 0, 1, 0, &s->min_p, why) &&
                      serve_number(root, "repetition_penalty", false, 0.01, 100, 1, &s->repeat_penalty, why) &&
                      serve_number(root, "seed", true, -0x1p53, 0x1p53, 0, &seed, why);
    s->top_p = fmax(s->top_p, 1e-9);    /* 0: the likeliest alone */
    s->top_k = llm_max((int)k, 0);      /* -1: all, too */
    s->seed = (uint64_t)(int64_t)seed;
    q->seeded = given && given->type == LLM_JSON_NUMBER;
    return well;
}

/* ---- texts ---- */

static inline bool serve_stop(serve_request *q, const llm_json *v, serve_refusal *why) {
    if (v->type != LLM_JSON_STRING || !v->length || v->length > SERVE_STOP_BYTES || strlen(v->string) != v->length)
        return serve_refuse(why, 400, "stop", NULL, "\"stop\" must be a text, or a list of texts, of 1 to %d bytes",
                            SERVE_STOP_BYTES);
    if (q->stops == SERVE_STOPS)
        return serve_refuse(why, 400, "stop", NULL, "\"stop\" must be a list of at most %d texts", SERVE_STOPS);
    q->stop[q->stops++] = copy_text(v->string, v->length);
    return true;
}
static inline bool serve_stops(serve_request *q, const llm_json *root, serve_refusal *why) {
    const llm_json *v = llm_json_get(root, "stop");
    if (!v || v->type == LLM_JSON_NULL) return true;
    if (v->type != LLM_JSON_ARRAY) return serve_stop(q, v, why);
    for (v = v->child; v; v = v->next)
        if (!serve_stop(q, v, why)) return false;
    return true;
}
/* A message's words: a text, or a list of parts {"type": "text", "text": ...} one after another. They are added to
   text, which has room for all. */
static inline bool serve_words(const llm_json *content, char *text, size_t *length, serve_refusal *why) {
    const bool list = content && content->type == LLM_JSON_ARRAY;
    for (const llm_json *part = list ? content->child : content; part; part = list ? part->next : NULL) {
        const llm_json *words = list && !strcmp(llm_json_text(part, "type", ""), "text") ? llm_json_get(part, "text") :
                                list ? NULL : part;
        if (!words || words->type != LLM_JSON_STRING)
            return serve_refuse(why, 400, "messages", NULL, "a message's \"content\" must be a text, or a list of "
                                "parts {\"type\": \"text\", \"text\": ...}: images, sounds and files are not read");
        memcpy(text + *length, words->string, words->length);
        *length += words->length;
    }
    return content || serve_refuse(why, 400, "messages", NULL, "a message has no \"content\"");
}
static inline size_t serve_words_room(const llm_json *content) {
    size_t room = 1 + (content && content->type == LLM_JSON_STRING ? content->length : 0);
    const llm_json *part = content && content->type == LLM_JSON_ARRAY ? content->child : NULL;
    for (; part; part = part->next)
        for (const llm_json *c = part->child; c; c = c->next) room += c->length;
    return room;
}
static inline bool serve_message(serve_request *q, const llm_json *v, serve_refusal *why) {
    const char *role = llm_json_text(v, "role", NULL);
    const llm_json *calls = llm_json_get(v, "tool_calls");
    if (!role || !one_of("system|developer|user|assistant", role))
        return serve_refuse(why, 400, "messages", NULL, "message %d: \"role\" must be system, user or assistant",
                            q->messages + 1);
    if (calls && calls->length)
        return serve_refuse(why, 400, "messages", NULL, "message %d: this server calls no tools: leave "
                            "\"tool_calls\" out", q->messages + 1);
    if (!strcmp(role, "developer")) role = "system";    /* the newer name of the same */
    const llm_json *content = llm_json_get(v, "content");
    char *text = llm_alloc(serve_words_room(content), 1);
    size_t length = 0;
    const bool well = serve_words(content, text, &length, why);
    q->message[q->messages++] = (llm_message){copy_text(role, strlen(role)), text, length, NULL};
    return well;
}
static inline bool serve_messages(serve_request *q, const llm_json *root, serve_refusal *why) {
    const llm_json *list = llm_json_get(root, "messages");
    if (!list || list->type != LLM_JSON_ARRAY || !list->length)
        return serve_refuse(why, 400, "messages", NULL, "\"messages\" must be a list of at least one message");
    if (list->length > SERVE_MESSAGES)
        return serve_refuse(why, 400, "messages", NULL, "%zu messages: at most %d", list->length, SERVE_MESSAGES);
    q->message = llm_alloc(list->length, sizeof *q->message);
    for (const llm_json *v = list->child; v; v = v->next)
        if (!serve_message(q, v, why)) return false;
    return true;
}
static inline bool serve_prompt_ids(serve_prompt *p, const llm_json *list, serve_refusal *why) {
    p->id = llm_alloc(llm_max(1, (int)list->length), sizeof *p->id);
    for (const llm_json *v = list->child; v; v = v->next) {
        if (v->type != LLM_JSON_NUMBER || !(v->number >= 0 && v->number <= INT_MAX) || v->number != floor(v->number))
            return serve_refuse(why, 400, "prompt", NULL, "a list in \"prompt\" must hold token ids: whole numbers");
        p->id[p->ids++] = (int)v->number;
    }
    return true;
}
static inline bool serve_one_prompt(serve_request *q, const llm_json *v, serve_refusal *why) {
    serve_prompt *p = &q->prompt[q->prompts++];
    if (v->type == LLM_JSON_ARRAY) return serve_prompt_ids(p, v, why);
    if (v->type != LLM_JSON_STRING || strlen(v->string) != v->length)
        return serve_refuse(why, 400, "prompt", NULL, "\"prompt\" must be a text without the character 0, token ids, "
                            "or a list of such");
    p->text = copy_text(v->string, p->length = v->length);
    return true;
}
/* A text, a list of texts, a list of ids, a list of lists. */
static inline bool serve_prompts(serve_request *q, const llm_json *root, serve_refusal *why) {
    const llm_json *list = llm_json_get(root, "prompt");
    if (!list) return serve_refuse(why, 400, "prompt", NULL, "there is no \"prompt\"");
    const bool many = list->type == LLM_JSON_ARRAY && list->child && list->child->type != LLM_JSON_NUMBER;
    if (many && list->length > SERVE_ANSWERS)
        return serve_refuse(why, 400, "prompt", NULL, "%zu prompts in one request: at most %d", list->length,
                            SERVE_ANSWERS);
    q->prompt = llm_alloc(many ? list->length : 1, sizeof *q->prompt);
    if (!many) return serve_one_prompt(q, list, why);
    for (const llm_json *v = list->child; v; v = v->next)
        if (!serve_one_prompt(q, v, why)) return false;
    return true;
}

/* ---- the whole ---- */

/* Chat says "logprobs": true, "top_logprobs": 5; completions say "logprobs": 5. */
static inline bool serve_logprobs(serve_request *q, const llm_json *root, serve_refusal *why) {
    const llm_json *v = llm_json_get(root, "logprobs");
    double top;
    if (!serve_number(root, q->chat ? "top_logprobs" : "logprobs", true, 0, SERVE_TOP, -1, &top, why)) return false;
    if (q->chat && !serve_flag(root, "logprobs", &q->logprobs, why)) return false;
    if (q->chat && top > 0 && !q->logprobs)
        return serve_refuse(why, 400, "top_logprobs", NULL, "\"top_logprobs\" needs \"logprobs\": true");
    if (!q->chat) q->logprobs = v && v->type == LLM_JSON_NUMBER;
    q->top = llm_max((int)top, 0);
    return true;
}
static inline bool serve_how(serve_request *q, const llm_json *root, serve_refusal *why) {
    const bool newer = q->chat && llm_json_get(root, "max_completion_tokens");
    const char *length = newer ? "max_completion_tokens" : "max_tokens";
    const llm_json *options = llm_json_get(root, "stream_options"), *model = llm_json_get(root, "model");
    double n, most;
    q->echo = false;
    if (model && model->type != LLM_JSON_STRING && model->type != LLM_JSON_NULL)
        return serve_refuse(why, 400, "model", NULL, "\"model\" must be a name: see /v1/models");
    if (model && model->string) q->model = copy_text(model->string, strlen(model->string));
    if (!serve_number(root, "n", true, 1, SERVE_ANSWERS, 1, &n, why) ||
        !serve_number(root, length, true, 0, 1e9, -1, &most, why) || !serve_flag(root, "stream", &q->stream, why) ||
        (options && !serve_flag(options, "include_usage", &q->usage, why)) || !serve_logprobs(q, root, why) ||
        (!q->chat && !serve_flag(root, "echo", &q->echo, why)))
        return false;
    q->n = (int)n;
    q->max_new = (int)most;
    if (q->max_new == 0 && !q->echo) return serve_refuse(why, 400, length, NULL, "\"%s\" must be at least 1", length);
    return true;
}
static inline bool serve_utf8(const char *text, size_t n) {
    uint32_t code = 0;
    for (size_t i = 0; i < n && code != UINT32_MAX;) i += (size_t)llm_utf8_get(text + i, n - i, &code);
    return code != UINT32_MAX;
}
/* JSON that cannot be read ends in llm_die, as everywhere; the caller catches it. */
static inline bool serve_read(serve_request *q, bool chat, const char *body, size_t size, serve_refusal *why) {
    *q = (serve_request){.chat = chat};
    if (!serve_utf8(body, size)) return serve_refuse(why, 400, NULL, NULL, "the request is not UTF-8");
    llm_json *root = llm_json_parse(body, size, "the request", 1);
    bool well = root->type == LLM_JSON_OBJECT;
    if (!well) serve_refuse(why, 400, NULL, NULL, "the request must be a JSON object");
    well = well && serve_known(root, chat, why) && serve_how(q, root, why) && serve_sampler(q, root, why) &&
           serve_stops(q, root, why) && (chat ? serve_messages(q, root, why) : serve_prompts(q, root, why));
    llm_json_free(root);
    if (well && (long)q->n * llm_max(q->prompts, 1) > SERVE_ANSWERS)
        well = serve_refuse(why, 400, "n", NULL, "%d answers to each of %d prompts in one request: at most %d answers",
                            q->n, llm_max(q->prompts, 1), SERVE_ANSWERS);
    if (!well) serve_request_free(q);
    return well;
}
#endif
