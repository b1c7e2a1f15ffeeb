/* out.h: the folder of the result. Included by run.h, behind flags.h, and by build/convert.

   Nothing is lost that is not ours, and nothing before the run has read and checked all its inputs. --overwrite removes
   the old checkpoints then (run_begin_out); the old result stays until the new one replaces it. In between a file,
   result.replaced, says that the result is not this run's: --resume goes on instead of calling it done. One run at a
   time writes into a folder; of a run's ranks the first. */
#ifndef OUT_H
#define OUT_H

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "checkpoint.h"
#include "path.h"
#include "ranks.h"

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

/* ---- inputs ---- */

/* A folder is never an input and a result at once, and what is overwritten does not hold an input. */
static inline void run_guard_one(const char *out, const char *input, bool overwrite) {
    const bool within = input && path_within(out, input), same = within && path_within(input, out);
    if (within && (overwrite || same))
        llm_usage("another --out", "%s %s, which this run reads", out, same ? "is an input" : "holds an input");
}
/* Adapters are read with the base that they name. */
static inline void run_guard_path(const char *out, const char *input, bool overwrite) {
    run_guard_one(out, input, overwrite);
    char *path = input ? llm_format("%s/adapter_config.json", input) : NULL;
    if (path && llm_exists(path) && !llm_result_exists(input)) {
        llm_json *adapter = llm_json_file(path);
        run_guard_one(out, llm_json_text(adapter, "base_model_name_or_path", NULL), overwrite);
        llm_json_free(adapter);
    }
    llm_release(path);
}
static inline void run_guard(const run_settings *r, const char *out, const char *input) {
    run_guard_path(out, input, r->overwrite);
}
static inline void run_guard_list(const run_settings *r, const char *out, llm_list input) {
    for (int i = 0; i < input.count; i++) run_guard(r, out, input.item[i]);
}

/* ---- what is there already ---- */

/* The first of a result's files in a folder, or NULL. Somebody's package.json is none, nor somebody's config.json. */
static inline const char *run_holds(const char *out) {
    static const char *const file[] = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                                       "generation_config.json", "special_tokens_map.json", "chat_template.jinja",
                                       "adapter_config.json", "adapter_model.safetensors",
                                       "adapter/adapter_config.json"};
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
/* Does a file hold the text by which we know our own, at this place, or (-1) anywhere? One that is not there does. */
static inline bool run_is_ours_at(const char *path, const char *text, int at) {
    struct stat s;
    char head[64] = "";
    if (lstat(path, &s)) return true;
    if (!S_ISREG(s.st_mode)) return false;
    if (at < 0) {
        char *all = llm_read_file(path, NULL);
        const bool ours = strstr(all, text) != NULL;
        llm_release(all);
        return ours || s.st_size == 0;
    }
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(head, 1, sizeof head - 1, f) : 0;
    if (f) fclose(f);
    return s.st_size == 0 || (n > (size_t)at && !strncmp(head + at, text, strlen(text)));
}
static inline bool run_is_ours(const char *path, const char *text, bool anywhere) {
    return run_is_ours_at(path, text, anywhere ? -1 : 0);
}
/* A log of ours is a line of names, "step,loss,lr", and lines of numbers: a diary that begins so is none. */
static inline bool run_is_log(const char *path) {
    if (!run_is_ours(path, "step,loss", false)) return false;
    size_t size = 0;
    char *all = llm_exists(path) ? llm_read_file(path, &size) : NULL, *line = all;
    if (line) line += strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_,");
    while (line && *line == '\n' && (!line[1] || isdigit((unsigned char)line[1])))
        line += 1 + strspn(line + 1, "0123456789.,e+-naif");
    const bool ours = line == all + size;
    llm_release(all);
    return ours;
}
static inline void run_check_log(const char *path) {
    if (!run_is_log(path)) llm_die("another --log or --out", "%s is no log of ours", path);
}
/* Nobody else writes there. The kernel holds the lock, and lets it go when this program ends, however it ends; programs
   that it starts do not inherit it. Returns whether the lock is new: it may have taken a while to get it. */
static inline bool run_lock(const char *path, const char *flag) {
    if (!llm_leads()) return false;
    static struct { dev_t device; ino_t inode; } held[64];
    static int count;
    struct stat s;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s)) return false;          /* it is not there yet, or will be refused by who writes it */
    for (int i = 0; i < count; i++)
        if (held[i].device == s.st_dev && held[i].inode == s.st_ino) return close(fd), false;
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        char *remedy = llm_format("wait for it, or another %s", flag);
        if (errno == EWOULDBLOCK) llm_usage(remedy, "%s is in use by another run", path);
        fprintf(stderr, "note: %s cannot be locked (%s): no other run may write there\n", path, strerror(errno));
        llm_release(remedy);
    }
    if (count == 64) return true;
    held[count].device = s.st_dev;
    held[count++].inode = s.st_ino;
    return true;
}
/* Can a file be made there, or a folder with those above it? Said at the start, not after hours. */
static inline void run_check_place(const char *path, const char *flag, bool folder) {
    char *at = llm_format("%s", path), *remedy = llm_format("another %s", flag);
    if (!*path) llm_usage(remedy, "%s without a name", flag);
    for (bool up = !folder; up || (folder && !llm_exists(at)); up = false) {
        char *slash = strrchr(at, '/');
        if (slash) slash[slash == at] = '\0';
        else strcpy(at, ".");
    }
    if (!llm_is_dir(at)) llm_die(remedy, "cannot write %s: %s is not a folder", path, at);
    if (access(at, W_OK | X_OK)) llm_die(remedy, "cannot write %s: folder %s: %s", path, at, strerror(errno));
    llm_release_all(at, remedy);
}
/* Files that flags name: an older one of ours may be replaced, nothing else. */
static inline void run_check_file(const run_settings *r, const char *path, bool ours, const char *flag,
                                  const char *what) {
    char *remedy = llm_format("another %s", flag);
    if (!ours) llm_die(remedy, "%s is no %s of ours", path, what);
    run_guard_list(r, path, r->data);
    run_guard_list(r, path, r->val_data);
    run_check_place(path, flag, false);
    llm_release(remedy);
}
static inline void run_check_files(const run_settings *r) {
    static const char title[] = "<title>From text to an aligned model</title>";        /* build/report's */
    const bool page = r->report && strcmp(r->report, "off");
    if (r->log) run_check_file(r, r->log, run_is_log(r->log), "--log", "log");
    if (r->log) run_lock(r->log, "--log");
    if (r->dump) run_check_file(r, r->dump, run_is_ours(r->dump, "BMLL", false), "--dump-batches", "such file");
    if (page) run_check_file(r, r->report, run_is_ours(r->report, title, true), "--report", "page");
    if (r->tensorboard) run_check_place(r->tensorboard, "--tensorboard", true);
}
/* A result may come here: what it would replace is one, too. */
static inline void run_check_result(const char *out) {
    static const struct { const char *file, *text; int at; } kind[] = {
        {"config.json", "\"model_type\"", -1}, {"model.safetensors", "{", 8}, {"tokenizer.json", "{", 0},
        {"tokenizer_config.json", "{", 0}, {"generation_config.json", "{", 0}, {"special_tokens_map.json", "{", 0}};
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        char *path = llm_format("%s/%s", out, kind[i].file);
        if (!run_is_ours_at(path, kind[i].text, kind[i].at))
            llm_usage("another --out", "%s is no model's: it will not be replaced", path);
        llm_release(path);
    }
}
static inline void run_check_out(const run_settings *r, const char *out) {
    const char *held = run_holds(out);
    if (held && !r->overwrite && !r->resume)
        llm_usage("--resume to continue it, --overwrite to replace it, or another --out", "%s holds a %s already", out,
                  !strcmp(held, "config.json") ? "result" : held);
    char *log = llm_format("%s/log.csv", out);
    run_check_result(out);
    run_check_log(log);
    llm_release(log);
    run_check_files(r);
}

/* ---- beginning and end ---- */

/* The folder is there, and this run's; what a kill left half-written is gone. */
static inline void run_enter(const run_settings *r, const char *out) {
    if (!llm_leads()) return;
    llm_make_dirs(out);
    if (run_lock(out, "--out")) run_check_out(r, out);  /* somebody's result may have come while we read our inputs */
    llm_checkpoints_tidy(out);
}
/* All inputs are read: from here on --out is this run's. */
static inline void run_begin_out(const run_settings *r, const char *out) {
    if (!llm_leads()) return;
    char *mark = run_mark_path(out), *critic = llm_format("%s/critic", out);
    run_enter(r, out);
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
    llm_release(critic);
    llm_release(mark);
}
/* The new result is there. */
static inline void run_end_out(const char *out, bool adapter) {
    if (!llm_leads()) return;
    char *mark = run_mark_path(out), *old = llm_format("%s/adapter", out);
    if (run_is_ours(mark, run_mark_text, false)) unlink(mark);
    if (!adapter) llm_folder_clear(old);
    llm_release(old);
    llm_release(mark);
}
/* --resume: `begun` are the flags of the run's beginning (llm_options_json). What a model learns depends on must be the
   same; where things lie and how they are computed may change, and `more`. */
static const char run_free_flags[] =
    "out|resume|overwrite|dry-run|cache|data|val-data|ptx-data|device|precision|threads|log|tensorboard|report|"
    "save-every|keep|eval-every|eval-tokens|sample-every|dump-batches|recompute|keep-all|offload|ask|reward-command|"
    "reward-timeout|zero|tensor-parallel|rank-timeout";
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
static inline char *run_look_out(const run_settings *r) {
    run_guard(r, r->out, r->model);
    run_guard_list(r, r->out, r->data);
    run_guard_list(r, r->out, r->val_data);
    run_check_place(r->out, "--out", true);
    run_lock(r->out, "--out");
    char *newest = r->resume && llm_is_dir(r->out) ? llm_checkpoint_newest(r->out) : NULL;
    if (r->resume && !newest) llm_usage("start without --resume", "%s holds no complete checkpoint", r->out);
    run_check_out(r, r->out);
    if (newest) run_same_as(newest);
    return newest;
}
/* Refuse an --out that would lose something. Returns the checkpoint to continue from, or NULL. Rank 0 looks, and the
   others wait for what it saw: later there is more to see. */
static inline char *run_open_out(const run_settings *r) { return ranks_text(llm_leads() ? run_look_out(r) : NULL); }
#endif
