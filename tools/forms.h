/* forms.h: data as people have it, in thirteen forms, turned into llm.h's records (messages, responses), and which of
   them are held out. Included after llm.h, of which it uses the interface alone, by the programs that read a user's
   data.

   People store the same thing in a dozen ways. A record is recognised by its keys:

       instruction (input, system, history) output         alpaca       user: instruction \n input; assistant: output
       instruction (input, ...) chosen rejected            alpaca pair  user; two responses
       conversations [{from, value}] (system)              sharegpt     messages
       messages [{role, content}]                          messages     the same; content may be a list of text parts
       conversations or messages, chosen rejected          chat pair    messages; two responses
       prompt completion                                   completion   user, assistant
       prompt chosen rejected                              preference   user; two responses
       chosen rejected: whole conversations                implicit     what they share; two responses
       chosen rejected: "\n\nHuman: ... \n\nAssistant: ..."  hh           the same
       (a pair may have a margin, trl's: a number, by how much a reward model is to prefer the chosen one)
       prompt or messages, responses[] rank[] or label[]   ranked       user or messages; K responses
       completion, output or messages with a label         kto          one response and its label
       prompt (answer)                                     prompt       what is to be answered
       text                                                text         plain text

   A prompt is a string or a list of messages, and so is an answer (a list of one). Where both are strings, they are to
   be joined as they are (raw); everything else is written in the chat template. It is told what else a message says
   (tool_calls, reasoning_content ...) and the columns tools, documents and chat_template_kwargs; lists and objects may
   stand as text, "[{...}]", and so may the arguments of a call. A message of "weight" 0 is not learned. The normal form
   of llm.h's chapter 3 is messages, ranked and text. */
#ifndef FORMS_H
#define FORMS_H

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include "path.h"
#include "gz.h"
#include "mapped.h"

/* ---- files ---- */

static int forms_visible(const struct dirent *e) { return e->d_name[0] != '.'; }
static int forms_order(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void forms_find_below(llm_paths *list, const char *path, int depth) {
    if (!llm_exists(path)) llm_die("check the path", "there is no file or folder %s", path);
    if (!llm_is_dir(path)) {
        llm_paths_add(list, path);
        return;
    }
    if (depth > 32) llm_die("remove the link that points back", "%s: folders nested deeper than 32 levels", path);
    struct dirent **entry;
    int n = scandir(path, &entry, forms_visible, forms_order);
    if (n < 0) llm_die("check its permissions", "cannot read folder %s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *child = llm_format("%s/%s", path, entry[i]->d_name);
        forms_find_below(list, child, depth + 1);
        llm_release(child);
        free(entry[i]);
    }
    free(entry);
}
/* Adds the files at or below a path, sorted by name in every folder, so that every machine reads them in the same
   order. */
static inline void forms_find(llm_paths *list, const char *path) { forms_find_below(list, path, 0); }

/* Ends the program where a path has a format that people have and that we do not read. */
static void forms_refuse(const char *path) {
    static const char *const other[] = {".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz", ".parquet", ".arrow", ".csv"};
    if (path_ends_with(path, ".gz") && !GZ_IS_READ)
        llm_die("gunzip it first, or build again with zlib's header in place", "%s: packed files are not read", path);
    for (int i = 0; i < 9; i++) {
        if (!path_is(path, other[i])) continue;
        if (i < 6) llm_die("unpack it first (unzip, unzstd, tar xf ...)", "%s: packed files are not read", path);
        llm_die(llm_format("python3 -c \"import datasets as d; d.load_dataset('%s', data_files='%s')['train']"
                           ".to_json('%s.jsonl')\"", other[i] + 1, path, path), "%s: this is not read", path);
    }
}

/* The objects of .json and .jsonl files and of folders of them, one after the other. A file holds them one a line, or
   one after another over any number of lines; in an array; or in an object that holds such an array:
       forms_rows x = forms_rows_open(paths, count);
       while (forms_rows_next(&x)) use(forms_rows_json(&x));
       forms_rows_close(&x);
   A missing file, and one without a row, ends the program; forms_rows_json, where the row itself is no JSON. What it
   returns is valid until the next row. */
typedef struct {
    llm_paths file; size_t opened;      /* all files, and how many were opened */
    bool any_name;                      /* a file may be called otherwise than .json or .jsonl */
    const char *where; int line;        /* the row's place, for messages: file and line */
    bool any;                           /* has the file given a row? */
    char *text;                         /* a file of rows: the row is [begin, end), what follows ends at stop */
    const char *begin, *end, *stop;
    llm_json *tree;                     /* a file that is one value, or the present row, parsed */
    const llm_json *row, *coming;       /* the row as JSON (NULL: not yet parsed), and the next one of the tree */
} forms_rows;

/* In a folder only the .json and .jsonl files count. */
static forms_rows forms_rows_open(const char *const *paths, int count) {
    forms_rows x = {.line = 0};
    for (int i = 0; i < count; i++) {
        llm_paths all = {0};
        size_t before = x.file.count;
        forms_find(&all, paths[i]);
        for (size_t k = 0; k < all.count; k++)
            if (path_is_json(all.path[k]) || !llm_is_dir(paths[i])) llm_paths_add(&x.file, all.path[k]);
        if (x.file.count == before) llm_die("put .jsonl files into it", "%s holds no records", paths[i]);
        llm_paths_free(&all);
    }
    return x;
}
/* The quote that closes the string opened at p, on the same line; NULL: none does. */
static const char *forms_string_end(const char *p) {
    for (p++; *(p += strcspn(p, "\"\\\n")) != '"'; p += 2)
        if (*p != '\\' || !p[1] || p[1] == '\n') return NULL;
    return p;
}
/* Behind the object or array that begins at p, over however many lines it goes. NULL: it has no end, or is seen to be
   broken on the way, where a '{' stands that can open no member: another record begins before this one was complete. */
static const char *forms_value_end(const char *p, const char *stop) {
    enum { DEEPEST = 200 };             /* as llm_json_parse has it */
    char open[DEEPEST], before = ':';   /* what p is inside of; what stands in front of it */
    for (int depth = 0; p && p < stop; p++) {
        if (isspace((unsigned char)*p)) continue;
        if (*p == '{' || *p == '[') {
            bool member = before == ':' || (depth && open[depth - 1] == '[' && (before == '[' || before == ','));
            if (!member || depth == DEEPEST) return NULL;
            open[depth++] = *p;
        } else if (*p == '}' || *p == ']') {
            if (open[--depth] != (*p == '}' ? '{' : '[')) return NULL;
            if (!depth) return p + 1;
        } else if (*p == '"') {
            p = forms_string_end(p);
            if (!p) return NULL;
        }
        before = *p;
    }
    return NULL;
}
static const char *forms_skip_mark(const char *text) {
    return strncmp(text, "\xEF\xBB\xBF", 3) ? text : text + 3;           /* a byte order mark */
}
/* Rows one after another, or one value, whatever the file is called? (One that is broken is taken for rows where a line
   ends between "}" and "{", as it does inside no value.) */
static bool forms_is_rows(const char *path, const char *text, const char *stop) {
    text = forms_skip_mark(text);
    while (isspace((unsigned char)*text)) text++;
    if (*text == '[') return false;
    if (path_is(path, ".jsonl") || path_is(path, ".ndjson")) return true;
    const char *end = *text == '{' ? forms_value_end(text, stop) : NULL;
    if (end) return end + strspn(end, " \t\r\n") < stop;
    for (const char *p = text; (p = strchr(p, '}'));) {
        size_t space = strspn(++p, " \t\r\n");
        if (p[space] == '{' && memchr(p, '\n', space)) return true;
    }
    return false;
}
/* The rows of a value: the members of an array; of an object that holds an array of objects, that array's, unless it
   has a key that says that it is a record itself; else the object. Two such arrays ({"train": [...], "test": [...]})
   are refused: which one is meant? */
static const llm_json *forms_first_row(const llm_json *root, const char *path) {
    static const char *const own[] = {"messages", "conversations", "prompt", "completion", "chosen", "rejected",
                                      "instruction", "question"};
    if (root->type == LLM_JSON_ARRAY) return root->child;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (llm_json_get(root, own[i])) return root;
    const llm_json *rows = NULL;
    for (const llm_json *c = root->type == LLM_JSON_OBJECT ? root->child : NULL; c; c = c->next) {
        if (c->type != LLM_JSON_ARRAY || !c->child || c->child->type != LLM_JSON_OBJECT) continue;
        if (rows) llm_die("a file for each", "%s:%d: two lists of records, \"%s\" and \"%s\"", path, c->line, rows->key,
                          c->key);
        rows = c;
    }
    return rows ? rows->child : root;
}
static void forms_open_file(forms_rows *x, const char *path) {
    size_t size;
    forms_refuse(path);
    if (!path_is_json(path) && !x->any_name)
        llm_die("records are .json or .jsonl; plain text is for train_gpt", "%s is no file of records", path);
    x->where = path;
    x->line = 1;
    x->any = false;
    x->text = gz_read_file(path, &size);
    x->stop = x->text + size;
    x->begin = x->end = forms_skip_mark(x->text);
    if (forms_is_rows(path, x->text, x->stop)) return;
    x->tree = llm_json_parse(x->text, size, path, 1);
    x->coming = forms_first_row(x->tree, path);
    x->begin = x->end = x->stop;
}
/* On to the next row: an object as far as it goes, over several lines or up to the next one on its line; what is none,
   and a broken one: one line. */
static bool forms_next_value(forms_rows *x) {
    const char *p = x->begin;
    for (; p < x->stop && (p < x->end || isspace((unsigned char)*p)); p++) x->line += *p == '\n';
    x->begin = p;
    if (p == x->stop) return false;
    const char *end = *p == '{' || *p == '[' ? forms_value_end(p, x->stop) : NULL;
    x->end = end ? end + strspn(end, " \t\r") : p;
    bool apart = end && (x->end >= x->stop || strchr("\n{[", *x->end));
    const char *newline = apart ? NULL : memchr(x->end, '\n', x->stop - x->end);
    if (!apart) x->end = newline ? newline : x->stop;
    return true;
}
static void forms_close_file(forms_rows *x) {
    llm_json_free(x->tree);
    llm_release(x->text);
    x->tree = NULL;
    x->text = NULL;
    x->begin = x->end = x->stop = NULL;
}
static bool forms_rows_next(forms_rows *x) {
    for (;;) {
        x->row = x->coming;
        if (x->row) {
            x->line = x->row->line;
            x->coming = x->row->next;
            return x->any = true;
        }
        llm_json_free(x->tree);
        x->tree = NULL;
        if (forms_next_value(x)) return x->any = true;
        if (x->where && !x->any) llm_die("one JSON object a line", "%s holds no records", x->where);
        forms_close_file(x);
        if (x->opened == x->file.count) return false;
        forms_open_file(x, x->file.path[x->opened++]);
    }
}
static const llm_json *forms_rows_json(forms_rows *x) {
    if (!x->row) {
        size_t n = x->end - x->begin;
        const char *value = path_trim(x->begin, &n);     /* an error at its end is an error in its last line */
        x->row = x->tree = llm_json_parse(value, n, x->where, x->line);
    }
    return x->row;
}
static void forms_rows_close(forms_rows *x) {
    forms_close_file(x);
    llm_paths_free(&x->file);
}

/* ---- a record ---- */

/* One record being read. */
typedef struct {
    forms_rows file;                      /* where it comes from */
    const llm_json *row;                /* it, as JSON */
    const char *columns;                /* the user's names for keys */
    bool raw;
    llm_message *message; size_t message_room; int messages;
    llm_response *response; size_t response_room; int responses;
    char **joined; size_t joined_room, joins;   /* texts that stand in pieces in the file */
    llm_json **tree; size_t tree_room, trees;   /* JSON that stands as text in the file */
} forms_reader;

LLM_NORETURN LLM_PRINTF(2, 3) static void forms_bad(const forms_reader *r, const char *what, ...) {
    char text[256];
    va_list a;
    va_start(a, what);
    vsnprintf(text, sizeof text, what, a);
    va_end(a);
    llm_die("correct it, rename columns (--columns output=answer), or leave such records out (--skip-bad)", "%s:%d: %s",
            r->file.where, r->file.line, text);
}
/* Room for a text of n bytes that lives as long as the record is being read. */
static char *forms_room(forms_reader *r, size_t n) {
    r->joined = llm_grow(r->joined, &r->joined_room, r->joins + 1, sizeof *r->joined);
    return r->joined[r->joins++] = llm_alloc(llm_add(n, 1), 1);
}

static void forms_forget(forms_reader *r) {
    while (r->joins) llm_release(r->joined[--r->joins]);
    while (r->trees) llm_json_free(r->tree[--r->trees]);
    r->messages = r->responses = 0;
    r->raw = false;
}

/* ---- keys and values ---- */

/* The member that plays the part of `key`, by the user's name for it if there is one. null counts as absent. */
static const llm_json *forms_column(const forms_reader *r, const char *key) {
    char name[128];
    size_t n = strlen(key);
    snprintf(name, sizeof name, "%s", key);
    for (const char *c = r->columns; c && *c; c += strcspn(c, ","), c += *c == ',')
        if (!strncmp(c, key, n) && c[n] == '=')
            snprintf(name, sizeof name, "%.*s", (int)strcspn(c + n + 1, ","), c + n + 1);
    const llm_json *v = llm_json_get(r->row, name);
    return v && v->type != LLM_JSON_NULL ? v : NULL;
}
/* A renaming of a key that no form has would be without effect. */
static void forms_check_columns(const char *columns) {
    static const char known[] = "|instruction|input|system|history|output|conversations|messages|prompt|completion|"
                                "chosen|rejected|margin|responses|rank|label|answer|text|";
    for (const char *c = columns; c && *c; c += strcspn(c, ","), c += *c == ',') {
        size_t n = strcspn(c, "=,");
        char *key = llm_format("|%.*s|", (int)n, c);
        bool right = n && strstr(known, key) && c[n] == '=' && c[n + 1] && c[n + 1] != ',';
        llm_release(key);
        if (!right) llm_usage("--columns prompt=question,output=answer: our key = the file's",
                              "--columns: '%.*s' renames none of our keys", (int)strcspn(c, ","), c);
    }
}
static bool forms_is_string(const llm_json *v) { return v && v->type == LLM_JSON_STRING; }
static bool forms_says_nothing(const llm_json *v) {     /* null, "", [] and {} */
    return !v || v->type == LLM_JSON_NULL || (v->type != LLM_JSON_BOOL && v->type != LLM_JSON_NUMBER && !v->length);
}
/* A list or an object may stand as text in the file: "[{\"name\": ...}]", for tables whose columns are not nested. */
static const llm_json *forms_parsed(forms_reader *r, const llm_json *v) {
    if (!forms_is_string(v) || !v->length) return v;
    char *where = forms_room(r, strlen(r->file.where) + strlen(v->key) + 48);
    sprintf(where, "%s:%d: the JSON in the text \"%s\"", r->file.where, r->file.line, v->key);
    r->tree = llm_grow(r->tree, &r->tree_room, r->trees + 1, sizeof *r->tree);
    llm_json *tree = llm_json_parse(v->string, v->length, where, 1);
    tree->key = v->key;
    return r->tree[r->trees++] = tree;
}

/* The text of one of OpenAI's parts {"type": "text", "text": ...}. */
static const llm_json *forms_part(const forms_reader *r, const llm_json *part, const char *key) {
    const llm_json *text = llm_json_get(part, "text") ? llm_json_get(part, "text") : llm_json_get(part, "value");
    if (strcmp(llm_json_text(part, "type", "text"), "text") || !forms_is_string(text))
        forms_bad(r, "a part of \"%s\" is not text", key);
    return text;
}
/* Text as a string, or as a list of parts. */
static llm_message forms_text(forms_reader *r, const char *role, const llm_json *v, const char *key) {
    size_t n = 0;
    if (!v) forms_bad(r, "missing key \"%s\"", key);
    if (v->type == LLM_JSON_STRING) return (llm_message){role, v->string, v->length, NULL};
    if (v->type != LLM_JSON_ARRAY) forms_bad(r, "\"%s\" is not text", key);
    for (const llm_json *p = v->child; p; p = p->next) n = llm_add(n, forms_part(r, p, key)->length);
    char *text = forms_room(r, n), *to = text;
    for (const llm_json *p = v->child; p; p = p->next) {
        const llm_json *part = forms_part(r, p, key);
        memcpy(to, part->string, part->length);
        to += part->length;
    }
    return (llm_message){role, text, n, NULL};
}
static void forms_add(forms_reader *r, llm_message m) {
    r->message = llm_grow(r->message, &r->message_room, (size_t)r->messages + 1, sizeof *r->message);
    r->message[r->messages++] = m;
}
static void forms_add_key(forms_reader *r, const char *role, const char *key) {
    forms_add(r, forms_text(r, role, forms_column(r, key), key));
}
/* m becomes an answer. */
static llm_response *forms_respond(forms_reader *r, llm_message m, double rank) {
    r->response = llm_grow(r->response, &r->response_room, (size_t)r->responses + 1, sizeof *r->response);
    static const char *const more[] = {"tool_calls", "function_call", "reasoning_content", "thinking", "reasoning",
                                       "weight"};
    for (size_t i = 0; i < sizeof more / sizeof *more && m.json; i++)
        if (!forms_says_nothing(llm_json_get(m.json, more[i])))
            forms_bad(r, "an answer to compare has \"%s\": only its words are compared", more[i]);
    r->response[r->responses] = (llm_response){.text = m.text, .length = m.length, .rank = rank, .label = -1};
    return &r->response[r->responses++];
}
static bool forms_is_0_or_1(const llm_json *v) {
    return (v->type == LLM_JSON_BOOL || v->type == LLM_JSON_NUMBER) && (v->number == 0 || v->number == 1);
}
static int forms_label(const forms_reader *r, const llm_json *v) {
    if (!forms_is_0_or_1(v))
        forms_bad(r, "\"label\" is neither true nor false");
    return v->number != 0;
}

/* ---- turns ---- */

static llm_json *forms_node(forms_reader *r, llm_json node) {
    char *room = forms_room(r, sizeof node);
    return memcpy(room, &node, sizeof node);
}
static bool forms_calls(const llm_json *turn) {
    const llm_json *calls = turn ? llm_json_get(turn, "tool_calls") : NULL;
    return calls && calls->type == LLM_JSON_ARRAY && calls->child;
}
/* Calls as chat templates want them. OpenAI writes the arguments of each as text, "{\"city\": \"Oslo\"}": a template
   would quote that once more; programs that answer requests parse it, too. depth: of v in tool_calls. */
static llm_json *forms_called(forms_reader *r, const llm_json *v, int depth) {
    llm_json *copy = forms_node(r, *v), **end = &copy->child;
    for (const llm_json *c = v->child; c; c = c->next) {
        const bool arguments = depth && c->key && !strcmp(c->key, "arguments");
        const bool inside = !depth || (depth == 1 && c->key && !strcmp(c->key, "function"));
        const llm_json *said = arguments ? forms_parsed(r, c) : c;
        if (arguments && said != c && said->type != LLM_JSON_OBJECT)
            forms_bad(r, "the \"arguments\" of a call are not an object");
        *end = inside ? forms_called(r, said, depth + 1) : forms_node(r, *said);
        (*end)->next = NULL;
        end = &(*end)->next;
    }
    return copy;
}
static const char *forms_role(const forms_reader *r, const llm_json *turn) {
    static const char *const same[][2] = {{"user", "user"}, {"human", "user"}, {"prompter", "user"},
        {"assistant", "assistant"}, {"gpt", "assistant"}, {"model", "assistant"}, {"bot", "assistant"},
        {"function_call", "assistant"}, {"system", "system"}, {"developer", "system"},
        {"tool", "tool"}, {"function", "tool"}, {"observation", "tool"}};
    const char *name = llm_json_text(turn, "role", llm_json_text(turn, "from", NULL));
    if (!name) forms_bad(r, "a message without \"%s\"", llm_json_get(turn, "value") ? "from" : "role");
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!strcmp(name, same[i][0])) return same[i][1];
    forms_bad(r, "unknown role \"%s\"", name);
}
/* What else than its words is said of a message goes to the chat template with it (tool_calls, reasoning_content, name
   ...), under the names role and content; "weight": 0 means that it is not learned. */
static const llm_json *forms_whole(forms_reader *r, const llm_json *turn) {
    llm_json *whole = forms_node(r, *turn), **end = &whole->child;
    bool more = false;
    for (const llm_json *c = turn->child; c; c = c->next) {
        bool role = !strcmp(c->key, "role") || !strcmp(c->key, "from");
        bool words = !strcmp(c->key, "content") || !strcmp(c->key, "value");
        bool calls = !strcmp(c->key, "tool_calls"), old = !strcmp(c->key, "function_call");
        const llm_json *said = calls || old ? forms_parsed(r, c) : c;
        llm_json *copy = *end = calls || old ? forms_called(r, said, old) : forms_node(r, *c);
        if (role || words) copy->key = role ? "role" : "content";
        more = more || (!role && !words && c->type != LLM_JSON_NULL);
        copy->next = NULL;
        end = &copy->next;
    }
    return more ? whole : NULL;
}
static llm_message forms_turn(forms_reader *r, const llm_json *turn) {
    const char *role = forms_role(r, turn), *key = llm_json_get(turn, "role") ? "content" : "value";
    const llm_json *words = llm_json_get(turn, key), *weight = llm_json_get(turn, "weight");
    const llm_json *whole = forms_whole(r, turn);
    const bool calls = forms_calls(whole) && (!words || words->type == LLM_JSON_NULL);
    llm_message m = calls ? (llm_message){role, "", 0, NULL} : forms_text(r, role, words, key);
    if (weight && weight->type != LLM_JSON_NULL && !forms_is_0_or_1(weight))
        forms_bad(r, "the \"weight\" of a message is neither 0 nor 1");
    m.json = whole;
    return m;
}
static void forms_add_turns(forms_reader *r, const llm_json *list, const char *key) {
    list = forms_parsed(r, list);
    if (list->type != LLM_JSON_ARRAY || !list->child) forms_bad(r, "\"%s\" is not a list of messages", key);
    for (const llm_json *turn = list->child; turn; turn = turn->next) forms_add(r, forms_turn(r, turn));
}
/* Alpaca: past turns, then the instruction; the input, if there is one, stands on a line of its own below it. */
static void forms_add_instruction(forms_reader *r) {
    const llm_json *history = forms_column(r, "history"), *input = forms_column(r, "input");
    for (const llm_json *pair = history ? history->child : NULL; pair; pair = pair->next) {
        if (pair->type != LLM_JSON_ARRAY || pair->length != 2) forms_bad(r, "\"history\" is not a list of pairs");
        forms_add(r, forms_text(r, "user", pair->child, "history"));
        forms_add(r, forms_text(r, "assistant", pair->child->next, "history"));
    }
    forms_add_key(r, "user", "instruction");
    llm_message *m = &r->message[r->messages - 1], more = {0};
    if (input) more = forms_text(r, "user", input, "input");
    if (!more.length) return;
    char *text = forms_room(r, m->length + 1 + more.length);
    memcpy(text, m->text, m->length);
    text[m->length] = '\n';
    memcpy(text + m->length + 1, more.text, more.length);
    m->text = text;
    m->length += 1 + more.length;
}
/* Anthropic's HH form: turns in one string, each opened by "\n\nHuman:" or "\n\nAssistant:". Which of them opens at p:
   0, 1, or 2, none. */
static const char *const forms_hh_mark[] = {"\n\nHuman:", "\n\nAssistant:"};
static int forms_hh_opens(const char *p) {
    int who = 0;
    while (who < 2 && strncmp(p, forms_hh_mark[who], strlen(forms_hh_mark[who]))) who++;
    return who;
}
static void forms_add_hh(forms_reader *r, const char *key) {
    const llm_json *v = forms_column(r, key);
    const char *p = forms_is_string(v) ? v->string : "";
    if (forms_hh_opens(p) != 0)
        forms_bad(r, "missing key \"prompt\" (nor does \"%s\" begin with \\n\\nHuman:)", key);
    while (*p) {
        int who = forms_hh_opens(p);
        const char *text = p + strlen(forms_hh_mark[who]), *end = text;
        while (*end && (*end != '\n' || forms_hh_opens(end) == 2)) end++;
        p = end;
        while (text < end && isspace((unsigned char)*text)) text++;
        while (text < end && isspace((unsigned char)end[-1])) end--;
        forms_add(r, (llm_message){who ? "assistant" : "user", text, (size_t)(end - text), NULL});
    }
}

/* ---- questions and answers ---- */

/* The question, from whichever key holds it; returns the form, or NULL when there is none. */
static const char *forms_question(forms_reader *r) {
    const llm_json *chat = forms_column(r, "messages"), *shared = forms_column(r, "conversations");
    const llm_json *prompt = forms_column(r, "prompt");
    bool alpaca = forms_column(r, "instruction");
    if (forms_column(r, "system") && (alpaca || chat || shared)) {
        forms_add_key(r, "system", "system");
        if (!r->message[r->messages - 1].length) r->messages--;         /* an empty column is none */
    }
    if (alpaca) {
        forms_add_instruction(r);
        return "alpaca";
    }
    if (chat || shared) {
        forms_add_turns(r, chat ? chat : shared, chat ? "messages" : "conversations");
        return chat ? "messages" : "sharegpt";
    }
    if (!prompt) return NULL;
    if (forms_is_string(prompt)) forms_add_key(r, "user", "prompt");
    else forms_add_turns(r, prompt, "prompt");
    return "prompt";
}
/* One answer: a string, a message, or a list of one message. */
static void forms_answer(forms_reader *r, const char *key, double rank) {
    const llm_json *v = forms_column(r, key);
    if (v && v->type == LLM_JSON_ARRAY && v->length == 1) v = v->child;
    bool turn = v && v->type == LLM_JSON_OBJECT;
    if (turn && strcmp(forms_role(r, v), "assistant")) forms_bad(r, "\"%s\" is not an assistant's message", key);
    forms_respond(r, turn ? forms_turn(r, v) : forms_text(r, "assistant", v, key), rank);
}
static bool forms_same(const llm_message *a, const llm_message *b) {
    return !strcmp(a->role, b->role) && a->length == b->length && !memcmp(a->text, b->text, a->length);
}
/* Two whole conversations, message[0 .. middle-1] and the rest: they share the prompt, then comes an answer each. */
static void forms_split_pair(forms_reader *r, int middle) {
    const llm_message *a = r->message, *b = a + middle;
    int last = middle - 1, same = 0;
    while (same < last && same < r->messages - middle && forms_same(&a[same], &b[same])) same++;
    if (same != last || r->messages != 2 * middle) forms_bad(r, "chosen and rejected differ before the last answer");
    if (!last || strcmp(a[last].role, "assistant") || strcmp(b[last].role, "assistant"))
        forms_bad(r, "chosen and rejected want a question and an assistant's answer");
    forms_respond(r, a[last], 0);
    forms_respond(r, b[last], 1);
    r->messages = last;
}
static void forms_ranked(forms_reader *r, const llm_json *list) {
    const llm_json *rank = forms_column(r, "rank"), *label = forms_column(r, "label");
    if (!rank && !label) forms_bad(r, "missing key \"rank\" (or \"label\")");
    size_t n = list->length;
    bool fit = n >= (label ? 1 : 2) && list->type == LLM_JSON_ARRAY;
    if (!fit || (rank && (rank->type != LLM_JSON_ARRAY || rank->length != n)) ||
        (label && (label->type != LLM_JSON_ARRAY || label->length != n)))
        forms_bad(r, "\"responses\", \"rank\" (or \"label\") want as many entries each; a rank, two or more");
    rank = rank ? rank->child : NULL;
    label = label ? label->child : NULL;
    for (const llm_json *x = list->child; x; x = x->next) {
        if (rank && (rank->type != LLM_JSON_NUMBER || !isfinite(rank->number)))
            forms_bad(r, "\"rank\" holds something else than numbers");
        llm_message answer = forms_text(r, "assistant", x, "responses");
        llm_response *a = forms_respond(r, answer, rank ? rank->number : 0);
        if (label) a->label = forms_label(r, label);
        rank = rank ? rank->next : NULL;
        label = label ? label->next : NULL;
    }
}

/* ---- the form of a record ---- */

LLM_NORETURN static void forms_unknown(const forms_reader *r) {
    char keys[128] = "";
    for (const llm_json *k = r->row->child; k; k = k->next)
        snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "%s%s", *keys ? ", " : "", k->key);
    forms_bad(r, "none of the keys prompt, instruction, messages, conversations, text; its keys are: %s",
              *keys ? keys : "none");
}
/* trl's column of a pair. */
static void forms_margin(forms_reader *r) {
    const llm_json *margin = forms_column(r, "margin");
    if (!margin) return;
    if (margin->type != LLM_JSON_NUMBER || !isfinite(margin->number)) forms_bad(r, "\"margin\" is not a number");
    r->response[0].margin = margin->number;
}
/* chosen and rejected with a question before them, or each with its own. */
static const char *forms_pair(forms_reader *r, const llm_json *chosen) {
    const llm_json *first = chosen->type == LLM_JSON_ARRAY ? chosen->child : NULL;
    bool whole = first && strcmp(forms_role(r, first), "assistant");
    const char *form = whole ? NULL : forms_question(r);
    if (form) {
        forms_answer(r, "chosen", 0);
        forms_answer(r, "rejected", 1);
        return !strcmp(form, "alpaca") ? "alpaca pair" : !strcmp(form, "prompt") ? "preference" : "chat pair";
    }
    if (whole) forms_add_turns(r, chosen, "chosen");
    else forms_add_hh(r, "chosen");
    int middle = r->messages;
    if (whole) forms_add_turns(r, forms_column(r, "rejected"), "rejected");
    else forms_add_hh(r, "rejected");
    forms_split_pair(r, middle);
    return whole ? "implicit" : "hh";
}
/* A thumb up or down for the answer under `key`, or (NULL) for the assistant's last message. */
static const char *forms_kto(forms_reader *r, const char *key, const llm_json *label) {
    if (key) forms_answer(r, key, 0);
    else {
        llm_message last = r->message[--r->messages];
        if (strcmp(last.role, "assistant")) forms_bad(r, "the last message is not the assistant's answer");
        forms_respond(r, last, 0);
    }
    r->response[0].label = forms_label(r, label);
    return "kto";
}
static const char *forms_form(forms_reader *r) {
    const llm_json *chosen = forms_column(r, "chosen"), *rejected = forms_column(r, "rejected");
    const llm_json *completion = forms_column(r, "completion"), *label = forms_column(r, "label");
    if (!chosen != !rejected) forms_bad(r, "missing key \"%s\"", chosen ? "rejected" : "chosen");
    r->raw = forms_is_string(forms_column(r, "prompt")) && forms_is_string(chosen ? chosen : completion);
    if (chosen) {
        const char *pair = forms_pair(r, chosen);
        forms_margin(r);
        return pair;
    }
    const char *form = forms_question(r);
    if (!form) {
        if (!forms_column(r, "text")) forms_unknown(r);
        forms_add_key(r, "text", "text");
        r->raw = true;
        return "text";
    }
    if (forms_column(r, "responses")) {
        forms_ranked(r, forms_column(r, "responses"));
        return "ranked";
    }
    const llm_json *rank = forms_column(r, "rank");
    if (rank && rank->type == LLM_JSON_ARRAY) forms_bad(r, "\"rank\" wants \"responses\"");
    const char *answer = !strcmp(form, "alpaca") ? "output" : completion ? "completion" : NULL;
    if (label) return forms_kto(r, answer, label);
    if (!answer) return form;
    forms_answer(r, answer, 0);
    forms_add(r, (llm_message){"assistant", r->response[0].text, r->response[0].length, NULL});
    r->responses = 0;
    return strcmp(form, "alpaca") ? "completion" : form;
}

/* ---- what is kept ---- */

/* What no stage could use is refused. */
static void forms_check(const forms_reader *r) {
    bool asked = false;
    for (int i = 0; i < r->messages; i++) {
        const llm_message *m = &r->message[i];
        bool system = !strcmp(m->role, "system");
        asked = asked || !strcmp(m->role, "user") || !strcmp(m->role, "text");
        if (!m->length && !system && !forms_calls(m->json)) forms_bad(r, "the %s's text is empty", m->role);
        if (system && i) forms_bad(r, "a system message stands behind others");
    }
    if (!asked) forms_bad(r, "no message of the user");
    for (int i = 0; i < r->responses; i++)
        if (!r->response[i].length) forms_bad(r, "an answer is empty");
}
/* What a chat template is told besides the messages: tools, documents, and what chat_template_kwargs names. */
static const llm_json *forms_with(forms_reader *r) {
    static const char *const key[] = {"tools", "documents", "chat_template_kwargs"};
    llm_json *with = forms_node(r, (llm_json){.type = LLM_JSON_OBJECT}), **end = &with->child;
    for (int i = 0; i < 3; i++) {
        const llm_json *v = forms_parsed(r, llm_json_get(r->row, key[i]));
        if (forms_says_nothing(v)) continue;            /* no tools are none, as for trl */
        if (v->type != (i < 2 ? LLM_JSON_ARRAY : LLM_JSON_OBJECT))
            forms_bad(r, i < 2 ? "\"%s\" is not a list" : "\"%s\" is not an object", key[i]);
        if (r->raw) forms_bad(r, "\"%s\" beside strings, which no chat template joins", key[i]);
        for (const llm_json *c = i < 2 ? v : v->child; c; c = i < 2 ? NULL : c->next) {
            llm_json *copy = *end = forms_node(r, *c);
            copy->next = NULL;
            end = &copy->next;
            with->length++;
        }
    }
    return with->child ? with : NULL;
}
/* Deep copies of JSON, one after another: nodes at *node, their texts at *to. With node NULL: how much of either. */
static void forms_measure(const llm_json *v, size_t *nodes, size_t *bytes) {
    ++*nodes;
    if (v->key) *bytes = llm_add(*bytes, strlen(v->key) + 1);
    if (v->string) *bytes = llm_add(*bytes, v->length + 1);
    for (const llm_json *c = v->child; c; c = c->next) forms_measure(c, nodes, bytes);
}
static const char *forms_copy(char **to, const char *text, size_t length);
static llm_json *forms_copy_json(const llm_json *v, llm_json **node, char **to) {
    llm_json *copy = (*node)++, **end = &copy->child;
    *copy = *v;
    copy->child = copy->next = NULL;
    copy->arena = NULL;
    if (v->key) copy->key = forms_copy(to, v->key, strlen(v->key));
    if (v->string) copy->string = forms_copy(to, v->string, v->length);
    for (const llm_json *c = v->child; c; c = c->next) {
        *end = forms_copy_json(c, node, to);
        end = &(*end)->next;
    }
    return copy;
}
static const char *forms_copy(char **to, const char *text, size_t length) {
    char *copy = *to;
    if (length) memcpy(copy, text, length);
    copy[length] = '\0';
    *to += length + 1;
    return copy;
}
/* Append a copy of x, all in one block of memory: its messages, its responses, and their texts. (Roles and form are
   literals.) */
static void forms_keep(llm_records *all, const llm_record *x) {
    llm_record d = *x;
    size_t size = strlen(x->file) + 1 + (x->answer ? strlen(x->answer) + 1 : 0);
    size_t nodes = 0;
    if (x->with) forms_measure(x->with, &nodes, &size);
    for (int i = 0; i < x->messages; i++)
        if (x->message[i].json) forms_measure(x->message[i].json, &nodes, &size);
    size = llm_add(size, llm_mul(nodes, sizeof *x->with));
    size = llm_add(size, llm_mul(x->messages, sizeof *x->message));
    size = llm_add(size, llm_mul(x->responses, sizeof *x->response));
    for (int i = 0; i < x->messages; i++) size = llm_add(size, x->message[i].length + 1);
    for (int i = 0; i < x->responses; i++) size = llm_add(size, x->response[i].length + 1);
    d.message = llm_alloc(size, 1);
    d.response = (llm_response *)(void *)(d.message + x->messages);
    llm_json *node = (llm_json *)(void *)(d.response + x->responses);
    char *to = (char *)(node + nodes);
    if (x->with) d.with = forms_copy_json(x->with, &node, &to);
    for (int i = 0; i < x->messages; i++) {
        d.message[i] = x->message[i];
        if (x->message[i].json) d.message[i].json = forms_copy_json(x->message[i].json, &node, &to);
        d.message[i].text = forms_copy(&to, x->message[i].text, x->message[i].length);
    }
    for (int i = 0; i < x->responses; i++) {
        d.response[i] = x->response[i];
        d.response[i].text = forms_copy(&to, x->response[i].text, x->response[i].length);
    }
    if (x->answer) d.answer = forms_copy(&to, x->answer, strlen(x->answer));
    d.file = forms_copy(&to, x->file, strlen(x->file));
    all->record = llm_grow(all->record, &all->capacity, all->count + 1, sizeof *all->record);
    all->record[all->count++] = d;
}
/* Release what forms_read or forms_split has filled. */
static inline void forms_free(llm_records *r) {
    for (int i = 0; i < r->count; i++) llm_release(r->record[i].message);
    llm_release(r->record);
    *r = (llm_records){0};
}

/* ---- records and documents of files ---- */

static void forms_take(llm_records *all, forms_reader *r) {
    forms_forget(r);
    r->row = forms_rows_json(&r->file);
    if (r->row->type != LLM_JSON_OBJECT) forms_bad(r, "a record is not an object {...}");
    const char *form = forms_form(r);
    const llm_json *gold = forms_column(r, "answer");
    llm_record record = {form, r->message, r->messages, r->response, r->responses, r->raw, gold ? gold->string : NULL,
                         forms_with(r), r->file.where, r->file.line};
    forms_check(r);
    forms_keep(all, &record);
}
/* With --skip-bad an error inside one record is caught here: the one place where a program goes on after llm_die. */
static jmp_buf forms_escape;
static void forms_catch(const char *message) {
    fprintf(stderr, "skipped: %.*s\n", (int)strcspn(message, "\n"), message);
    longjmp(forms_escape, 1);
}
static void forms_try(llm_records *all, forms_reader *r) {
    void (*const on_death)(const char *message) = llm_on_death;
    llm_on_death = forms_catch;
    if (setjmp(forms_escape)) all->skipped++;
    else forms_take(all, r);
    llm_on_death = on_death;
}
/* The records of files and folders, in whatever form. columns renames keys: "prompt=question,output=answer" reads the
   prompt from "question"; or NULL. A broken record ends the program with file:line and what is missing; skip_bad: it is
   counted and left out. */
static inline void forms_read(llm_records *all, const char *const *paths, int count, const char *columns,
                              bool skip_bad) {
    forms_reader r = {.file = forms_rows_open(paths, count), .columns = columns};
    *all = (llm_records){0};
    forms_check_columns(columns);
    while (forms_rows_next(&r.file))
        if (skip_bad) forms_try(all, &r);
        else forms_take(all, &r);
    if (!all->count) llm_die("correct the records", "%s holds no records: all are broken", paths[0]);
    forms_forget(&r);
    llm_release_all(r.joined, r.tree, r.message, r.response);
    forms_rows_close(&r.file);
}

/* Leaves out the records that the model's chat template refuses (raise_exception ...), as --skip-bad does broken ones.
   Without this they end the program when they are rendered, by file and line. */
static bool forms_refused(const llm_tokenizer *t, const llm_record *r, llm_tokens *x) {
    void (*const on_death)(const char *message) = llm_on_death;
    volatile bool refused = true;
    llm_on_death = forms_catch;
    if (!setjmp(forms_escape)) {
        llm_render_record(t, r, LLM_WHOLE, 0, x);
        if (r->responses) llm_render_record(t, r, LLM_PROMPT, 0, x);
        refused = false;
    }
    llm_on_death = on_death;
    return refused;
}
static inline void forms_fit(llm_records *r, const llm_tokenizer *t) {
    llm_tokens x = {0};
    int kept = 0;
    for (int i = 0; i < r->count; i++)
        if (!forms_refused(t, &r->record[i], &x)) r->record[kept++] = r->record[i];
        else llm_release(r->record[i].message);
    r->skipped += r->count - kept;
    if (!kept && r->count) llm_die("other records, or another model", "its chat template refuses all records");
    r->count = kept;
    llm_tokens_free(&x);
}

/* Adds the documents of a text. Where lines "<|endoftext|>" stand, as in TinyStories, they separate documents (blank
   lines behind one belong to none); with document_gap blank lines do, too. Returns how many documents are ended so. */
static size_t forms_cut(llm_documents *l, const char *text, size_t size, bool document_gap) {
    static const char mark[] = "<|endoftext|>";
    const char *end = text + size, *begin = text;
    size_t ended = 0;
    bool any = false;
    for (const char *line = text, *next; line < end; line = next) {
        const char *newline = memchr(line, '\n', end - line);
        next = newline ? newline + 1 : end;
        size_t n = next - line, before = l->count;
        const char *words = path_trim(line, &n);
        bool marked = n == strlen(mark) && !memcmp(words, mark, n), gap = document_gap || (any && begin == line);
        if (!marked && (n || !gap)) continue;
        llm_documents_add(l, begin, line - begin);
        begin = next;
        any = any || marked;
        ended += marked ? l->count - before : 0;
    }
    llm_documents_add(l, begin, end - begin);
    return ended;
}
/* A large text is not read, but mapped (l->text is NULL then): the file of the last documents, until the next ones. */
static mapped_file forms_mapped;
static size_t forms_large = (size_t)16 << 20;
static size_t forms_plain_documents(llm_documents *l, const char *path, bool document_gap) {
    struct stat s = {.st_size = 0};
    size_t size;
    if (!path_ends_with(path, ".gz") && !llm_is_dir(path) && !stat(path, &s) && (size_t)s.st_size >= forms_large)
        forms_mapped = mapped_open(path);
    if (!forms_mapped.at) l->text = gz_read_file(path, &size);
    const char *begin = forms_mapped.at ? forms_mapped.at : l->text, *text = begin;
    if (forms_mapped.at) size = forms_mapped.size;
    if (memchr(begin, 0, size))
        llm_die("UTF-8 (from UTF-16: iconv -f UTF-16 -t UTF-8)", "%s is not plain text: it holds zero bytes", path);
    if (size > 2) text = forms_skip_mark(begin);
    const size_t ended = forms_cut(l, text, (size_t)(begin + size - text), document_gap);
    mapped_forget(&forms_mapped, begin + size);
    return ended;
}
/* Records {"text": ...}: a document each, unless they hold such lines. */
static size_t forms_record_documents(llm_documents *l, const char *path) {
    forms_rows x = forms_rows_open(&path, 1);
    size_t ended = 0;
    for (char *to = NULL; forms_rows_next(&x);) {
        if (!to) to = l->text = llm_alloc(x.stop - x.text + 1, 1);      /* in a file of JSON no text is shorter */
        const llm_json *text = llm_json_get(forms_rows_json(&x), "text");
        if (!forms_is_string(text) || !text->length)
            llm_die("pretraining reads records {\"text\": ...}; train_sft and train_rlhf read the others",
                    text && !text->length ? "%s:%d: the text is empty" : "%s:%d: a record without a \"text\"", path,
                    x.line);
        memcpy(to, text->string, text->length);
        ended += forms_cut(l, to, text->length, false);
        to += text->length;
    }
    forms_rows_close(&x);
    return ended;
}
/* For pretraining: llm_corpus_options.read, as forms_find is its .find. Plain text or records. forms_ended: how many
   documents of the file read last lines "<|endoftext|>" end. */
static size_t forms_ended;
static inline void forms_documents(llm_documents *l, const char *path, bool document_gap) {
    forms_refuse(path);
    mapped_close(&forms_mapped);
    *l = (llm_documents){0};
    forms_ended = path_is_json(path) ? forms_record_documents(l, path) : forms_plain_documents(l, path, document_gap);
}

/* ---- held-out records ---- */

/* A number in [0, 1) from the prompt: the conversation without its last answer (unless that is all there is). Equal
   prompts draw equal numbers, so none is both trained on and asked in validation. */
static inline double forms_draw(const llm_record *d) {
    uint64_t h = 0;
    for (int i = 0; i < d->messages; i++)
        if (!i || i < d->messages - 1 || strcmp(d->message[i].role, "assistant"))
            h = llm_hash(d->message[i].text, d->message[i].length, h);
    llm_rng r = llm_rng_seed(h, 1);
    return llm_rng_uniform(&r);
}
/* Move about `fraction` of the records to held, by a hash of the prompt (equal prompts stay together). */
static inline void forms_split(llm_records *r, llm_records *held, double fraction) {
    *held = (llm_records){.record = llm_alloc(r->count, sizeof *held->record)};
    double least = 1;
    int kept = 0;
    for (int i = 0; i < r->count; i++) least = fmin(least, forms_draw(&r->record[i]));
    for (int i = 0; i < r->count; i++) {        /* the least goes too: of few records at least one prompt is held out */
        double x = forms_draw(&r->record[i]);
        if (fraction > 0 && (x < fraction || x <= least)) held->record[held->count++] = r->record[i];
        else r->record[kept++] = r->record[i];
    }
    r->count = kept;
    if (!kept) llm_die("more records, or a smaller --val-fraction", "all records are held out");
}

#endif
