/* tekken.h: how Mistral's newer tokenizers (Nemo, Ministral: "tekken") cut text. A part of hf.h.

       [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|
       [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|
       \p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+

   A word begins with capitals and ends with small letters: "getHTTPResponse" is get, HTTPResponse. Letters without case
   (Lm, Lo) and marks (M) may stand in both halves. */
#ifndef TEKKEN_H
#define TEKKEN_H
#ifdef LLM_IMPLEMENTATION

/* Beside the class: may the character stand in the first half, or in the second? */
enum { TEKKEN_UPPER = 4, TEKKEN_LOWER = 8, TEKKEN_BOTH = TEKKEN_UPPER | TEKKEN_LOWER, TEKKEN_CLASS = 3 };
static const char *tekken_upper, *tekken_lower, *tekken_mark;   /* the last page */

static void tekken_classes(uint8_t *class_of) {
    for (uint32_t code = 0; code < 0x110000; code++)
        if (class_of[code] == CLASS_LETTER) class_of[code] |= TEKKEN_BOTH;
    classes_mark(class_of, tekken_upper, CLASS_LETTER | TEKKEN_UPPER);
    classes_mark(class_of, tekken_lower, CLASS_LETTER | TEKKEN_LOWER);
    classes_mark(class_of, tekken_mark, CLASS_OTHER | TEKKEN_BOTH);
}
/* Where the run of characters that may stand in this half ends; *both: behind its last one that may stand in the other
   half too, or where it began. */
static size_t tekken_run(const llm_text *c, size_t at, int half, size_t *both) {
    *both = at;
    for (size_t next; at < c->n && class_at(c, at, &next) & half; at = next)
        if ((class_at(c, at, &next) & TEKKEN_BOTH) == TEKKEN_BOTH) *both = next;
    return at;
}
/* The two halves of a word from `at` on, as an expression finds them: the first takes all that it may, and gives back
   where the second would have nothing. Returns the end, or `at`: it does not match. first: the first alternative. */
static size_t tekken_word(const llm_text *c, size_t at, bool first) {
    size_t both, none, upper = tekken_run(c, at, TEKKEN_UPPER, &both), end = tekken_run(c, upper, TEKKEN_LOWER, &none);
    if (!first) return upper > at ? end : at;
    return end > upper ? end : both;
}
static size_t tekken_cut(const llm_text *c, size_t at) {
    size_t next, after;
    const int here = class_at(c, at, &next), kind = here & TEKKEN_CLASS;
    const bool newline = c->s[at] == '\r' || c->s[at] == '\n';
    const bool prefix = kind != CLASS_LETTER && kind != CLASS_NUMBER && !newline;
    for (int alternative = 0; alternative < 2; alternative++) {
        if (prefix && (after = tekken_word(c, next, !alternative)) > next) return after;
        if ((after = tekken_word(c, at, !alternative)) > at) return after;
    }
    if (kind == CLASS_NUMBER) return next;
    size_t end = kind == CLASS_OTHER ? at : c->s[at] == ' ' ? next : c->n;
    const size_t begin = end;
    for (; end < c->n && (class_at(c, end, &after) & TEKKEN_CLASS) == CLASS_OTHER; end = after) {}
    if (begin < c->n && end > begin) {
        while (end < c->n && (c->s[end] == '\r' || c->s[end] == '\n' || c->s[end] == '/')) end++;
        return end;
    }
    size_t line = run_of(c, at, CLASS_SPACE);           /* \s*[\r\n]+ : up to the last line end of the run */
    while (line > at && c->s[line - 1] != '\r' && c->s[line - 1] != '\n') line--;
    return line > at ? line : cut_space(c, at);
}

/* ---- Unicode 16 (test/gen/unicode_tables.py --text) ---- */

static const char *tekken_upper =
    "CnBaDxxbhBhbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbcbbbbbbbbbbbbbbbcbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    "bbbbbbbbbbbbbbbbbcbbbbdcbbbcbdcebcbddcbcbbbbbcbbcbbcbdbbbcdbhcbcbcbbbbbbbbbbbbbbbbcbbbbbbbbbbbbbbbbbccbbbdbbbbbb"
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbhcbccbbebbbbbbbbLdbbbdbibgbbdbbbcbrbjBjbcddbbbbbbbbbbbbbbbbb"
    "bbbbbbfbcbbccBzBwbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbjbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbcbbbbbb"
    "bbbbbbcbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbcBmEHdBmbb"
    "fbBBuDiDGlbgBrcdMibbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbjbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbjiigkiiiiglbbbbbbbiiyiiiiiiflflemflfKbbebddcdcbdfgbbbbbbecekcfbCjbDZgBw"
    "Bwbbdcbbbbbbebbcbidbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    "bbbbbibbbebBTYjbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbtbbbbbbbbbbbbbbbbbbbbbbbbbbbFfbbbbbbbbbbbbbdbbbbbbbb"
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbkbbbbcbbbbbbbbebbbcbbbdbbbbbbbbbbbbbbbbbbbbfbfbbbbbbbbbbbbb"
    "bbebbbcdbfbbbbbbbybBHAhBaBUzBoFgBkGalbpbhbcCQcBzGbwEGoBgBGJwBgBMMqBaBaBaBaBaBabbccbcccebiBaBaBacbecibhBbcbebfbbd"
    "hBbBaBaBaBaBaBaBaBaBaBaBaBezBhzBhzBhzBhzBhbGNlBi";
static const char *tekken_lower =
    "DtBaCgbBpybibbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbcbbbbbbbbbbbbbbbcbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    "bbbbbbbbbbbbbbbbbbcbbbbdcbbbcbdcebcbddcbcbbbbbcbbcbbcbdbbbcccdgbcbcbbbbbbbbbbbbbbbbcbbbbbbbbbbbbbbbbbccbbbdbbbbb"
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbhcbccbbebbbbbbbbCrbBbHlbbbdbddsbBbBjbcddbbbbbbbbbbbbbbbbbbb"
    "bbbbfbbcbccBzBwbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbjbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbcbbbbbbbb"
    "bbbbcbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbBwBpEHbBrcd"
    "BDggDFujbbEnBsClnbBiDybbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbjbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbjigkiiiigkiiiiociiiiiifbcgbddbciecciikdbcKobdcdbBbbebebccieebCbbEBbB"
    "wbbdcbbbbbbebbcbgfbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    "bbbbchbbbebmBmbbfbBTWdbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbtbbbbbbbbbbbbbbbbbbbbbbbbbbbFfbbbbbbbbbbbbdbb"
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbibbbbcbbbbbbbbbebbbcbbdbbbbbbbbbbbbbbbbbbbbfbfbbbbb"
    "bbbbbbbbbbebbbcbdbbbbbbbbbbbBabdbBFpBrfjhDcBEAihmfBOzBaBVhBoFgBkFzlbpbhbcCRbBzEvwEGoBgBGJwBgBMMkBaBahbsBaBaBaebb"
    "bhblBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBcBczbgBazbgBazbgBazbgBazbgbbCSykbuggDUdBi";
static const char *tekken_mark =
    "BDoEiKphKdBtbbbcbcbbCulBwvqbDxhcgccbeBjbBeBbDnlCgjjbyebjbdbfBrdChjBqybBhCcdbsbhkcBddCebbhcccdjbkcBabcdCebbfeccdd"
    "bBecdbldCebbibdbducwgbdCebbhcccdhdkcBebChfddbejbBofCdbbhbdbehclcBddCebbhbdbehclcpbmeCdcbhbdbejbkcBddCsbegbbbiscC"
    "jbchmiDubcjlhCvcBbbbbbbecBxubcflbBkjbDwuxeedbdchdenmbbkeBBbdBKkeBcdBdcBecCmBgjbBtdbbEncBibEomemIlfCfkbBdcbBwBfBx"
    "fBvrBmjmdBenCeoBwuFwdbvebgbcdHqCmBBsBhEOcdFlbDsBgVigEbcBSQeebkBgcDccKmbdbebxfebDfcBysBasnbBmiznBseBvoBkbCpombicB"
    "tdBybbdccfcbbBpffcJcibcBDZsbBCjqqqBLlbIsbFtfCMgdbcfeBodebGjcWbeCnfMfcDbeCslBxeEsdCbpBpbcckeBtlhbCjdBkoqcBsbmdBwo"
    "iebcDomgbcbGbmveCdcbhcccdjbkcchdfCpjbbcbbebfbbocDesxbDduJbhcjBbcDerEcnDxpJwpJlgbccebbbcFlhchdbBckBohbeibjlBuqPpi"
    "biDewboEsgdbbcbhbbCofbcbfNjejcbbBwhdfxbHXtbgpQYysDSafChhBOibbCdheDdblcBDAxcGYzBucxUwfdgiichBeeFsdCYdCdeByibobwfb"
    "pCAihbrchbcbfDwbGehOlbCjeToeJucBCihEfhBTCIvJg";
#endif /* LLM_IMPLEMENTATION */
#endif
