/* gguf_format.h: what llama.cpp's file format GGUF is, once, for who writes it (convert.c) and who reads it (gguf.h).
   Included after llm.h and hf.h's declarations. */
#ifndef GGUF_FORMAT_H
#define GGUF_FORMAT_H

/* ---- the file ----

       "GGUF" 3, number of tensors, number of keys        u32 version, u64 counts, lowest byte first
       keys       name, type, value                       strings and lists begin with a u64 length
       tensors    name, sizes, type, offset               sizes innermost first: the reverse of Hugging Face's
       data       each tensor at a multiple of 32

   One file holds what a folder holds: config.json as keys "llama.embedding_length", the tokenizer as keys
   "tokenizer.ggml.tokens", and the weights under names of their own, possibly with fewer bits. */

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_BOOL = 7, GGUF_STRING = 8, GGUF_LIST = 9 };
enum { GGUF_ALIGN = 32 };
/* A block of numbers in a row, and its bytes. A q8_0 block is d (f16) and 32 bytes q: d q. A q4_0 block is d and 16
   bytes, number i in the low 4 bits of byte i and number i + 16 in the high ones: d (q - 8). q4_1: d, m, both f16, and
   16 bytes: d q + m. */
static const struct { const char *name; int type, file_type; size_t block, bytes; } gguf_types[] = {
    {"f32", 0, 0, 1, 4}, {"f16", 1, 1, 1, 2}, {"bf16", 30, 32, 1, 2}, {"q8_0", 8, 7, 32, 34}, {"q4_0", 2, 2, 32, 18},
    {"q4_1", 3, 3, 32, 20}};
enum { AS_F32, AS_F16, AS_BF16, AS_Q8, AS_Q4_0, AS_Q4_1, GGUF_TYPES };

/* Whose tensors and keys it has: "general.architecture", also config.json's model_type (Mistral's is "llama" there).
   turned: rows of q and k change places (interleave). */
static const struct { const char *name; bool turned; } gguf_families[] = {
    {"gpt2", false}, {"llama", true}, {"qwen2", false}, {"qwen3", false}, {"smollm3", true}, {"olmo2", false},
    {"phi3", false}};
enum { GGUF_FAMILIES = sizeof gguf_families / sizeof *gguf_families };

/* How text is cut, "tokenizer.ggml.pre". whole: a piece in the vocabulary needs no merges that lead to it
   (ignore_merges); opens: if nothing is said, bos stands before a text. */
static const struct { const char *name; int split; bool whole, opens; } gguf_cuts[] = {
    {"gpt-2", LLM_SPLIT_GPT2, false, false},       {"phi-2", LLM_SPLIT_GPT2, false, false},
    {"llama-bpe", HF_SPLIT_LLAMA3, true, true},    {"llama3", HF_SPLIT_LLAMA3, true, true},
    {"llama-v3", HF_SPLIT_LLAMA3, true, true},     {"smaug-bpe", HF_SPLIT_LLAMA3, false, false},
    {"dbrx", HF_SPLIT_LLAMA3, false, false},       {"smollm", LLM_SPLIT_DIGITS, false, false},
    {"qwen2", HF_SPLIT_QWEN2, false, false},       {"deepseek-r1-qwen", HF_SPLIT_QWEN2, false, false},
    {"tekken", HF_SPLIT_TEKKEN, true, true},       {"default", HF_SPLIT_SPM, false, true}};
enum { GGUF_CUTS = sizeof gguf_cuts / sizeof *gguf_cuts };
/* The name that is written: the first of the split, of those that say `whole` where there is one. */
static inline int gguf_cut_of(int split, bool whole) {
    int best = -1;
    for (int i = 0; i < GGUF_CUTS; i++)
        if (gguf_cuts[i].split == split)
            if (best < 0 || (gguf_cuts[best].whole != whole && gguf_cuts[i].whole == whole)) best = i;
    return best;
}

/* "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight". Where norms stand behind what they belong to, the
   same word means another. */
static inline void gguf_name(const llm_config *c, const char *name, char out[64]) {
    static const char *const module[][2] = {
        {"transformer.wte", "token_embd"}, {"transformer.wpe", "position_embd"}, {"transformer.ln_f", "output_norm"},
        {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"},
        {"ln_1", "attn_norm"}, {"attn.c_attn", "attn_qkv"}, {"attn.c_proj", "attn_output"},
        {"ln_2", "ffn_norm"}, {"mlp.c_fc", "ffn_up"}, {"mlp.c_proj", "ffn_down"},
        {"input_layernorm", "attn_norm"}, {"self_attn.q_proj", "attn_q"}, {"self_attn.k_proj", "attn_k"},
        {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
        {"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_norm", "attn_k_norm"}, {"self_attn.qkv_proj", "attn_qkv"},
        {"mlp.gate_up_proj", "ffn_up"}, {"post_feedforward_layernorm", "post_ffw_norm"},
        {"mlp.gate_proj", "ffn_gate"}, {"mlp.up_proj", "ffn_up"}, {"mlp.down_proj", "ffn_down"}};
    int layer = -1, skip = 0;
    if (sscanf(name, "transformer.h.%d.%n", &layer, &skip) != 1) sscanf(name, "model.layers.%d.%n", &layer, &skip);
    const char *rest = name + skip, *last = strrchr(rest, '.');         /* last: ".weight" or ".bias" */
    size_t n = last ? (size_t)(last - rest) : 0;
    for (size_t i = 0; i < sizeof module / sizeof *module; i++) {
        if (strlen(module[i][0]) != n || strncmp(module[i][0], rest, n)) continue;
        const char *word = c->post_norm && !strcmp(module[i][1], "ffn_norm") ? "post_attention_norm" : module[i][1];
        if (layer >= 0) snprintf(out, 64, "blk.%d.%s%s", layer, word, last);
        else snprintf(out, 64, "%s%s", module[i][1], last);
        return;
    }
    llm_die("a language model of a family that is known", "GGUF has no name for the tensor %s", name);
}
/* Llama-3's stretched frequencies are told as divisors of theta^(-2j/D). */
static inline void rope_divisors(const llm_config *c, float *out) {
    for (int j = 0; j < c->D / 2; j++) {
        double wave = 6.283185307179586 * pow(c->rope_theta, 2.0 * j / c->D);
        double s = (c->rope_original / wave - c->rope_low) / (c->rope_high - c->rope_low);
        s = s < 0 ? 0 : s > 1 ? 1 : s;
        out[j] = (float)(1 / ((1 - s) / c->rope_factor + s));
    }
}
/* We turn the pair (j, j+D/2) of a head, GGUF's llama the pair (2j, 2j+1): row j + sD/2 moves to row 2j+s. Row r of the
   file is our row: */
static inline size_t interleave(size_t r, size_t D) { return r / D * D + r % 2 * (D / 2) + r % D / 2; }

#endif
