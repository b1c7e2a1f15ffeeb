/* serve_votes.h: the arena of build/serve's page: votes as lines of a file, and the Elo table that they make.
   Included after arena.h and serve_answer.h. One thread uses it. */
#ifndef SERVE_VOTES_H
#define SERVE_VOTES_H

#include <sys/stat.h>

enum { VOTES_MODELS = 64 };
typedef struct {
    const char *path;
    int players;
    char *name[VOTES_MODELS];
    double elo[VOTES_MODELS];
    int games[VOTES_MODELS];
} serve_votes;

/* Elo moves by at most 32 a game, as chess has it for beginners: a page sees tens of votes, not thousands. */
static const double votes_step = 32;

static inline int votes_player(serve_votes *v, const char *name) {
    for (int i = 0; i < v->players; i++)
        if (!strcmp(v->name[i], name)) return i;
    if (v->players == VOTES_MODELS) return -1;
    v->elo[v->players] = 1000;
    v->name[v->players] = copy_text(name, strlen(name));
    return v->players++;
}
/* Count one; false: it is none. */
static inline bool votes_count(serve_votes *v, const llm_json *vote) {
    const char *a = llm_json_text(vote, "a", NULL), *b = llm_json_text(vote, "b", NULL);
    const char *winner = llm_json_text(vote, "winner", "");
    if (!a || !b || !strcmp(a, b) || !one_of("a|b|tie", winner)) return false;
    const int i = votes_player(v, a), j = votes_player(v, b);
    if (i < 0 || j < 0) return false;
    const llm_game game = {i, j, !strcmp(winner, "tie") ? 0.5 : !strcmp(winner, "a"), 0};
    llm_elo(v->elo, &game, 1, votes_step);
    v->games[i]++;
    v->games[j]++;
    return true;
}
typedef struct { const char *line; size_t size; const char *path; int number; llm_json *json; } votes_line;
static inline void votes_parse(void *with) {
    votes_line *x = with;
    x->json = llm_json_parse(x->line, x->size, x->path, x->number);
}
/* The votes of days before. A line that is none (a disk was full, a power cut) is left out, and named. */
static inline void votes_open(serve_votes *v, const char *path) {
    v->path = path;
    if (!llm_exists(path)) return;
    size_t size, n;
    char *text = llm_read_file(path, &size);
    int number = 1;
    for (size_t at = 0; at < size; at += n + 1, number++) {
        const char *end = memchr(text + at, '\n', size - at);
        n = end ? (size_t)(end - text) - at : size - at;
        votes_line x = {text + at, n, path, number, NULL};
        if (!serve_try(votes_parse, &x) || !votes_count(v, x.json))
            fprintf(stderr, "note: line %d of %s is no vote and is left out\n", number, path);
        llm_json_free(x.json);
    }
    llm_release(text);
}
static inline void votes_close(serve_votes *v) {
    for (int i = 0; i < v->players; i++) llm_release(v->name[i]);
}
/* The vote as a line at the end of the file: all of it, or nothing. */
static inline bool votes_append(const serve_votes *v, const char *line, size_t size, serve_refusal *why) {
    struct stat before;
    const char *slash = strrchr(v->path, '/');
    char *folder = llm_format("%.*s", slash ? (int)(slash - v->path) : 0, v->path);
    if (*folder) llm_make_dirs(folder);
    llm_release(folder);
    const int fd = open(v->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    char last = '\n';
    bool well = fd >= 0 && !fstat(fd, &before);
    if (well && before.st_size) well = pread(fd, &last, 1, before.st_size - 1) == 1;
    if (well && last != '\n') well = write(fd, "\n", 1) == 1;   /* behind half a line */
    if (well && write(fd, line, size) != (ssize_t)size) {
        well = false;
        if (ftruncate(fd, before.st_size)) fprintf(stderr, "note: %s ends in half a vote\n", v->path);
    }
    if (!well) serve_refuse(why, 500, NULL, NULL, "cannot write the vote to %s: %s", v->path, strerror(errno));
    if (fd >= 0) close(fd);
    return well;
}
static inline void votes_write(llm_writer *w, const llm_json *vote) {
    static const char *const text[] = {"a", "b", "winner", "prompt"};
    llm_write_text(w, "{\"time\": %lld", (long long)time(NULL));
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        const llm_json *x = llm_json_get(vote, text[i]);
        if (!x || x->type != LLM_JSON_STRING) continue;
        llm_write_text(w, ", \"%s\": ", text[i]);
        llm_write_json_string(w, x->string, x->length);
    }
    const llm_json *answers = llm_json_get(vote, "answers");
    const char *between = ", \"answers\": [";
    for (const llm_json *x = answers && answers->type == LLM_JSON_ARRAY ? answers->child : NULL; x; x = x->next) {
        if (x->type != LLM_JSON_STRING) continue;
        llm_write_text(w, "%s", between);
        llm_write_json_string(w, x->string, x->length);
        between = ", ";
    }
    llm_write_text(w, "%s}\n", between[1] == ' ' && between[2] ? "" : "]");
}
static inline void votes_table(llm_writer *w, const serve_votes *v) {
    llm_write_text(w, "[");
    for (int rank = 0, done[VOTES_MODELS] = {0}; rank < v->players; rank++) {
        int best = -1;
        for (int i = 0; i < v->players; i++)
            if (!done[i] && (best < 0 || v->elo[i] > v->elo[best])) best = i;
        done[best] = 1;
        llm_write_text(w, "%s{\"model\": ", rank ? ", " : "");
        write_string(w, v->name[best]);
        llm_write_text(w, ", \"elo\": %.1f, \"games\": %d}", v->elo[best], v->games[best]);
    }
    llm_write_text(w, "]\n");
}
#endif
