/* jinja_values.h: what the expressions of a template are worth: Python's values, as far as templates see them, and how
   they are printed, compared and gone through. Strings know of every byte whether the template said it or the
   conversation. Included by jinja.h alone. */
#ifndef JINJA_VALUES_H
#define JINJA_VALUES_H
#ifdef LLM_IMPLEMENTATION

/* ---- types ---- */

typedef enum {
    JINJA_UNDEFINED, JINJA_NONE, JINJA_BOOL, JINJA_INT, JINJA_FLOAT,
    JINJA_DIGITS,                       /* a whole number of more than 63 bits: it can be printed, not reckoned with */
    JINJA_STRING, JINJA_LIST, JINJA_TUPLE, JINJA_RANGE,
    JINJA_KEYS, JINJA_VALUES, JINJA_ITEMS,      /* of a dict: lists that know no index */
    JINJA_DICT, JINJA_NAMESPACE,
    JINJA_ITERATOR,                     /* what map, select ... return: gone through once */
    JINJA_LOOP, JINJA_CALLABLE,
    JINJA_MISSING                       /* an argument that was not given */
} jinja_type;
static const char *const jinja_type_name[] = {
    "Undefined", "NoneType", "bool", "int", "float", "int", "str", "list", "tuple", "range", "dict_keys", "dict_values",
    "dict_items", "dict", "Namespace", "generator", "LoopContext", "function", "missing"};

/* mark: where each byte came from, as in jinja_text. */
typedef struct { const char *s; const uint16_t *mark; size_t n; } jinja_string;
typedef struct jinja_value {
    jinja_type type;
    bool markup;                        /* a string that `safe` has touched */
    union {
        int64_t i;                      /* bool, int */
        double f;
        jinja_string s;                 /* string; digits; undefined: the reason */
        struct jinja_list *list;        /* list, tuple, range, keys, values, items */
        struct jinja_dict *dict;        /* dict, namespace */
        struct jinja_iterator *iterator;
        struct jinja_loop *loop;
        struct jinja_callable *callable;
    };
} jinja_value;
typedef struct jinja_list { jinja_value *item; size_t count, room; } jinja_list;
typedef struct jinja_dict { jinja_value *key, *value; size_t count, room; } jinja_dict;

/* ---- a run: of the parser, or of a template ---- */

typedef struct jinja_block { struct jinja_block *older; size_t used, size; max_align_t bytes[]; } jinja_block;
typedef struct jinja_run {
    const char *where, *source;         /* the template */
    const char *at;                     /* the place in it, for errors */
    jmp_buf escape;                     /* an error jumps out of everything, with */
    char *error; bool raised;           /* ... what is wrong; by the template's own raise_exception? */
    jinja_block *memory; size_t taken, most;    /* what is taken is kept until the end, in blocks */
    size_t steps, most_steps;           /* work done */
    int depth;                          /* how deep functions are nested in each other */
    const uint16_t *plain, *words; size_t marks, words_room;    /* marks of strings of one origin: the template's; of
                                           the data that is being read */
    struct jinja_scope *scope;          /* variables */
    struct jinja_buffer *out;           /* where text goes */
    time_t now;
    bool answers;                       /* {% generation %} stands in the template */
} jinja_run;
enum { JINJA_ERROR = 600, JINJA_DEPTH = 250 };

/* End the run with "WHERE:LINE:COLUMN: ...". */
LLM_NORETURN LLM_PRINTF(2, 3) static void jinja_fail(jinja_run *r, const char *what, ...) {
    int line = 1, column = 1;
    for (const char *p = r->source; p < r->at; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    int n = snprintf(r->error, JINJA_ERROR, "%.200s:%d:%d: ", r->where, line, column);
    va_list a;
    va_start(a, what);
    vsnprintf(r->error + n, JINJA_ERROR - n, what, a);
    va_end(a);
    for (char *p = r->error; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127) *p = *p == '\n' ? ' ' : '?';  /* names come from strangers */
    longjmp(r->escape, 1);
}
/* Time and stack are bounded: whatever repeats, counts; whatever calls itself, enters and leaves. */
static void jinja_step(jinja_run *r, size_t n) {
    r->steps += n + 1;
    if (r->steps > r->most_steps) jinja_fail(r, "the template does not come to an end");
}
static void jinja_enter(jinja_run *r) {
    jinja_step(r, 0);
    if (++r->depth > JINJA_DEPTH) jinja_fail(r, "nested deeper than %d levels", JINJA_DEPTH);
}
static void jinja_leave(jinja_run *r) { r->depth--; }

/* Memory that lives as long as the run, zeroed. */
static void *jinja_take(jinja_run *r, size_t count, size_t size) {
    size_t n = llm_add(llm_mul(count, size), sizeof(max_align_t)) / sizeof(max_align_t);
    jinja_block *b = r->memory;
    if (!b || b->size - b->used < n) {
        size_t room = n < 1000 ? 1000 : n;
        r->taken += room * sizeof(max_align_t);
        if (r->taken > r->most) jinja_fail(r, "the template wants more than %zu MB", r->most >> 20);
        b = llm_alloc(1, llm_add(sizeof *b, room * sizeof(max_align_t)));
        b->older = r->memory;
        b->size = room;
        r->memory = b;
    }
    void *p = b->bytes + b->used;
    b->used += n;
    jinja_step(r, n / 16);
    return p;
}
static void jinja_release(jinja_block *b) {
    for (jinja_block *older; b; b = older) {
        older = b->older;
        llm_release(b);
    }
}
/* Room for `count` more behind `used`: a new place of twice the size, the old one stays until the end. */
static void *jinja_more(jinja_run *r, void *p, size_t used, size_t count, size_t *room, size_t size) {
    size_t needed = llm_add(used, count);
    if (needed <= *room) return p;
    *room = needed + needed / 2 + 8;
    void *larger = jinja_take(r, *room, size);
    if (used) memcpy(larger, p, used * size);
    return larger;
}

/* ---- making values ---- */

static jinja_value jinja_none(void) { return (jinja_value){.type = JINJA_NONE}; }
static jinja_value jinja_bool(bool b) { return (jinja_value){.type = JINJA_BOOL, .i = b}; }
static jinja_value jinja_int(int64_t i) { return (jinja_value){.type = JINJA_INT, .i = i}; }
static jinja_value jinja_float(double f) { return (jinja_value){.type = JINJA_FLOAT, .f = f}; }
static jinja_value jinja_slice_of(jinja_value v, size_t from, size_t to) {
    v.s = (jinja_string){v.s.s + from, v.s.mark + from, to - from};
    return v;
}
static const uint16_t *jinja_same_marks(jinja_run *r, uint16_t mark, size_t n) {
    uint16_t *same = jinja_take(r, n + 1, sizeof *same);
    for (size_t i = 0; i <= n; i++) same[i] = mark;
    return same;
}
/* A string all of whose bytes are the template's (words = 0) or the data's (1). */
static jinja_value jinja_text_of(jinja_run *r, const char *s, size_t n, int words) {
    const uint16_t *mark = words ? r->words : r->plain;
    if (n > (words ? r->words_room : r->marks)) mark = jinja_same_marks(r, words ? *r->words : 0, n);
    return (jinja_value){.type = JINJA_STRING, .s = {s, mark, n}};
}
static char *jinja_copy(jinja_run *r, const char *s, size_t n) {
    char *copy = jinja_take(r, n + 1, 1);
    memcpy(copy, s, n);
    return copy;
}
static jinja_value jinja_plain(jinja_run *r, const char *s) {
    return jinja_text_of(r, jinja_copy(r, s, strlen(s)), strlen(s), 0);
}
LLM_PRINTF(2, 3) static jinja_value jinja_undefined(jinja_run *r, const char *why, ...) {
    char text[200];
    va_list a;
    va_start(a, why);
    vsnprintf(text, sizeof text, why, a);
    va_end(a);
    return (jinja_value){.type = JINJA_UNDEFINED, .s = {jinja_copy(r, text, strlen(text)), NULL, strlen(text)}};
}

/* A text that grows. */
typedef struct jinja_buffer { char *s; uint16_t *mark; size_t n, room, mark_room; } jinja_buffer;
static void jinja_put(jinja_run *r, jinja_buffer *b, jinja_string x) {
    if (!x.n) return;
    b->s = jinja_more(r, b->s, b->n, x.n, &b->room, 1);
    b->mark = jinja_more(r, b->mark, b->n, x.n, &b->mark_room, sizeof *b->mark);
    memcpy(b->s + b->n, x.s, x.n);
    memcpy(b->mark + b->n, x.mark, x.n * sizeof *x.mark);
    b->n += x.n;
}
static void jinja_put_marked(jinja_run *r, jinja_buffer *b, const char *s, size_t n, uint16_t mark) {
    uint16_t same[64];
    for (int i = 0; i < 64; i++) same[i] = mark;
    for (size_t i = 0, k; i < n; i += k) {
        k = n - i < 64 ? n - i : 64;
        jinja_put(r, b, (jinja_string){s + i, same, k});
    }
}
static void jinja_say(jinja_run *r, jinja_buffer *b, const char *s) { jinja_put_marked(r, b, s, strlen(s), 0); }
static jinja_value jinja_done(const jinja_buffer *b) {
    static const uint16_t none;
    return (jinja_value){.type = JINJA_STRING, .s = {b->n ? b->s : "", b->n ? b->mark : &none, b->n}};
}

static jinja_value jinja_new_list(jinja_run *r, jinja_type type) {
    return (jinja_value){.type = type, .list = jinja_take(r, 1, sizeof(jinja_list))};
}
static void jinja_push(jinja_run *r, jinja_value list, jinja_value v) {
    jinja_list *l = list.list;
    l->item = jinja_more(r, l->item, l->count, 1, &l->room, sizeof *l->item);
    l->item[l->count++] = v;
}
static jinja_value jinja_pair(jinja_run *r, jinja_value a, jinja_value b) {
    jinja_value pair = jinja_new_list(r, JINJA_TUPLE);
    jinja_push(r, pair, a);
    jinja_push(r, pair, b);
    return pair;
}

/* ---- what kind of value ---- */

static bool jinja_is_list(jinja_value v) { return v.type >= JINJA_LIST && v.type <= JINJA_ITEMS; }
static bool jinja_is_indexed(jinja_value v) { return v.type >= JINJA_LIST && v.type <= JINJA_RANGE; }
static bool jinja_is_whole(jinja_value v) { return v.type == JINJA_BOOL || v.type == JINJA_INT; }
static bool jinja_is_number(jinja_value v) { return v.type >= JINJA_BOOL && v.type <= JINJA_FLOAT; }
static double jinja_number(jinja_value v) { return v.type == JINJA_FLOAT ? v.f : (double)v.i; }
static bool jinja_is_text(jinja_value v, const char *text) {
    return v.type == JINJA_STRING && v.s.n == strlen(text) && !memcmp(v.s.s, text, v.s.n);
}
/* Of an undefined value only this may be asked: is it defined, is it true, and it can be printed: as nothing. */
static void jinja_must_be_defined(jinja_run *r, jinja_value v) {
    if (v.type == JINJA_UNDEFINED) jinja_fail(r, "%s", v.s.s);
}
LLM_NORETURN static void jinja_wrong_type(jinja_run *r, const char *what, jinja_value v) {
    jinja_must_be_defined(r, v);
    jinja_fail(r, "%s: not of a value of the type %s", what, jinja_type_name[v.type]);
}

/* ---- characters ---- */

static bool jinja_begins(const char *s, size_t i) { return ((unsigned char)s[i] & 0xC0) != 0x80; }
static size_t jinja_characters(jinja_run *r, jinja_string x) {
    size_t n = 0;
    jinja_step(r, x.n / 16);
    for (size_t i = 0; i < x.n; i++) n += jinja_begins(x.s, i);
    return n;
}
/* Where the character behind the one at i begins. */
static size_t jinja_after(jinja_string x, size_t i) {
    i++;
    while (i < x.n && !jinja_begins(x.s, i)) i++;
    return i;
}
static size_t jinja_before(jinja_string x, size_t i) {
    i--;
    while (i > 0 && !jinja_begins(x.s, i)) i--;
    return i;
}
static uint32_t jinja_code(jinja_string x, size_t i) {
    uint32_t code;
    llm_utf8_get(x.s + i, x.n - i, &code);
    return code;
}
/* As Python's str.isspace. */
static bool jinja_is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}
/* Where `what` stands in x at or behind `from`; x.n + 1: nowhere. */
static size_t jinja_find(jinja_run *r, jinja_string x, jinja_string what, size_t from) {
    jinja_step(r, x.n / 16);
    if (what.n > x.n || from > x.n - what.n) return x.n + 1;
    if (!what.n) return from;
    const char *p = memmem(x.s + from, x.n - from, what.s, what.n);
    return p ? (size_t)(p - x.s) : x.n + 1;
}

/* ---- true, equal, smaller ---- */

static bool jinja_true(jinja_value v) {
    if (v.type <= JINJA_NONE) return false;
    if (jinja_is_whole(v)) return v.i != 0;
    if (v.type == JINJA_FLOAT) return v.f != 0;
    if (v.type == JINJA_STRING) return v.s.n > 0;
    if (jinja_is_list(v)) return v.list->count > 0;
    return v.type != JINJA_DICT || v.dict->count > 0;
}
static bool jinja_equal(jinja_run *r, jinja_value a, jinja_value b);
static bool jinja_equal_lists(jinja_run *r, const jinja_list *a, const jinja_list *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; i < a->count && same; i++) same = jinja_equal(r, a->item[i], b->item[i]);
    return same;
}
static const jinja_value *jinja_get(jinja_run *r, const jinja_dict *d, jinja_value key) {
    for (size_t i = 0; i < d->count; i++)
        if (jinja_equal(r, d->key[i], key)) return &d->value[i];
    return NULL;
}
static bool jinja_equal_dicts(jinja_run *r, const jinja_dict *a, const jinja_dict *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; i < a->count && same; i++) {
        const jinja_value *other = jinja_get(r, b, a->key[i]);
        same = other && jinja_equal(r, a->value[i], *other);
    }
    return same;
}
static bool jinja_equal(jinja_run *r, jinja_value a, jinja_value b) {
    bool same = false;
    jinja_enter(r);
    if (jinja_is_whole(a) && jinja_is_whole(b)) same = a.i == b.i;
    else if (jinja_is_number(a) && jinja_is_number(b)) same = jinja_number(a) == jinja_number(b);
    else if (a.type != b.type) same = false;
    else if (a.type <= JINJA_NONE) same = true;
    else if (a.type == JINJA_STRING || a.type == JINJA_DIGITS) same = a.s.n == b.s.n && !memcmp(a.s.s, b.s.s, a.s.n);
    else if (a.type == JINJA_DICT) same = jinja_equal_dicts(r, a.dict, b.dict);
    else if (jinja_is_list(a)) same = jinja_equal_lists(r, a.list, b.list);
    else same = a.list == b.list;       /* the same namespace, macro ... */
    jinja_leave(r);
    return same;
}
enum { JINJA_NO_ORDER = 2 };            /* NaN is neither smaller nor larger nor equal */
/* -1, 0, 1 as a is smaller than b, equal or larger. */
static int jinja_compare(jinja_run *r, jinja_value a, jinja_value b) {
    int order = 0;
    jinja_must_be_defined(r, a);
    jinja_must_be_defined(r, b);
    jinja_enter(r);
    if (jinja_is_whole(a) && jinja_is_whole(b)) order = (a.i > b.i) - (a.i < b.i);
    else if (jinja_is_number(a) && jinja_is_number(b)) {
        double x = jinja_number(a), y = jinja_number(b);
        order = isnan(x) || isnan(y) ? JINJA_NO_ORDER : (x > y) - (x < y);
    } else if (a.type == JINJA_STRING && b.type == JINJA_STRING) {
        int c = memcmp(a.s.s, b.s.s, a.s.n < b.s.n ? a.s.n : b.s.n);
        order = c ? (c > 0) - (c < 0) : (a.s.n > b.s.n) - (a.s.n < b.s.n);
    } else if (a.type == b.type && (a.type == JINJA_LIST || a.type == JINJA_TUPLE)) {
        size_t i = 0, n = a.list->count < b.list->count ? a.list->count : b.list->count;
        while (i < n && jinja_equal(r, a.list->item[i], b.list->item[i])) i++;
        order = i < n ? jinja_compare(r, a.list->item[i], b.list->item[i])
                      : (a.list->count > b.list->count) - (a.list->count < b.list->count);
    } else jinja_fail(r, "%s and %s have no order", jinja_type_name[a.type], jinja_type_name[b.type]);
    jinja_leave(r);
    return order;
}

/* ---- dicts ---- */

static jinja_value jinja_new_dict(jinja_run *r) {
    return (jinja_value){.type = JINJA_DICT, .dict = jinja_take(r, 1, sizeof(jinja_dict))};
}
static bool jinja_is_key(jinja_value v) {       /* for us; to Python some others are keys too */
    return jinja_is_number(v) || v.type == JINJA_STRING || v.type == JINJA_NONE || v.type == JINJA_DIGITS;
}
static void jinja_add(jinja_run *r, jinja_dict *d, jinja_value key, jinja_value v) {
    size_t room = d->room;
    d->key = jinja_more(r, d->key, d->count, 1, &room, sizeof *d->key);
    d->value = jinja_more(r, d->value, d->count, 1, &d->room, sizeof *d->value);
    d->key[d->count] = key;
    d->value[d->count++] = v;
}
static void jinja_set(jinja_run *r, jinja_dict *d, jinja_value key, jinja_value v) {
    if (!jinja_is_key(key)) jinja_fail(r, "a %s as the key of a dict", jinja_type_name[key.type]);
    jinja_value *there = (jinja_value *)jinja_get(r, d, key);
    if (there) *there = v;
    else jinja_add(r, d, key, v);
}
static const jinja_value *jinja_member(jinja_run *r, const jinja_dict *d, const char *name) {
    static const uint16_t none;
    return jinja_get(r, d, (jinja_value){.type = JINJA_STRING, .s = {name, &none, strlen(name)}});
}
/* Its keys, values or items, as a list of that type. */
static jinja_value jinja_view(jinja_run *r, const jinja_dict *d, jinja_type type) {
    jinja_value list = jinja_new_list(r, type);
    for (size_t i = 0; i < d->count; i++)
        jinja_push(r, list, type == JINJA_KEYS ? d->key[i] : type == JINJA_VALUES ? d->value[i]
                                               : jinja_pair(r, d->key[i], d->value[i]));
    return list;
}

/* ---- going through values ---- */

/* Either values that are there; or those of another iterator, changed or dropped (false) by `make` one by one, when
   they are asked for. */
typedef struct jinja_iterator {
    const jinja_value *item; size_t count, at;
    struct jinja_iterator *from;
    bool (*make)(jinja_run *r, struct jinja_iterator *it, jinja_value *v);
    const char *name; bool keep;        /* make's own: a filter or test; keep those that pass, or those that do not */
    jinja_value path, otherwise;
    const struct jinja_call *call;
    const struct jinja_node *node;
    struct jinja_scope *scope;
} jinja_iterator;

static bool jinja_next(jinja_run *r, jinja_iterator *it, jinja_value *v) {
    bool there = false;
    jinja_value x;
    jinja_enter(r);
    if (!it->from) {
        there = it->at < it->count;
        if (there) x = it->item[it->at++];
    } else
        while (!there && jinja_next(r, it->from, &x)) there = it->make(r, it, &x);
    if (there) *v = x;                  /* (else it stays what it was) */
    jinja_leave(r);
    return there;
}
static jinja_value jinja_spelled(jinja_run *r, jinja_value text) {      /* a list of its characters */
    jinja_value list = jinja_new_list(r, JINJA_LIST);
    for (size_t i = 0, next; i < text.s.n; i = next) {
        next = jinja_after(text.s, i);
        jinja_push(r, list, jinja_slice_of(text, i, next));
    }
    return list;
}
static bool jinja_is_iterable(jinja_value v) {
    return v.type == JINJA_STRING || v.type == JINJA_DICT || v.type == JINJA_ITERATOR || jinja_is_list(v) ||
           v.type == JINJA_UNDEFINED;
}
static jinja_iterator *jinja_iterate(jinja_run *r, jinja_value v) {
    if (v.type == JINJA_ITERATOR) return v.iterator;
    jinja_iterator *it = jinja_take(r, 1, sizeof *it);
    if (v.type == JINJA_STRING) v = jinja_spelled(r, v);
    if (v.type == JINJA_DICT) {
        it->item = v.dict->key;
        it->count = v.dict->count;
    } else if (jinja_is_list(v)) {
        it->item = v.list->item;
        it->count = v.list->count;
    } else if (v.type != JINJA_UNDEFINED) jinja_fail(r, "'%s' object is not iterable", jinja_type_name[v.type]);
    return it;
}
static jinja_value jinja_listed(jinja_run *r, jinja_value v) {
    jinja_value list = jinja_new_list(r, JINJA_LIST), x;
    for (jinja_iterator *it = jinja_iterate(r, v); jinja_next(r, it, &x);) jinja_push(r, list, x);
    return list;
}
static bool jinja_contains(jinja_run *r, jinja_value all, jinja_value v) {
    if (all.type == JINJA_STRING) {
        if (v.type != JINJA_STRING)
            jinja_fail(r, "'in <string>' requires string as left operand, not %s", jinja_type_name[v.type]);
        return jinja_find(r, all.s, v.s, 0) <= all.s.n;
    }
    if (all.type == JINJA_DICT) {
        if (v.type == JINJA_LIST || v.type == JINJA_DICT)
            jinja_fail(r, "unhashable type: '%s'", jinja_type_name[v.type]);
        return jinja_get(r, all.dict, v) != NULL;
    }
    bool found = false;
    jinja_value x;
    for (jinja_iterator *it = jinja_iterate(r, all); !found && jinja_next(r, it, &x);) found = jinja_equal(r, x, v);
    return found;
}

/* ---- printing: str() and repr() ---- */

/* The shortest digits that mean x again. */
static void jinja_float_text(double x, char out[400]) {
    if (isnan(x) || isinf(x)) {
        strcpy(out, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    char e[40];
    int digits = 0;
    do snprintf(e, sizeof e, "%.*e", digits++, x);
    while (digits < 17 && strtod(e, NULL) != x);
    int exponent = atoi(strchr(e, 'e') + 1), decimals = digits - 1 - exponent;
    if (exponent < -4 || exponent >= 16) strcpy(out, e);
    else snprintf(out, 400, "%.*f", decimals > 1 ? decimals : 1, x);
}
/* Characters that repr() shows as escapes: controls, formats, spaces but ' ', and code points for private use. */
static bool jinja_is_hidden(uint32_t c) {
    static const uint32_t hidden[][2] = {{0, 31}, {127, 160}, {173, 173}, {0x600, 0x605}, {0x61C, 0x61C},
        {0x6DD, 0x6DD}, {0x70F, 0x70F}, {0x1680, 0x1680}, {0x180E, 0x180E}, {0x2000, 0x200F}, {0x2028, 0x202F},
        {0x205F, 0x206F}, {0x3000, 0x3000}, {0xD800, 0xF8FF}, {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF},
        {0xE0000, 0xE00FF}, {0xE01F0, 0x10FFFF}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i][0] && c <= hidden[i][1]) return true;
    return false;
}
static void jinja_put_quoted(jinja_run *r, jinja_buffer *b, jinja_string x) {
    bool doubled = memchr(x.s, '\'', x.n) && !memchr(x.s, '"', x.n);
    const char quote = doubled ? '"' : '\'';
    jinja_put_marked(r, b, &quote, 1, 0);
    for (size_t i = 0, next; i < x.n; i = next) {
        static const char plain[] = "\\\n\r\t", named[] = "\\nrt";
        char text[16];
        next = jinja_after(x, i);
        uint32_t c = jinja_code(x, i);
        const char *known = memchr(plain, x.s[i], 4);
        if (known || x.s[i] == quote) snprintf(text, sizeof text, "\\%c", known ? named[known - plain] : quote);
        else if (!jinja_is_hidden(c) || c == UINT32_MAX) {
            jinja_put(r, b, (jinja_string){x.s + i, x.mark + i, next - i});
            continue;
        } else snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        jinja_put_marked(r, b, text, strlen(text), x.mark[i]);
    }
    jinja_put_marked(r, b, &quote, 1, 0);
}
static void jinja_put_repr(jinja_run *r, jinja_buffer *b, jinja_value v);
static void jinja_put_list(jinja_run *r, jinja_buffer *b, jinja_value v) {
    bool view = v.type > JINJA_RANGE, tuple = v.type == JINJA_TUPLE;
    if (v.type == JINJA_RANGE) jinja_fail(r, "a range is printed: write range(...) | list");
    if (view) jinja_say(r, b, jinja_type_name[v.type]);
    jinja_say(r, b, view ? "([" : tuple ? "(" : "[");
    for (size_t i = 0; i < v.list->count; i++) {
        if (i) jinja_say(r, b, ", ");
        jinja_put_repr(r, b, v.list->item[i]);
    }
    jinja_say(r, b, view ? "])" : !tuple ? "]" : v.list->count == 1 ? ",)" : ")");
}
static void jinja_put_dict(jinja_run *r, jinja_buffer *b, const jinja_dict *d) {
    jinja_say(r, b, "{");
    for (size_t i = 0; i < d->count; i++) {
        if (i) jinja_say(r, b, ", ");
        jinja_put_repr(r, b, d->key[i]);
        jinja_say(r, b, ": ");
        jinja_put_repr(r, b, d->value[i]);
    }
    jinja_say(r, b, "}");
}
static void jinja_put_repr(jinja_run *r, jinja_buffer *b, jinja_value v) {
    char text[400];
    jinja_enter(r);
    if (v.type == JINJA_STRING && v.markup) jinja_fail(r, "text is printed inside a list behind | safe");
    if (v.type == JINJA_STRING) jinja_put_quoted(r, b, v.s);
    else if (v.type == JINJA_DIGITS) jinja_put(r, b, v.s);
    else if (v.type == JINJA_DICT) jinja_put_dict(r, b, v.dict);
    else if (jinja_is_list(v)) jinja_put_list(r, b, v);
    else if (v.type == JINJA_UNDEFINED) jinja_say(r, b, "Undefined");
    else if (v.type == JINJA_NONE) jinja_say(r, b, "None");
    else if (v.type == JINJA_BOOL) jinja_say(r, b, v.i ? "True" : "False");
    else if (jinja_is_number(v)) {
        if (v.type == JINJA_INT) snprintf(text, sizeof text, "%lld", (long long)v.i);
        else jinja_float_text(v.f, text);
        jinja_say(r, b, text);
    } else if (v.type == JINJA_ITERATOR) jinja_fail(r, "what map or select gives is printed: write ... | list");
    else jinja_fail(r, "a %s is printed", jinja_type_name[v.type]);
    jinja_leave(r);
}
/* As it stands in the output. */
static jinja_value jinja_str(jinja_run *r, jinja_value v) {
    if (v.type == JINJA_STRING) return v;
    jinja_buffer b = {0};
    if (v.type != JINJA_UNDEFINED) jinja_put_repr(r, &b, v);
    return jinja_done(&b);
}

/* ---- JSON: out, as Python's json.dumps ---- */

typedef struct { bool ascii, sorted, lines; jinja_string indent, comma, colon; } jinja_json_style;

static void jinja_put_escaped(jinja_run *r, jinja_buffer *b, jinja_string x, bool ascii) {
    static const char plain[] = "\"\\\n\r\t\b\f", named[] = "\"\\nrtbf";
    jinja_say(r, b, "\"");
    for (size_t i = 0, next; i < x.n; i = next) {
        char text[16];
        next = jinja_after(x, i);
        uint32_t c = jinja_code(x, i);
        const char *known = memchr(plain, x.s[i], 7);
        if (known) snprintf(text, sizeof text, "\\%c", named[known - plain]);
        else if (c < 32 || (ascii && c > 126 && c < 0x10000)) snprintf(text, sizeof text, "\\u%04x", c);
        else if (ascii && c >= 0x10000 && c <= 0x10FFFF)
            snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + (c & 0x3FF));
        else {
            jinja_put(r, b, (jinja_string){x.s + i, x.mark + i, next - i});
            continue;
        }
        jinja_put_marked(r, b, text, strlen(text), x.mark[i]);
    }
    jinja_say(r, b, "\"");
}
static void jinja_put_json(jinja_run *r, jinja_buffer *b, jinja_value v, const jinja_json_style *style, int level);
static void jinja_json_line(jinja_run *r, jinja_buffer *b, const jinja_json_style *style, int level) {
    if (style->lines) jinja_say(r, b, "\n");
    for (int i = 0; i < level && style->lines; i++) jinja_put(r, b, style->indent);
}
/* A key: what is no string is written as one. */
static void jinja_put_json_key(jinja_run *r, jinja_buffer *b, jinja_value key, const jinja_json_style *style) {
    if (key.type == JINJA_STRING) {
        jinja_put_escaped(r, b, key.s, style->ascii);
        return;
    }
    jinja_say(r, b, "\"");
    jinja_put_json(r, b, key, style, 0);
    jinja_say(r, b, "\"");
}
/* The order in which a dict's members are written. */
static size_t *jinja_json_order(jinja_run *r, const jinja_dict *d, bool sorted) {
    size_t *order = jinja_take(r, d->count, sizeof *order);
    for (size_t i = 0; i < d->count; i++) {
        size_t k = i;
        for (; sorted && k && jinja_compare(r, d->key[i], d->key[order[k - 1]]) < 0; k--) order[k] = order[k - 1];
        order[k] = i;
    }
    return order;
}
static void jinja_put_json_inner(jinja_run *r, jinja_buffer *b, jinja_value v, const jinja_json_style *style,
                                 int level) {
    bool dict = v.type == JINJA_DICT;
    size_t count = dict ? v.dict->count : v.list->count;
    size_t *order = dict ? jinja_json_order(r, v.dict, style->sorted) : NULL;
    jinja_say(r, b, dict ? "{" : "[");
    for (size_t i = 0; i < count; i++) {
        if (i) jinja_put(r, b, style->comma);
        jinja_json_line(r, b, style, level + 1);
        if (dict) {
            jinja_put_json_key(r, b, v.dict->key[order[i]], style);
            jinja_put(r, b, style->colon);
        }
        jinja_put_json(r, b, dict ? v.dict->value[order[i]] : v.list->item[i], style, level + 1);
    }
    if (count) jinja_json_line(r, b, style, level);
    jinja_say(r, b, dict ? "}" : "]");
}
static void jinja_put_json(jinja_run *r, jinja_buffer *b, jinja_value v, const jinja_json_style *style, int level) {
    jinja_enter(r);
    if (v.type == JINJA_STRING) jinja_put_escaped(r, b, v.s, style->ascii);
    else if (v.type == JINJA_NONE) jinja_say(r, b, "null");
    else if (v.type == JINJA_BOOL) jinja_say(r, b, v.i ? "true" : "false");
    else if (v.type == JINJA_FLOAT && !isfinite(v.f))
        jinja_say(r, b, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
    else if (jinja_is_number(v) || v.type == JINJA_DIGITS) jinja_put_repr(r, b, v);
    else if (v.type == JINJA_DICT || v.type == JINJA_LIST || v.type == JINJA_TUPLE)
        jinja_put_json_inner(r, b, v, style, level);
    else jinja_fail(r, "Object of type %s is not JSON serializable", jinja_type_name[v.type]);
    jinja_leave(r);
}

/* ---- JSON: in ---- */

/* Does a number spell an integer? Python tells 1 from 1.0. */
static jinja_value jinja_from_number(jinja_run *r, const llm_json *j) {
    if (strpbrk(j->string, ".eE")) return jinja_float(j->number);
    errno = 0;
    long long i = strtoll(j->string, NULL, 10);
    if (!errno) return jinja_int(i);
    jinja_value v = jinja_text_of(r, j->string, j->length, 0);
    v.type = JINJA_DIGITS;
    return v;
}
static jinja_value jinja_from_json(jinja_run *r, const llm_json *j) {
    if (j->type == LLM_JSON_NULL) return jinja_none();
    if (j->type == LLM_JSON_BOOL) return jinja_bool(j->number != 0);
    if (j->type == LLM_JSON_NUMBER) return jinja_from_number(r, j);
    if (j->type == LLM_JSON_STRING) return jinja_text_of(r, j->string, j->length, 1);
    jinja_value v = j->type == LLM_JSON_ARRAY ? jinja_new_list(r, JINJA_LIST) : jinja_new_dict(r);
    for (const llm_json *c = j->child; c; c = c->next)
        if (v.type == JINJA_LIST) jinja_push(r, v, jinja_from_json(r, c));
        else jinja_set(r, v.dict, jinja_text_of(r, c->key, strlen(c->key), 1), jinja_from_json(r, c));
    return v;
}
/* A role is a name that the data's author chose among the template's: "<|" + role + "|>" spells a special token. */
static void jinja_trust_role(jinja_run *r, jinja_dict *message) {
    jinja_value *role = (jinja_value *)jinja_member(r, message, "role");
    if (!role || role->type != JINJA_STRING) return;
    size_t i = 0;
    while (i < role->s.n && (isalnum((unsigned char)role->s.s[i]) || strchr("_-", role->s.s[i]))) i++;
    if (i == role->s.n) *role = jinja_text_of(r, role->s.s, role->s.n, 0);
}
/* A message as transformers hands it on: without members that are null, and what was thought under each of the names
   that templates ask for. */
static jinja_value jinja_message(jinja_run *r, const llm_json *j) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    jinja_value all = jinja_from_json(r, j), v = jinja_new_dict(r);
    if (all.type != JINJA_DICT) return all;
    const jinja_value *thought = NULL;
    for (int i = 0; i < 3 && !thought; i++) {
        thought = jinja_member(r, all.dict, names[i]);
        if (thought && thought->type == JINJA_NONE) thought = NULL;
    }
    if (thought) jinja_set(r, v.dict, jinja_plain(r, names[1]), *thought);
    for (size_t i = 0; i < all.dict->count; i++)
        if (all.dict->value[i].type != JINJA_NONE) jinja_set(r, v.dict, all.dict->key[i], all.dict->value[i]);
    if (thought) jinja_set(r, v.dict, jinja_plain(r, names[0]), *thought);
    jinja_trust_role(r, v.dict);
    return v;
}
/* The bytes of the longest string, and of all. */
static size_t jinja_json_bytes(const llm_json *j, size_t *all) {
    size_t longest = j->type == LLM_JSON_STRING || j->type == LLM_JSON_NUMBER ? j->length : 0;
    *all += longest + (j->key ? strlen(j->key) : 0) + 64;
    if (j->key && strlen(j->key) > longest) longest = strlen(j->key);
    for (const llm_json *c = j->child; c; c = c->next) {
        size_t n = jinja_json_bytes(c, all);
        if (n > longest) longest = n;
    }
    return longest;
}
/* Each message's words bear its number. */
static jinja_value jinja_messages(jinja_run *r, const llm_json *j) {
    jinja_value list = jinja_new_list(r, JINJA_LIST);
    const uint16_t *words = r->words;
    const size_t room = r->words_room;
    size_t all = 0, number = 1;
    for (const llm_json *c = j->child; c; c = c->next, number += number < UINT16_MAX / JINJA_MESSAGE) {
        r->words_room = jinja_json_bytes(c, &all);
        r->words = jinja_same_marks(r, (uint16_t)(JINJA_WORDS + JINJA_MESSAGE * number), r->words_room);
        jinja_push(r, list, jinja_message(r, c));
    }
    r->words = words;
    r->words_room = room;
    return list;
}

#endif /* LLM_IMPLEMENTATION */
#endif
