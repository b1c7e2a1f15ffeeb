/* serve.c: models behind a browser's page and behind the clients people have, who speak OpenAI's HTTP.

       build/serve --model out/sft                         then open http://127.0.0.1:8080/
       build/serve --model out/sft --model out/rlhf        two: the page lets them answer side by side, for votes
       OPENAI_BASE_URL=http://127.0.0.1:8080/v1            for other programs

       GET  /                      the page, tools/serve.html as it lies there
       GET  /v1/models             POST /v1/chat/completions   POST /v1/completions
       GET  /api/info  /api/elo    POST /api/vote              the page's own

   Three threads: libmicrohttpd's reads requests and sends answers; the engine's computes (serve_engine.h); this one
   waits for Ctrl-C and sees to clients that are slow or have gone. A request is an exchange, which the first two hold:

       body ──serve_read──► exchange.job ──engine_submit──► ids, text ──serve_answer.h──► exchange.out ──► client
                            (connection suspended)                                       (and resumed)

   Everything that a stranger can make large has a bound: bodies, headers, connections, answers that wait, time. */

#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "hf.h"
#include "run.h"
#include "arena.h"
#include "beam.h"
#include "told.h"
#include "serve_request.h"
#include "serve_engine.h"
#include "serve_answer.h"
#include "serve_votes.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

enum {
    CLIENTS = 64,                       /* connections at a time */
    HEADERS = 32 << 10,                 /* bytes of a request's head, and of what is read at once */
    DRAINED = 16 << 20                  /* bytes of a body that is too large, read and dropped so that the answer is */
};

/* The page lies in the program. */
#if __has_include("serve.html")
#ifdef __APPLE__
#define PAGE_NAME(x) "_" x
#define PAGE_SECTION ".const_data"
#else
#define PAGE_NAME(x) x
#define PAGE_SECTION ".section .rodata"
#endif
__asm__(PAGE_SECTION "\n" PAGE_NAME("serve_page") ":\n.incbin \"tools/serve.html\"\n" PAGE_NAME("serve_page_end")
        ":\n.byte 0\n.text\n");
extern const char serve_page[], serve_page_end[];
#else
static const char serve_page[] = "<!doctype html><title>build/serve</title><p>The page is not there yet.\n";
#define serve_page_end (serve_page + sizeof serve_page - 1)
#endif

typedef struct {
    run_settings run;
    llm_list models;
    const char *weights, *host, *votes;
    int64_t port, rows, context, max_tokens, patience;
} settings;

/* What a connection is doing, for the one who looks at the clock. */
typedef enum { CLIENT_FREE, CLIENT_SENDS, CLIENT_WAITS, CLIENT_TAKES } client_state;
typedef struct { client_state state; int fd; double since; struct exchange *asks; } client;

typedef struct exchange {
    engine_job job;
    serve_name name;
    struct MHD_Connection *connection;
    client *from;
    int which;                          /* endpoint */
    serve_refusal why;
    char *body; size_t size, room;
    /* under the server's lock: */
    int holders;                        /* HTTP and engine; the last one frees it */
    bool suspended, submitted, accepted, over;          /* accepted: a stream begins; over: `out` is whole */
    char *out; size_t out_size, out_room, sent;
} exchange;

static struct {
    settings s;
    engine engine;
    serve_votes votes;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    client client[CLIENTS];
    llm_rng rng;
    bool local;                         /* only this machine can reach it */
} server;

static void server_lock(void) { pthread_mutex_lock(&server.lock); }
static void server_unlock(void) { pthread_mutex_unlock(&server.lock); }

/* ---- exchanges: what the engine says goes out ---- */

static void exchange_let_go(exchange *x) {
    server_lock();
    const bool last = --x->holders == 0;
    server_unlock();
    if (!last) return;
    engine_job_free(&x->job);
    llm_release(x->body);
    free(x->out);
    free(x);
}
/* With the lock: there is something to send, or nothing will come. */
static void exchange_wake(exchange *x) {
    if (x->suspended) MHD_resume_connection(x->connection);
    x->suspended = false;
}
/* Hand over text, which is freed. */
static void exchange_say(exchange *x, serve_text *t, bool accepted, bool over) {
    text_close(t);
    server_lock();
    if (x->out_size + t->size > x->out_room) {
        const size_t room = 2 * x->out_room + t->size;
        char *more = realloc(x->out, room);
        if (more) x->out = more;
        if (more) x->out_room = room;
        else over = true, t->size = 0;  /* no memory: the answer ends here */
    }
    if (t->size) memcpy(x->out + x->out_size, t->text, t->size);
    x->out_size += t->size;
    x->accepted |= accepted;
    x->over |= over;
    if (over && x->from->asks == x) {   /* else the connection is another's by now */
        x->from->state = CLIENT_TAKES;
        x->from->since = llm_now();
    }
    exchange_wake(x);
    server_unlock();
    free(t->text);
}
static exchange *exchange_of(engine_job *job) { return (exchange *)job; }       /* its first member */
static void on_begins(engine_job *job) {
    exchange *x = exchange_of(job);
    serve_text t;
    if (!job->ask.stream) return;
    text_open(&t);
    write_roles(&t.w, job, &x->name);
    exchange_say(x, &t, true, false);
}
static void on_said(engine_job *job, engine_answer *a) {
    exchange *x = exchange_of(job);
    serve_text t;
    if (!job->ask.stream || atomic_load(&job->gone)) return;
    text_open(&t);
    write_chunk(&t.w, job, a, &x->name);
    exchange_say(x, &t, true, false);
}
static void write_result(exchange *x, llm_writer *w) {
    engine_job *job = &x->job;
    const bool streams = x->accepted;   /* written by this thread alone */
    if (job->why.status) {
        if (streams) llm_write_text(w, "data: ");
        write_refusal(w, &job->why);
        if (streams) llm_write_text(w, "\n");
    } else if (streams) write_stream_end(w, job, &x->name);
    else write_whole(w, job, &x->name);
}
static void on_done(engine_job *job) {
    exchange *x = exchange_of(job);
    serve_text t;
    text_open(&t);
    if (!atomic_load(&job->gone)) write_result(x, &t.w);
    exchange_say(x, &t, false, true);
    exchange_let_go(x);
}

/* ---- answers of HTTP ---- */

static enum MHD_Result reply(struct MHD_Connection *c, int status, const char *type, char *text, size_t size,
                             enum MHD_ResponseMemoryMode mode) {
    struct MHD_Response *r = MHD_create_response_from_buffer(size, text, mode);
    if (!r) return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r, "X-Frame-Options", "DENY");      /* no page of others shows ours: votes are clicks */
    if (status == 503) MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (status == 405) MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, POST");
    const enum MHD_Result result = MHD_queue_response(c, (unsigned)status, r);
    MHD_destroy_response(r);
    return result;
}
static enum MHD_Result reply_text(struct MHD_Connection *c, int status, serve_text *t) {
    text_close(t);
    return reply(c, status, "application/json", t->text, t->size, MHD_RESPMEM_MUST_FREE);
}
static enum MHD_Result reply_refusal(exchange *x) {
    serve_text t;
    text_open(&t);
    write_refusal(&t.w, &x->why);
    return reply_text(x->connection, x->why.status, &t);
}
/* libmicrohttpd asks for more of a stream: there is some, or the connection sleeps until the engine has said more. */
static ssize_t stream_read(void *with, uint64_t at, char *to, size_t most) {
    exchange *x = with;
    (void)at;
    server_lock();
    const size_t n = size_min(most, x->out_size - x->sent);
    const bool over = x->over;
    if (n) memcpy(to, x->out + x->sent, n);
    x->sent += n;
    if (x->sent == x->out_size) x->sent = x->out_size = 0;
    if (!n && !over) {
        x->suspended = true;
        MHD_suspend_connection(x->connection);
    }
    server_unlock();
    return n ? (ssize_t)n : over ? MHD_CONTENT_READER_END_OF_STREAM : 0;
}
static enum MHD_Result reply_stream(exchange *x) {
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, stream_read, x, NULL);
    if (!r) return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream; charset=utf-8");
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    const enum MHD_Result result = MHD_queue_response(x->connection, MHD_HTTP_OK, r);
    MHD_destroy_response(r);
    return result;
}
/* The engine has it, or has finished with it. */
static enum MHD_Result reply_job(exchange *x) {
    server_lock();
    const bool streams = x->accepted, over = x->over;
    if (!streams && !over) {
        x->suspended = true;
        MHD_suspend_connection(x->connection);
    }
    server_unlock();
    if (streams) return reply_stream(x);
    if (!over) return MHD_YES;
    if (!x->out_size) return MHD_NO;    /* nobody waits for it */
    const int status = x->job.why.status ? x->job.why.status : MHD_HTTP_OK;
    return reply(x->connection, status, "application/json", x->out, x->out_size, MHD_RESPMEM_PERSISTENT);
}

/* ---- what is asked ---- */

static engine_model *find_model(const char *name) {
    if (!name) return &server.engine.model[0];
    for (int i = 0; i < server.engine.models; i++)
        if (!strcmp(server.engine.model[i].id, name)) return &server.engine.model[i];
    return NULL;
}
static void read_request(void *with) {
    exchange *x = with;
    serve_read(&x->job.ask, x->job.ask.chat, x->body ? x->body : "", x->size, &x->why);
}
static enum MHD_Result ask_model(exchange *x, bool chat) {
    engine_job *job = &x->job;
    job->ask.chat = chat;
    if (!serve_try(read_request, x)) serve_refuse(&x->why, 400, NULL, NULL, "%s", serve_cause);
    llm_release(x->body);
    x->body = NULL;
    if (x->why.status) return reply_refusal(x);
    job->on = find_model(job->ask.model);
    if (!job->on) {
        serve_refuse(&x->why, 404, "model", "model_not_found",
                     "there is no model \"%.100s\": /v1/models has their names", job->ask.model);
        return reply_refusal(x);
    }
    if (job->ask.max_new < 0 && server.s.max_tokens) job->ask.max_new = (int)server.s.max_tokens;
    if (!job->ask.seeded) job->ask.sampler.seed = llm_rng_u64(&server.rng);
    x->name.created = (long long)time(NULL);
    snprintf(x->name.id, sizeof x->name.id, "%s-%016llx", chat ? "chatcmpl" : "cmpl",
             (unsigned long long)llm_rng_u64(&server.rng));
    job->begins = on_begins;
    job->said = on_said;
    job->done = on_done;
    server_lock();
    x->holders++;
    x->submitted = true;
    x->from->state = CLIENT_WAITS;
    x->from->asks = x;
    server_unlock();
    if (engine_submit(&server.engine, job)) return reply_job(x);
    server_lock();
    x->holders--;
    x->submitted = false;
    x->from->state = CLIENT_TAKES;
    server_unlock();
    serve_refuse(&x->why, 503, NULL, "overloaded", "too many requests wait already: try again in a moment");
    return reply_refusal(x);
}
static void read_vote(void *with) {
    exchange *x = with;
    serve_text t;
    llm_json *vote = llm_json_parse(x->body ? x->body : "", x->size, "the request", 1);
    const char *a = llm_json_text(vote, "a", ""), *b = llm_json_text(vote, "b", "");
    if (!find_model(a) || !find_model(b) || !strcmp(a, b) || !one_of("a|b|tie", llm_json_text(vote, "winner", "")))
        serve_refuse(&x->why, 400, NULL, NULL, "a vote names two models, \"a\" and \"b\", and \"winner\": a, b or tie");
    else {
        text_open(&t);
        votes_write(&t.w, vote);
        text_close(&t);
        if (votes_append(&server.votes, t.text, t.size, &x->why)) votes_count(&server.votes, vote);
        free(t.text);
    }
    llm_json_free(vote);
}
static enum MHD_Result tell_elo(exchange *x) {
    serve_text t;
    text_open(&t);
    votes_table(&t.w, &server.votes);
    return reply_text(x->connection, MHD_HTTP_OK, &t);
}
static enum MHD_Result take_vote(exchange *x) {
    if (!serve_try(read_vote, x)) serve_refuse(&x->why, 400, NULL, NULL, "%s", serve_cause);
    return x->why.status ? reply_refusal(x) : tell_elo(x);
}
static enum MHD_Result tell_models(exchange *x) {
    serve_text t;
    text_open(&t);
    llm_write_text(&t.w, "{\"object\": \"list\", \"data\": [");
    for (int i = 0; i < server.engine.models; i++) {
        llm_write_text(&t.w, "%s{\"id\": ", i ? ", " : "");
        write_string(&t.w, server.engine.model[i].id);
        llm_write_text(&t.w, ", \"object\": \"model\", \"created\": 0, \"owned_by\": \"local\", \"max_model_len\": %d}",
                       server.engine.model[i].context);
    }
    llm_write_text(&t.w, "]}\n");
    return reply_text(x->connection, MHD_HTTP_OK, &t);
}
static enum MHD_Result tell_info(exchange *x) {
    serve_text t;
    text_open(&t);
    llm_write_text(&t.w, "{\"models\": [");
    for (int i = 0; i < server.engine.models; i++) {
        const engine_model *m = &server.engine.model[i];
        llm_write_text(&t.w, "%s{\"id\": ", i ? ", " : "");
        write_string(&t.w, m->id);
        llm_write_text(&t.w, ", \"context\": %d, \"parameters\": %zu, \"template\": %s, \"system\": null, "
                       "\"system_prompts\": %d}", m->context, llm_parameters(&m->model.c),
                       m->tok.chat == &hf_plain_text ? "false" : "true", m->told);
    }
    llm_write_text(&t.w, "], \"max_tokens\": %lld, \"waiting\": %d, \"votes\": ", (long long)server.s.max_tokens,
                   engine_waiting(&server.engine));
    write_string(&t.w, server.s.votes);
    llm_write_text(&t.w, "}\n");
    return reply_text(x->connection, MHD_HTTP_OK, &t);
}
static enum MHD_Result tell_page(exchange *x) {
    return reply(x->connection, MHD_HTTP_OK, "text/html; charset=utf-8", (char *)serve_page,
                 (size_t)(serve_page_end - serve_page), MHD_RESPMEM_PERSISTENT);
}
static enum MHD_Result ask_chat(exchange *x) { return ask_model(x, true); }
static enum MHD_Result ask_completion(exchange *x) { return ask_model(x, false); }

static const struct { const char *path; bool post; enum MHD_Result (*answer)(exchange *x); } endpoint[] = {
    {"/", false, tell_page}, {"/v1/models", false, tell_models}, {"/v1/chat/completions", true, ask_chat},
    {"/v1/completions", true, ask_completion}, {"/api/info", false, tell_info}, {"/api/elo", false, tell_elo},
    {"/api/vote", true, take_vote}};
enum { ENDPOINTS = sizeof endpoint / sizeof *endpoint };

/* ---- what libmicrohttpd calls ---- */

/* Is it localhost, or an address of this machine alone? A port may stand behind it. */
static bool is_local_name(const char *host) {
    const char *end = strrchr(host, ':');
    const size_t n = end && !strchr(end, ']') ? (size_t)(end - host) : strlen(host);
    char name[32];
    struct in_addr a;
    if (n >= sizeof name) return false;
    memcpy(name, host, n);
    name[n] = '\0';
    return !strcasecmp(name, "localhost") || !strcmp(name, "[::1]") ||
           (inet_pton(AF_INET, name, &a) == 1 && ntohl(a.s_addr) >> 24 == 127);
}
/* A page of another site may make a browser send requests here, and may have its name answered with this machine's
   address. Such a request has the other site's name in Origin, or in Host. */
static bool from_elsewhere(struct MHD_Connection *c) {
    const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    const char *origin = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Origin");
    if (origin && (strncmp(origin, "http://", 7) || !host || strcmp(origin + 7, host))) return true;
    return server.local && host && !is_local_name(host);
}
/* What is wrong with a request before its body is read. */
static void look_at_head(exchange *x, const char *url, const char *method, int *which) {
    const bool post = !strcmp(method, "POST"), get = !strcmp(method, "GET") || !strcmp(method, "HEAD");
    *which = 0;
    while (*which < ENDPOINTS && strcmp(endpoint[*which].path, url)) ++*which;
    if (from_elsewhere(x->connection))
        serve_refuse(&x->why, 403, NULL, NULL, "a request from the page of another site, or by "
                     "another name than localhost: --host 0.0.0.0 answers to any name");
    else if (*which == ENDPOINTS)
        serve_refuse(&x->why, 404, NULL, NULL, "there is no %.80s: try /v1/models or /v1/chat/completions", url);
    else if (endpoint[*which].post ? !post : !get)
        serve_refuse(&x->why, 405, NULL, NULL, "%s wants %s, not %.16s", url, endpoint[*which].post ? "POST" : "GET",
                     method);
}
static void too_large(exchange *x, double bytes) {
    serve_refuse(&x->why, 413, NULL, NULL, "a request of %.1f MB: at most %.1f MB", bytes / 1e6, SERVE_BODY / 1e6);
}
static client *client_of(struct MHD_Connection *c) {
    return MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}
static enum MHD_Result begin_exchange(struct MHD_Connection *c, const char *url, const char *method, void **state) {
    exchange *x = calloc(1, sizeof *x);
    if (!x || !client_of(c)) return free(x), MHD_NO;
    x->connection = c;
    x->from = client_of(c);
    x->holders = 1;
    *state = x;
    look_at_head(x, url, method, &x->which);
    const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const double bytes = length ? strtod(length, NULL) : 0;
    if (!x->why.status && bytes > SERVE_BODY) too_large(x, bytes);
    return x->why.status && bytes > DRAINED ? reply_refusal(x) : MHD_YES;
}
static enum MHD_Result take_body(exchange *x, const char *data, size_t *size) {
    const size_t n = *size;
    *size = 0;
    if (x->size + n > SERVE_BODY && !x->why.status) too_large(x, (double)(x->size + n));
    x->size += n;
    if (x->size > DRAINED) return MHD_NO;
    if (x->why.status) return MHD_YES;
    if (x->size > x->room) {
        const size_t room = size_min(2 * x->size, SERVE_BODY);
        char *more = realloc(x->body, room);
        if (!more) return MHD_NO;
        x->body = more;
        x->room = room;
    }
    memcpy(x->body + x->size - n, data, n);
    return MHD_YES;
}
static enum MHD_Result on_request(void *with, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **state) {
    exchange *x = *state;
    (void)with, (void)version;
    if (!x) return begin_exchange(c, url, method, state);
    if (*size) return take_body(x, data, size);
    if (x->submitted) return reply_job(x);
    server_lock();
    x->from->state = CLIENT_TAKES;
    x->from->since = llm_now();
    server_unlock();
    return x->why.status ? reply_refusal(x) : endpoint[x->which].answer(x);
}
static void on_completed(void *with, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode how) {
    exchange *x = *state;
    (void)with, (void)c, (void)how;
    if (!x) return;
    server_lock();
    atomic_store(&x->job.gone, true);
    x->suspended = false;
    x->from->asks = NULL;
    x->from->state = CLIENT_SENDS;      /* perhaps another request on the same connection */
    x->from->since = llm_now();
    server_unlock();
    exchange_let_go(x);
    *state = NULL;
}
static void on_connection(void *with, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode how) {
    (void)with;
    server_lock();
    if (how == MHD_CONNECTION_NOTIFY_STARTED) {
        int i = 0;
        while (i < CLIENTS && server.client[i].state != CLIENT_FREE) i++;
        if (i < CLIENTS) {
            const int fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
            server.client[i] = (client){CLIENT_SENDS, fd, llm_now(), NULL};
            *context = &server.client[i];
        }
    } else if (*context) ((client *)*context)->state = CLIENT_FREE;
    server_unlock();
}
static void on_log(void *with, const char *format, va_list a) {
    (void)with, (void)format, (void)a;  /* clients that break off, heads that are too long: no news */
}

/* ---- the clock ---- */

/* Whoever takes too long is cut off; whoever has gone needs no answer. */
static void watch_clients(void) {
    const double now = llm_now();
    server_lock();
    for (client *k = server.client; k < server.client + CLIENTS; k++) {
        struct pollfd p = {.fd = k->fd, .events = POLLRDHUP};
        if (k->state == CLIENT_FREE) continue;
        if (k->state != CLIENT_WAITS && now - k->since > (double)server.s.patience) shutdown(k->fd, SHUT_RDWR);
        if (k->state != CLIENT_WAITS || poll(&p, 1, 0) <= 0) continue;
        if (k->asks) atomic_store(&k->asks->job.gone, true);
    }
    server_unlock();
}
static void wait_for_end(const sigset_t *signals) {
    const struct timespec moment = {.tv_nsec = 100000000};
    while (sigtimedwait(signals, NULL, &moment) < 0) watch_clients();
}

/* ---- the program ---- */

/* A model is called by the last part of its folder, and by all of it where two would have the same name. */
static void name_models(void) {
    engine *e = &server.engine;
    for (int i = 0; i < e->models; i++) {
        char *whole = realpath(e->model[i].dir, NULL);
        const char *last = whole ? strrchr(whole, '/') : NULL;
        e->model[i].id = llm_format("%s", last && last[1] ? last + 1 : e->model[i].dir);
        free(whole);
    }
    for (int i = 0; i < e->models; i++)
        for (int k = i + 1; k < e->models; k++)
            if (!strcmp(e->model[i].id, e->model[k].id)) {
                if (!strcmp(e->model[i].dir, e->model[k].dir))
                    llm_usage("each model once", "--model %s is there twice", e->model[i].dir);
                e->model[i].id = llm_format("%s", e->model[i].dir);
                e->model[k].id = llm_format("%s", e->model[k].dir);
            }
}
static void load_models(settings *s) {
    engine *e = &server.engine;
    const llm_ops *op = run_device(&s->run);
    double bytes = 0;
    e->threads = llm_threads(0);
    e->models = s->models.count;
    e->model = llm_alloc((size_t)e->models, sizeof *e->model);
    for (int i = 0; i < e->models; i++) {
        engine_model *m = &e->model[i];
        if (!llm_exists(s->models.item[i]))
            llm_usage("./train_gpt and ./train_sft make out/sft; or --model DIR", "there is no folder %s",
                      s->models.item[i]);
        engine_open(m, s->models.item[i], op, llm_type_named(s->weights), (int)s->rows, (int)s->context);
        m->told = told_before(m->dir);
        bytes += 2.0 * m->model.c.L * (double)s->rows * (double)m->cache.T * m->model.c.KV * m->model.c.D *
                 (double)op->act_size;
    }
    name_models();
    for (int i = 0; i < e->models; i++)
        fprintf(stderr, "model: %s, %.2f MB of weights, context %d%s\n", e->model[i].id,
                llm_weight_bytes(&e->model[i].model) / 1e6, e->model[i].context,
                e->model[i].tok.chat == &hf_plain_text ? ", no chat template: /v1/completions only" : "");
    fprintf(stderr, "%d answers at once; their keys and values: %.0f MB\n", (int)s->rows, bytes / 1e6);
}
static void listen_at(const settings *s) {
    struct addrinfo hint = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *a;
    char port[16];
    const char *host = strcmp(s->host, "localhost") ? s->host : "127.0.0.1";
    snprintf(port, sizeof port, "%d", (int)s->port);
    if (getaddrinfo(host, port, &hint, &a))
        llm_usage("127.0.0.1, ::1, 0.0.0.0, or an address of this machine", "--host %s is no address", s->host);
    server.local = !strcmp(host, "::1") || !strncmp(host, "127.", 4);
    const unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                           (a->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    server.daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, NULL, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_SOCK_ADDR,
        a->ai_addr, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->patience,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL, MHD_OPTION_END);
    const int why = errno;
    freeaddrinfo(a);
    if (!server.daemon)
        llm_die("another --port", "cannot listen at %s, port %d: %s", s->host, (int)s->port, strerror(why));
    const int bound = MHD_get_daemon_info(server.daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    if (!server.local)
        fprintf(stderr, "note: there is no password: whoever reaches %s, port %d, may ask\n", s->host, bound);
    fprintf(stderr, "serving at http://%s%s%s:%d/  (Ctrl-C ends)\n", strchr(host, ':') ? "[" : "", host,
            strchr(host, ':') ? "]" : "", bound);
}
static void parse(settings *s, int argc, char **argv) {
    run_settings *r = &s->run;
    static const char *sft[] = {"out/sft"};
    llm_option table[] = {
        {"model", LLM_LIST, &s->models, 0, 0, "folders of models or adapters; none: out/sft", NULL, "m"},
        OPTION("port", LLM_INT, &s->port, 0, 65535, "where to listen; 0: any that is free"),
        OPTION("host", LLM_TEXT, &s->host, 0, 0, "whom to answer: this machine; 0.0.0.0: everybody, no password"),
        OPTION("max-tokens", LLM_INT, &s->max_tokens, 0, 1 << 20, "of an answer, unless the client says; 0: any"),
        OPTION("context", LLM_INT, &s->context, 16, 1 << 20, "most tokens of a conversation"),
        {"batch", LLM_INT, &s->rows, 1, 64, "answers at once, of each model", NULL, NULL},
        OPTION("patience", LLM_INT, &s->patience, 1, 3600, "seconds for a request to arrive, an answer to be taken"),
        OPTION("votes", LLM_TEXT, &s->votes, 0, 0, "file to which the arena's votes are added"),
        OPTION_HEADING("the machine"),
        {"device", LLM_TEXT, &r->device, 0, 0, "where to compute", "auto|cpu|plain|cuda", NULL},
        {"weights", LLM_TEXT, &s->weights, 0, 0, "how they are stored: fewer bits, less memory, more speed",
         "fp32|bf16|q8|q4", NULL},
        {"precision", LLM_TEXT, &r->precision, 0, 0, "of the matrix products", "auto|fp32|bf16x3|bf16|tf32", "dtype"},
        OPTION("threads", LLM_INT, &r->threads, 0, 4096, "0: all cores")};
    llm_options_parse(table, sizeof table / sizeof *table, "models for a browser and for OpenAI's clients", argc, argv);
    if (!s->models.count) s->models = (llm_list){sft, 1};
}
static bool somebody_is_answered(void) {
    bool found = false;
    server_lock();
    for (const client *k = server.client; k < server.client + CLIENTS; k++) found |= k->state != CLIENT_FREE && k->asks;
    server_unlock();
    return found;
}
/* No request may wait in libmicrohttpd's sleep when it ends: the engine has refused them all by then. Whoever waited is
   told so: two seconds for that. */
static void shut_down(void) {
    const struct timespec moment = {.tv_nsec = 5000000};
    const int listens = MHD_quiesce_daemon(server.daemon);
    engine_end(&server.engine);
    for (int i = 0; i < 400 && somebody_is_answered(); i++) nanosleep(&moment, NULL);
    MHD_stop_daemon(server.daemon);
    if (listens >= 0) close(listens);
    for (int i = 0; i < server.engine.models; i++) {
        llm_release((char *)server.engine.model[i].id);
        engine_close(&server.engine.model[i]);
    }
    llm_release(server.engine.model);
    votes_close(&server.votes);
}
int main(int argc, char **argv) {
    settings *s = &server.s;
    sigset_t signals;
    *s = (settings){.run = run_defaults(), .weights = "fp32", .host = "127.0.0.1", .votes = "out/votes.jsonl",
                    .port = 8080, .rows = 8, .context = 2048, .max_tokens = 512,
                    .patience = 30};
    parse(s, argc, argv);
    run_patience(argv);
    load_models(s);
    pthread_mutex_init(&server.lock, NULL);
    server.rng = llm_rng_seed((uint64_t)time(NULL), (uint64_t)getpid());
    llm_on_death = serve_on_death;
    votes_open(&server.votes, s->votes);
    sigemptyset(&signals);              /* blocked before any thread begins: this one waits for them */
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    engine_start(&server.engine);
    listen_at(s);
    wait_for_end(&signals);
    fprintf(stderr, "ending\n");
    shut_down();
    return 0;
}
