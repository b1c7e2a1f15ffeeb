/* colour.h: colours on a terminal, and nowhere else: none through a pipe, none where NO_COLOR says so (no-color.org) or
   TERM is dumb. No ESC passes through what we print (shown.h): a colour goes round it. Included after options.h. */
#ifndef COLOUR_H
#define COLOUR_H

#include <stdlib.h>
#include "shown.h"

static inline bool colour_on(FILE *f) {
    const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(f == stdout ? 1 : 2) && !(no && *no) && !(terminal && !strcmp(terminal, "dumb"));
}
/* From here on, on stdout or stderr, in the colour of this number ("1;34"); NULL: as before. */
static inline void colour_set(FILE *f, const char *number) {
    char text[32];
    if (!colour_on(f)) return;
    fflush(f);
    const int n = snprintf(text, sizeof text, "\033[%sm", number ? number : "0");
    shown_send(f == stdout ? 1 : 2, text, (size_t)n);
}
#endif
