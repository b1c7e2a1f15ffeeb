/* out.h: the folder of the result. Included by run.h, behind flags.h.

   Nothing is lost that is not ours, and nothing before the run has read and checked all its inputs. --overwrite removes
   the old checkpoints then (run_begin_out); the old result stays until the new one replaces it. In between a file,
   result.replaced, says that the result is not this run's: --resume goes on instead of calling it done. */
#ifndef OUT_H
#define OUT_H

#include <sys/stat.h>
#include <unistd.h>
#include "checkpoint.h"
#include "path.h"

static const char run_mark[] = "result.replaced";

static const char run_mark_text[] = "A run that replaces this result has begun";

static inline char *run_mark_path(const char *out) { return llm_format("%s/%s", out, run_mark); }
/* The result of this run, not of one that it is about to replace. */
static inline bool run_result_exists(const char *out) {
    char *mark = run_mark_path(out);
    bool done = llm_result_exists(out) && !llm_exists(mark);
    llm_release(mark);
    return done;
}
/* A folder is never an input and a result at once, and what is overwritten does not hold an input. */
static inline void run_guard(const run_settings *r, const char *out, const char *input) {
    const bool within = input && path_within(out, input), same = within && path_within(input, out);
    if (within && (r->overwrite || same))
        llm_usage("another --out", "%s %s, which this run reads", out, same ? "is an input" : "holds an input");
}
static inline void run_guard_list(const run_settings *r, const char *out, llm_list input) {
    for (int i = 0; i < input.count; i++) run_guard(r, out, input.item[i]);
}
/* The first of a result's files in a folder, or NULL. Somebody's package.json is none, nor somebody's config.json. */
static inline const char *run_holds(const char *out) {
    static const char *const file[] = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                                       "generation_config.json", "special_tokens_map.json", "chat_template.jinja"};
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        char *path = llm_format("%s/%s", out, file[i]);
        bool there = llm_exists(path);
        llm_release(path);
        if (there) return file[i];
    }
    char *newest = llm_is_dir(out) ? llm_checkpoint_newest(out) : NULL;
    llm_release(newest);
    return newest ? "checkpoint" : NULL;
}
/* Does a file begin with, or (anywhere) hold, the text by which we know our own? Files that are not there do. */
static inline bool run_is_ours(const char *path, const char *text, bool anywhere) {
    struct stat s;
    if (lstat(path, &s)) return true;
    if (!S_ISREG(s.st_mode)) return false;
    size_t size, n = strlen(text);
    char *all = llm_read_file(path, &size);
    bool ours = anywhere ? strstr(all, text) != NULL : size >= n && !memcmp(all, text, n);
    llm_release(all);
    return ours || size == 0;
}
static inline void run_check_log(const char *path) {
    if (!run_is_ours(path, "step,loss", false)) llm_die("another --log or --out", "%s is no log of ours", path);
}
static inline void run_check_out(const run_settings *r, const char *out) {
    const char *held = run_holds(out);
    if (held && !r->overwrite && !r->resume)
        llm_usage("--resume to continue it, --overwrite to replace it, or another --out", "%s holds a %s already", out,
                  !strcmp(held, "config.json") ? "result" : held);
    char *config = llm_format("%s/config.json", out), *log = llm_format("%s/log.csv", out);
    const bool ours = run_is_ours(config, "\"model_type\"", true);
    if (ours) run_check_log(log);
    llm_release_all(config, log);
    if (!ours) llm_usage("another --out", "%s/config.json is no model's: it will not be replaced", out);
    if (r->log) run_check_log(r->log);
}
/* All inputs are read: from here on --out is this run's. */
static inline void run_begin_out(const run_settings *r, const char *out) {
    char *mark = run_mark_path(out), *critic = llm_format("%s/critic", out);
    if (r->overwrite && !r->resume && llm_is_dir(out)) {
        if (llm_result_exists(out)) {
            llm_writer w = llm_write_begin(mark);
            llm_write_text(&w, "%s; --resume goes on with it.\n", run_mark_text);
            llm_write_done(&w);
        }
        llm_checkpoints_clear(out);
        llm_checkpoints_clear(critic);
        rmdir(critic);
    }
    llm_make_dirs(out);
    llm_release(critic);
    llm_release(mark);
}
/* The new result is there. */
static inline void run_end_out(const char *out, bool adapter) {
    char *mark = run_mark_path(out), *old = llm_format("%s/adapter", out);
    if (run_is_ours(mark, run_mark_text, false)) unlink(mark);
    if (!adapter) llm_folder_clear(old);
    llm_release(old);
    llm_release(mark);
}
/* --resume: `begun` are the flags of the run's beginning (llm_options_json). What a model learns depends on must be the
   same; where things lie and how they are computed may change, and `more`. */
static const char run_free_flags[] =
    "out|resume|overwrite|dry-run|data|val-data|ptx-data|device|precision|threads|log|tensorboard|report|save-every|keep|"
    "eval-every|sample-every|dump-batches|recompute|keep-all|offload|ask|reward-command|reward-timeout";
static inline void run_same_flags(const llm_json *begun, const char *more) {
    char *cause = NULL, *remedy = NULL;
    for (int i = 0; i < options_given.rows; i++) {
        const char *name = options_given.row[i].name, *now = options_given.row[i].value;
        const char *then = llm_json_text(begun, name, now);
        if (!strcmp(now, then)) continue;
        if (one_of(run_free_flags, name) || (one_of(more, name) && llm_option_given(name))) {
            if (llm_option_given(name) && !one_of("out|resume|overwrite", name))
                fprintf(stderr, "note: --%s %s, begun with %s\n", name, now, then);
            continue;
        }
        char *was = strcmp(then, "(none)") ? llm_format("--%s=%s", name, then) : llm_format("no --%s", name);
        char *longer = llm_format("%s%s%s", remedy ? remedy : "", remedy ? " " : "", was);
        if (!cause)
            cause = llm_format("--%s%s %s, but the run was begun with %s", name, llm_option_given(name) ? "" : " is", now,
                               then);
        llm_release_all(remedy, was);
        remedy = longer;
    }
    if (!cause) return;
    char *all = llm_format("%s as then, or --overwrite instead of --resume to begin anew", remedy);
    llm_usage(all, "%s", cause);
}
static inline void run_same_as(const char *checkpoint) {
    char *path = llm_format("%s/trainer_state.json", checkpoint);
    llm_json *state = llm_json_file(path);
    run_same_flags(llm_json_get(state, "flags"), "steps");
    llm_json_free(state);
    llm_release(path);
}
/* Refuse an --out that would lose something. Returns the checkpoint to continue from, or NULL. */
static inline char *run_open_out(const run_settings *r) {
    run_guard(r, r->out, r->model);
    run_guard_list(r, r->out, r->data);
    run_guard_list(r, r->out, r->val_data);
    char *newest = r->resume && llm_is_dir(r->out) ? llm_checkpoint_newest(r->out) : NULL;
    if (r->resume && !newest) llm_usage("start without --resume", "%s holds no complete checkpoint", r->out);
    run_check_out(r, r->out);
    if (newest) run_same_as(newest);
    llm_make_dirs(r->out);
    return newest;
}
#endif
