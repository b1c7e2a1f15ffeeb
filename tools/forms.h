/* forms.h: data as people have it, in thirteen forms, turned into llm.h's records. Included after llm.h by the
   programs that read a user's data. */
#ifndef FORMS_H
#define FORMS_H

/* ---- forms: many forms of data, one normal form ---- */

/* People store the same thing in a dozen ways. A record is recognised by its keys:

       instruction (input, system, history) output         alpaca       user: instruction \n input; assistant: output
       instruction (input, ...) chosen rejected            alpaca pair  user; two responses
       conversations [{from, value}] (system)              sharegpt     messages
       messages [{role, content}]                          messages     the same; content may be a list of text parts
       conversations or messages, chosen rejected          chat pair    messages; two responses
       prompt completion                                   completion   user, assistant
       prompt chosen rejected                              preference   user; two responses
       chosen rejected: whole conversations                implicit     what they share; two responses
       chosen rejected: "\n\nHuman: ... \n\nAssistant: ..."  hh           the same
       prompt responses[] rank[] (label[])                 ranked       user; K responses
       completion, output or messages with a label         kto          one response and its label
       prompt (answer)                                     prompt       what is to be answered
       text                                                text         plain text

   A prompt is a string or a list of messages, and so is an answer (a list of one). Where both are strings, they are
   to be joined as they are (raw); everything else is written in the chat template. */
typedef struct {
    llm_records *all;
    const char *where, *columns;
    bool skip_bad, raw;
    const llm_json *row;                /* the record being read */
    llm_json *tree;                     /* what owns it */
    llm_message *message; size_t room; int count;
    llm_response *response; size_t response_room; int responses;
} row_reader;

LLM_NORETURN LLM_PRINTF(2, 3) static void bad_row(const row_reader *r, const char *what, ...) {
    char text[256];
    va_list a;
    va_start(a, what);
    vsnprintf(text, sizeof text, what, a);
    va_end(a);
    llm_die("correct it, rename columns (--columns output=answer), or leave such records out (--skip-bad)", "%s:%d: %s",
            r->where, r->row->line, text);
}
static void *keep_bytes(llm_records *all, size_t bytes) {
    json_reader pool = {.where = "records", .arena = all->arena};
    return json_take(&pool, bytes);
}
/* Two texts as one string that lives as long as the records. */
static const char *keep_joined(llm_records *all, const char *a, size_t n, const char *middle, const char *b, size_t m) {
    size_t gap = strlen(middle);
    char *copy = keep_bytes(all, llm_add(llm_add(n, m), gap + 1));
    memcpy(copy, a, n);
    memcpy(copy + n, middle, gap);
    memcpy(copy + n + gap, b, m);
    copy[n + gap + m] = '\0';
    return copy;
}
static const char *keep_text(llm_records *all, const char *text, size_t n) {
    return keep_joined(all, text, n, "", "", 0);
}
/* The member that plays the part of `key`, by the user's name for it if there is one. null counts as absent. */
static const llm_json *column(const row_reader *r, const char *key) {
    char name[128];
    size_t n = strlen(key);
    snprintf(name, sizeof name, "%s", key);
    for (const char *c = r->columns; c && *c; c += strcspn(c, ","), c += *c == ',')
        if (!strncmp(c, key, n) && c[n] == '=')
            snprintf(name, sizeof name, "%.*s", (int)strcspn(c + n + 1, ","), c + n + 1);
    const llm_json *v = llm_json_get(r->row, name);
    return v && v->type != LLM_JSON_NULL ? v : NULL;
}
static void add_message(row_reader *r, const char *role, const char *text, size_t length) {
    r->message = llm_grow(r->message, &r->room, (size_t)r->count + 1, sizeof *r->message);
    r->message[r->count++] = (llm_message){role, text, length};
}
static void add_response(row_reader *r, const char *text, size_t length, double rank) {
    r->response = llm_grow(r->response, &r->response_room, (size_t)r->responses + 1, sizeof *r->response);
    r->response[r->responses++] = (llm_response){text, length, rank, -1};
}
/* Text as a string, or as OpenAI's list of parts {"type": "text", "text": ...}. */
static const char *text_value(const row_reader *r, const llm_json *v, const char *key, size_t *length) {
    if (!v) bad_row(r, "missing key \"%s\"", key);
    if (v->type == LLM_JSON_STRING) return *length = v->length, v->string;
    if (v->type != LLM_JSON_ARRAY) bad_row(r, "\"%s\" is not text", key);
    const char *text = "";
    *length = 0;
    for (const llm_json *p = v->child; p; p = p->next) {
        const llm_json *part = llm_json_get(p, "text") ? llm_json_get(p, "text") : llm_json_get(p, "value");
        if (strcmp(llm_json_text(p, "type", "text"), "text") || !part || part->type != LLM_JSON_STRING)
            bad_row(r, "a part of \"%s\" is not text", key);
        text = keep_joined(r->all, text, *length, "", part->string, part->length);
        *length += part->length;
    }
    return text;
}
static void add_value(row_reader *r, const char *role, const llm_json *v, const char *key) {
    size_t n;
    const char *text = text_value(r, v, key, &n);
    add_message(r, role, text, n);
}
static void add_text(row_reader *r, const char *role, const char *key) { add_value(r, role, column(r, key), key); }
static const char *role_name(const row_reader *r, const char *name) {
    static const char *const same[][2] = {{"user", "user"}, {"human", "user"}, {"prompter", "user"},
        {"assistant", "assistant"}, {"gpt", "assistant"}, {"model", "assistant"}, {"bot", "assistant"},
        {"function_call", "assistant"}, {"system", "system"}, {"developer", "system"},
        {"tool", "tool"}, {"function", "tool"}, {"observation", "tool"}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!strcmp(name, same[i][0])) return same[i][1];
    bad_row(r, "unknown role \"%s\"", name);
}
static const char *role_of(const row_reader *r, const llm_json *turn) {
    const char *role = llm_json_text(turn, "role", llm_json_text(turn, "from", NULL));
    if (!role) bad_row(r, "a message without \"%s\"", llm_json_get(turn, "value") ? "from" : "role");
    return role_name(r, role);
}
static void add_turn(row_reader *r, const llm_json *turn) {
    const char *role = role_of(r, turn), *key = llm_json_get(turn, "role") ? "content" : "value";
    add_value(r, role, llm_json_get(turn, key), key);
}
static void add_turns(row_reader *r, const llm_json *list, const char *key) {
    if (list->type != LLM_JSON_ARRAY || !list->child) bad_row(r, "\"%s\" is not a list of messages", key);
    for (const llm_json *turn = list->child; turn; turn = turn->next) add_turn(r, turn);
}
/* Alpaca: past turns, then the instruction; the input, if there is one, stands on a line of its own below it. */
static void add_instruction(row_reader *r) {
    const llm_json *history = column(r, "history");
    for (const llm_json *pair = history ? history->child : NULL; pair; pair = pair->next) {
        if (pair->type != LLM_JSON_ARRAY || pair->length != 2) bad_row(r, "\"history\" is not a list of pairs");
        for (const llm_json *side = pair->child; side; side = side->next)
            add_value(r, side == pair->child ? "user" : "assistant", side, "history");
    }
    add_text(r, "user", "instruction");
    llm_message *m = &r->message[r->count - 1];
    size_t n = 0;
    const char *input = column(r, "input") ? text_value(r, column(r, "input"), "input", &n) : "";
    if (n) *m = (llm_message){"user", keep_joined(r->all, m->text, m->length, "\n", input, n), m->length + 1 + n};
}
/* The question, from whichever key holds it; returns the form, or NULL when there is none. */
static const char *add_question(row_reader *r) {
    const llm_json *chat = column(r, "messages"), *shared = column(r, "conversations"), *prompt = column(r, "prompt");
    bool alpaca = column(r, "instruction");
    if (column(r, "system") && (alpaca || chat || shared)) add_text(r, "system", "system");
    if (alpaca) return add_instruction(r), "alpaca";
    if (chat) return add_turns(r, chat, "messages"), "messages";
    if (shared) return add_turns(r, shared, "conversations"), "sharegpt";
    if (!prompt) return NULL;
    if (prompt->type == LLM_JSON_STRING) add_text(r, "user", "prompt");
    else add_turns(r, prompt, "prompt");
    return "prompt";
}
/* One answer: a string, a message, or a list of one message. */
static void add_answer(row_reader *r, const char *key, double rank) {
    const llm_json *v = column(r, key);
    if (v && v->type == LLM_JSON_ARRAY && v->length == 1) v = v->child;
    if (v && v->type == LLM_JSON_OBJECT) {
        if (strcmp(role_of(r, v), "assistant")) bad_row(r, "\"%s\" is not an assistant's message", key);
        add_turn(r, v);
    } else add_value(r, "assistant", v, key);
    const llm_message *m = &r->message[--r->count];
    add_response(r, m->text, m->length, rank);
}
/* Anthropic's HH form: turns in one string, each opened by "\n\nHuman:" or "\n\nAssistant:". */
static void add_hh(row_reader *r, const char *key) {
    static const char *const mark[] = {"\n\nHuman:", "\n\nAssistant:"};
    const llm_json *v = column(r, key);
    const char *p = v->type == LLM_JSON_STRING ? v->string : "";
    if (strncmp(p, mark[0], strlen(mark[0])))
        bad_row(r, "missing key \"prompt\" (nor does \"%s\" begin with \\n\\nHuman:)", key);
    while (*p) {
        int who = strncmp(p, mark[0], strlen(mark[0])) != 0;
        p += strlen(mark[who]);
        const char *next[2] = {strstr(p, mark[0]), strstr(p, mark[1])}, *end = p + strlen(p);
        for (int i = 0; i < 2; i++)
            if (next[i] && next[i] < end) end = next[i];
        size_t n = (size_t)(end - p);
        const char *text = trim(p, &n);
        add_message(r, who ? "assistant" : "user", text, n);
        p = end;
    }
}
static bool same_message(const llm_message *a, const llm_message *b) {
    return !strcmp(a->role, b->role) && a->length == b->length && !memcmp(a->text, b->text, a->length);
}
/* Two whole conversations, message[0 .. middle-1] and the rest: they share the prompt, then comes an answer each. */
static void split_pair(row_reader *r, int middle) {
    const llm_message *a = r->message, *b = a + middle;
    int last = middle - 1, same = 0;
    while (same < last && same < r->count - middle && same_message(&a[same], &b[same])) same++;
    if (same != last || r->count != 2 * middle) bad_row(r, "chosen and rejected differ before the last answer");
    if (!last || strcmp(a[last].role, "assistant") || strcmp(b[last].role, "assistant"))
        bad_row(r, "chosen and rejected want a question and an assistant's answer");
    add_response(r, a[last].text, a[last].length, 0);
    add_response(r, b[last].text, b[last].length, 1);
    r->count = last;
}
static int read_label(const row_reader *r, const llm_json *v) {
    if ((v->type != LLM_JSON_BOOL && v->type != LLM_JSON_NUMBER) || (v->number != 0 && v->number != 1))
        bad_row(r, "\"label\" is neither true nor false");
    return v->number != 0;
}
static void add_ranked(row_reader *r, const llm_json *list) {
    const llm_json *rank = column(r, "rank"), *label = column(r, "label");
    if (!rank) bad_row(r, "missing key \"rank\"");
    size_t n = list->length;
    bool fit = n >= 2 && list->type == LLM_JSON_ARRAY && rank->type == LLM_JSON_ARRAY && rank->length == n;
    if (!fit || (label && (label->type != LLM_JSON_ARRAY || label->length != n)))
        bad_row(r, "\"responses\", \"rank\" (and \"label\") want as many entries each, two or more");
    rank = rank->child;
    label = label ? label->child : NULL;
    for (const llm_json *x = list->child; x; x = x->next, rank = rank->next, label = label ? label->next : NULL) {
        const char *text = text_value(r, x, "responses", &n);
        if (rank->type != LLM_JSON_NUMBER) bad_row(r, "\"rank\" holds something else than numbers");
        add_response(r, text, n, rank->number);
        if (label) r->response[r->responses - 1].label = read_label(r, label);
    }
}
static bool is_string(const llm_json *v) { return v && v->type == LLM_JSON_STRING; }

static const char *read_form(row_reader *r) {
    const llm_json *chosen = column(r, "chosen"), *rejected = column(r, "rejected"), *label = column(r, "label");
    if (!chosen != !rejected) bad_row(r, "missing key \"%s\"", chosen ? "rejected" : "chosen");
    if (chosen && chosen->type == LLM_JSON_ARRAY && chosen->child && strcmp(role_of(r, chosen->child), "assistant")) {
        add_turns(r, chosen, "chosen");
        int middle = r->count;
        add_turns(r, rejected, "rejected");
        return split_pair(r, middle), "implicit";
    }
    const char *form = add_question(r);
    if (!form && chosen) {
        add_hh(r, "chosen");
        int middle = r->count;
        add_hh(r, "rejected");
        return split_pair(r, middle), "hh";
    }
    if (!form && column(r, "text")) return add_text(r, "text", "text"), r->raw = true, "text";
    if (!form) {
        char keys[128] = "";
        for (const llm_json *k = r->row->child; k; k = k->next)
            snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "%s%s", *keys ? ", " : "", k->key);
        bad_row(r, "none of the keys prompt, instruction, messages, conversations, text; its keys are: %s",
                *keys ? keys : "none");
    }
    bool alpaca = !strcmp(form, "alpaca"), plain = !strcmp(form, "prompt");
    const char *answer = alpaca ? "output" : column(r, "completion") ? "completion" : NULL;
    r->raw = is_string(column(r, "prompt")) && is_string(chosen ? chosen : column(r, "completion"));
    if (chosen) {
        add_answer(r, "chosen", 0);
        add_answer(r, "rejected", 1);
        return alpaca ? "alpaca pair" : plain ? "preference" : "chat pair";
    }
    if (column(r, "responses")) return add_ranked(r, column(r, "responses")), "ranked";
    if (answer) add_answer(r, answer, 0);
    else if (label) {
        const llm_message *last = &r->message[--r->count];
        if (strcmp(last->role, "assistant")) bad_row(r, "the last message is not the assistant's answer");
        add_response(r, last->text, last->length, 0);
    }
    if (label) return r->response[0].label = read_label(r, label), "kto";
    if (!answer) return form;
    add_message(r, "assistant", r->response[0].text, r->response[0].length);
    r->responses = 0;
    return alpaca ? form : "completion";
}
static void check_row(const row_reader *r) {
    bool asked = false;
    for (int i = 0; i < r->count; i++) {
        const llm_message *m = &r->message[i];
        bool system = !strcmp(m->role, "system");
        asked = asked || !strcmp(m->role, "user") || !strcmp(m->role, "text");
        if (!m->length && !system) bad_row(r, "the %s's text is empty", m->role);
        if (system && i) bad_row(r, "a system message stands behind others");
    }
    if (!asked) bad_row(r, "no message of the user");
    for (int i = 0; i < r->responses; i++)
        if (!r->response[i].length) bad_row(r, "an answer is empty");
}
static void read_row(row_reader *r, const llm_json *row) {
    llm_records *all = r->all;
    r->row = row;
    r->count = r->responses = 0;
    r->raw = false;
    if (row->type != LLM_JSON_OBJECT) bad_row(r, "a record is not an object {...}");
    llm_record d = {.line = row->line, .form = read_form(r)};
    const llm_json *gold = column(r, "answer");
    check_row(r);
    d.raw = r->raw;
    d.messages = r->count;
    d.responses = r->responses;
    d.message = keep_bytes(all, (size_t)r->count * sizeof *d.message);
    d.response = keep_bytes(all, (size_t)r->responses * sizeof *d.response);
    for (int i = 0; i < r->count; i++) {
        d.message[i] = r->message[i];
        d.message[i].text = keep_text(all, d.message[i].text, d.message[i].length);
    }
    for (int i = 0; i < r->responses; i++) {
        d.response[i] = r->response[i];
        d.response[i].text = keep_text(all, d.response[i].text, d.response[i].length);
    }
    if (gold && gold->string) d.answer = keep_text(all, gold->string, gold->length);
    all->record = llm_grow(all->record, &all->capacity, (size_t)all->count + 1, sizeof *all->record);
    all->record[all->count++] = d;
}

/* With skip_bad an error inside one record is caught here: the one place where the program goes on after llm_die. */
#include <setjmp.h>
static jmp_buf bad_row_escape;
static void catch_bad_row(const char *message) {
    fprintf(stderr, "skipped: %.*s\n", (int)strcspn(message, "\n"), message);
    longjmp(bad_row_escape, 1);
}
/* A record: a member of a tree, or (row NULL) a line of text. */
static void parse_row(row_reader *r, const llm_json *row, const char *text, size_t size, int line) {
    if (!row) row = r->tree = llm_json_parse(text, size, r->where, line);
    read_row(r, row);
}
static void take_row(row_reader *r, const llm_json *row, const char *text, size_t size, int line) {
    void (*const on_death)(const char *message) = llm_on_death;
    if (r->skip_bad) {
        llm_on_death = catch_bad_row;
        if (setjmp(bad_row_escape)) r->all->skipped++;
        else parse_row(r, row, text, size, line);
        llm_on_death = on_death;
    } else parse_row(r, row, text, size, line);
    if (row) return;
    llm_json_free(r->tree);
    r->tree = NULL;
}
static void read_lines(row_reader *r, const char *text, size_t size) {
    const char *end = text + size;
    for (int line = 1; text < end; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text)), *stop = newline ? newline : end, *s = text;
        while (s < stop && isspace((unsigned char)*s)) s++;
        if (s < stop) take_row(r, NULL, text, (size_t)(stop - text), line);
        text = newline ? newline + 1 : end;
    }
}
/* An array of records, one object holding such an array, or a single record. */
static void read_tree(row_reader *r, const llm_json *root) {
    static const char own[] = "|messages|conversations|prompt|completion|chosen|rejected|";  /* lists inside a record */
    const llm_json *list = root->type == LLM_JSON_ARRAY ? root : NULL;
    for (const llm_json *c = root->type == LLM_JSON_OBJECT ? root->child : NULL; c && !list; c = c->next) {
        char name[64];
        snprintf(name, sizeof name, "|%s|", c->key);
        if (c->type == LLM_JSON_ARRAY && c->child && c->child->type == LLM_JSON_OBJECT && !strstr(own, name)) list = c;
    }
    if (!list) take_row(r, root, NULL, 0, 0);
    for (const llm_json *row = list ? list->child : NULL; row; row = row->next) take_row(r, row, NULL, 0, 0);
}
static void read_record_file(row_reader *r, const char *path) {
    size_t size;
    refuse_format(path);
    if (!is_json(path))
        llm_die("records are .json or .jsonl; plain text is for train_gpt", "%s is no file of records", path);
    char *text = llm_read_file(path, &size);
    r->where = path;
    /* Lines are often called .json; in one JSON value no object begins a line behind the end of another. */
    if (ends_with(path, ".jsonl") || strstr(text, "}\n{") || strstr(text, "}\r\n{")) read_lines(r, text, size);
    else {
        llm_json *root = llm_json_parse(text, size, path, 1);
        read_tree(r, root);
        llm_json_free(root);
    }
    llm_release(text);
}
static inline void forms_read(llm_records *all, const char *const *paths, int count, const char *columns,
                              bool skip_bad) {
    row_reader r = {.all = all, .columns = columns, .skip_bad = skip_bad};
    *all = (llm_records){.arena = llm_alloc(1, sizeof *all->arena)};
    for (int i = 0; i < count; i++) {
        path_list files = {0};
        find_files(&files, paths[i], 0);
        bool dir = llm_is_dir(paths[i]);
        int before = all->count;
        for (size_t j = 0; j < files.count; j++)
            if (!dir || is_json(files.path[j])) read_record_file(&r, files.path[j]);
        if (all->count == before)
            llm_die(dir ? "put .jsonl files into it" : "one JSON object a line", "%s holds no records", paths[i]);
        path_free(&files);
    }
    llm_release(r.message);
    llm_release(r.response);
}

#endif
