/* tokenizer_json.h: the tokenizer.json of a tokenizer that came in another form, ranks of tiktoken (convert.c) or GGUF
   (gguf.h): all but its vocabulary and merges. Included after llm.h and hf.h's declarations. */
#ifndef TOKENIZER_JSON_H
#define TOKENIZER_JSON_H

typedef struct {
    int split;                          /* llm_tokenizer.split: how text is cut */
    bool nfc, ignore_merges, prefix;    /* prefix: SentencePiece puts a space before every stretch of text */
    const char *opens, *unknown; int opens_id;          /* spelled; NULL: there is none. opens stands before a text */
} tokenizer_way;

static inline void write_added(llm_writer *w, int id, const char *text, size_t n, bool special, bool first) {
    llm_write_text(w, "%s\n{\"id\": %d, \"content\": ", first ? "" : ",", id);
    llm_write_json_string(w, text, n);
    llm_write_text(w, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                      "\"special\": %s}", special ? "true" : "false");
}
static inline void write_byte_level(llm_writer *w, bool expression) {
    llm_write_text(w, "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                      "\"use_regex\": %s}", expression ? "true" : "false");
}
static inline void write_cuts(llm_writer *w, const tokenizer_way *t) {
    const char *expression = hf_expression(t->split);
    bool plain = t->split == LLM_SPLIT_GPT2, digits = t->split == LLM_SPLIT_DIGITS;
    llm_write_text(w, "],\n\"normalizer\": %s,\n\"pre_tokenizer\": ", t->nfc ? "{\"type\": \"NFC\"}" : "null");
    if (!plain) llm_write_text(w, "{\"type\": \"Sequence\", \"pretokenizers\": [");
    if (digits) llm_write_text(w, "{\"type\": \"Digits\", \"individual_digits\": true},\n");
    else if (!plain) {
        llm_write_text(w, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        llm_write_json_string(w, expression, strlen(expression));
        llm_write_text(w, "}, \"behavior\": \"Isolated\", \"invert\": false},\n");
    }
    write_byte_level(w, plain || digits);
    if (!plain) llm_write_text(w, "]}");
}
/* SentencePiece: a space is U+2581, and nothing is cut. */
static inline void write_spm_cuts(llm_writer *w, const tokenizer_way *t) {
    llm_write_text(w, "],\n\"normalizer\": %s{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": "
                      "\"\xE2\x96\x81\"}%s,\n\"pre_tokenizer\": null",
                   t->prefix ? "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "
                               "\"\xE2\x96\x81\"}, " : "", t->prefix ? "]}" : "");
}
static inline void write_opener(llm_writer *w, const tokenizer_way *t) {
    llm_write_text(w, ",\n\"post_processor\": ");
    if (t->opens) {
        llm_write_text(w, "{\"type\": \"TemplateProcessing\",\n\"single\": [{\"SpecialToken\": {\"id\": ");
        llm_write_json_string(w, t->opens, strlen(t->opens));
        llm_write_text(w, ", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}],\n\"pair\": "
                          "[{\"Sequence\": "
                          "{\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}],\n"
                          "\"special_tokens\": {");
        llm_write_json_string(w, t->opens, strlen(t->opens));
        llm_write_text(w, ": {\"id\": ");
        llm_write_json_string(w, t->opens, strlen(t->opens));
        llm_write_text(w, ", \"ids\": [%d], \"tokens\": [", t->opens_id);
        llm_write_json_string(w, t->opens, strlen(t->opens));
        llm_write_text(w, "]}}}");
    } else llm_write_text(w, "null");
}
/* From the end of the added tokens to the beginning of the vocabulary. */
static inline void write_pipeline(llm_writer *w, const tokenizer_way *t) {
    bool spm = t->split == HF_SPLIT_SPM;
    if (spm) write_spm_cuts(w, t);
    else write_cuts(w, t);
    write_opener(w, t);
    llm_write_text(w, ",\n\"decoder\": ");
    if (spm)
        llm_write_text(w, "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": "
                          "\"\xE2\x96\x81\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}"
                          "%s]}", t->prefix ? ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}"
                                            : "");
    else write_byte_level(w, true);
    llm_write_text(w, ",\n\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": ");
    if (t->unknown) llm_write_json_string(w, t->unknown, strlen(t->unknown));
    else llm_write_text(w, "null");
    llm_write_text(w, ", \"fuse_unk\": %s,\n\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
                      "\"byte_fallback\": %s,\n\"ignore_merges\": %s,\n\"vocab\": {", spm ? "true" : "false",
                   spm ? "true" : "false", t->ignore_merges ? "true" : "false");
}
#endif
