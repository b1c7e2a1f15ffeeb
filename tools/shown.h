/* shown.h: what the programs print is text. Included after llm.h.

   Data, models, file names and templates come from strangers, and all of them are printed: in answers, samples, tables
   and error messages. To a terminal some bytes are commands: ESC ] 0 ; renames its window, ESC [ 2 J wipes it, a
   carriage return writes over the line, U+202E turns the reading direction round. So stdout and stderr pass through
   here: such a character is printed as a picture of itself, what is no UTF-8 as U+FFFD. Files get their bytes. */
#ifndef SHOWN_H
#define SHOWN_H

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The bytes of a character that is not whole yet: a token may end within one. */
typedef struct { char text[4]; int count, fd; } shown_text;

static const char shown_lost[] = "\xEF\xBF\xBD";               /* U+FFFD */

/* Is the character a command to a terminal? (C0 without newline and tabulator, DEL, C1, the marks that turn text) */
static inline bool shown_commands(uint32_t code) {
    return (code < 32 && code != '\n' && code != '\t') || (code >= 127 && code < 0xA0) ||
           (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}
/* How many bytes a character has that begins with this one; 0: none does. */
static inline int shown_length(unsigned char first) {
    return first < 0x80 ? 1 : first >= 0xC2 && first < 0xE0 ? 2 : first >= 0xE0 && first < 0xF0 ? 3 :
           first >= 0xF0 && first < 0xF5 ? 4 : 0;
}
/* A whole character, or what can never become one, as it is shown: at most 4 bytes. Returns how many. */
static inline size_t shown_character(const char *text, int n, char out[4]) {
    uint32_t code;
    const bool good = llm_utf8_get(text, (size_t)n, &code) == n && code != UINT32_MAX;
    if (good && !shown_commands(code)) return memcpy(out, text, (size_t)n), (size_t)n;
    memcpy(out, shown_lost, 3);
    if (good && code < 128) {                                   /* U+2400 + code: "ESC" in small letters; DEL: U+2421 */
        const char picture[] = {'\xE2', '\x90', (char)(0x80 + (code < 32 ? code : 0x21))};
        memcpy(out, picture, 3);
    }
    return 3;
}
/* One more byte of a text; what is to be shown now, at most 7 bytes, goes to out. Returns how many. */
static inline size_t shown_byte(shown_text *s, char byte, char out[7]) {
    size_t n = 0;
    if (s->count && ((unsigned char)byte & 0xC0) != 0x80) {     /* the character before was never finished */
        n = shown_character(s->text, s->count, out);
        s->count = 0;
    }
    s->text[s->count++] = byte;
    if (s->count < shown_length((unsigned char)s->text[0])) return n;
    n += shown_character(s->text, s->count, out + n);
    s->count = 0;
    return n;
}
static inline void shown_put(shown_text *s, const char *text, size_t size, FILE *f) {
    char out[7];
    for (size_t i = 0; i < size; i++) fwrite(out, 1, shown_byte(s, text[i], out), f);
}

static inline bool shown_send(int fd, const char *text, size_t n) {
    while (n) {
        ssize_t sent = write(fd, text, n);
        if (sent < 0 && errno == EINTR) continue;               /* chat's Ctrl-C */
        if (sent <= 0) return false;
        text += sent;
        n -= (size_t)sent;
    }
    return true;
}
/* A terminal's last line may say how far the program is (progress.h). Whoever writes to the terminal takes it away
   first, and it stands only where a line begins. */
static struct {
    pthread_mutex_t lock;
    bool hooked, terminal[3];           /* do both streams come by here? which of them is a terminal? */
    bool within;                        /* the last line that was written is not ended */
    int width;                          /* of what stands there; 0: nothing does */
    double when;                        /* something was last written */
} shown_status = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void shown_wipe(void) {
    static const char blank[] = "\r%*s\r";
    char line[512];
    if (!shown_status.width) return;
    const int n = snprintf(line, sizeof line, blank, shown_status.width, "");
    shown_send(2, line, (size_t)llm_min(n, (int)sizeof line - 1));
    shown_status.width = 0;
}
/* What a stream does with its bytes: all are taken, or (0) none. */
static inline ssize_t shown_write(void *stream, const char *text, size_t size) {
    shown_text *s = stream;
    char out[1024];
    size_t n = 0;
    bool sent = true;
    pthread_mutex_lock(&shown_status.lock);
    if (s->fd == 2 || shown_status.terminal[s->fd]) {
        shown_wipe();
        shown_status.within = size ? text[size - 1] != '\n' : shown_status.within;
        shown_status.when = llm_now();
    }
    for (size_t i = 0; i < size && sent; i++) {
        n += shown_byte(s, text[i], out + n);
        if (n <= sizeof out - 7 && i + 1 < size) continue;
        sent = shown_send(s->fd, out, n);
        n = 0;
    }
    pthread_mutex_unlock(&shown_status.lock);
    return sent ? (ssize_t)size : 0;
}
/* From here on stdout and stderr show; raw: stdout does not. Where the C library lets nobody put a stream of his own
   in their place, only what goes through shown_put is shown. */
static inline void shown_begin(bool raw) {
    for (int fd = 1; fd < 3; fd++) shown_status.terminal[fd] = isatty(fd);
#ifdef __GLIBC__
    static shown_text stream[2] = {{.fd = 1}, {.fd = 2}};
    static FILE *own[2], *shown[2];
    for (int i = 0; i < 2 && !own[1]; i++) {
        own[i] = i ? stderr : stdout;
        shown[i] = fopencookie(&stream[i], "w", (cookie_io_functions_t){.write = shown_write});
        if (!shown[i]) llm_die("a machine with more memory", "no stream: %s", strerror(errno));
        setvbuf(shown[i], NULL, i ? _IONBF : isatty(1) ? _IOLBF : _IOFBF, BUFSIZ);
    }
    fflush(stdout);
    stdout = raw ? own[0] : shown[0];
    stderr = shown[1];
    shown_status.hooked = !raw || !shown_status.terminal[1];
#else
    (void)raw;
#endif
}
#endif
