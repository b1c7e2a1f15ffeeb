/* gz.h: a file's text, also where the file is packed with gzip (x.jsonl.gz, x.txt.gz): then by zlib, for which the
   Makefile looks (-DLLM_ZLIB). Included after llm.h and path.h. */
#ifndef GZ_H
#define GZ_H

#ifdef LLM_ZLIB
#include <zlib.h>
enum { GZ_IS_READ = 1 };

/* zlib reads a file that is not packed as it is, and of one that is cut off what is there: both are said. */
static char *gz_unpack(const char *path, size_t *size) {
    enum { PART = 1 << 18 };
    gzFile f = gzopen(path, "rb");
    if (!f) llm_die("check the path and its permissions", "cannot open %s: %s", path, strerror(errno));
    char *text = NULL;
    size_t room = 0;
    int got = 1;
    for (*size = 0; got > 0; *size += got > 0 ? got : 0) {
        text = llm_grow(text, &room, llm_add(*size, PART + 1), 1);
        got = gzread(f, text + *size, PART);
    }
    bool packed = !gzdirect(f), whole = got == 0;
    if (gzclose(f) != Z_OK) whole = false;
    if (!packed) llm_die("call it by what it is", "%s is not packed with gzip", path);
    if (!whole) llm_die("fetch it again: gzip -t says what it lacks", "%s is broken, or was cut off", path);
    text[*size] = '\0';
    return text;
}
#else
enum { GZ_IS_READ = 0 };
#endif

/* llm_read_file, unpacked. */
static inline char *gz_read_file(const char *path, size_t *size) {
#ifdef LLM_ZLIB
    if (path_ends_with(path, ".gz")) return gz_unpack(path, size);
#endif
    return llm_read_file(path, size);
}
#endif
