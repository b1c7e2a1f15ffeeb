/* newest.h: the model that somebody means who names none: the newest that answers, below out/. Included after
   checkpoint.h, with out.h. */
#ifndef NEWEST_H
#define NEWEST_H

#include <glob.h>
#include <sys/stat.h>

/* Is it the result of a stage that answers? No base model, no reward model, no checkpoint, nothing half replaced. */
static inline bool newest_answers(const char *dir) {
    const char *name = path_name(dir);
    if (!strncmp(name, "base", 4) || !strncmp(name, "checkpoint-", 11) || !run_result_exists(dir)) return false;
    char *path = llm_format("%s/config.json", dir), *text = llm_read_file(path, NULL);
    const bool judges = strstr(text, "ForSequenceClassification") != NULL;
    llm_release_all(path, text);
    return !judges;
}
/* Its path in fresh memory, and how many there are; NULL: none. Of two of the same second the later stage. */
static inline char *newest_model(int *count) {
    static const char *const where[] = {"out/demo/*", "out/sft", "out/rlhf*/*", "out/rlhf*"};
    char *best = NULL;
    time_t when = 0;
    *count = 0;
    for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
        glob_t found;
        if (glob(where[i], 0, NULL, &found)) continue;
        for (size_t k = 0; k < found.gl_pathc; k++) {
            struct stat s;
            char *config = llm_format("%s/config.json", found.gl_pathv[k]);
            const bool good = !stat(config, &s) && newest_answers(found.gl_pathv[k]);
            *count += good;
            if (good && (!best || s.st_mtime >= when)) {
                llm_release(best);
                best = llm_format("%s", found.gl_pathv[k]);
                when = s.st_mtime;
            }
            llm_release(config);
        }
        globfree(&found);
    }
    return best;
}
#endif
