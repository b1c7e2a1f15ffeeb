/* told.h: was a model ever told something by a system prompt while it learned? What a stage of ours has counted stands
   in its OUT/stage.json (stage.h). Included after run.h. */
#ifndef TOLD_H
#define TOLD_H

/* How many conversations had one, in that stage and those before it; -1: nobody knows. No folder: no model before. */
static inline int told_before(const char *dir) {
    char *path = dir ? llm_format("%s/stage.json", dir) : NULL;
    int told = dir ? -1 : 0;
    if (path && llm_exists(path) && run_is_ours(path, "{\"stage\": ", false)) {
        llm_json *stage = llm_json_file(path);
        const double n = llm_json_number(stage, "system", -1);
        told = n >= 0 && n <= INT_MAX ? (int)n : -1;
        llm_json_free(stage);
    }
    llm_release(path);
    return told;
}
/* The same of a stage that began with the model in `dir` and read these records. */
static inline int told_by(const char *dir, const llm_records *r) {
    int told = told_before(dir), count = 0;
    for (int i = 0; r && i < r->count; i++)
        count += r->record[i].messages && !strcmp(r->record[i].message[0].role, "system");
    return told >= 0 ? told + count : count ? count : -1;
}
#endif
