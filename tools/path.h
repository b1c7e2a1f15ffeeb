/* path.h: what the name of a file says, and where it leads; a text trimmed. Included after llm.h. */
#ifndef PATH_H
#define PATH_H

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static inline bool path_ends_with(const char *path, const char *end) {
    size_t n = strlen(path), e = strlen(end);
    return n >= e && !strcmp(path + n - e, end);
}
/* x.jsonl and x.jsonl.gz are .jsonl. */
static inline bool path_is(const char *path, const char *end) {
    size_t n = strlen(path) - (path_ends_with(path, ".gz") ? 3 : 0), e = strlen(end);
    return n >= e && !strncmp(path + n - e, end, e);
}
static inline bool path_is_json(const char *path) {
    return path_is(path, ".json") || path_is(path, ".jsonl") || path_is(path, ".ndjson");
}
/* A text without its outer white space. */
static inline const char *path_trim(const char *text, size_t *length) {
    while (*length && isspace((unsigned char)*text)) text++, --*length;
    while (*length && isspace((unsigned char)text[*length - 1])) --*length;
    return text;
}
/* What stands behind the last slash. */
static inline const char *path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}
/* Is it the folder, or something in it? Links are followed; what is not there is not. */
static inline bool path_within(const char *dir, const char *path) {
    char *folder = realpath(dir, NULL), *file = realpath(path, NULL);
    size_t n = folder ? strlen(folder) : 0;
    const bool within = folder && file && !strncmp(file, folder, n) && (file[n] == '/' || !file[n] || n == 1);
    free(folder);
    free(file);
    return within;
}
/* A file may name others that lie with it, and a stranger's file would name any: no "/...", no "..", and no link leads
   out of its folder. What is not there stays. */
static inline bool path_stays(const char *dir, const char *file) {
    if (*file == '/') return false;
    for (const char *part = file; *part; part += strspn(part, "/")) {
        size_t n = strcspn(part, "/");
        if (n == 2 && !strncmp(part, "..", 2)) return false;
        part += n;
    }
    char *path = llm_format("%s/%s", dir, file), *there = realpath(path, NULL);
    const bool stays = !there || path_within(dir, path);
    free(there);
    llm_release(path);
    return stays;
}
#endif
