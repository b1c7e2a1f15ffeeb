/* jinja.h: a chat template, as a model's folder holds it, is a small program in Jinja2. Here it is run: by a tree that
   is gone through node by node, the way this language is understood. Included after llm.h. The functions stand where
   LLM_IMPLEMENTATION is defined; elsewhere these are declarations.

       jinja_template *t = jinja_parse(source, size, "model/chat_template.jinja");
       jinja_variable v[] = {{.name = "messages", .json = messages, .chat = true}, {.name = "bos_token", .text = "<s>"},
                             {.name = "tools", .json = NULL}};
       if (!jinja_render(t, v, 3, 0, &out)) llm_die("correct the record", "%s", out.error);

   What is read: for (with if, else, unpacking, loop.index ... break, continue), if, set (blocks, attributes of a
   namespace), macro, call, filter, with, generation, raw, comments; expressions with all of Jinja2's operators, slices,
   the filters, tests, methods and functions in the tables of jinja_calls.h. The environment is that of transformers'
   apply_chat_template: ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, its own tojson. Anything else
   (include, import, extends, block, recursive loops, *arguments ...) is refused with its line and column.

   Time, memory and stack are bounded for any template and any conversation: nested 250 levels deep, 64 MB and 64 bytes
   for every byte of the input, 20 million steps. */
#ifndef JINJA_H
#define JINJA_H
#include <time.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef struct jinja_template jinja_template;
/* Ends the program where the source is not understood; `where` names it in errors. The source is copied. */
jinja_template *jinja_parse(const char *source, size_t size, const char *where);
/* The same, but NULL where it is not understood, and why. */
jinja_template *jinja_try(const char *source, size_t size, const char *where, char error[600]);
void jinja_free(jinja_template *t);
bool jinja_answers(const jinja_template *t);    /* does {% generation %} stand anywhere in it? */

/* A variable that the template sees. chat: a list of messages, which are handed on as transformers does: members that
   are null left out, what was thought under the names reasoning_content and thinking. */
typedef struct {
    const char *name;
    const llm_json *json;               /* a value out of somebody's data: its texts are that person's words */
    const char *text;                   /* or a text of the model's: "<s>". Both NULL: none */
    bool chat;
} jinja_variable;

/* Of every byte of the text: is it out of a variable's json (else it stands in the template, or is a `text`, or the
   name of a role, which a template may put between "<|" and "|>")? Is it inside of {% generation %}? And JINJA_MESSAGE
   times the number of the message that it is out of, from 1; 0: of none. */
enum { JINJA_WORDS = 1, JINJA_ANSWER = 2, JINJA_MESSAGE = 4 };
typedef struct {
    char *text;                         /* with a '\0' behind it, not counted */
    uint16_t *mark;
    size_t length;
    bool raised;                        /* the template itself refused, by raise_exception */
    char error[600];                    /* "WHERE:LINE:COLUMN: what is wrong" */
} jinja_text;
/* False: there is an error, and no text. now: seconds since 1970 for strftime_now, 0: the clock's. */
bool jinja_render(const jinja_template *t, const jinja_variable *v, size_t count, time_t now, jinja_text *out);
void jinja_text_free(jinja_text *x);

#ifdef __cplusplus
}
#endif

#ifdef LLM_IMPLEMENTATION
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include "jinja_values.h"
#include "jinja_syntax.h"
#include "jinja_calls.h"

struct jinja_template { jinja_run run; jinja_node *body; size_t size; char error[JINJA_ERROR]; };

/* ---- variables ---- */

typedef struct jinja_binding { const char *name; jinja_value value; struct jinja_binding *next; } jinja_binding;
/* for, macro ... open a scope within the one where they stand: what is set inside is unknown outside. */
typedef struct jinja_scope { struct jinja_scope *outer; jinja_binding *first; } jinja_scope;

static jinja_scope *jinja_open(jinja_run *r, jinja_scope *outer) {
    jinja_scope *s = jinja_take(r, 1, sizeof *s);
    s->outer = outer;
    return s;
}
static jinja_binding *jinja_bound(jinja_run *r, const jinja_scope *s, const char *name) {
    for (jinja_binding *b = s->first; b; b = b->next) {
        jinja_step(r, 0);
        if (!strcmp(b->name, name)) return b;
    }
    return NULL;
}
static void jinja_bind(jinja_run *r, const char *name, jinja_value v) {
    jinja_binding *b = jinja_bound(r, r->scope, name);
    if (!b) {
        b = jinja_take(r, 1, sizeof *b);
        *b = (jinja_binding){name, v, r->scope->first};
        r->scope->first = b;
    }
    b->value = v;
}
static jinja_value jinja_function_of(jinja_run *r, const jinja_row *row, jinja_value self) {
    jinja_callable *f = jinja_take(r, 1, sizeof *f);
    f->row = row;
    f->self = self;
    return (jinja_value){.type = JINJA_CALLABLE, .callable = f};
}
static jinja_value jinja_look_up(jinja_run *r, const char *name) {
    for (const jinja_scope *s = r->scope; s; s = s->outer) {
        const jinja_binding *b = jinja_bound(r, s, name);
        if (b) return b->value;
    }
    const jinja_row *row = jinja_find_row(jinja_functions, name, strlen(name));
    if (row) return jinja_function_of(r, row, jinja_none());
    if (jinja_listed_word(" cycler joiner lipsum ", name, strlen(name))) jinja_fail(r, "%s is not known here", name);
    return jinja_undefined(r, "'%.100s' is undefined", name);
}

/* ---- attributes, items, slices ---- */

/* What `loop` is: the place in the loop. `after` was looked at before its turn. */
typedef struct jinja_loop {
    jinja_iterator *it;
    int64_t index0, length;             /* length: -1, not yet known */
    int depth;
    jinja_value before, now, after, changed;    /* JINJA_MISSING: none */
} jinja_loop;

static bool jinja_peek(jinja_run *r, jinja_loop *l) {
    return l->after.type != JINJA_MISSING || jinja_next(r, l->it, &l->after);
}
static bool jinja_step_loop(jinja_run *r, jinja_loop *l) {
    const jinja_value none = {.type = JINJA_MISSING};
    if (!jinja_peek(r, l)) return false;
    l->before = l->now;
    l->now = l->after;
    l->after = none;
    l->index0++;
    return true;
}
/* All that is still to come is asked for. */
static int64_t jinja_loop_length(jinja_run *r, jinja_loop *l) {
    if (l->length >= 0) return l->length;
    jinja_value rest = jinja_listed(r, jinja_iterator_of(l->it));
    l->it = jinja_iterate(r, rest);
    return l->length = l->index0 + 1 + (int64_t)rest.list->count + (l->after.type != JINJA_MISSING);
}
JINJA_DEFINE(cycle) {
    if (!c->args) jinja_fail(r, "no items for cycling given");
    return c->arg[(size_t)v.loop->index0 % c->args];
}
JINJA_DEFINE(changed) {
    jinja_value all = jinja_new_list(r, JINJA_TUPLE);
    for (size_t i = 0; i < c->args; i++) jinja_push(r, all, c->arg[i]);
    if (v.loop->changed.type != JINJA_MISSING && jinja_equal(r, v.loop->changed, all)) return jinja_bool(false);
    v.loop->changed = all;
    return jinja_bool(true);
}
static const jinja_row jinja_loop_methods[] = {
    {"cycle", "*", 0, jinja_cycle}, {"changed", "*", 0, jinja_changed}, {NULL, NULL, 0, NULL}};

static bool jinja_loop_attribute(jinja_run *r, jinja_value v, const char *name, jinja_value *out) {
    static const char *const names[] = {"index", "index0", "first", "last", "length", "revindex", "revindex0",
                                        "previtem", "nextitem", "depth", "depth0"};
    jinja_loop *l = v.loop;
    int which = 0;
    while (which < 11 && strcmp(names[which], name)) which++;
    switch (which) {
    case 0: *out = jinja_int(l->index0 + 1); return true;
    case 1: *out = jinja_int(l->index0); return true;
    case 2: *out = jinja_bool(l->index0 == 0); return true;
    case 3: *out = jinja_bool(!jinja_peek(r, l)); return true;
    case 4: *out = jinja_int(jinja_loop_length(r, l)); return true;
    case 5: *out = jinja_int(jinja_loop_length(r, l) - l->index0); return true;
    case 6: *out = jinja_int(jinja_loop_length(r, l) - l->index0 - 1); return true;
    case 7: *out = l->index0 ? l->before : jinja_undefined(r, "there is no previous item"); return true;
    case 8: *out = jinja_peek(r, l) ? l->after : jinja_undefined(r, "there is no next item"); return true;
    case 9: *out = jinja_int(1); return true;
    case 10: *out = jinja_int(0); return true;
    default: return false;
    }
}
/* Python's v.name: methods, and what a namespace or a loop holds. False: there is none. */
static bool jinja_attribute_of(jinja_run *r, jinja_value v, const char *name, size_t n, jinja_value *out) {
    const jinja_row *methods = v.type == JINJA_STRING ? jinja_string_methods : v.type == JINJA_DICT ?
                               jinja_dict_methods : jinja_is_indexed(v) ? jinja_list_methods :
                               v.type == JINJA_LOOP ? jinja_loop_methods : NULL;
    const char *other = v.type == JINJA_STRING ? jinja_other_string_methods : v.type == JINJA_DICT ? " fromkeys " :
                        jinja_is_number(v) ? jinja_other_number_methods : v.type == JINJA_RANGE ? " start stop step " :
                        v.type == JINJA_CALLABLE ? " name arguments caller catch_kwargs catch_varargs " : "";
    const char *changes = v.type == JINJA_DICT ? jinja_dict_changes : v.type == JINJA_LIST ? jinja_list_changes : "";
    const jinja_row *row = methods ? jinja_find_row(methods, name, n) : NULL;
    const jinja_value *held = v.type == JINJA_NAMESPACE ? jinja_member(r, v.dict, name) : NULL;
    const char *type = jinja_type_name[v.type];
    bool hidden = n > 4 && !strncmp(name, "__", 2) && !strncmp(name + n - 2, "__", 2);
    if (row) *out = jinja_function_of(r, row, v);
    else if (held) *out = *held;
    else if (hidden || jinja_listed_word(changes, name, n))
        *out = jinja_undefined(r, "access to attribute '%.60s' of '%s' object is unsafe.", name, type);
    else if (jinja_listed_word(other, name, n)) jinja_fail(r, ".%.60s of a %s is not known here", name, type);
    else return v.type == JINJA_LOOP && jinja_loop_attribute(r, v, name, out);
    return true;
}
static jinja_value jinja_lacking(jinja_run *r, jinja_value v, const char *what, const char *name) {
    return jinja_undefined(r, v.type == JINJA_NONE ? "'None' has no %s%s '%.80s'" : "'%s object' has no %s '%.80s'",
                           v.type == JINJA_NONE ? "" : jinja_type_name[v.type], what, name);
}
/* v.name: an attribute, else an item. */
static jinja_value jinja_get_attribute(jinja_run *r, jinja_value v, const char *name) {
    jinja_value out;
    jinja_must_be_defined(r, v);
    if (jinja_attribute_of(r, v, name, strlen(name), &out)) return out;
    const jinja_value *x = v.type == JINJA_DICT ? jinja_member(r, v.dict, name) : NULL;
    return x ? *x : jinja_lacking(r, v, "attribute", name);
}
/* Characters from .. to, of which `by` each, or list items. */
static bool jinja_at_index(jinja_run *r, jinja_value v, int64_t i, jinja_value *out) {
    int64_t n = v.type == JINJA_STRING ? (int64_t)jinja_characters(r, v.s) : (int64_t)v.list->count;
    if (i < 0) i += n;
    if (i < 0 || i >= n) return false;
    if (v.type != JINJA_STRING) {
        *out = v.list->item[i];
        return true;
    }
    size_t at = 0;
    for (; i > 0; i--) at = jinja_after(v.s, at);
    *out = jinja_slice_of(v, at, jinja_after(v.s, at));
    return true;
}
/* v[key]: an item, else an attribute. */
static jinja_value jinja_get_item(jinja_run *r, jinja_value v, jinja_value key) {
    jinja_value out;
    char text[80] = "";
    jinja_must_be_defined(r, v);
    const jinja_value *x = v.type == JINJA_DICT && jinja_is_key(key) ? jinja_get(r, v.dict, key) : NULL;
    if (x) return *x;
    bool indexed = v.type == JINJA_STRING || jinja_is_indexed(v);
    if (indexed && jinja_is_whole(key) && jinja_at_index(r, v, key.i, &out)) return out;
    if (key.type == JINJA_STRING) {
        const char *name = jinja_copy(r, key.s.s, key.s.n);
        if (jinja_attribute_of(r, v, name, key.s.n, &out)) return out;
        return jinja_lacking(r, v, "attribute", name);
    }
    if (jinja_is_whole(key)) snprintf(text, sizeof text, "%lld", (long long)key.i);
    return jinja_lacking(r, v, "element", text);
}
/* Where a slice's border lies: Python counts from the end when it is negative, and cuts it off at both ends. */
static int64_t jinja_border(jinja_run *r, jinja_value v, int64_t n, int64_t otherwise, bool back) {
    int64_t i = jinja_whole_or_none(r, v, otherwise);
    if (jinja_given(v) && i < 0) i += n;
    if (i < 0) i = back || !jinja_given(v) ? -1 : 0;
    return i > n - back ? n - back : i;
}
static jinja_value jinja_slice(jinja_run *r, jinja_value v, jinja_value from, jinja_value to, jinja_value by) {
    int64_t step = jinja_whole_or_none(r, by, 1);
    jinja_must_be_defined(r, v);
    if (v.type != JINJA_STRING && !jinja_is_indexed(v))
        jinja_fail(r, "a slice of '%s' object", jinja_type_name[v.type]);
    if (!step) jinja_fail(r, "slice step cannot be zero");
    bool text = v.type == JINJA_STRING, back = step < 0;
    jinja_value all = text ? jinja_none() : v, list = jinja_new_list(r, v.type);
    int64_t n = text ? (int64_t)jinja_characters(r, v.s) : (int64_t)v.list->count;
    int64_t i = jinja_border(r, from, n, back ? n - 1 : 0, back), end = jinja_border(r, to, n, back ? -1 : n, back);
    if (text && step == 1) {            /* without a list of characters */
        size_t begin = 0, stop;
        for (int64_t k = 0; k < i; k++) begin = jinja_after(v.s, begin);
        stop = begin;
        for (int64_t k = i; k < end; k++) stop = jinja_after(v.s, stop);
        return jinja_slice_of(v, begin, stop);
    }
    if (text) all = jinja_spelled(r, v);
    if (text) list.type = JINJA_LIST;
    for (; back ? i > end : i < end; i += step) {
        jinja_push(r, list, all.list->item[i]);
        if (step > n || step < -n) break;
    }
    if (!text) return list;
    return jinja_joined(r, list, jinja_plain(r, "").s, (jinja_value){.type = JINJA_MISSING}, true);
}
static int64_t jinja_length_of(jinja_run *r, jinja_value v) {
    if (v.type == JINJA_STRING) return (int64_t)jinja_characters(r, v.s);
    if (jinja_is_list(v)) return (int64_t)v.list->count;
    if (v.type == JINJA_DICT) return (int64_t)v.dict->count;
    if (v.type == JINJA_LOOP) return jinja_loop_length(r, v.loop);
    if (v.type != JINJA_UNDEFINED) jinja_fail(r, "object of type '%s' has no len()", jinja_type_name[v.type]);
    return 0;
}

/* ---- arithmetic ---- */

static jinja_value jinja_whole_result(jinja_run *r, bool overflow, int64_t i) {
    if (overflow) jinja_fail(r, "a whole number of more than 63 bits");
    return jinja_int(i);
}
static jinja_value jinja_calculate(jinja_run *r, const char *op, jinja_value a, jinja_value b);
/* Python rounds quotients down, and a remainder has the sign of the divisor. */
static jinja_value jinja_divide(jinja_run *r, const char *op, jinja_value a, jinja_value b) {
    bool whole = jinja_is_whole(a) && jinja_is_whole(b), quotient = !strcmp(op, "//");
    if (jinja_number(b) == 0) jinja_fail(r, "division by zero");
    if (!strcmp(op, "/")) return jinja_float(jinja_number(a) / jinja_number(b));
    if (!whole) {
        double x = jinja_number(a), y = jinja_number(b), rest = fmod(x, y);
        if (rest != 0 && (rest < 0) != (y < 0)) rest += y;
        return jinja_float(quotient ? floor((x - rest) / y + 0.5) : rest);
    }
    if (b.i == -1) return quotient ? jinja_calculate(r, "-", jinja_int(0), a) : jinja_int(0);
    int64_t rest = a.i % b.i;
    if (rest && (rest < 0) != (b.i < 0)) rest += b.i;
    return jinja_int(quotient ? (a.i - rest) / b.i : rest);
}
static jinja_value jinja_power(jinja_run *r, jinja_value a, jinja_value b) {
    if (!jinja_is_whole(a) || !jinja_is_whole(b) || b.i < 0) return jinja_float(pow(jinja_number(a), jinja_number(b)));
    int64_t out = 1;
    bool overflow = false;
    if (a.i >= -1 && a.i <= 1) return jinja_int(a.i == -1 ? (b.i % 2 ? -1 : 1) : b.i ? a.i : 1);
    for (int64_t i = 0; i < b.i && !overflow; i++) overflow = __builtin_mul_overflow(out, a.i, &out);
    return jinja_whole_result(r, overflow, out);
}
static jinja_value jinja_calculate(jinja_run *r, const char *op, jinja_value a, jinja_value b) {
    int64_t i = 0;
    double x = jinja_number(a), y = jinja_number(b);
    bool overflow = false;
    if (strchr("/%", *op)) return jinja_divide(r, op, a, b);
    if (!strcmp(op, "**")) return jinja_power(r, a, b);
    if (a.type == JINJA_FLOAT || b.type == JINJA_FLOAT)
        return jinja_float(*op == '+' ? x + y : *op == '-' ? x - y : x * y);
    if (*op == '+') overflow = __builtin_add_overflow(a.i, b.i, &i);
    else if (*op == '-') overflow = __builtin_sub_overflow(a.i, b.i, &i);
    else overflow = __builtin_mul_overflow(a.i, b.i, &i);
    return jinja_whole_result(r, overflow, i);
}
static jinja_value jinja_concat(jinja_run *r, jinja_string a, jinja_string b) {
    size_t n = llm_add(a.n, b.n);
    char *s = jinja_take(r, n + 1, 1);
    uint16_t *mark = jinja_take(r, n + 1, sizeof *mark);
    memcpy(s, a.s, a.n);
    memcpy(s + a.n, b.s, b.n);
    memcpy(mark, a.mark, a.n * sizeof *mark);
    memcpy(mark + a.n, b.mark, b.n * sizeof *mark);
    return (jinja_value){.type = JINJA_STRING, .s = {s, mark, n}};
}
/* "ab" * 3, [a, b] * 3 */
static jinja_value jinja_repeat(jinja_run *r, jinja_value v, int64_t times) {
    if (v.type == JINJA_STRING) {
        jinja_buffer b = {0};
        for (; times > 0 && v.s.n; times--) jinja_put(r, &b, v.s);
        return jinja_done(&b);
    }
    jinja_value list = jinja_new_list(r, v.type);
    for (; times > 0 && v.list->count; times--)
        for (size_t i = 0; i < v.list->count; i++) jinja_push(r, list, v.list->item[i]);
    return list;
}
static jinja_value jinja_operate(jinja_run *r, const char *op, jinja_value a, jinja_value b) {
    bool listed = (a.type == JINJA_LIST || a.type == JINJA_TUPLE), text = a.type == JINJA_STRING;
    if (*op == '~') return jinja_concat(r, jinja_str(r, a).s, jinja_str(r, b).s);
    if (jinja_is_number(a) && jinja_is_number(b)) return jinja_calculate(r, op, a, b);
    jinja_must_be_defined(r, a);
    jinja_must_be_defined(r, b);
    if (!strcmp(op, "*") && jinja_is_whole(a) && !jinja_is_whole(b)) return jinja_operate(r, op, b, a);
    if (!strcmp(op, "*") && (text || listed) && jinja_is_whole(b)) return jinja_repeat(r, a, b.i);
    if (*op == '%' && text) {
        jinja_no_markup(r, a);
        return jinja_percent(r, a, b);
    }
    if (*op == '+' && a.type == b.type && (text || listed)) {
        jinja_no_markup(r, a);
        jinja_no_markup(r, b);
        if (text) return jinja_concat(r, a.s, b.s);
        jinja_value list = jinja_new_list(r, a.type);
        for (size_t i = 0; i < a.list->count; i++) jinja_push(r, list, a.list->item[i]);
        for (size_t i = 0; i < b.list->count; i++) jinja_push(r, list, b.list->item[i]);
        return list;
    }
    jinja_fail(r, "unsupported operand type(s) for %s: '%s' and '%s'", op, jinja_type_name[a.type],
               jinja_type_name[b.type]);
}

/* ---- expressions ---- */

typedef enum { JINJA_GOES_ON, JINJA_LEAVES, JINJA_SKIPS } jinja_flow;   /* after a statement: on; break; continue */
static jinja_value jinja_eval(jinja_run *r, const jinja_node *n);
static jinja_flow jinja_exec(jinja_run *r, const jinja_node *n);

static jinja_value jinja_eval_constant(jinja_run *r, const jinja_node *n) {
    if (n->value.type == JINJA_STRING) return jinja_text_of(r, n->value.s.s, n->value.s.n, 0);
    return n->value;
}
static jinja_value jinja_eval_list(jinja_run *r, const jinja_node *n) {
    jinja_value list = jinja_new_list(r, n->kind == JINJA_GROUP ? JINJA_TUPLE : JINJA_LIST);
    for (const jinja_node *x = n->list; x; x = x->next) jinja_push(r, list, jinja_eval(r, x));
    return list;
}
static jinja_value jinja_eval_table(jinja_run *r, const jinja_node *n) {
    jinja_value d = jinja_new_dict(r);
    for (const jinja_node *x = n->list; x; x = x->next) {
        jinja_value key = jinja_eval(r, x->a), v = jinja_eval(r, x->b);
        r->at = x->at;
        jinja_set(r, d.dict, key, v);
    }
    return d;
}
static jinja_call *jinja_eval_arguments(jinja_run *r, const jinja_node *list) {
    jinja_call *c = jinja_take(r, 1, sizeof *c);
    size_t n = 0;
    for (const jinja_node *x = list; x; x = x->next) n++;
    c->arg = jinja_take(r, n + 1, sizeof *c->arg);      /* (a call block adds its caller) */
    c->named = jinja_take(r, n + 1, sizeof *c->named);
    c->name = jinja_take(r, n + 1, sizeof *c->name);
    for (const jinja_node *x = list; x; x = x->next) {
        if (x->kind != JINJA_NAMED) {
            c->arg[c->args++] = jinja_eval(r, x);
            continue;
        }
        c->name[c->names] = x->name;
        c->named[c->names++] = jinja_eval(r, x->a);
    }
    return c;
}
/* Put v into a name, an attribute of a namespace, or the parts of v into several of them. */
static void jinja_assign(jinja_run *r, const jinja_node *target, jinja_value v) {
    r->at = target->at;
    if (target->kind == JINJA_NAME) {
        jinja_bind(r, target->name, v);
        return;
    }
    if (target->kind == JINJA_ATTRIBUTE) {
        jinja_value space = jinja_eval(r, target->a), name = jinja_text_of(r, target->name, strlen(target->name), 0);
        r->at = target->at;
        if (space.type != JINJA_NAMESPACE) jinja_fail(r, "cannot assign attribute on non-namespace object");
        jinja_check_attribute(r, name);
        jinja_set(r, space.dict, name, v);
        return;
    }
    jinja_list *parts = jinja_listed(r, v).list;
    size_t n = 0;
    for (const jinja_node *x = target->list; x; x = x->next) n++;
    if (n != parts->count) jinja_fail(r, "%zu values for %zu names", parts->count, n);
    n = 0;
    for (const jinja_node *x = target->list; x; x = x->next) jinja_assign(r, x, parts->item[n++]);
}
/* The text that statements write, in a scope of their own within `outer`. */
static jinja_value jinja_caught(jinja_run *r, const jinja_node *body, jinja_scope *scope) {
    jinja_buffer own = {0}, *out = r->out;
    jinja_scope *outer = r->scope;
    r->out = &own;
    r->scope = scope;
    jinja_exec(r, body);
    r->out = out;
    r->scope = outer;
    return jinja_done(&own);
}
/* The arguments become variables of the macro's scope; defaults may speak of those before. */
static jinja_value jinja_call_macro(jinja_run *r, const jinja_callable *f, const jinja_call *c) {
    jinja_scope *outer = r->scope, *scope = jinja_open(r, f->scope);
    size_t i = 0, used = 0;
    for (const jinja_node *x = f->macro->list; x; x = x->next, i++) {
        const jinja_value *given = i < c->args ? &c->arg[i] : NULL;
        for (size_t k = 0; k < c->names; k++) {
            if (strcmp(c->name[k], x->name)) continue;
            if (given) jinja_fail(r, "%.60s is given twice", x->name);
            given = &c->named[k];
            used++;
        }
        r->scope = scope;
        jinja_bind(r, x->name, given ? *given : x->a ? jinja_eval(r, x->a) :
                               jinja_undefined(r, "parameter '%.80s' was not provided", x->name));
        r->scope = outer;
    }
    r->scope = scope;
    for (size_t k = 0; k < c->names; k++)
        if (!strcmp(c->name[k], "caller") && !jinja_bound(r, scope, "caller")) {
            jinja_bind(r, "caller", c->named[k]);
            used++;
        }
    r->scope = outer;
    if (i < c->args || used < c->names)
        jinja_fail(r, "this macro does not take so many arguments, or not of these names");
    return jinja_caught(r, f->macro->body, scope);
}
static jinja_value jinja_call_value(jinja_run *r, jinja_value f, const jinja_call *c) {
    if (f.type != JINJA_CALLABLE) {
        jinja_must_be_defined(r, f);
        jinja_fail(r, "'%s' object is not callable", jinja_type_name[f.type]);
    }
    if (f.callable->macro) return jinja_call_macro(r, f.callable, c);
    jinja_value self = f.callable->self, out = jinja_call_row(r, f.callable->row, self, c);
    if (self.type == JINJA_STRING && self.markup && out.type == JINJA_STRING) out.markup = true;
    return out;
}
static jinja_value jinja_eval_call(jinja_run *r, const jinja_node *n, const jinja_value *caller) {
    jinja_value f = jinja_eval(r, n->a);
    jinja_call *c = jinja_eval_arguments(r, n->list);
    if (caller) {
        c->name[c->names] = "caller";
        c->named[c->names++] = *caller;
    }
    r->at = n->at;
    return jinja_call_value(r, f, c);
}
/* A filter or a test; `inner`, where it is given, takes the place of the innermost value of a chain of filters. */
static jinja_value jinja_eval_named(jinja_run *r, const jinja_node *n, const jinja_value *inner) {
    jinja_value v = n->a ? inner && n->a->kind == JINJA_FILTER ? jinja_eval_named(r, n->a, inner) : jinja_eval(r, n->a)
                         : *inner;
    const jinja_call *c = jinja_eval_arguments(r, n->list);
    r->at = n->at;
    return n->kind == JINJA_FILTER ? jinja_apply_filter(r, n->name, v, c)
                                   : jinja_bool(jinja_apply_test(r, n->name, v, c));
}
static bool jinja_holds(jinja_run *r, const char *op, jinja_value a, jinja_value b) {
    if (!strcmp(op, "==")) return jinja_equal(r, a, b);
    if (!strcmp(op, "!=")) return !jinja_equal(r, a, b);
    if (!strcmp(op, "in")) return jinja_contains(r, b, a);
    if (!strcmp(op, "not in")) return !jinja_contains(r, b, a);
    int order = jinja_compare(r, a, b);
    if (order == JINJA_NO_ORDER) return false;
    return (op[1] == '=' && !order) || (*op == '<' ? order < 0 : order > 0);
}
/* a < b < c: each is evaluated once, and none behind the first that does not hold. */
static jinja_value jinja_eval_comparison(jinja_run *r, const jinja_node *n) {
    jinja_value a = jinja_eval(r, n->a);
    for (const jinja_node *x = n->list; x; x = x->next) {
        jinja_value b = jinja_eval(r, x->a);
        r->at = x->at;
        if (!jinja_holds(r, x->name, a, b)) return jinja_bool(false);
        a = b;
    }
    return jinja_bool(true);
}
static jinja_value jinja_eval_sign(jinja_run *r, const jinja_node *n) {
    jinja_value v = jinja_eval(r, n->a);
    r->at = n->at;
    if (!jinja_is_number(v)) jinja_wrong_type(r, "a sign before it", v);
    if (*n->name == '+') return v.type == JINJA_FLOAT ? v : jinja_int(v.i);
    return v.type == JINJA_FLOAT ? jinja_float(-v.f) : jinja_calculate(r, "-", jinja_int(0), v);
}
static jinja_value jinja_eval_part(jinja_run *r, const jinja_node *n) {
    jinja_value v = jinja_eval(r, n->a), none = jinja_none(), from = n->b ? jinja_eval(r, n->b) : none;
    jinja_value to = n->c ? jinja_eval(r, n->c) : none, by = n->list ? jinja_eval(r, n->list) : none;
    r->at = n->at;
    return jinja_slice(r, v, from, to, by);
}
static jinja_value jinja_eval_choice(jinja_run *r, const jinja_node *n) {
    if (jinja_true(jinja_eval(r, n->b))) return jinja_eval(r, n->a);
    if (n->c) return jinja_eval(r, n->c);
    return jinja_undefined(r, "the inline if-expression evaluated to false and no else section was defined.");
}
static jinja_value jinja_eval_two(jinja_run *r, const jinja_node *n) {
    jinja_value a = jinja_eval(r, n->a), b = jinja_eval(r, n->b);
    r->at = n->at;
    return n->kind == JINJA_ITEM ? jinja_get_item(r, a, b) : jinja_operate(r, n->name, a, b);
}
static jinja_value jinja_eval_either(jinja_run *r, const jinja_node *n) {
    jinja_value a = jinja_eval(r, n->a);
    return jinja_true(a) == (n->kind == JINJA_OR) ? a : jinja_eval(r, n->b);
}
static jinja_value jinja_eval_attribute(jinja_run *r, const jinja_node *n) {
    jinja_value v = jinja_eval(r, n->a);
    r->at = n->at;
    return jinja_get_attribute(r, v, n->name);
}
static jinja_value jinja_eval_kind(jinja_run *r, const jinja_node *n) {
    switch (n->kind) {
    case JINJA_CONST: return jinja_eval_constant(r, n);
    case JINJA_NAME: return jinja_look_up(r, n->name);
    case JINJA_GROUP: case JINJA_ARRAY: return jinja_eval_list(r, n);
    case JINJA_TABLE: return jinja_eval_table(r, n);
    case JINJA_ATTRIBUTE: return jinja_eval_attribute(r, n);
    case JINJA_PART: return jinja_eval_part(r, n);
    case JINJA_CALL: return jinja_eval_call(r, n, NULL);
    case JINJA_FILTER: case JINJA_TEST: return jinja_eval_named(r, n, NULL);
    case JINJA_NOT: return jinja_bool(!jinja_true(jinja_eval(r, n->a)));
    case JINJA_AND: case JINJA_OR: return jinja_eval_either(r, n);
    case JINJA_CHOICE: return jinja_eval_choice(r, n);
    case JINJA_SIGN: return jinja_eval_sign(r, n);
    case JINJA_COMPARISON: return jinja_eval_comparison(r, n);
    default: return jinja_eval_two(r, n);       /* JINJA_ITEM, JINJA_OPERATION */
    }
}
static jinja_value jinja_eval(jinja_run *r, const jinja_node *n) {
    r->at = n->at;
    jinja_enter(r);
    jinja_value v = jinja_eval_kind(r, n);
    jinja_leave(r);
    return v;
}

/* ---- statements ---- */

static bool jinja_make_wanted(jinja_run *r, jinja_iterator *it, jinja_value *v) {       /* for ... if */
    jinja_scope *outer = r->scope;
    r->scope = jinja_open(r, it->scope);
    jinja_assign(r, it->node->a, *v);
    bool wanted = jinja_true(jinja_eval(r, it->node->c));
    r->scope = outer;
    return wanted;
}
static jinja_flow jinja_exec_for(jinja_run *r, const jinja_node *n) {
    jinja_scope *outer = r->scope;
    jinja_value all = jinja_eval(r, n->b), none = {.type = JINJA_MISSING};
    jinja_loop *l = jinja_take(r, 1, sizeof *l);
    r->at = n->b->at;
    *l = (jinja_loop){.it = jinja_iterate(r, all), .index0 = -1, .before = none, .now = none, .after = none,
                      .changed = none, .length = -1};
    if (n->c) {
        l->it = jinja_made(r, jinja_iterator_of(l->it), jinja_make_wanted);
        l->it->node = n;
        l->it->scope = outer;
    } else if (all.type != JINJA_ITERATOR) l->length = jinja_length_of(r, all);
    bool none_ended = true;             /* as in Jinja2: an iteration that continue cut short does not count */
    for (jinja_flow flow = JINJA_GOES_ON; flow != JINJA_LEAVES && jinja_step_loop(r, l);) {
        r->scope = jinja_open(r, outer);
        jinja_bind(r, "loop", (jinja_value){.type = JINJA_LOOP, .loop = l});
        jinja_assign(r, n->a, l->now);
        flow = jinja_exec(r, n->body);
        if (flow == JINJA_GOES_ON) none_ended = false;
        r->scope = outer;
    }
    if (!none_ended || !n->other) return JINJA_GOES_ON;
    r->scope = jinja_open(r, outer);
    jinja_flow flow = jinja_exec(r, n->other);
    r->scope = outer;
    return flow;
}
static jinja_value jinja_filtered(jinja_run *r, const jinja_node *filters, jinja_value v) {
    return filters ? jinja_eval_named(r, filters, &v) : v;
}
static jinja_value jinja_macro_of(jinja_run *r, const jinja_node *n) {
    jinja_callable *f = jinja_take(r, 1, sizeof *f);
    f->macro = n;
    f->scope = r->scope;
    return (jinja_value){.type = JINJA_CALLABLE, .callable = f};
}
static void jinja_print(jinja_run *r, jinja_value v) { jinja_put(r, r->out, jinja_str(r, v).s); }
static void jinja_exec_with(jinja_run *r, const jinja_node *n) {
    jinja_scope *outer = r->scope, *inner = jinja_open(r, outer);
    for (const jinja_node *x = n->list; x; x = x->next) {       /* the values are those of outside */
        jinja_value v = jinja_eval(r, x->b);
        r->scope = inner;
        jinja_assign(r, x->a, v);
        r->scope = outer;
    }
    jinja_print(r, jinja_caught(r, n->body, inner));
}
static void jinja_exec_generation(jinja_run *r, const jinja_node *n) {
    size_t from = r->out->n;
    jinja_print(r, jinja_caught(r, n->body, jinja_open(r, r->scope)));
    for (size_t i = from; i < r->out->n; i++) r->out->mark[i] |= JINJA_ANSWER;
}
static jinja_flow jinja_exec_one(jinja_run *r, const jinja_node *n) {
    jinja_value v;
    r->at = n->at;
    switch (n->kind) {
    case JINJA_TEXT: jinja_put(r, r->out, jinja_text_of(r, n->value.s.s, n->value.s.n, 0).s); break;
    case JINJA_PRINT:
        v = jinja_eval(r, n->a);
        r->at = n->at;
        jinja_print(r, v);
        break;
    case JINJA_FOR: return jinja_exec_for(r, n);
    case JINJA_IF: return jinja_exec(r, jinja_true(jinja_eval(r, n->a)) ? n->body : n->other);
    case JINJA_SET: jinja_assign(r, n->a, jinja_eval(r, n->b)); break;
    case JINJA_SET_BLOCK:
        v = jinja_caught(r, n->body, jinja_open(r, r->scope));
        jinja_assign(r, n->a, jinja_filtered(r, n->b, v));
        break;
    case JINJA_MACRO: jinja_bind(r, n->name, jinja_macro_of(r, n)); break;
    case JINJA_CALL_BLOCK:
        v = jinja_macro_of(r, n);
        jinja_print(r, jinja_eval_call(r, n->b, &v));
        break;
    case JINJA_FILTER_BLOCK:
        v = jinja_caught(r, n->body, jinja_open(r, r->scope));
        jinja_print(r, jinja_filtered(r, n->b, v));
        break;
    case JINJA_WITH: jinja_exec_with(r, n); break;
    case JINJA_GENERATION: jinja_exec_generation(r, n); break;
    case JINJA_BREAK: return JINJA_LEAVES;
    default: return JINJA_SKIPS;
    }
    return JINJA_GOES_ON;
}
static jinja_flow jinja_exec(jinja_run *r, const jinja_node *n) {
    jinja_flow flow = JINJA_GOES_ON;
    jinja_enter(r);
    for (; n && flow == JINJA_GOES_ON; n = n->next) flow = jinja_exec_one(r, n);
    jinja_leave(r);
    return flow;
}

/* ---- the interface ---- */

/* "\r\n" and "\r" are newlines; one at the very end does not count. */
static char *jinja_normal(jinja_run *r, const char *source, size_t size) {
    char *copy = jinja_take(r, size + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        if (source[i] == '\r' && i + 1 < size && source[i + 1] == '\n') continue;
        copy[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n && copy[n - 1] == '\n') copy[--n] = '\0';
    return copy;
}
jinja_template *jinja_try(const char *source, size_t size, const char *where, char error[600]) {
    jinja_template *t = llm_alloc(1, sizeof *t);
    t->run = (jinja_run){.error = t->error, .source = "", .at = "", .where = "",
                         .most_steps = llm_add(1000000, llm_mul(size, 100)),
                         .most = llm_add(1 << 24, llm_mul(size, 500))};
    t->size = size;
    if (setjmp(t->run.escape)) {
        snprintf(error, 600, "%.599s", t->error);
        jinja_free(t);
        return NULL;
    }
    t->run.where = jinja_copy(&t->run, where, strlen(where));
    if (size && memchr(source, '\0', size)) jinja_fail(&t->run, "a template holds a zero byte");
    t->run.source = t->run.at = jinja_normal(&t->run, source, size);
    jinja_parser p = {.r = &t->run};
    jinja_words(&p);
    t->body = jinja_statements(&p, NULL);
    return t;
}
jinja_template *jinja_parse(const char *source, size_t size, const char *where) {
    char error[600];
    jinja_template *t = jinja_try(source, size, where, error);
    if (!t) llm_die("a template in plain Jinja2, as chat templates are", "%s", error);
    return t;
}
void jinja_free(jinja_template *t) {
    if (t) jinja_release(t->run.memory);
    llm_release(t);
}
bool jinja_answers(const jinja_template *t) { return t->run.answers; }
static jinja_value jinja_variable_value(jinja_run *r, const jinja_variable *v) {
    if (v->text) return jinja_text_of(r, v->text, strlen(v->text), 0);
    if (!v->json) return jinja_none();
    return v->chat && v->json->type == LLM_JSON_ARRAY ? jinja_messages(r, v->json) : jinja_from_json(r, v->json);
}
/* Memory and work in proportion to the input; the marks of the longest text of one origin. */
static void jinja_begin(jinja_run *r, const jinja_template *t, const jinja_variable *v, size_t count) {
    size_t longest = t->size, all = t->size;
    for (size_t i = 0; i < count; i++) {
        size_t n = v[i].json ? jinja_json_bytes(v[i].json, &all) : 0;
        if (n > longest) longest = n;
    }
    r->most = llm_add(64 << 20, llm_mul(all, 64));
    r->most_steps = llm_add(20000000, all);
    r->marks = r->words_room = longest;
    r->plain = jinja_same_marks(r, 0, longest);
    r->words = jinja_same_marks(r, JINJA_WORDS, longest);
    r->scope = jinja_open(r, NULL);
    for (size_t i = 0; i < count; i++) jinja_bind(r, v[i].name, jinja_variable_value(r, &v[i]));
    r->scope = jinja_open(r, r->scope);
}
bool jinja_render(const jinja_template *t, const jinja_variable *v, size_t count, time_t now, jinja_text *out) {
    jinja_buffer text = {0};
    jinja_run *r = llm_alloc(1, sizeof *r);
    jinja_text_free(out);
    *r = (jinja_run){.where = t->run.where, .source = t->run.source, .at = t->run.source, .error = out->error,
                     .most = SIZE_MAX, .most_steps = SIZE_MAX, .now = now ? now : time(NULL), .out = &text};
    bool well = !setjmp(r->escape);
    if (well) {
        jinja_begin(r, t, v, count);
        jinja_exec(r, t->body);
        out->length = text.n;
        out->text = llm_alloc(llm_add(text.n, 1), 1);
        out->mark = llm_alloc(llm_add(text.n, 1), sizeof *out->mark);
        if (text.n) memcpy(out->text, text.s, text.n);
        if (text.n) memcpy(out->mark, text.mark, text.n * sizeof *out->mark);
    }
    out->raised = r->raised;
    jinja_release(r->memory);
    llm_release(r);
    return well;
}
void jinja_text_free(jinja_text *x) {
    llm_release_all(x->text, x->mark);
    *x = (jinja_text){0};
}
#endif
#endif
