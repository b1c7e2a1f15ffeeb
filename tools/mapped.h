/* mapped.h: a file as memory. Its pages come when they are looked at and may go again at any time: a text or a list of
   tokens larger than the machine's memory is read through it. Included after llm.h. */
#ifndef MAPPED_H
#define MAPPED_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct { const char *at; size_t size; } mapped_file;

/* Whoever makes a file shorter while we read it leaves pages behind of which nothing is known. */
static inline void mapped_lost(int number) {
    static const char said[] = "error: a file of the data became shorter, or its disk failed, while it was read\n"
                               "  try: leave the data alone until the program ends\n";
    (void)number;
    if (write(2, said, sizeof said - 1)) _exit(1);
    _exit(1);
}
static inline mapped_file mapped_open(const char *path) {
    struct stat s;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s)) llm_die("check the path", "cannot open %s: %s", path, strerror(errno));
    mapped_file f = {NULL, (size_t)s.st_size};
    void *at = f.size ? mmap(NULL, f.size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (at == MAP_FAILED) llm_die("a disk of its own for it", "cannot map %s: %s", path, strerror(errno));
    close(fd);
    signal(SIGBUS, mapped_lost);
    f.at = at;
    return f;
}
/* Its part up to `end` is not needed soon. */
static inline void mapped_forget(const mapped_file *f, const char *end) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)(end - f->at) / page * page;
    if (f->at && end > f->at && bytes) madvise((void *)(uintptr_t)f->at, bytes, MADV_DONTNEED);
}
static inline bool mapped_holds(const mapped_file *f, const char *p) {
    return f->at && p >= f->at && p < f->at + f->size;
}
static inline void mapped_close(mapped_file *f) {
    if (f->at) munmap((void *)(uintptr_t)f->at, f->size);
    *f = (mapped_file){NULL, 0};
}
#endif
