/* added.h: tokens that were added to a tokenizer, found in text before it is cut. Hugging Face's tokenizers do it in
   two steps: tokens that are not `normalized` in the text as it is, the others in what the normalizer makes of the
   rest; what lies between is cut and merged. A part of hf.h, which has the interface.

   A special token is never found in somebody's words: a user who types "<|im_end|>" typed ten characters. */
#ifndef ADDED_H
#define ADDED_H
#ifdef LLM_IMPLEMENTATION

enum { HF_LSTRIP = 1, HF_RSTRIP = 2, HF_SINGLE_WORD = 4, HF_NORMALIZED = 8 };

typedef struct { const char *text; size_t n; int id, how; bool special; } hf_added_token;
/* Sorted by their bytes. begins: is there one that begins so? */
typedef struct { hf_added_token *token; size_t count; bool begins[256]; } hf_added_list;
typedef size_t hf_encoder(const llm_tokenizer *t, const char *text, size_t size, llm_where where, int *ids);
/* Normal text in fresh memory, or NULL: it is as it stands. from (or NULL): (*from)[i], in memory of its own, is the
   byte that byte i comes from. */
typedef char *hf_normalizer(const llm_tokenizer *t, const char *text, size_t *size, llm_where where, size_t **from);
typedef struct {
    hf_added_list list[2];              /* of the first step, and of the second */
    hf_normalizer *normal;              /* or NULL: text stays as it is */
    hf_encoder *encode, *encode_normal; /* of a stretch as it is; of one that is normal */
    bool spelled;                       /* normal text has ' ' for U+2581 */
    bool parse;                         /* special tokens are found in plain text (hf_parse_special) */
} hf_added;

/* ---- finding ---- */

/* spelled: ' ' is SentencePiece's U+2581 here, which is no white space. */
typedef struct { const char *s; size_t n; const uint8_t *words, *class_of; bool specials, spelled; } hf_stretch;
/* A token found: it takes [begin, end) with the white space that it swallows (none is left where the token before
   swallowed all of it). The search goes on at `next`. */
typedef struct { size_t begin, end, next; const hf_added_token *token; } hf_hit;

static const char *hf_word_differs;     /* below */

/* Where the character before `at` begins. */
static size_t hf_before(const hf_stretch *x, size_t at) {
    size_t i = at - 1;
    while (i > 0 && at - i < 4 && is_continuation(x->s[i])) i--;
    uint32_t code;
    return i + (size_t)llm_utf8_get(x->s + i, at - i, &code) == at ? i : at - 1;
}
static int hf_class(const hf_stretch *x, size_t at, size_t *next) {
    llm_text c = {x->s, x->n, x->class_of, 0};
    int kind = class_at(&c, at, next);
    if (kind > CLASS_SPACE) kind &= CLASS_SPACE;        /* tools/tekken.h says more about letters */
    return x->spelled && kind == CLASS_SPACE && x->s[at] == ' ' ? CLASS_OTHER : kind;
}
/* \w: letters, numbers and the underscore, but for the code points of a table. */
static bool hf_is_word(const hf_stretch *x, size_t at) {
    size_t next, edge = 0, run = 0;
    int kind = hf_class(x, at, &next);
    bool differs = false;
    uint32_t code;
    llm_utf8_get(x->s + at, x->n - at, &code);
    for (const char *p = hf_word_differs; code != UINT32_MAX && *p; p++) {      /* as classes_mark reads it */
        run = run * 26 + (size_t)(*p - (*p >= 'a' ? 'a' : 'A'));
        if (*p < 'a') continue;
        edge += run;
        if (edge > code) break;
        run = 0;
        differs = !differs;
    }
    return (kind == CLASS_LETTER || kind == CLASS_NUMBER) != differs;
}
static size_t hf_count_words(const hf_stretch *x, size_t at, size_t n) {
    size_t count = 0;
    for (size_t i = at; i < at + n && x->words; i++) count += x->words[i] != 0;
    return count;
}
static const hf_added_token *hf_bound(const hf_added_token *low, const hf_added_token *high, size_t n, int byte) {
    while (low < high) {
        const hf_added_token *middle = low + (high - low) / 2;
        if ((unsigned char)middle->text[n] < byte) low = middle + 1;
        else high = middle;
    }
    return low;
}
static const hf_added_token *hf_longest(const hf_added_list *l, const hf_stretch *x, size_t at, bool trusted);
/* May this token be the one at `at`? Only where words of somebody and the template's bytes make it together there is a
   question: such a token is not special, and hides none that the template spells. */
static bool hf_may_stand(const hf_added_list *l, const hf_stretch *x, size_t at, const hf_added_token *a,
                         bool trusted) {
    size_t theirs = x->specials ? hf_count_words(x, at, a->n) : 0;
    if (trusted) return a->special && !theirs;
    if (!theirs || theirs == a->n) return true;
    for (size_t i = at + 1; i < at + a->n && !a->special; i++) if (hf_longest(l, x, i, true)) return false;
    return !a->special;
}
/* The longest token at `at`, or NULL. trusted: of those special ones that nobody's words touch. */
static const hf_added_token *hf_longest(const hf_added_list *l, const hf_stretch *x, size_t at, bool trusted) {
    if (!l->begins[(unsigned char)x->s[at]]) return NULL;
    const hf_added_token *low = l->token, *high = low + l->count, *best = NULL;
    for (size_t n = 0; low < high && at + n < x->n;) {
        int byte = (unsigned char)x->s[at + n];
        low = hf_bound(low, high, n, byte);             /* those that have the first n bytes in common with the text */
        high = hf_bound(low, high, n, byte + 1);
        for (n++; low < high && low->n == n; low++)
            if (hf_may_stand(l, x, at, low, trusted)) best = low;
    }
    return best;
}
/* The next token behind the one of *h. One that may not be taken is text, all of it. */
static bool hf_find(const hf_added_list *l, const hf_stretch *x, hf_hit *h) {
    size_t next;
    for (size_t at = h->next; at < x->n && l->count;) {
        const hf_added_token *a = hf_longest(l, x, at, false);
        size_t begin = at, end = a ? at + a->n : at + 1;
        at = end;
        if (!a || (a->special && (!x->specials || hf_count_words(x, begin, a->n)))) continue;
        if ((a->how & HF_SINGLE_WORD) && begin > 0 && hf_is_word(x, hf_before(x, begin))) continue;
        if ((a->how & HF_SINGLE_WORD) && end < x->n && hf_is_word(x, end)) continue;
        if (a->how & HF_LSTRIP) {
            while (begin > 0 && hf_class(x, hf_before(x, begin), &next) == CLASS_SPACE) begin = hf_before(x, begin);
            begin = size_max(begin, h->end);
        }
        if (a->how & HF_RSTRIP) while (hf_class(x, end, &next) == CLASS_SPACE) end = next;
        *h = (hf_hit){begin, end, at, a};
        return true;
    }
    return false;
}

/* ---- encoding ---- */

/* SentencePiece's space. */
static bool hf_spm_space_at(const char *text, size_t n) { return n >= 3 && !memcmp(text, "\xE2\x96\x81", 3); }

typedef struct { const llm_tokenizer *t; const hf_added *a; int *ids; size_t *at, count; } hf_output;

static void hf_put_id(hf_output *o, int id, size_t at) {
    if (o->at) o->at[o->count] = at;
    o->ids[o->count++] = id;
}
/* Where tokens begin in the text that they spell: byte by byte, but for U+2581, bytes that no token spells, and the
   space that SentencePiece puts before a stretch. */
static void hf_align(const llm_tokenizer *t, const char *s, size_t n, const int *ids, size_t count, size_t *at) {
    size_t p = 0;
    for (size_t i = 0; i < count; i++) {
        const char *token = t->token[ids[i]];
        at[i] = p;
        bool unknown = t->tables->hidden[ids[i]] && p < n && t->tables->byte[(unsigned char)s[p]] == ids[i];
        p += unknown;
        for (int k = 0; k < t->length[ids[i]] && !unknown; k++) {
            while (p < n && s[p] != token[k] && t->tables->byte[(unsigned char)s[p]] < 0) p++;
            if (k == 0) at[i] = p;
            if (p < n && s[p] == token[k]) p++;
            else if (token[k] == ' ' && hf_spm_space_at(s + p, n - p)) p += 3;
        }
    }
}
static void hf_put_text(hf_output *o, hf_encoder *encode, const char *s, size_t n, llm_where where, size_t from) {
    size_t count = encode(o->t, s, n, where, o->ids + o->count), *at = o->at ? o->at + o->count : NULL;
    if (at) hf_align(o->t, s, n, o->ids + o->count, count, at);
    for (size_t i = 0; i < count && at; i++) at[i] += from;
    o->count += count;
}
/* Somebody's are those bytes of a normal text (from: where they come from) that hold any that were. */
static uint8_t *hf_normal_words(const uint8_t *words, size_t n, const size_t *from, size_t m) {
    uint8_t *normal = llm_alloc(m, 1);
    for (size_t i = m, end = n; i-- > 0;) {
        if (i + 1 < m && from[i] == from[i + 1]) normal[i] = normal[i + 1];
        for (; end > from[i]; end--) normal[i] = normal[i] || words[end - 1];
    }
    return normal;
}
/* The second step, on a stretch between tokens of the first; it begins at byte `from` of the text. */
static void hf_put_stretch(hf_output *o, hf_stretch x, llm_where where, size_t from) {
    const hf_added *a = o->a;
    if (!x.n) return;
    if (!a->list[1].count && !(o->at && a->normal)) {
        hf_put_text(o, a->encode, x.s, x.n, where, from);
        return;
    }
    size_t before = o->count, raw = x.n, *origin = NULL;
    char *normal = a->normal ? a->normal(o->t, x.s, &x.n, where, &origin) : NULL;
    uint8_t *words = normal && x.words ? hf_normal_words(x.words, raw, origin, x.n) : NULL;
    if (normal) x.s = normal, x.words = words, x.spelled = a->spelled;
    for (hf_hit h = {0};;) {
        size_t done = h.end;
        bool hit = hf_find(&a->list[1], &x, &h);
        size_t end = hit ? h.begin : x.n;
        llm_where place = done ? LLM_TEXT_GOES_ON : where;
        if (end > done) hf_put_text(o, a->encode_normal, x.s + done, end - done, place, done);
        if (!hit) break;
        if (h.begin < h.end) hf_put_id(o, h.token->id, h.begin);
    }
    for (size_t i = before; i < o->count && o->at; i++)
        o->at[i] = from + (!origin ? o->at[i] : o->at[i] < x.n ? origin[o->at[i]] : raw);
    llm_release_all(normal, origin, words);
}
static int hf_by_bytes(const void *a, const void *b) {
    const hf_added_token *x = a, *y = b;
    int order = memcmp(x->text, y->text, size_min(x->n, y->n));
    return order ? order : (x->n > y->n) - (x->n < y->n);
}
/* In one piece of memory: *a, the tokens, and their texts; those of the second step as they are in the normal text (NFC
   makes a text at most three times as long). */
static hf_added *hf_added_new(const llm_tokenizer *t, const hf_added_token *token, size_t count, hf_added a) {
    size_t bytes = llm_add(sizeof a, llm_mul(count, sizeof *token));
    for (size_t i = 0; i < count; i++) bytes = llm_add(bytes, 3 * token[i].n + 4);
    hf_added *memory = llm_alloc(bytes, 1);
    a.list[0].token = (hf_added_token *)(void *)(memory + 1);
    char *text = (char *)(a.list[0].token + count);
    for (int step = 0; step < 2; step++) {
        hf_added_list *l = &a.list[step];
        if (step) l->token = a.list[0].token + a.list[0].count;
        for (size_t i = 0; i < count; i++) {
            hf_added_token x = token[i];
            if (!x.n || (x.how & HF_NORMALIZED ? 1 : 0) != step) continue;
            char *normal = step && a.normal ? a.normal(t, x.text, &x.n, LLM_TEXT_BEGINS, NULL) : NULL;
            x.text = memcpy(text, normal ? normal : x.text, x.n);
            x.special = t->special[x.id];
            text += x.n;
            llm_release(normal);
            l->begins[(unsigned char)x.text[0]] = true;
            l->token[l->count++] = x;
        }
        qsort(l->token, l->count, sizeof *l->token, hf_by_bytes);
    }
    *memory = a;
    return memory;
}
/* Of a tokenizer that llm.h made: its special tokens. */
static hf_added *hf_added_own(const llm_tokenizer *t) {
    hf_added_token *token = llm_alloc((size_t)t->vocab_size, sizeof *token);
    size_t count = 0;
    for (int i = 0; i < t->vocab_size; i++)
        if (t->special[i]) token[count++] = (hf_added_token){t->token[i], (size_t)t->length[i], i, 0, true};
    hf_added *a = hf_added_new(t, token, count, (hf_added){.encode = t->encode});
    llm_release(token);
    return a;
}
size_t hf_encode(const llm_tokenizer *t, const char *text, size_t size, llm_where where, bool specials,
                 const uint8_t *words, int *ids, size_t *at) {
    hf_added *own = t->tables->added ? NULL : hf_added_own(t);
    hf_output o = {t, own ? own : t->tables->added, ids, at, 0};
    hf_stretch x = {text, size, words, t->tables->class_of, specials, false};
    for (hf_hit h = {0};;) {
        size_t done = h.end;
        bool hit = hf_find(&o.a->list[0], &x, &h);
        hf_stretch between = x;
        between.s += done;
        between.n = (hit ? size_max(h.begin, done) : size) - done;
        between.words = words ? words + done : NULL;
        hf_put_stretch(&o, between, done ? LLM_TEXT_GOES_ON : where, done);
        if (!hit) break;
        if (h.begin < h.end) hf_put_id(&o, h.token->id, h.begin);
    }
    llm_release(own);
    return o.count;
}
static size_t hf_encode_added(const llm_tokenizer *t, const char *text, size_t size, llm_where where, int *ids) {
    const hf_added *a = t->tables->added;
    return hf_encode(t, text, size, where, a->parse && where == LLM_TEXT_PLAIN, NULL, ids, NULL);
}
void hf_parse_special(llm_tokenizer *t) {
    if (!t->tables->added) t->tables->added = hf_added_own(t);
    ((hf_added *)t->tables->added)->parse = true;
    t->encode = hf_encode_added;
}
bool hf_parses_special(const llm_tokenizer *t) {
    const hf_added *a = t->tables->added;
    return a && a->parse;
}
bool hf_spells_special(const llm_tokenizer *t, const char *text, size_t size) {
    if (!t->tables->added) t->tables->added = hf_added_own(t);
    const hf_added *a = t->tables->added;
    hf_stretch x = {text, size, NULL, t->tables->class_of, true, false};
    for (int step = 0; step < 2; step++)
        for (hf_hit h = {0}; hf_find(&a->list[step], &x, &h);) if (h.token->special) return true;
    return false;
}
void hf_say_unspelled(const llm_tokenizer *t) {
    const size_t n = t->tables->unspelled;
    t->tables->unspelled = 0;
    if (n) fprintf(stderr, "%zu byte%s dropped: the tokenizer has no token for %s\n", n, n > 1 ? "s" : "",
                   n > 1 ? "them" : "it");
}
/* Where \w of regular expressions is not "letter or number": the underscore, accents that combine ... (test/gen/
   unicode_tables.py --text). */
static const char *hf_word_differs =
    "DrbDecfbcdWfEiKphKdBtbbbcbcbbCulBwvqbDxhcgccbeBjbBeBbDnlCgjjbyebjbdbfBrdChjBqybBhCcdbsbhkcBddCebbhcccdjbkcqgebcd"
    "CebbfeccddbBecdbldCebbibdbducwgbdCebbhcccdhdkcogkbChfddbejbydnfCdbbhbdbehclcuhcdCebbhbdbehclcpbmeCdcbhbdbejidcmj"
    "idCsbegbbbiscCjbchmiDubcjlhCvcqkbbbbbbecBxubcflbBkjbDwuxeedbdchdenmbbkeBBbdjuBJheBcdBdcBecCmBgjbskrdbbEncBibEome"
    "mGcbCifCfkbBdcbBwBfBxfBvrBmjmdBenCeoBwuFwdbvebgbcdHqCmUecBxctbBbbdggkCsBhDrqBpbBByCiBaCwYgBeCAtdlbEzbDsBgVigEbcJ"
    "neFikBeibpBgkBnpBRVbebkBgcDccKmbdbebxfebdgCwcBysBasnbBmiznBseBvoBkbCpombicBtdBybbdccfcbbBpffcJcibcBDZsbBCjqqqdcy"
    "dJfbRnBtCnercEjbIsBcBkeDefBVxizhBnjCxfwgGeccqcBubdbcfeBodekCacBedCrcefEaiyiBphMsgBkeCnfJiBfBscDbeBdkBfpBteClhCad"
    "CbplukbcckeBtlhbCjdBkoqcBsbmdBwoiebcruCdmgbcbGbmveCdcbhcccdjbkcchdfCpjbbcbbebfbbocDesxbDduJbhcjBbcDerEcnDxpocJgp"
    "GtjCjgbccebbbcFlhchdbBckBohbeibjlBuqPpibiBatBlwboEsgdbbcbhbbCofbcbfNjejcbbBwhdfxbDxvHTbbgpQYysDSafChhBkhBEsxHcbb"
    "CdheDdblcBDAxcGYzBucxUwfdgiichBeeFsdEtumuEezCMhCdeByibobwfbpCAihbrchbcbfDwbGehOlbCjeToeJucBBzqEfhBFaChbdbeCyBtbp"
    "BLanBjBagBagBaBSZFqJg";
#endif /* LLM_IMPLEMENTATION */
#endif
