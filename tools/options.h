/* options.h: the option table of the drivers and tools. Included after llm.h. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "progress.h"

/* The option table: one list drives parsing, --help with the real defaults, the printed settings and the saved ones.
   Flags are --kebab-case (underscores accepted), as "--name value" or "--name=value"; a BOOL also as "--name" and
   "--no-name". An unknown flag or a value out of range ends the program (exit code 2) and names the nearest flag. */
typedef enum { LLM_INT, LLM_FLOAT, LLM_BOOL, LLM_TEXT, LLM_LIST, LLM_HEADING } llm_option_type;
typedef struct {
    const char *name;                   /* without dashes; a heading: its title */
    llm_option_type type;
    void *value;                        /* int64_t *, double *, bool *, const char **, llm_list * */
    double low, high;                   /* inclusive range of numbers; both 0: any */
    const char *help;
    const char *choices;                /* text: "a|b|c", or NULL */
    const char *alias;                  /* another spelling, or NULL; "x" alone is the short form -x */
} llm_option;
/* Rows of a table without choices and alias. */
#define OPTION(name, type, value, low, high, help) {name, type, value, low, high, help, NULL, NULL}
#define OPTION_HEADING(title) {title, LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL}
typedef struct { const char **item; int count; } llm_list;      /* LLM_LIST: one or more values, the flag may repeat */
static inline void llm_options_parse(const llm_option *table, int count, const char *purpose, int argc, char **argv);
static inline void llm_options_print(const llm_option *table, int count, FILE *out);
static inline bool llm_option_given(const char *name);  /* was it on the command line of the last llm_options_parse? */
/* A flag acts or is refused. names: "a|b|c", which do nothing when `idle` is true, for what reason. */
static inline void llm_options_idle(const char *names, bool idle, const char *reason);
/* The flags given that are not among names, as "--a, --b"; NULL: none. Release it. */
static inline char *llm_options_besides(const char *names);
/* All flags and their values as the command line left them, as a JSON object. Release it. */
static inline char *llm_options_json(void);

enum { OPTIONS_MOST = 256 };
static struct {
    int count, argc, lists, rows;
    char **argv;
    const char *name[OPTIONS_MOST], **list[16];         /* the lists' items live as long as the program */
    struct { const char *name; char *value; } row[OPTIONS_MOST];        /* the table, when the command line was read */
} options_given;

static inline bool llm_option_given(const char *name) {
    for (int i = 0; i < options_given.count; i++)
        if (!strcmp(options_given.name[i], name)) return true;
    return false;
}
/* Is it one of "a|b|c"? */
static inline bool one_of(const char *names, const char *name) {
    size_t n = strlen(name);
    for (const char *c = names; *c; c += strcspn(c, "|"), c += *c == '|')
        if (strcspn(c, "|") == n && !strncmp(c, name, n)) return true;
    return false;
}
static inline void llm_options_idle(const char *names, bool idle, const char *reason) {
    for (int i = 0; i < options_given.count && idle; i++)
        if (one_of(names, options_given.name[i]))
            llm_usage("leave it out", "--%s would do nothing: %s", options_given.name[i], reason);
}
static inline char *llm_options_besides(const char *names) {
    char *text = NULL;
    for (int i = 0; i < options_given.count; i++) {
        if (one_of(names, options_given.name[i])) continue;
        char *longer = llm_format("%s%s--%s", text ? text : "", text ? ", " : "", options_given.name[i]);
        llm_release(text);
        text = longer;
    }
    return text;
}
static inline char *llm_options_json(void) {
    char *json, *copy;
    size_t size;
    llm_writer w = {.file = open_memstream(&json, &size)};
    if (!w.file) llm_die("a machine with more memory", "no memory for the flags");
    for (int i = 0; i < options_given.rows; i++) {
        llm_write_text(&w, "%s\"%s\": ", i ? ", " : "{", options_given.row[i].name);
        llm_write_json_string(&w, options_given.row[i].value, strlen(options_given.row[i].value));
    }
    llm_write_text(&w, options_given.rows ? "}" : "{}");
    fclose(w.file);
    copy = llm_format("%s", json);
    free(json);
    return copy;
}
/* Levenshtein distance, for "did you mean". */
static inline int edit_distance(const char *a, const char *b) {
    int row[64], n = llm_min((int)strlen(b), 63);
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 0; a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 0; j < n; j++) {
            int change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = llm_min(change, llm_min(row[j], diagonal) + 1);
        }
    }
    return row[n];
}
static inline bool same_flag(const char *name, const char *given, size_t n) {
    if (!name || strlen(name) != n) return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] != (given[i] == '_' ? '-' : given[i])) return false;
    return true;
}
static inline const llm_option *find_flag(const llm_option *table, int count, const char *given, size_t n,
                                          bool *negated) {
    for (int i = 0; i < count; i++) {
        const llm_option *o = &table[i];
        if (o->type == LLM_HEADING) continue;
        *negated = false;
        if (same_flag(o->name, given, n) || same_flag(o->alias, given, n)) return o;
        *negated = true;
        if (o->type == LLM_BOOL && n > 3 && !strncmp(given, "no-", 3) && same_flag(o->name, given + 3, n - 3)) return o;
    }
    return NULL;
}
LLM_NORETURN static inline void unknown_flag(const llm_option *table, int count, const char *given,
                                             const char *program) {
    const char *best = NULL;
    int distance = 4;                   /* further away is no typing error */
    for (int i = 0; i < count; i++)
        if (table[i].type != LLM_HEADING && edit_distance(given, table[i].name) < distance) {
            distance = edit_distance(given, table[i].name);
            best = table[i].name;
        }
    char *remedy = best ? llm_format("--%s, or %s --help", best, program) : llm_format("%s --help", program);
    llm_usage(remedy, "unknown flag --%s", given);
}
/* Few digits, or as many as give the same bits again. */
static inline void print_float(double x, FILE *out) {
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    fputs(text, out);
}
static inline void print_value(const llm_option *o, FILE *out) {
    switch (o->type) {
    case LLM_INT: fprintf(out, "%lld", (long long)*(int64_t *)o->value); break;
    case LLM_FLOAT: print_float(*(double *)o->value, out); break;
    case LLM_BOOL: fputs(*(bool *)o->value ? "yes" : "no", out); break;
    case LLM_TEXT: fputs(*(const char **)o->value ? *(const char **)o->value : "(none)", out); break;
    case LLM_LIST: {
        const llm_list *l = o->value;
        if (!l->count) fputs("(none)", out);
        for (int i = 0; i < l->count; i++) fprintf(out, "%s%s", i ? " " : "", l->item[i]);
        break;
    }
    case LLM_HEADING: break;
    }
}
static inline void print_help(const llm_option *table, int count, const char *purpose, const char *program) {
    printf("%s: %s\n\nusage: %s [--flag value ...]\n", program, purpose, program);
    for (int i = 0; i < count; i++) {
        const llm_option *o = &table[i];
        if (o->type == LLM_HEADING) { printf("\n%s\n", o->name); continue; }
        char left[96];
        snprintf(left, sizeof left, "--%s%s%s%s", o->name, o->alias ? (strlen(o->alias) == 1 ? ", -" : ", --") : "",
                 o->alias ? o->alias : "", o->type == LLM_BOOL ? "" : o->choices ? "" : o->type == LLM_INT ? " N" :
                 o->type == LLM_FLOAT ? " X" : o->type == LLM_LIST ? " PATH..." : " TEXT");
        printf("  %-32s %s", left, o->help);
        if (o->choices) printf(" [%s]", o->choices);
        printf(" (");
        print_value(o, stdout);
        printf(")\n");
    }
    printf("\n  --help, -h                       this text\n");
}
static inline void set_number(const llm_option *o, const char *text) {
    char *end;
    errno = 0;
    double x = o->type == LLM_INT ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    if (end == text || *end || errno || (o->type == LLM_FLOAT && !isfinite(x)))
        llm_usage(o->help, "--%s wants a%s number, not '%s'", o->name, o->type == LLM_INT ? " whole" : "", text);
    if ((o->low != 0 || o->high != 0) && !(x >= o->low && x <= o->high)) {
        char *range = llm_format("a value from %g to %g: %s", o->low, o->high, o->help);
        llm_usage(range, "--%s %s is out of range", o->name, text);
    }
    if (o->type == LLM_INT) *(int64_t *)o->value = strtoll(text, NULL, 10);
    else *(double *)o->value = x;
}
static inline void set_text(const llm_option *o, const char *text) {
    if (o->choices && !one_of(o->choices, text)) llm_usage(o->choices, "--%s does not know '%s'", o->name, text);
    *(const char **)o->value = text;
}
static inline void add_to_list(const llm_option *o, const char *text) {
    llm_list *l = o->value;
    if (!l->item) {                     /* no list is longer than the command line */
        l->item = calloc((size_t)options_given.argc, sizeof *l->item);
        if (!l->item || options_given.lists == 16) llm_die(NULL, "out of memory");
        options_given.list[options_given.lists++] = l->item;
    }
    l->item[l->count++] = text;
}
static inline void remember_values(const llm_option *table, int count) {
    options_given.rows = 0;
    for (int i = 0; i < count && options_given.rows < OPTIONS_MOST; i++) {
        if (table[i].type == LLM_HEADING) continue;
        const int k = options_given.rows++;
        size_t size;
        free(options_given.row[k].value);
        FILE *f = open_memstream(&options_given.row[k].value, &size);
        if (!f) llm_die("a machine with more memory", "no memory for the flags");
        print_value(&table[i], f);
        fclose(f);
        options_given.row[k].name = table[i].name;
    }
}
/* What is printed is a result: that it could not be written is an error, too. */
static inline void options_at_exit(void) {
    const int why = fflush(stdout) ? errno : 0;
    if (!why && !ferror(stdout)) return;
    fprintf(stderr, "error: cannot write the output%s%s\n  try: another place for it, or more room\n", why ? ": " : "",
            why ? strerror(why) : "");
    _exit(1);
}
/* A file that is opened while no standard output is open would become it, and what is printed would end in it. */
static inline void options_at_start(void) {
    static bool started;
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd) _exit(1);
    if (!started) atexit(options_at_exit);
    started = true;
}
static inline void llm_options_parse(const llm_option *table, int count, const char *purpose, int argc, char **argv) {
    options_at_start();
    shown_begin(false);                 /* from its first line on, whatever a program prints is text */
    progress_start();
    options_given.count = 0;
    options_given.argc = argc;
    options_given.argv = argv;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (!strcmp(a, "--help") || !strcmp(a, "-h")) {
            print_help(table, count, purpose, argv[0]);
            exit(0);
        }
        if (a[0] != '-' || !a[1]) llm_usage("flags look like --name value; see --help", "'%s' is no flag", a);
        const char *name = a + (a[1] == '-' ? 2 : 1), *equal = strchr(name, '=');
        size_t n = equal ? (size_t)(equal - name) : strlen(name);
        bool negated = false;
        const llm_option *o = find_flag(table, count, name, n, &negated);
        if (!o) unknown_flag(table, count, name, argv[0]);
        if (options_given.count < OPTIONS_MOST) options_given.name[options_given.count++] = o->name;
        const char *value = equal ? equal + 1 : NULL;
        if (o->type == LLM_BOOL) {
            if (value && strcmp(value, "yes") && strcmp(value, "no") && strcmp(value, "true") && strcmp(value, "false"))
                llm_usage("yes or no", "--%s does not know '%s'", o->name, value);
            *(bool *)o->value = (!value || !strcmp(value, "yes") || !strcmp(value, "true")) != negated;
            continue;
        }
        if (!value) {
            if (i + 1 >= argc) llm_usage(o->help, "--%s wants a value", o->name);
            value = argv[++i];
        }
        if (o->type == LLM_TEXT) set_text(o, value);
        else if (o->type != LLM_LIST) set_number(o, value);
        else {
            add_to_list(o, value);
            while (i + 1 < argc && argv[i + 1][0] != '-') add_to_list(o, argv[++i]);
        }
    }
    remember_values(table, count);
}
static inline void llm_options_print(const llm_option *table, int count, FILE *out) {
    for (int i = 0; i < count; i++) {
        if (table[i].type == LLM_HEADING) continue;
        fprintf(out, "  %-18s ", table[i].name);
        print_value(&table[i], out);
        fputc('\n', out);
    }
}
/* The form of weights: its name, and the one that --weights names. */
static inline const char *llm_type_name(llm_type type) {
    static const char *const name[] = {"fp32", "bf16", "q8", "q4"};
    return name[type];
}
static inline llm_type llm_type_named(const char *name) {
    for (int i = 0; i < 4; i++)
        if (!strcmp(name, llm_type_name((llm_type)i))) return (llm_type)i;
    llm_usage("fp32, bf16, q8 or q4", "no form of weights is called '%s'", name);
}
#endif
