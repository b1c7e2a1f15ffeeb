/* jinja_calls.h: what a template may call: filters, tests, functions, the methods of strings, lists and dicts; each a
   row of a table. Included by jinja.h alone. What Jinja2 knows and these tables do not is refused when it is called. */
#ifndef JINJA_CALLS_H
#define JINJA_CALLS_H
#ifdef LLM_IMPLEMENTATION

/* ---- calls ---- */

typedef struct jinja_call {             /* (arg[0], arg[1], name[0]=named[0]) */
    jinja_value *arg; size_t args;
    const char **name; jinja_value *named; size_t names;
} jinja_call;
/* v: what stands before the dot or the bar; a: the arguments in the order of the row's parameters, JINJA_MISSING where
   one is not given. */
typedef jinja_value jinja_function(jinja_run *r, jinja_value v, const jinja_value *a, const jinja_call *c);
typedef struct {
    const char *name;
    const char *parameters;             /* "a,b,c"; "*": the function looks at the call itself */
    int required;                       /* so many must be given */
    jinja_function *f;
} jinja_row;
typedef struct jinja_callable {
    const jinja_row *row; jinja_value self;             /* a function or a method of self, or */
    const struct jinja_node *macro; struct jinja_scope *scope;  /* a macro, and where it was written */
} jinja_callable;
enum { JINJA_PARAMETERS = 6 };

/* The body of such a function: JINJA_DEFINE(upper) { return jinja_cased(r, v, true); } */
#ifdef __GNUC__
#define JINJA_MAY __attribute__((unused))
#else
#define JINJA_MAY
#endif
#define JINJA_DEFINE(name)                                                                                             \
    static jinja_value jinja_##name(JINJA_MAY jinja_run *r, JINJA_MAY jinja_value v, JINJA_MAY const jinja_value *a,   \
                                    JINJA_MAY const jinja_call *c)

static jinja_value jinja_get_item(jinja_run *r, jinja_value v, jinja_value key);
static jinja_value jinja_operate(jinja_run *r, const char *op, jinja_value a, jinja_value b);
static jinja_value jinja_call_value(jinja_run *r, jinja_value f, const jinja_call *c);

/* Which parameter is called so? -1: none. */
static int jinja_parameter(const char *parameters, const char *name) {
    size_t n = strlen(name);
    int i = 0;
    for (const char *p = parameters; *p; p += strcspn(p, ","), p += *p == ',', i++)
        if (strcspn(p, ",") == n && !strncmp(p, name, n)) return i;
    return -1;
}
static jinja_value jinja_call_row(jinja_run *r, const jinja_row *row, jinja_value v, const jinja_call *c) {
    jinja_value a[JINJA_PARAMETERS];
    size_t most = *row->parameters ? 1 : 0;
    for (const char *p = row->parameters; *p; p++) most += *p == ',';
    for (int i = 0; i < JINJA_PARAMETERS; i++) a[i] = (jinja_value){.type = JINJA_MISSING};
    jinja_step(r, 0);
    if (!strcmp(row->parameters, "*")) return row->f(r, v, a, c);
    if (c->args > most) jinja_fail(r, "%s takes at most %zu arguments", row->name, most);
    for (size_t i = 0; i < c->args; i++) a[i] = c->arg[i];
    for (size_t i = 0; i < c->names; i++) {
        int k = jinja_parameter(row->parameters, c->name[i]);
        if (k < 0) jinja_fail(r, "%s has no argument %.60s", row->name, c->name[i]);
        if (a[k].type != JINJA_MISSING) jinja_fail(r, "%s is given %.60s twice", row->name, c->name[i]);
        a[k] = c->named[i];
    }
    for (int i = 0; i < row->required; i++)
        if (a[i].type == JINJA_MISSING) jinja_fail(r, "%s wants more arguments: (%s)", row->name, row->parameters);
    return row->f(r, v, a, c);
}
static const jinja_row *jinja_find_row(const jinja_row *row, const char *name, size_t n) {
    for (; row->name; row++)
        if (strlen(row->name) == n && !memcmp(row->name, name, n)) return row;
    return NULL;
}

/* ---- arguments ---- */

static bool jinja_given(jinja_value v) { return v.type != JINJA_MISSING && v.type != JINJA_NONE; }
static int64_t jinja_whole(jinja_run *r, jinja_value v, int64_t otherwise) {
    if (v.type == JINJA_MISSING) return otherwise;
    if (!jinja_is_whole(v)) jinja_wrong_type(r, "a whole number is wanted", v);
    return v.i;
}
static int64_t jinja_whole_or_none(jinja_run *r, jinja_value v, int64_t otherwise) {
    return v.type == JINJA_NONE ? otherwise : jinja_whole(r, v, otherwise);
}
static bool jinja_truth(jinja_value v, bool otherwise) { return v.type == JINJA_MISSING ? otherwise : jinja_true(v); }
static jinja_string jinja_string_of(jinja_run *r, jinja_value v) {
    if (v.type != JINJA_STRING) jinja_wrong_type(r, "text is wanted", v);
    return v.s;
}
static void jinja_no_markup(jinja_run *r, jinja_value v) {
    if (v.type == JINJA_STRING && v.markup)
        jinja_fail(r, "text joined with text behind | safe would be escaped as HTML: leave | safe out");
}

/* ---- letters ---- */

/* Latin, Greek and Cyrillic, as test/gen/jinja_case.py prints them: capital letters from .. to, of which each or every
   second, and how far behind the small ones stand. Capitals have no single letter, or not this one: of `odd`. */
static const struct { uint16_t first, last; int16_t step, distance; } jinja_capitals[] = {
    {'A', 'Z', 1, 32},
    {0xC0, 0xD6, 1, 32}, {0xD8, 0xDE, 1, 32}, {0x100, 0x12E, 2, 1}, {0x132, 0x136, 2, 1}, {0x139, 0x147, 2, 1},
    {0x14A, 0x176, 2, 1}, {0x178, 0x178, 1, -121}, {0x179, 0x17D, 2, 1}, {0x370, 0x372, 2, 1}, {0x376, 0x376, 1, 1},
    {0x37F, 0x37F, 1, 116}, {0x386, 0x386, 1, 38}, {0x388, 0x38A, 1, 37}, {0x38C, 0x38C, 1, 64},
    {0x38E, 0x38F, 1, 63}, {0x391, 0x3A1, 1, 32}, {0x3A3, 0x3AB, 1, 32}, {0x3CF, 0x3CF, 1, 8}, {0x3D8, 0x3EE, 2, 1},
    {0x3F7, 0x3F7, 1, 1}, {0x3F9, 0x3F9, 1, -7}, {0x3FA, 0x3FA, 1, 1}, {0x3FD, 0x3FF, 1, -130}, {0x400, 0x40F, 1, 80},
    {0x410, 0x42F, 1, 32}, {0x460, 0x480, 2, 1}, {0x48A, 0x4BE, 2, 1}, {0x4C0, 0x4C0, 1, 15}, {0x4C1, 0x4CD, 2, 1},
    {0x4D0, 0x52E, 2, 1}, {0x1E00, 0x1E94, 2, 1}, {0x1EA0, 0x1EFE, 2, 1}};
static const uint16_t jinja_odd[] = {
    0xB5, 0xDF, 0x130, 0x131, 0x149, 0x17F, 0x390, 0x3B0, 0x3C2, 0x3D0, 0x3D1, 0x3D5, 0x3D6, 0x3F0, 0x3F1, 0x3F4,
    0x3F5, 0x1E96, 0x1E97, 0x1E98, 0x1E99, 0x1E9A, 0x1E9B, 0x1E9E};
/* Where other letters with two cases stand. */
static const uint32_t jinja_other_cases[][2] = {{0x180, 0x2AF}, {0x345, 0x345}, {0x530, 0x590}, {0x10A0, 0x10FF},
    {0x13A0, 0x13FF}, {0x1C80, 0x1CBF}, {0x1D79, 0x1D8E}, {0x1F00, 0x1FFF}, {0x2126, 0x2132}, {0x214E, 0x2188},
    {0x24B6, 0x24E9}, {0x2C00, 0x2D2D}, {0xA640, 0xA69B}, {0xA722, 0xA7FF}, {0xAB53, 0xABBF}, {0xFB00, 0xFB17},
    {0xFF21, 0xFF5A}, {0x10400, 0x104FF}, {0x10570, 0x105BF}, {0x10C80, 0x10CFF}, {0x118A0, 0x118DF}, {0x16E40, 0x16E7F},
    {0x1E900, 0x1E943}};
/* Which capital is c the small letter of (or, capital: which is c)? -1: none. */
static int jinja_capital(uint32_t c, bool capital) {
    for (int i = 0; i < (int)(sizeof jinja_capitals / sizeof *jinja_capitals); i++) {
        int64_t x = (int64_t)c - (capital ? 0 : jinja_capitals[i].distance) - jinja_capitals[i].first;
        bool within = x >= 0 && x <= jinja_capitals[i].last - jinja_capitals[i].first;
        if (within && x % jinja_capitals[i].step == 0) return i;
    }
    return -1;
}
static bool jinja_odd_case(uint32_t c) {
    bool odd = false;
    for (size_t i = 0; i < sizeof jinja_odd / sizeof *jinja_odd; i++) odd |= jinja_odd[i] == c;
    for (size_t i = 0; i < sizeof jinja_other_cases / sizeof *jinja_other_cases; i++)
        odd |= c >= jinja_other_cases[i][0] && c <= jinja_other_cases[i][1];
    return odd;
}
/* The other case of a character, itself where it has none. */
static uint32_t jinja_case(jinja_run *r, uint32_t c, bool upper) {
    bool stays = !upper && c < 0x180 && c != 0x130;     /* German sz and its like are small already */
    int i = jinja_capital(c, !upper);
    const bool sigma = c == 0x3A3 && !upper;            /* its small letter depends on what follows */
    if (i >= 0 && !sigma) return c + (uint32_t)(upper ? -jinja_capitals[i].distance : jinja_capitals[i].distance);
    if (c >= 128 && !stays && (sigma || jinja_odd_case(c)))
        jinja_fail(r, "the upper or lower case of the letter U+%04X", c);
    return c;
}
static bool jinja_has_case(uint32_t c) {
    return jinja_capital(c, true) >= 0 || jinja_capital(c, false) >= 0 || jinja_odd_case(c);
}
static void jinja_put_case(jinja_run *r, jinja_buffer *b, jinja_string x, bool upper) {
    for (size_t i = 0, next; i < x.n; i = next) {
        char text[4];
        uint32_t c = jinja_code(x, i);
        next = jinja_after(x, i);
        if (c == UINT32_MAX) jinja_put(r, b, (jinja_string){x.s + i, x.mark + i, next - i});
        else jinja_put_marked(r, b, text, (size_t)utf8_put(text, jinja_case(r, c, upper)), x.mark[i]);
    }
}
static jinja_value jinja_cased(jinja_run *r, jinja_value v, bool upper) {
    jinja_buffer b = {0};
    jinja_put_case(r, &b, jinja_str(r, v).s, upper);
    return jinja_done(&b);
}
JINJA_DEFINE(upper) { return jinja_cased(r, v, true); }
JINJA_DEFINE(lower) { return jinja_cased(r, v, false); }
/* The first character of x upper case, the others lower. */
static void jinja_put_capital(jinja_run *r, jinja_buffer *b, jinja_string x) {
    size_t first = x.n ? jinja_after(x, 0) : 0;
    jinja_put_case(r, b, (jinja_string){x.s, x.mark, first}, true);
    jinja_put_case(r, b, (jinja_string){x.s + first, x.mark + first, x.n - first}, false);
}
JINJA_DEFINE(capitalize) {
    jinja_buffer b = {0};
    jinja_put_capital(r, &b, jinja_str(r, v).s);
    return jinja_done(&b);
}
/* Words begin behind white space, brackets and hyphens (filter), or behind anything but a letter (method). */
static jinja_value jinja_titled(jinja_run *r, jinja_string x, bool letters) {
    jinja_buffer b = {0};
    bool begins = true;
    for (size_t i = 0, next; i < x.n; i = next) {
        uint32_t c = jinja_code(x, i);
        next = jinja_after(x, i);
        jinja_put_case(r, &b, (jinja_string){x.s + i, x.mark + i, next - i}, begins);
        begins = letters ? !jinja_has_case(c) : jinja_is_space(c) || (c < 128 && c && strchr("-({[<", (int)c));
    }
    return jinja_done(&b);
}
JINJA_DEFINE(title) { return jinja_titled(r, jinja_str(r, v).s, false); }
JINJA_DEFINE(title_method) { return jinja_titled(r, v.s, true); }
/* isupper, islower: some letter, and none of the other case. */
static bool jinja_all_case(jinja_run *r, jinja_string x, bool upper) {
    bool some = false;
    for (size_t i = 0; i < x.n; i = jinja_after(x, i)) {
        uint32_t c = jinja_code(x, i);
        if (c == UINT32_MAX || jinja_case(r, c, true) == jinja_case(r, c, false)) continue;
        if (c != jinja_case(r, c, upper)) return false;
        some = true;
    }
    return some;
}

/* ---- strings ---- */

enum { JINJA_LEFT = 1, JINJA_RIGHT = 2 };
/* Is the character at i one of chars (missing: white space)? */
static bool jinja_among(jinja_run *r, jinja_string x, size_t i, jinja_value chars) {
    if (!jinja_given(chars)) return jinja_is_space(jinja_code(x, i));
    jinja_string one = {x.s + i, NULL, jinja_after(x, i) - i}, all = jinja_string_of(r, chars);
    return jinja_find(r, all, one, 0) <= all.n;
}
static jinja_value jinja_strip(jinja_run *r, jinja_value v, jinja_value chars, int sides) {
    jinja_string x = v.s;
    size_t from = 0, to = x.n;
    while (sides & JINJA_LEFT && from < to && jinja_among(r, x, from, chars)) from = jinja_after(x, from);
    while (sides & JINJA_RIGHT && to > from) {
        size_t last = jinja_before(x, to);
        if (last < from || !jinja_among(r, (jinja_string){x.s, x.mark, to}, last, chars)) break;
        to = last;
    }
    jinja_step(r, (from + x.n - to) / 8);
    return jinja_slice_of(v, from, to);
}
JINJA_DEFINE(trim) { return jinja_strip(r, jinja_str(r, v), a[0], JINJA_LEFT | JINJA_RIGHT); }
JINJA_DEFINE(lstrip) { return jinja_strip(r, v, a[0], JINJA_LEFT); }
JINJA_DEFINE(rstrip) { return jinja_strip(r, v, a[0], JINJA_RIGHT); }
static jinja_value jinja_replaced(jinja_run *r, jinja_string x, jinja_string old, jinja_string new, int64_t count) {
    jinja_buffer b = {0};
    size_t at = 0;
    for (; count; count--) {
        size_t found = jinja_find(r, x, old, at);
        if (found > x.n) break;
        if (!old.n) {                   /* nothing is found before each character and at the end */
            size_t next = at < x.n ? jinja_after(x, at) : at;
            jinja_put(r, &b, new);
            jinja_put(r, &b, (jinja_string){x.s + at, x.mark + at, next - at});
            if (next == at) return jinja_done(&b);
            at = next;
            continue;
        }
        jinja_put(r, &b, (jinja_string){x.s + at, x.mark + at, found - at});
        jinja_put(r, &b, new);
        at = found + old.n;
    }
    jinja_put(r, &b, (jinja_string){x.s + at, x.mark + at, x.n - at});
    return jinja_done(&b);
}
JINJA_DEFINE(replace) {
    int64_t count = jinja_whole_or_none(r, a[2], -1);
    return jinja_replaced(r, jinja_str(r, v).s, jinja_str(r, a[0]).s, jinja_str(r, a[1]).s, count);
}
JINJA_DEFINE(replace_method) {
    return jinja_replaced(r, v.s, jinja_string_of(r, a[0]), jinja_string_of(r, a[1]), jinja_whole(r, a[2], -1));
}
/* At white space: runs of it count as one. After `most` pieces the rest stays whole. */
static void jinja_split_space(jinja_run *r, jinja_value v, int64_t most, jinja_value list) {
    for (;; most--) {
        size_t end = 0;
        v = jinja_strip(r, v, jinja_none(), JINJA_LEFT);
        if (!v.s.n) return;
        while (end < v.s.n && (most == 0 || !jinja_is_space(jinja_code(v.s, end)))) end = jinja_after(v.s, end);
        jinja_push(r, list, jinja_slice_of(v, 0, end));
        v = jinja_slice_of(v, end, v.s.n);
    }
}
JINJA_DEFINE(split) {
    jinja_value list = jinja_new_list(r, JINJA_LIST);
    int64_t most = jinja_whole(r, a[1], -1);
    if (!jinja_given(a[0])) {
        jinja_split_space(r, v, most < 0 ? INT64_MAX : most, list);
        return list;
    }
    jinja_string by = jinja_string_of(r, a[0]);
    if (!by.n) jinja_fail(r, "split wants something to split at, not an empty text");
    size_t at = 0;
    for (size_t found; most && (found = jinja_find(r, v.s, by, at)) <= v.s.n; most--) {
        jinja_push(r, list, jinja_slice_of(v, at, found));
        at = found + by.n;
    }
    jinja_push(r, list, jinja_slice_of(v, at, v.s.n));
    return list;
}
/* Where `what` stands last in the first n bytes of x; x.n + 1: nowhere. */
static size_t jinja_find_last(jinja_run *r, jinja_string x, jinja_string what, size_t n) {
    jinja_step(r, x.n / 8);
    for (size_t i = n < what.n ? 0 : n - what.n + 1; i-- > 0;)
        if (!memcmp(x.s + i, what.s, what.n)) return i;
    return x.n + 1;
}
static void jinja_turn(jinja_list *l) {
    for (size_t i = 0; i < l->count / 2; i++) {
        jinja_value x = l->item[i];
        l->item[i] = l->item[l->count - 1 - i];
        l->item[l->count - 1 - i] = x;
    }
}
JINJA_DEFINE(rsplit) {
    int64_t most = jinja_whole(r, a[1], -1);
    if (!jinja_given(a[0])) {
        if (most >= 0) jinja_fail(r, "rsplit at white space takes no limit here");
        return jinja_split(r, v, a, c);
    }
    jinja_string by = jinja_string_of(r, a[0]);
    if (!by.n) jinja_fail(r, "rsplit wants something to split at, not an empty text");
    jinja_value list = jinja_new_list(r, JINJA_LIST);
    size_t end = v.s.n;
    for (size_t found; most && (found = jinja_find_last(r, v.s, by, end)) <= v.s.n; most--) {
        jinja_push(r, list, jinja_slice_of(v, found + by.n, end));
        end = found;
    }
    jinja_push(r, list, jinja_slice_of(v, 0, end));
    jinja_turn(list.list);
    return list;
}
/* (what is before, the separator, what is behind) */
static jinja_value jinja_parted(jinja_run *r, jinja_value v, jinja_value by, bool last) {
    jinja_string x = jinja_string_of(r, by);
    if (!x.n) jinja_fail(r, "partition wants something to split at, not an empty text");
    jinja_value t = jinja_new_list(r, JINJA_TUPLE);
    size_t at = last ? jinja_find_last(r, v.s, x, v.s.n) : jinja_find(r, v.s, x, 0);
    bool found = at <= v.s.n;
    if (!found) at = last ? 0 : v.s.n;
    size_t after = found ? at + x.n : at;
    jinja_push(r, t, jinja_slice_of(v, 0, at));
    jinja_push(r, t, jinja_slice_of(v, at, after));
    jinja_push(r, t, jinja_slice_of(v, after, v.s.n));
    return t;
}
JINJA_DEFINE(partition) { return jinja_parted(r, v, a[0], false); }
JINJA_DEFINE(rpartition) { return jinja_parted(r, v, a[0], true); }
static bool jinja_ends_line(uint32_t c) {
    return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
}
static jinja_value jinja_lines(jinja_run *r, jinja_value v, bool keep_ends) {
    jinja_value list = jinja_new_list(r, JINJA_LIST);
    for (size_t from = 0, to, next; from < v.s.n; from = next) {
        for (to = from; to < v.s.n && !jinja_ends_line(jinja_code(v.s, to));) to = jinja_after(v.s, to);
        next = to < v.s.n ? jinja_after(v.s, to) : to;
        if (next < v.s.n && v.s.s[to] == '\r' && v.s.s[next] == '\n') next++;
        jinja_push(r, list, jinja_slice_of(v, from, keep_ends ? next : to));
    }
    return list;
}
JINJA_DEFINE(splitlines) { return jinja_lines(r, v, jinja_truth(a[0], false)); }
static bool jinja_touches(jinja_run *r, jinja_string x, jinja_value what, bool end) {
    if (what.type == JINJA_TUPLE) {
        bool any = false;
        for (size_t i = 0; i < what.list->count && !any; i++) any = jinja_touches(r, x, what.list->item[i], end);
        return any;
    }
    jinja_string y = jinja_string_of(r, what);
    return y.n <= x.n && !memcmp(x.s + (end ? x.n - y.n : 0), y.s, y.n);
}
JINJA_DEFINE(startswith) { return jinja_bool(jinja_touches(r, v.s, a[0], false)); }
JINJA_DEFINE(endswith) { return jinja_bool(jinja_touches(r, v.s, a[0], true)); }
JINJA_DEFINE(removeprefix) {
    jinja_string x = jinja_string_of(r, a[0]);
    return jinja_touches(r, v.s, a[0], false) ? jinja_slice_of(v, x.n, v.s.n) : v;
}
JINJA_DEFINE(removesuffix) {
    jinja_string x = jinja_string_of(r, a[0]);
    return jinja_touches(r, v.s, a[0], true) ? jinja_slice_of(v, 0, v.s.n - x.n) : v;
}
/* A place in bytes as a place in characters; nowhere: -1. */
static jinja_value jinja_place(jinja_run *r, jinja_string x, size_t at) {
    return jinja_int(at > x.n ? -1 : (int64_t)jinja_characters(r, (jinja_string){x.s, x.mark, at}));
}
JINJA_DEFINE(find_method) { return jinja_place(r, v.s, jinja_find(r, v.s, jinja_string_of(r, a[0]), 0)); }
JINJA_DEFINE(rfind_method) { return jinja_place(r, v.s, jinja_find_last(r, v.s, jinja_string_of(r, a[0]), v.s.n)); }
JINJA_DEFINE(index_method) {
    jinja_value at = jinja_find_method(r, v, a, c);
    if (at.i < 0) jinja_fail(r, "substring not found");
    return at;
}
JINJA_DEFINE(count_method) {
    jinja_string what = jinja_string_of(r, a[0]);
    int64_t n = what.n ? 0 : (int64_t)jinja_characters(r, v.s) + 1;
    for (size_t at = 0; what.n && (at = jinja_find(r, v.s, what, at)) <= v.s.n; at += what.n) n++;
    return jinja_int(n);
}
static jinja_value jinja_path(jinja_run *r, jinja_value v, jinja_value path);
/* The texts of all, with `between` between. */
static jinja_value jinja_joined(jinja_run *r, jinja_value all, jinja_string between, jinja_value path, bool any) {
    jinja_buffer b = {0};
    jinja_value x;
    jinja_iterator *it = jinja_iterate(r, all);
    for (size_t i = 0; jinja_next(r, it, &x); i++) {
        if (i) jinja_put(r, &b, between);
        if (path.type != JINJA_MISSING) x = jinja_path(r, x, path);
        if (!any && x.type != JINJA_STRING)
            jinja_fail(r, "sequence item %zu: expected str instance, %s found", i, jinja_type_name[x.type]);
        jinja_put(r, &b, jinja_str(r, x).s);
    }
    return jinja_done(&b);
}
JINJA_DEFINE(join) {
    jinja_value between = a[0].type == JINJA_MISSING ? jinja_plain(r, "") : jinja_str(r, a[0]);
    return jinja_joined(r, v, between.s, jinja_given(a[1]) ? a[1] : (jinja_value){.type = JINJA_MISSING}, true);
}
JINJA_DEFINE(join_method) {
    jinja_no_markup(r, v);
    return jinja_joined(r, a[0], v.s, (jinja_value){.type = JINJA_MISSING}, false);
}
/* isdigit, isalpha, isalnum, isspace: not empty, and each character is one. Beyond ASCII only spaces are known. */
static jinja_value jinja_all_are(jinja_run *r, jinja_string x, int (*is)(int)) {
    bool all = x.n > 0;
    for (size_t i = 0; i < x.n && all; i = jinja_after(x, i)) {
        uint32_t c = jinja_code(x, i);
        if (is == isspace) all = jinja_is_space(c);
        else if (c >= 128) jinja_fail(r, "what kind of character this is, beyond ASCII");
        else all = is((int)c) != 0;
    }
    return jinja_bool(all);
}
JINJA_DEFINE(isdigit) { return jinja_all_are(r, v.s, isdigit); }
JINJA_DEFINE(isalpha) { return jinja_all_are(r, v.s, isalpha); }
JINJA_DEFINE(isalnum) { return jinja_all_are(r, v.s, isalnum); }
JINJA_DEFINE(isspace) { return jinja_all_are(r, v.s, isspace); }
JINJA_DEFINE(isupper) { return jinja_bool(jinja_all_case(r, jinja_str(r, v).s, true)); }
JINJA_DEFINE(islower) { return jinja_bool(jinja_all_case(r, jinja_str(r, v).s, false)); }
static void jinja_put_fill(jinja_run *r, jinja_buffer *b, size_t n) {
    for (size_t i = 0; i < n; i++) jinja_say(r, b, " ");
}
/* A text of `width` characters at least, with blanks before and behind it. */
static jinja_value jinja_padded(jinja_run *r, jinja_value v, int64_t width, int sides) {
    jinja_buffer b = {0};
    size_t n = jinja_characters(r, v.s), more = width > 0 && (size_t)width > n ? (size_t)width - n : 0;
    size_t left = sides == JINJA_LEFT ? more : sides == JINJA_RIGHT ? 0 : more / 2 + (more & (size_t)width & 1);
    jinja_step(r, more);
    jinja_put_fill(r, &b, left);
    jinja_put(r, &b, v.s);
    jinja_put_fill(r, &b, more - left);
    return jinja_done(&b);
}
JINJA_DEFINE(center) { return jinja_padded(r, jinja_str(r, v), jinja_whole(r, a[0], 80), JINJA_LEFT | JINJA_RIGHT); }
JINJA_DEFINE(ljust) { return jinja_padded(r, v, jinja_whole(r, a[0], 0), JINJA_RIGHT); }
JINJA_DEFINE(rjust) { return jinja_padded(r, v, jinja_whole(r, a[0], 0), JINJA_LEFT); }

/* ---- "%s is %d" and "{} is {}" ---- */

/* One conversion, "%5.2f", of v. */
static void jinja_put_percent(jinja_run *r, jinja_buffer *b, const char *flags, char kind, jinja_value v) {
    char format[32], text[400];
    if (strchr("sr", kind)) {
        jinja_buffer own = {0};
        if (kind == 'r') jinja_put_repr(r, &own, v);
        jinja_string x = kind == 'r' ? jinja_done(&own).s : jinja_str(r, v).s;
        if (*flags) jinja_fail(r, "%%%s%c: a width or precision of text", flags, kind);
        jinja_put(r, b, x);
        return;
    }
    if (!jinja_is_number(v)) jinja_wrong_type(r, "a number is wanted", v);
    bool whole = strchr("dixX", kind) != NULL;
    if (whole && v.type == JINJA_FLOAT && (kind == 'x' || kind == 'X' || !(fabs(v.f) < 9e18)))
        jinja_fail(r, "%%%c of a float", kind);
    snprintf(format, sizeof format, "%%%s%s%c", flags, whole ? "ll" : "", kind);
    if (whole) snprintf(text, sizeof text, format, v.type == JINJA_FLOAT ? (long long)v.f : (long long)v.i);
    else snprintf(text, sizeof text, format, jinja_number(v));
    jinja_say(r, b, text);
}
static jinja_value jinja_percent(jinja_run *r, jinja_value format, jinja_value all) {
    jinja_buffer b = {0};
    jinja_string x = format.s;
    size_t used = 0, count = all.type == JINJA_TUPLE ? all.list->count : 1;
    for (size_t i = 0; i < x.n;) {
        size_t end = i;
        while (end < x.n && x.s[end] != '%') end++;
        jinja_put(r, &b, (jinja_string){x.s + i, x.mark + i, end - i});
        if (end == x.n) break;
        char flags[16] = "";
        size_t n = 0;
        for (i = end + 1; i < x.n && strchr("-+ #0123456789.", x.s[i]) && n < 8; i++) flags[n++] = x.s[i];
        if (i == x.n || !strchr("srdixXfFeEgG%", x.s[i]) || strspn(flags, "-+ #0") + 6 < n)
            jinja_fail(r, "this %% in a format is not read");
        char kind = x.s[i++];
        if (kind == '%') {
            jinja_say(r, &b, "%");
            continue;
        }
        if (used == count) jinja_fail(r, "not enough arguments for format string");
        jinja_put_percent(r, &b, flags, kind, all.type == JINJA_TUPLE ? all.list->item[used] : all);
        used++;
    }
    if (used < count && all.type != JINJA_DICT && all.type != JINJA_LIST)
        jinja_fail(r, "not all arguments converted during string formatting");
    return jinja_done(&b);
}
JINJA_DEFINE(format) {
    jinja_value all = jinja_new_list(r, JINJA_TUPLE);
    jinja_no_markup(r, v);
    if (c->names) jinja_fail(r, "a format with names is not read");
    for (size_t i = 0; i < c->args; i++) jinja_push(r, all, c->arg[i]);
    return jinja_percent(r, jinja_str(r, v), all);
}
/* What {name}, {0} or {} stands for. */
static jinja_value jinja_field(jinja_run *r, const jinja_call *c, const char *name, size_t n, size_t *next) {
    size_t index = *next, digits = strspn(name, "0123456789");
    for (size_t i = 0; i < c->names; i++)
        if (strlen(c->name[i]) == n && !memcmp(c->name[i], name, n)) return c->named[i];
    if (n && (digits < n || n > 6)) jinja_fail(r, "{%.*s} in a format is not read", n < 40 ? (int)n : 40, name);
    if (n) index = strtoul(name, NULL, 10);
    else ++*next;
    if (index >= c->args) jinja_fail(r, "not enough arguments for format string");
    return c->arg[index];
}
JINJA_DEFINE(format_method) {
    jinja_buffer b = {0};
    jinja_string x = v.s;
    size_t next = 0;
    jinja_no_markup(r, v);
    for (size_t i = 0, end; i < x.n; i = end) {
        for (end = i; end < x.n && x.s[end] != '{' && x.s[end] != '}';) end++;
        jinja_put(r, &b, (jinja_string){x.s + i, x.mark + i, end - i});
        if (end == x.n) break;
        if (end + 1 < x.n && x.s[end + 1] == x.s[end]) {        /* {{ and }} */
            jinja_put(r, &b, (jinja_string){x.s + end, x.mark + end, 1});
            end += 2;
            continue;
        }
        const char *close = memchr(x.s + end, '}', x.n - end);
        if (!close || x.s[end] == '}') jinja_fail(r, "a single bracket in a format");
        size_t from = end + 1, to = close - x.s;
        jinja_put(r, &b, jinja_str(r, jinja_field(r, c, jinja_copy(r, x.s + from, to - from), to - from, &next)).s);
        end = to + 1;
    }
    return jinja_done(&b);
}

/* ---- filters of single values ---- */

JINJA_DEFINE(default) {
    if (v.type != JINJA_UNDEFINED && !(jinja_truth(a[1], false) && !jinja_true(v))) return v;
    return a[0].type == JINJA_MISSING ? jinja_plain(r, "") : a[0];
}
JINJA_DEFINE(string_filter) { return jinja_str(r, v); }
JINJA_DEFINE(safe) {
    v = jinja_str(r, v);
    v.markup = true;
    return v;
}
/* The digits of a numeral, as Python's int() and float() read it: in text[80], without the blanks around and the _
   within. False: too long, or none. */
static bool jinja_numeral_of(jinja_run *r, jinja_value v, char text[80]) {
    jinja_string x = jinja_strip(r, v, jinja_none(), JINJA_LEFT | JINJA_RIGHT).s;
    size_t n = 0;
    for (size_t i = 0; i < x.n && n < 79; i++) {
        bool inside = i && i + 1 < x.n && isalnum((unsigned char)x.s[i - 1]) && isalnum((unsigned char)x.s[i + 1]);
        if (x.s[i] != '_' || !inside) text[n++] = x.s[i];
    }
    text[n] = '\0';
    return n > 0 && x.n < 79 && strlen(text) == n;
}
static bool jinja_to_float(jinja_run *r, jinja_value v, double *f) {
    char text[80], *end;
    jinja_must_be_defined(r, v);
    if (jinja_is_number(v)) *f = jinja_number(v);
    if (v.type != JINJA_STRING) return jinja_is_number(v);
    if (!jinja_numeral_of(r, v, text) || strpbrk(text, "xXpP(")) return false;
    *f = strtod(text, &end);
    return !*end;
}
static bool jinja_to_whole(jinja_run *r, jinja_value v, int base, int64_t *i) {
    char text[80], *end;
    double f;
    if (v.type == JINJA_STRING && jinja_numeral_of(r, v, text)) {
        errno = 0;
        *i = strtoll(text, &end, base);
        if (!*end && (text[0] != '0' || base != 0)) {
            if (errno) jinja_fail(r, "a whole number of more than 63 bits");
            return true;
        }
    }
    if (jinja_is_whole(v)) *i = v.i;
    if (jinja_is_whole(v)) return true;
    if (!jinja_to_float(r, v, &f) || !isfinite(f)) return false;
    if (!(fabs(f) < 9e18)) jinja_fail(r, "a whole number of more than 63 bits");
    *i = (int64_t)f;
    return true;
}
JINJA_DEFINE(int_filter) {
    int64_t i, base = jinja_whole(r, a[1], 10);
    if (base < 2 || base > 36) jinja_fail(r, "a base between 2 and 36 is wanted");
    if (jinja_to_whole(r, v, (int)base, &i)) return jinja_int(i);
    return a[0].type == JINJA_MISSING ? jinja_int(0) : a[0];
}
JINJA_DEFINE(float_filter) {
    double f;
    if (jinja_to_float(r, v, &f)) return jinja_float(f);
    return a[0].type == JINJA_MISSING ? jinja_float(0) : a[0];
}
JINJA_DEFINE(abs) {
    if (!jinja_is_number(v)) jinja_wrong_type(r, "abs", v);
    if (v.type == JINJA_FLOAT) return jinja_float(fabs(v.f));
    if (v.i == INT64_MIN) jinja_fail(r, "a whole number of more than 63 bits");
    return jinja_int(v.i < 0 ? -v.i : v.i);
}
JINJA_DEFINE(round) {
    int64_t digits = jinja_whole(r, a[0], 0);
    char text[400];
    if (!jinja_is_number(v)) jinja_wrong_type(r, "round", v);
    if (digits < 0 || digits > 40) jinja_fail(r, "round to %lld digits", (long long)digits);
    bool common = a[1].type == JINJA_MISSING || jinja_is_text(a[1], "common"), up = jinja_is_text(a[1], "ceil");
    if (!common && !up && !jinja_is_text(a[1], "floor")) jinja_fail(r, "method must be common, ceil or floor");
    if (common && v.type != JINJA_FLOAT) return jinja_int(v.i);
    double power = pow(10, (double)digits), x = jinja_number(v);
    if (!common) return jinja_float((up ? ceil(x * power) : floor(x * power)) / power);
    if (!isfinite(x)) return v;
    snprintf(text, sizeof text, "%.*f", (int)digits, x);
    return jinja_float(strtod(text, NULL));
}
JINJA_DEFINE(indent) {
    jinja_buffer b = {0}, by = {0};
    bool first = jinja_truth(a[1], false), blank = jinja_truth(a[2], false);
    jinja_string_of(r, v);
    jinja_no_markup(r, v);
    if (a[0].type == JINJA_STRING) jinja_put(r, &by, a[0].s);
    else {
        int64_t width = jinja_whole(r, a[0], 4);
        jinja_step(r, width > 0 ? (size_t)width : 0);
        jinja_put_fill(r, &by, width > 0 ? (size_t)width : 0);
    }
    jinja_put(r, &b, v.s);
    jinja_say(r, &b, "\n");             /* a last line that is empty is a line too */
    jinja_list *lines = jinja_lines(r, jinja_done(&b), false).list;
    b = (jinja_buffer){0};
    for (size_t i = 0; i < lines->count; i++) {
        if (i) jinja_say(r, &b, "\n");
        if (i ? blank || lines->item[i].s.n : first) jinja_put(r, &b, jinja_done(&by).s);
        jinja_put(r, &b, lines->item[i].s);
    }
    return jinja_done(&b);
}
JINJA_DEFINE(tojson) {
    bool lines = jinja_given(a[1]);
    jinja_buffer b = {0}, by = {0};
    if (lines && a[1].type == JINJA_STRING) jinja_put(r, &by, a[1].s);
    else if (lines) {
        int64_t width = jinja_whole(r, a[1], 0);
        jinja_step(r, width > 0 ? (size_t)width : 0);
        jinja_put_fill(r, &by, width > 0 ? (size_t)width : 0);
    }
    jinja_json_style style = {jinja_truth(a[0], false), jinja_truth(a[3], false), lines, jinja_done(&by).s,
                              jinja_plain(r, lines ? "," : ", ").s, jinja_plain(r, ": ").s};
    if (jinja_given(a[2])) {
        jinja_list *two = jinja_listed(r, a[2]).list;
        if (two->count != 2) jinja_fail(r, "separators are two texts");
        style.comma = jinja_string_of(r, two->item[0]);
        style.colon = jinja_string_of(r, two->item[1]);
    }
    jinja_put_json(r, &b, v, &style, 0);
    return jinja_done(&b);
}

/* ---- filters of many values ---- */

/* "a.b.0" of v, each part an item or an attribute. */
static jinja_value jinja_path(jinja_run *r, jinja_value v, jinja_value path) {
    if (path.type != JINJA_STRING) return path.type == JINJA_NONE ? v : jinja_get_item(r, v, path);
    for (size_t at = 0, end; at <= path.s.n; at = end + 1) {
        for (end = at; end < path.s.n && path.s.s[end] != '.';) end++;
        jinja_value part = jinja_slice_of(path, at, end);
        size_t digits = 0;
        while (digits < part.s.n && isdigit((unsigned char)part.s.s[digits])) digits++;
        if (digits && digits == part.s.n && digits < 10) part = jinja_int(strtol(part.s.s, NULL, 10));
        v = jinja_get_item(r, v, part);
    }
    return v;
}
static jinja_value jinja_apply_filter(jinja_run *r, const char *name, jinja_value v, const jinja_call *c);
static bool jinja_apply_test(jinja_run *r, const char *name, jinja_value v, const jinja_call *c);
static jinja_iterator *jinja_made(jinja_run *r, jinja_value v,
                                  bool (*make)(jinja_run *r, jinja_iterator *it, jinja_value *x)) {
    jinja_iterator *it = jinja_take(r, 1, sizeof *it);
    it->from = jinja_iterate(r, v);
    it->make = make;
    it->path = it->otherwise = (jinja_value){.type = JINJA_MISSING};
    return it;
}
static jinja_value jinja_iterator_of(jinja_iterator *it) {
    return (jinja_value){.type = JINJA_ITERATOR, .iterator = it};
}
static bool jinja_make_attribute(jinja_run *r, jinja_iterator *it, jinja_value *v) {
    *v = jinja_path(r, *v, it->path);
    if (v->type == JINJA_UNDEFINED && jinja_given(it->otherwise)) *v = it->otherwise;
    return true;
}
static bool jinja_make_filtered(jinja_run *r, jinja_iterator *it, jinja_value *v) {
    *v = jinja_apply_filter(r, it->name, *v, it->call);
    return true;
}
/* The call without its first `n` arguments. */
static const jinja_call *jinja_rest(jinja_run *r, const jinja_call *c, size_t n) {
    jinja_call *rest = jinja_take(r, 1, sizeof *rest);
    *rest = *c;
    rest->arg += n;
    rest->args -= n;
    return rest;
}
static const char *jinja_called(jinja_run *r, jinja_value name) {
    jinja_string x = jinja_string_of(r, name);
    return jinja_copy(r, x.s, x.n);
}
/* map('upper'), map(attribute='name', default='') */
JINJA_DEFINE(map) {
    if (!jinja_true(v)) return jinja_iterator_of(jinja_iterate(r, jinja_new_list(r, JINJA_LIST)));
    jinja_iterator *it = jinja_made(r, v, c->args ? jinja_make_filtered : jinja_make_attribute);
    if (c->args) {
        it->name = jinja_called(r, c->arg[0]);
        it->call = jinja_rest(r, c, 1);
    }
    for (size_t i = 0; i < c->names && !c->args; i++)
        if (!strcmp(c->name[i], "attribute")) it->path = c->named[i];
        else if (!strcmp(c->name[i], "default")) it->otherwise = c->named[i];
        else jinja_fail(r, "map has no argument %.60s", c->name[i]);
    if (!c->args && it->path.type == JINJA_MISSING) jinja_fail(r, "map wants a filter or an attribute");
    return jinja_iterator_of(it);
}
static bool jinja_make_selected(jinja_run *r, jinja_iterator *it, jinja_value *v) {
    jinja_value x = it->path.type == JINJA_MISSING ? *v : jinja_path(r, *v, it->path);
    return (it->name ? jinja_apply_test(r, it->name, x, it->call) : jinja_true(x)) == it->keep;
}
static jinja_value jinja_selected(jinja_run *r, jinja_value v, const jinja_call *c, bool attribute, bool keep) {
    size_t at = attribute;
    if (!jinja_true(v)) return jinja_iterator_of(jinja_iterate(r, jinja_new_list(r, JINJA_LIST)));
    if (attribute && !c->args) jinja_fail(r, "the name of an attribute is wanted");
    jinja_iterator *it = jinja_made(r, v, jinja_make_selected);
    it->keep = keep;
    if (attribute) it->path = c->arg[0];
    if (c->args > at) {
        it->name = jinja_called(r, c->arg[at]);
        it->call = jinja_rest(r, c, at + 1);
    }
    return jinja_iterator_of(it);
}
JINJA_DEFINE(select) { return jinja_selected(r, v, c, false, true); }
JINJA_DEFINE(reject) { return jinja_selected(r, v, c, false, false); }
JINJA_DEFINE(selectattr) { return jinja_selected(r, v, c, true, true); }
JINJA_DEFINE(rejectattr) { return jinja_selected(r, v, c, true, false); }
JINJA_DEFINE(list_filter) { return jinja_listed(r, v); }
static int64_t jinja_length_of(jinja_run *r, jinja_value v);
JINJA_DEFINE(length) { return jinja_int(jinja_length_of(r, v)); }
JINJA_DEFINE(first) {
    jinja_value x;
    return jinja_next(r, jinja_iterate(r, v), &x) ? x : jinja_undefined(r, "No first item, sequence was empty.");
}
JINJA_DEFINE(last) {
    if (v.type == JINJA_ITERATOR) jinja_fail(r, "'generator' object is not reversible: write ... | list | last");
    jinja_list *l = jinja_listed(r, v).list;
    return l->count ? l->item[l->count - 1] : jinja_undefined(r, "No last item, sequence was empty.");
}
JINJA_DEFINE(reverse) {
    jinja_value list = jinja_listed(r, v);
    jinja_turn(list.list);
    if (v.type == JINJA_STRING)
        return jinja_joined(r, list, jinja_plain(r, "").s, (jinja_value){.type = JINJA_MISSING}, true);
    return v.type == JINJA_ITERATOR ? list : jinja_iterator_of(jinja_iterate(r, list));
}
JINJA_DEFINE(items_filter) {
    if (v.type != JINJA_DICT && v.type != JINJA_UNDEFINED) jinja_fail(r, "Can only get item pairs from a mapping.");
    if (v.type == JINJA_DICT) v = jinja_view(r, v.dict, JINJA_ITEMS);
    return jinja_iterator_of(jinja_iterate(r, v));
}
/* What values are sorted by: an attribute or themselves; case: whether A and a differ. */
static jinja_value jinja_key(jinja_run *r, jinja_value v, jinja_value path, bool cased) {
    if (jinja_given(path)) v = jinja_path(r, v, path);
    return cased || v.type != JINJA_STRING ? v : jinja_cased(r, v, false);
}
/* Sort items by their keys, equal ones in their order; scratch: as much room. (Merge sort.) */
typedef struct { jinja_value key, item; } jinja_sortable;
static void jinja_merge_sort(jinja_run *r, jinja_sortable *x, jinja_sortable *scratch, size_t n, int sign) {
    size_t half = n / 2, i = 0, j = half;
    if (n < 2) return;
    jinja_merge_sort(r, x, scratch, half, sign);
    jinja_merge_sort(r, x + half, scratch, n - half, sign);
    for (size_t k = 0; k < n; k++) {
        bool second = i == half || (j < n && sign * jinja_compare(r, x[j].key, x[i].key) == -1);
        scratch[k] = second ? x[j++] : x[i++];
    }
    memcpy(x, scratch, n * sizeof *x);
}
static jinja_value jinja_sorted(jinja_run *r, jinja_value v, jinja_value path, bool cased, bool reverse) {
    jinja_list *l = jinja_listed(r, v).list;
    jinja_sortable *x = jinja_take(r, l->count, sizeof *x), *scratch = jinja_take(r, l->count, sizeof *scratch);
    for (size_t i = 0; i < l->count; i++)
        x[i] = (jinja_sortable){jinja_key(r, l->item[i], path, cased), l->item[i]};
    jinja_merge_sort(r, x, scratch, l->count, reverse ? -1 : 1);
    jinja_value list = jinja_new_list(r, JINJA_LIST);
    for (size_t i = 0; i < l->count; i++) jinja_push(r, list, x[i].item);
    return list;
}
JINJA_DEFINE(sort) {
    if (a[2].type == JINJA_STRING && memchr(a[2].s.s, ',', a[2].s.n))
        jinja_fail(r, "sort by one attribute, not several");
    return jinja_sorted(r, v, a[2], jinja_truth(a[1], false), jinja_truth(a[0], false));
}
JINJA_DEFINE(dictsort) {
    bool value = jinja_is_text(a[1], "value");
    if (v.type != JINJA_DICT) jinja_wrong_type(r, "dictsort", v);
    if (a[1].type != JINJA_MISSING && !value && !jinja_is_text(a[1], "key"))
        jinja_fail(r, "You can only sort by either \"key\" or \"value\"");
    return jinja_sorted(r, jinja_view(r, v.dict, JINJA_ITEMS), jinja_int(value), jinja_truth(a[0], false),
                        jinja_truth(a[2], false));
}
JINJA_DEFINE(unique) {
    jinja_value list = jinja_new_list(r, JINJA_LIST), seen = jinja_new_list(r, JINJA_LIST), x;
    for (jinja_iterator *it = jinja_iterate(r, v); jinja_next(r, it, &x);) {
        jinja_value key = jinja_key(r, x, a[1], jinja_truth(a[0], false));
        if (!jinja_is_key(key)) jinja_wrong_type(r, "unique", key);
        if (jinja_contains(r, seen, key)) continue;
        jinja_push(r, seen, key);
        jinja_push(r, list, x);
    }
    return jinja_iterator_of(jinja_iterate(r, list));
}
static jinja_value jinja_extreme(jinja_run *r, jinja_value v, const jinja_value *a, int sign) {
    jinja_value best = jinja_undefined(r, "No aggregated item, sequence was empty."), x, least = best;
    bool any = false;
    for (jinja_iterator *it = jinja_iterate(r, v); jinja_next(r, it, &x); any = true) {
        jinja_value key = jinja_key(r, x, a[1], jinja_truth(a[0], false));
        if (any && jinja_compare(r, key, least) * sign != -1) continue;
        best = x;
        least = key;
    }
    return best;
}
JINJA_DEFINE(min) { return jinja_extreme(r, v, a, 1); }
JINJA_DEFINE(max) { return jinja_extreme(r, v, a, -1); }
JINJA_DEFINE(sum) {
    jinja_value sum = a[1].type == JINJA_MISSING ? jinja_int(0) : a[1], x;
    for (jinja_iterator *it = jinja_iterate(r, v); jinja_next(r, it, &x);)
        sum = jinja_operate(r, "+", sum, jinja_given(a[0]) ? jinja_path(r, x, a[0]) : x);
    return sum;
}
/* Lists of n each. */
JINJA_DEFINE(batch) {
    jinja_value list = jinja_new_list(r, JINJA_LIST), part = jinja_none(), x;
    int64_t n = jinja_whole(r, a[0], 1);
    for (jinja_iterator *it = jinja_iterate(r, v); jinja_next(r, it, &x); jinja_push(r, part, x))
        if (part.type == JINJA_NONE || (int64_t)part.list->count == n)
            jinja_push(r, list, part = jinja_new_list(r, JINJA_LIST));
    while (part.type == JINJA_LIST && jinja_given(a[1]) && (int64_t)part.list->count < n) jinja_push(r, part, a[1]);
    return jinja_iterator_of(jinja_iterate(r, list));
}
static bool jinja_attribute_of(jinja_run *r, jinja_value v, const char *name, size_t n, jinja_value *out);
JINJA_DEFINE(attr) {
    const char *name = jinja_called(r, a[0]);
    jinja_value out;
    jinja_must_be_defined(r, v);
    if (jinja_attribute_of(r, v, name, strlen(name), &out)) return out;
    return jinja_undefined(r, "'%s object' has no attribute '%.80s'", jinja_type_name[v.type], name);
}
static const jinja_row jinja_filters[] = {
    {"abs", "", 0, jinja_abs}, {"attr", "name", 1, jinja_attr}, {"batch", "linecount,fill_with", 1, jinja_batch},
    {"capitalize", "", 0, jinja_capitalize}, {"center", "width", 0, jinja_center}, {"count", "", 0, jinja_length},
    {"d", "default_value,boolean", 0, jinja_default}, {"default", "default_value,boolean", 0, jinja_default},
    {"dictsort", "case_sensitive,by,reverse", 0, jinja_dictsort}, {"first", "", 0, jinja_first},
    {"float", "default", 0, jinja_float_filter}, {"format", "*", 0, jinja_format},
    {"indent", "width,first,blank", 0, jinja_indent}, {"int", "default,base", 0, jinja_int_filter},
    {"items", "", 0, jinja_items_filter}, {"join", "d,attribute", 0, jinja_join}, {"last", "", 0, jinja_last},
    {"length", "", 0, jinja_length}, {"list", "", 0, jinja_list_filter}, {"lower", "", 0, jinja_lower},
    {"map", "*", 0, jinja_map}, {"max", "case_sensitive,attribute", 0, jinja_max},
    {"min", "case_sensitive,attribute", 0, jinja_min}, {"reject", "*", 0, jinja_reject},
    {"rejectattr", "*", 0, jinja_rejectattr}, {"replace", "old,new,count", 2, jinja_replace},
    {"reverse", "", 0, jinja_reverse}, {"round", "precision,method", 0, jinja_round}, {"safe", "", 0, jinja_safe},
    {"select", "*", 0, jinja_select}, {"selectattr", "*", 0, jinja_selectattr},
    {"sort", "reverse,case_sensitive,attribute", 0, jinja_sort}, {"string", "", 0, jinja_string_filter},
    {"sum", "attribute,start", 0, jinja_sum}, {"title", "", 0, jinja_title},
    {"tojson", "ensure_ascii,indent,separators,sort_keys", 0, jinja_tojson}, {"trim", "chars", 0, jinja_trim},
    {"unique", "case_sensitive,attribute", 0, jinja_unique}, {"upper", "", 0, jinja_upper}, {NULL, NULL, 0, NULL}};

static jinja_value jinja_apply_filter(jinja_run *r, const char *name, jinja_value v, const jinja_call *c) {
    const jinja_row *row = jinja_find_row(jinja_filters, name, strlen(name));
    if (!row) jinja_fail(r, "the filter | %.60s is not known here", name);
    jinja_value out = jinja_call_row(r, row, v, c);
    bool stays = row->f != jinja_replace && row->f != jinja_join && row->f != jinja_tojson;
    if (v.type == JINJA_STRING && v.markup && out.type == JINJA_STRING) out.markup = stays;
    return out;
}

/* ---- tests ---- */

static int64_t jinja_modulo(jinja_run *r, jinja_value v, jinja_value by) {
    jinja_value rest = jinja_is_number(v) ? jinja_operate(r, "%", v, by) : v;
    if (!jinja_is_number(rest)) jinja_wrong_type(r, "a number is wanted", v);
    return rest.type == JINJA_FLOAT ? (rest.f == 0 ? 0 : rest.f == 1 ? 1 : 2) : rest.i;
}
JINJA_DEFINE(is_a_boolean) { return jinja_bool(v.type == JINJA_BOOL); }
JINJA_DEFINE(is_a_callable) { return jinja_bool(v.type == JINJA_CALLABLE || v.type == JINJA_UNDEFINED); }
JINJA_DEFINE(is_defined) { return jinja_bool(v.type != JINJA_UNDEFINED); }
JINJA_DEFINE(is_undefined) { return jinja_bool(v.type == JINJA_UNDEFINED); }
JINJA_DEFINE(is_divisibleby) { return jinja_bool(jinja_modulo(r, v, a[0]) == 0); }
JINJA_DEFINE(is_escaped) { return jinja_bool(v.type == JINJA_STRING && v.markup); }
JINJA_DEFINE(is_even) { return jinja_bool(jinja_modulo(r, v, jinja_int(2)) == 0); }
JINJA_DEFINE(is_odd) { return jinja_bool(jinja_modulo(r, v, jinja_int(2)) == 1); }
JINJA_DEFINE(is_false) { return jinja_bool(v.type == JINJA_BOOL && !v.i); }
JINJA_DEFINE(is_true) { return jinja_bool(v.type == JINJA_BOOL && v.i); }
JINJA_DEFINE(is_a_float) { return jinja_bool(v.type == JINJA_FLOAT); }
JINJA_DEFINE(is_an_integer) { return jinja_bool(v.type == JINJA_INT || v.type == JINJA_DIGITS); }
JINJA_DEFINE(is_an_iterable) { return jinja_bool(jinja_is_iterable(v) || v.type == JINJA_LOOP); }
JINJA_DEFINE(is_a_mapping) { return jinja_bool(v.type == JINJA_DICT); }
JINJA_DEFINE(is_none) { return jinja_bool(v.type == JINJA_NONE); }
JINJA_DEFINE(is_a_number) { return jinja_bool(jinja_is_number(v) || v.type == JINJA_DIGITS); }
JINJA_DEFINE(is_a_sequence) {
    bool container = v.type == JINJA_STRING || v.type == JINJA_DICT || jinja_is_indexed(v);
    return jinja_bool(container || v.type == JINJA_UNDEFINED);
}
JINJA_DEFINE(is_a_string) { return jinja_bool(v.type == JINJA_STRING); }
JINJA_DEFINE(is_in) { return jinja_bool(jinja_contains(r, a[0], v)); }
JINJA_DEFINE(is_eq) { return jinja_bool(jinja_equal(r, v, a[0])); }
JINJA_DEFINE(is_ne) { return jinja_bool(!jinja_equal(r, v, a[0])); }
JINJA_DEFINE(is_gt) { return jinja_bool(jinja_compare(r, v, a[0]) == 1); }
JINJA_DEFINE(is_lt) { return jinja_bool(jinja_compare(r, v, a[0]) == -1); }
JINJA_DEFINE(is_ge) {
    int order = jinja_compare(r, v, a[0]);
    return jinja_bool(order == 0 || order == 1);
}
JINJA_DEFINE(is_le) { return jinja_bool(jinja_compare(r, v, a[0]) <= 0); }
JINJA_DEFINE(is_sameas) {
    jinja_value b = a[0];
    bool object = jinja_is_list(v) || v.type == JINJA_DICT;
    if (v.type != b.type) return jinja_bool(false);
    if (v.type == JINJA_STRING && v.s.s == b.s.s && v.s.n == b.s.n) return jinja_bool(true);
    if (v.type > JINJA_BOOL && v.type <= JINJA_STRING) jinja_fail(r, "sameas of %s: write ==", jinja_type_name[v.type]);
    return jinja_bool(object ? v.list == b.list : jinja_equal(r, v, b));
}
static const jinja_row jinja_tests[] = {
    {"boolean", "", 0, jinja_is_a_boolean}, {"callable", "", 0, jinja_is_a_callable},
    {"defined", "", 0, jinja_is_defined}, {"undefined", "", 0, jinja_is_undefined},
    {"divisibleby", "num", 1, jinja_is_divisibleby}, {"escaped", "", 0, jinja_is_escaped},
    {"even", "", 0, jinja_is_even}, {"odd", "", 0, jinja_is_odd}, {"false", "", 0, jinja_is_false},
    {"true", "", 0, jinja_is_true}, {"float", "", 0, jinja_is_a_float}, {"integer", "", 0, jinja_is_an_integer},
    {"iterable", "", 0, jinja_is_an_iterable}, {"mapping", "", 0, jinja_is_a_mapping}, {"none", "", 0, jinja_is_none},
    {"number", "", 0, jinja_is_a_number}, {"sequence", "", 0, jinja_is_a_sequence},
    {"string", "", 0, jinja_is_a_string}, {"in", "seq", 1, jinja_is_in}, {"sameas", "other", 1, jinja_is_sameas},
    {"upper", "", 0, jinja_isupper}, {"lower", "", 0, jinja_islower},
    {"==", "b", 1, jinja_is_eq}, {"eq", "b", 1, jinja_is_eq}, {"equalto", "b", 1, jinja_is_eq},
    {"!=", "b", 1, jinja_is_ne}, {"ne", "b", 1, jinja_is_ne}, {">", "b", 1, jinja_is_gt}, {"gt", "b", 1, jinja_is_gt},
    {"greaterthan", "b", 1, jinja_is_gt}, {"<", "b", 1, jinja_is_lt}, {"lt", "b", 1, jinja_is_lt},
    {"lessthan", "b", 1, jinja_is_lt}, {">=", "b", 1, jinja_is_ge}, {"ge", "b", 1, jinja_is_ge},
    {"<=", "b", 1, jinja_is_le}, {"le", "b", 1, jinja_is_le}, {NULL, NULL, 0, NULL}};

static bool jinja_apply_test(jinja_run *r, const char *name, jinja_value v, const jinja_call *c) {
    const jinja_row *row = jinja_find_row(jinja_tests, name, strlen(name));
    if (!row) jinja_fail(r, "the test 'is %.60s' is not known here", name);
    return jinja_true(jinja_call_row(r, row, v, c));
}

/* ---- methods ---- */

JINJA_DEFINE(keys) { return jinja_view(r, v.dict, JINJA_KEYS); }
JINJA_DEFINE(values) { return jinja_view(r, v.dict, JINJA_VALUES); }
JINJA_DEFINE(items) { return jinja_view(r, v.dict, JINJA_ITEMS); }
JINJA_DEFINE(get_method) {
    const jinja_value *x = jinja_get(r, v.dict, a[0]);
    return x ? *x : a[1].type == JINJA_MISSING ? jinja_none() : a[1];
}
JINJA_DEFINE(same) {
    return v;                           /* a copy: nothing can be changed in it */
}
JINJA_DEFINE(list_index) {
    for (size_t i = 0; i < v.list->count; i++)
        if (jinja_equal(r, v.list->item[i], a[0])) return jinja_int((int64_t)i);
    jinja_fail(r, "index: the value is not in the list");
}
JINJA_DEFINE(list_count) {
    int64_t n = 0;
    for (size_t i = 0; i < v.list->count; i++) n += jinja_equal(r, v.list->item[i], a[0]);
    return jinja_int(n);
}
static const jinja_row jinja_string_methods[] = {
    {"capitalize", "", 0, jinja_capitalize}, {"center", "width", 1, jinja_center},
    {"count", "x", 1, jinja_count_method}, {"endswith", "x", 1, jinja_endswith},
    {"find", "x", 1, jinja_find_method}, {"format", "*", 0, jinja_format_method},
    {"index", "x", 1, jinja_index_method}, {"isalnum", "", 0, jinja_isalnum}, {"isalpha", "", 0, jinja_isalpha},
    {"isdigit", "", 0, jinja_isdigit}, {"islower", "", 0, jinja_islower}, {"isspace", "", 0, jinja_isspace},
    {"isupper", "", 0, jinja_isupper}, {"join", "x", 1, jinja_join_method}, {"ljust", "width", 1, jinja_ljust},
    {"lower", "", 0, jinja_lower}, {"lstrip", "chars", 0, jinja_lstrip}, {"partition", "sep", 1, jinja_partition},
    {"removeprefix", "x", 1, jinja_removeprefix}, {"removesuffix", "x", 1, jinja_removesuffix},
    {"replace", "old,new,count", 2, jinja_replace_method}, {"rfind", "x", 1, jinja_rfind_method},
    {"rjust", "width", 1, jinja_rjust}, {"rpartition", "sep", 1, jinja_rpartition},
    {"rsplit", "sep,maxsplit", 0, jinja_rsplit}, {"rstrip", "chars", 0, jinja_rstrip},
    {"split", "sep,maxsplit", 0, jinja_split}, {"splitlines", "keepends", 0, jinja_splitlines},
    {"startswith", "x", 1, jinja_startswith}, {"strip", "chars", 0, jinja_trim},
    {"title", "", 0, jinja_title_method}, {"upper", "", 0, jinja_upper}, {NULL, NULL, 0, NULL}};
static const jinja_row jinja_dict_methods[] = {
    {"copy", "", 0, jinja_same}, {"get", "key,default", 1, jinja_get_method}, {"items", "", 0, jinja_items},
    {"keys", "", 0, jinja_keys}, {"values", "", 0, jinja_values}, {NULL, NULL, 0, NULL}};
static const jinja_row jinja_list_methods[] = {
    {"copy", "", 0, jinja_same}, {"count", "x", 1, jinja_list_count}, {"index", "x", 1, jinja_list_index},
    {NULL, NULL, 0, NULL}};
/* What Python has besides, and we do not: refused, where other unknown names are merely undefined. */
static const char jinja_other_string_methods[] =
    " casefold encode expandtabs format_map isascii isdecimal isidentifier isnumeric isprintable istitle maketrans "
    "rindex swapcase translate zfill ";
static const char jinja_other_number_methods[] =
    " as_integer_ratio bit_count bit_length conjugate denominator from_bytes fromhex hex imag is_integer numerator "
    "real to_bytes ";
/* What would change a list or a dict: the sandbox hides it. */
static const char jinja_dict_changes[] = " clear pop popitem setdefault update ";
static const char jinja_list_changes[] = " append clear extend insert pop remove reverse sort ";
static bool jinja_listed_word(const char *all, const char *name, size_t n) {
    for (const char *p = all; (p = strchr(p, ' ')) && p[1]; p++)
        if (strcspn(p + 1, " ") == n && !memcmp(p + 1, name, n)) return true;
    return false;
}

/* ---- functions ---- */

JINJA_DEFINE(range) {
    bool two = a[1].type != JINJA_MISSING;
    int64_t from = two ? jinja_whole(r, a[0], 0) : 0, to = jinja_whole(r, a[two], 0), by = 1;
    if (a[2].type != JINJA_MISSING) by = jinja_whole(r, a[2], 0);
    if (by == 0) jinja_fail(r, "range() arg 3 must not be zero");
    if (imaxabs(from) > INT32_MAX || imaxabs(to) > INT32_MAX || imaxabs(by) > INT32_MAX)
        jinja_fail(r, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
    int64_t count = by > 0 ? (to - from + by - 1) / by : (from - to - by - 1) / -by;
    if (count > 100000) jinja_fail(r, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
    jinja_value list = jinja_new_list(r, JINJA_RANGE);
    for (int64_t i = 0; i < count; i++) jinja_push(r, list, jinja_int(from + i * by));
    return list;
}
static void jinja_pour(jinja_run *r, jinja_dict *d, jinja_value from) {
    jinja_value x;
    if (from.type == JINJA_DICT) from = jinja_view(r, from.dict, JINJA_ITEMS);
    for (jinja_iterator *it = jinja_iterate(r, from); jinja_next(r, it, &x);) {
        jinja_list *pair = jinja_listed(r, x).list;
        if (pair->count != 2) jinja_fail(r, "a dict is made of pairs");
        jinja_set(r, d, pair->item[0], pair->item[1]);
    }
}
JINJA_DEFINE(dict_function) {
    jinja_value d = jinja_new_dict(r);
    if (c->args > 1) jinja_fail(r, "dict takes at most one argument without a name");
    if (c->args) jinja_pour(r, d.dict, c->arg[0]);
    for (size_t i = 0; i < c->names; i++) jinja_set(r, d.dict, jinja_plain(r, c->name[i]), c->named[i]);
    return d;
}
static void jinja_check_attribute(jinja_run *r, jinja_value name) {
    if (name.type == JINJA_STRING && name.s.n && name.s.s[0] == '_')
        jinja_fail(r, "a namespace holds no names that begin with _");
}
JINJA_DEFINE(namespace) {
    jinja_value d = jinja_dict_function(r, v, a, c);
    for (size_t i = 0; i < d.dict->count; i++) jinja_check_attribute(r, d.dict->key[i]);
    d.type = JINJA_NAMESPACE;
    return d;
}
JINJA_DEFINE(raise) {
    jinja_string x = jinja_str(r, a[0]).s;
    r->raised = true;
    jinja_fail(r, "%.*s", x.n < 400 ? (int)x.n : 400, x.s);
}
JINJA_DEFINE(strftime_now) {
    char text[400];
    struct tm parts;
    const char *format = jinja_called(r, a[0]);
    for (const char *p = format; (p = strchr(p, '%')); p += p[1] == '-' ? 3 : 2)
        if (!p[1] || !strchr("aAbBcdeFHIjmMpSTuUVwWxXyYZz%", p[p[1] == '-' ? 2 : 1]) || (p[1] == '-' && !p[2]))
            jinja_fail(r, "strftime_now('%.60s')", format);
    if (!localtime_r(&r->now, &parts)) jinja_fail(r, "no date can be made of the clock's time");
    if (*format && !strftime(text, sizeof text, format, &parts)) jinja_fail(r, "strftime_now gives no text");
    if (!*format) text[0] = '\0';
    return jinja_plain(r, text);
}
static const jinja_row jinja_functions[] = {
    {"range", "start,stop,step", 1, jinja_range}, {"dict", "*", 0, jinja_dict_function},
    {"namespace", "*", 0, jinja_namespace}, {"raise_exception", "message", 1, jinja_raise},
    {"strftime_now", "format", 1, jinja_strftime_now}, {NULL, NULL, 0, NULL}};

#endif /* LLM_IMPLEMENTATION */
#endif
