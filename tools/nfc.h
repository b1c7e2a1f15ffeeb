/* nfc.h: Unicode's normal form C. "e" and an accent that combines are one letter to the reader and two code points; in
   NFC all that have a code point of their own are written so (U+00E9). Tokenizers whose tokenizer.json says
   "normalizer": NFC (Qwen's) learned from such text. A part of hf.h; Unicode 16 (tokenizers 0.23 has Unicode 9: 141
   characters of rare scripts, new since then, combine here and not there).

       1. take everything apart, again and again          U+1EC7 = U+1EB9 U+0302 = U+0065 U+0323 U+0302
       2. put the marks behind a letter in their order    by combining class; equal ones stay as they are
       3. put together what stays one character           but for some that Unicode leaves apart for ever

   Nearly all text is in NFC, which one look at every character tells. Work is done from the last character before the
   doubt that joins nothing before it, up to the next. Bytes that are no UTF-8 stay as they are. */
#ifndef NFC_H
#define NFC_H
#ifdef LLM_IMPLEMENTATION

/* The 11,172 syllables of Hangul are arithmetic: L + V + T, leading consonant, vowel, and a final one or none. */
enum { NFC_S = 0xAC00, NFC_L = 0x1100, NFC_V = 0x1161, NFC_T = 0x11A7, NFC_LS = 19, NFC_VS = 21, NFC_TS = 28,
       NFC_SS = NFC_LS * NFC_VS * NFC_TS };
/* Characters in memory; NFC_BYTE + b is the byte b, which is no UTF-8. */
enum { NFC_BYTE = 0x110000, NFC_DOUBT = 256 };

/* code = first second; second 0: first replaces it. apart: never put together. */
typedef struct { uint32_t code, first, second; bool apart; } nfc_row;
static struct {
    nfc_row *by_code, *by_pair; size_t rows, pairs;
    uint16_t *kind;                     /* [NFC_BYTE + 256] combining class; + NFC_DOUBT: may change or join the last */
} nfc;
static const char *nfc_classes, *nfc_seconds, *nfc_pairs, *nfc_apart, *nfc_singles;     /* the last page */

/* ---- the tables ---- */

/* The next number of a string in base 26: a small letter ends it. */
static uint32_t nfc_number(const char **s) {
    uint32_t x = 0;
    for (; **s < 'a'; ++*s) x = x * 26 + (uint32_t)(**s - 'A');
    return x * 26 + (uint32_t)(*(*s)++ - 'a');
}
/* 0, 1, 2, 3 ... are 0, -1, 1, -2 ... */
static uint32_t nfc_step(const char **s) {
    uint32_t x = nfc_number(s);
    return x % 2 ? ~(x / 2) : x / 2;    /* (~x is -1 - x) */
}
static int nfc_order_codes(const void *a, const void *b) {
    const nfc_row *x = a, *y = b;
    return (x->code > y->code) - (x->code < y->code);
}
static int nfc_order_pairs(const void *a, const void *b) {
    const nfc_row *x = a, *y = b;
    return x->first != y->first ? (x->first > y->first ? 1 : -1) : (x->second > y->second) - (x->second < y->second);
}
static const nfc_row *nfc_parts(uint32_t code) {
    return bsearch(&(nfc_row){.code = code}, nfc.by_code, nfc.rows, sizeof(nfc_row), nfc_order_codes);
}
/* Rows of code, first and, where there are seconds to choose from, second. */
static void nfc_read_rows(const char *s, const uint32_t *seconds, bool apart) {
    for (nfc_row row = {.apart = apart}; *s;) {
        row.code += nfc_number(&s);
        row.first += nfc_step(&s);
        if (seconds) row.second = seconds[nfc_number(&s)];
        nfc.by_code[nfc.rows++] = row;
        if (!apart) nfc.by_pair[nfc.pairs++] = row;
    }
}
static void nfc_read(void) {
    uint32_t seconds[128] = {0};
    const char *s = nfc_seconds;
    for (int i = 0; *s; i++) seconds[i] = nfc_number(&s) + (i ? seconds[i - 1] : 0);
    const size_t most = strlen(nfc_pairs) + strlen(nfc_apart) + strlen(nfc_singles);
    nfc.by_code = llm_alloc(most, sizeof(nfc_row));
    nfc.by_pair = llm_alloc(strlen(nfc_pairs), sizeof(nfc_row));
    nfc_read_rows(nfc_pairs, seconds, false);
    nfc_read_rows(nfc_apart, seconds, true);
    nfc_read_rows(nfc_singles, NULL, true);
    qsort(nfc.by_code, nfc.rows, sizeof(nfc_row), nfc_order_codes);
    qsort(nfc.by_pair, nfc.pairs, sizeof(nfc_row), nfc_order_pairs);
}
/* In doubt: what is never put together again, the second of a pair, and what begins with one when taken apart. */
static void nfc_begin(void) {
    if (nfc.kind) return;
    nfc_read();
    nfc.kind = llm_alloc(NFC_BYTE + 256, sizeof *nfc.kind);
    uint32_t at = 0;
    for (const char *s = nfc_classes; *s;) {
        at += nfc_number(&s);
        uint32_t end = at + nfc_number(&s), kind = nfc_number(&s);
        while (at < end) nfc.kind[at++] = (uint16_t)kind;
    }
    for (int i = 0; i < NFC_VS; i++) nfc.kind[NFC_V + i] = NFC_DOUBT;
    for (int i = 1; i < NFC_TS; i++) nfc.kind[NFC_T + i] = NFC_DOUBT;
    for (size_t i = 0; i < nfc.pairs; i++) nfc.kind[nfc.by_pair[i].second] |= NFC_DOUBT;
    for (size_t i = 0; i < nfc.rows; i++) {
        const nfc_row *row = &nfc.by_code[i];           /* (a first that joins is a second, or comes before) */
        if (row->apart || nfc.kind[row->first] >= NFC_DOUBT) nfc.kind[row->code] |= NFC_DOUBT;
    }
}

/* ---- the three steps ---- */

typedef struct { uint32_t *code, *spare; size_t count, room, room_too; } nfc_run;

static int nfc_class(uint32_t code) { return nfc.kind[code] % NFC_DOUBT; }
static void nfc_take_apart(nfc_run *r, uint32_t code) {
    const nfc_row *row = code < 0xC0 || code >= NFC_BYTE ? NULL : nfc_parts(code);
    uint32_t s = code - NFC_S;
    if (s < NFC_SS) {
        nfc_take_apart(r, NFC_L + s / (NFC_VS * NFC_TS));
        nfc_take_apart(r, NFC_V + s / NFC_TS % NFC_VS);
        if (s % NFC_TS) nfc_take_apart(r, NFC_T + s % NFC_TS);
    } else if (row) {
        nfc_take_apart(r, row->first);
        if (row->second) nfc_take_apart(r, row->second);
    } else {
        r->code = llm_grow(r->code, &r->room, r->count + 1, sizeof *r->code);
        r->code[r->count++] = code;
    }
}
/* n marks by class: counted, so that a million of them take no longer than a million letters. */
static void nfc_sort(uint32_t *code, uint32_t *spare, size_t n) {
    size_t place[256] = {0}, before = 0;
    for (size_t i = 0; i < n; i++) place[nfc_class(code[i])]++;
    for (int c = 0; c < 256; c++) {
        size_t count = place[c];
        place[c] = before;
        before += count;
    }
    for (size_t i = 0; i < n; i++) spare[place[nfc_class(code[i])]++] = code[i];
    memcpy(code, spare, n * sizeof *code);
}
static void nfc_order(nfc_run *r) {
    r->spare = llm_grow(r->spare, &r->room_too, r->count, sizeof *r->spare);
    for (size_t i = 0, end; i < r->count; i = end) {
        bool ordered = true;
        for (end = i + 1; end < r->count && nfc_class(r->code[end]); end++)
            ordered = ordered && nfc_class(r->code[end - 1]) <= nfc_class(r->code[end]);
        if (!ordered) nfc_sort(r->code + i, r->spare, end - i);     /* (a letter, of class 0, stays in front) */
    }
}
/* The character that two make, or 0. */
static uint32_t nfc_pair(uint32_t a, uint32_t b) {
    if (a - NFC_L < NFC_LS && b - NFC_V < NFC_VS) return NFC_S + ((a - NFC_L) * NFC_VS + b - NFC_V) * NFC_TS;
    if (a - NFC_S < NFC_SS && (a - NFC_S) % NFC_TS == 0 && b - NFC_T - 1 < NFC_TS - 1) return a + b - NFC_T;
    const nfc_row *row = bsearch(&(nfc_row){.first = a, .second = b}, nfc.by_pair, nfc.pairs, sizeof(nfc_row),
                                 nfc_order_pairs);
    return row ? row->code : 0;
}
/* A mark joins the letter before it, unless one that stays between them has its class, or a higher one; a letter (class
   0) joins the letter before it if nothing stays between. */
static void nfc_put_together(nfc_run *r) {
    size_t count = 0, letter = SIZE_MAX;
    int last = 0;                       /* class of what was kept last, 0: the letter itself */
    for (size_t i = 0; i < r->count; i++) {
        int class = nfc_class(r->code[i]);
        bool near = letter != SIZE_MAX && (!last || last < class);
        uint32_t made = near ? nfc_pair(r->code[letter], r->code[i]) : 0;
        if (made) {
            r->code[letter] = made;
            continue;
        }
        if (!class) letter = count;
        last = class;
        r->code[count++] = r->code[i];
    }
    r->count = count;
}

/* ---- a text ---- */

static uint32_t nfc_get(const char *s, size_t n, size_t *step) {
    uint32_t code;
    *step = (size_t)llm_utf8_get(s, n, &code);
    return code == UINT32_MAX ? NFC_BYTE + (uint32_t)(unsigned char)*s : code;
}
/* Where work begins: the last character of class 0 before the first doubt. */
static size_t nfc_doubt(const char *s, size_t n, size_t at) {
    size_t begin = at;
    int last = 0;
    for (size_t step, from; at < n; at += step) {
        for (from = at; at < n && (unsigned char)s[at] < 0xCC;) at++;   /* below U+0300, the first mark */
        if (at > from) last = 0, begin = at - 1 - (at - 1 > from && is_continuation(s[at - 1]));
        if (at == n) break;
        int kind = nfc.kind[nfc_get(s + at, n - at, &step)];
        if (kind >= NFC_DOUBT || (kind && kind < last)) return begin;
        if (!kind) begin = at;
        last = kind;
    }
    return n;
}
/* The next character behind `at` that joins nothing before it. */
static size_t nfc_certain(const char *s, size_t n, size_t at) {
    size_t step;
    for (nfc_get(s + at, n - at, &step), at += step; at < n; at += step)
        if (!nfc.kind[nfc_get(s + at, n - at, &step)]) return at;
    return n;
}
static size_t nfc_rewrite(nfc_run *r, const char *s, size_t n, char *out) {
    size_t count = 0;
    r->count = 0;
    for (size_t at = 0, step; at < n; at += step) nfc_take_apart(r, nfc_get(s + at, n - at, &step));
    nfc_order(r);
    nfc_put_together(r);
    for (size_t i = 0; i < r->count; i++)
        if (r->code[i] < NFC_BYTE) count += (size_t)utf8_put(out + count, r->code[i]);
        else out[count++] = (char)(r->code[i] - NFC_BYTE);
    return count;
}
/* How long the text is in NFC at most: what is rewritten may take three times its bytes. */
static size_t nfc_room(const char *s, size_t n) {
    size_t room = n;
    for (size_t at = 0, end; (at = nfc_doubt(s, n, at)) < n; at = end) {
        end = nfc_certain(s, n, at);
        room = llm_add(room, llm_mul(2, end - at));
    }
    return room;
}
/* The text in NFC, in fresh memory; NULL: it is as it stands. from (or NULL): (*from)[i], in memory of its own, is
   where byte i came from; what differs came from where a stretch that was rewritten begins to differ. */
static char *nfc_text(const char *text, size_t *size, size_t **from) {
    size_t n = *size, at = nfc_doubt(text, n, 0), count = 0, *origin = NULL;
    if (at == n) return NULL;
    const size_t room = llm_add(nfc_room(text, n), 1);
    char *normal = llm_alloc(room, 1);
    if (from) *from = origin = llm_alloc(room, sizeof *origin);
    nfc_run run = {0};
    for (size_t done = 0; done < n; at = nfc_doubt(text, n, done)) {
        memcpy(normal + count, text + done, at - done);
        for (; done < at; count++, done++) if (origin) origin[count] = done;
        if (at == n) break;
        done = nfc_certain(text, n, at);
        size_t end = count + nfc_rewrite(&run, text + at, done - at, normal + count);
        for (bool same = true; count < end; count++) {
            same = same && at < done && normal[count] == text[at];
            if (origin) origin[count] = at < done ? at : done - 1;
            at += same;
        }
    }
    llm_release_all(run.code, run.spare);
    *size = count;
    return normal;
}

/* ---- the last page: Unicode 16.0.0, written by test/gen/nfc_tables.py, which says how they are read ---- */

static const char *nfc_classes =
    "BDovIwabIyaeImabIyabIiafImacHuaeImacHualImafbaeImaiIwabJgabIwadImadIwacImbdIwaeImabIwabIyacImabIwabIzacJaabIzacJ"
    "aabIzanIwKpfIwKfbImaeIwabImadIwabIoabImagIwagImacIwabImacIwabIoabIuabIwabkablabmabnaboabpabqabrabsactabuabvabwbb"
    "xbbyabzbbIwabImbbsCuiIwabBeabBfabBgBwbBbabBcabBdabBeabBfabBgabBhabBiacIwacImafIwabImacIwabImqbBjDxhIwceIwabImabI"
    "wccIwbbImacIwabImBjbBkBebIwabImacIwabImacIwadImabIwacImabIwabImadIwabImabIwabImabIwabImabIwabImacIwGehIwabImabIw"
    "jbImyeIwbjIwbdIwbfIwBrdImChcIwadImaeIwBqfIwafImaoIwbbImacIwabImacIwabImadIwadImabBbabBcabBdadIwabImacIwacImafIwC"
    "ibhqbjdbIwabImacIwDzbhqbjBwbIwCjbhqbjEgbhqbjEgbhqbjExbjEgbhqbjhbDgabDnDxbhqbjEfcjqbjEubjEfcDzabjneEdEecEoabjneEs"
    "CycImBbbImbbImbbIiCdbEzabFabbFcfeFacbFabcIwabjbcIwCkbImEibhbcjDebImBBrdIwBKmcjBebjGbbjkbIwHvbIuFnbIoabIwabImIlbI"
    "wabImCtbjuiIwcbImBwfIwagImacIwabImbcImacIwacImafIwabImaeIwDxbhpbjBmbIwabImahIwCccjCgbhlcjCpbhFwdIwbbbafImacIwaeI"
    "mabIwbhbebImgbIwdcIwHqcIwabImahIwabImacIwabJaabIgabImabHuaBlIwabIyacIuabImabIkabIwabIzabImabIwabImBBscIwacbaeIwa"
    "dbacIwebIwdcbabIwabImabIwacbaeImabIwEOcdIwFlbjDsBgIwVibIkabIuabIyabIoacIqEbciBSQebIwekIwBgcIwDccIwKqbjBlbjFvbjBb"
    "sIwCfdImBlbjDrbhmbjJfbIwbcIwabImccIwfcIwbbIwCabjJmbjBDZsbBaBDphIwahImacIwBLlbImIsbImFtfIwCMsbImbbIwBobIwabbabIme"
    "bjGjbIwabImWbeIwCnfIwMfcIwDcdImCscImadIwabImabIwaeImBxbIwabImabIwabImHkbjBpbjobjCfbjabhCrdIwBwcjCkbhCybjjbhEcbja"
    "bhGwbhabjDcchqbjyhIwdfIwDldjEjbjdbhxbIwDvbjabhJrbjabhEwbjEobjabhElbjKjbjabhJycjebhGabjDfbjsbjDdbjQfbjJybhbcjDdbj"
    "QjcjYZcbjDSafbChhIwBUncgBDAybbHWocIiadbdbIsafIiiiImcfIwacImBeeIwFsdIwFFfhIwbrIwchIwbcIwbfIwDwbIwGehIwOlbIwCjeIwT"
    "ocIyabImabIwJubIwabImBCihImEfgIwabh";
static const char *nfc_seconds =
    "BDobbbbcbbbbbbdccbhibbbbbfbcbhkdXzdbbddcbFpbbBCpEyczDxJwcybDzzExEetbEazElfqPncmCbcEpEEpICqbDGWuEfUpzDtdhhIxkdJiB"
    "InBBGgbbjEQoBLWojbbbb";
static const char *nfc_pairs =
    "HkFaababbacbadbahbajcevbeababbacbahbiababbacbahckdbcababbacbadbahdmababbacbahbibdqababbacbadbahbajcevbeababbacba"
    "hbiababbacbahckdbcababbacbadbahdmababbacbahbibcahbEhebCmebClfbCmfbClwbCmwbChbbCmbbClcbCmcbClgbCmgbCllbCmlbCjlbCm"
    "ldCjebCmebClfbCmfbClgbCmgbClwbCmwbCllbCmlbChcbCmcbClfbCmfbClgbCmgbClvbCmvbCjcbCmcdCjdbCmdbClebCmebClfbCmfbClwbCm"
    "wbClgeccbCmcbCjvbCmvcCjbbCmbbClvbCmvbCllbCmlfChbbCmbbClvbCmvbCllbCmleCjebCmebClfbCmfbClkbCmkdCfbbCmbbClvbCmvbCll"
    "bCmlbCjbbCmbbClcbCmcbClvbCmvbCllbCmlbCjvbCmvbCllbCmldCjdbCmdbClebCmebClfbCmfbCljbCmjbClkbCmkbClwbCmwbChcbCmcbChc"
    "bCmcbClhbcbbCmbbClgbCmgbCllbCmlBiDhqbCmqoBzqbCmqBdDzlbCmlbBvlbCmlbBzlbCmlbBzlbCmlbHyebCmebClbbCmbbCllbCmlbClabCm"
    "acEhebCmebYuebcebBBdebCmedMflbCmlbCdlbCmlbCdwbCmwbBDeebcebDzlbQwlbBQlleCrbbCmbdBxabCmabGsbbCmbbCjbbCmbbBbbbCmbbO"
    "bmbCmmbClnbCmnbCdmbCmmbClnbCmnbCdmbCmmbClnbCmnbBzmbCmmbClnbCmnbCfmbCmmbClnbCmnbCfmbCmmbClnbCmnbCpubCmubCjubCmudD"
    "jlbCmlhCzgbCmgbCdvbCmvbIsebCmebCnebCmebMtgbCmgbBIkebcebBKdebCmeNaDqbbCFibcibbebbebcmbcmbbibbCobBaDthbyhbybbibbeb"
    "bebbBkbBaBjhbyhblbbmbbibfsbbahBsFeabahcdbezhfBobbdabwflvfBgCmfxfabahcdbeCshfCdbbdabwfyDumbcmCwHhfbCmfoCxfbCmfbCl"
    "hbCmhdCbfbCmfdMohbchbOzhbCmhbCjhbCmhdCjebCmebClhbCmhbBzhbCmhdNchbchbOlhbCmhbDfebCmebClhbCmhbClkbCmkbCdhbCmhdCdhb"
    "CmhLlBKqBmbaBnbCoBnbCnBobCsBnFyKsBncBnBnrBiBnXaBUaBpiqBpdgBpFvLkBrbaBsOqBDoBwdaBvbaBxCuFuBzCcEaBybcBybbBzEuJwCaE"
    "qJiCchoCcbaCdcaCbbiCcExJoCebcCebbCfFmLiCgcaChbgCgbfCiWmBTgCoEDcIGeCpceCpceCpceCpceCpeiCpBpDeCpceCpdeCpbcCpcgCpBA"
    "zULttbCmtbCjgbCmgbClrbCmrbClBabCmBabHubbCmbbMngbCmgbClrbCmrbClBabCmBabClvbCmvbClxbCmxbNkabcabbbbcbbPvxbCmxbClzbC"
    "mzbBIsfbcfbBLdgbCmgbCjebCmebCjgbCmgbClrbCmrbClhbCmhbClvbCmvbClybCmybCjzbCmzbHwbbCmbbMpbbCmbbClrbCmrbClBabCmBabCj"
    "rbCmrbWOqebcebWRdBabCmBabClxbCmxbCjbbCmbbClgbCmgbClrbCmrbCjgbCmgbClrbCmrbClBabCmBabClxbCmxbHybbCmbbClhbCmhbGsabc"
    "abbbbcbbTlbbCmbbClgbCmgbChgbCmgbClrbCmrbWQyebcebWTlBabCmBabCjgbCmgbClrbCmrbRugbcgbkgbcgbVZegbcgbWTxgbCmgbClrbCmr"
    "bClBabCmBabClxbCmxbCjsbCmsbClzbCmzbClxbCmxbSsbbcbbchbchbVhdbCmdbClrbCmrbCjabCmabClbbCmbbClhbCmhbClgbCmgbClrbCmrb"
    "CjgbCmgbClhbCmhbCjgbCmgbCjcbCmcbClrbCmrbClBabCmBabBjBabyhbgjbejcUegfYlrbCmrbClibCmibHmbbCmbbClabCmabClibCmibCldb"
    "CmdbWNscbccbWLhbbcbbbabcabbibcibbdbcdbWLefbcfbWZvrbCmrbClibCmibCldbCmdbHubbCmbbClabCmabClibCmibCldbCmdbWOycbccbX"
    "BjibCmibClrbCmrbBzrbCmrbClibCmibHubbCmbbClabCmabClibCmibCldbCmdbWPscbccbWCnbbcbbbabcabbibcibbdbcdbbrbcrbZnrbCmrb"
    "ClibCmibYebbcbbbabcabbibcibbdbcdbbrbcrbBAjabCmabClrbCmrbClibCmibCldbCmdhCLkobapbURuabcabbbbcbbbBcbcBcbUUhobapbUU"
    "wabcabbbbcbbbBcbcBcbUSdobapbUSsabcabbbbcbdUVfobapbUVuabcabbbbcbdUTfobapbUTuabcabbbbcbbbBcbcBcbUWhobapbUWwabcabbb"
    "bcbbbBcbcBcbUUhobapbUUwabcabbbbcbbbBcbcBcbUXjobapbUXyabcabbbbcbbbBcbcBcbUVbobapbUVqabcabbbbcbdUYdobapbUYsabcabbb"
    "bcbdUVvobapbUWkabcabbbbcbbbBcbcBccUYxpcUZoacabcaBcbUWtobapbUXiabcabbbbcbbbBcbcBcbUZvobapbVAkabcabbbbcbbbBcbcBcbU"
    "ZvaciaceaceacmacmaciaeUPyBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbBiBdbcBdbcBdbcBdbcBdbcBd"
    "bcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbDuBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbcBdbVAhfba"
    "ebVAkBdbVAjBdbjBdckBcbVFuBdbVIffbaebaacaBdfCFhBcbXImBdbVAfBdbrBdcsBcbVGoBdbVJdaceacaBdbVImababbaBcbVFvfbaebBiaeB"
    "hBcbBiBcbDtfbaebaadVNeababbaBcbVJtfbaebmactobapbiBcbmBcbCxfbaebaachpbCGnafXJcBdbUZlBdbkBdcjBcbVIwBdbVMbacuacaBdP"
    "yWQwBbbeBbteBbBfEqBbbiBbbdBbCbDuBbfkBbdgBbyBwBbceBbBbBuBbdoBbdeBbcgBbxZUjBbcZWiBblBnBbbZUvBbbeBbbZWmBbbcBbdBaBbb"
    "cBbdgBbbcBbhgBbbcBbdoBbbcBbdgBbbcBbBjCcBbbmBbbcBbbeBbBxDpBbbcBbbBoBbbcBbhCmBbbcBbbcBbbcBbFBrKHoCqceCqceCqceCqceC"
    "qceCqceCqceCqceCqceCqceCqceCqdgCqceCqceCqhoCqbaCrcgCqbaCrcgCqbaCrcgCqbaCrcgCqbaCrxEbCqkGsCqoBcCqceCqceCqceCqceCq"
    "ceCqceCqceCqceCqceCqceCqceCqdgCqceCqceCqhoCqbaCrcgCqbaCrcgCqbaCrcgCqbaCrcgCqbaCrxEbCqdFqCqbcCqbcCqbcCqewCqDCPfGF"
    "FegBbqgEBmIDqCsceCspuCsFbKuCtbcCtUuBPaCubaCvCdEoCzceCxjoCydkCzCaDwCycaCwbaCzJjTaDbbaDacaDcJsTqDdbcDdBIjCQqDeBBGb"
    "CCMcDfbaDibaDgbwDgbvDhbgDgbcDgbbDhEQqJHsDjbhDjbmDj";
static const char *nfc_apart =
    "BGeCHsbCHwEPeBpbcBpbcBpbkBpbkBpbcBpbsBpbiBpEvIuBqbcBqcBaBqDgKcBtdmBtBjCpBtbcBtbkBtdBeBtJuSyBubcBuBMkDDgCnkuCnfkC"
    "nfkCnfkCnnCbCmkDuCjcaCkbFaClccCljFbClsCoCnkuCnfkCnfkCnfkCnnCbCmKHfURqBbDAWnBCAxBecByBflrBkbaBlbHDWaBkbaBlbHDXxBf"
    "baBgbaBibcBibcBibcBibcBibcBibcBiceBibcBibcBibcBibcBiceBiceBibcBiceBibcBiceBibcBibcBibcBibcBibBpBhbhBjbuBjbsBjDDB"
    "sNJZqDkbcDkboDlbaDmbaDnbaDobaDpDjGyDkbcDkbcDlbcDlbbDmbcDm";
static const char *nfc_singles =
    "BGaCHcbccBkBxGxkBXbjJoKOwCGgcccccccCgccccCkFndDylDtccioiliCyiCpdrbCJxkCKmcgcCEfdXSmbcLhVMheCOhbJkTqBJUsbcDCZmCRW"
    "obBCHbbBEEmbBNnbWSbbYSjbEIgbCFJababCBGfbBQUqbBTRfbCVybGOybPMsbGXkbFCmbBDebYmbFTmbBDFdbCJabCVsbCHmbMKkbJZmbGLybCF"
    "DlbDTmbRVybFJqbPFgbSDmbBXCdbOCkbQOybCSsbBDGfbXNqbETqbBFHxbGHmbEUobEFsbWPgbBXLnbBRebWsbNOmbEPibFMobDRibGXgbEOobGq"
    "bFTebHAkbDFmbBYcbBCJbbSsbDDibERibLNybIScbOXdbBLVxbERabWGebDDcbKRvbEWebPDgbHTabBVBhbCRsbKJqbCWkbXubKSebUibSGebBZC"
    "rbBIQkbBJJhbBfbBENwbCTobEScbOAqbIHtbBEVhbFLubYZobBUArbKJkbDEcbOTebBLqbBAAjbBCSebBFFzbMBkbNItbXHmbFOhbRYabBFIrbDM"
    "sbXFibKBobEVqbXLfbBBGebBAQhbHFvbYEgbXRtbNLybBDIjbCBubHkbRFkbPLsbEEybGJebFHqbBVPrbZqbDYgbEDubFEwbHTibGYqbVPmbDPib"
    "DEgbEgbCFSnbPHebDOkbBBFibBLBnbCJgbIqbBZgbHZmbBQibCMabDZmbDEabBWwbLDubHTfbIMsbCKcbBXJxbKubBPkbVGgbSEebBLobBHGbbXc"
    "bCRkbGFmbMOebGQzbBBSbbGDebDTcbBJybBUybOVsbOcbIMkbNgbNPcbDPsbGibQabCCYrbBFXubSFcbDUubBOUfbNXlbBTwbIKebGgbHCebDIwb"
    "FXobDJsbLEabISmbLKsbBREvbBKCibBZGbbPWmbJgbEAmbBAsbECwbZwbCImbDNmbURsbCBSzbMRybBNPsbCBGjbJUqbMTebZEubBKBtbBHybFEk"
    "bIRgbBANebBZUfbBLkbGIebHIqbYgbBAqbDFmbFKkbBKqbHGwbHBwbBkbGTqbDWebBZFxbUVebUEbbWMwbCCubNEibMQcbEIibBSybBPRrbESebP"
    "GcbFKbbGobBCmbHLjbBQjbUGsbBTXfbBNTcbBLCpbDxbJOobDEgbTSgbZGbbNIobEWhbBEScbFGnbKPubJRfbBGJfbKHhbDKqdBZgcKRsdPPjbZF"
    "sbCTkbBWebCqbobDgbWOkbUDrbCHacEUscDSmdDZkbPeeGAmbBabDkbDLobJStbELebCBUvbYcbHwbBDgbCcbIkbBTgbIcbHobBKibIabCVobubD"
    "DsbQibCybHsbCOgbLibNmbBMmbDTkbMobUibBTgbOobBMsbDJibNibwbbbqbmbobDsbcbNsbFabYobBRkbBqbEibXmbLibBLobKubabBKubDPabK"
    "ibBBybEibBFobEcbCAubKabFBibVwbEqbBQGhbOBLabNBYpdBNIxbCScbFxbBLnbBIwbEobZebDybBZybFnbFgbFqbBWqbGwbLebBgbUubPgbCUe"
    "bobLcbFgbXabJcbFjbKibDnbLgbFcbBEubGubEebUabWabMobibEobDDmbFabBEcbBFobBfbGsbTkbZwbESobEDfbJkbJmbZebLmbEcbRkbebNeb"
    "BibBybGqbtbBEmbBLibUwbOkbRgbLubZkbPibCNabMcbCRsbBJcbFibBgbWwbEkbDlbEebfbBhbFwbGgbBDkbBRcbYebWsbRabDBgbHybIwbKgbC"
    "ubybDsbCDybDLkbLLKublbITubORXfbDKgbCobPLMebHZibZTubNZFrbFuHKVfCJPhbjbsbMRJubMQNrbGabBabFmbJgbCkbGabBvbVJdbNOQybM"
    "SYbbobBgbBmbMRYwbNNSvbVSubCybMSAubMRZzbBabCDzbCEqbsbQUKabQUFbbBcbWBvbWGebwbDkbkbWGpbWMubebCcbBsbwbcbBibDwbqbsbBy"
    "bubebababMUGobLYIpbVSdbBqbMUXcbMUWdbmbBqbLsbHvbBgbCmbEmbGmbCabFebBgbCobabBqbBkbqbBebBAebUxbVabPfbCsbDJdbFFybWdbC"
    "ybBybJzbMwbbbJmbMYLsbMYGhbkbBebBobqbEybMZGmbFcbMZAxbDqbybGbbKybBAWlbBcbBBHwbEebabNAFkbMZVdbBqbBebybNARibNAQjbobC"
    "NabCKvbBBThbBBYcbBcbGibDxbNCIobNBUnbNBUsbNBRjbfbBibHubcbBCOjbBCQmbDibBqbDkbBCUvbOGMcbOGKbbBCYibgbgbBobQXWybQXSxb"
    "NEMwbabMDZjbBAKrbabBDBhbOTFebBJSebOZRbbsbBDEtbBDIkbDybubCqbKmbBDTlbChbBDXgbNGBgbNFXhbJybibebdbDobBobCubBbbwbDqbB"
    "obibCabwbFcbGmbCsbJobNHEmbNHFxbEzbIibCcbHmbNHKsbNHFxbHdbCdbBFKvbBFZqbBqbCkbCxbBFVxbBGMobCgbNJJgbNJAbbVibNlbBGSlb"
    "BGYabBGZhbCtbREqbgbQFubHrbTTibBUBvbBASabibmbEsbvbNKTcbOSChbBHWcbIzbPubDybNKIqbNKHxbInbSwbBILhbBIOwbHmbFmbOqbNKKc"
    "bNKGdbBJKvbBJQgbNLOmbNLKnbBJPzbBJSibDmbCcbcbNMOabWJbbWRmbNMLbbNNTsbNNKzbBcbHvbNmbDcbEkbEdbDcbBebBabNNDibNNJnbTib"
    "EwbBLHlbBLOqbhbNNMabNOBvbBCsbNNKabDsbNNGxbIwbCbbfbBMGvbBMKmbDyblbEebLUIybLTXfbNOHgbNOAnbNOZubNOOzbBabCcbNQGmbNQC"
    "tbBqbNQYibRebNQXvbBibBOBdbBODebBOCfbabBOOsbBqbBqbBobFibBORdbBOYcbNSUmbNSSlbNSZobNSVrbMMHybMLVpbNURqbBubKubPKDbby"
    "bBPPobNVAcbbbDabCabNVBtbcbabDibBPSjbBPXkbBPWjbGebPMPabNWJtbEubEybBQIzbPNXebNXDnbNXMmbDibNXLjbHcbBQZfbBRFububkbNY"
    "YcbXababNZIvbBRCxbPRFubNZMfbgbBRQxbPRTibNZHzbBSBzbBSDsbjbCgbOBMabOBEjbBSFrbBSNkbEobFebBSTdbPVGabCkbPVFnbPVQubOCC"
    "rbOCKmbOCIjbHubwbODFmbFqbODEbbODOibODNbbMRKwbOLIhbBUCobGgbBUEpbBUJebBDEvbPHPkbBcbBNMpbsbMQKrbgbKHwbCEYvbBVBwblbB"
    "kbBKHnbBKJcbebubDebOFWmbOFWnbEibFkbFsbKpbLwbDgbIqbTzbJebebBgbOFWubXubLnbQBVnbBWHwbebCsbOKRwbOKLvbOGYybQDLtbibQDV"
    "sbWgbQERdbBXDybybwbebEybCnbKibDjbLqbGfbFebCcbBXTlbBYAmbCmbBYAhbBYHqbgbOKEibOJVjbobBYMrbBYOwbCLUzbQXGobOebQKDzbsb"
    "BZKcbFybMcbPqbOLXubOLRdbBsbGybHcbOMZgbDMGrbLAMbbBdbEabLBAabLAIlbHsbOQRkbCcbOPSrbHebCmbOQHubOQGzbVybMgbcbHbbBDibC"
    "ebORQwbOQObbCFNvbCFRgbOROabQWYzbCGFqbBRFtbBRNebOTIybQkbRABvbqbCGQmbOUWybRBItbRBTobOVEjbabCibOVYgbOVJzbCGVtbCHBgb"
    "JsbCcbEqbCHFrbRFXsbOXWtbXgbOobCISzbCkbCIYubPAJmbRJHjbRJLqbUkbKcbPARzbCJQvbCJVqbkbobubobCwbPCXu";
#endif /* LLM_IMPLEMENTATION */
#endif
