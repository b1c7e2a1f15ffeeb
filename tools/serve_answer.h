/* serve_answer.h: what build/serve's clients are told, as JSON in OpenAI's forms: whole answers, pieces of a stream,
   log-probabilities, errors. Included after serve_engine.h. */
#ifndef SERVE_ANSWER_H
#define SERVE_ANSWER_H

/* Text that grows in memory. */
typedef struct { llm_writer w; char *text; size_t size; } serve_text;
static inline void text_open(serve_text *x) {
    *x = (serve_text){.text = NULL};
    x->w.file = open_memstream(&x->text, &x->size);
    if (!x->w.file) llm_die("a machine with more memory", "no memory for an answer");
}
/* x->text is whole: free it. */
static inline void text_close(serve_text *x) { fclose(x->w.file); }

static inline void write_string(llm_writer *w, const char *text) { llm_write_json_string(w, text, strlen(text)); }

/* The name of an answer. */
typedef struct { char id[40]; long long created; } serve_name;

/* ---- log-probabilities ---- */

/* JSON has no infinity: what is impossible has OpenAI's -9999. */
static inline void write_logp(llm_writer *w, llm_real logp) {
    llm_write_text(w, "%.7g", isfinite(logp) ? (double)logp : -9999.0);
}
/* The bytes of an id; a special one: its spelling. Nothing where an id has no token. */
static inline const char *token_text(const engine_job *job, int id, bool first, size_t *n) {
    const llm_tokenizer *t = &job->on->tok;
    *n = 0;
    if (id >= t->vocab_size) return "";
    if (!t->special[id]) return engine_piece(t, id, first, n);
    *n = (size_t)t->length[id];
    return t->token[id];
}
/* A token as a key of top_logprobs: keys must differ, so part of a character is spelled "bytes:\xe2\x82". */
static inline void write_token_key(llm_writer *w, const engine_job *job, int id, bool first) {
    size_t n;
    const char *bytes = token_text(job, id, first, &n);
    if (serve_utf8(bytes, n)) {
        llm_write_json_string(w, bytes, n);
        return;
    }
    llm_write_text(w, "\"bytes:");
    for (size_t i = 0; i < n; i++) llm_write_text(w, "\\\\x%02x", (unsigned char)bytes[i]);
    llm_write_text(w, "\"");
}
static inline void write_chat_token(llm_writer *w, const engine_job *job, int id, llm_real logp, bool first) {
    size_t n;
    const char *bytes = token_text(job, id, first, &n);
    llm_write_text(w, "{\"token\": ");
    llm_write_json_string(w, bytes, n);
    llm_write_text(w, ", \"logprob\": ");
    write_logp(w, logp);
    llm_write_text(w, ", \"bytes\": [");
    for (size_t i = 0; i < n; i++) llm_write_text(w, "%s%d", i ? ", " : "", (unsigned char)bytes[i]);
    llm_write_text(w, "]");
}
static inline void write_chat_logprobs(llm_writer *w, const engine_job *job, const engine_answer *a, int from, int to) {
    const int top = job->ask.top;
    llm_write_text(w, "{\"content\": [");
    for (int i = from; i < to; i++) {
        const engine_likely *likely = a->likely + (size_t)i * (size_t)top;
        llm_write_text(w, "%s", i > from ? ", " : "");
        write_chat_token(w, job, a->id[i], a->logp[i], i == a->prompt);
        llm_write_text(w, ", \"top_logprobs\": [");
        for (int k = 0; k < top; k++) {
            llm_write_text(w, "%s", k ? ", " : "");
            write_chat_token(w, job, likely[k].id, likely[k].logp, i == a->prompt);
            llm_write_text(w, "}");
        }
        llm_write_text(w, "]}");
    }
    llm_write_text(w, "], \"refusal\": null}");
}
/* The likeliest, and the token itself where it is not among them. */
static inline void write_top(llm_writer *w, const engine_job *job, const engine_answer *a, int place, bool first) {
    const int top = job->ask.top;
    const engine_likely *likely = a->likely + (size_t)place * (size_t)top;
    bool there = false;
    llm_write_text(w, "{");
    for (int k = 0; k <= top; k++) {
        if (k == top && there) break;
        const int id = k < top ? likely[k].id : a->id[place];
        there |= id == a->id[place];
        llm_write_text(w, "%s", k ? ", " : "");
        write_token_key(w, job, id, first);
        llm_write_text(w, ": ");
        write_logp(w, k < top ? likely[k].logp : a->logp[place]);
    }
    llm_write_text(w, "}");
}
static inline size_t text_characters(const char *text, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}
/* Where the text of place i begins, in characters of the text that is told. */
static inline size_t text_offset(const engine_answer *a, int i, size_t prompt) {
    if (i <= a->prompt) return prompt;
    return prompt + text_characters(a->text, size_min(a->end[i - a->prompt - 1], a->length));
}
static inline void write_logprobs(llm_writer *w, const engine_job *job, const engine_answer *a, int from, int to) {
    static const char *const name[] = {"\"tokens\": [", "], \"token_logprobs\": [", "], \"top_logprobs\": [",
                                       "], \"text_offset\": ["};
    llm_write_text(w, "{");
    for (int part = 0; part < 4; part++) {
        size_t prompt = 0, n;           /* characters of the echoed prompt so far */
        bool first = true;
        llm_write_text(w, "%s", name[part]);
        for (int i = job->ask.echo ? 0 : from; i < to; i++) {
            const bool begins = i < a->prompt && first;
            const char *piece = engine_piece(&job->on->tok, a->id[i], begins, &n);
            if (i >= from) {
                llm_write_text(w, "%s", i > from ? ", " : "");
                if (part == 0) write_token_key(w, job, a->id[i], begins);
                else if (part == 3) llm_write_text(w, "%zu", text_offset(a, i, prompt));
                else if (!i) llm_write_text(w, "null");
                else if (part == 1) write_logp(w, a->logp[i]);
                else write_top(w, job, a, i, begins);
            }
            if (i < a->prompt) prompt += text_characters(piece, n);
            first = first && !n;
        }
    }
    llm_write_text(w, "]}");
}

/* ---- a choice: whole, or what is new of it ---- */

/* The prompt's text, where it is told again. */
static inline void echo_text(const engine_job *job, const engine_answer *a, llm_writer *w) {
    const serve_prompt *p = &job->ask.prompt[(a - job->answer) / job->ask.n];
    bool first = true;
    if (p->text) llm_write_bytes(w, p->text, p->length);
    for (int i = 0; i < a->prompt && !p->text; i++) {
        size_t n;
        const char *piece = engine_piece(&job->on->tok, a->id[i], first, &n);
        llm_write_bytes(w, piece, n);
        first = first && !n;
    }
}
/* The first place that is not told yet, and the one behind the last that may be: its text is safe. */
static inline int answer_told(const engine_job *job, const engine_answer *a) {
    int to = llm_max(a->told, a->prompt);
    const int last = a->count - (a->closed && job->ask.chat);   /* a conversation's end is no word of it */
    while (to < last && a->end[to - a->prompt] <= a->safe) to++;
    return to;
}
/* The text and the log-probabilities that are not told yet; they are then. */
static inline void write_news(llm_writer *w, const engine_job *job, engine_answer *a, const char *key) {
    const int to = answer_told(job, a);
    const bool begins = job->ask.echo && !a->told;
    serve_text x;
    text_open(&x);
    if (begins) echo_text(job, a, &x.w);
    if (a->safe > a->told_bytes) llm_write_bytes(&x.w, a->text + a->told_bytes, a->safe - a->told_bytes);
    text_close(&x);
    llm_write_text(w, "\"%s\": ", key);
    llm_write_json_string(w, x.text, x.size);
    free(x.text);
    llm_write_text(w, job->ask.chat ? "}, \"logprobs\": " : ", \"logprobs\": ");
    const int from = begins ? 0 : llm_max(a->told, a->prompt);
    if (!job->ask.logprobs) llm_write_text(w, "null");
    else if (job->ask.chat) write_chat_logprobs(w, job, a, from, to);
    else write_logprobs(w, job, a, from, to);
    a->told = to;
    a->told_bytes = a->safe;
}
static inline void write_finish(llm_writer *w, const char *finish) {
    llm_write_text(w, finish ? ", \"finish_reason\": \"%s\"}" : ", \"finish_reason\": null}", finish);
}
static inline void write_head(llm_writer *w, const engine_job *job, const serve_name *name, const char *object) {
    llm_write_text(w, "{\"id\": \"%s\", \"object\": \"%s\", \"created\": %lld, \"model\": ", name->id, object,
                   name->created);
    write_string(w, job->on->id);
    llm_write_text(w, ", \"choices\": [");
}
/* A prompt is read once, however many answers it has. */
static inline void write_usage(llm_writer *w, const engine_job *job) {
    long long prompt = 0, said = 0;
    for (int i = 0; i < job->answers; i++) {
        const engine_answer *a = &job->answer[i];
        if (i % job->ask.n == 0) prompt += a->prompt;
        said += a->count - a->prompt - a->closed;
    }
    llm_write_text(w, "\"usage\": {\"prompt_tokens\": %lld, \"completion_tokens\": %lld, \"total_tokens\": %lld}",
                   prompt, said, prompt + said);
}
static inline void write_whole(llm_writer *w, engine_job *job, const serve_name *name) {
    const bool chat = job->ask.chat;
    write_head(w, job, name, chat ? "chat.completion" : "text_completion");
    for (int i = 0; i < job->answers; i++) {
        llm_write_text(w, "%s{\"index\": %d, ", i ? ", " : "", i);
        if (chat) llm_write_text(w, "\"message\": {\"role\": \"assistant\", \"refusal\": null, ");
        write_news(w, job, &job->answer[i], chat ? "content" : "text");
        write_finish(w, job->answer[i].finish);
    }
    llm_write_text(w, "], ");
    write_usage(w, job);
    llm_write_text(w, "}\n");
}

/* ---- a stream: lines "data: {...}" with an empty one behind ---- */

static inline const char *stream_object(const engine_job *job) {
    return job->ask.chat ? "chat.completion.chunk" : "text_completion";
}
static inline void write_chunk_end(llm_writer *w, const engine_job *job) {
    llm_write_text(w, job->ask.usage ? "], \"usage\": null}\n\n" : "]}\n\n");
}
static inline void write_roles(llm_writer *w, const engine_job *job, const serve_name *name) {
    for (int i = 0; i < job->answers && job->ask.chat; i++) {
        llm_write_text(w, "data: ");
        write_head(w, job, name, stream_object(job));
        llm_write_text(w, "{\"index\": %d, \"delta\": {\"role\": \"assistant\", \"content\": \"\"}, "
                          "\"logprobs\": null", i);
        write_finish(w, NULL);
        write_chunk_end(w, job);
    }
}
/* What there is to tell of an answer; nothing, where its text still waits for more. */
static inline void write_chunk(llm_writer *w, const engine_job *job, engine_answer *a, const serve_name *name) {
    const bool chat = job->ask.chat, echo = job->ask.echo && !a->told;
    const bool news = a->safe > a->told_bytes || answer_told(job, a) > llm_max(a->told, a->prompt) || echo;
    for (int last = 0; last < 2; last++) {
        if (last ? !a->finish : !news) continue;
        llm_write_text(w, "data: ");
        write_head(w, job, name, stream_object(job));
        llm_write_text(w, "{\"index\": %d, ", (int)(a - job->answer));
        if (last) llm_write_text(w, chat ? "\"delta\": {}, \"logprobs\": null" : "\"text\": \"\", \"logprobs\": null");
        else {
            if (chat) llm_write_text(w, "\"delta\": {");
            write_news(w, job, a, chat ? "content" : "text");
        }
        write_finish(w, last ? a->finish : NULL);
        write_chunk_end(w, job);
    }
}
static inline void write_stream_end(llm_writer *w, const engine_job *job, const serve_name *name) {
    if (job->ask.usage) {
        llm_write_text(w, "data: ");
        write_head(w, job, name, stream_object(job));
        llm_write_text(w, "], ");
        write_usage(w, job);
        llm_write_text(w, "}\n\n");
    }
    llm_write_text(w, "data: [DONE]\n\n");
}

/* ---- errors ---- */

static inline void write_refusal(llm_writer *w, const serve_refusal *why) {
    llm_write_text(w, "{\"error\": {\"message\": ");
    write_string(w, why->message);
    llm_write_text(w, ", \"type\": \"%s\", \"param\": ", why->status < 500 ? "invalid_request_error" : "server_error");
    if (*why->param) write_string(w, why->param);
    else llm_write_text(w, "null");
    llm_write_text(w, ", \"code\": ");
    if (why->code) write_string(w, why->code);
    else llm_write_text(w, "null");
    llm_write_text(w, "}}\n");
}
#endif
