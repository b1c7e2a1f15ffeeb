/* tokens.h: text that is tokens already. Included after forms.h; of llm.h it uses the interface alone.

   Shards, as others write them: nanoGPT's are nothing but ids of 16 bits; llm.c's are 256 numbers of 32 bits (magic,
   version, count, zeros), then ids of 16 bits (20240520, version 1: GPT-2) or of 32 (20240801, version 7: Llama 3).
   They are read where they lie: a shard takes no memory but for where its documents begin.

   And our own: with --cache the tokens of a text are kept beside it, in .NAME.TOKENIZER.tokens, or in --out where
   nothing can be written there. The key is all that the tokens depend on: the tokenizer's fingerprint, the options, and
   names, sizes and times of the files. What has another key, or is damaged, is made anew:

       tokens_head, document[documents + 1], held_document[held_documents + 1], ids, held ids, the sum of all before

   each begun at a multiple of 8 bytes. */
#ifndef TOKENS_H
#define TOKENS_H

#include <inttypes.h>
#include <stddef.h>
#include <sys/statvfs.h>
#include "mapped.h"
#include "path.h"
#include "progress.h"

/* ---- shards ---- */

typedef struct { const char *path; size_t width, count, at; } token_file;       /* at: where its ids begin */

static inline bool tokens_is_shard(const char *path) { return path_ends_with(path, ".bin"); }
static inline token_file tokens_open(const char *path) {
    static const char remedy[] = "a token file of nanoGPT (16 bits a token) or llm.c";
    int32_t header[256] = {0};
    struct stat st;
    token_file f = {.path = path};
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &st) || !S_ISREG(st.st_mode))
        llm_die("check the path", "cannot read %s: %s", path, file ? "no file" : strerror(errno));
    const size_t bytes = (size_t)st.st_size, got = fread(header, 1, sizeof header, file);
    fclose(file);
    const bool old = header[0] == 20240520, new = header[0] == 20240801, plain = got < sizeof header || (!old && !new);
    f.width = new && !plain ? 4 : 2;
    f.at = plain ? 0 : sizeof header;
    f.count = plain ? bytes / 2 : (size_t)(uint32_t)header[2];
    if (plain && (bytes % 2 || !bytes)) llm_die(remedy, "%s: %zu bytes are no list of 16-bit tokens", path, bytes);
    if (!plain && header[1] != (old ? 1 : 7))
        llm_die(remedy, "%s: version %d is not known", path, (int)header[1]);
    if (!plain && bytes != sizeof header + f.count * f.width)
        llm_die(remedy, "%s: its header says %zu tokens, but %zu bytes follow", path, f.count, bytes - sizeof header);
    return f;
}
static inline void tokens_check_id(uint32_t id, const llm_tokenizer *t, const char *path, size_t place) {
    if (id >= (uint32_t)t->vocab_size)
        llm_die("the --tokenizer that made the file", "%s: token %zu is %u, the tokenizer has %d", path, place, id,
                t->vocab_size);
}

/* ---- the tokens of a source, from elsewhere ---- */

/* What is to be kept when all has been read: source number `source` and the documents [first, end) of the held-out
   text, which come from it, or (-1) these alone, with their bytes. */
typedef struct { char *path; uint64_t key; int source; size_t first, end, bytes; } tokens_wanted;
static struct {
    llm_corpus *corpus;
    bool cache, gap;
    const char *out;
    void (*find)(llm_paths *files, const char *path);
    tokens_wanted *wanted;
    size_t wants, room;
    bool open;                          /* the last of them is being read */
    int shards;                         /* of the corpus */
    bool parse;
} tokens;

static inline void tokens_append(llm_source *s, const int *ids, size_t n, size_t bytes) {
    s->tokens = llm_grow(s->tokens, &s->room, llm_add(s->count, n), sizeof *s->tokens);
    s->document = llm_grow(s->document, &s->document_room, s->documents + 2, sizeof *s->document);
    memcpy(s->tokens + s->count, ids, n * sizeof *ids);
    s->document[s->documents++] = s->count;
    s->document[s->documents] = s->count += n;
    s->bytes += bytes;
}
static inline int tokens_id(const llm_source *s, size_t i) { return s->narrow ? s->narrow[i] : s->tokens[i]; }
static inline size_t tokens_bytes(const llm_source *s, const llm_tokenizer *t, size_t from, size_t to) {
    size_t bytes = 0;
    for (; from < to; from++)
        if (!t->special[tokens_id(s, from)]) bytes += (size_t)t->length[tokens_id(s, from)];
    return bytes;
}
/* The tokens [from, to) of a source, as a document of another, which has its own memory. */
static inline void tokens_copy(llm_source *to, const llm_source *s, const llm_tokenizer *t, size_t from, size_t end) {
    int *ids = llm_alloc(end - from + 1, sizeof *ids);
    size_t n = 0;
    if (tokens_id(s, from) != tokens.corpus->bos) ids[n++] = tokens.corpus->bos;
    for (size_t i = from; i < end; i++) ids[n++] = tokens_id(s, i);
    tokens_append(to, ids, n, tokens_bytes(s, t, from, end));
    llm_release(ids);
}
/* Its end, at most 10 million tokens of all shards, goes to the held-out text. */
static inline void tokens_hold_out(const llm_tokenizer *t, llm_source *s, llm_source *held, double fraction) {
    const double most = 1e7 / llm_max(1, tokens.shards);
    const size_t n = (size_t)fmin(fraction * (double)s->count + 0.5, most), from = s->count - n;
    if (n < 2 || n + 2 > s->count) return;
    tokens_copy(held, s, t, from, s->count);
    s->bytes -= tokens_bytes(s, t, from, s->count);
    s->count = from;
    while (s->documents > 1 && s->document[s->documents - 1] >= from) s->documents--;
    s->document[s->documents] = from;
}
/* One look at every id: is it a token, does a document begin there? An opening token opens one, and so does what stands
   behind an end. */
static inline void tokens_scan(const llm_tokenizer *t, const mapped_file *m, const token_file *f, llm_source *s) {
    const int opens = tokens.corpus->bos, ends = t->eos;
    enum { PART = 1 << 20 };
    progress_begin(path_name(f->path), 0, (double)f->count, "tokens");
    s->hash = f->count;
    for (size_t i = 0, next; i < f->count; i = next) {
        next = f->count - i > PART ? i + PART : f->count;
        for (size_t k = i; k < next; k++) {
            const uint32_t id = s->narrow ? s->narrow[k] : (uint32_t)s->tokens[k];
            tokens_check_id(id, t, f->path, k);
            s->bytes += t->special[id] ? 0 : (size_t)t->length[id];
            const bool behind = k && ends >= 0 && ends != opens && tokens_id(s, k - 1) == ends;
            if (k && (int)id != opens && !behind) continue;
            s->document = llm_grow(s->document, &s->document_room, s->documents + 2, sizeof *s->document);
            s->document[s->documents++] = k;
        }
        const char *at = m->at + f->at + i * f->width;
        s->hash = llm_hash(at, (next - i) * f->width, s->hash);
        mapped_forget(m, at);
        progress_at((double)next);
    }
    s->document[s->documents] = s->count = f->count;
    progress_end();
}
static inline void tokens_read_shard(const llm_tokenizer *t, const char *path, llm_source *s, llm_source *held,
                                     double fraction) {
    const token_file f = tokens_open(path);
    const mapped_file m = mapped_open(path);            /* as long as the program runs */
    llm_source shard = {.count = 0};
    const char *ids = m.at + f.at;
    if (f.width == 2) shard.narrow = (const uint16_t *)(const void *)ids;
    else shard.tokens = (int *)(uintptr_t)ids;
    tokens_scan(t, &m, &f, &shard);
    if (f.count < 2) llm_die("a file with text in it", "%s holds no text", path);
    if (s == &tokens.corpus->validation) {
        for (const size_t *d = shard.document; d < shard.document + shard.documents; d++)
            tokens_copy(s, &shard, t, d[0], d[1]);
        llm_release(shard.document);
        return;
    }
    if (fraction > 0) tokens_hold_out(t, &shard, held, fraction);
    *s = shard;
}

/* ---- the cache ---- */

typedef struct { char magic[8]; uint64_t key, width, documents, count, bytes, hash, held_documents, held_count,
                 held_bytes; } tokens_head;
static const char tokens_magic[8] = {'L', 'L', 'M', 't', 'o', 'k', '0', '1'};

/* All that the tokens of a path depend on. */
static inline uint64_t tokens_key(const llm_tokenizer *t, const char *path, double fraction) {
    llm_paths files = {0};
    char *all = llm_format("%" PRIx64 " %d %d %d %.17g", t->hash, tokens.corpus->bos, tokens.parse, tokens.gap,
                           fraction);
    uint64_t key = llm_hash(all, strlen(all), 1);
    llm_release(all);
    tokens.find(&files, path);
    for (size_t i = 0; i < files.count; i++) {
        struct stat s = {.st_size = -1};
        if (stat(files.path[i], &s)) s.st_size = -1;
        all = llm_format("%s %lld %lld %ld", path_name(files.path[i]), (long long)s.st_size,
                         (long long)s.st_mtim.tv_sec, (long)s.st_mtim.tv_nsec);
        key = llm_hash(all, strlen(all), key);
        llm_release(all);
    }
    llm_paths_free(&files);
    return key;
}
/* Where it lies: beside the text, or else (place 1) in --out. */
static inline char *tokens_place(const llm_tokenizer *t, const char *path, int place) {
    char *dir = llm_format("%s", path), *end = dir + strlen(dir);
    while (end > dir + 1 && end[-1] == '/') *--end = '\0';
    char *name = llm_format("%.100s", path_name(dir)), *slash = strrchr(dir, '/');
    if (!llm_is_dir(dir) && slash) slash[slash == dir] = '\0';
    else if (!llm_is_dir(dir)) strcpy(dir, ".");
    char *file = llm_format("%s/.%s.%016" PRIx64 ".tokens", place ? tokens.out : dir, name, t->hash);
    llm_release_all(dir, name);
    return file;
}
static inline uint64_t tokens_mix(uint64_t sum, const void *data, size_t bytes) {
    const unsigned char *p = data;
    for (uint64_t word; bytes; bytes -= bytes < 8 ? bytes : 8, p += 8) {
        word = 0;
        memcpy(&word, p, bytes < 8 ? bytes : 8);
        sum = (sum ^ word) * 0x9E3779B97F4A7C15u;
        sum ^= sum >> 29;
    }
    return sum;
}
static inline size_t tokens_eight(size_t bytes) { return llm_add(bytes, 7) / 8 * 8; }
/* Where the parts behind the head begin; part 4: the sum. */
static inline size_t tokens_part(const tokens_head *h, int part) {
    const size_t bytes[] = {llm_mul(llm_add(h->documents, 1), 8), llm_mul(llm_add(h->held_documents, 1), 8),
                            llm_mul(h->count, h->width), llm_mul(h->held_count, h->width)};
    size_t at = sizeof *h;
    for (int i = 0; i < part; i++) at = llm_add(at, tokens_eight(bytes[i]));
    return at;
}
static inline bool tokens_rising(const uint64_t *at, size_t documents, size_t count) {
    bool good = documents < SIZE_MAX && at[0] == 0 && at[documents] == count;
    for (size_t i = 0; good && i < documents; i++) good = at[i] < at[i + 1];
    return good;
}
/* Is all of the file as it was written, and every id a token? */
static inline const char *tokens_damage(const mapped_file *m, const tokens_head *h, const llm_tokenizer *t) {
    const size_t ids = tokens_part(h, 2), end = tokens_part(h, 4);
    uint64_t sum = 1;
    bool good = true;
    progress_begin("looking through the cache", 0, (double)m->size, "B");
    for (size_t at = 0, next; at < end; at = next) {
        next = end - at > (1 << 20) ? at + (1 << 20) : end;
        sum = tokens_mix(sum, m->at + at, next - at);
        for (size_t i = at < ids ? ids : at; i < next; i += h->width) {
            const void *id = m->at + i;
            good = good && (h->width == 2 ? *(const uint16_t *)id : *(const uint32_t *)id) < (uint32_t)t->vocab_size;
        }
        mapped_forget(m, m->at + at);
        progress_at((double)next);
    }
    progress_end();
    if (sum != *(const uint64_t *)(const void *)(m->at + end)) return "it is damaged";
    return good ? NULL : "it holds what is no text";
}
/* NULL: the file is what we look for, and whole. What a stranger wrote is not believed. */
static inline const char *tokens_wrong(const mapped_file *m, uint64_t key, const llm_tokenizer *t) {
    const tokens_head *h = (const tokens_head *)(const void *)m->at;
    const size_t large = (size_t)1 << 48;
    if (m->size < sizeof *h || memcmp(h->magic, tokens_magic, sizeof tokens_magic)) return "it is no such file";
    if (h->key != key) return "the text, the tokenizer or the options were others";
    if ((h->width != 2 && h->width != 4) || h->documents > large || h->count > large || h->held_documents > large ||
        h->held_count > large || tokens_part(h, 4) + 8 != m->size)
        return "it is cut short";
    const char *damage = tokens_damage(m, h, t);
    const uint64_t *documents = (const uint64_t *)(const void *)(m->at + sizeof *h);
    const uint64_t *held = (const uint64_t *)(const void *)(m->at + tokens_part(h, 1));
    if (damage) return damage;
    const bool good = h->count && tokens_rising(documents, h->documents, h->count) &&
                      tokens_rising(held, h->held_documents, h->held_count);
    return good ? NULL : "it holds what is no text";
}
/* A part of the file as a source that is lent. */
static inline llm_source tokens_lent(const mapped_file *m, bool held) {
    const tokens_head *h = (const tokens_head *)(const void *)m->at;
    const char *ids = m->at + tokens_part(h, 2 + held), *documents = m->at + tokens_part(h, held);
    llm_source s = {.count = held ? h->held_count : h->count, .documents = held ? h->held_documents : h->documents,
                    .bytes = held ? h->held_bytes : h->bytes, .hash = held ? 0 : h->hash,
                    .document = (size_t *)(uintptr_t)documents};
    if (h->width == 2) s.narrow = (const uint16_t *)(const void *)ids;
    else s.tokens = (int *)(uintptr_t)ids;
    return s;
}
static inline void tokens_add_all(llm_source *to, const llm_source *s) {
    size_t longest = 0, bytes = s->bytes;
    for (size_t d = 0; d < s->documents; d++)
        longest = s->document[d + 1] - s->document[d] > longest ? s->document[d + 1] - s->document[d] : longest;
    int *ids = llm_alloc(longest, sizeof *ids);
    for (size_t d = 0; d < s->documents; d++, bytes = 0) {
        const size_t from = s->document[d], n = s->document[d + 1] - from;
        for (size_t i = 0; i < n; i++) ids[i] = tokens_id(s, from + i);
        tokens_append(to, ids, n, bytes);
    }
    llm_release(ids);
}
static inline bool tokens_from_cache(const llm_tokenizer *t, const char *path, llm_source *s, llm_source *held,
                                     uint64_t key) {
    for (int place = 0; place < 2; place++) {
        char *file = tokens_place(t, path, place);
        if (!llm_exists(file) || llm_is_dir(file)) {
            llm_release(file);
            continue;
        }
        mapped_file m = mapped_open(file);
        const char *wrong = tokens_wrong(&m, key, t);
        if (wrong) fprintf(stderr, "cache: %s is made anew: %s\n", file, wrong);
        else fprintf(stderr, "cache: the tokens of %s are those of %s\n", path, file);
        llm_release(file);
        if (wrong) mapped_close(&m);
        if (wrong) continue;
        const llm_source kept = tokens_lent(&m, false), kept_held = tokens_lent(&m, true);
        if (s == &tokens.corpus->validation) tokens_add_all(s, &kept);
        else *s = kept;
        tokens_add_all(held, &kept_held);
        return true;
    }
    return false;
}
/* Where a cache may be written, said where it is not; NULL: nowhere. */
static inline char *tokens_new_place(const llm_tokenizer *t, const char *path) {
    for (int i = 0; i < 2; i++) {
        char *file = tokens_place(t, path, i), *dir = llm_format("%.*s", (int)(strrchr(file, '/') - file), file);
        if (i) llm_make_dirs(dir);
        const bool good = !access(dir, W_OK | X_OK);
        if (!good)
            fprintf(stderr, "cache: cannot write %s: %s%s\n", file, strerror(errno), i ? ": nothing is kept" : "");
        llm_release(dir);
        if (good) return file;
        llm_release(file);
    }
    return NULL;
}
/* What was read last has ended here. */
static inline void tokens_close(void) {
    tokens_wanted *x = tokens.open ? &tokens.wanted[tokens.wants - 1] : NULL;
    const llm_source *v = &tokens.corpus->validation;
    if (x) *x = (tokens_wanted){x->path, x->key, x->source, x->first, v->documents, v->bytes - x->bytes};
    tokens.open = false;
}
/* llm_corpus_options.load. */
static inline bool tokens_load(const llm_tokenizer *t, const char *path, llm_source *s, llm_source *held,
                               double fraction) {
    const llm_source *v = &tokens.corpus->validation;
    tokens_close();
    if (tokens_is_shard(path)) {
        tokens_read_shard(t, path, s, held, fraction);
        return true;
    }
    if (!tokens.cache) return false;
    const uint64_t key = tokens_key(t, path, fraction);
    if (tokens_from_cache(t, path, s, held, key)) return true;
    char *place = tokens_new_place(t, path);
    if (!place) return false;
    tokens.wanted = llm_grow(tokens.wanted, &tokens.room, tokens.wants + 1, sizeof *tokens.wanted);
    tokens.wanted[tokens.wants++] = (tokens_wanted){place, key, s == v ? -1 : (int)(s - tokens.corpus->source),
                                                    v->documents, 0, v->bytes};
    tokens.open = true;
    return false;
}
typedef struct { llm_writer w; uint64_t sum; } tokens_writer;
static inline void tokens_put(tokens_writer *w, const void *data, size_t bytes) {
    static const char zeros[8];
    llm_write_bytes(&w->w, data, bytes);
    llm_write_bytes(&w->w, zeros, tokens_eight(bytes) - bytes);
    w->sum = tokens_mix(w->sum, data, bytes);
}
/* A range of a source's documents: where they begin, and their ids. */
typedef struct { const llm_source *s; size_t first, end; } tokens_range;
static inline size_t tokens_begin(tokens_range r, size_t document) { return r.s->count ? r.s->document[document] : 0; }
static inline size_t tokens_count(tokens_range r) { return tokens_begin(r, r.end) - tokens_begin(r, r.first); }
static inline void tokens_put_documents(tokens_writer *w, tokens_range r) {
    for (size_t d = r.first; d <= r.end; d++) {
        const uint64_t at = tokens_begin(r, d) - tokens_begin(r, r.first);
        tokens_put(w, &at, sizeof at);
    }
}
static inline void tokens_put_ids(tokens_writer *w, tokens_range r, bool narrow) {
    enum { PART = 1 << 16 };
    const size_t begin = tokens_begin(r, r.first), end = tokens_begin(r, r.end);
    uint16_t *part = llm_alloc(PART, sizeof *part);
    for (size_t from = begin, next; from < end; from = next) {
        next = end - from > PART ? from + PART : end;
        for (size_t i = from; narrow && i < next; i++) part[i - from] = (uint16_t)r.s->tokens[i];
        if (narrow) tokens_put(w, part, (next - from) * sizeof *part);
        else tokens_put(w, r.s->tokens + from, (next - from) * sizeof *r.s->tokens);
        progress_at((double)(next - begin));
    }
    llm_release(part);
}
static inline bool tokens_has_room(const char *path, size_t bytes) {
    struct statvfs disk;
    char *dir = llm_format("%.*s", (int)(strrchr(path, '/') - path), path);
    const bool room = statvfs(dir, &disk) || (double)disk.f_bavail * (double)disk.f_frsize > 1.05 * (double)bytes;
    llm_release(dir);
    if (!room) fprintf(stderr, "cache: no room for %s, %.1f MB: nothing is kept\n", path, (double)bytes / 1e6);
    return room;
}
static inline void tokens_keep(const llm_tokenizer *t, const tokens_wanted *x) {
    const llm_source *v = &tokens.corpus->validation, *s = x->source < 0 ? v : &tokens.corpus->source[x->source];
    tokens_range train = {s, 0, s->documents}, held = {v, x->first, x->end};
    if (x->source < 0) train = held, held.end = held.first;
    tokens_head h = {.key = x->key, .width = t->vocab_size <= 65536 ? 2 : 4, .documents = train.end - train.first,
                     .count = tokens_count(train), .bytes = x->source < 0 ? x->bytes : s->bytes, .hash = s->hash,
                     .held_documents = held.end - held.first, .held_count = tokens_count(held),
                     .held_bytes = x->source < 0 ? 0 : x->bytes};
    const size_t size = tokens_part(&h, 4) + 8;
    memcpy(h.magic, tokens_magic, sizeof h.magic);
    if (!tokens_has_room(x->path, size)) return;
    progress_begin("keeping the tokens", 0, (double)h.count, "tokens");
    tokens_writer w = {llm_write_begin(x->path), 1};
    tokens_put(&w, &h, sizeof h);
    tokens_put_documents(&w, train);
    tokens_put_documents(&w, held);
    tokens_put_ids(&w, train, h.width == 2);
    tokens_put_ids(&w, held, h.width == 2);
    llm_write_bytes(&w.w, &w.sum, sizeof w.sum);
    llm_write_done(&w.w);
    progress_end();
    fprintf(stderr, "cache: wrote %s, %.1f MB\n", x->path, (double)size / 1e6);
}
/* Before and behind llm_corpus_open. */
static inline void tokens_begin_corpus(llm_corpus *c, bool gap, bool parse, int shards,
                                       void (*find)(llm_paths *files, const char *path)) {
    tokens.corpus = c;
    tokens.gap = gap;
    tokens.parse = parse;
    tokens.shards = shards;
    tokens.find = find;
    tokens.open = false;
}
static inline void tokens_end_corpus(const llm_tokenizer *t) {
    tokens_close();
    for (size_t i = 0; i < tokens.wants; i++) {
        tokens_keep(t, &tokens.wanted[i]);
        llm_release(tokens.wanted[i].path);
    }
    llm_release(tokens.wanted);
    tokens.wanted = NULL;
    tokens.wants = tokens.room = 0;
}
#endif
