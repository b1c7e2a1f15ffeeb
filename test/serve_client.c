/* serve_client.c: plays the clients of a running build/serve, over sockets: well-behaved ones, eight at once, and the
   others. test_serve.sh starts the server and this.

       build/serve_client PORT DIR CHAT WHAT       DIR: the model's folder; CHAT: build/chat;
                                                   WHAT: answers, refusals, clients, long, gone, votes, open, speed

   Ends with "N passed, N failed". */

#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/options.h"
#include "../tools/hf.h"
#include "check.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>

static int port;
static const char *dir, *chat_program;

/* ---- HTTP, as little as will do ---- */

typedef struct { int status; char *head, *body; size_t size; } answer;

static int dial(void) {
    const struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = 100};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof at))
        llm_die("a server that runs", "cannot reach port %d", port);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}
static bool put(int fd, const char *text, size_t n) {
    while (n) {
        const ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        text += sent;
        n -= (size_t)sent;
    }
    return true;
}
static bool post(int fd, const char *path, const char *json, size_t size) {
    char *head = llm_format("POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %zu\r\n\r\n", path, port, size);
    const bool well = put(fd, head, strlen(head)) && put(fd, json, size);
    llm_release(head);
    return well;
}
/* Chunked text without its chunks, in place. */
static size_t join_chunks(char *text, size_t size) {
    size_t at = 0, out = 0;
    while (at < size) {
        char *line;
        const size_t n = strtoul(text + at, &line, 16), from = (size_t)(line - text) + 2;
        if (!n || from + n > size) break;
        memmove(text + out, text + from, n);
        out += n;
        at = from + n + 2;
    }
    text[out] = '\0';
    return out;
}
static bool arrived(const char *all, size_t size) {
    const char *body = strstr(all, "\r\n\r\n"), *length = strcasestr(all, "content-length:");
    if (!body) return false;
    if (length && length < body) return size - (size_t)(body + 4 - all) >= strtoul(length + 15, NULL, 10);
    const char *chunked = strcasestr(all, "transfer-encoding: chunked");
    return chunked && chunked < body && size >= 5 && !memcmp(all + size - 5, "0\r\n\r\n", 5);
}
/* One answer; status 0: the connection was closed without one. */
static answer take(int fd) {
    char *all = NULL;
    size_t room = 0, size = 0;
    for (ssize_t n = 1; n > 0 && !(size && arrived(all, size));) {
        all = llm_grow(all, &room, size + 65536, 1);
        n = recv(fd, all + size, 65535, 0);
        if (n > 0) size += (size_t)n;
        all[size] = '\0';
    }
    answer a = {0, all, size ? strstr(all, "\r\n\r\n") : NULL, 0};
    if (!a.body) return a;
    a.body += 4;
    a.size = size - (size_t)(a.body - all);
    a.body[-2] = '\0';
    a.status = atoi(all + strcspn(all, " "));
    if (strcasestr(all, "transfer-encoding: chunked")) a.size = join_chunks(a.body, a.size);
    return a;
}
static answer ask(const char *path, const char *json) {
    const int fd = dial();
    post(fd, path, json, strlen(json));
    const answer a = take(fd);
    close(fd);
    return a;
}
static answer get(const char *path, const char *more) {
    const int fd = dial();
    char *head = llm_format("GET %s HTTP/1.1\r\n%s\r\n", path, more);
    put(fd, head, strlen(head));
    llm_release(head);
    const answer a = take(fd);
    close(fd);
    return a;
}
#define HOST "Host: localhost\r\n"
static llm_json *parsed(const answer *a) { return llm_json_parse(a->body ? a->body : "", a->size, "an answer", 1); }

/* ---- what an answer says ---- */

static const char chat_path[] = "/v1/chat/completions", completion_path[] = "/v1/completions";

/* A question of chat with more fields, as JSON. */
static char *question(const char *words, const char *more) {
    return llm_format("{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"%s\"}], %s}", words, more);
}
static const llm_json *nth(const llm_json *list, int i) {
    const llm_json *v = list ? list->child : NULL;
    while (v && i--) v = v->next;
    return v;
}
static const llm_json *choice_of(const llm_json *root, int i) { return nth(llm_json_get(root, "choices"), i); }
static const char *text_of(const llm_json *choice) {
    const llm_json *message = llm_json_get(choice, "message");
    return message ? llm_json_text(message, "content", "") : llm_json_text(choice, "text", "");
}
/* The text of the first choice; finish (or NULL): why it ended. Release it. */
static char *told(const char *path, const char *json, char finish[16]) {
    const answer a = ask(path, json);
    CHECK(a.status == 200, "%s %s: %d %s", path, json, a.status, a.status ? a.body : "");
    if (a.status != 200) return llm_format("%s", "");
    llm_json *root = parsed(&a);
    const llm_json *choice = choice_of(root, 0);
    char *text = llm_format("%s", text_of(choice));
    if (finish) snprintf(finish, 16, "%s", llm_json_text(choice, "finish_reason", "none"));
    llm_json_free(root);
    llm_release(a.head);
    return text;
}
typedef struct { char *text; char finish[16]; int chunks, tokens; bool done, usage; double logp; } streamed;

static void stream_event(streamed *s, const llm_json *root, int which) {
    const llm_json *choice = choice_of(root, 0), *usage = llm_json_get(root, "usage");
    s->usage |= usage && usage->type == LLM_JSON_OBJECT;
    if (!choice || llm_json_number(choice, "index", -1) != which) return;
    const llm_json *delta = llm_json_get(choice, "delta"), *logprobs = llm_json_get(choice, "logprobs");
    const char *text = delta ? llm_json_text(delta, "content", "") : llm_json_text(choice, "text", "");
    const char *why = llm_json_text(choice, "finish_reason", NULL);
    char *longer = llm_format("%s%s", s->text, text);
    llm_release(s->text);
    s->text = longer;
    s->chunks++;
    CHECK(!*s->finish, "a chunk behind the end");
    if (why) snprintf(s->finish, sizeof s->finish, "%s", why);
    for (const llm_json *t = nth(llm_json_get(logprobs, "content"), 0); t; t = t->next) {
        s->tokens++;
        s->logp += llm_json_number(t, "logprob", NAN);
    }
}
/* Choice `which` of a stream. */
static streamed stream(const char *path, const char *json, int which) {
    const answer a = ask(path, json);
    streamed s = {.text = llm_format("%s", "")};
    CHECK(a.status == 200 && strcasestr(a.head, "text/event-stream"), "a stream: %d", a.status);
    for (char *line = a.status == 200 ? a.body : NULL, *end; line && (end = strstr(line, "\n\n")); line = end + 2) {
        CHECK(!strncmp(line, "data: ", 6) && !s.done, "an event of a stream: %.40s", line);
        if (!strncmp(line + 6, "[DONE]", 6)) {
            s.done = true;
            continue;
        }
        llm_json *root = llm_json_parse(line + 6, (size_t)(end - line) - 6, "an event", 1);
        stream_event(&s, root, which);
        llm_json_free(root);
    }
    CHECK(s.done, "a stream ends with [DONE]");
    llm_release(a.head);
    return s;
}

/* ---- answers ---- */

static const char *const words[] = {"Zoë", "naïve 🐈", "How many?", "number 7 paid €3", "a", "and 11", "🐈🐈", "words"};
enum { WORDS = sizeof words / sizeof *words };

/* Greedy through the server is greedy in build/chat; a stream is the whole in pieces. */
static void check_greedy(void) {
    for (int i = 0; i < 4; i++) {
        char *command = llm_format("%s --model %s --threads 1 --temperature 0 --max-tokens 24 --raw --no-speed -p '%s' "
                                   "2> /dev/null", chat_program, dir, words[i]), said[4096] = "";
        FILE *f = popen(command, "r");
        size_t n = f ? fread(said, 1, sizeof said - 1, f) : 0;
        if (f) pclose(f);
        said[n ? n - 1 : 0] = '\0';     /* chat ends the line */
        char *q = question(words[i], "\"temperature\": 0, \"max_tokens\": 24"), *text = told(chat_path, q, NULL);
        char *s = question(words[i], "\"temperature\": 0, \"max_tokens\": 24, \"stream\": true");
        streamed x = stream(chat_path, s, 0);
        CHECK(*text && !strcmp(text, x.text), "in pieces \"%s\", whole \"%s\"", x.text, text);
        if (!strstr(text, "\xEF\xBF\xBD"))      /* chat --raw says bytes that are no character as they are */
            CHECK(!strcmp(text, said), "greedy: \"%s\", build/chat says \"%s\"", text, said);
        llm_release_all(command, q, text, s, x.text);
    }
}
/* Wherever a text is cut by a stop text it ends there, whole and in pieces, and no beginning of one gets out. */
static void check_stops(void) {
    char *q = question(words[0], "\"temperature\": 0, \"max_tokens\": 40"), *all = told(chat_path, q, NULL);
    for (size_t at = 1, n = 1; at + n < strlen(all) && at < 40; at += 3, n = 1 + at % 5) {
        if (((unsigned char)all[at] & 0xC0) == 0x80 || ((unsigned char)all[at + n] & 0xC0) == 0x80) continue;
        char stop[16] = "", finish[16];
        memcpy(stop, all + at, n);
        if (strpbrk(stop, "\"\\\n") || strstr(stop, "\xEF\xBF\xBD")) continue;
        const size_t length = (size_t)(strstr(all, stop) - all);
        char *more = llm_format("\"temperature\": 0, \"max_tokens\": 40, \"stop\": [\"never said\", \"%s\"]", stop);
        char *one = question(words[0], more), *text = told(chat_path, one, finish);
        char *with = llm_format("%s, \"stream\": true, \"logprobs\": true", more), *two = question(words[0], with);
        streamed x = stream(chat_path, two, 0);
        CHECK(strlen(text) == length && !strncmp(text, all, length), "stop '%s': \"%s\" of \"%s\"", stop, text, all);
        CHECK(!strcmp(finish, "stop") && !strcmp(x.finish, "stop"), "stop '%s': it ends by %s", stop, finish);
        CHECK(!strcmp(text, x.text), "stop '%s': in pieces \"%s\", whole \"%s\"", stop, x.text, text);
        llm_release_all(more, one, text, with, two, x.text);
    }
    llm_release_all(q, all);
}
static void check_drawn(void) {
    char *q = question("Zoë", "\"seed\": 5, \"temperature\": 2, \"n\": 3"), *texts[3];
    const answer a = ask(chat_path, q);
    llm_json *root = parsed(&a);
    for (int i = 0; i < 3; i++) texts[i] = llm_format("%s", text_of(choice_of(root, i)));
    CHECK(strcmp(texts[0], texts[1]) && strcmp(texts[1], texts[2]), "three choices are the same");
    char *one = question("Zoë", "\"seed\": 5, \"temperature\": 2"), *text = told(chat_path, one, NULL);
    CHECK(!strcmp(text, texts[0]), "same seed, another answer: \"%s\", \"%s\"", text, texts[0]);
    char *other = question("Zoë", "\"seed\": 6, \"temperature\": 2"), *else_ = told(chat_path, other, NULL);
    CHECK(strcmp(else_, text), "another seed, the same answer");
    char *s = question("Zoë", "\"seed\": 5, \"temperature\": 2, \"n\": 3, \"stream\": true, "
                       "\"stream_options\": {\"include_usage\": true}");
    streamed x = stream(chat_path, s, 1);
    CHECK(!strcmp(x.text, texts[1]) && x.usage, "a stream of three: \"%s\", not \"%s\"", x.text, texts[1]);
    llm_json_free(root);
    llm_release_all(q, a.head, one, text, other, else_, s, x.text, texts[0], texts[1], texts[2]);
}

/* ---- log-probabilities, against llm_forward on the same folder ---- */

typedef struct { llm_model m; llm_tokenizer t; } own;

/* log p(id[t+1] | id[..t]) of one row. */
static void own_logp(own *o, const int *ids, int n, llm_real *logp) {
    llm_batch b = llm_batch_new(1, n - 1);
    llm_batch_rows(&b, &(llm_sequence){ids, 1, n}, 1, 0);
    llm_forward(&o->m, &b, logp, NULL, NULL);
    llm_batch_free(&b);
}
/* Prompts of ids, several in one request, scored as lm-eval asks for it. */
static void check_scores(own *o) {
    enum { PROMPTS = 3, MOST = 60 };
    int ids[PROMPTS][MOST], n[PROMPTS] = {60, 2, 31};
    llm_rng rng = llm_rng_seed(1, 1);
    char *list = llm_format("%s", "");
    for (int p = 0; p < PROMPTS; p++)
        for (int i = 0; i < n[p]; i++) {
            ids[p][i] = llm_rng_below(&rng, o->t.vocab_size);
            const char *before = i ? ", " : p ? ", [" : "[", *behind = i == n[p] - 1 ? "]" : "";
            char *longer = llm_format("%s%s%d%s", list, before, ids[p][i], behind);
            llm_release(list);
            list = longer;
        }
    char *q = llm_format("{\"model\": \"m\", \"prompt\": [%s], \"max_tokens\": 1, \"logprobs\": 2, \"echo\": true, "
                         "\"temperature\": 0}", list);
    const answer a = ask(completion_path, q);
    CHECK(a.status == 200, "scores: %d %s", a.status, a.body);
    llm_json *root = parsed(&a);
    for (int p = 0; p < PROMPTS; p++) {
        const llm_json *l = llm_json_get(choice_of(root, p), "logprobs"), *logps = llm_json_get(l, "token_logprobs");
        const llm_json *tops = llm_json_get(l, "top_logprobs"), *names = llm_json_get(l, "tokens");
        llm_real want[MOST];
        own_logp(o, ids[p], n[p], want);
        CHECK((int)logps->length == n[p] + 1 && tops->length == logps->length && names->length == logps->length,
              "prompt %d: %zu scores of %d tokens and one said", p, logps->length, n[p]);
        CHECK(nth(logps, 0)->type == LLM_JSON_NULL && nth(tops, 0)->type == LLM_JSON_NULL, "the first has no score");
        double worst = 0;
        for (int i = 1; i < n[p]; i++) worst = worse(worst, fabs(nth(logps, i)->number - want[i - 1]));
        CHECK_SMALL(worst, 1e-4, "prompt %d: scores are not llm_forward's", p);
        for (int i = 1; i <= n[p]; i++) {       /* each token is among those told beside it */
            const llm_json *top = nth(tops, i), *there = llm_json_get(top, nth(names, i)->string);
            CHECK(there && there->number == nth(logps, i)->number && top->length <= 3, "prompt %d, place %d", p, i);
        }
    }
    llm_json_free(root);
    llm_release_all(list, q, a.head);
}
/* The log-probabilities of what is said: their sum is the answer's, and told in pieces it is the same. */
static void check_said(own *o) {
    char *q = question("Zoë", "\"temperature\": 0, \"max_tokens\": 20, \"logprobs\": true, \"top_logprobs\": 3");
    char *s = question("Zoë", "\"temperature\": 0, \"max_tokens\": 20, \"logprobs\": true, \"stream\": true");
    const answer a = ask(chat_path, q);
    llm_json *root = parsed(&a);
    const llm_json *choice = choice_of(root, 0), *content = llm_json_get(llm_json_get(choice, "logprobs"), "content");
    streamed x = stream(chat_path, s, 0);
    double sum = 0;
    size_t bytes = 0;
    for (const llm_json *t = nth(content, 0); t; t = t->next) {
        const llm_json *best = nth(llm_json_get(t, "top_logprobs"), 0);
        sum += llm_json_number(t, "logprob", NAN);
        bytes += llm_json_get(t, "bytes")->length;
        CHECK(llm_json_get(t, "top_logprobs")->length == 3, "three alternatives");
        CHECK(llm_json_number(best, "logprob", 1) == llm_json_number(t, "logprob", 2), "greedy says the likeliest");
    }
    CHECK(content->length && content->length <= 20 && x.tokens == (int)content->length,
          "tokens: %zu whole, %d in pieces", content->length, x.tokens);
    CHECK_SMALL(fabs(sum - x.logp), 1e-9, "log-probabilities in pieces");
    if (!strstr(text_of(choice), "\xEF\xBF\xBD"))
        CHECK(bytes == strlen(text_of(choice)), "the tokens' bytes are the text");
    (void)o;
    llm_json_free(root);
    llm_release_all(q, s, a.head, x.text);
}
static void check_answers(void) {
    own o = {0};
    hf_model_load(&o.m, dir, llm_cpu(llm_precision_best()));
    hf_tokenizer_load(&o.t, dir);
    check_greedy();
    check_stops();
    check_drawn();
    check_scores(&o);
    check_said(&o);
    char finish[16], *text = told(completion_path, "{\"prompt\": \"Zo\", \"echo\": true, \"max_tokens\": 3}", finish);
    CHECK(!strncmp(text, "Zo", 2) && !strcmp(finish, "length"), "echo: \"%s\"", text);
    llm_release(text);
    streamed x = stream(completion_path, "{\"prompt\": [\"a\", \"Zo\"], \"echo\": true, \"max_tokens\": 3, "
                        "\"stream\": true}", 1);
    CHECK(!strncmp(x.text, "Zo", 2) && !strcmp(x.finish, "length"), "echo in pieces: \"%s\"", x.text);
    llm_release(x.text);
    llm_tokenizer_free(&o.t);
    llm_model_free(&o.m);
}

/* ---- what is refused ---- */

static void refused(const char *path, const char *json, int status, const char *says) {
    const answer a = ask(path, json);
    CHECK(a.status == status && strstr(a.body, says), "%.100s: %d, wanted %d: %s", json, a.status, status,
          a.status ? a.body : "");
    if (a.status) {
        llm_json *root = parsed(&a);
        CHECK(*llm_json_text(llm_json_get(root, "error"), "message", ""), "an error without a message");
        llm_json_free(root);
    }
    llm_release(a.head);
}
static void check_fields(void) {
    static const struct { const char *more, *says; } bad[] = {
        {"\"temperature\": -1", "temperature"}, {"\"temperature\": \"warm\"", "temperature"}, {"\"top_p\": 2", "top_p"},
        {"\"temperature\": NaN", "temperature"}, {"\"n\": 0", "\\\"n\\\""}, {"\"n\": 65", "\\\"n\\\""},
        {"\"n\": 1.5", "whole"}, {"\"max_tokens\": 0", "at least 1"},
        {"\"max_completion_tokens\": -4", "max_completion"},
        {"\"stop\": 5", "stop"}, {"\"stop\": [\"\"]", "stop"}, {"\"seed\": 1e300", "seed"}, {"\"stream\": 1", "stream"},
        {"\"top_logprobs\": 3", "needs"}, {"\"logprobs\": true, \"top_logprobs\": 21", "top_logprobs"},
        {"\"tools\": [{\"type\": \"function\"}]", "tools"},
        {"\"response_format\": {\"type\": \"json_object\"}", "response"},
        {"\"logit_bias\": {\"5\": 100}", "logit_bias"}, {"\"frequency_penalty\": 0.5", "frequency_penalty"},
        {"\"max_token\": 5", "max_token"}, {"\"echo\": true", "echo"}, {"\"model\": \"m2\"", "no model"},
        {"\"model\": 5", "model"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *q = question("a", bad[i].more);
        refused(chat_path, q, strstr(bad[i].says, "no model") ? 404 : 400, bad[i].says);
        llm_release(q);
    }
    static const char *const fine[] = {
        "\"user\": \"me\", \"tools\": [], \"logit_bias\": {}, \"presence_penalty\": 0, \"n\": null",
        "\"response_format\": {\"type\": \"text\"}, \"store\": true, \"stop\": null"};
    for (int i = 0; i < 2; i++) {
        char *q = question("a", fine[i]), *text = told(chat_path, q, NULL);
        llm_release_all(q, text);
    }
}
static void check_requests(void) {
    static const struct { const char *path, *json, *says; } bad[] = {
        {chat_path, "", "the request:1"}, {chat_path, "{\"messages\": [}", "the request:1"},
        {chat_path, "[]", "object"},
        {chat_path, "{}", "messages"}, {chat_path, "{\"messages\": []}", "messages"},
        {chat_path, "{\"messages\": [{\"role\": \"robot\", \"content\": \"a\"}]}", "role"},
        {chat_path, "{\"messages\": [{\"role\": \"user\"}]}", "content"},
        {chat_path, "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]}", "content"},
        {chat_path, "{\"messages\": [{\"role\": \"user\", \"content\": \"\xFF\"}]}", "UTF-8"},
        {completion_path, "{}", "prompt"}, {completion_path, "{\"prompt\": [[1, 2], \"a\", {}]}", "prompt"},
        {completion_path, "{\"prompt\": [1, 99999999]}", "99999999"}, {completion_path, "{\"prompt\": [-1]}", "ids"},
        {completion_path, "{\"prompt\": []}", "empty"}, {completion_path, "{\"prompt\": \"a\\u0000b\"}", "character 0"},
        {completion_path, "{\"prompt\": \"a\", \"suffix\": \"b\"}", "suffix"},
        {completion_path, "{\"prompt\": [\"a\", \"b\"], \"n\": 40}", "at most 64"},
        {"/api/vote", "{\"a\": \"m\", \"b\": \"m\", \"winner\": \"a\"}", "vote"}, {"/api/vote", "{", "the request:1"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refused(bad[i].path, bad[i].json, 400, bad[i].says);
    char *long_ = llm_alloc(1 << 20, 1), *deep = llm_alloc(5000, 1), *q;
    memset(long_, 'a', 1000);
    q = question(long_, "\"n\": 1");
    refused(chat_path, q, 400, "context_length_exceeded");
    llm_release(q);
    q = llm_format("{\"prompt\": \"%s\"}", long_);
    refused(completion_path, q, 400, "the context of m is 128");
    llm_release(q);
    memset(deep, '[', 4000);
    refused(completion_path, deep, 400, "nested");
    memset(long_, ' ', (1 << 20) - 1);
    q = llm_format("%s  {}", long_);
    refused(chat_path, q, 413, "at most 1.0 MB");
    llm_release_all(q, deep, long_);
    char *parts = told(chat_path, "{\"messages\": [{\"role\": \"user\", \"content\": ["
                       "{\"type\": \"text\", \"text\": \"Z\"}, {\"type\": \"text\", \"text\": \"oë\"}]}], "
                       "\"temperature\": 0, \"max_tokens\": 24}", NULL);
    q = question("Zoë", "\"temperature\": 0, \"max_tokens\": 24");
    char *whole = told(chat_path, q, NULL);
    CHECK(!strcmp(parts, whole), "a message in parts: \"%s\", not \"%s\"", parts, whole);
    llm_release_all(q, parts, whole);
}
/* Without a body, or with too much around it. */
static void check_heads(void) {
    static const struct { const char *path, *more; int status; const char *says; } wanted[] = {
        {"/", HOST, 200, "<!doctype html>"}, {"/v1/models", HOST, 200, "\"id\": \"m\""}, {"/none", HOST, 404, "/none"},
        {"/v1/completions", HOST, 405, "POST"}, {"/api/info", HOST, 200, "\"context\": 128"},
        {"/api/elo", HOST, 200, "["},
        {"/", "Host: evil.example\r\n", 403, "another site"}, {"/", "Host: [::1]:80\r\n", 200, "<!doctype html>"},
        {"/", "Host: 127.0.0.2:80\r\n", 200, "<!doctype html>"}, {"/", "Host: 127.0.0.2.example\r\n", 403, "--host"},
        {"/", HOST "Origin: http://evil.example\r\n", 403, "another site"},
        {"/", HOST "Origin: http://localhost\r\n", 200, "<!doctype html>"}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const answer a = get(wanted[i].path, wanted[i].more);
        CHECK(a.status == wanted[i].status && strcasestr(a.body, wanted[i].says), "%s: %d %s", wanted[i].path, a.status,
              a.status ? a.body : "");
        llm_release(a.head);
    }
    char *many = llm_alloc(1 << 17, 1);
    size_t n = (size_t)sprintf(many, HOST);
    for (int i = 0; i < 3000; i++) n += (size_t)sprintf(many + n, "X-Header-%d: some text\r\n", i);
    answer a = get("/v1/models", many);
    CHECK(a.status == 431 || a.status == 413 || !a.status, "3000 headers: %d", a.status);
    llm_release(a.head);
    memset(many, 'a', 100000);
    memcpy(many, "X: ", 3);
    memcpy(many + 100000, "\r\n", 3);
    a = get("/v1/models", many);
    CHECK(a.status == 431 || a.status == 413 || !a.status, "a header of 100,000 bytes: %d", a.status);
    llm_release_all(a.head, many);
    int fd = dial();                    /* a body in chunks, without a length, too large */
    static const char head[] = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    char chunk[0x1000 + 10] = "1000\r\n";
    memset(chunk + 6, ' ', 0x1000);
    memcpy(chunk + 6 + 0x1000, "\r\n", 3);
    put(fd, head, strlen(head));
    for (int i = 0; i < 300; i++) put(fd, chunk, strlen(chunk));
    put(fd, "0\r\n\r\n", 5);
    a = take(fd);
    CHECK(a.status == 413, "1.2 MB in chunks: %d", a.status);
    llm_release(a.head);
    close(fd);
    fd = dial();                        /* no HTTP at all */
    put(fd, "\x16\x03\x01\x02\r\n\r\n\r\n", 10);
    a = take(fd);
    CHECK(a.status == 400 || !a.status, "noise: %d", a.status);
    llm_release(a.head);
    close(fd);
}
static void check_refusals(void) {
    check_fields();
    check_requests();
    check_heads();
}

/* ---- many at once ---- */

static void check_clients(void) {
    enum { CLIENTS = 8 };
    static const char *const how[] = {"\"temperature\": 0", "\"temperature\": 1.5, \"seed\": 3, \"logprobs\": true"};
    for (int round = 0; round < 4; round++) {
        char *q[CLIENTS], *alone[CLIENTS];
        int fd[CLIENTS];
        for (int i = 0; i < CLIENTS; i++) {
            q[i] = question(words[i], how[round % 2]);
            const answer a = ask(chat_path, q[i]);
            alone[i] = a.status ? llm_format("%s", strstr(a.body, "\"choices\"")) : llm_format("%s", "none");
            llm_release(a.head);
        }
        for (int i = 0; i < CLIENTS; i++) post(fd[i] = dial(), chat_path, q[i], strlen(q[i]));
        for (int i = 0; i < CLIENTS; i++) {
            const answer a = take(fd[i]);
            const char *said = a.status == 200 ? strstr(a.body, "\"choices\"") : "nothing";
            CHECK(!strcmp(said, alone[i]), "beside seven others: %s\nalone: %s", said, alone[i]);
            close(fd[i]);
            llm_release_all(a.head, q[i], alone[i]);
        }
    }
    const int fd = dial();              /* three requests on one connection, the last one a refusal */
    char *q = question("a", "\"max_tokens\": 2"), *bad = question("a", "\"n\": 0");
    for (int i = 0; i < 3; i++) {
        post(fd, chat_path, i < 2 ? q : bad, strlen(i < 2 ? q : bad));
        const answer a = take(fd);
        CHECK(a.status == (i < 2 ? 200 : 400), "request %d on one connection: %d", i, a.status);
        llm_release(a.head);
    }
    close(fd);
    llm_release_all(q, bad);
}

/* The log-probabilities of the last ids of the first choice. */
static void last_scores(const llm_json *root, double *score, int n) {
    const llm_json *l = llm_json_get(llm_json_get(choice_of(root, 0), "logprobs"), "token_logprobs");
    for (int i = 0; i < n; i++) score[i] = l ? nth(l, (int)l->length - n + i)->number : NAN;
}
/* Scored from its beginning, a prompt uses nothing again: what is said behind it is as likely. */
static void check_fresh(const char *q, const answer *said) {
    enum { LAST = 12 };
    double one[LAST], two[LAST], worst = 0;
    char *echo = llm_format("{\"echo\": true, %s", q + 1);
    const answer a = ask(completion_path, echo);
    llm_json *fresh = parsed(&a), *root = parsed(said);
    last_scores(fresh, one, LAST);
    last_scores(root, two, LAST);
    for (int i = 0; i < LAST; i++) worst = worse(worst, fabs(one[i] - two[i]));
    CHECK_SMALL(worst, 1e-5, "what is used again of the cache is another prompt's");
    llm_json_free(fresh);
    llm_json_free(root);
    llm_release_all(echo, a.head);
}
/* Prompts of several pieces that begin alike: what is used again of the cache, of the same row or of another's, changes
   no bit. The server has 3 rows; a model of a longer context. */
static void check_long(void) {
    enum { PROMPTS = 6, LONG = 300 };
    char *q[PROMPTS], *first[PROMPTS] = {NULL};
    for (int p = 0; p < PROMPTS; p++) {
        char ids[LONG * 5] = "";        /* alike up to 0, 100, 150, 200, 256, 299 */
        const int alike[PROMPTS] = {300, 100, 150, 200, 256, 299};
        size_t n = 0;
        for (int i = 0; i < LONG; i++)
            n += (size_t)sprintf(ids + n, "%s%d", i ? ", " : "", 1 + (i * 7 + (i >= alike[p] ? p + 1 : 0)) % 250);
        q[p] = llm_format("{\"prompt\": [%s], \"max_tokens\": 12, \"logprobs\": 3, \"seed\": 1, \"n\": 2}", ids);
    }
    for (int round = 0; round < 3; round++) {           /* in turn, the other way round, all at once */
        int fd[PROMPTS];
        answer a[PROMPTS];
        for (int i = 0; i < PROMPTS; i++) {
            const int p = round % 2 ? PROMPTS - 1 - i : i;
            post(fd[p] = dial(), completion_path, q[p], strlen(q[p]));
            if (round < 2) a[p] = take(fd[p]);
        }
        for (int p = 0; p < PROMPTS; p++) {
            if (round == 2) a[p] = take(fd[p]);
            const char *said = a[p].status == 200 ? strstr(a[p].body, "\"choices\"") : "nothing";
            if (!round) first[p] = llm_format("%s", said);
            CHECK(!strcmp(said, first[p]), "round %d, prompt %d:\n%s\nfirst: %s", round, p, said, first[p]);
            close(fd[p]);
            if (round == 1) check_fresh(q[p], &a[p]);
            llm_release(a[p].head);
        }
    }
    for (int p = 0; p < PROMPTS; p++) llm_release_all(q[p], first[p]);
}

/* ---- clients that go, that are slow, that are too many: the server runs with --patience 1 --batch 1 ---- */

static int waiting(void) {
    const answer a = get("/api/info", HOST);
    llm_json *root = parsed(&a);
    const int n = (int)llm_json_number(root, "waiting", -1);
    llm_json_free(root);
    llm_release(a.head);
    return n;
}
static bool soon_idle(void) {
    for (const double began = llm_now(); llm_now() - began < 20; usleep(20000))
        if (!waiting()) return true;
    return false;
}
/* Seconds until nobody waits, after two clients of 64 long answers have gone (or have read them). */
static double leave(const char *more, bool stay) {
    char *q = question("Zoë", more);
    int fd[2];
    const double began = llm_now();
    for (int i = 0; i < 2; i++) post(fd[i] = dial(), chat_path, q, strlen(q));
    while (waiting() < 128) usleep(1000);
    for (int i = 0; i < 2; i++) {
        if (stay) {                     /* they take longer than the server's patience with slow clients */
            const answer a = take(fd[i]);
            CHECK(a.status == 200, "128 answers: %d", a.status);
            llm_release(a.head);
        }
        close(fd[i]);
    }
    CHECK(soon_idle(), "a client has gone, and its answers are still computed");
    llm_release(q);
    return llm_now() - began;
}
static void check_gone(void) {
    static const char whole[] = "\"n\": 64, \"temperature\": 3, \"logprobs\": true, \"top_logprobs\": 20";
    char *pieces = llm_format("%s, \"stream\": true", whole);
    const double all = leave(whole, true), gone = leave(whole, false), stream_ = leave(pieces, false);
    printf("128 answers: %.2f s; called off after %.2f s, in streams %.2f s\n", all, gone, stream_);
    CHECK(gone < 0.7 * all && stream_ < 0.7 * all, "called off after %.2f and %.2f of %.2f s", gone, stream_, all);
    int fd[5];                          /* more than may wait */
    char *q = question("Zoë", whole);
    for (int i = 0; i < 5; i++) {
        post(fd[i] = dial(), chat_path, q, strlen(q));
        while (i < 4 && waiting() < 64 * (i + 1)) usleep(1000);
    }
    const answer a = take(fd[4]);
    CHECK(a.status == 503 && strcasestr(a.head, "retry-after: 1"), "320 answers at once: %d", a.status);
    for (int i = 0; i < 5; i++) close(fd[i]);
    CHECK(soon_idle(), "five clients have gone");
    llm_release_all(q, pieces, a.head);
}
/* A byte now and then is not enough: the whole request must be there in a second. */
static void check_slow(void) {
    const int fd = dial(), silent = dial();
    const double began = llm_now();
    static const char head[] = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
    put(fd, head, strlen(head));
    while (llm_now() - began < 10 && put(fd, " ", 1)) usleep(100000);
    CHECK(llm_now() - began < 4, "a body of one byte in 0.1 s was read for %.1f s", llm_now() - began);
    char byte;
    CHECK(recv(silent, &byte, 1, 0) <= 0 && llm_now() - began < 8, "a client that says nothing stays connected");
    close(fd);
    close(silent);
}
/* More than 64 who say nothing: who comes behind them waits until they are cut off, and is answered. */
static void check_crowd(void) {
    enum { CROWD = 80 };
    int fd[CROWD];
    for (int i = 0; i < CROWD; i++) fd[i] = dial();
    const double began = llm_now();
    CHECK(waiting() == 0 && llm_now() - began > 0.5, "behind 80 connections: answered after %.2f s", llm_now() - began);
    for (int i = 0; i < CROWD; i++) close(fd[i]);
}
/* Votes: Elo by hand. */
static void check_votes(void) {
    answer a = ask("/api/vote", "{\"a\": \"m\", \"b\": \"other\", \"winner\": \"a\", \"prompt\": \"Zoë\", "
                   "\"answers\": [\"x\", \"y\"]}");
    CHECK(a.status == 200 && strstr(a.body, "\"m\", \"elo\": 1016.0, \"games\": 1}"), "%d %s", a.status, a.body);
    llm_release(a.head);
    a = ask("/api/vote", "{\"a\": \"m\", \"b\": \"other\", \"winner\": \"b\"}");
    /* 1016 - 32 / (1 + 10^(-32/400)) */
    CHECK(a.status == 200 && strstr(a.body, "\"m\", \"elo\": 998.5, \"games\": 2}"), "%d %s", a.status, a.body);
    llm_release(a.head);
}
/* What was voted before the server ended counts on. */
static void check_kept(void) {
    const answer a = get("/api/elo", HOST);
    CHECK(a.status == 200 && strstr(a.body, "\"m\", \"elo\": 998.5, \"games\": 2}"), "%d %s", a.status, a.body);
    llm_release(a.head);
}
/* No check: tokens a second of one client, and of eight at once, who ask for 64 tokens again and again. */
static void measure(void) {
    enum { MOST = 8 };
    char *q = llm_format("{\"prompt\": \"Zoë\", \"max_tokens\": 64, \"temperature\": 1}");
    for (int clients = 1; clients <= MOST; clients *= MOST) {
        double tokens = 0;
        const double began = llm_now();
        while (!(tokens > 0) || llm_now() - began < 5) {
            int fd[MOST];
            for (int i = 0; i < clients; i++) post(fd[i] = dial(), completion_path, q, strlen(q));
            for (int i = 0; i < clients; i++) {
                const answer a = take(fd[i]);
                llm_json *root = parsed(&a);
                tokens += llm_json_number(llm_json_get(root, "usage"), "completion_tokens", NAN);
                close(fd[i]);
                llm_json_free(root);
                llm_release(a.head);
            }
        }
        printf("%d client%s: %.0f tokens/s\n", clients, clients > 1 ? "s" : "", tokens / (llm_now() - began));
    }
    llm_release(q);
}
/* The server is told to end while a stream is under way and others wait behind it, however fast it speaks. */
static void stay(pid_t server) {
    enum { ASKED = 4, ANSWER = 2 };
    char *q = question("Zoë", "\"n\": 64, \"temperature\": 3, \"logprobs\": true, \"top_logprobs\": 20");
    char *s = question("Zoë", "\"n\": 64, \"temperature\": 3, \"stream\": true"), first;
    int fd[ASKED], begun = 0;
    for (int i = 0; i < ASKED; i++) {
        const char *asked = i == ANSWER ? q : s;
        post(fd[i] = dial(), chat_path, asked, strlen(asked));
    }
    const double began = llm_now();
    while (waiting() < 180 && llm_now() - began < 30) usleep(1000);
    CHECK(recv(fd[0], &first, 1, MSG_PEEK) == 1, "the first stream has begun");
    kill(server, SIGINT);
    for (int i = 0; i < ASKED; i++) {
        const answer a = take(fd[i]);
        if (i == ANSWER || a.status != 200)
            CHECK(a.status == 503 && strstr(a.body, "ending"), "%d waits when the server ends: %d", i, a.status);
        else begun += strstr(a.body, "\"error\"") != NULL;
        llm_release(a.head);
    }
    CHECK(begun > 0, "no stream that had begun is told that the server ends");
    llm_release_all(q, s);
}
int main(int argc, char **argv) {
    if (argc < 5) return 2;
    port = atoi(argv[1]);
    dir = argv[2];
    chat_program = argv[3];
    const char *what = argv[4];
    if (!strcmp(what, "answers")) check_answers();
    if (!strcmp(what, "refusals")) check_refusals();
    if (!strcmp(what, "clients")) check_clients();
    if (!strcmp(what, "long")) check_long();
    if (!strcmp(what, "gone")) {
        check_votes();
        check_slow();
        check_crowd();
        check_gone();
    }
    if (!strcmp(what, "votes")) check_kept();
    if (!strcmp(what, "open") && argc > 5) stay((pid_t)atoi(argv[5]));
    if (!strcmp(what, "speed")) measure();
    return checks_done();
}
