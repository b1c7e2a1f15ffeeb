/* tensorboard.h: scalars for TensorBoard (--tensorboard DIR), written without it. An event file is a row of records
   (TFRecord): length, its checksum, bytes, their checksum. The bytes are a protocol buffer, of which we need four field
   kinds:

       Event   { 1: double wall_time, 2: int64 step, 3: string file_version | 5: Summary }
       Summary { 1: Value { 1: string tag, 2: float simple_value } }                          Included after llm.h. */
#ifndef TENSORBOARD_H
#define TENSORBOARD_H

#include <time.h>

typedef struct { FILE *file; char *path; int failed; } tensorboard;     /* failed: the first write error */

/* CRC-32C (Castagnoli), bit by bit: a few records a second need no table. */
static inline uint32_t tb_crc(const uint8_t *p, size_t n) {
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (0x82F63B78u & (0u - (c & 1)));
    }
    return ~c;
}
/* TFRecord turns and shifts it, because a checksum of data that holds checksums would be weak. */
static inline uint32_t tb_masked_crc(const uint8_t *p, size_t n) {
    uint32_t c = tb_crc(p, n);
    return (c >> 15 | c << 17) + 0xA282EAD8u;
}
static inline size_t tb_little(uint8_t *out, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) out[i] = (uint8_t)(v >> (8 * i));
    return (size_t)bytes;
}
static inline size_t tb_varint(uint8_t *out, uint64_t v) {
    size_t n = 0;
    for (; v >= 128; v >>= 7) out[n++] = (uint8_t)(v | 128);
    out[n++] = (uint8_t)v;
    return n;
}
/* Field `number` of a message, holding bytes: key, length, content. */
static inline size_t tb_bytes(uint8_t *out, int number, const void *data, size_t size) {
    size_t n = tb_varint(out, (uint64_t)(number << 3 | 2));
    n += tb_varint(out + n, size);
    memcpy(out + n, data, size);
    return n + size;
}
static inline void tb_record(tensorboard *t, const uint8_t *data, size_t n) {
    uint8_t head[12], tail[4];
    tb_little(head, n, 8);
    tb_little(head + 8, tb_masked_crc(head, 8), 4);
    tb_little(tail, tb_masked_crc(data, n), 4);
    if (fwrite(head, 1, 12, t->file) != 12 || fwrite(data, 1, n, t->file) != n || fwrite(tail, 1, 4, t->file) != 4 ||
        fflush(t->file))
        t->failed = t->failed ? t->failed : errno;
}
/* Events that all carry the time and the step: the rest is `body`. */
static inline void tb_event(tensorboard *t, int64_t step, int field, const void *body, size_t size) {
    uint8_t event[512];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    size_t n = tb_varint(event, 1 << 3 | 1);
    n += tb_little(event + n, bits, 8);
    n += tb_varint(event + n, 2 << 3 | 0);
    n += tb_varint(event + n, (uint64_t)step);
    n += tb_bytes(event + n, field, body, size);
    tb_record(t, event, n);
}
/* dir NULL: nothing is written. The run is called as the last folder of `out`: DIR/sft/events.out.tfevents... */
static inline tensorboard tb_open(const char *dir, const char *out) {
    tensorboard t = {NULL, NULL, 0};
    if (!dir) return t;
    char host[256] = "localhost";
    gethostname(host, sizeof host - 1);
    int end = (int)strlen(out), from;
    while (end > 1 && out[end - 1] == '/') end--;
    for (from = end; from > 0 && out[from - 1] != '/';) from--;
    char *run = llm_format("%s/%.*s", dir, end - from, out + from);
    llm_make_dirs(run);
    t.path = llm_format("%s/events.out.tfevents.%lld.%s", run, (long long)time(NULL), host);
    llm_release(run);
    t.file = fopen(t.path, "ab");
    if (!t.file) llm_die("another --tensorboard", "cannot write %s: %s", t.path, strerror(errno));
    tb_event(&t, 0, 3, "brain.Event:2", 13);
    if (t.failed) llm_die("another --tensorboard", "cannot write %s: %s", t.path, strerror(t.failed));
    return t;
}
/* One number of one step; what is not finite (not measured) is left out. */
static inline void tb_scalar(tensorboard *t, int64_t step, const char *tag, double value) {
    if (!t->file || !isfinite(value)) return;
    uint8_t body[256], summary[300];
    float x = (float)value;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    size_t length = strlen(tag), n = tb_bytes(body, 1, tag, length < 200 ? length : 200);
    n += tb_varint(body + n, 2 << 3 | 5);
    n += tb_little(body + n, bits, 4);
    n = tb_bytes(summary, 1, body, n);
    tb_event(t, step, 5, summary, n);
}
/* Returns whether all was written. */
static inline bool tb_close(tensorboard *t) {
    const bool whole = !(t->file && fclose(t->file)) && !t->failed;
    llm_release(t->path);
    *t = (tensorboard){NULL, NULL, 0};
    return whole;
}
#endif
