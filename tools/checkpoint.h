/* checkpoint.h: what a run leaves on the disk, so that a kill at any moment loses nothing: the result of a stage, and
   checkpoints, from which it goes on to the bit: a model's folder, the optimizer's moments and where the data stand.

   Of a team of ranks (chapter 10) rank 0 alone writes, moves and removes; every rank has to make the same calls, for the
   numbers are gathered from all. A run goes on from a checkpoint with any other number of ranks and any other ZeRO.

   Included after llm.h. The functions stand where LLM_IMPLEMENTATION is defined; elsewhere these are declarations. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "hf.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The result of a stage: OUT becomes a model's folder with its tokenizer (NULL: none). Until the last file,
   config.json, is there, OUT holds no result; an older result stays until then. */
void llm_result_save(const char *out, const llm_model *m, const llm_tokenizer *t);
/* Removes what a save writes into such a folder, and the folder if nothing else is in it: other files stay. */
void llm_folder_clear(const char *dir);

/* A checkpoint OUT/checkpoint-N: the model's folder plus optimizer.safetensors and trainer_state.json; appears whole or
   not at all; the newest `keep` stay. state: extra members for trainer_state.json, as text, or NULL. */
void llm_checkpoint_save(const char *out, int step, const llm_model *m, const llm_adamw *o, const llm_tokenizer *t,
                         const char *state, int keep);
/* The same in three steps, for a run of two models: begin names the folder that is being written (release it after
   end), write fills it or a folder inside it, end gives it its name and prunes the older ones. */
char *llm_checkpoint_begin(const char *out, int step);
void llm_checkpoint_write(const char *dir, int step, const llm_model *m, const llm_adamw *o, const llm_tokenizer *t,
                          const char *state);
void llm_checkpoint_end(const char *out, const char *fresh, int keep);
void llm_checkpoints_clear(const char *out);            /* removes all of them; what is not ours stays */
void llm_checkpoints_tidy(const char *out);             /* removes what a kill left half-written or half-removed */
char *llm_checkpoint_newest(const char *out);           /* path of the newest complete one, or NULL */
/* Continue from a checkpoint: optimizer state (its moments16 too); returns trainer_state.json (free it). The model was
   loaded from the same folder. */
llm_json *llm_checkpoint_resume(const char *dir, llm_model *m, llm_adamw *o, const llm_tokenizer *t);

/* Where the data stand, as a JSON object for a checkpoint; and there again. */
char *llm_corpus_state(const llm_corpus *c);
void llm_corpus_restore(llm_corpus *c, const llm_json *state);
char *llm_sft_state(const llm_sft *s);
void llm_sft_restore(llm_sft *s, const llm_json *state);

#ifdef __cplusplus
}
#endif

#ifdef LLM_IMPLEMENTATION
#include <dirent.h>
#include <inttypes.h>

/* ---- the result of a stage ---- */

/* All that a save writes into a folder. Nothing else is ever removed: it is somebody's. */
enum { OUR_FILES = 11 };
static const char *const our_file[OUR_FILES] = {
    "config.json", "generation_config.json", "model.safetensors", "adapter_config.json", "adapter_model.safetensors",
    "optimizer.safetensors", "trainer_state.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja"};

static bool real_folder(const char *path) {             /* we never make links: what lies behind one is not ours */
    struct stat s;
    return lstat(path, &s) == 0 && S_ISDIR(s.st_mode);
}
void llm_folder_clear(const char *dir) {
    if (!llm_leads() || !real_folder(dir)) return;
    for (int i = 0; i < OUR_FILES; i++) {
        char *half = llm_format("%s.tmp", our_file[i]);
        remove_in(dir, our_file[i]);
        remove_in(dir, half);
        llm_release(half);
    }
    char *critic = llm_format("%s/critic", dir);        /* PPO's second model */
    llm_folder_clear(critic);
    llm_release(critic);
    rmdir(dir);                         /* fails where something else is left */
}
/* What rank 0 has done so far is done for all. */
static void after_rank_0(void) {
    char done = 0;
    if (llm_team) llm_team->share(&done, 1, 0);
}
static void rename_or_die(const char *from, const char *to) {
    if (!llm_leads()) return;
    if (rename(from, to))
        llm_die("check the folder and its permissions", "cannot rename %s to %s: %s", from, to, strerror(errno));
    sync_folder_of(to);
}
static void move_file(const char *from, const char *to, const char *name) {
    char *a = llm_format("%s/%s", from, name), *b = llm_format("%s/%s", to, name);
    rename_or_die(a, b);
    llm_release_all(a, b);
}
/* Everything is written beside an old result first, so that a full disk leaves that one whole. Then the old config.json
   goes, the files move in one by one, and the new config.json comes last: killed in between, OUT holds no result, and
   --resume from the last checkpoint makes it. */
void llm_result_save(const char *out, const llm_model *m, const llm_tokenizer *t) {
    char *fresh = llm_format("%s/result.tmp", out), *config = llm_format("%s/config.json", out);
    llm_folder_clear(fresh);
    folder_save(m, t, fresh);
    if (llm_leads() && unlink(config) && errno != ENOENT)
        llm_die("check the folder and its permissions", "cannot replace %s: %s", config, strerror(errno));
    sync_folder_of(config);
    for (int i = 0; i < TOKENIZER_FILES && t; i++)      /* an older special_tokens_map.json would be believed */
        if (llm_leads() && !folder_holds(fresh, tokenizer_file[i])) remove_in(out, tokenizer_file[i]);
    for (int i = 1; i < OUR_FILES; i++)
        if (folder_holds(fresh, our_file[i])) move_file(fresh, out, our_file[i]);
    move_file(fresh, out, "config.json");
    llm_folder_clear(fresh);
    after_rank_0();
    llm_release_all(fresh, config);
}

/* ---- checkpoints ----

   OUT/checkpoint-N is written as checkpoint-N.tmp, flushed to the disk and renamed: whenever the machine dies, a folder
   without .tmp is whole. A name is used once: if step N is saved again, that is checkpoint-N-2. */

typedef struct { long step, version; } checkpoint_id;

static bool checkpoint_parse(const char *name, checkpoint_id *c) {
    char *end;
    if (strncmp(name, "checkpoint-", 11) || !isdigit((unsigned char)name[11])) return false;
    *c = (checkpoint_id){strtol(name + 11, &end, 10), 1};
    if (*end == '-' && isdigit((unsigned char)end[1])) c->version = strtol(end + 1, &end, 10);
    return !*end;
}
static char *checkpoint_path(const char *out, checkpoint_id c) {
    return llm_format(c.version > 1 ? "%s/checkpoint-%ld-%ld" : "%s/checkpoint-%ld", out, c.step, c.version);
}
static int newest_first(const void *a, const void *b) {
    const checkpoint_id *x = a, *y = b;
    return x->step != y->step ? (x->step < y->step ? 1 : -1) : (x->version < y->version) - (x->version > y->version);
}
/* The checkpoints of OUT, newest first. `tidy` removes what a kill left half-written or half-removed. */
static checkpoint_id *checkpoint_list(const char *out, int *count, bool tidy) {
    checkpoint_id *list = NULL, c;
    size_t room = 0;
    *count = 0;
    DIR *d = opendir(out);
    if (!d) return NULL;
    for (struct dirent *e; (e = readdir(d));) {
        if (checkpoint_parse(e->d_name, &c)) {
            list = llm_grow(list, &room, *count + 1, sizeof *list);
            list[(*count)++] = c;
        } else if (tidy && !strncmp(e->d_name, "checkpoint-", 11) && path_ends_with(e->d_name, ".tmp")) {
            char *path = llm_format("%s/%s", out, e->d_name);
            llm_folder_clear(path);
            llm_release(path);
        }
    }
    closedir(d);
    if (*count) qsort(list, *count, sizeof *list, newest_first);
    return list;
}
char *llm_checkpoint_newest(const char *out) {
    int count;
    checkpoint_id *list = checkpoint_list(out, &count, false);
    char *found = NULL;
    for (int i = 0; i < count && !found; i++) {         /* somebody may have copied half of one */
        char *dir = checkpoint_path(out, list[i]);
        bool model = folder_holds(dir, "config.json") && folder_holds(dir, "model.safetensors");
        bool adapters = folder_holds(dir, "adapter_config.json") && folder_holds(dir, "adapter_model.safetensors");
        bool state = folder_holds(dir, "optimizer.safetensors") && folder_holds(dir, "trainer_state.json");
        if ((model || adapters) && state) found = dir;
        else llm_release(dir);
    }
    llm_release(list);
    return found;
}
static void checkpoint_remove(const char *path) {
    if (!llm_leads()) return;
    char *gone = llm_format("%s.tmp", path);    /* a kill in the middle must not leave half of one under its name */
    bool renamed = real_folder(path) && rename(path, gone) == 0;
    llm_folder_clear(renamed ? gone : path);
    if (renamed && llm_exists(gone)) rename(gone, path);        /* somebody keeps notes in there */
    llm_release(gone);
}
/* Keep the newest `keep` whole ones, and what is not whole: half of a copy, or another program's checkpoint-500, whose
   moments are not in optimizer.safetensors. */
static void checkpoint_prune(const char *out, int keep) {
    int count, whole = 0;
    checkpoint_id *list = checkpoint_list(out, &count, true);
    for (int i = 0; i < count; i++) {
        char *path = checkpoint_path(out, list[i]);
        bool ours = folder_holds(path, "trainer_state.json") && folder_holds(path, "optimizer.safetensors");
        whole += ours;
        if (ours && whole > keep) checkpoint_remove(path);
        llm_release(path);
    }
    llm_release(list);
}
void llm_checkpoints_clear(const char *out) { checkpoint_prune(out, 0); }
void llm_checkpoints_tidy(const char *out) { checkpoint_prune(out, INT_MAX); }

/* The moments as a tensor table: "m.NAME" and "v.NAME" for each tensor with a gradient; none before the first step. */
static llm_param *moment_rows(const llm_model *m, const llm_adamw *o, int *count) {
    learner x = model_learner(m);
    llm_param *t = llm_alloc(2 * x.params, sizeof *t);
    *count = o->m ? 2 * x.params : 0;
    for (int i = 0; i < *count; i++) {
        const llm_param *p = &x.param[i / 2];
        void *arena = i % 2 ? o->v : o->m, *at = moment_place(o, arena, p->offset);
        t[i] = (llm_param){.rows = p->rows, .cols = p->cols, .offset = p->offset, .size = p->size, .cut = p->cut,
                           .groups = p->groups, .parts = p->parts};
        t[i].range = x.shares ? team_range(x.shares) : NULL;
        t[i].own = arena;
        snprintf(t[i].name, sizeof t[i].name, "%c.%.93s", i % 2 ? 'v' : 'm', p->name);
        if (o->moments16) t[i].w = (llm_weight){at, LLM_TYPE_BF16, NULL, NULL};
        else t[i].data = at;
    }
    return t;
}
static const char *moment_dtype(const llm_adamw *o) { return o->moments16 ? "BF16" : real_dtype(); }

static void moments_save(const llm_model *m, const llm_adamw *o, const char *dir) {
    int count;
    llm_param *t = moment_rows(m, o, &count);
    table_save(m->ops, t, count, dir, "optimizer.safetensors", moment_dtype(o));
    llm_release(t);
}
static void moments_load(const llm_model *m, llm_adamw *o, const char *path) {
    int count;
    size_t n, data_bytes;
    const learner x = model_learner(m);
    llm_release(tensor_header(path, &n, &data_bytes));
    if (data_bytes) adamw_allocate(o, m->ops, &x);      /* else: written before the first step */
    llm_param *t = moment_rows(m, o, &count);
    table_load(m->ops, t, count, path, moment_dtype(o), "resume with the model and the flags that wrote it");
    llm_release(t);
}
char *llm_checkpoint_begin(const char *out, int step) {
    llm_make_dirs(out);
    checkpoint_prune(out, INT_MAX);     /* what an earlier kill left behind: the disk may need the room */
    checkpoint_id c = {step, 0};
    char *path = NULL;
    do {
        llm_release(path);
        c.version++;
        path = checkpoint_path(out, c);
    } while (llm_exists(path));
    char *fresh = llm_format("%s.tmp", path);
    llm_release(path);
    return fresh;
}
void llm_checkpoint_write(const char *dir, int step, const llm_model *m, const llm_adamw *o, const llm_tokenizer *t,
                          const char *state) {
    if (!m->lora) folder_save(m, t, dir);
    else {                              /* the base has not changed, and has a folder already */
        llm_make_dirs(dir);
        if (t) llm_tokenizer_save(t, dir);
        generation_save(&m->c, t, dir);
        hf_lora_save(m, dir);
    }
    moments_save(m, o, dir);
    llm_writer w = begin_in(dir, "trainer_state.json");
    llm_write_text(&w, "{\n  \"step\": %d,\n  \"device\": \"%s\",\n  \"precision\": \"%s\",\n", step, m->ops->name,
                   llm_precision_name(m->ops->precision));
    llm_write_text(&w, "  \"tokenizer_hash\": \"%016llx\",\n", (unsigned long long)(t ? t->hash : 0));
    llm_write_text(&w, "  \"optimizer\": {\"step\": %d, \"moments16\": %s, \"skipped\": %d, \"norm_count\": %d, ",
                   o->state.step, o->moments16 ? "true" : "false", o->state.skipped, o->state.norm_count);
    /* 17 digits read back as the same bits */
    llm_write_text(&w, "\"norm_mean\": %.17g, \"norm_var\": %.17g}", o->state.norm_mean, o->state.norm_var);
    llm_write_text(&w, "%s%s\n}\n", state && *state ? ",\n  " : "", state ? state : "");
    llm_write_done(&w);
}
void llm_checkpoint_end(const char *out, const char *fresh, int keep) {
    char *path = llm_format("%.*s", (int)(strlen(fresh) - strlen(".tmp")), fresh);
    rename_or_die(fresh, path);
    if (keep > 0) checkpoint_prune(out, keep);
    after_rank_0();
    llm_release(path);
}
void llm_checkpoint_save(const char *out, int step, const llm_model *m, const llm_adamw *o, const llm_tokenizer *t,
                         const char *state, int keep) {
    char *fresh = llm_checkpoint_begin(out, step);
    llm_checkpoint_write(fresh, step, m, o, t, state);
    llm_checkpoint_end(out, fresh, keep);
    llm_release(fresh);
}
/* Numbers of trainer_state.json. */
static double state_real(const llm_json *state, const char *key, double limit) {
    double x = llm_json_number(state, key, -1);
    if (!(x >= 0 && x < limit))
        llm_die("an older checkpoint", "trainer_state.json: \"%s\" is missing or out of range", key);
    return x;
}
static size_t state_number(const llm_json *state, const char *key, double limit) {
    double x = state_real(state, key, limit);
    if (x != floor(x)) llm_die("an older checkpoint", "trainer_state.json: \"%s\": %g is not whole", key, x);
    return x;
}
llm_json *llm_checkpoint_resume(const char *dir, llm_model *m, llm_adamw *o, const llm_tokenizer *t) {
    char *path = llm_format("%s/trainer_state.json", dir), *moments = llm_format("%s/optimizer.safetensors", dir);
    char hash[20];
    llm_json *state = llm_json_file(path);
    const llm_json *s = llm_json_get(state, "optimizer");
    snprintf(hash, sizeof hash, "%016llx", t ? (unsigned long long)t->hash : 0);
    const char *written = llm_json_text(state, "tokenizer_hash", "(missing)");
    if (t && strcmp(written, hash))
        llm_die("the tokenizer of the checkpoint's own folder",
                "%s was written with another tokenizer: fingerprint %s, not %s", dir, written, hash);
    state_number(state, "step", INT_MAX);
    o->state.step = state_number(s, "step", INT_MAX);
    o->state.skipped = state_number(s, "skipped", INT_MAX);
    o->state.norm_count = state_number(s, "norm_count", INT_MAX);
    o->state.norm_mean = state_real(s, "norm_mean", HUGE_VAL);
    o->state.norm_var = state_real(s, "norm_var", HUGE_VAL);
    llm_adamw_free(o, m);
    o->moments16 = llm_json_true(s, "moments16", false);        /* as they were: the run goes on to the bit */
    moments_load(m, o, moments);
    llm_release_all(path, moments);
    return state;
}

/* ---- where the data stand, for a checkpoint ---- */

static uint64_t state_hex(const llm_json *state, const char *key) {
    return strtoull(llm_json_text(state, key, "0"), NULL, 16);
}
char *llm_corpus_state(const llm_corpus *c) {
    char *text = llm_format("{\"seed\": \"%" PRIx64 "\", \"rng\": \"%" PRIx64 "\", \"current\": %d, \"document\": %zu, "
                            "\"within\": %zu, \"sources\": [", c->seed, c->rng.state, c->current, c->current_document,
                            c->within);
    for (int i = 0; i < c->sources; i++) {
        const llm_source *s = &c->source[i];
        char *longer = llm_format("%s{\"hash\": \"%" PRIx64 "\", \"epoch\": %d, \"cursor\": %zu, \"drawn\": %zu}%s",
                                  text, s->hash, s->epoch, s->cursor, s->drawn, i + 1 < c->sources ? ", " : "]}");
        llm_release(text);
        text = longer;
    }
    return text;
}
void llm_corpus_restore(llm_corpus *c, const llm_json *state) {
    const llm_json *list = llm_json_get(state, "sources"), *s = list ? list->child : NULL;
    if (!list || list->length != (size_t)c->sources)
        llm_die("the --data of the first run", "the checkpoint was trained on %zu sources, not %d",
                list ? list->length : 0, c->sources);
    c->seed = state_hex(state, "seed");
    c->rng.state = state_hex(state, "rng");
    for (int i = 0; i < c->sources; i++, s = s->next) {
        llm_source *x = &c->source[i];
        if (state_hex(s, "hash") != x->hash)
            llm_die("the files and options of the first run, or start anew with --overwrite",
                    "%s is not the text that the checkpoint was trained on", x->name);
        x->epoch = state_number(s, "epoch", INT_MAX);
        x->cursor = state_number(s, "cursor", x->documents + 1);
        x->drawn = state_number(s, "drawn", 0x1p53);
        open_epoch(c, i);
    }
    c->current = state_number(state, "current", c->sources);
    const llm_source *x = &c->source[c->current];
    c->current_document = state_number(state, "document", x->documents);
    c->within = state_number(state, "within", x->document[c->current_document + 1] - x->document[c->current_document]);
}
char *llm_sft_state(const llm_sft *s) {
    return llm_format("{\"seed\": \"%" PRIx64 "\", \"hash\": \"%" PRIx64 "\", \"epoch\": %d, \"row\": %d}", s->seed,
                      s->hash, s->epoch, s->cursor);
}
void llm_sft_restore(llm_sft *s, const llm_json *state) {
    if (state_hex(state, "hash") != s->hash)
        llm_die("the files and options of the first run, or start anew with --overwrite",
                "these are not the records that the checkpoint was trained on");
    s->seed = state_hex(state, "seed");
    s->epoch = state_number(state, "epoch", INT_MAX);
    plan_epoch(s);
    s->cursor = state_number(state, "row", s->rows + 1.0);
}

#endif /* LLM_IMPLEMENTATION */
#endif
