/* path.h: what the name of a file says. */
#ifndef PATH_H
#define PATH_H

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
/* What stands behind the last slash. */
static inline const char *path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}
#endif
