/* jinja_syntax.h: from a template's text to its tree: characters to words (tokens), words to nodes. Included by jinja.h
   alone. The grammar is Jinja2's; trim_blocks and lstrip_blocks are on, as transformers sets them. */
#ifndef JINJA_SYNTAX_H
#define JINJA_SYNTAX_H
#ifdef LLM_IMPLEMENTATION

/* ---- the tree ---- */

typedef enum {                          /* expressions: */
    JINJA_CONST,                        /* value */
    JINJA_NAME,                         /* name */
    JINJA_GROUP, JINJA_ARRAY,           /* (a, b) and [a, b]: list */
    JINJA_TABLE,                        /* {a: b}: list of pairs, each a key `a` and a value `b` */
    JINJA_ATTRIBUTE, JINJA_ITEM,        /* a.name, a[b] */
    JINJA_PART,                         /* a[b:c:list], each may be NULL */
    JINJA_CALL,                         /* a(list) */
    JINJA_FILTER, JINJA_TEST,           /* a | name(list), a is name(list) */
    JINJA_NAMED,                        /* in a list of arguments: name = a */
    JINJA_NOT, JINJA_AND, JINJA_OR,     /* a; a, b */
    JINJA_CHOICE,                       /* a if b else c (NULL: none) */
    JINJA_SIGN, JINJA_OPERATION,        /* name a; a name b: the arithmetic */
    JINJA_COMPARISON,                   /* a, then each of list: name a ("in", "not in" too) */
                                        /* statements: */
    JINJA_TEXT, JINJA_PRINT,            /* value; a */
    JINJA_FOR,                          /* for a in b if c: body; other */
    JINJA_IF,                           /* if a: body; other */
    JINJA_SET, JINJA_SET_BLOCK,         /* a = b; a = b(body), b a chain of filters over NULL, or NULL */
    JINJA_MACRO,                        /* name(list): body. A parameter: name, a: its default, or NULL */
    JINJA_CALL_BLOCK,                   /* call(list) b: body */
    JINJA_FILTER_BLOCK,                 /* b, as in a set block: body */
    JINJA_WITH,                         /* list of pairs a = b: body */
    JINJA_GENERATION,                   /* body */
    JINJA_BREAK, JINJA_CONTINUE
} jinja_kind;
typedef struct jinja_node {
    jinja_kind kind;
    const char *at;                     /* its place in the source */
    const char *name;
    jinja_value value;                  /* (its marks are set when it is used) */
    struct jinja_node *a, *b, *c, *list, *body, *other;
    struct jinja_node *next;            /* in the list or the body that it belongs to */
} jinja_node;

/* ---- characters to words ---- */

typedef enum {
    JINJA_END, JINJA_DATA, JINJA_BLOCK, JINJA_BLOCK_END, JINJA_VARIABLE, JINJA_VARIABLE_END, JINJA_WORD, JINJA_QUOTED,
    JINJA_WHOLE, JINJA_FRACTION, JINJA_OPERATOR
} jinja_token_type;
typedef struct { jinja_token_type type; const char *at, *text; size_t n; jinja_value value; } jinja_token;
typedef struct {
    jinja_run *r;
    jinja_token *token; size_t tokens, room;
    size_t next;                        /* the parser's place */
    int loops, functions;               /* how many for, macro ... are open around it */
} jinja_parser;

static jinja_token *jinja_emit(jinja_parser *p, jinja_token_type type, const char *at, size_t n) {
    p->token = jinja_more(p->r, p->token, p->tokens, 1, &p->room, sizeof *p->token);
    jinja_token *t = &p->token[p->tokens++];
    *t = (jinja_token){.type = type, .at = at, .text = at, .n = n};
    return t;
}
static void jinja_emit_data(jinja_parser *p, const char *from, const char *to) {
    if (to > from) jinja_emit(p, JINJA_DATA, from, to - from);
}
/* The end of the white space that begins at p. */
static const char *jinja_skip_space(const char *p) {
    uint32_t c;
    for (int n; n = llm_utf8_get(p, 4, &c), jinja_is_space(c);) p += n;        /* (a '\0' ends the source) */
    return p;
}
/* Where the white space that ends at `end` begins: for {%- */
static const char *jinja_back_space(const char *from, const char *end) {
    jinja_string x = {from, NULL, end - from};
    while (x.n) {
        size_t last = jinja_before(x, x.n);
        if (!jinja_is_space(jinja_code(x, last))) break;
        x.n = last;
    }
    return from + x.n;
}
/* lstrip_blocks: white space alone between a line's beginning and a tag is not part of the text. */
static const char *jinja_line_space(const char *from, const char *tag, bool line_begins) {
    const char *line = tag;
    while (line > from && line[-1] != '\n') line--;
    return (line > from || line_begins) && jinja_back_space(line, tag) == line ? line : tag;
}
static const char *jinja_text_end(const char *from, const char *tag, char sign, bool block, bool line_begins) {
    if (sign == '-') return jinja_back_space(from, tag);
    return sign == '+' || !block ? tag : jinja_line_space(from, tag, line_begins);
}
/* Behind the end of a tag, "%}" with its sign before it, that stands at p; NULL: none does. */
static const char *jinja_tag_end(const char *p, const char *end, bool trims) {
    char sign = *p == '-' || (*p == '+' && trims) ? *p : 0;
    if (strncmp(p + (sign != 0), end, 2)) return NULL;
    p += 2 + (sign != 0);
    if (sign == '-') return jinja_skip_space(p);
    return p + (trims && !sign && *p == '\n');
}
static const char *jinja_comment(jinja_parser *p, const char *tag, const char *inside) {
    const char *end = strstr(inside, "#}");
    p->r->at = tag;
    if (!end) jinja_fail(p->r, "this comment has no end");
    if (end > inside && (end[-1] == '-' || end[-1] == '+')) end--;
    return jinja_tag_end(end, "#}", true);
}
/* {% raw %} ... {% endraw %}. Behind `inside` no "raw" and its closing: NULL. */
static const char *jinja_word_tag(const char *p, const char *word, bool trims) {
    p = jinja_skip_space(p);
    if (strncmp(p, word, strlen(word))) return NULL;
    return jinja_tag_end(jinja_skip_space(p + strlen(word)), "%}", trims);
}
static const char *jinja_raw(jinja_parser *p, const char *tag, const char *inside) {
    const char *from = jinja_word_tag(inside, "raw", false);
    if (!from) return NULL;
    for (const char *end = from; (end = strchr(end, '{')); end++) {
        if (end[1] != '%') continue;
        char sign = end[2] == '-' || end[2] == '+' ? end[2] : 0;
        const char *after = jinja_word_tag(end + 2 + (sign != 0), "endraw", true);
        if (!after) continue;
        jinja_emit_data(p, from, jinja_text_end(from, end, sign, true, from[-1] == '\n'));
        return after;
    }
    p->r->at = tag;
    jinja_fail(p->r, "this raw block has no end");
}

static const char *jinja_digits(const char *p) {        /* 1_000 */
    while (isdigit((unsigned char)*p) || (*p == '_' && isdigit((unsigned char)p[1]))) p++;
    return p;
}
static const char *jinja_numeral(jinja_parser *p, const char *s) {
    const char *end = jinja_digits(s), *dot = end;
    if (*end == '.' && isdigit((unsigned char)end[1])) dot = jinja_digits(end + 1);
    const char *e = dot + (tolower((unsigned char)*dot) == 'e');
    if (e > dot) e += *e == '+' || *e == '-';
    bool power = e > dot && isdigit((unsigned char)*e), fraction = (power || dot > end) && s[-1] != '.';
    if (fraction) end = power ? jinja_digits(e) : dot;
    p->r->at = s;
    if (!fraction && *s == '0' && (isdigit((unsigned char)s[1]) || (*end && strchr("xXoObB", *end))))
        jinja_fail(p->r, "write this number in decimal digits, without zeros before it");
    char *text = jinja_take(p->r, end - s + 1, 1);
    size_t n = 0;
    for (const char *c = s; c < end; c++)
        if (*c != '_') text[n++] = *c;
    errno = 0;
    jinja_token *t = jinja_emit(p, fraction ? JINJA_FRACTION : JINJA_WHOLE, s, end - s);
    t->value = fraction ? jinja_float(strtod(text, NULL)) : jinja_int(strtoll(text, NULL, 10));
    if (!fraction && errno) jinja_fail(p->r, "this number is too large");
    return end;
}
/* The code point of \x41, \u00e9, \U0001f600 or octal \101; p stands behind the letter. */
static const char *jinja_code_escape(jinja_parser *p, const char *s, char letter, char **to) {
    bool octal = letter >= '0' && letter <= '7';
    int digits = octal ? 3 : letter == 'x' ? 2 : letter == 'u' ? 4 : 8, got = 0;
    uint32_t c = 0;
    if (octal) s--;
    for (; got < digits && (octal ? *s >= '0' && *s <= '7' : isxdigit((unsigned char)*s)); got++, s++)
        c = c * (octal ? 8 : 16) + (isdigit((unsigned char)*s) ? *s - '0' : (tolower((unsigned char)*s) - 'a') + 10);
    p->r->at = s;
    if ((!octal && got < digits) || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        jinja_fail(p->r, "this escape is no character");
    *to += utf8_put(*to, c);
    return s;
}
/* One backslash at s, written as what it stands for. */
static const char *jinja_escape(jinja_parser *p, const char *s, char **to) {
    static const char letter[] = "\\'\"abfnrtv", meant[] = "\\'\"\a\b\f\n\r\t\v";
    const char *known = memchr(letter, s[1], strlen(letter));
    p->r->at = s;
    if (s[1] == 'N') jinja_fail(p->r, "write the character itself for its name \\N{...}");
    if (known) *(*to)++ = meant[known - letter];
    else if (s[1] && strchr("xuU01234567", s[1])) return jinja_code_escape(p, s + 2, s[1], to);
    else if ((unsigned char)s[1] >= 0x80) jinja_fail(p->r, "a backslash before this character");
    else if (s[1] != '\n') {            /* unknown: the backslash stays; at a line's end both go */
        *(*to)++ = '\\';
        *(*to)++ = s[1];
    }
    return s + 2;
}
static const char *jinja_quoted(jinja_parser *p, const char *s) {
    const char quote = *s, *end = s + 1;
    while (*end && *end != quote) end += *end == '\\' && end[1] ? 2 : 1;
    p->r->at = s;
    if (!*end) jinja_fail(p->r, "this string has no end");
    char *text = jinja_take(p->r, end - s + 1, 1), *to = text;
    for (const char *c = s + 1; c < end;)
        if (*c == '\\') c = jinja_escape(p, c, &to);
        else *to++ = *c++;
    jinja_token *t = jinja_emit(p, JINJA_QUOTED, s, end - s + 1);
    t->value = (jinja_value){.type = JINJA_STRING, .s = {text, NULL, to - text}};
    return end + 1;
}
static const char *jinja_word(jinja_parser *p, const char *s) {
    const char *end = s;
    while (isalnum((unsigned char)*end) || *end == '_') end++;
    jinja_token *t = jinja_emit(p, JINJA_WORD, s, end - s);
    t->text = jinja_copy(p->r, s, end - s);
    return end;
}
static const char *jinja_operator(jinja_parser *p, const char *s, char *open, int *depth) {
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    static const char opening[] = "([{", closing[] = ")]}";
    size_t n = 1;
    for (int i = 0; i < 6; i++)
        if (!strncmp(s, two[i], 2)) n = 2;
    p->r->at = s;
    if (n == 1 && !strchr("+-/*%~[](){}><=.:|,;", *s))
        jinja_fail(p->r, (unsigned char)*s < 0x80 ? "unexpected character '%.1s'" : "an unexpected character", s);
    const char *opens = n == 1 ? strchr(opening, *s) : NULL, *closes = n == 1 ? strchr(closing, *s) : NULL;
    if (opens && *depth == JINJA_DEPTH) jinja_fail(p->r, "nested deeper than %d levels", JINJA_DEPTH);
    if (opens) open[(*depth)++] = closing[opens - opening];
    if (closes && (!*depth || open[--*depth] != *s)) jinja_fail(p->r, "unexpected '%c'", *s);
    jinja_token *t = jinja_emit(p, JINJA_OPERATOR, s, n);
    t->text = jinja_copy(p->r, s, n);
    return s + n;
}
/* The words of a tag that begins at `tag`, up to behind its end. */
static const char *jinja_code_words(jinja_parser *p, const char *tag, const char *s, bool block) {
    char open[JINJA_DEPTH];
    int depth = 0;
    jinja_emit(p, block ? JINJA_BLOCK : JINJA_VARIABLE, tag, 2);
    for (;;) {
        const char *end = depth ? NULL : jinja_tag_end(s, block ? "%}" : "}}", block);
        if (end) {
            jinja_emit(p, block ? JINJA_BLOCK_END : JINJA_VARIABLE_END, s, 2);
            return end;
        }
        const char *word = jinja_skip_space(s);
        if (word > s) s = word;
        else if (!*s) {
            p->r->at = tag;
            jinja_fail(p->r, "this tag has no end");
        } else if (isdigit((unsigned char)*s)) s = jinja_numeral(p, s);
        else if (*s == '\'' || *s == '"') s = jinja_quoted(p, s);
        else if (isalpha((unsigned char)*s) || *s == '_') s = jinja_word(p, s);
        else s = jinja_operator(p, s, open, &depth);
    }
}
static const char *jinja_next_tag(const char *s) {
    while ((s = strchr(s, '{')) && s[1] != '{' && s[1] != '%' && s[1] != '#') s++;
    return s;
}
static void jinja_words(jinja_parser *p) {
    bool line_begins = true;            /* did the tag before end at the end of a line? */
    const char *s = p->r->source;
    for (const char *tag; (tag = jinja_next_tag(s));) {
        char sign = tag[2] == '-' || tag[2] == '+' ? tag[2] : 0;
        const char *inside = tag + 2 + (sign != 0), *after = NULL;
        jinja_emit_data(p, s, jinja_text_end(s, tag, sign, tag[1] != '{', line_begins));
        if (tag[1] == '#') after = jinja_comment(p, tag, inside);
        if (tag[1] == '%') after = jinja_raw(p, tag, inside);
        if (!after) after = jinja_code_words(p, tag, inside, tag[1] == '%');
        s = after;
        line_begins = s[-1] == '\n';
    }
    jinja_emit_data(p, s, s + strlen(s));
    jinja_emit(p, JINJA_END, s + strlen(s), 0);
}

/* ---- words to nodes: expressions ---- */

static jinja_token *jinja_here(jinja_parser *p) { return &p->token[p->next]; }
LLM_NORETURN static void jinja_unexpected(jinja_parser *p, const char *wanted) {
    static const char *const names[] = {"the end of the template", "text", "a tag", "the end of the tag", "a tag",
                                        "the end of the tag"};
    jinja_token *t = jinja_here(p);
    p->r->at = t->at;
    if (t->type <= JINJA_VARIABLE_END) jinja_fail(p->r, "%s was expected, not %s", wanted, names[t->type]);
    jinja_fail(p->r, "%s was expected, not %.*s", wanted, t->n < 40 ? (int)t->n : 40, t->at);
}
static bool jinja_is(const jinja_token *t, jinja_token_type type, const char *text) {
    return t->type == type && (!text || !strcmp(t->text, text));
}
static bool jinja_at(jinja_parser *p, const char *op) { return jinja_is(jinja_here(p), JINJA_OPERATOR, op); }
static bool jinja_at_word(jinja_parser *p, const char *word) { return jinja_is(jinja_here(p), JINJA_WORD, word); }
static bool jinja_skip(jinja_parser *p, const char *op) { return jinja_at(p, op) && ++p->next; }
static bool jinja_skip_word(jinja_parser *p, const char *word) { return jinja_at_word(p, word) && ++p->next; }
static void jinja_expect(jinja_parser *p, const char *op) {
    char wanted[8];
    snprintf(wanted, sizeof wanted, "'%s'", op);
    if (!jinja_skip(p, op)) jinja_unexpected(p, wanted);
}
static const char *jinja_expect_name(jinja_parser *p) {
    if (jinja_here(p)->type != JINJA_WORD) jinja_unexpected(p, "a name");
    return p->token[p->next++].text;
}
static jinja_node *jinja_new(jinja_parser *p, jinja_kind kind, const char *name, jinja_node *a, jinja_node *b) {
    jinja_node *n = jinja_take(p->r, 1, sizeof *n);
    *n = (jinja_node){.kind = kind, .at = jinja_here(p)->at, .name = name, .a = a, .b = b};
    return n;
}
/* A node that stands where another began. */
static jinja_node *jinja_from(jinja_parser *p, const char *at, jinja_kind kind, const char *name, jinja_node *a,
                              jinja_node *b) {
    jinja_node *n = jinja_new(p, kind, name, a, b);
    n->at = at;
    return n;
}

static jinja_node *jinja_expression(jinja_parser *p);
static jinja_node *jinja_any(jinja_parser *p);
static jinja_node *jinja_unary(jinja_parser *p, bool filters);

/* "(a, b, name=c)", behind the bracket. */
static jinja_node *jinja_arguments(jinja_parser *p) {
    jinja_node *first = NULL, **tail = &first;
    bool named = false;
    while (!jinja_at(p, ")")) {
        if (first) jinja_expect(p, ",");
        if (jinja_at(p, ")")) break;
        p->r->at = jinja_here(p)->at;
        if (jinja_at(p, "*") || jinja_at(p, "**")) jinja_fail(p->r, "arguments after * are not read");
        if (jinja_here(p)->type == JINJA_WORD && jinja_is(&p->token[p->next + 1], JINJA_OPERATOR, "=")) {
            const char *at = jinja_here(p)->at, *name = jinja_expect_name(p);
            p->next++;
            *tail = jinja_from(p, at, JINJA_NAMED, name, jinja_expression(p), NULL);
            named = true;
        } else if (named) jinja_fail(p->r, "an argument without a name behind one with a name");
        else *tail = jinja_expression(p);
        tail = &(*tail)->next;
    }
    jinja_expect(p, ")");
    return first;
}
/* Elements up to `close`, which is read too; a comma may stand behind the last. */
static jinja_node *jinja_elements(jinja_parser *p, const char *close, bool pairs) {
    jinja_node *first = NULL, **tail = &first;
    while (!jinja_at(p, close)) {
        if (first) jinja_expect(p, ",");
        if (jinja_at(p, close)) break;
        *tail = jinja_expression(p);
        if (pairs) {
            jinja_expect(p, ":");
            *tail = jinja_new(p, JINJA_NAMED, NULL, *tail, NULL);
            (*tail)->b = jinja_expression(p);
        }
        tail = &(*tail)->next;
    }
    jinja_expect(p, close);
    return first;
}
static jinja_node *jinja_constant(jinja_parser *p, jinja_value v) {
    jinja_node *n = jinja_new(p, JINJA_CONST, NULL, NULL, NULL);
    n->value = v;
    p->next++;
    return n;
}
/* 'a' 'b' is one string. */
static jinja_node *jinja_strings(jinja_parser *p) {
    jinja_node *n = jinja_constant(p, jinja_here(p)->value);
    for (; jinja_here(p)->type == JINJA_QUOTED; p->next++) {
        jinja_string *x = &n->value.s, more = jinja_here(p)->value.s;
        char *text = jinja_take(p->r, x->n + more.n + 1, 1);
        memcpy(text, x->s, x->n);
        memcpy(text + x->n, more.s, more.n);
        *x = (jinja_string){text, NULL, x->n + more.n};
    }
    return n;
}
static jinja_node *jinja_name_or_constant(jinja_parser *p) {
    static const char *const truths[] = {"true", "True", "false", "False", "none", "None"};
    for (int i = 0; i < 6; i++)
        if (jinja_at_word(p, truths[i])) return jinja_constant(p, i < 4 ? jinja_bool(i < 2) : jinja_none());
    jinja_node *n = jinja_new(p, JINJA_NAME, jinja_here(p)->text, NULL, NULL);
    p->next++;
    p->r->at = n->at;
    if (p->functions && (!strcmp(n->name, "varargs") || !strcmp(n->name, "kwargs")))
        jinja_fail(p->r, "a macro's %s are not read", n->name);
    return n;
}
static jinja_node *jinja_primary(jinja_parser *p) {
    jinja_token *t = jinja_here(p);
    jinja_node *n = NULL;
    jinja_enter(p->r);
    if (t->type == JINJA_WORD) n = jinja_name_or_constant(p);
    else if (t->type == JINJA_QUOTED) n = jinja_strings(p);
    else if (t->type == JINJA_WHOLE || t->type == JINJA_FRACTION) n = jinja_constant(p, t->value);
    else if (jinja_skip(p, "(")) {
        if (jinja_at(p, ")")) n = jinja_from(p, t->at, JINJA_GROUP, NULL, NULL, NULL);
        else n = jinja_any(p);
        jinja_expect(p, ")");
    } else if (jinja_skip(p, "[")) {
        n = jinja_from(p, t->at, JINJA_ARRAY, NULL, NULL, NULL);
        n->list = jinja_elements(p, "]", false);
    } else if (jinja_skip(p, "{")) {
        n = jinja_from(p, t->at, JINJA_TABLE, NULL, NULL, NULL);
        n->list = jinja_elements(p, "}", true);
    } else jinja_unexpected(p, "an expression");
    jinja_leave(p->r);
    return n;
}
/* What stands in a[...]: an expression, or a slice. */
static jinja_node *jinja_subscript(jinja_parser *p, jinja_node *of, const char *at) {
    jinja_node *part[3] = {NULL};
    int colons = 0;
    while (!jinja_at(p, "]"))
        if (colons < 2 && jinja_skip(p, ":")) colons++;
        else if (part[colons]) jinja_unexpected(p, "']'");
        else part[colons] = jinja_expression(p);
    if (!colons && !part[0]) jinja_unexpected(p, "an expression");
    jinja_expect(p, "]");
    jinja_node *n = jinja_from(p, at, colons ? JINJA_PART : JINJA_ITEM, NULL, of, part[0]);
    n->c = part[1];
    n->list = part[2];
    return n;
}
static jinja_node *jinja_postfix(jinja_parser *p, jinja_node *n) {
    for (;;) {
        const char *at = jinja_here(p)->at;
        if (jinja_skip(p, ".")) {
            if (jinja_here(p)->type == JINJA_WHOLE) {
                jinja_node *index = jinja_constant(p, jinja_here(p)->value);
                n = jinja_from(p, at, JINJA_ITEM, NULL, n, index);
            } else n = jinja_from(p, at, JINJA_ATTRIBUTE, jinja_expect_name(p), n, NULL);
        } else if (jinja_skip(p, "[")) n = jinja_subscript(p, n, at);
        else if (jinja_skip(p, "(")) {
            n = jinja_from(p, at, JINJA_CALL, NULL, n, NULL);
            n->list = jinja_arguments(p);
        } else return n;
    }
}
/* The name behind | or is, and its arguments. */
static jinja_node *jinja_filter_call(jinja_parser *p, jinja_kind kind, jinja_node *of) {
    const char *at = jinja_here(p)->at;
    jinja_node *n = jinja_from(p, at, kind, jinja_expect_name(p), of, NULL);
    p->r->at = at;
    if (jinja_at(p, ".")) jinja_fail(p->r, "no filter and no test has a name with a dot");
    if (jinja_skip(p, "(")) n->list = jinja_arguments(p);
    return n;
}
static jinja_node *jinja_filters_of(jinja_parser *p, jinja_node *n) {
    while (jinja_skip(p, "|")) n = jinja_filter_call(p, JINJA_FILTER, n);
    return n;
}
/* "is divisibleby 3": an argument without brackets. */
static bool jinja_bare_argument(jinja_parser *p) {
    jinja_token *t = jinja_here(p);
    if (t->type == JINJA_WORD)
        return !jinja_at_word(p, "else") && !jinja_at_word(p, "or") && !jinja_at_word(p, "and");
    return t->type == JINJA_QUOTED || t->type == JINJA_WHOLE || t->type == JINJA_FRACTION || jinja_at(p, "[") ||
           jinja_at(p, "{");
}
static jinja_node *jinja_test_of(jinja_parser *p, jinja_node *of) {
    const char *at = jinja_here(p)->at;
    bool negated = jinja_skip_word(p, "not");
    bool brackets = jinja_is(&p->token[p->next + 1], JINJA_OPERATOR, "(");
    jinja_node *n = jinja_filter_call(p, JINJA_TEST, of);
    if (!brackets && jinja_bare_argument(p)) {
        p->r->at = jinja_here(p)->at;
        if (jinja_at_word(p, "is")) jinja_fail(p->r, "a test behind a test");
        n->list = jinja_postfix(p, jinja_primary(p));
    }
    return negated ? jinja_from(p, at, JINJA_NOT, NULL, n, NULL) : n;
}
static jinja_node *jinja_unary(jinja_parser *p, bool filters) {
    const char *at = jinja_here(p)->at, *sign = jinja_at(p, "-") || jinja_at(p, "+") ? jinja_here(p)->text : NULL;
    jinja_node *n;
    jinja_enter(p->r);
    if (sign) {
        p->next++;
        n = jinja_from(p, at, JINJA_SIGN, sign, jinja_unary(p, false), NULL);
    } else n = jinja_primary(p);
    n = jinja_postfix(p, n);
    while (filters)
        if (jinja_at(p, "|")) n = jinja_filters_of(p, n);
        else if (jinja_skip_word(p, "is")) n = jinja_test_of(p, n);
        else if (jinja_at(p, "(")) n = jinja_postfix(p, n);
        else break;
    jinja_leave(p->r);
    return n;
}
/* Arithmetic, the tightest first: ** ; * / // % ; ~ ; + - */
static jinja_node *jinja_arithmetic(jinja_parser *p, int level) {
    static const char *const ops[][5] = {{"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};
    if (level == 4) return jinja_unary(p, true);
    jinja_node *n = jinja_arithmetic(p, level + 1);
    for (int i = 0; ops[level][i];) {
        const char *at = jinja_here(p)->at;
        if (!jinja_skip(p, ops[level][i])) {
            i++;
            continue;
        }
        n = jinja_from(p, at, JINJA_OPERATION, ops[level][i], n, jinja_arithmetic(p, level + 1));
        i = 0;
    }
    return n;
}
/* The operator of a comparison, read; or NULL. */
static const char *jinja_comparison_operator(jinja_parser *p) {
    static const char *const ops[] = {"==", "!=", "<", "<=", ">", ">="};
    for (int i = 0; i < 6; i++)
        if (jinja_skip(p, ops[i])) return ops[i];
    if (jinja_skip_word(p, "in")) return "in";
    if (!jinja_at_word(p, "not") || !jinja_is(&p->token[p->next + 1], JINJA_WORD, "in")) return NULL;
    p->next += 2;
    return "not in";
}
static jinja_node *jinja_comparison(jinja_parser *p) {
    jinja_node *n = jinja_arithmetic(p, 0), **tail = NULL;
    const char *at = jinja_here(p)->at;
    for (const char *op; (op = jinja_comparison_operator(p)); at = jinja_here(p)->at) {
        if (!tail) {
            n = jinja_from(p, at, JINJA_COMPARISON, NULL, n, NULL);
            tail = &n->list;
        }
        *tail = jinja_from(p, at, JINJA_NAMED, op, jinja_arithmetic(p, 0), NULL);
        tail = &(*tail)->next;
    }
    return n;
}
static jinja_node *jinja_negation(jinja_parser *p) {
    const char *at = jinja_here(p)->at;
    if (!jinja_skip_word(p, "not")) return jinja_comparison(p);
    jinja_enter(p->r);
    jinja_node *n = jinja_from(p, at, JINJA_NOT, NULL, jinja_negation(p), NULL);
    jinja_leave(p->r);
    return n;
}
static jinja_node *jinja_and(jinja_parser *p) {
    jinja_node *n = jinja_negation(p);
    while (jinja_skip_word(p, "and")) n = jinja_new(p, JINJA_AND, NULL, n, jinja_negation(p));
    return n;
}
static jinja_node *jinja_or(jinja_parser *p) {
    jinja_node *n = jinja_and(p);
    while (jinja_skip_word(p, "or")) n = jinja_new(p, JINJA_OR, NULL, n, jinja_and(p));
    return n;
}
static jinja_node *jinja_expression(jinja_parser *p) {
    jinja_enter(p->r);
    jinja_node *n = jinja_or(p);
    while (jinja_skip_word(p, "if")) {
        n = jinja_new(p, JINJA_CHOICE, NULL, n, jinja_or(p));
        if (jinja_skip_word(p, "else")) n->c = jinja_expression(p);
    }
    jinja_leave(p->r);
    return n;
}
/* One expression, or several with commas: a tuple. whole: "a if b" may stand in it. */
static jinja_node *jinja_some(jinja_parser *p, bool whole) {
    const char *at = jinja_here(p)->at;
    jinja_node *first = whole ? jinja_expression(p) : jinja_or(p), **tail = &first->next;
    if (!jinja_at(p, ",")) return first;
    while (jinja_skip(p, ",")) {
        jinja_token_type type = jinja_here(p)->type;
        if (type == JINJA_VARIABLE_END || type == JINJA_BLOCK_END || jinja_at(p, ")") || jinja_at_word(p, "in")) break;
        *tail = whole ? jinja_expression(p) : jinja_or(p);
        tail = &(*tail)->next;
    }
    jinja_node *n = jinja_from(p, at, JINJA_GROUP, NULL, NULL, NULL);
    n->list = first;
    return n;
}
static jinja_node *jinja_any(jinja_parser *p) { return jinja_some(p, true); }

/* ---- words to nodes: statements ---- */

static jinja_node *jinja_statements(jinja_parser *p, const char *const *ends);

static void jinja_tag_ends(jinja_parser *p) {
    if (jinja_here(p)->type != JINJA_BLOCK_END) jinja_unexpected(p, "the end of the tag");
    p->next++;
}
/* What stands up to one of the tags named in `ends`, of which the name is read too. */
static jinja_node *jinja_body(jinja_parser *p, const char *const *ends, const char **which) {
    jinja_skip(p, ":");
    jinja_tag_ends(p);
    jinja_node *body = jinja_statements(p, ends);
    *which = p->token[p->next++].text;
    return body;
}
static jinja_node *jinja_body_to(jinja_parser *p, const char *end) {
    const char *ends[] = {end, NULL}, *which;
    return jinja_body(p, ends, &which);
}
/* Where a value is put: a name, name.attribute, or several. */
static jinja_node *jinja_target_one(jinja_parser *p, bool attributes) {
    const char *at = jinja_here(p)->at;
    if (jinja_skip(p, "(")) {
        jinja_node *n = jinja_from(p, at, JINJA_GROUP, NULL, NULL, NULL), **tail = &n->list;
        jinja_enter(p->r);
        do {
            *tail = jinja_target_one(p, attributes);
            tail = &(*tail)->next;
        } while (jinja_skip(p, ",") && !jinja_at(p, ")"));
        jinja_leave(p->r);
        jinja_expect(p, ")");
        return n;
    }
    jinja_node *n = jinja_name_or_constant(p);
    p->r->at = at;
    if (n->kind == JINJA_CONST) jinja_fail(p->r, "a value cannot be put into a constant");
    if (attributes && jinja_skip(p, ".")) n = jinja_from(p, at, JINJA_ATTRIBUTE, jinja_expect_name(p), n, NULL);
    return n;
}
static jinja_node *jinja_target(jinja_parser *p, bool attributes) {
    const char *at = jinja_here(p)->at;
    if (jinja_here(p)->type != JINJA_WORD && !jinja_at(p, "(")) jinja_unexpected(p, "a name");
    jinja_node *first = jinja_target_one(p, attributes), **tail = &first->next;
    if (!jinja_at(p, ",")) return first;
    while (jinja_skip(p, ",") && !jinja_at_word(p, "in") && !jinja_at(p, "=")) {
        if (jinja_here(p)->type != JINJA_WORD && !jinja_at(p, "(")) jinja_unexpected(p, "a name");
        *tail = jinja_target_one(p, attributes);
        tail = &(*tail)->next;
    }
    jinja_node *n = jinja_from(p, at, JINJA_GROUP, NULL, NULL, NULL);
    n->list = first;
    return n;
}
static void jinja_parse_for(jinja_parser *p, jinja_node *n) {
    static const char *const ends[] = {"endfor", "else", NULL};
    const char *which;
    n->a = jinja_target(p, false);
    p->r->at = n->at;
    if (n->a->kind == JINJA_NAME && !strcmp(n->a->name, "loop")) jinja_fail(p->r, "'loop' is for's own variable");
    if (!jinja_skip_word(p, "in")) jinja_unexpected(p, "'in'");
    n->b = jinja_some(p, false);
    if (jinja_skip_word(p, "if")) n->c = jinja_expression(p);
    if (jinja_at_word(p, "recursive")) jinja_fail(p->r, "recursive loops are not read");
    p->loops++;
    n->body = jinja_body(p, ends, &which);
    p->loops--;
    if (!strcmp(which, "else")) n->other = jinja_body_to(p, "endfor");
}
static void jinja_parse_if(jinja_parser *p, jinja_node *n) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    for (const char *which;;) {
        n->a = jinja_some(p, false);
        n->body = jinja_body(p, ends, &which);
        if (!strcmp(which, "endif")) return;
        if (!strcmp(which, "else")) {
            n->other = jinja_body_to(p, "endif");
            return;
        }
        n = n->other = jinja_new(p, JINJA_IF, NULL, NULL, NULL);
    }
}
/* A body whose text is caught: no break leaves it. */
static jinja_node *jinja_function_body(jinja_parser *p, const char *end) {
    int loops = p->loops;
    p->loops = 0;
    p->functions++;
    jinja_node *body = jinja_body_to(p, end);
    p->functions--;
    p->loops = loops;
    return body;
}
static void jinja_parse_set(jinja_parser *p, jinja_node *n) {
    n->a = jinja_target(p, true);
    if (jinja_skip(p, "=")) {
        n->b = jinja_any(p);
        return;
    }
    n->kind = JINJA_SET_BLOCK;
    if (jinja_at(p, "|")) n->b = jinja_filters_of(p, NULL);
    n->body = jinja_function_body(p, "endset");
}
/* "(a, b=1)", behind the bracket. */
static jinja_node *jinja_parameters(jinja_parser *p) {
    jinja_node *first = NULL, **tail = &first;
    bool defaults = false;
    while (!jinja_at(p, ")")) {
        if (first) jinja_expect(p, ",");
        const char *at = jinja_here(p)->at;
        *tail = jinja_from(p, at, JINJA_NAMED, jinja_expect_name(p), NULL, NULL);
        if (jinja_skip(p, "=")) {
            (*tail)->a = jinja_expression(p);
            defaults = true;
        } else if (defaults) jinja_unexpected(p, "a default");
        tail = &(*tail)->next;
    }
    jinja_expect(p, ")");
    return first;
}
static void jinja_parse_call(jinja_parser *p, jinja_node *n) {
    if (jinja_skip(p, "(")) n->list = jinja_parameters(p);
    n->b = jinja_expression(p);
    p->r->at = n->at;
    if (n->b->kind != JINJA_CALL) jinja_fail(p->r, "call wants a macro(...)");
    n->body = jinja_function_body(p, "endcall");
}
static void jinja_parse_with(jinja_parser *p, jinja_node *n) {
    for (jinja_node **tail = &n->list; jinja_here(p)->type != JINJA_BLOCK_END; tail = &(*tail)->next) {
        if (n->list) jinja_expect(p, ",");
        *tail = jinja_new(p, JINJA_NAMED, NULL, NULL, NULL);
        (*tail)->a = jinja_target(p, false);
        jinja_expect(p, "=");
        (*tail)->b = jinja_expression(p);
    }
    n->body = jinja_body_to(p, "endwith");
}
static void jinja_parse_macro(jinja_parser *p, jinja_node *n) {
    n->name = jinja_expect_name(p);
    jinja_expect(p, "(");
    n->list = jinja_parameters(p);
    n->body = jinja_function_body(p, "endmacro");
}
static void jinja_parse_filter_block(jinja_parser *p, jinja_node *n) {
    n->b = jinja_filters_of(p, jinja_filter_call(p, JINJA_FILTER, NULL));
    n->body = jinja_function_body(p, "endfilter");
}
static void jinja_parse_generation(jinja_parser *p, jinja_node *n) {
    p->r->answers = true;
    n->body = jinja_function_body(p, "endgeneration");
}
static void jinja_parse_print(jinja_parser *p, jinja_node *n) { n->a = jinja_expression(p); }
static void jinja_parse_leave(jinja_parser *p, jinja_node *n) {
    p->r->at = n->at;
    if (!p->loops) jinja_fail(p->r, "%s outside of a loop", n->name);
}
static jinja_node *jinja_statement(jinja_parser *p) {
    static const struct { const char *name; jinja_kind kind; void (*parse)(jinja_parser *p, jinja_node *n); } all[] = {
        {"for", JINJA_FOR, jinja_parse_for}, {"if", JINJA_IF, jinja_parse_if}, {"set", JINJA_SET, jinja_parse_set},
        {"macro", JINJA_MACRO, jinja_parse_macro}, {"call", JINJA_CALL_BLOCK, jinja_parse_call},
        {"filter", JINJA_FILTER_BLOCK, jinja_parse_filter_block}, {"with", JINJA_WITH, jinja_parse_with},
        {"generation", JINJA_GENERATION, jinja_parse_generation}, {"print", JINJA_PRINT, jinja_parse_print},
        {"break", JINJA_BREAK, jinja_parse_leave}, {"continue", JINJA_CONTINUE, jinja_parse_leave}};
    jinja_token *t = jinja_here(p);
    if (t->type != JINJA_WORD) jinja_unexpected(p, "the name of a tag");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(t->text, all[i].name)) continue;
        jinja_node *n = jinja_new(p, all[i].kind, t->text, NULL, NULL);
        p->next++;
        jinja_enter(p->r);
        all[i].parse(p, n);
        jinja_leave(p->r);
        jinja_tag_ends(p);
        return n;
    }
    p->r->at = t->at;
    jinja_fail(p->r, "the tag {%% %.40s %%} is not read here", t->text);
}
static bool jinja_at_one_of(jinja_parser *p, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (jinja_at_word(p, *ends)) return true;
    return false;
}
/* Text, prints and tags up to one of `ends` (NULL: the end of the template); its name is the next word. */
static jinja_node *jinja_statements(jinja_parser *p, const char *const *ends) {
    jinja_node *first = NULL, **tail = &first;
    for (;; tail = &(*tail)->next) {
        jinja_token *t = jinja_here(p);
        if (t->type == JINJA_END) {
            if (ends) jinja_unexpected(p, ends[1] && ends[2] ? "endif" : ends[0]);
            return first;
        }
        if (t->type == JINJA_DATA) {
            *tail = jinja_new(p, JINJA_TEXT, NULL, NULL, NULL);
            (*tail)->value = (jinja_value){.type = JINJA_STRING, .s = {t->at, NULL, t->n}};
            p->next++;
        } else if (t->type == JINJA_VARIABLE) {
            p->next++;
            *tail = jinja_new(p, JINJA_PRINT, NULL, NULL, NULL);
            (*tail)->a = jinja_any(p);
            if (jinja_here(p)->type != JINJA_VARIABLE_END) jinja_unexpected(p, "'}}'");
            p->next++;
        } else {
            p->next++;
            if (jinja_at_one_of(p, ends)) return first;
            *tail = jinja_statement(p);
        }
    }
}

#endif /* LLM_IMPLEMENTATION */
#endif
