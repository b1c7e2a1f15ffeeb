/* line.h: a line that somebody types. On a terminal it can be edited, and what was typed before is there again (arrow
   up, Ctrl-R), by readline (LLM_READLINE) or libedit (LLM_EDITLINE) where one was found when this was built; else as
   the terminal has it. Ctrl-C drops what was typed. Included after options.h, with colour.h.

   Nothing is kept for the next time, unless a file is named for it: then every line is added to its end. */
#ifndef LINE_H
#define LINE_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>
#include "colour.h"

#if defined(LLM_READLINE)
#include <readline/readline.h>
#include <readline/history.h>
#elif defined(LLM_EDITLINE)
#include <editline/readline.h>
#endif
#if defined(LLM_READLINE) || defined(LLM_EDITLINE)
#define LINE_EDITOR
#include <locale.h>
#endif

enum { LINE_REMEMBERED = 1000, LINE_LONGEST = 1 << 16 };
static struct {
    volatile sig_atomic_t *interrupted; /* the program's own handler sets it */
    const char *file;                   /* of the history, or NULL */
    FILE *screen;                       /* where the editor draws: stderr as it was before shown.h */
    char *text;                         /* the line that the editor has given us */
    bool edits, done;
} line_state;

#ifdef LINE_EDITOR
static void line_taken(char *text) {
    line_state.text = text;
    line_state.done = true;
    rl_callback_handler_remove();       /* the terminal is as it was while we work */
}
/* Wait for a key. SIGINT comes through only while we wait: none is missed in between. */
static bool line_wait(void) {
    sigset_t only, before;
    fd_set in;
    sigemptyset(&only);
    sigaddset(&only, SIGINT);
    sigprocmask(SIG_BLOCK, &only, &before);
    FD_ZERO(&in);
    FD_SET(STDIN_FILENO, &in);
    const int n = *line_state.interrupted ? -1 : pselect(STDIN_FILENO + 1, &in, NULL, NULL, NULL, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return n > 0;
}
static char *line_edited(const char *prompt) {
    line_state.text = NULL;
    line_state.done = false;
    rl_callback_handler_install(prompt, line_taken);
    while (!line_state.done && !*line_state.interrupted)
        if (line_wait()) rl_callback_read_char();
    if (line_state.done) return line_state.text;
    rl_callback_handler_remove();
    return NULL;
}
static void line_remember(const char *text) {
    static char *last;
    if (!*text || (last && !strcmp(last, text))) return;
    free(last);
    last = strdup(text);
    add_history(text);
    if (!line_state.file) return;
    const int fd = open(line_state.file, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0600);
    const size_t n = strlen(text);
    char *whole = llm_format("%s\n", text);
    if (fd < 0 || write(fd, whole, n + 1) != (ssize_t)n + 1) {
        fprintf(stderr, "(--history: cannot write %s: %s; from here on nothing is kept)\n", line_state.file,
                strerror(errno));
        line_state.file = NULL;
    }
    if (fd >= 0) close(fd);
    llm_release(whole);
}
/* The newest lines of the file. What is no line of text is left out. */
static void line_recall(void) {
    char *text = NULL;
    size_t room = 0;
    ssize_t n;
    FILE *f = line_state.file ? fopen(line_state.file, "r") : NULL;
    while (f && (n = getline(&text, &room, f)) >= 0) {
        if (n && text[n - 1] == '\n') text[--n] = '\0';
        if (n && n < LINE_LONGEST && strlen(text) == (size_t)n) add_history(text);
    }
    if (f) fclose(f);
    free(text);
}
#endif

/* A file of the history is a file of its own: there is none yet, or a plain one that we may write. */
static void line_check_file(const char *file) {
    struct stat s;
    const int fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) llm_die("another --history", "cannot write %s: %s", file, strerror(errno));
    const bool plain = !fstat(fd, &s) && S_ISREG(s.st_mode);
    close(fd);
    if (!plain) llm_die("another --history", "%s is no plain file", file);
}
/* Before the first line_state. interrupted: set by SIGINT; file: of the history, NULL: it ends with the program. */
static void line_begin(volatile sig_atomic_t *interrupted, const char *file) {
    line_state.interrupted = interrupted;
    line_state.file = file;
#ifdef LINE_EDITOR
    const bool editor = true;
#else
    const bool editor = false;
#endif
    line_state.edits = editor && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    if (file && !editor)
        llm_usage("install libreadline-dev or libedit-dev, then make", "--history would do nothing: no line editor was "
                  "found when this was built");
    if (file && !line_state.edits) llm_usage("leave it out", "--history would do nothing: nobody types at a terminal");
    if (file) line_check_file(file);
#ifdef LINE_EDITOR
    if (!line_state.edits) return;
    line_state.screen = fdopen(dup(STDERR_FILENO), "w");
    if (!line_state.screen) { line_state.edits = false; return; }
    setlocale(LC_CTYPE, "");            /* letters of several bytes are one when they are deleted */
    rl_readline_name = "llm";
    rl_outstream = line_state.screen;
    rl_catch_signals = 0;
    using_history();
    stifle_history(LINE_REMEMBERED);
    line_recall();
#endif
}
/* A line without its end into *text; its length, or -1: the input is over, or Ctrl-C was pressed. */
static ssize_t line_read(const char *prompt, char **text, size_t *room) {
#ifdef LINE_EDITOR
    if (line_state.edits) {
        char *drawn = colour_on(stderr) ? llm_format("\1\033[1;32m\2%s\1\033[0m\2", prompt) : llm_format("%s", prompt);
        char *typed = line_edited(drawn);
        llm_release(drawn);
        if (!typed) return -1;
        line_remember(typed);
        free(*text);
        *text = typed;
        *room = strlen(typed) + 1;
        return (ssize_t)strlen(typed);
    }
#endif
    if (isatty(STDIN_FILENO)) {
        colour_set(stderr, "1;32");
        fputs(prompt, stderr);
        colour_set(stderr, NULL);
    }
    ssize_t n = getline(text, room, stdin);
    while (n > 0 && ((*text)[n - 1] == '\n' || (*text)[n - 1] == '\r')) n--;
    return n;
}
#endif
