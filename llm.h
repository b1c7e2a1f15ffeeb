/* llm.h: how a language model is made, from plain text to an aligned chat model, in one C header

   Do this:

       #define LLM_IMPLEMENTATION      // in exactly one .c file, before the include
       #include "llm.h"

       llm_tokenizer tok;  llm_tokenizer_load(&tok, "out/base");
       llm_model gpt;      llm_model_load(&gpt, "out/base", llm_cpu(LLM_FP32));
       puts(llm_generate(&gpt, &tok, "One day Mia", 64, llm_sampler_defaults()));

   build:  cc -std=c11 -O3 -march=native -ffp-contract=fast -fopenmp-simd -fopenmp -D_GNU_SOURCE my.c -lm

   (Better: these two lines in a .c file of their own, and the include alone in the others. The implementation has
   short names inside, which are then nobody else's business.)

   This file is a book, to be read beside the lecture, and complete: any C compiler makes a program of it that trains,
   speaks and aligns, with plain loops. llm_simd.h, where it lies beside this file, brings the same operations for
   vectors and AMX, 4 to 8 times as fast (`--device plain` chooses the loops all the same), and llm_cuda.cuh, linked
   to a program, those for NVIDIA's GPUs; neither adds to the lecture. tools/llm_ranks.h is asked for by those of many
   processes (-DLLM_MPI, -DLLM_NCCL), which share a model out as chapter 10 tells.

   Where to begin. First this page; then chapter 9's first loss, cross entropy, and chapter 5's block_forward and
   block_backward, 20 lines each: that is the whole of training. A chapter of Part I uses what stands above it and, for
   files and memory, Part II, the cellar: skip that, and come down when something is missing. The drivers train_gpt.c,
   train_sft.c, train_rlhf.c show each stage in use; `make exercise` has an exercise for every operation and loss.

       ch  title                                                               lecture
        1  the interface: structs, the table of operations, prototypes
       PART I, the lecture
        2  text to tokens: byte-level BPE, special tokens                      tokenization
        3  tokens to batches: mixtures, packing, conversations, masks          data, mixtures, SFT data
        4  the operations: equation, shapes, forward, backward                 transformer
        5  the model: presets, the tensor table, forward and backward          Llama-2, GPT-3
        6  learning: AdamW, clipping, the learning rate                        pretraining
        7  speaking: the KV cache, sampling (tools/beam.h: beam search)        inference
        8  LoRA                                                                SFT
        9  the losses of every stage                                           SFT, RM, PPO, DPO, KTO, RRHF
       10  many ranks: data parallel, ZeRO                                     infrastructure
       11  the planner                                                         cost
       PART II, the cellar
       12  ground: errors, sizes, files, random numbers, JSON
       13  a model's folder: tokenizer.json, safetensors, config.json, fewer bits

   The one idea. All stages need from the network only the log-probability of each target token, and send
   back only one number per token:

       tokens --llm_forward--> logp[b,t], value[b,t] --loss--> dlogp[b,t], dvalue[b,t] --llm_backward--> gradients

   For M tokens, or pairs, dlogp is -1/M in pretraining and SFT (be likelier), -advantage/M in PPO and GRPO, and in
   DPO -beta*sigmoid(-lead)/M on the better answer, + on the worse. Chapter 9 has these losses; none exceeds a page.

   A Llama block, which chapter 5 spells out with its backward pass (GPT-2: layernorm, learned positions, gelu):

       qkv = rmsnorm(x) Wqkv'            three products in one, heads side by side
       q,k = rope(q), rope(k)            positions turn into angles
       x   = x + attention(q,k,v) Wo'    every token looks back at those before it
       g,u = rmsnorm(x) Wgate', Wup'
       x   = x + (silu(g) * u) Wdown'    every token on its own: two products and a gate between them

   Symbols, obeyed everywhere (but in chapter 9 L is a loss and V a value). Shapes are written in memory order, the
   last index runs fastest; a weight is (rows = outputs, columns = inputs), so y = x W'.

       B batch        T sequence (time)   V vocabulary      L layers          N = B*T tokens
       C channels     H heads             KV key/value heads (KV <= H)        D head size     F feed-forward width

   Conventions.
     Arguments    forward: outputs, inputs, sizes. backward: gradients out, dout, saved forward tensors, sizes.
     Gradients    of parameters accumulate over micro-batches: the first one writes, the others add, so nothing is
                  ever zeroed (argument `accumulate`); gradients of activations are written.
     Types        llm_real: statistics, gradients of parameters, logp, master weights (float; double in the gradient
                  tests). llm_act, llm_res: activations and the residual stream as the device stores them, opaque.
     Devices      the model never reads or writes a tensor: only the operations of `llm_ops` touch device memory.
     Determinism  work is split over outputs or fixed chunks, never by who comes first: the same seed gives the same
                  bits for any number of threads.
     Errors       llm_die() names the cause, the place and the remedy, and ends the program. */

/* ================================================================================================================
   1. The interface
   ================================================================================================================
   Declarations only, valid C11 and C++ (nvcc reads them). Structs are transparent so that a student can print them;
   a constructor fills a struct of the caller's, and each has one _free. Strings returned by a function are the
   caller's to free unless said otherwise. */

#ifndef LLM_H
#define LLM_H

#ifdef LLM_LINKED                       /* the implementation is linked: make's build/llm.o */
#undef LLM_IMPLEMENTATION
#endif
#if defined(LLM_IMPLEMENTATION) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE                     /* clock_gettime, madvise: must come before the first system header */
#endif
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LLM_VERSION "0.1"

#ifndef LLM_REAL
#define LLM_REAL float                  /* -DLLM_REAL=double builds the same source for the gradient tests */
#endif
typedef LLM_REAL llm_real;
typedef struct llm_act llm_act;         /* an activation as the device stores it: never dereferenced by the model */
typedef struct llm_res llm_res;         /* the residual stream and its gradient, likewise */

/* ---- chapter 12: ground ---------------------------------------------------------------------------------------- */

#if defined(__GNUC__)
#define LLM_PRINTF(a, b) __attribute__((format(printf, a, b)))
#define LLM_NORETURN __attribute__((noreturn))
#else
#define LLM_PRINTF(a, b)
#define LLM_NORETURN
#endif
#ifdef __CUDACC__
#define LLM_BOTH __host__ __device__    /* for the processor and for the GPU */
#else
#define LLM_BOTH
#endif

/* End the program with "error: <cause>" and, unless NULL, "  try: <remedy>" on stderr. Exit code 1. A program may catch
   it: set llm_on_death to a function that does not return (tests and fuzzers longjmp). */
void llm_die(const char *remedy, const char *cause, ...) LLM_PRINTF(2, 3) LLM_NORETURN;
extern void (*llm_on_death)(const char *message);
/* The same for a wrong command line: exit code 2. */
void llm_usage(const char *remedy, const char *cause, ...) LLM_PRINTF(2, 3) LLM_NORETURN;

/* Memory and sizes. llm_mul and llm_add are checked: an overflow ends the program with an error, never with a small
   buffer. llm_alloc returns zeroed memory, 64-byte aligned, or ends the program; release with llm_release (NULL
   allowed). */
size_t llm_mul(size_t a, size_t b);
size_t llm_add(size_t a, size_t b);
void *llm_alloc(size_t count, size_t size);
void *llm_grow(void *p, size_t *capacity, size_t needed,
               size_t size); /* realloc-like: at least `needed` items, doubling */
void llm_release(void *p);
/* llm_release_all(a, b, c): each of them. */
#define llm_release_all(...)                                                                                           \
    llm_release_list((void *[]){__VA_ARGS__}, sizeof((void *[]){__VA_ARGS__}) / sizeof(void *))
void llm_release_list(void *const *p, size_t count);
char *llm_format(const char *format, ...) LLM_PRINTF(1, 2);             /* sprintf into fresh memory: llm_release it */
double llm_now(void);                                                   /* seconds, monotonic */
static inline int llm_min(int a, int b) { return a < b ? a : b; }
static inline int llm_max(int a, int b) { return a > b ? a : b; }

/* The bytes (1 to 4) of the character of UTF-8 at text, n > 0 bytes left; 1 with *code = UINT32_MAX: none. */
int llm_utf8_get(const char *text, size_t n, uint32_t *code);

/* Random numbers: splitmix64 (Steele et al. 2014): add an odd constant, then scramble. Any state is a good state; it is
   one 64-bit word, so a generator is saved and restored as a number. */
typedef struct { uint64_t state; } llm_rng;
llm_rng llm_rng_seed(uint64_t seed, uint64_t stream);   /* independent streams of one seed */
static inline LLM_BOTH uint64_t llm_rng_u64(llm_rng *r) {
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
/* [0, 1) */
static inline LLM_BOTH double llm_rng_uniform(llm_rng *r) { return (llm_rng_u64(r) >> 11) * 0x1p-53; }
int llm_rng_below(llm_rng *r, int n);                   /* 0 .. n-1, unbiased */
double llm_rng_normal(llm_rng *r);                      /* mean 0, deviation 1 (Box-Muller, one value a call) */
uint64_t llm_hash(const void *data, size_t bytes, uint64_t seed);       /* FNV-1a: fingerprints, not secrets */

/* Files. Reading gives the whole file with a '\0' behind it (not counted in *size). Writing goes to "PATH.tmp", is
   flushed to the disk and renamed by llm_write_done, so that PATH is complete or absent, also after kill -9. Of a team
   (chapter 10) rank 0 alone writes: what the others write goes nowhere, and llm_make_dirs makes nothing. */
char *llm_read_file(const char *path, size_t *size);
bool llm_exists(const char *path);
bool llm_is_dir(const char *path);
void llm_make_dirs(const char *path);                   /* mkdir -p */
typedef struct { FILE *file; char *path, *temporary; } llm_writer;
llm_writer llm_write_begin(const char *path);
void llm_write_bytes(llm_writer *w, const void *data, size_t bytes);
void llm_write_text(llm_writer *w, const char *format, ...) LLM_PRINTF(2, 3);
void llm_write_done(llm_writer *w);

typedef struct { char **path; size_t count, capacity; } llm_paths;
void llm_paths_add(llm_paths *l, const char *path);     /* a copy of it */
void llm_paths_free(llm_paths *l);

/* JSON, read whole into a tree. Strings are UTF-8, unescaped, '\0'-terminated and may hold '\0' inside (use length); a
   lone surrogate becomes U+FFFD. Errors name `where` and the line. The text must stay alive only during the call. */
typedef enum { LLM_JSON_NULL, LLM_JSON_BOOL, LLM_JSON_NUMBER, LLM_JSON_STRING, LLM_JSON_ARRAY,
               LLM_JSON_OBJECT } llm_json_type;
typedef struct llm_json {
    llm_json_type type;
    const char *key;                    /* in an object: this member's name */
    const char *string;                 /* string: the text; number: its digits as written */
    size_t length;                      /* bytes of string; number of children */
    double number;                      /* number; bool: 0 or 1 */
    struct llm_json *child, *next;      /* first child; next sibling */
    int line;                           /* where it began */
    struct llm_json_arena *arena;       /* root only: owns everything */
} llm_json;
llm_json *llm_json_parse(const char *text, size_t size, const char *where, int first_line);
llm_json *llm_json_file(const char *path);
void llm_json_free(llm_json *root);
const llm_json *llm_json_get(const llm_json *object, const char *key);  /* NULL when missing, or not an object */
double llm_json_number(const llm_json *object, const char *key, double otherwise);
const char *llm_json_text(const llm_json *object, const char *key, const char *otherwise);
bool llm_json_true(const llm_json *object, const char *key, bool otherwise);
void llm_write_json_string(llm_writer *w, const char *text, size_t length);     /* quoted and escaped */

/* ---- chapter 2: text to tokens -------------------------------------------------------------------------------- */

/* How text is cut before byte-pair merging: as GPT-2 does, or so with every digit apart. (tools/hf.h: other ways.) */
enum { LLM_SPLIT_GPT2 = 0, LLM_SPLIT_DIGITS = 2 };
/* Where a stretch of text stands: at the beginning, behind a token, behind a newline (SentencePiece asks). PLAIN: where
   a text for pretraining begins, which is nobody's message (tools/hf.h may find special tokens there). */
typedef enum { LLM_TEXT_BEGINS, LLM_TEXT_GOES_ON, LLM_TEXT_NEW_LINE, LLM_TEXT_PLAIN } llm_where;

struct llm_tokenizer; struct llm_text; struct llm_template;

typedef struct llm_tokenizer {
    int vocab_size;                     /* V: ids are 0 .. V-1, special tokens included */
    const char **token;                 /* [V] the bytes of each token; a special token: its spelling */
    int *length;                        /* [V] bytes of each token */
    bool *special;                      /* [V] added tokens: never produced from text, skipped when decoding */
    int merges;                         /* number of merges; rank = order */
    int split;                          /* how text is cut: part of the fingerprint */
    size_t (*cut)(const struct llm_text *text, size_t at);      /* where the piece that begins at `at` ends */
    size_t (*encode)(const struct llm_tokenizer *t, const char *text, size_t size, llm_where where, int *ids);
    size_t (*room)(const char *text, size_t size);      /* ids at most: one a byte, and one; tools/hf.h: more in NFC */
    const struct llm_template *chat;    /* how a conversation is written down (chapter 3), or NULL: nobody knows */
    int bos, eos, pad, opens;           /* ids, or -1. eos ends a document; pad fills; opens stands before a text */
    int im_start, im_end, reward;       /* ids of <|im_start|>, <|im_end|>, <|reward|>, or -1 */
    int stop[64], stops;                /* every id that ends an answer */
    uint64_t hash;                      /* fingerprint of the vocabulary and merges: refuses a mismatched checkpoint */
    struct llm_tokenizer_tables *tables;/* chapter 2's own: merge table, loaded files kept byte for byte */
} llm_tokenizer;

/* Learn a byte-level BPE vocabulary of at most vocab_size ids (256 bytes + merges + our special tokens <|endoftext|>,
   <|pad|>, <|im_start|>, <|im_end|>, <|reward|>) from text, with GPT-2's pre-tokenizer (digits: one token per digit, as
   Llama and SmolLM, so that sums can be learned). Sennrich et al. 2016; near-linear in the text. */
void llm_tokenizer_train(llm_tokenizer *t, const char *text, size_t size, int vocab_size, bool digits);
/* What llm_tokenizer_save wrote: Hugging Face's tokenizer.json and tokenizer_config.json. Those of other programs are
   read by tools/hf.h. */
void llm_tokenizer_load(llm_tokenizer *t, const char *dir_or_file);
void llm_tokenizer_save(const llm_tokenizer *t, const char *dir);      /* tokenizer.json, tokenizer_config.json */
void llm_tokenizer_free(llm_tokenizer *t);
/* Text to ids: how many. Special tokens are never made, whatever the text spells; bytes without a token are dropped.
   ids must have room for t->room(text, size). Thread-safe. */
size_t llm_encode(const llm_tokenizer *t, const char *text, size_t size, int *ids);
/* Ids to text: the bytes, '\0'-terminated, in fresh memory; special tokens are skipped, or spelled out. */
char *llm_decode(const llm_tokenizer *t, const int *ids, size_t count, bool spell_special, size_t *size);
int llm_token_id(const llm_tokenizer *t, const char *spelling);         /* the id of an added token, or -1 */

/* ---- chapter 3: tokens to batches ----------------------------------------------------------------------------- */

/* What every stage feeds to the network: host memory, (B,T) each. */
typedef struct llm_batch {
    int B, T;
    int *tokens;                        /* (B,T) input ids */
    int *targets;                       /* (B,T) the id to predict at each place; ignored where weight is 0 */
    int *positions;                     /* (B,T) position of each token in its document */
    int *start;                         /* (B,T) first place of the same row that the token may look at */
    llm_real *weight;                   /* (B,T) 1: a target that counts, 0: prompt, template or padding */
} llm_batch;
llm_batch llm_batch_new(int B, int T);
void llm_batch_free(llm_batch *b);
size_t llm_places(const llm_batch *b);                  /* B T: elements of its arrays */
double llm_batch_targets(const llm_batch *b);           /* sum of the weights: M of the loss */
/* order = a random permutation of 0 .. n-1, the same for the same seed and stream. */
void llm_shuffle(uint32_t *order, size_t n, uint64_t seed, uint64_t stream);

/* The documents of a file, each a stretch of `text`, or several: then the first says how large the whole is, and the
   others 0. read: those of a plain text file, separated by blank lines (document_gap) or all of it as one. add: one
   more, without the white space at its end; an empty one is left out. */
typedef struct { const char *text; size_t size, whole; } llm_document;
typedef struct { llm_document *document; size_t count, capacity; char *text; } llm_documents;
void llm_documents_read(llm_documents *l, const char *path, bool document_gap);
void llm_documents_add(llm_documents *l, const char *text, size_t size);
void llm_documents_free(llm_documents *l);

/* A pretraining source: tokenized documents, read in a new shuffled order every epoch. */
typedef struct {
    char *name;                         /* its path */
    double proportion;                  /* expected share of the tokens, sums to 1 over the sources */
    double chance;                      /* that the next document is from here */
    int *tokens; size_t count;          /* all training documents in a row, each opened by <|endoftext|> (bos) */
    const uint16_t *narrow;             /* or, in the place of tokens, ids of 16 bits */
    size_t *document; size_t documents; /* where each begins; document[documents] = count */
    size_t bytes;                       /* of text */
    uint64_t hash;                      /* of the tokens: a resumed run must read the same text */
    uint32_t *order;                    /* this epoch's shuffle */
    size_t cursor; int epoch;           /* next document of the order */
    size_t drawn;                       /* tokens handed out so far */
    size_t room, document_room;         /* allocated; 0: tokens, narrow and document are lent */
} llm_source;
typedef struct {
    llm_source *source; int sources;
    llm_source validation;              /* held-out documents of all sources, in order */
    bool document_mask;                 /* tokens see only their own document, positions restart */
    uint64_t seed; llm_rng rng;
    int current; size_t within;         /* the document being handed out: source, tokens of it already used */
    size_t current_document;
    int bos;
} llm_corpus;
/* What to read. paths: one source each. */
typedef struct {
    const char *const *paths; int count;
    const double *proportions;          /* [count] each source's share of the tokens; NULL: by size */
    bool by_document;                   /* each source's share of the documents instead */
    const char *const *val_paths; int val_count;        /* the held-out text; none: a part of paths: */
    double val_fraction;                /* of the documents, chosen by a hash of the text so that copies stay together
                                           (a single document is cut at its end) */
    bool document_gap;                  /* documents are separated by blank lines; else each file is one */
    /* Which files a path stands for, and what documents are in a file. NULL: the file itself; plain text, as
       llm_documents_read has it. tools/forms.h knows folders and records. */
    void (*find)(llm_paths *files, const char *path);
    void (*read)(llm_documents *l, const char *path, bool document_gap);
    /* A source, and what is added to the held-out text, from elsewhere (tools/tokens.h); false, or NULL: from files. */
    bool (*load)(const llm_tokenizer *t, const char *path, llm_source *s, llm_source *held, double fraction);
    bool document_mask;                 /* tokens see only their own document, positions restart */
    uint64_t seed;                      /* of the order of documents */
} llm_corpus_options;
/* Read, tokenize and shuffle. Invalid UTF-8 is kept. */
void llm_corpus_open(llm_corpus *c, const llm_tokenizer *t, llm_corpus_options o);
void llm_corpus_free(llm_corpus *c);
void llm_corpus_next(llm_corpus *c, llm_batch *b);      /* the next B*T tokens, packed by concatenation */
/* Fill b with validation window `index` (rows of consecutive tokens, the rest of the last window has weight 0); returns
   false past the end. */
bool llm_corpus_validation(const llm_corpus *c, size_t index, llm_batch *b);

/* Supervised and preference data in one normal form, whatever the file looks like. Roles: system (first or nowhere),
   user, assistant, tool; text: plain text. */
typedef struct {
    const char *role, *text; size_t length;
    const llm_json *json;               /* the message with what else is said of it (tool_calls ...), or NULL */
} llm_message;
/* An answer: the smaller its rank the better (equal: a tie), by this margin; label (KTO): 1 good, 0 bad, -1 none. */
typedef struct { const char *text; size_t length; double rank, margin; int label; } llm_response;
typedef struct {
    const char *form;                   /* what it was in the file: "messages", "ranked", "text"; or a foreign form */
    llm_message *message; int messages; /* the conversation; where there are responses: the prompt alone */
    llm_response *response; int responses;      /* answers to compare: chosen is [0], rejected [1]; or K ranked ones */
    bool raw;                           /* strings to be joined as they are, without a chat template */
    const char *answer;                 /* extra column "answer", for a reward that checks; or NULL */
    const llm_json *with;               /* what else a template is told: {"tools": [...], ...}; or NULL */
    const char *file; int line;         /* where it stands */
} llm_record;
typedef struct { llm_record *record; int count, skipped; size_t capacity; } llm_records;

/* A conversation as the model sees it. mask: 1 on the assistant's words and the token that closes them, 0 elsewhere. */
typedef struct {
    int *id; uint8_t *mask; int count;
    int prompt;                         /* ids before the last answer */
    bool shortened, cut;                /* by the limit: the prompt lost its beginning; the answer lost its end */
    size_t id_capacity, mask_capacity;
} llm_tokens;
/* How a conversation is written down, as strings: [x] is the special token x, placed by its id; * is the name of the
   role:    open WORDS close between open WORDS close ... after */
typedef struct llm_template {
    const char *name, *jinja;           /* jinja: the same for transformers and llama.cpp */
    const char *open, *close;           /* around what is said */
    const char *between, *after;        /* after: not where an answer is asked for */
    /* What strings cannot say (tools/hf_chat.h), or NULL: writes the conversation in llm_render's place. Returns NULL,
       or why the template refuses it. with: what else it is told, or NULL. */
    const char *(*render)(const llm_tokenizer *t, const llm_message *m, int n, bool add_generation_prompt,
                          const llm_json *with, llm_tokens *out);
} llm_template;
extern const llm_template llm_chatml;   /* ours; tools/hf.h runs those of others */
/* Write the messages down in the tokenizer's chat template. Markers are placed by id, so what a user types never
   becomes one. add_generation_prompt: end with the opening of an assistant turn. Dies where the template refuses. */
void llm_render(const llm_tokenizer *t, const llm_message *m, int n, bool add_generation_prompt, llm_tokens *out);
/* A record: which = LLM_WHOLE the conversation (all its assistant turns count; with responses: the best one),
   LLM_PROMPT what precedes the last answer, or i >= 0: prompt and response[i] (only that answer counts). At most
   `limit` ids (0: any): the oldest turns go first, then the left end of the longest prompt text; an answer loses its
   end only when it would fill more than 3/4 of the limit. */
enum { LLM_WHOLE = -1, LLM_PROMPT = -2 };
void llm_render_record(const llm_tokenizer *t, const llm_record *r, int which, int limit, llm_tokens *out);
void llm_tokens_free(llm_tokens *out);

/* Fine-tuning: rendered conversations, shuffled every epoch, several to a row (pack) or one. */
typedef struct {
    int *id; uint8_t *mask;             /* all conversations in a row */
    size_t *begin; int count;           /* where each begins; begin[count] is the end */
    int T; bool pack; uint64_t seed, hash;
    int pad;
    int *first, *next, rows;            /* this epoch: row r holds conversations first[r], next[first[r]] ... -1 */
    int cursor, epoch;                  /* next row */
    int shortened, cut, skipped;        /* prompts shortened, answers cut, records without an answer to learn */
} llm_sft;
void llm_sft_open(llm_sft *s, const llm_tokenizer *t, const llm_records *r, int T, bool pack, uint64_t seed);
void llm_sft_free(llm_sft *s);
/* Fill the `micros` batches of one step. Returns M, the targets of the whole step: the loss is a mean over the step,
   however it is cut into micro-batches. */
double llm_sft_next(llm_sft *s, llm_batch *b, int micros);
/* Rows index*B .. of this epoch, for validation; false past the end. */
bool llm_sft_window(const llm_sft *s, int index, llm_batch *b);

/* Prompt and answer as one run of ids: id[0 .. prompt-1], id[prompt .. count-1]. */
typedef struct { const int *id; int prompt, count; } llm_sequence;
/* Lay n sequences into b, one to a row, right-padded: weight 1 where an answer's id is the target. With b->T >= count
   the last id is an input too (a score is read there). Rows without a sequence are padding. */
void llm_batch_rows(llm_batch *b, const llm_sequence *s, int n, int pad);

/* ---- chapter 4: the operations -------------------------------------------------------------------------------- */

typedef enum { LLM_FP32, LLM_BF16X3, LLM_BF16, LLM_TF32 } llm_precision;       /* bf16x3: a CPU's, tf32: a GPU's */
typedef enum { LLM_TYPE_REAL, LLM_TYPE_BF16, LLM_TYPE_Q8, LLM_TYPE_Q4 } llm_type;
/* A matrix of parameters (or a linear's bias) as it lies on the device. q8, q4: blocks of 32 columns of a row share a
   scale (an f16). full: the same numbers as llm_real, where kept (a bias: always), or NULL. data NULL: none. */
typedef struct { const void *data; llm_type type; const uint16_t *scale; const llm_real *full; } llm_weight;

/* How the head looks at a token: log softmax(z / temperature) with banned ids at -infinity; and which rows of a batch
   have a gradient: row[0..rows-1], rising, or NULL: all of them. A table may skip the others, whose dlogp is 0. */
typedef struct {
    llm_real temperature;
    const uint8_t *banned;              /* (V) bytes on the device, or NULL */
    const int *row; size_t rows;        /* on the device; the model sets both in a copy */
} llm_head;

/* The ids of a batch on the device, each (N). own: (N + 1) ids_size bytes more for embed_backward; NULL: none comes */
typedef struct { int *tokens, *targets, *positions, *start; void *own; } llm_ids;
/* A part of wider rows, which are `ld` numbers apart: `cols` columns from `col` on. */
typedef struct { size_t ld, col, cols; } llm_slice;

/* Learning. The rule is the run's, the state goes on from step to step; it lies on the device, so that a step needs no
   answer from there. */
typedef struct {
    double lr, beta1, beta2, eps, weight_decay, clip, skip_sigma;
    bool moments16, ranks;              /* ranks: a team's step */
} llm_adamw_rule;
typedef struct llm_adamw_state {
    double sumsq;                       /* of all gradients: sum of squares; grad_norm writes it, adamw reads it */
    double norm, scale;                 /* its root, and what clipping multiplies the gradient with */
    double norm_mean, norm_var; int norm_count;         /* running mean and variance of the norm, of norm_count steps */
    int step, skipped;                  /* steps taken; steps left out as outliers */
    bool skip;                          /* this one moves nothing: an outlier, or a norm that is not finite */
} llm_adamw_state;

/* What one step does with its gradient, the same on the CPU and on a GPU (chapter 6, "AdamW", tells why): clip it, or
   leave the step out when its norm is not finite (the run then ends), or an outlier: more than skip_sigma deviations
   above the running mean of about the last 100 steps (the first 32 only teach). An outlier enters the mean cut to that
   limit, so that the mean follows where norms have risen for good. */
static inline LLM_BOTH void llm_adamw_judge(llm_adamw_state *s, const llm_adamw_rule *r) {
    s->norm = sqrt(s->sumsq);
    /* A sum of squares cut at other ranks' ranges differs in the last bits of a double; rounded to a float it does not
       (but once in 1e8 steps), and the weights are the same bits for any number of ranks. */
    if (r->ranks) s->norm = (float)s->norm;
    s->scale = r->clip > 0 && s->norm > r->clip ? r->clip / s->norm : 1;
    s->skip = !(s->norm < HUGE_VAL);
    if (s->skip) return;
    const double limit = s->norm_mean + r->skip_sigma * sqrt(s->norm_var);
    s->skip = r->skip_sigma > 0 && s->norm_count >= 32 && s->norm > limit;
    if (s->skip) s->skipped++;
    else s->step++;
    const double rate = fmax(0.01, 1.0 / (s->norm_count + 1)), d = (s->skip ? limit : s->norm) - s->norm_mean;
    s->norm_mean += rate * d;
    s->norm_var = (1 - rate) * (s->norm_var + rate * d * d);
    s->norm_count++;
}

struct llm_model; struct llm_cache; struct llm_param; struct llm_batch; struct llm_config; struct llm_sampler;
struct llm_speaker; struct llm_request;

/* The two-page specification of what a transformer needs. Chapter 4 defines every row as a plain loop (plain_<op>, the
   table llm_plain), and is the oracle of the others: llm_simd.h (simd_<op>) and llm_cuda.cuh (cuda_<op>) start from it
   and put faster bodies in its place. All pointers are device memory except where said; N = B*T rows. Rows run in the
   order of the calls and may return before they are done: only download and wait wait. */
typedef struct llm_ops {
    const char *name;                   /* "plain", "cpu", "cuda" */
    llm_precision precision;
    size_t act_size, res_size, dres_size, ids_size; /* bytes: activation, residual stream, its gradient; llm_ids.own */
    size_t head_rows;                   /* rows of logits that are in memory at a time */
    size_t speakers;                    /* rows that speak at once in llm_generate_batch */

    /* Memory. alloc returns zeroed memory or NULL. upload has read `host` when it returns; download waits for all that
       was asked before; fetch is a download that may be written as late as in the next wait. */
    void *(*alloc)(size_t bytes);
    void (*release)(void *memory);      /* of alloc, or of alloc_host */
    void (*upload)(void *device, const void *host, size_t bytes);
    void (*download)(void *host, const void *device, size_t bytes);
    void (*fetch)(void *host, const void *device, size_t bytes);
    void (*wait)(void);
    void (*load_ids)(llm_ids *ids, const struct llm_batch *b);          /* a batch's ids to the device */
    void (*store_weights)(void *bf16, const llm_real *w, size_t n);     /* the working copy of master weights */

    /* Embedding: out[n] = wte[tokens[n]] + wpe[positions[n]] (wpe NULL: rope). (N,C) */
    void (*embed_forward)(llm_res *out, llm_weight wte, const llm_real *wpe, const int *tokens, const int *positions,
                          size_t N, size_t C);
    /* dwte[tokens[n]] += dout[n]; the first writer of a tensor (accumulate false) sets every row. */
    void (*embed_backward)(llm_real *dwte, llm_real *dwpe, const llm_res *dout, const llm_ids *ids, size_t N, size_t C,
                           size_t V, size_t T, bool accumulate_wte, bool accumulate_wpe);

    /* Layer norm and RMS norm of each row: out (N,C) from the residual stream inp (N,C); mean, rstd (N) are saved.
       backward: dinp (=|+=), for the residual stream's gradient joins it there. bias, dbias may be NULL; dw NULL:
       frozen. */
    void (*layernorm_forward)(llm_act *out, llm_real *mean, llm_real *rstd, const llm_res *inp, const llm_real *w,
                              const llm_real *bias, llm_real eps, size_t N, size_t C);
    void (*layernorm_backward)(llm_res *dinp, llm_real *dw, llm_real *dbias, const llm_act *dout, const llm_res *inp,
                               const llm_real *w, const llm_real *mean, const llm_real *rstd, size_t N, size_t C,
                               bool accumulate_dinp, bool accumulate);
    void (*rmsnorm_forward)(llm_act *out, llm_real *rstd, const llm_res *inp, const llm_real *w, llm_real eps,
                            size_t N, size_t C);
    void (*rmsnorm_backward)(llm_res *dinp, llm_real *dw, const llm_act *dout, const llm_res *inp, const llm_real *w,
                             const llm_real *rstd, size_t N, size_t C, bool accumulate_dinp, bool accumulate);

    /* Linear: out (N,O) = inp (N,I) w' + bias, w (O,I). backward: dinp = dout w, dw (=|+=) dout' inp, dbias (=|+=)
       column sums of dout. dinp NULL: not needed; dw, dbias NULL: frozen. bias.data NULL: none. */
    void (*linear_forward)(llm_act *out, const llm_act *inp, llm_weight w, llm_weight bias, size_t N, size_t in,
                           size_t out_n);
    void (*linear_backward)(llm_act *dinp, llm_real *dw, llm_real *dbias, const llm_act *dout, const llm_act *inp,
                            llm_weight w, size_t N, size_t in, size_t out_n, bool accumulate);
    /* The same into the residual stream: out (N,O) = res + inp w' + bias; its dout is the residual stream's. */
    void (*residual_forward)(llm_res *out, const llm_res *res, const llm_act *inp, llm_weight w, llm_weight bias,
                             size_t N, size_t in, size_t out_n);
    void (*residual_backward)(llm_act *dinp, llm_real *dw, llm_real *dbias, const llm_res *dout, const llm_act *inp,
                              llm_weight w, size_t N, size_t in, size_t out_n, bool accumulate);
    /* LoRA on a slice of a linear's output: out += u B', u (N,r) = scale inp A' is saved; A (r,I), B (cols,r). `out` is
       activations, or the residual stream when to_residual. backward: du (N,r) = scale dout B is scratch; dinp += du A,
       dA (=|+=) du' inp, dB (=|+=) dout' u; each of the three may be NULL. */
    void (*lora_forward)(void *out, llm_act *u, const llm_act *inp, const llm_real *A, const llm_real *B,
                         llm_real scale, size_t N, size_t in, size_t r, llm_slice s, bool to_residual);
    void (*lora_backward)(llm_act *dinp, llm_real *dA, llm_real *dB, llm_act *du, const void *dout, const llm_act *u,
                          const llm_act *inp, const llm_real *A, const llm_real *B, llm_real scale, size_t N,
                          size_t in, size_t r, llm_slice s, bool from_residual, bool accumulate);

    /* Rotary positions on q and k inside qkv (N, (H+2KV)*D), in place: pair (j, j+D/2) turns by positions[n]*freq[j],
       times `scale`; backward turns back. */
    void (*rope_forward)(llm_act *qkv, const llm_real *freq, llm_real scale, const int *positions, size_t N, size_t H,
                         size_t KV, size_t D);
    void (*rope_backward)(llm_act *dqkv, const llm_real *freq, llm_real scale, const int *positions, size_t N, size_t H,
                          size_t KV, size_t D);
    /* RMS norms of q, or k, inside qkv, in place: each `width` of the slice's columns are a row, w (width). Saved are
       the numbers before, raw (N,cols), and rstd (N, cols/width). */
    void (*qk_norm_forward)(llm_act *qkv, llm_act *raw, llm_real *rstd, const llm_real *w, llm_real eps, size_t N,
                            llm_slice s, size_t width);
    void (*qk_norm_backward)(llm_act *dqkv, llm_real *dw, const llm_act *raw, const llm_real *rstd, const llm_real *w,
                             size_t N, llm_slice s, size_t width, bool accumulate);
    /* A norm behind a branch: out = res + rmsnorm(y), (N,C); dout is the residual stream's. And what such a branch
       reads, the stream itself: out = inp, n numbers; backward: dinp += dout. */
    void (*post_norm_forward)(llm_res *out, llm_real *rstd, const llm_res *res, const llm_act *y, const llm_real *w,
                              llm_real eps, size_t N, size_t C);
    void (*post_norm_backward)(llm_act *dy, llm_real *dw, const llm_res *dout, const llm_act *y, const llm_real *w,
                               const llm_real *rstd, size_t N, size_t C, bool accumulate);
    void (*stream_forward)(llm_act *out, const llm_res *inp, size_t n);
    void (*stream_backward)(llm_res *dinp, const llm_act *dout, size_t n);
    /* Causal attention inside each row of the batch: out (N,H*D), lse (N,H) log-sum-exp of the scaled scores. Token t
       of a row sees start[t] .. t. Query head h uses key/value head h/(H/KV). */
    void (*attention_forward)(llm_act *out, llm_real *lse, const llm_act *qkv, const int *start, size_t B, size_t T,
                              size_t H, size_t KV, size_t D);
    void (*attention_backward)(llm_act *dqkv, const llm_act *dout, const llm_act *out, const llm_real *lse,
                               const llm_act *qkv, const int *start, size_t B, size_t T, size_t H, size_t KV,
                               size_t D);
    /* gelu (tanh form) of n numbers; swiglu: out (N,F) = silu(gate) * up, gateup (N,2F) = gate | up. */
    void (*gelu_forward)(llm_act *out, const llm_act *inp, size_t n);
    void (*gelu_backward)(llm_act *dinp, const llm_act *dout, const llm_act *inp, size_t n);
    void (*swiglu_forward)(llm_act *out, const llm_act *gateup, size_t N, size_t F);
    void (*swiglu_backward)(llm_act *dgateup, const llm_act *dout, const llm_act *gateup, size_t N, size_t F);

    /* The head. logp[n] = log softmax(hidden[n] w' / temperature)[targets[n]]; lse and entropy (N) are saved; entropy
       may be NULL. Logits are made head_rows rows at a time and never held at once. backward: dhidden = dlogits w, dw
       (=|+=) dlogits' hidden with dlogits = (dlogp (onehot - p) - dentropy p (log p + entropy)) / temperature. */
    void (*logprob_forward)(llm_real *logp, llm_real *lse, llm_real *entropy, const llm_act *hidden, llm_weight w,
                            const int *targets, llm_head head, size_t N, size_t C, size_t V);
    void (*logprob_backward)(llm_act *dhidden, llm_real *dw, const llm_real *dlogp, const llm_real *dentropy,
                             const llm_real *lse, const llm_real *entropy, const llm_act *hidden, llm_weight w,
                             const int *targets, llm_head head, size_t N, size_t C, size_t V, bool accumulate);
    /* out (n,V): the logits of hidden[row[0]], hidden[row[1]] ...; row NULL: of the first n. */
    void (*logits)(llm_real *out, const llm_act *hidden, llm_weight w, const int *row, size_t n, size_t C, size_t V);
    /* A number per token: value[n] = hidden[n] . u. backward: dhidden (=|+=) dvalue u, du (=|+=) dvalue hidden. */
    void (*value_forward)(llm_real *value, const llm_act *hidden, const llm_real *u, size_t N, size_t C);
    void (*value_backward)(llm_act *dhidden, llm_real *du, const llm_real *dvalue, const llm_act *hidden,
                           const llm_real *u, size_t N, size_t C, bool accumulate_dhidden, bool accumulate_du);

    /* Learning, two calls a step over the whole tensor table; nothing comes back. grad_norm: state->sumsq of all
       gradients that were written, in a fixed order. adamw: llm_adamw_judge, then one pass over their parameters, bf16
       copies too; m, v: moments at the offsets of the parameters, llm_real, or bf16 when rule.moments16. */
    void (*grad_norm)(llm_adamw_state *state, const struct llm_param *param, int params);
    void (*adamw)(const struct llm_param *param, int params, void *m, void *v, llm_adamw_rule rule,
                  llm_adamw_state *state);

    /* Speaking. n new tokens, each at its own row and position of one layer's cache: their keys and values are put
       away, then every query looks at positions 0 .. its own: out (n,H*D). k, v: rows of T tokens (a multiple of 64) of
       KV heads of D numbers, in an order of the table's own. copy: row `to` becomes a copy of the first `length` tokens
       of row `from`. */
    void (*cache_attention)(llm_act *out, llm_act *k, llm_act *v, const llm_act *qkv, const int *rows,
                            const int *positions, size_t n, size_t T, size_t H, size_t KV, size_t D);
    void (*cache_copy)(llm_act *k, llm_act *v, size_t to, size_t from, size_t length, size_t T, size_t KV, size_t D);

    /* Optional rows, NULL in llm_plain: they only make a machine faster, and one line of the model says what is used in
       their place.
         enter                   make this table the one whose bodies run; else nothing is to be done
         logprob_fused           else logprob_forward, then logprob_backward. Rows without a gradient: logp of no worth
         linear_gelu_forward     out as linear_forward, activated = gelu(out); else linear_forward, gelu_forward
         residual_gelu_backward  dpre = gelu'(pre) dinp; else residual_backward, gelu_backward
         decode                  the whole of llm_cache_step, host arrays; returns false for "not this one"
         speak                   the next `steps` ids of n speakers without the host: decode, llm_sample,
                                 llm_speaker_said; x: what is asked. id, logp [step * n + i], -1 behind the end of an
                                 answer, and who are written as late as in the next wait. Logits that are no numbers:
                                 logp NaN. Returns false for "not this one"; else decode and llm_sample
         alloc_host              alloc in the host's memory, for moments that are offloaded; else that is refused
         scratch_bytes           what the table itself allocates for a step of B x T, for the planner; else 0 */
    void (*enter)(const struct llm_ops *ops);
    void (*logprob_fused)(llm_real *logp, llm_act *dhidden, llm_real *dw, const llm_real *dlogp, const llm_act *hidden,
                          llm_weight w, const int *targets, llm_head head, size_t N, size_t C, size_t V,
                          bool accumulate);
    void (*linear_gelu_forward)(llm_act *out, llm_act *activated, const llm_act *inp, llm_weight w, llm_weight bias,
                                size_t N, size_t in, size_t out_n);
    void (*residual_gelu_backward)(llm_act *dpre, llm_real *dw, llm_real *dbias, const llm_res *dout,
                                   const llm_act *inp, const llm_act *pre, llm_weight w, size_t N, size_t in,
                                   size_t out_n, bool accumulate);
    bool (*decode)(struct llm_model *m, struct llm_cache *cache, const int *tokens, const int *rows,
                   const int *positions, const bool *want, size_t n, llm_real *logits);
    bool (*speak)(struct llm_model *m, struct llm_cache *cache, struct llm_speaker *who, size_t n, size_t steps,
                  const struct llm_sampler *s, const struct llm_request *x, int *id, llm_real *logp);
    void *(*alloc_host)(size_t bytes);
    size_t (*scratch_bytes)(const struct llm_config *c, size_t B, size_t T, bool train);
} llm_ops;

extern const llm_ops llm_plain;         /* the textbook: fp32 (or double), and the oracle of every other table */
const llm_ops *llm_cpu(llm_precision p);        /* the fastest table of this CPU; without llm_simd.h llm_plain, fp32 */
const llm_ops *llm_cuda(llm_precision p);       /* an NVIDIA GPU's: link llm_cuda.cuh, compiled by nvcc */
int llm_cuda_devices(char *text, size_t size);  /* GPUs that answer; text: their first, or why there is none */
size_t llm_cuda_memory(void);                   /* bytes that were free there before llm_cuda */
void llm_ops_check(const llm_ops *ops);                 /* a NULL row, but an optional one, ends the program */
int llm_threads(int count);                             /* set (0: leave) and get the number of threads */
const char *llm_product_name(const llm_ops *ops);       /* what multiplies there, for messages: "AMX", "vectors" ... */
const char *llm_precision_name(llm_precision p);        /* "fp32", "bf16x3", "bf16", "tf32" */
llm_precision llm_precision_best(void); /* fastest whose losses equal fp32's: bf16x3 with AMX, fp32 elsewhere */

/* ---- chapter 5: the model ------------------------------------------------------------------------------------- */

typedef enum { LLM_LAYERNORM, LLM_RMSNORM } llm_norm;
typedef enum { LLM_LEARNED, LLM_ROPE } llm_position;
typedef enum { LLM_GELU, LLM_SWIGLU } llm_activation;
typedef enum { LLM_GPT2, LLM_LLAMA, LLM_QWEN2, LLM_MISTRAL, LLM_QWEN3, LLM_SMOLLM3, LLM_OLMO2, LLM_PHI3 } llm_family;
typedef enum { LLM_QK_PLAIN, LLM_QK_HEADS, LLM_QK_ALL } llm_qk_norm;
typedef enum { LLM_ROPE_PLAIN, LLM_ROPE_LLAMA3, LLM_ROPE_LINEAR, LLM_ROPE_DYNAMIC, LLM_ROPE_YARN } llm_rope_scaling;
typedef struct llm_config {
    int V, T, L, C, H, KV, D, F;        /* T: longest context */
    llm_family family;                  /* whose names its tensors have, and config.json */
    llm_norm norm; llm_position position; llm_activation activation;
    bool bias;                          /* on every linear and norm, as in GPT-2 */
    bool qkv_bias, proj_bias, mlp_bias; /* on q, k, v alone, as in Qwen2; on attention's output; on gate, up, down */
    llm_qk_norm qk_norm;                /* a norm on q and k: of each head (Qwen3), of all together (OLMo-2) */
    bool post_norm;                     /* the norms stand behind attention and feed-forward, not before (OLMo-2) */
    int no_rope_every;                  /* layers l with (l + 1) % it == 0 have no rope (SmolLM3); 0: all have */
    bool tied;                          /* the head is the embedding */
    bool score;                         /* a scalar head on the last hidden state: reward model, critic */
    double eps;                         /* of the norms */
    double rope_theta;
    llm_rope_scaling rope_scaling;      /* how it reaches beyond rope_original tokens, and with which numbers */
    double rope_factor, rope_low, rope_high, rope_length; int rope_original; bool rope_truncate;
    int bos, eos, pad;                  /* ids as config.json tells them, or -1 */
} llm_config;

/* A model by name: gpt2-124m .. gpt2-1.5b, gpt3-small .. gpt3-175b, llama-7b .. llama-65b, llama2-7b .. llama2-70b,
   smollm2-135m, tinyllama-1.1b, llama3.2-1b, qwen2-0.5b, mistral-7b, qwen3-0.6b, smollm3-3b, olmo2-1b, phi3-mini, nano,
   tiny, small, med, big. Ends the program with the list of names if unknown. */
llm_config llm_preset(const char *name);
const char *llm_preset_name(int index);                 /* of all, one after the other; behind the last NULL */
void llm_config_check(const llm_config *c, const char *where);  /* impossible sizes and mixtures end the program */
size_t llm_parameters(const llm_config *c);             /* exact count, tied once */
struct llm_model;
llm_config llm_config_whole(const struct llm_model *m); /* m's, with all heads and columns */

struct llm_adapter; struct llm_lora; struct llm_range; struct llm_shares;

/* How ranks that share a layer cut a tensor: not at all, or rows or columns of each of its groups (c_attn: q, k, v). */
typedef enum { LLM_UNCUT, LLM_CUT_ROWS, LLM_CUT_COLS } llm_cut;
/* A row of the tensor table: everything that is per parameter walks these rows. */
typedef struct llm_param {
    char name[96];                      /* as Hugging Face spells it */
    size_t rows, cols;                  /* (outputs, inputs); vectors: rows = 1 */
    bool vector;                        /* one-dimensional: no weight decay */
    bool transposed;                    /* GPT-2's Conv1D: (inputs, outputs) on disk */
    double init;                        /* standard deviation; a vector: the constant */
    size_t offset, size;                /* in the arenas */
    llm_real *data, *grad;              /* device; grad NULL: frozen or not allocated; data NULL: quantised */
    llm_weight w;                       /* what the operations read: data, a bf16 copy, or quantised */
    bool used;                          /* has its gradient been written in this step? */
    llm_cut cut; int groups, parts;     /* where ranks share a layer: this row is one of `parts` parts of the tensor */
    bool summed;                        /* and with a team: is it among the sums? (chapter 10) */
    const struct llm_range *range;      /* a team splits it: this rank has what lies in there, at `own`; else NULL */
    void *own;
    struct llm_adapter *adapter;        /* LoRA that hangs on this matrix, or NULL */
} llm_param;
/* A norm or a linear: its rows of the table, bias NULL where it has none. pieces: as many rows, one behind the other,
   are one matrix to the operations: 3 for q|k|v, 2 for gate|up of a Llama, else 1. */
typedef struct { llm_param *w, *bias; int pieces; } llm_part;
typedef struct { llm_part norm1, qkv, qk_norm[2], proj, norm2, up, down; } llm_layer;
/* What a norm keeps for its backward pass: (N); and its input, where that is an activation. */
typedef struct { llm_real *mean, *rstd; llm_act *inp; } llm_stats;
/* What each layer keeps for its backward pass: all that is read there; all but what is quickly made again (xn1, xn2,
   ff); or its input alone, and backward runs the block again. What is not kept, all layers share. */
typedef enum { LLM_KEEP_MOST, LLM_KEEP_INPUTS, LLM_KEEP_ALL } llm_keep;
typedef struct {
    llm_res *res;                       /* (N,C) residual stream entering the layer */
    llm_res *mid;                       /* (N,C) after attention */
    llm_act *qkv;                       /* (N,(H+2KV)*D), q and k already rotated */
    llm_act *att;                       /* (N,H*D) attention's output */
    llm_act *pre;                       /* (N,F) before gelu; (N,2F) gate | up */
    llm_act *xn1, *xn2, *ff;            /* (N,C) after norm1, norm2; (N,F) after the activation */
    llm_stats stats1, stats2, qk[2];    /* of norm1, norm2; of those on q and k */
    llm_real *lse;                      /* (N,H) */
} llm_acts;
typedef struct llm_model {
    llm_config c;
    int parts;                          /* ranks that share its layers: c has 1/parts of the heads and of F */
    const llm_ops *ops;
    llm_param *param; int params;       /* the tensor table */
    llm_layer *layer;                   /* [L] */
    llm_param *wte, *wpe, *head, *score;
    llm_part normf;                     /* the last norm */
    llm_real *data, *grad; void *work;  /* arenas: master weights, gradients, bf16 copy (or NULL) */
    size_t size;                        /* elements of an arena */
    llm_type weights;                   /* how matrices are stored: LLM_TYPE_REAL, or, to be read only, in fewer ... */
    void *packed; size_t packed_bytes;  /* ... bits, in an arena of their own; `data` then holds the vectors alone */
    bool frozen;                        /* no gradients at all: reference or inference */
    llm_keep keep;                      /* set before a forward pass, for the backward pass that follows */
    /* activations, for the N = B*T tokens of the last pass */
    llm_acts *acts;                     /* [L] */
    llm_res *resf;                      /* (N,C) residual stream after the last layer */
    llm_stats statsf;                   /* of the last norm */
    llm_act *hidden;                    /* (N,C) after the last norm */
    llm_act *ff, *dxn, *dff, *dpre, *dqkv, *datt, *dhidden;     /* scratch of one layer */
    llm_res *dres;                      /* (N,C) gradient of the residual stream */
    llm_real *logp, *lse, *entropy, *value, *dlogp, *dentropy, *dvalue;  /* (N) */
    llm_ids ids;                        /* (N) each */
    int *rows;                          /* (N) which matter: llm_head.row; of llm_cache_step those wanted */
    llm_real *freq; int freq_length;    /* (D/2) rope frequencies; dynamic rope: for texts of this length */
    void *pool; size_t pool_bytes;      /* the one allocation behind the activations */
    llm_head head_options;              /* of llm_forward and llm_backward: temperature, banned are yours to set */
    struct llm_lora *lora;              /* adapters, or NULL */
    bool lora_off;                      /* switched off: the reference policy */
    struct llm_shares *shares;          /* what a rank of a team holds of it (chapter 10), or NULL: alone */
} llm_model;

void llm_model_init(llm_model *m, const llm_config *c, const llm_ops *ops, uint64_t seed);      /* random weights */
/* A folder that llm_model_save or a stage wrote. (tools/hf.h, hf_model_load: adapters, and other folders.) */
void llm_model_load(llm_model *m, const char *dir, const llm_ops *ops);
/* The same with weights for reading only: the matrices of the blocks, the embedding and the head as LLM_TYPE_BF16, _Q8
   or _Q4, tensor by tensor, so that the whole is never held in 32 bits; norms, biases and learned positions stay. Such
   a model computes and speaks, and adapters learn on it (QLoRA, Dettmers et al. 2023); it cannot be trained itself, and
   is not saved as a folder. llm_quantise does it to a model in memory (LLM_TYPE_REAL: back to what the rounding left,
   on which everything works again) and returns the bytes of weights before minus after. */
void llm_model_load_as(llm_model *m, const char *dir, const llm_ops *ops, llm_type weights);
double llm_quantise(llm_model *m, llm_type weights);
double llm_weight_bytes(const llm_model *m);            /* what the weights take as they lie there */
/* config.json, model.safetensors, generation_config.json. (Adapters: llm_lora_merge before, or hf_lora_save.) */
void llm_model_save(const llm_model *m, const char *dir);
void llm_model_copy(llm_model *m, const llm_model *from, bool frozen);          /* reference policy, critic */
void llm_model_copy_weights(llm_model *m, const llm_model *from);       /* every tensor that both have, by name */
void llm_weights_changed(llm_model *m);                 /* after writing into `data`: other copies follow */
void llm_model_free(llm_model *m);
void llm_model_train(llm_model *m);                     /* allocate gradients (idempotent) */
void llm_model_add_score(llm_model *m, uint64_t seed);  /* attach a scalar head, N(0, 1/(C+1)) */
llm_param *llm_param_find(llm_model *m, const char *name);     /* NULL when there is none */

/* The whole pipeline rests on these three calls. logp, entropy, value and their gradients are host arrays (B,T); NULL:
   not wanted. llm_backward goes on from the llm_forward of the same batch just before. llm_forward_backward fuses both
   for stages that know dlogp beforehand (pretraining, SFT): dlogp = -weight/M. Targets with dlogp 0 are left out of its
   head (they cost nothing): their logp means nothing. The others' are there once llm_wait or llm_adamw_step has
   returned: a GPU is still at work when the call returns. All run a batch of any B, T with T <= c.T and ids < V
   (checked). Gradients accumulate until llm_adamw_step. */
void llm_forward(llm_model *m, const llm_batch *b, llm_real *logp, llm_real *entropy, llm_real *value);
void llm_backward(llm_model *m, const llm_batch *b, const llm_real *dlogp, const llm_real *dentropy,
                  const llm_real *dvalue);
void llm_forward_backward(llm_model *m, const llm_batch *b, const llm_real *dlogp, llm_real *logp);
void llm_wait(const llm_model *m);      /* until all that was asked of the model's device is done */

/* ---- chapter 6: learning -------------------------------------------------------------------------------------- */

typedef struct {
    double beta1, beta2, eps, weight_decay, clip;       /* clip: global gradient norm; 0: off */
    double skip_sigma; /* skip a step whose gradient norm is this many deviations above its running mean; 0: off */
    bool moments16, offload;            /* moments stored as bf16; in the host's memory, not the GPU's (alloc_host) */
    llm_adamw_state state;              /* as of the last step */
    void *m, *v;                        /* device arenas with the offsets of the parameters, but ... */
    size_t first;                       /* ... of a team: from this number on */
    llm_adamw_state *device;            /* the state, on the device */
} llm_adamw;
llm_adamw llm_adamw_defaults(void);     /* beta .9, .95, eps 1e-8, decay .1, clip 1 */
void llm_adamw_free(llm_adamw *o, llm_model *m);
/* One step over all tensors whose gradient was written since the last one; returns the gradient norm before clipping. A
   norm that is not finite ends the program: the last checkpoint is still good. */
double llm_adamw_step(llm_adamw *o, llm_model *m, double lr);

typedef enum { LLM_COSINE, LLM_LINEAR, LLM_CONSTANT, LLM_WSD } llm_decay;
/* final: fraction of lr at the end; cooldown: length of WSD's decay */
typedef struct { llm_decay decay; double lr, final; int warmup, steps, cooldown; } llm_schedule;
double llm_schedule_lr(const llm_schedule *s, int step);       /* step counts from 0 */

/* ---- chapter 7: speaking -------------------------------------------------------------------------------------- */

/* How the next token is drawn. Greedy: all 0 but top_p 1 and repeat_penalty 1. */
typedef struct llm_sampler {
    double temperature;                 /* 0: greedy; 1: as the model says; above: bolder */
    int top_k;                          /* only the k likeliest; 0: all */
    double top_p;                       /* only the likeliest that together reach p; 1: all */
    double min_p;                       /* only those with this share of the likeliest's probability; 0: all */
    double repeat_penalty;              /* above 1: less of what this answer said; 1: off */
    uint64_t seed;
} llm_sampler;
llm_sampler llm_sampler_defaults(void); /* temperature 0.8, top_k 0, top_p 1, min_p 0, penalty 1, seed 1 */
/* Filter a row of logits z (V) and make it probabilities, in place (0: filtered out). Returns how many are left. said
   [count]: the ids that the repetition penalty is about; banned (V): 1 is never drawn; NULL: all may be. */
int llm_sample_filter(llm_real *z, size_t V, const llm_sampler *s, const int *said, size_t count,
                      const uint8_t *banned);
int llm_sample(llm_real *z, size_t V, const llm_sampler *s, llm_rng *rng, const int *said, size_t count,
               const uint8_t *banned);  /* the same, then draw one */

/* Keys and values of past tokens: rows sequences of up to T tokens. */
typedef struct llm_cache {
    size_t rows, T;
    void *memory;                       /* the one allocation behind them all */
    llm_act **k, **v;                   /* [L] keys, values of a layer: (rows,T,KV,D) in the table's own order */
    void *scratch; size_t scratch_bytes;/* of a step: the logits */
} llm_cache;
llm_cache llm_cache_new(const llm_model *m, size_t rows, size_t T);
void llm_cache_free(llm_cache *c, const llm_model *m);
/* Run n new tokens through the model, each at its own row and position of the cache, and write the logits (wanted,V) of
   those marked in want[n], in order. A prompt is n tokens of one row; a batch that speaks, n rows with one token each.
   All arrays are the host's. The model's activations are overwritten: not to be called between llm_forward and
   llm_backward. copy: row `to` becomes a copy of the first `length` tokens of row `from`. */
void llm_cache_step(llm_model *m, llm_cache *cache, const int *tokens, const int *rows, const int *positions,
                    const bool *want, size_t n, llm_real *logits);
/* Its two halves, for a device that says several tokens by itself (`speak`): room for n tokens, in m->ids, and for the
   logits of the wanted ones (all, or those at m->rows) in cache->scratch; then the step over what lies in m->ids. */
void llm_cache_reserve(llm_model *m, llm_cache *cache, size_t n, size_t wanted);
void llm_cache_forward(llm_model *m, llm_cache *cache, size_t n, size_t wanted);
void llm_cache_copy(llm_model *m, llm_cache *cache, size_t to, size_t from, size_t length);

/* Prompts to be continued, and where the answers go. Each draws from its own stream: an answer does not depend on its
   neighbours. */
typedef struct llm_request {
    const int *const *prompt;           /* prompt[i]: length[i] ids */
    const int *length; int prompts;
    int first;                          /* prompt i draws from stream first + i */
    int max_new;                        /* most ids of an answer; the model's context may end it before */
    const int *stop; int stops;         /* the ids that end an answer; none: max_new does */
    const uint8_t *banned;              /* (V) host: 1 is never said; NULL: nothing forbidden */
    int **out, *out_length;             /* answer i: out[i] (room for max_new), without the stop id; its length */
    bool *stopped;                      /* ended by a stop id; NULL: not wanted */
    llm_real *logp;                     /* of each id as it was drawn, the stop id too: [i * max_new + t]; or NULL */
    void (*over)(int answers, int all); /* told again and again how many are; NULL: nobody */
} llm_request;
void llm_generate_batch(llm_model *m, const llm_sampler *s, llm_request x);

/* What a row of the cache is doing while a batch speaks. */
typedef struct llm_speaker {
    int prompt;                         /* the one that it answers, of the request */
    int row;                            /* of the cache */
    int last, position;                 /* the id that it said last; its place in the cache, where it is not yet */
    int left;                           /* ids that it may still say; 0: its answer is over */
    llm_rng rng;                        /* its own stream */
} llm_speaker;
/* It says id, and ends_answer: a stop id. */
static inline LLM_BOTH void llm_speaker_said(llm_speaker *who, int id, bool ends_answer) {
    who->last = id;
    who->position++;
    who->left = ends_answer ? 0 : who->left - 1;
}

bool llm_is_stop(int id, const int *stop, int stops);
/* A prompt as the base model knows texts: opened by the token that opens documents. Release the ids. */
int *llm_prompt_ids(const llm_tokenizer *t, const char *text, int *length);
/* Continue one text; the answer in fresh memory. */
char *llm_generate(llm_model *m, const llm_tokenizer *t, const char *prompt, int max_new, llm_sampler s);

/* ---- chapter 8: LoRA ------------------------------------------------------------------------------------------ */

/* An adapter adds scale (x A') B' to what the matrix of one row of the tensor table computes from x. */
typedef struct llm_adapter {
    llm_param *on, *A, *B;              /* the row (O,I) of the table that it hangs on; A (r,I), B (O,r) */
    llm_act *u;                         /* (N,r) scale x A', kept for the backward pass */
} llm_adapter;
typedef struct llm_lora {
    int rank; double alpha, scale;      /* scale = alpha / rank */
    char *base;                         /* folder of the base model as adapter_config.json names it, or NULL */
    llm_adapter *adapter; int adapters;
    llm_param *param; int params;       /* the A and B of all adapters: a tensor table of their own ... */
    llm_real *data, *grad; size_t size; /* ... with its own arenas */
    struct llm_shares *shares;          /* as the model's */
    llm_act *du;                        /* (N,r) scratch of the backward pass */
} llm_lora;

/* Freeze a model and hang adapters on the matrices of `targets`: names of Hugging Face modules, "q_proj,v_proj",
   "c_attn,mlp.c_proj"; "all": every matrix of the blocks; NULL: PEFT's own choice (q_proj,v_proj; c_attn, qkv_proj).
   A is drawn, B is 0: the model still computes what it did. From then on only the adapters have gradients
   (llm_model_train) and moments. base: the folder that the model came from, or NULL. m->lora_off: compute without
   them. (tools/hf.h saves and loads a folder of adapters.) */
void llm_lora_attach(llm_model *m, int rank, double alpha, const char *targets, const char *base, uint64_t seed);
/* W += scale B A, and the adapters are gone. A quantised base is first widened: the result is what was trained. */
void llm_lora_merge(llm_model *m);
void llm_lora_free(llm_model *m);                       /* take them off, as if they had never been there */
size_t llm_lora_parameters(const llm_config *c, int rank, const char *targets);     /* how many would learn */
/* Names of the modules that have an adapter (false: that could have one), each once: q_proj<separator>k_proj... */
char *llm_lora_modules(const llm_model *m, bool adapted, const char *separator);

/* ---- chapter 9: losses --------------------------------------------------------------------------------------- */

/* A loss returns its value and writes its gradient; `stats` (NULL: not wanted) are added to, so zero them once a step.
   Denominators (M: targets, total: rows, pairs, prompts) count the whole optimizer step, all micro-batches and ranks:
   the parts add up to the same loss however the step is cut. By token: llm_real (B,T); where b->weight is 0 nothing is
   read and 0 is written. By row (one sequence): double [B]. A row holds one sequence, and weight marks its response
   tokens, end of turn included. */

/* From tokens to rows and back: sum[b] = sum over t of weight x, count[b] = sum of weight (NULL: not wanted), and
   dx = weight dsum. x = logp gives the log-probability of a response; x = value with weight 1 at the <|reward|> token
   only gives its score. */
void llm_row_sums(double *sum, double *count, const llm_real *x, const llm_batch *b);
void llm_row_spread(llm_real *dx, const double *dsum, const llm_batch *b);

/* Masked cross entropy, the loss of pretraining and SFT: L = -(1/M) sum m logp, dlogp = -m/M. */
void llm_loss_ce_weights(llm_real *dlogp, const llm_batch *b, double M);
double llm_loss_ce(const llm_real *logp, const llm_batch *b, double M);

/* Reward model, on scores r of whole responses. pair: r[2i] was preferred to r[2i+1], by margin[i] (NULL: 0); centre
   pulls the scores towards 0. kwise, plackett_luce: the K responses of ONE prompt, rank 0 best, equal ranks tie;
   total: prompts of the step. */
typedef struct { double pairs, right, margin, chosen, rejected; } llm_pair_stats;      /* sums over the pairs seen */
double llm_loss_pair(double *dr, const double *r, const double *margin, int pairs, double centre, double total,
                     llm_pair_stats *stats);
double llm_loss_kwise(double *dr, const double *r, const int *rank, int K, double total, llm_pair_stats *stats);
double llm_loss_plackett_luce(double *dr, const double *r, const int *rank, int K, double total);
int llm_best_of(const double *score, int n);            /* rejection sampling keeps this one; the first of equals */
double llm_best_of_kl(int n);                           /* how far best-of-n is from the policy, at most, in nats */

/* PPO, in the order of a step. rewards: the KL penalty on every response token, the score on the last; returns the
   mean KL of a row. gae: advantages and the returns the critic learns. whiten: over the WHOLE rollout, before it is
   cut into minibatches. */
double llm_ppo_rewards(llm_real *reward, const llm_real *old, const llm_real *ref, const double *score,
                       const llm_batch *b, double beta);
void llm_gae(llm_real *advantage, llm_real *ret, const llm_real *reward, const llm_real *value, const llm_batch *b,
             double gamma, double lambda);
void llm_whiten(llm_real *x, const llm_batch *b, bool shift);  /* deviation 1; shift: mean 0 too (not for rewards) */
typedef struct { double tokens, clipped, kl, largest; } llm_policy_stats;  /* sums; kl: old to new; max |logp - old| */
double llm_loss_ppo(llm_real *dlogp, const llm_real *logp, const llm_real *old, const llm_real *advantage,
                    const llm_batch *b, double M, double clip, llm_policy_stats *stats);
double llm_loss_value(llm_real *dvalue, const llm_real *value, const llm_real *old, const llm_real *ret,
                      const llm_batch *b, double M, double coefficient, double clip);  /* clip 0: off */
double llm_loss_entropy(llm_real *dentropy, const llm_real *entropy, const llm_batch *b, double M, double coefficient);
double llm_kl(int k, double d, double *slope);          /* estimators k1, k2, k3 with d = logp - ref; slope by logp */
typedef struct { double beta, target, horizon; } llm_kl_control;
void llm_kl_adapt(llm_kl_control *c, double kl, double rows);   /* steer beta until a row's mean KL is the target */

/* GRPO. advantages: rows come in groups of `group` answers to one prompt; returns how many groups give no signal. */
typedef enum { LLM_GROUP_NORM, LLM_GROUP_MEAN, LLM_GROUP_RLOO } llm_group;     /* GRPO, Dr. GRPO, leave-one-out */
int llm_group_advantages(double *advantage, const double *reward, int rows, int group, llm_group kind);
typedef enum { LLM_PER_ROW, LLM_PER_TOKEN, LLM_PER_LONGEST } llm_grpo_norm;    /* GRPO, DAPO, Dr. GRPO */
typedef struct {
    double clip_low, clip_high;         /* the ratio stays in [1 - low, 1 + high] */
    double beta; int kl;                /* KL in the loss: coefficient (0: ref may be NULL), estimator 2 or 3 */
    llm_grpo_norm norm;
    double rows, tokens, longest;       /* of the whole step: sequences; response tokens; the limit on a response */
} llm_grpo;
llm_grpo llm_grpo_defaults(void);       /* clip .2, beta 0, k3, per token; rows, tokens, longest are the caller's */
double llm_loss_grpo(llm_real *dlogp, const llm_real *logp, const llm_real *old, const llm_real *ref,
                     const double *advantage, const llm_batch *b, const llm_grpo *o, llm_policy_stats *stats);

/* Preferences without a reward model, on row sums of logp: sum, and ref of the reference policy; count: tokens of the
   rows. dpo: rows 2i chosen, 2i+1 rejected. flip: assumed share of wrong labels (CDPO, ROBUST). sft: weight of
   -log pi(chosen) per token. */
typedef enum { LLM_DPO, LLM_CDPO, LLM_ROBUST_DPO, LLM_IPO } llm_dpo_kind;
typedef struct { llm_dpo_kind kind; double beta, flip, sft; } llm_dpo;
double llm_loss_dpo(double *dsum, const double *sum, const double *ref, const double *count, int pairs, llm_dpo o,
                    double total, llm_pair_stats *stats);
/* kto: z0 from rows whose answers were shifted to the next prompt (at least 2 rows), the weights from the numbers of
   good and bad answers, then the loss on the true rows. */
typedef struct { double beta, z0, weight_good, weight_bad; } llm_kto;
double llm_kto_z0(const double *mismatched, const double *ref, int rows);
void llm_kto_balance(double *weight_good, double *weight_bad, double good, double bad);
double llm_loss_kto(double *dsum, const double *sum, const double *ref, const bool *good, int rows, llm_kto o,
                    double total);
/* rrhf: the K responses of ONE prompt with their rewards; total: prompts of the step. */
double llm_loss_rrhf(double *dsum, const double *sum, const double *count, const double *reward, int K, double sft,
                     double total);

/* ---- chapter 10: many ranks ------------------------------------------------------------------------------------ */

/* The processes that train one model together. Each is a rank and runs the same program line by line, with the same
   data; chapter 10 tells what they share out. An engine does the functions below: MPI between processes on CPUs, NCCL
   between GPUs. Every rank has to call the same ones in the same order. A rank is data * tensors + tensor: those with
   the same `data` share their layers, and the `datas` ranks with the same `tensor` hold the same. Functions on device
   memory may return before they are done: wait comes before a result is used or an input overwritten. Those on host
   memory have done it when they return. */
typedef struct llm_ranks {
    const char *engine;                 /* "MPI", "NCCL" */
    int rank, size, local;              /* of all processes; which of those on this machine (which GPU) */
    int data, datas;                    /* of the data ranks: rank / tensors */
    int tensor, tensors;                /* of those that share a layer: rank % tensors; 1: nobody shares */
    int zero;                           /* 0: all hold all; 1: moments split; 2: gradients too; 3: weights too */
    int timeout;                        /* seconds that a rank waits for the others before it ends the program */
    double sent;                        /* bytes that this rank has given away (the numbers, no envelopes) */
    /* DEVICE, data ranks. sum: acc (=|+=, add) part of data rank 0 + part of 1 + ..., at data rank root (acc is nobody
       else's matter), or at all: root -1; MPI adds in this order, NCCL in its own. spread: x[n] = root's own[n], at
       all (own: NULL elsewhere, may be x itself). */
    void (*sum)(llm_real *acc, const llm_real *part, size_t n, int root, bool add);
    void (*spread)(llm_real *x, const llm_real *own, size_t n, int root);
    /* DEVICE, those that share a layer, in place: activations or residual stream. bytes_each: sizeof(llm_real), or 2:
       bf16. */
    void (*all_sum)(void *x, size_t n, size_t bytes_each);
    void (*wait)(void);                 /* what follows on this device sees what those above did */
    /* HOST, all ranks. gather: rank r's part lies at all + r * bytes_each; afterwards every part is everywhere. share:
       rank root's bytes to all. */
    void (*gather)(void *all, size_t bytes_each);
    void (*share)(void *x, size_t bytes, int root);
    void (*split)(int tensors);         /* the engine's own part of llm_team_set, called there */
    void (*stop)(int code);             /* ends all ranks at once, this one too */
    void (*close)(void);                /* at the end of a program that went well: all ranks together */
} llm_ranks;

extern llm_ranks *llm_team;             /* NULL: this process is alone (the default) */
/* -DLLM_MPI: MPI_Init, and this process is one of the team (llm_team_join); one that was not started by mpirun or
   srun is a team of 1. -DLLM_NCCL: the same between GPUs, in llm_cuda.cuh. Call either once, first of all in main. */
llm_ranks *llm_mpi(int *argc, char ***argv);
llm_ranks *llm_nccl(void);
/* For an engine: r becomes the team. From now on stdout and stderr of all but rank 0 lead nowhere, files that they
   write are not there (llm_write_begin), but llm_die speaks on the true stderr, names its rank and stops all. */
void llm_team_join(llm_ranks *r);
/* For an engine: the rank begins to wait for the others in `what`; NULL: the answer is there. After `timeout` seconds
   the program ends with a line that names the rank. */
void llm_team_watch(const char *what);
/* Before any model is made: how the models from now on are split. Refuses what does not divide. Nothing when alone. */
void llm_team_set(int zero, int tensors);
int llm_rank(void);                     /* 0 when alone */
bool llm_leads(void);                   /* rank 0, or alone: the one that prints and writes files */

/* ---- chapter 11: planning ------------------------------------------------------------------------------------- */

/* What a run of B x T tokens a pass costs on one machine. Bytes by kind, and FLOPs: those of the model (forward, with
   train also backward; causal attention included) and those executed, which recomputation makes more. */
typedef struct {
    double parameters, flops_per_token, flops_executed;
    double weights, work, gradients, moments, activations, logits, packing, total, host; /* bytes; host: not in total */
} llm_plan;
llm_plan llm_plan_make(const llm_config *c, const llm_ops *ops, int B, int T, bool train, llm_keep keep,
                       bool moments16);
/* ---- chapter 13: a model's folder ----------------------------------------------------------------------------- */

llm_config llm_config_load(const char *dir);            /* DIR/config.json as a stage wrote it */
bool llm_result_exists(const char *dir);                /* does DIR hold a whole model? Its config.json came last */

#ifdef __cplusplus
}
#endif
#endif /* LLM_H */

/* Stop here if you only want to use it. What follows is the textbook. */
#ifdef LLM_IMPLEMENTATION

/* ---- before the lecture: what the compiler wants to know ---- */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

/* LLM_OMP(parallel for), LLM_SIMD(): an OpenMP pragma where OpenMP is compiled in, nothing elsewhere. */
#define LLM_PRAGMA(text) _Pragma(#text)
#ifdef _OPENMP
#define LLM_OMP(...) LLM_PRAGMA(omp __VA_ARGS__)
#else
#define LLM_OMP(...)
#endif
#define LLM_SIMD(...) LLM_PRAGMA(omp simd __VA_ARGS__)  /* the compiler may use vectors, in any order of the sum */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed"        /* a build without optimization need not hear that it did not */
#endif

/* Is llm_real double? LLM_CAT pastes "LLM_IS_" and float or double; an unknown name counts as 0. */
#define LLM_IS_double 1
#define LLM_PASTE(a, b) a##b
#define LLM_CAT(a, b) LLM_PASTE(a, b)
#define LLM_DOUBLE LLM_CAT(LLM_IS_, LLM_REAL)

/* sqrt, exp ... of an llm_real in its own precision (tgmath.h would do, but breaks on vectors and defines `I`). */
#if LLM_DOUBLE
#define LLM_MATH(name) name
#else
#define LLM_MATH(name) name##f
#endif

static inline size_t size_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t size_max(size_t a, size_t b) { return a > b ? a : b; }

/* ################################################################################################################
   PART I: the lecture
   ################################################################################################################ */

/* ================================================================================================================
   2. Text to tokens
   ================================================================================================================
   A network reads numbers. Which numbers should a text become? Letters make long sequences, words never end (there is
   always one more name), so we take what lies between: pieces of words, learned from text. Byte-pair encoding (Gage
   1994; Sennrich et al. 2016) begins with the 256 bytes and asks again and again: which two neighbours stand together
   most often? They become a new token:

       aaabdaaabac     a a stands there 4 times (they overlap)               Z = aa
       ZabdZabac       Z a and a b both twice: the older first token wins    Y = ab
       ZYdZYac         Z Y twice                                             X = ZY
       XdXac           nothing repeats: done, 11 bytes became 5 tokens

   The list of merges, in the order learned, is the tokenizer. To encode new text we replay it: of all neighbours that
   can be merged, always the pair that was learned first (aaaab: Z Z b, although a X is shorter). Nothing is lost and
   nothing is unknown, because every byte is a token of ours; decoding is looking up bytes.

   Two things stand around it. Before: text is cut into pieces (words with their leading space, numbers, punctuation)
   and no token crosses a cut, otherwise "dog." "dog!" "dog," would each become a token. After: special tokens such as
   <|im_end|> have ids that no text can produce; only the program inserts them, so a user who types "<|im_end|>" typed
   ten characters, and cannot end his turn and speak as the assistant. */

/* ---- characters ---- */

/* What regular expressions distinguish: \p{L} letters, \p{N} numbers, \s white space (\S: all but that), the rest. */
enum { CLASS_OTHER, CLASS_LETTER, CLASS_NUMBER, CLASS_SPACE };

static const char *unicode_letter, *unicode_number, *unicode_space;      /* the last page */

/* runs: how many code points are outside, inside, outside ... the class, in base 26; a small letter ends a number. */
static void classes_mark(uint8_t *class_of, const char *runs, uint8_t value) {
    size_t at = 0, run = 0;
    for (bool inside = false; *runs; runs++) {
        run = run * 26 + (size_t)(*runs - (*runs >= 'a' ? 'a' : 'A'));
        if (*runs < 'a') continue;
        if (inside) memset(class_of + at, value, run);
        at += run;
        run = 0;
        inside = !inside;
    }
}
/* For each of the 1,114,112 code points its class: a megabyte, of which a text touches only its own alphabet. */
static uint8_t *classes_new(void) {
    uint8_t *class_of = llm_alloc(0x110000, 1);
    classes_mark(class_of, unicode_letter, CLASS_LETTER);
    classes_mark(class_of, unicode_number, CLASS_NUMBER);
    classes_mark(class_of, unicode_space, CLASS_SPACE);
    return class_of;
}

/* ---- cutting ---- */

/* A text being cut. A byte that is not UTF-8 counts as one character of class "other". */
typedef struct llm_text { const char *s; size_t n; const uint8_t *class_of; int split; } llm_text;

/* Class of the character at `at`, and where the next one begins. At the end: -1. */
static inline int class_at(const llm_text *c, size_t at, size_t *next) {
    *next = at;
    if (at >= c->n) return -1;
    uint32_t code = (unsigned char)c->s[at];
    *next = at + 1;
    if (code < 0x80) return c->class_of[code];
    *next = at + (size_t)llm_utf8_get(c->s + at, c->n - at, &code);
    return code == UINT32_MAX ? CLASS_OTHER : c->class_of[code];
}
/* Where the run of characters of one class ends. */
static inline size_t run_of(const llm_text *c, size_t at, int kind) {
    for (size_t next; class_at(c, at, &next) == kind; at = next) continue;
    return at;
}
/* 's 't 're 've 'm 'll 'd: the bytes of a contraction at `at`, or 0. */
static size_t contraction(const llm_text *c, size_t at, bool any_case) {
    if (at + 1 >= c->n || c->s[at] != '\'') return 0;
    int a = c->s[at + 1], b = at + 2 < c->n ? c->s[at + 2] : 0;
    if (any_case && a >= 'A' && a <= 'Z') a += 'a' - 'A';
    if (any_case && b >= 'A' && b <= 'Z') b += 'a' - 'A';
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}
/* \s+(?!\S)|\s+ : white space leaves its last character to the word behind it, unless nothing follows or it is alone.
   Digits that stand alone were split off before, so one is the end of the text here: "a  20" is a, "  ", 2, 0 */
static size_t cut_space(const llm_text *c, size_t at) {
    size_t last = at, end = at, next;
    int kind;
    while ((kind = class_at(c, end, &next)) == CLASS_SPACE) last = end, end = next;
    return kind < 0 || last == at || (c->split == LLM_SPLIT_DIGITS && kind == CLASS_NUMBER) ? end : last;
}
/* GPT-2:  's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
   DIGITS (SmolLM): every \p{N} alone, so that no token has two, then GPT-2's expression on what lies between. */
static size_t cut_gpt2(const llm_text *c, size_t at) {
    size_t next, after, word = contraction(c, at, false);
    if (word) return at + word;
    int kind = class_at(c, at, &next), second = class_at(c, next, &after);
    bool digits = c->split == LLM_SPLIT_DIGITS;
    if (digits && kind == CLASS_NUMBER) return next;
    bool joins = c->s[at] == ' ' && second >= 0 && second != CLASS_SPACE && !(digits && second == CLASS_NUMBER);
    if (joins) return run_of(c, after, second);
    return kind == CLASS_SPACE ? cut_space(c, at) : run_of(c, next, kind);
}
/* ---- three containers ---- */

/* Strings to numbers (pieces and their counts, spellings and their ids): open addressing, at most half full. The
   strings belong to somebody else. */
typedef struct { const char *text; size_t length; int64_t value; } word_entry;
typedef struct { uint32_t hash, place; } word_slot;     /* place: index into word + 1, or 0 when free */
typedef struct { word_entry *word; size_t count, capacity; word_slot *slot; size_t slots; } word_map;

static uint32_t word_hash(const char *text, size_t n) {
    uint64_t h = llm_hash(text, n, 0);
    return (uint32_t)(h ^ h >> 32);
}
static word_slot *word_slot_of(const word_map *m, const char *text, size_t n, uint32_t hash) {
    for (size_t i = hash & (m->slots - 1);; i = (i + 1) & (m->slots - 1)) {
        word_slot *s = &m->slot[i];
        if (!s->place) return s;
        const word_entry *w = &m->word[s->place - 1];
        if (s->hash == hash && w->length == n && !memcmp(w->text, text, n)) return s;
    }
}
static word_entry *word_find(const word_map *m, const char *text, size_t n) {
    if (!m->slots) return NULL;
    const word_slot *s = word_slot_of(m, text, n, word_hash(text, n));
    return s->place ? &m->word[s->place - 1] : NULL;
}
/* The entry of a word, made with value 0 if it is new. The pointer is good until the next call. */
static word_entry *word_add(word_map *m, const char *text, size_t n) {
    if (m->count * 2 >= m->slots) {
        word_map bigger = *m;
        bigger.slots = m->slots ? llm_mul(m->slots, 2) : 1024;
        bigger.slot = llm_alloc(bigger.slots, sizeof *bigger.slot);
        for (size_t i = 0; i < m->slots; i++) {
            const word_slot *s = &m->slot[i];
            if (!s->place) continue;
            const word_entry *w = &m->word[s->place - 1];
            *word_slot_of(&bigger, w->text, w->length, s->hash) = *s;
        }
        llm_release(m->slot);
        *m = bigger;
    }
    uint32_t hash = word_hash(text, n);
    word_slot *s = word_slot_of(m, text, n, hash);
    if (!s->place) {
        if (m->count >= UINT32_MAX - 1) llm_die("less text", "more than four billion distinct words");
        m->word = llm_grow(m->word, &m->capacity, m->count + 1, sizeof *m->word);
        m->word[m->count] = (word_entry){text, n, 0};
        *s = (word_slot){hash, (uint32_t)++m->count};
    }
    return &m->word[s->place - 1];
}
static void word_free(word_map *m) {
    llm_release_all(m->word, m->slot);
    *m = (word_map){0};
}

/* Pairs of tokens to numbers: the rank of their merge (or the trainer's index) and the token it makes. */
typedef struct { uint64_t key; int rank, id; } pair_slot;       /* key 0: free */
typedef struct { pair_slot *slot; size_t count, slots; } pair_map;

static inline uint64_t pair_key(int a, int b) { return ((uint64_t)a + 1) << 32 | (uint32_t)b; }
static inline pair_slot *pair_slot_of(const pair_map *m, uint64_t key) {
    size_t i = (size_t)((key * 0x9E3779B97F4A7C15u) >> 32) & (m->slots - 1);
    while (m->slot[i].key && m->slot[i].key != key) i = (i + 1) & (m->slots - 1);
    return &m->slot[i];
}
/* The slot of a pair, made with rank -1 if it is new. The pointer is good until the next call. */
static pair_slot *pair_add(pair_map *m, int a, int b) {
    if (m->count * 2 >= m->slots) {
        pair_map bigger = {NULL, m->count, m->slots ? llm_mul(m->slots, 2) : 1024};
        bigger.slot = llm_alloc(bigger.slots, sizeof *bigger.slot);
        for (size_t i = 0; i < m->slots; i++)
            if (m->slot[i].key) *pair_slot_of(&bigger, m->slot[i].key) = m->slot[i];
        llm_release(m->slot);
        *m = bigger;
    }
    pair_slot *s = pair_slot_of(m, pair_key(a, b));
    if (!s->key) {
        *s = (pair_slot){pair_key(a, b), -1, -1};
        m->count++;
    }
    return s;
}

/* A queue that hands out the smallest key first, of equals the smallest tie: a binary heap. */
typedef struct { uint64_t key, tie; } heap_item;
typedef struct { heap_item *item; size_t count, capacity; } heap;

static inline bool heap_before(heap_item a, heap_item b) { return a.key < b.key || (a.key == b.key && a.tie < b.tie); }
static void heap_push(heap *h, uint64_t key, uint64_t tie) {
    h->item = llm_grow(h->item, &h->capacity, h->count + 1, sizeof *h->item);
    heap_item x = {key, tie};
    size_t i = h->count++;
    for (; i > 0 && heap_before(x, h->item[(i - 1) / 2]); i = (i - 1) / 2) h->item[i] = h->item[(i - 1) / 2];
    h->item[i] = x;
}
static bool heap_pop(heap *h, heap_item *out) {
    if (!h->count) return false;
    *out = h->item[0];
    heap_item x = h->item[--h->count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < h->count; i = child) {
        if (child + 1 < h->count && heap_before(h->item[child + 1], h->item[child])) child++;
        if (!heap_before(h->item[child], x)) break;
        h->item[i] = h->item[child];
    }
    h->item[i] = x;
    return true;
}

/* ---- the tables behind a tokenizer ---- */

typedef struct { int a, b, id; } bpe_merge;
enum { TOKENIZER_FILES = 4 };
static const char *const tokenizer_file[TOKENIZER_FILES] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"};

struct llm_tokenizer_tables {
    uint8_t *class_of;                  /* [0x110000] class of each code point */
    bpe_merge *merge;                   /* in the order learned */
    pair_map pairs;                     /* (a, b) -> rank, id */
    word_map words;                     /* pieces that are one token: most of a text never meets a merge */
    size_t longest;                     /* bytes of the longest token */
    int byte[256];                      /* id of each single byte, or -1 */
    bool *hidden;                       /* [V] tokens that are not looked up in text: special; others in tools/hf.h */
    char *bytes;                        /* what llm_tokenizer.token points into */
    int prefix;                         /* tools/hf.h; not 0: a space is put before a text, and decode takes it away */
    char *file[TOKENIZER_FILES];        /* as loaded, so that saving gives back the same bytes; NULL: there was none */
    size_t file_size[TOKENIZER_FILES];
    char *chat_template;                /* Jinja source, or NULL */
    size_t unspelled;                   /* bytes of texts that were dropped, since no token spells them */
    void *added;                        /* tools/hf.h: tokens that are looked for in text before it is cut, or NULL */
    void *chat; void (*forget_chat)(void *chat);        /* tools/hf_chat.h: it, once read */
};

static void tokenizer_allocate(llm_tokenizer *t, int vocab_size) {
    t->vocab_size = vocab_size;
    t->token = llm_alloc((size_t)vocab_size, sizeof *t->token);
    t->length = llm_alloc((size_t)vocab_size, sizeof *t->length);
    t->special = llm_alloc((size_t)vocab_size, sizeof *t->special);
    t->tables->hidden = llm_alloc((size_t)vocab_size, sizeof(bool));
}
void llm_tokenizer_free(llm_tokenizer *t) {
    struct llm_tokenizer_tables *k = t->tables;
    if (k) {
        if (k->chat) k->forget_chat(k->chat);
        word_free(&k->words);
        llm_release_all(k->class_of, k->merge, k->pairs.slot, k->hidden, k->bytes, k->chat_template, k->added);
        for (int i = 0; i < TOKENIZER_FILES; i++) llm_release(k->file[i]);
    }
    llm_release_all(t->token, t->length, t->special, k);
    *t = (llm_tokenizer){0};
}

/* ---- merging ----
   One piece, its symbols in ids[0..n), becomes as few tokens as the merges allow: always the merge of lowest rank, of
   equals the leftmost. Both functions work in place and return the new length. */

enum { NO_RANK = INT_MAX, SHORT_PIECE = 40 };

static inline int pair_rank(const pair_map *m, int a, int b, int *id) {
    const pair_slot *s = pair_slot_of(m, pair_key(a, b));
    *id = s->id;
    return s->key ? s->rank : NO_RANK;
}
/* A word: look for the best pair again after every merge. O(n^2), but nothing is faster for a dozen letters. */
static size_t merge_short(const pair_map *m, int *ids, size_t n) {
    int rank[SHORT_PIECE], into[SHORT_PIECE];
    for (size_t i = 0; i + 1 < n; i++) rank[i] = pair_rank(m, ids[i], ids[i + 1], &into[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_RANK) break;
        ids[best] = into[best];
        n--;
        for (size_t i = best + 1; i < n; i++) ids[i] = ids[i + 1];
        for (size_t i = best + 1; i + 1 < n; i++) rank[i] = rank[i + 1], into[i] = into[i + 1];
        if (best + 1 < n) rank[best] = pair_rank(m, ids[best], ids[best + 1], &into[best]);
        if (best > 0) rank[best - 1] = pair_rank(m, ids[best - 1], ids[best], &into[best - 1]);
    }
    return n;
}
/* A long piece: symbols in a linked list, their pairs in a queue, where an entry whose pair has changed since (it has
   another rank now) is passed over. O(n log n). */
typedef struct { int *ids, *next, *prev, *rank, *into; int n; heap queue; } long_piece;

static void long_offer(long_piece *p, const pair_map *m, int i) {
    p->rank[i] = p->next[i] < p->n ? pair_rank(m, p->ids[i], p->ids[p->next[i]], &p->into[i]) : NO_RANK;
    if (p->rank[i] != NO_RANK) heap_push(&p->queue, (uint64_t)p->rank[i], (uint64_t)i);
}
static size_t merge_long(const pair_map *m, int *ids, size_t n) {
    if (n > INT_MAX / 4) llm_die("break the text into documents", "%zu bytes without a place to cut", n);
    int *memory = llm_alloc(llm_mul(n, 4), sizeof(int)), count = (int)n;
    long_piece p = {ids, memory, memory + n, memory + 2 * n, memory + 3 * n, count, {0}};
    for (int i = 0; i < count; i++) p.next[i] = i + 1, p.prev[i] = i - 1;
    for (int i = 0; i < count; i++) long_offer(&p, m, i);
    for (heap_item x; heap_pop(&p.queue, &x);) {
        int i = (int)x.tie, j = p.next[i];
        if (p.rank[i] != (int)x.key) continue;
        p.ids[i] = p.into[i];
        p.rank[j] = NO_RANK;            /* j is gone */
        p.next[i] = p.next[j];
        if (p.next[i] < count) p.prev[p.next[i]] = i;
        long_offer(&p, m, i);
        if (p.prev[i] >= 0) long_offer(&p, m, p.prev[i]);
    }
    size_t kept = 0;
    for (int i = 0; i < count; i = p.next[i]) ids[kept++] = ids[i];
    llm_release_all(memory, p.queue.item);
    return kept;
}
static size_t merge_symbols(const llm_tokenizer *t, int *ids, size_t n) {
    if (!t->tables->pairs.slots) return n;
    return n <= SHORT_PIECE ? merge_short(&t->tables->pairs, ids, n) : merge_long(&t->tables->pairs, ids, n);
}
/* The symbols merging starts from: bytes here, characters elsewhere (tools/hf.h). A byte without a token is dropped. */
typedef size_t symbols_of(const llm_tokenizer *t, const char *s, size_t n, int *ids);
static size_t byte_symbols(const llm_tokenizer *t, const char *s, size_t n, int *ids) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) if ((ids[count] = t->tables->byte[(unsigned char)s[i]]) >= 0) count++;
    if (count < n) __atomic_fetch_add(&t->tables->unspelled, n - count, __ATOMIC_RELAXED);      /* several threads */
    return count;
}

/* ---- encode and decode ---- */

static size_t encode_piece(const llm_tokenizer *t, symbols_of *symbols, const char *s, size_t n, int *ids) {
    const word_entry *word = n <= t->tables->longest ? word_find(&t->tables->words, s, n) : NULL;
    if (!word) return merge_symbols(t, ids, symbols(t, s, n, ids));
    ids[0] = (int)word->value;
    return 1;
}
static size_t encode_bpe(const llm_tokenizer *t, const char *text, size_t size, llm_where where, int *ids) {
    (void)where;                        /* bytes are the same everywhere */
    llm_text c = {text, size, t->tables->class_of, t->split};
    size_t count = 0;
    for (size_t at = 0, end; at < size; at = end) {
        end = t->cut(&c, at);
        count += encode_piece(t, byte_symbols, text + at, end - at, ids + count);
    }
    return count;
}
static size_t room_for_bytes(const char *text, size_t size) { (void)text; return llm_add(size, 1); }
size_t llm_encode(const llm_tokenizer *t, const char *text, size_t size, int *ids) {
    return t->encode(t, text, size, LLM_TEXT_BEGINS, ids);
}
char *llm_decode(const llm_tokenizer *t, const int *ids, size_t count, bool spell_special, size_t *size) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= t->vocab_size)
            llm_die("the tokenizer that made the ids", "token id %d, but the vocabulary has %d", ids[i], t->vocab_size);
        if (spell_special || !t->special[ids[i]]) n = llm_add(n, (size_t)t->length[ids[i]]);
    }
    char *text = llm_alloc(llm_add(n, 1), 1), *out = text;
    for (size_t i = 0; i < count; i++) {
        if (!spell_special && t->special[ids[i]]) continue;
        memcpy(out, t->token[ids[i]], (size_t)t->length[ids[i]]);
        out += t->length[ids[i]];
    }
    if (t->tables->prefix && n && text[0] == ' ') memmove(text, text + 1, n--);
    if (size) *size = n;
    return text;
}
/* Templates ask this at every turn, so only those tokens are looked at that no text can spell. */
int llm_token_id(const llm_tokenizer *t, const char *spelling) {
    const bool *hidden = t->tables->hidden, *p = hidden, *end = p + t->vocab_size;
    for (; p < end && (p = memchr(p, true, (size_t)(end - p))); p++)
        if (!strcmp(t->token[p - hidden], spelling)) return (int)(p - hidden);
    return -1;
}

/* From tokens and merges: the pairs, the pieces that are one token, the fingerprint (salt: what else ids depend on). */
static void tokenizer_index(llm_tokenizer *t, symbols_of *symbols, uint64_t salt) {
    struct llm_tokenizer_tables *k = t->tables;
    uint64_t hash = llm_hash(&t->split, sizeof t->split, salt);
    for (int i = 0; i < t->merges; i++) {
        bpe_merge m = k->merge[i];
        hash = llm_hash(&m, sizeof m, hash);
        if (t->special[m.id]) continue; /* no merge may make a special token */
        pair_slot *s = pair_add(&k->pairs, m.a, m.b);
        s->rank = i;
        s->id = m.id;
    }
    for (int i = 0; i < t->vocab_size; i++) {
        size_t n = (size_t)t->length[i];
        hash = llm_hash(t->token[i], n, llm_hash(&n, sizeof n, hash + t->special[i]));
        if (n > k->longest) k->longest = n;
    }
    t->hash = hash;
    /* A token enters `words` if its own bytes merge into it. Not all do: with bc learned before ab, and then (ab) c,
       the bytes abc become a|bc, so a piece "abc" must not be taken whole. */
    int *ids = llm_alloc(k->longest + 1, sizeof *ids);
    for (int i = 0; i < t->vocab_size; i++) {
        size_t n = (size_t)t->length[i];
        if (k->hidden[i] || !n) continue;
        bool one = merge_symbols(t, ids, symbols(t, t->token[i], n, ids)) == 1 && ids[0] == i;
        if (one) word_add(&k->words, t->token[i], n)->value = i;
    }
    k->unspelled = 0;
    llm_release(ids);
}

/* ---- learning the merges ----
   Every distinct piece of the text is kept once, with its count. Each byte of these pieces is a place; a place holds
   the symbol that begins there and is in two lists: prev and next lead along its piece, up and down along the chain of
   all places that begin the same pair. A merge walks down one chain and visits exactly the places it changes:

       place    0   1   2   3   4         next of 0 is 1; down of 0 is 3, the next place of (a,b)
       symbol   a   b   c   a   b         (a,b) becomes Z: place 0 has next 2, place 3 has none; 1 and 4 are gone

   A new pair holds the token just made, and all its places come to be in that one step; later its count only falls. So
   a queue of the counts at birth, checked again when one comes to the top, always yields the most frequent pair. */

typedef struct { int64_t count; int a, b, head, tail; } bpe_pair;       /* head, tail: the chain of its places, or -1 */
typedef struct {
    word_map words;                     /* the pieces; value: how often */
    int *id, *prev, *next;              /* [places] symbol; neighbours in the piece, -1 at its ends */
    int *up, *down;                     /* [places] the nearest before and behind that begin the same pair, or -1 */
    int *piece;                         /* [places] index of the piece */
    bpe_pair *pair;
    size_t pairs, capacity, queued;     /* pair[0 .. queued) have been in the queue */
    pair_map index;                     /* (a, b) -> rank: index into pair */
    heap queue;
} bpe_trainer;

/* Place p begins the pair (id[p], id[next[p]]): put it at the end of that pair's chain ... */
static void trainer_link(bpe_trainer *b, int p) {
    if (b->next[p] < 0) return;
    pair_slot *s = pair_add(&b->index, b->id[p], b->id[b->next[p]]);
    if (s->rank < 0) {
        if (b->pairs == INT_MAX) llm_die("train on less text", "more than two billion pairs of tokens");
        s->rank = (int)b->pairs;
        b->pair = llm_grow(b->pair, &b->capacity, b->pairs + 1, sizeof *b->pair);
        b->pair[b->pairs++] = (bpe_pair){0, b->id[p], b->id[b->next[p]], -1, -1};
    }
    bpe_pair *x = &b->pair[s->rank];
    b->up[p] = x->tail;
    b->down[p] = -1;
    if (x->tail >= 0) b->down[x->tail] = p;
    else x->head = p;
    x->tail = p;
    x->count += b->words.word[b->piece[p]].value;
}
/* ... or take it out. */
static void trainer_unlink(bpe_trainer *b, int p) {
    if (b->next[p] < 0) return;
    bpe_pair *x = &b->pair[pair_slot_of(&b->index, pair_key(b->id[p], b->id[b->next[p]]))->rank];
    if (b->up[p] >= 0) b->down[b->up[p]] = b->down[p];
    else x->head = b->down[p];
    if (b->down[p] >= 0) b->up[b->down[p]] = b->up[p];
    else x->tail = b->up[p];
    x->count -= b->words.word[b->piece[p]].value;
}
/* Write `token` over the pair that begins at place p. */
static void trainer_merge_at(bpe_trainer *b, int p, int token) {
    int gone = b->next[p], before = b->prev[p], after = b->next[gone];
    if (before >= 0) trainer_unlink(b, before);
    trainer_unlink(b, p);
    trainer_unlink(b, gone);
    b->id[p] = token;
    b->next[p] = after;
    if (after >= 0) b->prev[after] = p;
    if (before >= 0) trainer_link(b, before);
    trainer_link(b, p);
}
/* Index of the most frequent pair (of equals the one of older tokens), or -1 when nothing repeats. */
static int trainer_best(bpe_trainer *b) {       /* the queue has the smallest first, so it orders by MAX - count */
    for (; b->queued < b->pairs; b->queued++) {
        const bpe_pair *x = &b->pair[b->queued];
        if (x->count >= 2) heap_push(&b->queue, UINT64_MAX - (uint64_t)x->count, (uint64_t)x->a << 32 | (uint32_t)x->b);
    }
    for (heap_item top; heap_pop(&b->queue, &top);) {
        int i = pair_slot_of(&b->index, pair_key((int)(top.tie >> 32), (int)(uint32_t)top.tie))->rank;
        uint64_t now = UINT64_MAX - (uint64_t)b->pair[i].count;
        if (now == top.key) return i;
        if (b->pair[i].count >= 2) heap_push(&b->queue, now, top.tie);
    }
    return -1;
}
static void trainer_begin(bpe_trainer *b, const llm_text *c) {
    size_t places = 0;
    for (size_t at = 0, end; at < c->n; at = end) {
        end = cut_gpt2(c, at);
        word_entry *w = word_add(&b->words, c->s + at, end - at);
        if (w->value++ == 0) places += w->length;
    }
    if (places > INT_MAX) llm_die("train the tokenizer on less text", "%zu bytes of distinct words", places);
    int **array[] = {&b->id, &b->prev, &b->next, &b->up, &b->down, &b->piece};
    for (int i = 0; i < 6; i++) *array[i] = llm_alloc(places, sizeof(int));
    int p = 0;
    for (size_t i = 0; i < b->words.count; i++) {
        const word_entry *w = &b->words.word[i];
        for (size_t j = 0; j < w->length; j++, p++) {
            b->id[p] = (unsigned char)w->text[j];
            b->prev[p] = j ? p - 1 : -1;
            b->next[p] = j + 1 < w->length ? p + 1 : -1;
            b->piece[p] = (int)i;
        }
    }
    for (int i = 0; i < p; i++) trainer_link(b, i);
}
static void trainer_free(bpe_trainer *b) {
    llm_release_all(b->id, b->prev, b->next, b->up, b->down, b->piece, b->pair, b->index.slot, b->queue.item);
    word_free(&b->words);
}

/* Our vocabulary: ids 0 .. 255 are the bytes, 256 + r is what merge r makes, the last five are special: the first
   stands between documents (as bos and eos, begin and end), the second fills rows; the others: chapters 3 and 9. */
enum { OUR_SPECIALS = 5 };
static const char *const our_special[OUR_SPECIALS] = {
    "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>", "<|reward|>"};

static void add_stop(llm_tokenizer *t, int id) {
    for (int i = 0; i < t->stops; i++) if (t->stop[i] == id) return;
    if (id >= 0 && t->stops < (int)(sizeof t->stop / sizeof *t->stop)) t->stop[t->stops++] = id;
}
/* Ids of the special tokens that the pipeline itself speaks of. */
static void tokenizer_name_ids(llm_tokenizer *t) {
    t->im_start = llm_token_id(t, "<|im_start|>");
    t->im_end = llm_token_id(t, "<|im_end|>");
    t->reward = llm_token_id(t, "<|reward|>");
    add_stop(t, t->eos);
    add_stop(t, t->im_end);
}
/* Spell out the tokens. A merged token's bytes are those of its parts, which are older. */
static void our_vocabulary(llm_tokenizer *t) {
    struct llm_tokenizer_tables *k = t->tables;
    int specials = 256 + t->merges;     /* the first special id */
    tokenizer_allocate(t, specials + OUR_SPECIALS);
    for (int i = 0; i < 256; i++) t->length[i] = 1;
    for (int i = 0; i < t->merges; i++) t->length[256 + i] = t->length[k->merge[i].a] + t->length[k->merge[i].b];
    for (int i = 0; i < OUR_SPECIALS; i++) t->length[specials + i] = (int)strlen(our_special[i]);
    size_t bytes = 0;
    for (int i = 0; i < t->vocab_size; i++) bytes = llm_add(bytes, (size_t)t->length[i] + 1);
    char *out = k->bytes = llm_alloc(bytes, 1);
    for (int i = 0; i < t->vocab_size; out += t->length[i++] + 1) {
        t->token[i] = out;
        if (i < 256) {
            out[0] = (char)i;
            k->byte[i] = i;
        } else if (i < specials) {
            const bpe_merge *m = &k->merge[i - 256];
            memcpy(out, t->token[m->a], (size_t)t->length[m->a]);
            memcpy(out + t->length[m->a], t->token[m->b], (size_t)t->length[m->b]);
        } else {
            memcpy(out, our_special[i - specials], (size_t)t->length[i]);
            t->special[i] = k->hidden[i] = true;
        }
    }
}
/* The rest is the same for merges just learned and for those of a file. */
static void our_begin(llm_tokenizer *t, bool digits) {
    *t = (llm_tokenizer){.split = digits ? LLM_SPLIT_DIGITS : LLM_SPLIT_GPT2, .cut = cut_gpt2, .room = room_for_bytes,
                         .encode = encode_bpe, .chat = &llm_chatml, .tables = llm_alloc(1, sizeof *t->tables)};
    t->tables->class_of = classes_new();
}
static void our_end(llm_tokenizer *t) {
    our_vocabulary(t);
    t->bos = t->eos = t->opens = t->vocab_size - OUR_SPECIALS;
    t->pad = t->eos + 1;
    t->tables->chat_template = llm_format("%s", llm_chatml.jinja);
    tokenizer_index(t, byte_symbols, 0);
    tokenizer_name_ids(t);
}
void llm_tokenizer_train(llm_tokenizer *t, const char *text, size_t size, int vocab_size, bool digits) {
    if (vocab_size < 256 + OUR_SPECIALS)
        llm_die("--vocab 4096", "a vocabulary of %d ids has no room for 256 bytes and %d special tokens",
                vocab_size, OUR_SPECIALS);
    our_begin(t, digits);
    struct llm_tokenizer_tables *k = t->tables;
    bpe_trainer b = {0};
    trainer_begin(&b, &(llm_text){text, size, k->class_of, t->split});
    size_t capacity = 0;
    for (int id = 256, best; id + OUR_SPECIALS < vocab_size && (best = trainer_best(&b)) >= 0; id++) {
        k->merge = llm_grow(k->merge, &capacity, (size_t)t->merges + 1, sizeof *k->merge);
        k->merge[t->merges++] = (bpe_merge){b.pair[best].a, b.pair[best].b, id};
        while (b.pair[best].head >= 0) trainer_merge_at(&b, b.pair[best].head, id);
    }
    trainer_free(&b);
    our_end(t);
}

/* ================================================================================================================
   3. Tokens to batches
   ================================================================================================================
   A network learns from a table of numbers: B rows of T ids and, under each id, the id that comes next in the text.
   What the model will know, and how it will behave, is decided here, before any multiplication: by which texts lie in
   the rows, in which proportion and how often (pretraining); by which of the next ids count (fine-tuning: only the
   assistant's words, never the user's); by which answers stand beside each other (preferences). The table is called a
   batch and is the same for all stages:

       place       0     1     2     3      4      5     6          7          8    9
       tokens      <im>  user  \n    2+2?   <end>  \n    <im>       assistant  \n   4       one row of a chat
       targets     user  \n    2+2?  <end>  \n     <im>  assistant  \n         4    <end>   the next token
       weight      0     0     0     0      0      0     0          0          1    1       does the target count?

   <im> is <|im_start|>, <end> is <|im_end|>. The target at place t is the token at place t+1: the shift by one is made
   here, once, and nowhere else. Two ways lead to such rows, and this chapter walks both:

       pretraining    files -> documents -> ids -> a mixture of sources -> one long stream, cut into rows
       the others     files -> records -> conversations -> ids with a mask -> one or several to a row */

/* ---- batches ---- */

llm_batch llm_batch_new(int B, int T) {
    if (B < 1 || T < 1) llm_die("--batch and --seq of at least 1", "a batch of %d rows of %d tokens is empty", B, T);
    size_t n = llm_mul((size_t)B, (size_t)T);
    if (n > INT_MAX) llm_die("a smaller --batch or --seq", "a batch of %d rows of %d tokens is too large", B, T);
    return (llm_batch){.B = B, .T = T, .tokens = llm_alloc(n, sizeof(int)), .targets = llm_alloc(n, sizeof(int)),
                       .positions = llm_alloc(n, sizeof(int)), .start = llm_alloc(n, sizeof(int)),
                       .weight = llm_alloc(n, sizeof(llm_real))};
}
void llm_batch_free(llm_batch *b) {
    llm_release_all(b->tokens, b->targets, b->positions, b->start, b->weight);
    *b = (llm_batch){0};
}
size_t llm_places(const llm_batch *b) { return (size_t)b->B * b->T; }
/* Where the arrays of a batch hold place t of a row. */
static size_t at_place(const llm_batch *b, int row, int t) { return (size_t)row * b->T + t; }
double llm_batch_targets(const llm_batch *b) {
    double sum = 0;
    for (size_t i = 0; i < llm_places(b); i++) sum += b->weight[i];
    return sum;
}
/* Fisher and Yates: from the last place to the first, each takes one of those not yet placed. */
void llm_shuffle(uint32_t *order, size_t n, uint64_t seed, uint64_t stream) {
    if (n > INT_MAX) llm_die("fewer, longer documents", "%zu items are too many to shuffle", n);
    llm_rng r = llm_rng_seed(seed, stream);
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        size_t j = llm_rng_below(&r, (int)i);
        uint32_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}
/* Padding: a place that predicts nothing and sees only itself: it adds nothing to the loss and disturbs nobody. */
static void pad_row(llm_batch *b, int row, int from, int pad) {
    for (int t = from; t < b->T; t++) {
        size_t i = at_place(b, row, t);
        b->tokens[i] = b->targets[i] = pad;
        b->positions[i] = 0;
        b->start[i] = t;
        b->weight[i] = 0;
    }
}

/* ---- pretraining: files are cut into documents ---- */

/* A document is what one author wrote in one go: a story, an article, a page. The model sees its text and learns where
   it ends. */
void llm_documents_add(llm_documents *l, const char *text, size_t size) {
    while (size && isspace((unsigned char)text[size - 1])) size--;     /* a token ends it, not a newline */
    if (!size) return;
    l->document = llm_grow(l->document, &l->capacity, l->count + 1, sizeof *l->document);
    l->document[l->count++] = (llm_document){text, size, size};
}
/* Blank lines (nothing but spaces) separate documents. */
static void split_at_gaps(llm_documents *l, const char *text, size_t size) {
    const char *end = text + size, *begin = text;
    for (const char *line = text, *next; line < end; line = next) {
        const char *newline = memchr(line, '\n', end - line), *p = line;
        next = newline ? newline + 1 : end;
        while (p < next && isspace((unsigned char)*p)) p++;
        if (p < next) continue;
        llm_documents_add(l, begin, line - begin);
        begin = next;
    }
    llm_documents_add(l, begin, end - begin);
}
void llm_documents_read(llm_documents *l, const char *path, bool document_gap) {
    *l = (llm_documents){0};
    const char *dot = strrchr(path, '.');
    if (dot && (!strcmp(dot, ".json") || !strcmp(dot, ".jsonl")))
        llm_die("plain text, or a program with tools/forms.h", "%s is a file of records, not of text", path);
    size_t size, skip;
    l->text = llm_read_file(path, &size);
    if (memchr(l->text, 0, size))
        llm_die("UTF-8 (from UTF-16: iconv -f UTF-16 -t UTF-8)", "%s is not plain text: it holds zero bytes", path);
    skip = size >= 3 && !memcmp(l->text, "\xEF\xBB\xBF", 3) ? 3 : 0;        /* a byte order mark is no text */
    if (document_gap) split_at_gaps(l, l->text + skip, size - skip);
    else llm_documents_add(l, l->text + skip, size - skip);
}
void llm_documents_free(llm_documents *l) {
    llm_release_all(l->document, l->text);
    *l = (llm_documents){0};
}

/* ---- pretraining: a source is documents as ids ---- */

/* All documents of a source lie in one array, each opened by <|endoftext|>; document[] says where each begins:

       tokens      <e> One day Mia ran . <e> Tom sat . <e> 1 + 2 is 3 .
       document    0                     6             10               17 = count */

/* The token that stands before every document. (A chat tokenizer's bos and eos may be turn markers, as in SmolLM2.) */
static int document_opener(const llm_tokenizer *t) {
    int id = llm_token_id(t, "<|endoftext|>");
    if (id < 0) id = t->bos >= 0 ? t->bos : t->eos;
    if (id < 0) llm_die("a tokenizer with <|endoftext|> or bos", "the tokenizer has no token to open a document");
    return id;
}
static void source_append(llm_source *s, int open, const int *ids, size_t n, size_t bytes) {
    s->tokens = llm_grow(s->tokens, &s->room, llm_add(s->count, n + 1), sizeof *s->tokens);
    s->document = llm_grow(s->document, &s->document_room, s->documents + 2, sizeof *s->document);
    if (open >= 0) s->document[s->documents++] = s->count, s->tokens[s->count++] = open;        /* else it goes on */
    memcpy(s->tokens + s->count, ids, n * sizeof *ids);
    s->document[s->documents] = s->count += n;
    s->bytes += bytes;
}
/* Held out, for validation only? The hash decides, so all copies of a text fall on one side: what was read word for
   word is no test. It seeds a generator, because the last letters of a text hardly reach its high bits. */
static bool is_held_out(const char *text, size_t size, double fraction) {
    llm_rng r = llm_rng_seed(llm_hash(text, size, 0), 0);
    return llm_rng_uniform(&r) < fraction;
}
/* Encode documents a few megabytes at a time, in parallel; the ids do not depend on who encodes them. */
static void encode_documents(const llm_tokenizer *t, const llm_document *d, size_t count, llm_source *train,
                             llm_source *held, double fraction) {
    const size_t most = (size_t)4 << 20;
    const int open = document_opener(t);
    bool out = false;
    for (size_t n = 0; count; d += n, count -= n, n = 0) {
        for (size_t bytes = 0; n < count && (n == 0 || bytes + d[n].size < most); n++) bytes += d[n].size + 1;
        size_t *at = llm_alloc(n + 1, sizeof *at), *length = llm_alloc(n, sizeof *length);
        for (size_t i = 0; i < n; i++) at[i + 1] = llm_add(at[i], t->room(d[i].text, d[i].size));
        int *ids = llm_alloc(at[n], sizeof *ids);       /* document i has room from at[i] on */
        LLM_OMP(parallel for schedule(dynamic, 4))
        for (size_t i = 0; i < n; i++)
            length[i] = t->encode(t, d[i].text, d[i].size, d[i].whole ? LLM_TEXT_PLAIN : LLM_TEXT_GOES_ON, ids + at[i]);
        for (size_t i = 0; i < n; i++) {
            if (d[i].whole) out = fraction > 0 && is_held_out(d[i].text, d[i].whole, fraction);
            source_append(out ? held : train, d[i].whole ? open : -1, ids + at[i], length[i], d[i].size);
        }
        llm_release_all(ids, at, length);
    }
}
static size_t token_bytes(const llm_tokenizer *t, const int *ids, size_t n) {
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        if (!t->special[ids[i]]) bytes += t->length[ids[i]];
    return bytes;
}
/* The hash chose no document (there is one, or few): hold out the end of the last one, n tokens, or all of it but its
   opener, which source_append writes anew. */
static void hold_out_end(const llm_tokenizer *t, llm_source *s, llm_source *held, double fraction) {
    size_t begin = s->document[s->documents - 1], length = s->count - begin;
    size_t n = (size_t)(s->count * fraction + 0.5);
    bool whole = n >= length && s->documents > 1;
    if (whole) n = length - 1;
    if (n < 2 || n + 2 > s->count) return;
    const int *end = s->tokens + s->count - n;
    size_t bytes = token_bytes(t, end, n);
    source_append(held, s->tokens[begin], end, n, bytes);
    s->count -= whole ? length : n;
    s->documents -= whole;
    s->document[s->documents] = s->count;
    s->bytes -= size_min(bytes, s->bytes);
}
static void read_files(const llm_tokenizer *t, const llm_paths *files, llm_source *s, llm_source *held, double fraction,
                       const llm_corpus_options *o) {
    for (size_t i = 0; i < files->count; i++) {
        llm_documents l;
        (o->read ? o->read : llm_documents_read)(&l, files->path[i], o->document_gap);
        encode_documents(t, l.document, l.count, s, held, fraction);
        llm_documents_free(&l);
    }
}
/* All documents of a file or folder; a fraction of them goes to held. */
static void source_read(const llm_tokenizer *t, const char *path, llm_source *s, llm_source *held, double fraction,
                        const llm_corpus_options *o) {
    llm_paths files = {0};
    size_t held_before = held->documents, held_bytes = held->bytes, before = s->documents;
    if (o->load && o->load(t, path, s, held, fraction)) return;
    (o->find ? o->find : llm_paths_add)(&files, path);
    if (!files.count) llm_die("put .txt or .md files into it", "folder %s is empty", path);
    read_files(t, &files, s, held, fraction, o);
    if (s->documents == before && held->documents > held_before) {
        held->count = held->document[held_before];      /* the hash chose them all: give them back */
        held->documents = held_before;
        held->bytes = held_bytes;
        read_files(t, &files, s, held, 0, o);
    }
    if (s->documents == before) llm_die("give a file with text in it", "%s holds no text", path);
    if (fraction > 0 && held->documents == held_before) hold_out_end(t, s, held, fraction);
    llm_paths_free(&files);
}
static void source_finish(llm_source *s, const char *name) {
    s->name = llm_format("%s", name);
    s->order = llm_alloc(s->documents, sizeof *s->order);
    if (!s->hash) s->hash = llm_hash(s->tokens, s->count * sizeof *s->tokens, s->documents);
}
static void source_free(llm_source *s) {
    llm_release_all(s->name, s->room ? s->tokens : NULL, s->document_room ? s->document : NULL, s->order);
}
static int token_at(const llm_source *s, size_t i) { return s->narrow ? s->narrow[i] : s->tokens[i]; }

/* ---- pretraining: a mixture says which source comes next ---- */

/* LLaMA read Wikipedia two and a half times and the web once: what is good is read more often. If source i has
   documents of l_i tokens on average and one is drawn with chance c_i, its share of the tokens is

       p_i = c_i l_i / sum over j of c_j l_j,   so   c_i = (p_i / l_i) / sum over j of p_j / l_j.

   Half stories of 100 tokens, half sums of 10: every 11th document is a story. With N tokens to be drawn, a source of
   n_i is read p_i N / n_i times (epochs). */
static void open_epoch(llm_corpus *c, int s) {
    llm_source *x = &c->source[s];
    llm_shuffle(x->order, x->documents, c->seed, ((uint64_t)s << 32) + x->epoch);
}
/* The next document, from a source drawn by chance. An epoch of a source is all its documents, in a new order. */
static void next_document(llm_corpus *c) {
    double u = llm_rng_uniform(&c->rng);
    int s = 0;
    for (; s + 1 < c->sources && u >= c->source[s].chance; s++) u -= c->source[s].chance;
    llm_source *x = &c->source[c->current = s];
    if (x->cursor == x->documents) {
        x->cursor = 0;
        x->epoch++;
        open_epoch(c, c->current);
    }
    c->current_document = x->order[x->cursor++];
    c->within = 0;
}
static void set_chances(llm_corpus *c, const llm_corpus_options *o) {
    double shares = 0, chances = 0;
    for (int i = 0; i < c->sources; i++) {
        llm_source *s = &c->source[i];
        double length = (double)s->count / s->documents;
        double given = o->proportions ? o->proportions[i] : s->count;
        s->proportion = o->by_document ? given * length : given;
        s->chance = o->by_document ? given : given / length;
        shares += s->proportion;
        chances += s->chance;
    }
    for (int i = 0; i < c->sources; i++) {
        c->source[i].proportion /= shares;
        c->source[i].chance /= chances;
    }
}
void llm_corpus_open(llm_corpus *c, const llm_tokenizer *t, llm_corpus_options o) {
    if (!(o.val_fraction >= 0 && o.val_fraction < 1))
        llm_die("--val-fraction 0.02", "%g of the text cannot be held out", o.val_fraction);
    if (o.count < 1) llm_die("--data FILE or FOLDER", "no text to train on");
    for (int i = 0; o.proportions && i < o.count; i++)
        if (!(o.proportions[i] > 0) || isinf(o.proportions[i]))
            llm_die("one number above 0 for each source", "%s has the proportion %g", o.paths[i], o.proportions[i]);
    *c = (llm_corpus){.sources = o.count, .document_mask = o.document_mask, .seed = o.seed,
                      .rng = llm_rng_seed(o.seed, UINT64_MAX), .bos = document_opener(t)};
    c->source = llm_alloc(o.count, sizeof *c->source);
    for (int i = 0; i < c->sources; i++) {
        source_read(t, o.paths[i], &c->source[i], &c->validation, o.val_count ? 0 : o.val_fraction, &o);
        source_finish(&c->source[i], o.paths[i]);
        open_epoch(c, i);
    }
    for (int i = 0; i < o.val_count; i++)
        source_read(t, o.val_paths[i], &c->validation, &(llm_source){0}, 0, &o);
    source_finish(&c->validation, "held out");
    set_chances(c, &o);
    next_document(c);
}
void llm_corpus_free(llm_corpus *c) {
    for (int i = 0; i < c->sources; i++) source_free(&c->source[i]);
    source_free(&c->validation);
    llm_release(c->source);
    *c = (llm_corpus){0};
}

/* ---- pretraining: one stream, cut into rows ---- */

/* Documents follow each other without gap, and every T tokens a row ends, wherever that is:

       stream      <e> One day Mia ran .  <e> Tom | sat .  <e> 1  +  2  is 3  | .  <e> ...          T = 8
       positions   0   1   2   3   4   5  0   1     0   1  0   1  2  3  4  5    0  0
       start       0   0   0   0   0   0  6   6     0   0  2   2  2  2  2  2    0  1

   The last token of a document predicts the <e> of the next one: so the model learns to end. With document_mask a token
   sees only its own document (from `start` on) and counts its place from there (positions), as drawn; a document that
   goes on from the row before counts from the beginning of the row, because what came before cannot be seen. Without
   document_mask start is 0 and positions run through: a token then also looks at documents that have nothing to do
   with its own. */
static int stream_peek(const llm_corpus *c) {
    const llm_source *s = &c->source[c->current];
    return token_at(s, s->document[c->current_document] + c->within);
}
static void stream_step(llm_corpus *c) {
    llm_source *s = &c->source[c->current];
    s->drawn++;
    if (s->document[c->current_document] + ++c->within == s->document[c->current_document + 1]) next_document(c);
}
/* Where may the token at place t look? Text never becomes the opening token (chapter 2), so it marks the openings. */
static void place_token(const llm_corpus *c, llm_batch *b, size_t i, int t, int token, int target) {
    b->tokens[i] = token;
    b->targets[i] = target;
    b->start[i] = t == 0 ? 0 : c->document_mask && token == c->bos ? t : b->start[i - 1];
    b->positions[i] = t - b->start[i];
    b->weight[i] = 1;
}
void llm_corpus_next(llm_corpus *c, llm_batch *b) {
    size_t total = 0, n = llm_places(b);
    for (int s = 0; s < c->sources; s++) total += c->source[s].count;
    if (b->T < 2) llm_die("--seq of at least 2", "rows of %d token hold nothing to predict from", b->T);
    if (total < b->T + (size_t)1) {             /* every row would hold some text twice, and copying is no learning */
        char *remedy = llm_format("more text, or --seq %d or less", llm_max((int)total - 1, 2));
        llm_die(remedy, "%s%s: %zu tokens of training text are less than one sequence of %d and its last target",
                c->source[0].name, c->sources > 1 ? " and the others" : "", total, b->T);
    }
    for (size_t i = 0; i < n; i++) {
        int token = stream_peek(c);
        stream_step(c);
        place_token(c, b, i, (int)(i % (size_t)b->T), token, stream_peek(c));
    }
}
bool llm_corpus_validation(const llm_corpus *c, size_t index, llm_batch *b) {
    const llm_source *v = &c->validation;
    size_t n = llm_places(b), first = llm_mul(index, n);
    if (v->count < 2 || first >= v->count - 1) return false;
    for (size_t i = 0, at = first; i < n; i++, at++) {
        const int row = (int)(i / (size_t)b->T), t = (int)(i % (size_t)b->T);
        if (at + 1 >= v->count) pad_row(b, row, t, c->bos);
        else place_token(c, b, i, t, token_at(v, at), token_at(v, at + 1));
    }
    return true;
}

/* ---- records: questions and answers, in one normal form ---- */

/* A file of records holds one of these a line, or an array of them:

       {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}     a conversation
       {"messages": [{"role": "user", "content": "2+2?"}]}                                            a prompt
       {"messages": [...], "responses": ["4", "5"], "rank": [0, 1]}       answers compared: the smaller the better
       {"messages": [...], "responses": ["5"], "label": [false]}          a thumb up or down (KTO)
       {"text": "One day Mia ran."}                                       plain text, for pretraining

   The role is system (first or nowhere), user, assistant or tool. "answer": "4" beside them is the right answer, for a
   reward that checks. tools/forms.h reads such files, and the dozen other ways in which people store the same things;
   a program without it fills its records (llm_record) itself. */

/* ---- conversations as ids ----
   A chat model has learned to read one layout, its template: strings in which [x] is the special token x and * the role
   (llm_template; jinja says the same to other programs). Ours is ChatML; tools/hf.h runs others'. The underlined
   tokens have mask 1, all others 0; in a batch that is the weight of the place before, whose target they are:

       [<|im_start|>]user\n Hi [<|im_end|>]\n [<|im_start|>]assistant\n Hello [<|im_end|>] \n
       open                    close       between     open                    ================== after

   What the assistant says is encoded by itself. In one go with the text before it, the end of the template and the
   first letters of the answer could melt into one token, and in use the model would be asked from another place than in
   training. A user's text is encoded as text: whatever it spells, it never becomes a special token. */

const llm_template llm_chatml = {
    .name = "chatml", .open = "[<|im_start|>]*\n", .close = "[<|im_end|>]", .between = "\n", .after = "\n",
    .jinja = "{% for message in messages %}"
             "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"};

static void tokens_reserve(llm_tokens *out, size_t more) {
    out->id = llm_grow(out->id, &out->id_capacity, out->count + more, sizeof *out->id);
    out->mask = llm_grow(out->mask, &out->mask_capacity, out->count + more, 1);
}
static void put_id(llm_tokens *out, int id, int mask) {
    tokens_reserve(out, 1);
    out->id[out->count] = id;
    out->mask[out->count++] = mask;
}
static void put_text(const llm_tokenizer *t, llm_tokens *out, const char *text, size_t length, llm_where where,
                     int mask) {
    if (!length) return;
    size_t n = t->room(text, length);
    if (n > INT_MAX / 2 - (size_t)out->count) llm_die("shorter records", "a text of %zu bytes", length);
    tokens_reserve(out, n);
    bool begins = !out->count && where == LLM_TEXT_GOES_ON;             /* `where` matters to SentencePiece alone */
    n = t->encode(t, text, length, begins ? LLM_TEXT_BEGINS : where, out->id + out->count);
    memset(out->mask + out->count, mask, n);
    out->count += (int)n;
}
static void put_end(const llm_tokenizer *t, llm_tokens *out, int mask) {
    if (t->eos < 0) llm_die("a tokenizer with an eos token", "the tokenizer has no token that ends an answer");
    put_id(out, t->eos, mask);
}
/* What stands between the brackets of a template. */
static void put_mark(const llm_tokenizer *t, llm_tokens *out, const char *name, int mask) {
    int id = llm_token_id(t, name);
    if (id < 0) llm_die("the model's own tokenizer", "the chat template wants %s: no special token is that", name);
    put_id(out, id, mask);
}
static void put_marks(const llm_tokenizer *t, llm_tokens *out, const char *row, const char *role, int mask) {
    char *text = llm_alloc(llm_add(llm_mul(strlen(row), strlen(role) + 1), 1), 1);
    size_t n = 0;                       /* text and names come by turns, a '\0' behind each */
    for (; *row; row++) {
        if (*row == '*') n += sprintf(text + n, "%s", role);
        else if (*row != '[' && *row != ']') text[n++] = *row;
        else {
            text[n] = '\0';
            if (*row == '[') put_text(t, out, text, n, LLM_TEXT_GOES_ON, mask);
            else put_mark(t, out, text, mask);
            n = 0;
        }
    }
    put_text(t, out, text, n, LLM_TEXT_GOES_ON, mask);
    llm_release(text);
}
static void put_opening(const llm_tokenizer *t, llm_tokens *out, const char *role) {
    if (out->count) put_marks(t, out, t->chat->between, "", 0);
    put_marks(t, out, t->chat->open, role, 0);
}
static void put_turn(const llm_tokenizer *t, llm_tokens *out, const llm_message *m) {
    bool says = !strcmp(m->role, "assistant");
    put_opening(t, out, m->role);
    if (says) out->prompt = out->count;
    put_text(t, out, m->text, m->length, LLM_TEXT_NEW_LINE, says);
    put_marks(t, out, t->chat->close, m->role, says);
}
static const char *put_turns(const llm_tokenizer *t, const llm_message *m, int n, bool add_generation_prompt,
                             const llm_json *with, llm_tokens *out) {
    out->count = out->prompt = 0;
    if (!t->chat) return "the tokenizer has no chat template";
    if (t->chat->render) return t->chat->render(t, m, n, add_generation_prompt, with, out);
    for (int i = 0; i < n; i++) put_turn(t, out, &m[i]);
    if (add_generation_prompt) {
        put_opening(t, out, "assistant");
        out->prompt = out->count;
    } else if (out->count) put_marks(t, out, t->chat->after, "", 0);
    return NULL;
}
static const char put_other[] = "conversations that the model's chat template takes";
void llm_render(const llm_tokenizer *t, const llm_message *m, int n, bool add_generation_prompt, llm_tokens *out) {
    const char *why = put_turns(t, m, n, add_generation_prompt, NULL, out);
    if (why) llm_die(put_other, "%s", why);
}
void llm_tokens_free(llm_tokens *out) {
    llm_release_all(out->id, out->mask);
    *out = (llm_tokens){0};
}

/* ---- a record as ids, within a limit ---- */

/* A row has room for `limit` ids. What is longer is shortened where it hurts least. The answer is what is to be
   learned, so the oldest turns go first, then the left end of the longest text before the answer; the answer loses its
   end only when it leaves the question less than a quarter of the row:

       system q1 a1 q2 a2 q3 a3    ->    system q3 a3    ->    system ..q3 a3    ->    ..q3 a3..

   n bytes and their markers are at most n + 16 ids: turns go together while these add up to <= the excess, else one. */
static bool drop_oldest_turns(llm_message *m, int *n, int excess) {
    int from = *n && !strcmp(m[0].role, "system"), next = from;
    size_t most = 0;
    for (int i = from + 1; i < *n; i++) {
        most += m[i - 1].length + 16;
        if (!strcmp(m[i].role, "user") && (next == from || most <= (size_t)excess)) next = i;
    }
    if (next == from) return false;     /* the last question stays */
    memmove(m + from, m + next, (*n - next) * sizeof *m);
    *n -= next - from;
    return true;
}
static bool is_continuation(char c) { return ((unsigned char)c & 0xC0) == 0x80; }
/* Take about `excess` tokens from the left end of the longest text that is not the assistant's. */
static bool cut_left(const llm_tokenizer *t, llm_message *m, int n, int excess) {
    llm_message *longest = NULL;
    for (int i = 0; i < n; i++)
        if (strcmp(m[i].role, "assistant") && m[i].length > (longest ? longest->length : 0)) longest = &m[i];
    if (!longest) return false;
    int *ids = llm_alloc(t->room(longest->text, longest->length), sizeof *ids);
    size_t count = llm_encode(t, longest->text, longest->length, ids);
    size_t bytes = size_min(token_bytes(t, ids, size_min(excess, count)), longest->length);
    if (!bytes) bytes = 1;
    while (bytes < longest->length && is_continuation(longest->text[bytes])) bytes++;
    longest->text += bytes;
    longest->length -= bytes;
    llm_release(ids);
    return true;
}
/* How many ids the prompt is too long: the answer has what it needs, but a question keeps a quarter of the row. */
static int prompt_excess(const llm_tokens *out, int limit) {
    return out->prompt - llm_max(limit - (out->count - out->prompt), limit / 4);
}
static void cut_right(llm_tokens *out, int limit) {
    out->count = limit;
    out->prompt = llm_min(out->prompt, limit);
    out->cut = true;
}
/* Strings without a template: opened as the tokenizer opens texts, closed by eos. */
static void render_raw(const llm_tokenizer *t, const llm_record *r, const llm_message *answer, int limit,
                       llm_tokens *out) {
    bool text = !strcmp(r->message[0].role, "text");
    int open = t->opens < 0 && !text && !r->message[0].length ? document_opener(t) : t->opens, kept = open >= 0;
    out->count = 0;
    if (kept) put_id(out, open, 0);
    if (!text) put_text(t, out, r->message[0].text, r->message[0].length, LLM_TEXT_BEGINS, 0);
    out->prompt = out->count;
    if (text) answer = &r->message[0];
    if (answer) {
        put_text(t, out, answer->text, answer->length, text ? LLM_TEXT_PLAIN : LLM_TEXT_GOES_ON, 1);
        put_end(t, out, 1);
    }
    if (!limit || out->count <= limit) return;
    int left = llm_max(0, llm_min(prompt_excess(out, limit), out->prompt - 1));
    memmove(out->id + kept, out->id + kept + left, (out->count - kept - left) * sizeof *out->id);
    memmove(out->mask + kept, out->mask + kept + left, out->count - kept - left);
    out->count -= left;
    out->prompt -= left;
    out->shortened = left > 0;
    if (out->count > limit) cut_right(out, limit);
}
static int best_response(const llm_record *r) {
    int best = 0;
    for (int i = 1; i < r->responses; i++)
        if (r->response[i].rank < r->response[best].rank) best = i;
    return best;
}
/* Render n messages (changing m), shorter and shorter, until they fit. A template may refuse what a cut has left: then
   more goes. */
static void render_within(const llm_tokenizer *t, llm_message *m, int n, bool add_generation_prompt, int limit,
                          const llm_record *r, llm_tokens *out) {
    for (;; out->shortened = true) {
        const char *why = put_turns(t, m, n, add_generation_prompt, r->with, out);
        if (!why && (!limit || out->count <= limit)) return;
        if ((!why || out->shortened) && drop_oldest_turns(m, &n, why ? 0 : out->count - limit)) continue;
        if (why) llm_die(put_other, "%s%s%.0d: %s", r->file ? r->file : "", r->file ? ":" : "", r->line, why);
        int excess = prompt_excess(out, limit);
        if (excess > 0 && cut_left(t, m, n, excess)) continue;
        cut_right(out, limit);
        return;
    }
}
/* which: all of the record (LLM_WHOLE), what precedes the last answer (LLM_PROMPT), or prompt and response[which]. */
void llm_render_record(const llm_tokenizer *t, const llm_record *r, int which, int limit, llm_tokens *out) {
    int n = r->messages;
    bool answered = n && !strcmp(r->message[n - 1].role, "assistant");
    llm_message answer = {.role = "assistant"};
    out->shortened = out->cut = false;
    if (r->responses && which != LLM_PROMPT) {
        const llm_response *x = &r->response[which >= 0 ? which : best_response(r)];
        answer.text = x->text;
        answer.length = x->length;
    } else if (answered && which == LLM_PROMPT) n--;
    if (r->raw) {
        if (!answer.text && n > 1) answer = r->message[1];
        render_raw(t, r, answer.text ? &answer : NULL, limit, out);
        return;
    }
    llm_message *m = llm_alloc(n + (size_t)1, sizeof *m);
    memcpy(m, r->message, n * sizeof *m);
    if (answer.text) m[n++] = answer;
    while (which == LLM_WHOLE && n && strcmp(m[n - 1].role, "assistant")) n--;      /* a question without an answer */
    render_within(t, m, n, which == LLM_PROMPT, limit, r, out);
    if (which >= 0) memset(out->mask, 0, out->prompt);
    llm_release(m);
}

/* ---- fine-tuning: conversations are packed into rows ---- */

/* An epoch: the conversations in a new order, laid into rows. Conversations are short and rows are long; alone in its
   row each would be followed by padding, which takes as long as text. With `pack` each goes into the first of the last
   64 rows with room for it (first fit); start and positions keep them apart, so that it has the same log-probabilities
   as in a row of its own:

       tokens      a  a  a  a  a  a  b  b  b  c  c  c  c  -  -      three conversations and padding
       positions   0  1  2  3  4  5  0  1  2  0  1  2  3  0  0
       start       0  0  0  0  0  0  6  6  6  9  9  9  9  13 14
       weight      0  0  1  1  1  1  0  1  1  0  0  1  1  0  0

   A conversation of n ids takes n - 1 places, because its last id is only a target. */
enum { LLM_OPEN_ROWS = 64 };

/* A row is a chain of conversations. */
static void plan_epoch(llm_sft *s) {
    uint32_t *order = llm_alloc(s->count, sizeof *order);
    int *room = llm_alloc(s->count, sizeof *room), *last = llm_alloc(s->count, sizeof *last);   /* of each row */
    s->rows = s->cursor = 0;
    llm_shuffle(order, s->count, s->seed, s->epoch);
    for (int k = 0; k < s->count; k++) {
        int i = (int)order[k], places = (int)(s->begin[i + 1] - s->begin[i]) - 1;
        int r = s->pack ? llm_max(0, s->rows - LLM_OPEN_ROWS) : s->rows;
        while (r < s->rows && room[r] < places) r++;
        if (r < s->rows) s->next[last[r]] = i;
        else {
            s->first[r] = i;
            room[r] = s->T;
            s->rows++;
        }
        s->next[i] = -1;
        last[r] = i;
        room[r] -= places;
    }
    llm_release_all(order, room, last);
}
/* Is there something to learn? An answer that got a thumb down is none. */
static int learned_ids(const llm_record *d, const llm_tokens *x) {
    int n = x->count;
    while (n && !x->mask[n - 1]) n--;                           /* behind the last target nothing is learned */
    return d->responses && d->response[best_response(d)].label == 0 ? 0 : n;
}
void llm_sft_open(llm_sft *s, const llm_tokenizer *t, const llm_records *r, int T, bool pack, uint64_t seed) {
    if (T < 2) llm_die("--seq of at least 2", "rows of %d token hold nothing to predict from", T);
    *s = (llm_sft){.T = T, .pack = pack, .seed = seed, .pad = t->pad >= 0 ? t->pad : llm_max(t->eos, 0)};
    s->begin = llm_alloc(r->count + (size_t)1, sizeof *s->begin);
    size_t id_room = 0, mask_room = 0, used = 0;
    llm_tokens x = {0};
    for (int i = 0; i < r->count; i++) {
        llm_render_record(t, &r->record[i], LLM_WHOLE, T + 1, &x);
        size_t n = learned_ids(&r->record[i], &x);
        if (!n) {
            s->skipped++;
            continue;
        }
        s->shortened += x.shortened;
        s->cut += x.cut;
        s->id = llm_grow(s->id, &id_room, used + n, sizeof *s->id);
        s->mask = llm_grow(s->mask, &mask_room, used + n, 1);
        memcpy(s->id + used, x.id, n * sizeof *s->id);
        memcpy(s->mask + used, x.mask, n);
        used += n;
        s->begin[++s->count] = used;
    }
    llm_tokens_free(&x);
    if (!s->count)
        llm_die("records with an assistant's answer", "none of the %d records holds an answer to learn", r->count);
    s->hash = llm_hash(s->id, used * sizeof *s->id, llm_hash(s->mask, used, (uint64_t)T * 2 + pack));
    s->first = llm_alloc(s->count, sizeof *s->first);
    s->next = llm_alloc(s->count, sizeof *s->next);
    plan_epoch(s);
}
void llm_sft_free(llm_sft *s) {
    llm_release_all(s->id, s->mask, s->begin, s->first, s->next);
    *s = (llm_sft){0};
}
/* Lay the ids of x into `places` places of a row, from `at` on. The target of a place is the next id, and counts where
   its mask is 1 (mask NULL: from x.prompt on). The last id has a place only in rows of one answer, where a score may be
   read; it has no target. Returns the place behind. */
static int lay_ids(llm_batch *b, int row, int at, llm_sequence x, const uint8_t *mask, int places) {
    for (int k = 0; k < places; k++) {
        size_t i = at_place(b, row, at + k);
        bool last = k + 1 == x.count;
        b->tokens[i] = x.id[k];
        b->targets[i] = x.id[last ? k : k + 1];
        b->weight[i] = !last && (mask ? mask[k + 1] : k + 1 >= x.prompt);
        b->positions[i] = k;
        b->start[i] = at;
    }
    return at + places;
}
static void fill_row(const llm_sft *s, llm_batch *b, int row, int r) {
    int at = 0;
    for (int i = r < s->rows ? s->first[r] : -1; i >= 0; i = s->next[i]) {
        const size_t *begin = &s->begin[i];
        int n = (int)(begin[1] - begin[0]);
        at = lay_ids(b, row, at, (llm_sequence){s->id + begin[0], 0, n}, s->mask + begin[0], n - 1);
    }
    pad_row(b, row, at, s->pad);
}
static void check_length(const llm_sft *s, const llm_batch *b) {
    if (b->T != s->T)
        llm_die("the same --seq for both", "rows of %d tokens cannot take conversations laid out for %d", b->T, s->T);
}
double llm_sft_next(llm_sft *s, llm_batch *b, int micros) {
    double targets = 0;
    for (int i = 0; i < micros; i++) {
        check_length(s, &b[i]);
        for (int row = 0; row < b[i].B; row++) {
            if (s->cursor == s->rows) {
                s->epoch++;
                plan_epoch(s);
            }
            fill_row(s, &b[i], row, s->cursor++);
        }
        targets += llm_batch_targets(&b[i]);
    }
    return targets;
}
bool llm_sft_window(const llm_sft *s, int index, llm_batch *b) {
    check_length(s, b);
    if (index < 0 || index > (s->rows - 1) / b->B) return false;
    for (int row = 0; row < b->B; row++) fill_row(s, b, row, index * b->B + row);
    return true;
}

/* ---- preferences: one answer to a row ---- */

/* DPO, PPO and their kin compare whole answers, so each has a row of its own and its weights are 1 on the answer alone;
   a reward model reads one number from the value at the row's last token:

       tokens      q  q  q  a  a  a  -  -          tokens      q  q  q  a  a  a  <|reward|>  -
       weight      0  0  1  1  1  0  0  0          weight      0  0  0  0  0  0      1       0
                         the last q predicts the first a                   its value is the score */
void llm_batch_rows(llm_batch *b, const llm_sequence *s, int n, int pad) {
    if (n > b->B) llm_die("a larger batch", "%d sequences do not fit into %d rows", n, b->B);
    for (int row = 0; row < b->B; row++) {
        int at = 0;
        if (row < n) {
            const llm_sequence *x = &s[row];
            if (x->prompt < 1 || x->prompt > x->count || x->count > b->T + 1)
                llm_die("a larger --seq", "a sequence of %d tokens (prompt %d) does not fit into a row of %d", x->count,
                        x->prompt, b->T);
            at = lay_ids(b, row, 0, *x, NULL, llm_min(x->count, b->T));
        }
        pad_row(b, row, at, pad);
    }
}

/* ================================================================================================================
   4. The operations
   ================================================================================================================
   A transformer needs about twenty operations, each a few loops. This chapter is their definition: an equation, its
   shapes, the loop that computes it, and beside it the loop of its backward pass. The
   same rows stand a second time in llm_simd.h and in llm_cuda.cuh, where they are fast and long; tests hold
   them against this page, number by number.

   How a backward pass is found. The loss L depends on everything before it. Let dx be the derivative of L by x, of x's
   shape. An operation y = f(x, w) is handed dy and must answer with dx and dw, by the chain rule:

       dx[j] = sum over i of dy[i] (derivative of y[i] by x[j])               every path from x[j] to L, added up

   So each derivation below asks one question: into which outputs does this number go, and with what factor? Where a
   number is used twice its gradients are added: hence (=|+=), written by the first user and added to by the others, as
   `accumulate` says. A ' behind a matrix transposes it, behind a number marks another one (a' is what a becomes).

   Here an activation, the residual stream and its gradient are stored as llm_real: the casts at the head of a body
   say so. Threads share out what is written: nobody waits, and every sum has one order. A function plain_X is the row X
   of the table llm_ops (chapter 1); the two small functions first, then bf16, f16 and weights in fewer bits, which the
   first reading may skip. */

/* a . b */
static llm_real dot(const llm_real *a, const llm_real *b, size_t n) {
    llm_real sum = 0;
    LLM_SIMD(reduction(+ : sum))
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}
/* y += a x */
static void add_scaled(llm_real *y, llm_real a, const llm_real *x, size_t n) {
    LLM_SIMD()
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}
/* bf16 is the upper half of a float: a sign, 8 bits of exponent, 7 of the fraction. Rounding is to nearest, ties to
   even. */
typedef union { uint32_t bits; float value; } float_bits;
static inline llm_real bf16_to_real(uint16_t h) { return (float_bits){(uint32_t)h << 16}.value; }
static inline uint16_t real_to_bf16(llm_real x) {
    const float_bits f = {.value = (float)x};
    if (f.value != f.value) return f.bits >> 16 | 0x40;     /* NaN stays NaN */
    return (f.bits + 0x7FFF + (f.bits >> 16 & 1)) >> 16;
}
/* f16: a sign, 5 bits of exponent, 10 of the fraction; below 2^-14 in steps of 2^-24, from 65520 on infinity. */
static inline llm_real f16_to_real(uint16_t h) {
    const uint32_t e = h >> 10 & 31, f = h & 1023;
    float_bits x = {(e == 31 ? 255 : e + 112) << 23 | f << 13};
    if (e == 0) x.value = f * 0x1p-24f;
    return h >> 15 ? -x.value : x.value;
}
static inline uint16_t real_to_f16(llm_real x) {
    const float_bits f = {.value = fabsf((float)x)};
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (!(f.value < 65520)) return sign | (x != x ? 0x7E00 : 0x7C00);
    if (f.value < 0x1p-14f) return sign | (uint16_t)rintf(f.value * 0x1p24f);
    return sign | (f.bits + 0xFFF + (f.bits >> 13 & 1) - (112u << 23)) >> 13;
}
/* Row `row` of a matrix with `cols` columns: the place itself, or, where it lies in fewer bits ("weights in fewer
   bits", chapter 13), widened in a place of the thread's own, until its next row. */
static const llm_real *weight_row(llm_weight w, size_t cols, size_t row) {
    static _Thread_local llm_real wide[1 << 16];            /* llm_config_check: no matrix has more columns */
    if (w.type == LLM_TYPE_REAL) return (const llm_real *)w.data + row * cols;
    for (size_t i = 0; i < cols; i++) {
        const size_t at = row * cols + i, block = row * ((cols + 31) / 32) + i / 32;
        if (w.type == LLM_TYPE_BF16) wide[i] = (float_bits){(uint32_t)((const uint16_t *)w.data)[at] << 16}.value;
        else if (w.type == LLM_TYPE_Q8) wide[i] = ((const int8_t *)w.data)[at] * f16_to_real(w.scale[block]);
        else {                          /* a byte holds number b of its block (low half) and number b + 16 (high) */
            const uint8_t byte = ((const uint8_t *)w.data)[block * 16 + i % 16];
            wide[i] = ((i % 32 < 16 ? byte & 15 : byte >> 4) - 8) * f16_to_real(w.scale[block]);
        }
    }
    return wide;
}

/* ---- memory: on the CPU "the device" is ordinary memory, and everything is done when a call returns ---- */

static void *plain_alloc(size_t bytes) { return bytes > PTRDIFF_MAX ? NULL : calloc(bytes + (bytes == 0), 1); }
static void plain_release(void *device) { free(device); }
static void plain_upload(void *device, const void *host, size_t bytes) { memcpy(device, host, bytes); }
static void plain_download(void *host, const void *device, size_t bytes) { if (bytes) memcpy(host, device, bytes); }
static void plain_fetch(void *host, const void *device, size_t bytes) { memcpy(host, device, bytes); }
static void plain_wait(void) {}
static void plain_load_ids(llm_ids *ids, const llm_batch *b) {
    const size_t bytes = (size_t)b->B * (size_t)b->T * sizeof(int);
    memcpy(ids->tokens, b->tokens, bytes);
    memcpy(ids->targets, b->targets, bytes);
    memcpy(ids->positions, b->positions, bytes);
    memcpy(ids->start, b->start, bytes);
}
static void plain_store_weights(void *bf16, const llm_real *w, size_t n) {
    uint16_t *half = bf16;
    for (size_t i = 0; i < n; i++) half[i] = real_to_bf16(w[i]);
}

/* ---- embedding: a table look-up ----

   forward    out (N,C): out[n] = wte[tokens[n]] + wpe[positions[n]]        wte (V,C), wpe (T,C) or NULL (rope)
   backward   dwte[v] (=|+=) sum of dout[n] over all n with tokens[n] = v   dwpe likewise, by position

   A token is a row of wte. As a product it would be out = onehot wte, with onehot (N,V) 1 at (n, tokens[n]), so
   dwte = onehot' dout: row v of dwte collects dout[n] from every n that looked row v up.

       tokens  7 2 7        wte row 2 -> out[1]            dwte row 2 = dout[1]
                            wte row 7 -> out[0], out[2]    dwte row 7 = dout[0] + dout[2]

   Two tokens of a batch may be the same word, hence threads take columns: nobody meets, every sum runs over n in
   order. */

static void plain_embed_forward(llm_res *out, llm_weight wte, const llm_real *wpe, const int *tokens,
                                const int *positions, size_t N, size_t C) {
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        llm_real *o = (llm_real *)out + n * C;
        const llm_real *e = weight_row(wte, C, tokens[n]);
        for (size_t i = 0; i < C; i++) o[i] = e[i] + (wpe ? wpe[positions[n] * C + i] : 0);
    }
}
static void scatter(llm_real *table, const llm_real *d, const int *row, size_t N, size_t C, size_t rows, bool add) {
    if (!add) memset(table, 0, rows * C * sizeof *table);
    LLM_OMP(parallel for)
    for (size_t i = 0; i < C; i++)
        for (size_t n = 0; n < N; n++) table[row[n] * C + i] += d[n * C + i];
}
static void plain_embed_backward(llm_real *dwte, llm_real *dwpe, const llm_res *dout, const llm_ids *ids, size_t N,
                                 size_t C, size_t V, size_t T, bool accumulate_wte, bool accumulate_wpe) {
    const llm_real *d = (const llm_real *)dout;
    if (dwte) scatter(dwte, d, ids->tokens, N, C, V, accumulate_wte);
    if (dwpe) scatter(dwpe, d, ids->positions, N, C, T, accumulate_wpe);
}

/* ---- layer norm (Ba et al. 2016) and RMS norm (Zhang and Sennrich 2019) ----

   forward    xhat = (x - mean(x)) rstd, rstd = 1/sqrt(var(x) + eps)      out = xhat w + bias      per row of C numbers
              RMS norm leaves out the mean and the bias: rstd = 1/sqrt(mean(x^2) + eps)
   backward   with g = w dout (the gradient of xhat), and means taken over the row:
              dx (=|+=) rstd (g - mean(g) - xhat mean(g xhat))             RMS norm: without mean(g)
              dw (=|+=) sum over rows of dout xhat                         dbias (=|+=) sum over rows of dout

   Where dx comes from. Moving x[j] by h moves xhat[i] in three ways: directly by rstd h where i = j; the mean moves by
   h/C, so every xhat[i] by -rstd h/C; the variance moves by 2 (x[j] - mean) h/C, so rstd by -rstd^3 (x[j] - mean) h/C =
   -rstd^2 xhat[j] h/C, and every xhat[i] by -rstd xhat[i] xhat[j] h/C. Collected with the gradients g[i]:

       dx[j] = rstd ( g[j]  -  sum of g / C  -  xhat[j] (sum of g xhat) / C )

   Shifting x or stretching it does not change xhat (but for eps): the two subtracted terms take these two directions
   out of the gradient; an RMS norm knows the second alone. Saved are mean and rstd, two numbers a row; xhat is cheaper
   to compute again than to keep. */

static void plain_layernorm_forward(llm_act *out, llm_real *mean, llm_real *rstd, const llm_res *inp,
                                    const llm_real *w, const llm_real *bias, llm_real eps, size_t N, size_t C) {
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {                        /* mean NULL: an RMS norm, centered around 0 */
        const llm_real *x = (const llm_real *)inp + n * C;
        llm_real *y = (llm_real *)out + n * C, m = 0, var = 0;
        for (size_t i = 0; i < C && mean; i++) m += x[i] / C;
        for (size_t i = 0; i < C; i++) var += (x[i] - m) * (x[i] - m) / C;      /* E(x^2) - E(x)^2 would lose digits */
        rstd[n] = 1 / LLM_MATH(sqrt)(var + eps);
        if (mean) mean[n] = m;
        for (size_t i = 0; i < C; i++) y[i] = (x[i] - m) * rstd[n] * w[i] + (bias ? bias[i] : 0);
    }
}
static void plain_layernorm_backward(llm_res *dinp, llm_real *dw, llm_real *dbias, const llm_act *dout,
                                     const llm_res *inp, const llm_real *w, const llm_real *mean,
                                     const llm_real *rstd, size_t N, size_t C, bool accumulate_dinp, bool accumulate) {
    const llm_real *x = (const llm_real *)inp, *d = (const llm_real *)dout;
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {                                            /* dx: rows are independent */
        llm_real *dx = (llm_real *)dinp + n * C, m = mean ? mean[n] : 0, mean_g = 0, mean_gx = 0;
        for (size_t i = 0; i < C; i++) {
            const llm_real g = w[i] * d[n * C + i], xhat = (x[n * C + i] - m) * rstd[n];
            mean_g += mean ? g / C : 0;
            mean_gx += g * xhat / C;
        }
        for (size_t i = 0; i < C; i++) {
            const llm_real g = w[i] * d[n * C + i], xhat = (x[n * C + i] - m) * rstd[n];
            dx[i] = (accumulate_dinp ? dx[i] : 0) + rstd[n] * (g - mean_g - xhat * mean_gx);
        }
    }
    LLM_OMP(parallel for)
    for (size_t i = 0; i < C; i++) {                                            /* dw, dbias: so are columns */
        llm_real sum = 0, sum_xhat = 0;
        for (size_t n = 0; n < N; n++) {
            sum += d[n * C + i];
            sum_xhat += d[n * C + i] * (x[n * C + i] - (mean ? mean[n] : 0)) * rstd[n];
        }
        if (dw) dw[i] = (accumulate ? dw[i] : 0) + sum_xhat;
        if (dbias) dbias[i] = (accumulate ? dbias[i] : 0) + sum;
    }
}
static void plain_rmsnorm_forward(llm_act *out, llm_real *rstd, const llm_res *inp, const llm_real *w, llm_real eps,
                                  size_t N, size_t C) {
    plain_layernorm_forward(out, NULL, rstd, inp, w, NULL, eps, N, C);
}
static void plain_rmsnorm_backward(llm_res *dinp, llm_real *dw, const llm_act *dout, const llm_res *inp,
                                   const llm_real *w, const llm_real *rstd, size_t N, size_t C, bool accumulate_dinp,
                                   bool accumulate) {
    plain_layernorm_backward(dinp, dw, NULL, dout, inp, w, NULL, rstd, N, C, accumulate_dinp, accumulate);
}

/* Two more places for an RMS norm: on q or k (Henry et al. 2020), whose rows lie in wider ones: they are taken out,
   normed and put back; and behind a branch, out = res + rmsnorm(y) (OLMo-2), which then reads the stream as it is. */
static void slice_copy(llm_real *own, llm_real *wide, size_t N, llm_slice s, bool back) {
    for (size_t n = 0; n < N; n++) {
        llm_real *here = own + n * s.cols, *there = wide + n * s.ld + s.col;
        memcpy(back ? there : here, back ? here : there, s.cols * sizeof *own);
    }
}
static void plain_qk_norm_forward(llm_act *qkv, llm_act *raw, llm_real *rstd, const llm_real *w, llm_real eps, size_t N,
                                  llm_slice s, size_t width) {
    llm_real *out = llm_alloc(N * s.cols, sizeof *out);
    slice_copy((llm_real *)raw, (llm_real *)qkv, N, s, false);
    plain_rmsnorm_forward((llm_act *)out, rstd, (llm_res *)raw, w, eps, N * s.cols / width, width);
    slice_copy(out, (llm_real *)qkv, N, s, true);
    llm_release(out);
}
static void plain_qk_norm_backward(llm_act *dqkv, llm_real *dw, const llm_act *raw, const llm_real *rstd,
                                   const llm_real *w, size_t N, llm_slice s, size_t width, bool accumulate) {
    llm_real *dout = llm_alloc(2 * N * s.cols, sizeof *dout), *dx = dout + N * s.cols;
    slice_copy(dout, (llm_real *)dqkv, N, s, false);
    plain_rmsnorm_backward((llm_res *)dx, dw, (llm_act *)dout, (const llm_res *)raw, w, rstd, N * s.cols / width, width,
                           false, accumulate);
    slice_copy(dx, (llm_real *)dqkv, N, s, true);
    llm_release(dout);
}
static void plain_post_norm_forward(llm_res *out, llm_real *rstd, const llm_res *res, const llm_act *y,
                                    const llm_real *w, llm_real eps, size_t N, size_t C) {
    plain_rmsnorm_forward((llm_act *)out, rstd, (const llm_res *)y, w, eps, N, C);
    add_scaled((llm_real *)out, 1, (const llm_real *)res, N * C);
}
static void plain_post_norm_backward(llm_act *dy, llm_real *dw, const llm_res *dout, const llm_act *y,
                                     const llm_real *w, const llm_real *rstd, size_t N, size_t C, bool accumulate) {
    plain_rmsnorm_backward((llm_res *)dy, dw, (const llm_act *)dout, (const llm_res *)y, w, rstd, N, C, false,
                           accumulate);
}
static void plain_stream_forward(llm_act *out, const llm_res *inp, size_t n) { memcpy(out, inp, n * sizeof(llm_real)); }
static void plain_stream_backward(llm_res *dinp, const llm_act *dout, size_t n) {
    add_scaled((llm_real *)dinp, 1, (const llm_real *)dout, n);
}

/* ---- linear: y = x W' + b ----

   forward    out (N,O) = inp (N,I) W' + bias (O)         W (O,I): row o holds the weights of output o
   backward   dinp (N,I) = dout (N,O) W      dW (O,I) (=|+=) dout' inp      dbias (O) (=|+=) column sums of dout

   Where they come from. out[n,o] = sum over i of inp[n,i] W[o,i] + bias[o] is a sum of terms x w. Each term passes
   dout[n,o] on: to its x times w, to its w times x, to the bias times 1. A number of inp goes into all O outputs of its
   row, a weight into one output of all N rows:

       dinp[n,i] = sum over o of dout[n,o] W[o,i]        dW[o,i] = sum over n of dout[n,o] inp[n,i]

   Nearly all of the time of training goes into these two sums and the forward pass's. */

static void plain_linear_forward(llm_act *out, const llm_act *inp, llm_weight w, llm_weight bias, size_t N, size_t I,
                                 size_t O) {
    LLM_OMP(parallel for)
    for (size_t o = 0; o < O; o++) {
        const llm_real *row = weight_row(w, I, o), b = bias.full ? bias.full[o] : 0;
        for (size_t n = 0; n < N; n++) ((llm_real *)out)[n * O + o] = b + dot((const llm_real *)inp + n * I, row, I);
    }
}
static void plain_linear_backward(llm_act *dinp, llm_real *dw, llm_real *dbias, const llm_act *dout,
                                  const llm_act *inp, llm_weight w, size_t N, size_t I, size_t O, bool accumulate) {
    const llm_real *x = (const llm_real *)inp, *dy = (const llm_real *)dout;
    LLM_OMP(parallel for)
    for (size_t n = 0; n < (dinp ? N : 0); n++) {
        llm_real *dx = (llm_real *)dinp + n * I;
        memset(dx, 0, I * sizeof *dx);
        for (size_t o = 0; o < O; o++) add_scaled(dx, dy[n * O + o], weight_row(w, I, o), I);
    }
    LLM_OMP(parallel for)
    for (size_t o = 0; o < O; o++) {
        if (dbias && !accumulate) dbias[o] = 0;
        if (dw && !accumulate) memset(dw + o * I, 0, I * sizeof *dw);
        for (size_t n = 0; n < N; n++) {
            if (dbias) dbias[o] += dy[n * O + o];
            if (dw) add_scaled(dw + o * I, dy[n * O + o], x + n * I, I);
        }
    }
}
/* The same into the residual stream: out = res + inp W' + bias. The gradient of res is dout, unchanged: it stays
   where it is. */
static void plain_residual_forward(llm_res *out, const llm_res *res, const llm_act *inp, llm_weight w, llm_weight bias,
                                   size_t N, size_t I, size_t O) {
    plain_linear_forward((llm_act *)out, inp, w, bias, N, I, O);
    add_scaled((llm_real *)out, 1, (const llm_real *)res, N * O);
}
static void plain_residual_backward(llm_act *dinp, llm_real *dw, llm_real *dbias, const llm_res *dout,
                                    const llm_act *inp, llm_weight w, size_t N, size_t I, size_t O, bool accumulate) {
    plain_linear_backward(dinp, dw, dbias, (const llm_act *)dout, inp, w, N, I, O, accumulate);
}

/* ---- LoRA (Hu et al. 2021): y += scale (x A') B', with A (r,I) and B (O,r) thin ----

   forward    u (N,r) = scale inp A'   out (N,O) += u B'
   backward   du (N,r) = scale dout B  dB (O,r) (=|+=) dout' u   dA (r,I) (=|+=) du' inp   dinp (N,I) += du A

   Two linears in a row, so twice the rule above. The second has the input u and the weight B: hence dB, and dout B is
   the gradient of u. Behind u stands the scale: so du, the gradient of inp A', is scale times that; and inp A' is a
   linear with the weight A: hence dA and dinp.

       inp (N,I) --A'--> --scale--> u (N,r) --B'--> out (N,O)    r = 8 for I = O = 4096: 65,536 numbers, not 16,777,216

   `out` is a slice s of a wider matrix, as q is of q|k|v: s.cols = O columns from s.col on, rows s.ld apart. */

static void plain_lora_forward(void *out, llm_act *u, const llm_act *inp, const llm_real *A, const llm_real *B,
                               llm_real scale, size_t N, size_t I, size_t r, llm_slice s, bool to_residual) {
    (void)to_residual;                  /* here both are llm_real */
    const llm_real *x = (const llm_real *)inp;
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        llm_real *y = (llm_real *)out + n * s.ld + s.col, *un = (llm_real *)u + n * r;
        for (size_t k = 0; k < r; k++) un[k] = scale * dot(x + n * I, A + k * I, I);
        for (size_t o = 0; o < s.cols; o++) y[o] += dot(un, B + o * r, r);
    }
}
static void plain_lora_backward(llm_act *dinp, llm_real *dA, llm_real *dB, llm_act *du, const void *dout,
                                const llm_act *u, const llm_act *inp, const llm_real *A, const llm_real *B,
                                llm_real scale, size_t N, size_t I, size_t r, llm_slice s, bool from_residual,
                                bool accumulate) {
    const llm_real *d = (const llm_real *)dout + s.col, *un = (const llm_real *)u, *x = (const llm_real *)inp;
    llm_real *dun = (llm_real *)du, *dx = (llm_real *)dinp;
    (void)from_residual;
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        memset(dun + n * r, 0, r * sizeof *dun);
        for (size_t o = 0; o < s.cols; o++) add_scaled(dun + n * r, scale * d[n * s.ld + o], B + o * r, r);
        for (size_t k = 0; k < r && dx; k++) add_scaled(dx + n * I, dun[n * r + k], A + k * I, I);
    }
    if (dA && !accumulate) memset(dA, 0, r * I * sizeof *dA);
    if (dB && !accumulate) memset(dB, 0, s.cols * r * sizeof *dB);
    LLM_OMP(parallel for)
    for (size_t k = 0; k < (dA ? r : 0); k++)
        for (size_t n = 0; n < N; n++) add_scaled(dA + k * I, dun[n * r + k], x + n * I, I);
    LLM_OMP(parallel for)
    for (size_t o = 0; o < (dB ? s.cols : 0); o++)
        for (size_t n = 0; n < N; n++) add_scaled(dB + o * r, d[n * s.ld + o], un + n * r, r);
}

/* ---- rotary positions (Su et al. 2021) ----

   forward    each pair (a,b) = (x[j], x[j+D/2]) of a query or key at position p turns by the angle t = p freq[j]:
              a' = a cos t - b sin t,   b' = b cos t + a sin t
   backward   da = da' cos t + db' sin t,   db = db' cos t - da' sin t: the same with -t

   Where it comes from: a goes into a' with factor cos t and into b' with sin t; b into a' with -sin t and into b' with
   cos t. In matrices, the backward pass of a product with R is a product with R', and the transpose of a rotation is
   the rotation back.

   Turning a query by p freq and a key by p' freq leaves their dot product as if one of them were turned by the
   difference, (p - p') freq[j]: attention sees only how far apart two tokens are. freq[j] = theta^(-2j/D), from
   one turn in six tokens to one in thousands. Pairs lie half a head apart, as in Hugging Face's weights (the paper
   pairs neighbours). Yarn (Peng et al. 2023) makes both `scale` times longer, which is 1 elsewhere: the transpose of
   scale R is scale R'. Nothing is saved. */

/* scale < 0: back, by -t, and then by -scale */
static void rotate(llm_act *qkv, const llm_real *freq, llm_real scale, const int *positions, size_t N, size_t H,
                   size_t KV, size_t D) {
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++)
        for (size_t j = 0; j < D / 2; j++) {
            const llm_real t = positions[n] * freq[j];
            const llm_real c = LLM_MATH(cos)(t) * LLM_MATH(fabs)(scale), s = LLM_MATH(sin)(t) * scale;
            llm_real *x = (llm_real *)qkv + n * (H + 2 * KV) * D + j;
            for (size_t h = 0; h < H + KV; h++, x += D) {                       /* query heads, then key heads */
                const llm_real a = x[0], b = x[D / 2];
                x[0] = a * c - b * s;
                x[D / 2] = b * c + a * s;
            }
        }
}
static void plain_rope_forward(llm_act *qkv, const llm_real *freq, llm_real scale, const int *positions, size_t N,
                               size_t H, size_t KV, size_t D) {
    rotate(qkv, freq, scale, positions, N, H, KV, D);
}
static void plain_rope_backward(llm_act *dqkv, const llm_real *freq, llm_real scale, const int *positions, size_t N,
                                size_t H, size_t KV, size_t D) {
    rotate(dqkv, freq, -scale, positions, N, H, KV, D);
}

/* ---- attention (Vaswani et al. 2017) ----

   forward    S = q k' / sqrt(D)     P[i,j] = exp(S[i,j]) / sum over j of exp(S[i,j]), start[i] <= j <= i     out = P v
              lse[i] = log of that sum, so that P[i,j] = exp(S[i,j] - lse[i])
   backward   dv = P' dout      dP = dout v'      dS[i,j] = P[i,j] (dP[i,j] - d[i]), d[i] = dout[i] . out[i]
              dq = dS k / sqrt(D)         dk = dS' q / sqrt(D)

                  keys j
                # . . . .
     queries    # # . . .      # is seen: only the past, and only from start[i] on. This row of a batch holds two texts,
        i       # # # . .      of 3 and 2 tokens: the second does not see the first.
                . . . # .
                . . . # #

   This for each sequence and query head: q, k, v are (T,D) slices of qkv (N, (H+2KV) D), a row being q of all heads, k
   of all, v of all. H/KV query heads share a key/value head (Ainslie et al. 2023).

   Where dS comes from. A row of P is a softmax: P[j] = exp(S[j]) / sum. Raising S[j] raises exp(S[j]) and the sum: the
   derivative of P[m] by S[j] is P[m] - P[m] P[j] where m is j, and - P[m] P[j] elsewhere. So

       dS[j] = dP[j] P[j] - sum over m of dP[m] P[m] P[j] = P[j] (dP[j] - d),      d = sum over m of P[m] dP[m]

   and as dP[m] = dout . v[m], d = dout . (sum of P[m] v[m]) = dout . out: one number a row. The rest are two products:
   out = P v gives dv and dP, S = q k' gives dq and dk. P (T,T) is never kept: with lse, one number a row and head, one
   dot product and one exp make it again. (In the code dS has the factor 1/sqrt(D) already.) */

/* One query of one head: o (D) = sum over j of P[j] v[j], j = first .. last. k[j] and v[j] lie `row` numbers apart.
   Returns lse. Subtracting the largest score before exp changes nothing, as P is a ratio, and keeps exp finite. */
static llm_real attend(llm_real *o, const llm_real *q, const llm_real *k, const llm_real *v, size_t row, size_t first,
                       size_t last, size_t D) {
    const llm_real scale = 1 / LLM_MATH(sqrt)((llm_real)D);
    llm_real max = -INFINITY, sum = 0;
    for (size_t j = first; j <= last; j++) max = LLM_MATH(fmax)(max, dot(q, k + j * row, D) * scale);
    memset(o, 0, D * sizeof *o);
    for (size_t j = first; j <= last; j++) {
        const llm_real p = LLM_MATH(exp)(dot(q, k + j * row, D) * scale - max);
        sum += p;
        add_scaled(o, p, v + j * row, D);
    }
    for (size_t i = 0; i < D; i++) o[i] /= sum;
    return max + LLM_MATH(log)(sum);
}
static void plain_attention_forward(llm_act *out, llm_real *lse, const llm_act *qkv, const int *start, size_t B,
                                    size_t T, size_t H, size_t KV, size_t D) {
    const size_t row = (H + 2 * KV) * D;
    LLM_OMP(parallel for collapse(2) schedule(dynamic, 16))
    for (size_t n = 0; n < B * T; n++)
        for (size_t h = 0; h < H; h++) {
            const llm_real *q = (const llm_real *)qkv + n * row + h * D;
            const llm_real *k = (const llm_real *)qkv + (n - n % T) * row + (H + h / (H / KV)) * D, *v = k + KV * D;
            lse[n * H + h] = attend((llm_real *)out + (n * H + h) * D, q, k, v, row, start[n], n % T, D);
        }
}
static void plain_attention_backward(llm_act *dqkv, const llm_act *dout, const llm_act *out, const llm_real *lse,
                                     const llm_act *qkv, const int *start, size_t B, size_t T, size_t H, size_t KV,
                                     size_t D) {
    const size_t row = (H + 2 * KV) * D;
    const llm_real scale = 1 / LLM_MATH(sqrt)((llm_real)D), *x = (const llm_real *)qkv;
    llm_real *dx = (llm_real *)dqkv;
    memset(dx, 0, B * T * row * sizeof *dx);
    LLM_OMP(parallel for collapse(2))
    for (size_t b = 0; b < B; b++)
        for (size_t kv = 0; kv < KV; kv++)                                      /* one thread adds to a key head */
            for (size_t i = 0; i < T * (H / KV); i++) {                         /* all queries that share it */
                const size_t n = b * T + i % T, h = kv * (H / KV) + i / T, q = n * row + h * D, at = (n * H + h) * D;
                const llm_real *g = (const llm_real *)dout + at, d = dot(g, (const llm_real *)out + at, D);
                for (size_t j = start[n]; j <= i % T; j++) {
                    const size_t k = (b * T + j) * row + (H + kv) * D, v = k + KV * D;
                    const llm_real P = LLM_MATH(exp)(dot(x + q, x + k, D) * scale - lse[n * H + h]);
                    const llm_real dS = P * (dot(g, x + v, D) - d) * scale;
                    add_scaled(dx + v, P, g, D);
                    add_scaled(dx + q, dS, x + k, D);
                    add_scaled(dx + k, dS, x + q, D);
                }
            }
}

/* ---- gelu (Hendrycks and Gimpel 2016), the tanh form of GPT-2 ----

   forward    y = x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3)
              As (1 + tanh u)/2 = sigmoid(2u), this is y = x s with s = sigmoid(2u): one exp.
   backward   dx = dy (s + x s (1 - s) 2u'), 2u' = 2 sqrt(2/pi) (1 + 3 * 0.044715 x^2)

   The product rule: the derivative of x s is s + x s'; and s = sigmoid(2u) has s' = s (1 - s) 2u'. */

static const llm_real gelu_scale = (llm_real)1.5957691216057308, gelu_cubic = (llm_real)0.044715;

static llm_real sigmoid_of(llm_real x) { return 1 / (1 + LLM_MATH(exp)(-x)); }
static llm_real gelu_s(llm_real x) { return sigmoid_of(gelu_scale * (x + gelu_cubic * x * x * x)); }

static void plain_gelu_forward(llm_act *out, const llm_act *inp, size_t n) {
    const llm_real *x = (const llm_real *)inp;
    llm_real *y = (llm_real *)out;
    LLM_OMP(parallel for)
    for (size_t i = 0; i < n; i++) y[i] = x[i] * gelu_s(x[i]);
}
static void plain_gelu_backward(llm_act *dinp, const llm_act *dout, const llm_act *inp, size_t n) {
    const llm_real *x = (const llm_real *)inp, *dy = (const llm_real *)dout;
    llm_real *dx = (llm_real *)dinp;
    LLM_OMP(parallel for)
    for (size_t i = 0; i < n; i++) {
        const llm_real s = gelu_s(x[i]), two_du = gelu_scale * (1 + 3 * gelu_cubic * x[i] * x[i]);
        dx[i] = dy[i] * (s + x[i] * s * (1 - s) * two_du);
    }
}

/* ---- swiglu (Shazeer 2020): a gate opens for each hidden number ----

   forward    y = silu(g) u, silu(g) = g s, s = sigmoid(g)            y (N,F) from gateup (N,2F): g | u side by side
   backward   dg = dy u s (1 + g (1 - s))     du = dy g s

   A product of two: each factor gets dy times the other. silu'(g) = s + g s (1 - s), as for gelu. g and u are saved, y
   is made again. */

static void plain_swiglu_forward(llm_act *out, const llm_act *gateup, size_t N, size_t F) {
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        const llm_real *g = (const llm_real *)gateup + n * 2 * F, *u = g + F;
        llm_real *y = (llm_real *)out + n * F;
        for (size_t i = 0; i < F; i++) y[i] = g[i] * sigmoid_of(g[i]) * u[i];
    }
}
static void plain_swiglu_backward(llm_act *dgateup, const llm_act *dout, const llm_act *gateup, size_t N, size_t F) {
    LLM_OMP(parallel for)
    for (size_t n = 0; n < N; n++) {
        const llm_real *g = (const llm_real *)gateup + n * 2 * F, *u = g + F, *dy = (const llm_real *)dout + n * F;
        llm_real *dg = (llm_real *)dgateup + n * 2 * F, *du = dg + F;
        for (size_t i = 0; i < F; i++) {
            const llm_real s = sigmoid_of(g[i]);
            dg[i] = dy[i] * u[i] * s * (1 + g[i] * (1 - s));
            du[i] = dy[i] * g[i] * s;
        }
    }
}

/* ---- the head: log-probabilities of the targets ----

   forward    z (V) = hidden w' / temperature, banned ids at -infinity    lse = log sum exp z    logp = z[target] - lse
              p = exp(z - lse)                                            entropy = -sum p log p
   backward   dz[k] = dlogp (1[k = target] - p[k]) - dentropy p[k] (log p[k] + entropy)
              dlogits = dz / temperature     dhidden = dlogits w     dw (=|+=) dlogits' hidden

   Where dz comes from. z[k] goes into logp twice: directly where k is the target (factor 1), and through lse, whose
   derivative by z[k] is exp(z[k]) / sum exp z = p[k] (factor -1). And entropy = lse - sum p z has the derivative
   p[k] - (p[k] + sum over m of z[m] p[m] (1[m = k] - p[k])) = -p[k] (z[k] - sum p z) = -p[k] (log p[k] + entropy).

   This is where every stage's objective enters: cross entropy sends dlogp = -1/M, which gives the familiar
   (p - onehot)/M, and policy gradients send an advantage. With V near 50,000 the logits would be the largest tensor of
   all, so they live for one chunk of rows at a time. Saved are lse and entropy, two numbers a token. */

enum { PLAIN_HEAD_ROWS = 64 };
/* Stands for -infinity: its exp is exactly 0, and 0 times it is 0 instead of NaN. */
static const llm_real never = (llm_real)-1e30;

/* z (rows,V) of rows `first` and on. */
static void head_z(llm_real *z, const llm_act *hidden, size_t first, size_t rows, llm_weight w, llm_head head, size_t C,
                   size_t V) {
    if (!(head.temperature > 0))
        llm_die("--temperature 1", "log-probabilities at temperature %g", (double)head.temperature);
    const llm_real *x = (const llm_real *)hidden + first * C;
    plain_linear_forward((llm_act *)z, (const llm_act *)x, w, (llm_weight){0}, rows, C, V);
    for (size_t k = 0; k < rows * V; k++)
        z[k] = head.banned && head.banned[k % V] ? never : z[k] / head.temperature;
}
static void plain_logprob_forward(llm_real *logp, llm_real *lse, llm_real *entropy, const llm_act *hidden, llm_weight w,
                                  const int *targets, llm_head head, size_t N, size_t C, size_t V) {
    llm_real *chunk = llm_alloc(llm_mul(PLAIN_HEAD_ROWS, V), sizeof *chunk);
    for (size_t first = 0; first < N; first += PLAIN_HEAD_ROWS) {
        const size_t rows = size_min(PLAIN_HEAD_ROWS, N - first);
        head_z(chunk, hidden, first, rows, w, head, C, V);
        LLM_OMP(parallel for)
        for (size_t n = first; n < first + rows; n++) {
            const llm_real *z = chunk + (n - first) * V;
            llm_real max = -INFINITY, sum = 0, plogp = 0;
            for (size_t k = 0; k < V; k++) max = z[k] > max ? z[k] : max;
            for (size_t k = 0; k < V; k++) sum += LLM_MATH(exp)(z[k] - max);
            lse[n] = max + LLM_MATH(log)(sum);
            logp[n] = z[targets[n]] - lse[n];
            for (size_t k = 0; k < V && entropy; k++) plogp += LLM_MATH(exp)(z[k] - lse[n]) * (z[k] - lse[n]);
            if (entropy) entropy[n] = -plogp;
        }
    }
    llm_release(chunk);
}
static void plain_logprob_backward(llm_act *dhidden, llm_real *dw, const llm_real *dlogp, const llm_real *dentropy,
                                   const llm_real *lse, const llm_real *entropy, const llm_act *hidden, llm_weight w,
                                   const int *targets, llm_head head, size_t N, size_t C, size_t V, bool accumulate) {
    llm_real *chunk = llm_alloc(llm_mul(PLAIN_HEAD_ROWS, V), sizeof *chunk);
    for (size_t first = 0; first < N; first += PLAIN_HEAD_ROWS) {
        const size_t rows = size_min(PLAIN_HEAD_ROWS, N - first);
        const llm_real *x = (const llm_real *)hidden + first * C;
        llm_real *dx = dhidden ? (llm_real *)dhidden + first * C : NULL;
        head_z(chunk, hidden, first, rows, w, head, C, V);
        LLM_OMP(parallel for)
        for (size_t n = first; n < first + rows; n++) {
            llm_real *z = chunk + (n - first) * V, dh = dentropy ? dentropy[n] : 0, h = dentropy ? entropy[n] : 0;
            const size_t target = targets[n];
            for (size_t k = 0; k < V; k++) {                                /* z becomes its own gradient */
                const llm_real l = z[k] - lse[n], p = LLM_MATH(exp)(l);
                const llm_real dz = dlogp[n] * ((k == target) - p) - dh * p * (l + h);
                z[k] = z[k] > never ? dz / head.temperature : 0;            /* a banned logit is a constant */
            }
        }
        plain_linear_backward((llm_act *)dx, dw, NULL, (llm_act *)chunk, (const llm_act *)x, w, rows, C, V,
                              accumulate || first);
    }
    llm_release(chunk);
}
static void plain_logits(llm_real *out, const llm_act *hidden, llm_weight w, const int *row, size_t n, size_t C,
                         size_t V) {
    for (size_t i = 0; i < n; i++) {
        const llm_real *x = (const llm_real *)hidden + (row ? (size_t)row[i] : i) * C;
        plain_linear_forward((llm_act *)(out + i * V), (const llm_act *)x, w, (llm_weight){0}, 1, C, V);
    }
}

/* ---- the value: one number per token, for reward models and critics ----

   forward    value[n] = hidden[n] . u                       hidden (N,C), u (C)
   backward   dhidden[n] (=|+=) dvalue[n] u                  du (=|+=) sum over n of dvalue[n] hidden[n]

   A linear with one output. */

static void plain_value_forward(llm_real *value, const llm_act *hidden, const llm_real *u, size_t N, size_t C) {
    for (size_t n = 0; n < N; n++) value[n] = dot((const llm_real *)hidden + n * C, u, C);
}
static void plain_value_backward(llm_act *dhidden, llm_real *du, const llm_real *dvalue, const llm_act *hidden,
                                 const llm_real *u, size_t N, size_t C, bool accumulate_dhidden, bool accumulate_du) {
    const llm_real *x = (const llm_real *)hidden;
    llm_real *dx = (llm_real *)dhidden;
    if (dx && !accumulate_dhidden) memset(dx, 0, N * C * sizeof *dx);
    if (du && !accumulate_du) memset(du, 0, C * sizeof *du);
    for (size_t n = 0; n < N; n++) {
        if (dx) add_scaled(dx + n * C, dvalue[n], u, C);
        if (du) add_scaled(du, dvalue[n], x + n * C, C);
    }
}

/* ---- learning: the norm of the gradient, and AdamW (Loshchilov and Hutter 2019) ----

   grad_norm  the square of the norm: sum of g^2 over all tensors, in double
   adamw      g = scale g              m += (1 - beta1)(g - m)      v += (1 - beta2)(g^2 - v)
              w -= lr (mhat / (sqrt(vhat) + eps) + weight_decay w)
              mhat = m / (1 - beta1^step)      vhat = v / (1 - beta2^step)

   Adam steps by the mean gradient over its size, so a weight moves by about lr at most, whatever its gradient's scale.
   m and v begin at 0 and are too small at first: if every gradient were g, m would be (1 - beta1^step) g after so many
   steps, which is what mhat divides away. The decay acts on w directly (on matrices, not on
   vectors): as a part of g, sqrt(v) would divide it away. `scale` and `step` are llm_adamw_judge's (chapter 6). */

static bool has_gradient(const llm_param *p) { return p->used && p->grad; }

static void plain_grad_norm(llm_adamw_state *state, const llm_param *param, int params) {
    state->sumsq = 0;
    for (const llm_param *p = param; p < param + params; p++)
        for (size_t i = 0; i < (has_gradient(p) ? p->size : 0); i++)
            state->sumsq += (double)p->grad[i] * (double)p->grad[i];
}
/* Moment i: a real, or a bf16, which is rounded up or down by chance, in proportion. To nearest it would stand still:
   bf16 has steps of 0.4 to 0.8%, and with beta2 = 0.999, as many have it, v moves by 0.1% of its way. The chance is a
   hash of the place and the step, so that runs repeat; `shift` picks 16 of its bits, others for m than for v. */
static llm_real moment_get(const void *moments, size_t i, bool moments16) {
    return moments16 ? bf16_to_real(((const uint16_t *)moments)[i]) : ((const llm_real *)moments)[i];
}
static void moment_put(void *moments, size_t i, llm_real x, bool moments16, int step, int shift) {
    const float f = (float)x;
    uint32_t bits, chance = ((uint32_t)i ^ (uint32_t)step * 0x9E3779B9u) * 0x85EBCA6Bu;
    chance = (chance ^ chance >> 15) * 0xC2B2AE35u;
    chance ^= chance >> 16;
    memcpy(&bits, &f, sizeof bits);
    if (moments16) ((uint16_t *)moments)[i] = (bits + (chance >> shift & 0xFFFF)) >> 16;
    else ((llm_real *)moments)[i] = x;
}
static void plain_adamw(const llm_param *param, int params, void *m, void *v, llm_adamw_rule r,
                        llm_adamw_state *state) {
    llm_adamw_judge(state, &r);
    const llm_real fast1 = (llm_real)(1 - r.beta1), c1 = (llm_real)(1 - pow(r.beta1, state->step));
    const llm_real fast2 = (llm_real)(1 - r.beta2), c2 = (llm_real)(1 - pow(r.beta2, state->step));
    const llm_real lr = (llm_real)r.lr, eps = (llm_real)r.eps, scale = (llm_real)state->scale;
    for (const llm_param *p = param; p < param + params && !state->skip; p++) {
        const llm_real decay = p->vector ? 0 : (llm_real)r.weight_decay;
        uint16_t *copy = p->w.type == LLM_TYPE_BF16 ? (uint16_t *)p->w.data : NULL;
        LLM_OMP(parallel for)
        for (size_t i = 0; i < (has_gradient(p) ? p->size : 0); i++) {
            const llm_real g = scale * p->grad[i];
            llm_real mi = moment_get(m, p->offset + i, r.moments16), vi = moment_get(v, p->offset + i, r.moments16);
            mi += fast1 * (g - mi);
            vi += fast2 * (g * g - vi);
            p->data[i] -= lr * (mi / c1 / (LLM_MATH(sqrt)(vi / c2) + eps) + decay * p->data[i]);
            if (copy) copy[i] = real_to_bf16(p->data[i]);
            moment_put(m, p->offset + i, mi, r.moments16, state->step, 16);
            moment_put(v, p->offset + i, vi, r.moments16, state->step, 0);
        }
    }
}

/* ---- the cache: attention of a token that is being said ----

   Keys and values of past tokens never change, so they are kept: row r of the cache holds T tokens of KV heads of D
   numbers. n new tokens, each at its own row and position: first their keys and values are put away, then every query
   looks at positions 0 .. its own. There is no backward pass: nothing is learned while speaking. */

static void plain_cache_attention(llm_act *out, llm_act *k, llm_act *v, const llm_act *qkv, const int *rows,
                                  const int *positions, size_t n, size_t T, size_t H, size_t KV, size_t D) {
    const size_t kv = KV * D, row = H * D + 2 * kv;
    const llm_real *x = (const llm_real *)qkv;
    llm_real *keys = (llm_real *)k, *values = (llm_real *)v;
    for (size_t i = 0; i < n; i++) {
        const size_t at = (rows[i] * T + positions[i]) * kv;
        memcpy(keys + at, x + i * row + H * D, kv * sizeof *x);
        memcpy(values + at, x + i * row + H * D + kv, kv * sizeof *x);
    }
    LLM_OMP(parallel for collapse(2))
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < H; h++) {
            const size_t head = rows[i] * T * kv + h / (H / KV) * D;
            attend((llm_real *)out + (i * H + h) * D, x + i * row + h * D, keys + head, values + head, kv, 0,
                   positions[i], D);
        }
}
static void plain_cache_copy(llm_act *k, llm_act *v, size_t to, size_t from, size_t length, size_t T, size_t KV,
                             size_t D) {
    const size_t row = T * KV * D, bytes = length * KV * D * sizeof(llm_real);
    memcpy((llm_real *)k + to * row, (llm_real *)k + from * row, bytes);
    memcpy((llm_real *)v + to * row, (llm_real *)v + from * row, bytes);
}

/* ---- the table ---- */

/* Every row that a table must have. */
#define PLAIN_ROWS(ROW)                                                                                                \
    ROW(alloc) ROW(release) ROW(upload) ROW(download) ROW(fetch) ROW(wait) ROW(load_ids) ROW(store_weights)            \
    ROW(embed_forward) ROW(embed_backward) ROW(layernorm_forward) ROW(layernorm_backward)                              \
    ROW(rmsnorm_forward) ROW(rmsnorm_backward) ROW(qk_norm_forward) ROW(qk_norm_backward) ROW(post_norm_forward)       \
    ROW(post_norm_backward) ROW(stream_forward) ROW(stream_backward) ROW(linear_forward) ROW(linear_backward)          \
    ROW(residual_forward) ROW(residual_backward) ROW(lora_forward) ROW(lora_backward)                                  \
    ROW(rope_forward) ROW(rope_backward) ROW(attention_forward) ROW(attention_backward)                                \
    ROW(gelu_forward) ROW(gelu_backward) ROW(swiglu_forward) ROW(swiglu_backward)                                      \
    ROW(logprob_forward) ROW(logprob_backward) ROW(logits) ROW(value_forward) ROW(value_backward)                      \
    ROW(grad_norm) ROW(adamw) ROW(cache_attention) ROW(cache_copy)

#define ROW(op) .op = plain_##op,
const llm_ops llm_plain = {
    .name = "plain", .act_size = sizeof(llm_real), .res_size = sizeof(llm_real), .dres_size = sizeof(llm_real),
    .head_rows = PLAIN_HEAD_ROWS, .speakers = 64, PLAIN_ROWS(ROW)
};
#undef ROW
#define ROW(op) {offsetof(llm_ops, op), #op},
void llm_ops_check(const llm_ops *ops) {
    static const struct { size_t at; const char *op; } row[] = {PLAIN_ROWS(ROW)};
    typedef void (*any)(void);
    enum { ROWS = sizeof row / sizeof *row };
    _Static_assert(ROWS == (offsetof(llm_ops, enter) - offsetof(llm_ops, alloc)) / sizeof(any), "one is missing");
    for (size_t i = 0; i < ROWS; i++) {
        any body;
        memcpy(&body, (const char *)ops + row[i].at, sizeof body);
        if (!body)
            llm_die("--device cpu; or start from llm_plain, your rows in its place", "the table \"%s\" has no %s",
                    ops->name, row[i].op);
    }
}
#undef ROW
const char *llm_precision_name(llm_precision p) {
    static const char *const name[] = {"fp32", "bf16x3", "bf16", "tf32"};
    return name[p];
}
int llm_threads(int count) {
#ifdef _OPENMP
    if (count > 0) omp_set_num_threads(count);
    return omp_get_max_threads();
#else
    (void)count;
    return 1;
#endif
}

/* ================================================================================================================
   5. The model
   ================================================================================================================
   A decoder-only transformer is a column of L equal blocks. Every token has C numbers, its row of the residual stream,
   which runs through the whole column. A block reads the stream, computes something from it and adds the result to it;
   nothing in it is ever replaced. Attention is the only place where tokens look at each other; the feed-forward part
   works on each token alone. With N = B T tokens:

       tokens (N) --embedding--> res (N,C) --block 1--> res --block 2--> ... --block L--> res --norm--> hidden (N,C)

   and from hidden the head makes log-probabilities. One block:

       res ---+-------------------------------------------------> (+) = mid ---+----------------------------> (+) = out
              |                                                    |           |                               |
              +-> norm1 -> q|k|v -> (rope) -> attention -> proj ---+           +-> norm2 -> up -> act -> down -+

   The way back runs along the same lines. A sum hands its gradient to both of its summands: so the stream carries dout
   down unchanged, and at each (+) a copy of it turns into the branch, goes back through it and is added where the
   branch had left the stream. With f'(d) for f's backward pass applied to d (d times the transpose of f's derivative):

       dmid = dout + norm2'(up'(act'(down'(dout))))          dres = dmid + norm1'(qkv'(rope'(attention'(proj'(dmid)))))

   The unchanged first term is why deep columns can be trained: it reaches the lowest block however many lie between.
   Each linear and each norm on the way leaves its own weight's gradient behind (chapter 4).

   GPT-2, GPT-3 and the Llamas are the same column with other parts, so one config describes them all, one table lists
   their parameters, and a block's forward and backward pass are half a page each, printed below one another:

                         norm         position     act       bias           its tensors are called
       GPT-2, GPT-3      layer norm   learned      gelu      everywhere     transformer.h.0.attn.c_attn.weight
       Llama, Llama-2    RMS norm     rope         swiglu    nowhere        model.layers.0.self_attn.q_proj.weight
       Qwen2             RMS norm     rope         swiglu    on q, k, v     as Llama's
       Mistral, Phi-3    as Llama; Phi-3 has q|k|v in one tensor, and gate|up
       Qwen3             as Llama, with norms on q and k, head by head, before rope
       SmolLM3           as Llama, but every fourth layer has no rope
       OLMo-2            as Llama, but norm1, norm2 stand behind proj and down; norms on q and k, all heads together

       Vaswani et al. 2017 (attention); Radford et al. 2019, Brown et al. 2020 (GPT-2, GPT-3);
       Touvron et al. 2023a, 2023b (LLaMA, Llama-2); Zhang and Sennrich 2019 (RMSNorm);
       Shazeer 2020 (SwiGLU); Su et al. 2021 (RoPE). */

/* ---- presets: the tables of the lectures ---- */

typedef struct { const char *name; llm_config c; } preset;

#define GPT(v, t, l, c, h)                                                                                             \
    .V = v, .T = t, .L = l, .C = c, .H = h, .KV = h, .D = (c) / (h), .F = 4 * (c), .norm = LLM_LAYERNORM,              \
    .family = LLM_GPT2, .position = LLM_LEARNED, .activation = LLM_GELU, .bias = true, .tied = true, .eps = 1e-5,      \
    .bos = 50256, .eos = 50256, .pad = -1
#define LLAMA(v, t, l, c, h, ...) LIKE_LLAMA(LLM_LLAMA, v, t, l, c, h, (c) / (h), __VA_ARGS__)
#define LIKE_LLAMA(of, v, t, l, c, h, d, kv, f, theta, is_tied, e)                                                     \
    .V = v, .T = t, .L = l, .C = c, .H = h, .KV = kv, .D = d, .F = f, .norm = LLM_RMSNORM,                             \
    .family = of, .position = LLM_ROPE, .activation = LLM_SWIGLU, .tied = is_tied, .eps = e,                           \
    .rope_theta = theta, .bos = 1, .eos = 2, .pad = -1

/* V, T, L, C, H; Llama: KV, F, theta, tied, eps. A new model has V, bos and eos from its tokenizer (train_gpt.c). */
static const preset presets[] = {
    /* ours, for the tiny world: tiny's half a million parameters learn it in two minutes */
    {"nano", {LLAMA(768, 96, 2, 64, 2, 2, 176, 10000, true, 1e-5)}},
    {"tiny", {LLAMA(768, 128, 4, 96, 3, 3, 256, 10000, true, 1e-5)}},
    {"small", {LLAMA(768, 128, 4, 128, 4, 4, 344, 10000, true, 1e-5)}},
    {"med", {LLAMA(1024, 160, 6, 192, 6, 6, 512, 10000, true, 1e-5)}},
    {"big", {LLAMA(2048, 256, 8, 256, 8, 8, 688, 10000, true, 1e-5)}},
    {"gpt-tiny", {GPT(768, 128, 4, 96, 3)}},
    /* GPT-2 (Radford et al. 2019) */
    {"gpt2-124m", {GPT(50257, 1024, 12, 768, 12)}},
    {"gpt2-355m", {GPT(50257, 1024, 24, 1024, 16)}},
    {"gpt2-774m", {GPT(50257, 1024, 36, 1280, 20)}},
    {"gpt2-1.5b", {GPT(50257, 1024, 48, 1600, 25)}},
    /* GPT-3 (Brown et al. 2020, table 2.1) */
    {"gpt3-small", {GPT(50257, 2048, 12, 768, 12)}},
    {"gpt3-medium", {GPT(50257, 2048, 24, 1024, 16)}},
    {"gpt3-large", {GPT(50257, 2048, 24, 1536, 16)}},
    {"gpt3-xl", {GPT(50257, 2048, 24, 2048, 16)}},              /* the table says 24 heads of 128: 3072 channels */
    {"gpt3-2.7b", {GPT(50257, 2048, 32, 2560, 32)}},
    {"gpt3-6.7b", {GPT(50257, 2048, 32, 4096, 32)}},
    {"gpt3-13b", {GPT(50257, 2048, 40, 5120, 40)}},             /* d_model 5140 there, but 40 heads of 128 are 5120 */
    {"gpt3-175b", {GPT(50257, 2048, 96, 12288, 96)}},
    /* LLaMA (Touvron et al. 2023a, table 2) and Llama-2 (2023b; in 34B and 70B 64 heads share the keys of 8) */
    {"llama-7b", {LLAMA(32000, 2048, 32, 4096, 32, 32, 11008, 10000, false, 1e-6)}},
    {"llama-13b", {LLAMA(32000, 2048, 40, 5120, 40, 40, 13824, 10000, false, 1e-6)}},
    {"llama-33b", {LLAMA(32000, 2048, 60, 6656, 52, 52, 17920, 10000, false, 1e-6)}},
    {"llama-65b", {LLAMA(32000, 2048, 80, 8192, 64, 64, 22016, 10000, false, 1e-6)}},
    {"llama2-7b", {LLAMA(32000, 4096, 32, 4096, 32, 32, 11008, 10000, false, 1e-5)}},
    {"llama2-13b", {LLAMA(32000, 4096, 40, 5120, 40, 40, 13824, 10000, false, 1e-5)}},
    {"llama2-34b", {LLAMA(32000, 4096, 48, 8192, 64, 8, 22016, 10000, false, 1e-5)}},
    {"llama2-70b", {LLAMA(32000, 4096, 80, 8192, 64, 8, 28672, 10000, false, 1e-5)}},
    {"smollm2-135m", {LLAMA(49152, 8192, 30, 576, 9, 3, 1536, 100000, true, 1e-5)}},
    {"tinyllama-1.1b", {LLAMA(32000, 2048, 22, 2048, 32, 4, 5632, 10000, false, 1e-5)}},
    {"llama3.2-1b", {LLAMA(128256, 131072, 16, 2048, 32, 8, 8192, 500000, true, 1e-5),
     .rope_scaling = LLM_ROPE_LLAMA3, .rope_factor = 32, .rope_low = 1, .rope_high = 4, .rope_original = 8192}},
    /* families beside Llama's; a head's size stands behind the number of heads */
    {"qwen2-0.5b", {LIKE_LLAMA(LLM_QWEN2, 151936, 32768, 24, 896, 14, 64, 2, 4864, 1e6, true, 1e-6), .qkv_bias = true}},
    {"mistral-7b", {LIKE_LLAMA(LLM_MISTRAL, 32768, 32768, 32, 4096, 32, 128, 8, 14336, 1e6, false, 1e-5)}},
    {"qwen3-0.6b", {LIKE_LLAMA(LLM_QWEN3, 151936, 40960, 28, 1024, 16, 128, 8, 3072, 1e6, true, 1e-6),
     .qk_norm = LLM_QK_HEADS}},
    {"smollm3-3b", {LIKE_LLAMA(LLM_SMOLLM3, 128256, 65536, 36, 2048, 16, 128, 4, 11008, 5e6, true, 1e-6),
     .no_rope_every = 4}},
    {"olmo2-1b", {LIKE_LLAMA(LLM_OLMO2, 100352, 4096, 16, 2048, 16, 128, 16, 8192, 5e5, false, 1e-6),
     .qk_norm = LLM_QK_ALL, .post_norm = true}},
    {"phi3-mini", {LIKE_LLAMA(LLM_PHI3, 32064, 4096, 32, 3072, 32, 96, 32, 8192, 1e4, false, 1e-5)}},
};
#undef GPT
#undef LLAMA
#undef LIKE_LLAMA
enum { LLM_PRESETS = sizeof presets / sizeof presets[0] };

const char *llm_preset_name(int i) { return i < LLM_PRESETS ? presets[i].name : NULL; }
llm_config llm_preset(const char *name) {
    char list[1024] = "one of";
    for (int i = 0, n = 6; i < LLM_PRESETS; i++) {
        if (!strcmp(presets[i].name, name)) return presets[i].c;
        n += snprintf(list + n, sizeof list - n, "%s %s", i ? "," : "", presets[i].name);
    }
    llm_usage(list, "no preset is called '%s'", name);
}

/* ---- the tensor table ----

   Everything that is per parameter walks this one table: allocation, init, loading and saving by name and shape, weight
   decay, LoRA, the gradient test. A row is one Hugging Face tensor. The Llamas' q, k, v (gate, up) are consecutive rows
   without padding between them: the matrix (O,C) of all three is simply the pointer to the first. */

/* How a family calls itself ("model_type" in config.json), its classes and its tensors; a block's stand behind its
   number, "model.layers.0.". One name in place of three: one tensor. A new part of a block begins here and in
   table_block. Then what else its config.json says: which biases it may have, and of a window that we never have. */
typedef struct {
    const char *type, *classes, *wte, *wpe, *block, *norm1, *qkv[3], *q_norm, *k_norm, *proj[3], *norm2, *up[3],
        *down[3], *normf;
    bool attention_bias, mlp_bias; const char *window;
} family_row;

#define LLM_NAMES                                                                                                      \
    .wte = "model.embed_tokens", .block = "model.layers", .q_norm = "self_attn.q_norm", .k_norm = "self_attn.k_norm",  \
    .proj = {"self_attn.o_proj"}, .down = {"mlp.down_proj"}, .normf = "model.norm"
#define LLM_NORMS .norm1 = "input_layernorm", .norm2 = "post_attention_layernorm"
#define LLM_MATRICES                                                                                                   \
    .qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, .up = {"mlp.gate_proj", "mlp.up_proj"}
#define LLM_NO_WINDOW .window = "  \"sliding_window\": null,\n"

static const family_row model_families[] = {
    [LLM_GPT2] = {"gpt2", "GPT2", .wte = "transformer.wte", .wpe = "transformer.wpe", .block = "transformer.h",
                  .norm1 = "ln_1", .qkv = {"attn.c_attn"}, .proj = {"attn.c_proj"}, .norm2 = "ln_2",
                  .up = {"mlp.c_fc"}, .down = {"mlp.c_proj"}, .normf = "transformer.ln_f"},
    [LLM_LLAMA] = {"llama", "Llama", LLM_NAMES, LLM_NORMS, LLM_MATRICES, .attention_bias = true, .mlp_bias = true},
    [LLM_QWEN2] = {"qwen2", "Qwen2", LLM_NAMES, LLM_NORMS, LLM_MATRICES,
                   .window = "  \"use_sliding_window\": false,\n"},
    [LLM_MISTRAL] = {"mistral", "Mistral", LLM_NAMES, LLM_NORMS, LLM_MATRICES, LLM_NO_WINDOW},
    [LLM_QWEN3] = {"qwen3", "Qwen3", LLM_NAMES, LLM_NORMS, LLM_MATRICES, .attention_bias = true},
    [LLM_SMOLLM3] = {"smollm3", "SmolLM3", LLM_NAMES, LLM_NORMS, LLM_MATRICES, .attention_bias = true,
                     .mlp_bias = true},
    [LLM_OLMO2] = {"olmo2", "Olmo2", LLM_NAMES, LLM_MATRICES, .norm1 = "post_attention_layernorm",
                   .norm2 = "post_feedforward_layernorm", .attention_bias = true},
    [LLM_PHI3] = {"phi3", "Phi3", LLM_NAMES, LLM_NORMS, .qkv = {"self_attn.qkv_proj"}, .up = {"mlp.gate_up_proj"},
                  LLM_NO_WINDOW}};

static bool gpt2_names(const llm_config *c) { return c->family == LLM_GPT2; }

/* The table as it is written; size: numbers so far, in the one array of them all. layer -1: outside the blocks. */
typedef struct {
    llm_param *row; int count; size_t size;
    const llm_config *c; const family_row *family; int layer;
} table_writer;

/* At most, weights and biases: four norms 6, q|k|v 6, gate|up 4, proj and down 4; and those outside the blocks. */
enum { BLOCK_ROWS = 20, OTHER_ROWS = 6 };

/* Append a row. `continues`: it continues the matrix of the row before. Every other tensor begins at a multiple of 16
   elements, a 64-byte line of floats. */
static llm_param *table_add(table_writer *t, const char *name, const char *what, size_t rows, size_t cols, double init,
                            bool continues) {
    llm_param *p = &t->row[t->count++];
    if (!continues) t->size = (t->size + 15) / 16 * 16;
    *p = (llm_param){.rows = rows, .cols = cols, .vector = rows == 1, .init = init, .offset = t->size,
                     .size = llm_mul(rows, cols), .groups = 1, .parts = 1};
    if (t->layer < 0) snprintf(p->name, sizeof p->name, "%s.%s", name, what);
    else snprintf(p->name, sizeof p->name, "%s.%d.%s.%s", t->family->block, t->layer, name, what);
    t->size = llm_add(t->size, p->size);
    return p;
}
static llm_part table_norm(table_writer *t, const char *name, size_t width) {
    llm_part x = {.pieces = 1};
    x.w = table_add(t, name, "weight", 1, width, 1, false);
    if (t->c->bias) x.bias = table_add(t, name, "bias", 1, width, 0, false);
    return x;
}
/* A linear of `cols` inputs, whose outputs are made of up to three pieces, rows[0] + rows[1] + rows[2]. All matrices,
   then all biases. */
static llm_part table_linear(table_writer *t, const char *const name[3], const size_t rows[3], size_t cols, double init,
                             bool bias) {
    llm_part x = {.pieces = name[2] ? 3 : name[1] ? 2 : 1};     /* GPT-2 has all of them in one tensor: 1 */
    const size_t all = rows[0] + rows[1] + rows[2];
    for (int i = 0; i < x.pieces; i++) {
        llm_param *p = table_add(t, name[i], "weight", x.pieces > 1 ? rows[i] : all, cols, init, i > 0);
        p->transposed = gpt2_names(t->c);
        if (i == 0) x.w = p;
    }
    for (int i = 0; bias && i < x.pieces; i++) {
        llm_param *p = table_add(t, name[i], "bias", 1, x.pieces > 1 ? rows[i] : all, 0, i > 0);
        if (i == 0) x.bias = p;
    }
    return x;
}
/* Chapter 10: ranks that share a layer have some of its heads and feed-forward columns. */
static void table_cut(const llm_part *x, llm_cut cut, int groups) {
    for (int i = 0; i < x->pieces; i++) {
        x->w[i].cut = cut;
        x->w[i].groups = groups;
        if (x->bias && cut == LLM_CUT_ROWS) x->bias[i].cut = LLM_CUT_COLS, x->bias[i].groups = groups;
    }
}
llm_config llm_config_whole(const llm_model *m) {
    llm_config c = m->c;
    c.H *= m->parts;
    c.KV *= m->parts;
    c.F *= m->parts;
    return c;
}
static size_t full_rows(const llm_param *p) { return p->rows * (p->cut == LLM_CUT_ROWS ? p->parts : 1); }
static size_t full_cols(const llm_param *p) { return p->cols * (p->cut == LLM_CUT_COLS ? p->parts : 1); }
static size_t full_size(const llm_param *p) { return full_rows(p) * full_cols(p); }

/* Where q (which = 0) and k (1) lie in a row of qkv, and how many numbers of them a norm on them takes together. */
static llm_slice qk_slice(const llm_config *c, int which) {
    const size_t q = c->H * c->D, k = c->KV * c->D;
    return (llm_slice){.ld = q + 2 * k, .col = which ? q : 0, .cols = which ? k : q};
}
static size_t qk_width(const llm_config *c, int which) {
    const size_t head = c->D;
    return c->qk_norm == LLM_QK_ALL ? qk_slice(c, which).cols : head;
}

/* Weights start with the variance 2/(5C) (Nguyen and Salazar 2019; GPT-2's deviation 0.02 where C is 1000), and those
   that write into the residual stream divided by sqrt(2L): the variances of 2L branches add up there (GPT-2, whose
   learned positions start with half the deviation). */
static llm_layer table_block(table_writer *t) {
    const llm_config *c = t->c;
    const family_row *name = t->family;
    const double std = sqrt(0.4 / c->C), out = std / sqrt(2.0 * c->L);
    const size_t C = c->C, HD = c->H * c->D, KVD = c->KV * c->D, F = c->F, gate = c->activation == LLM_SWIGLU ? F : 0;
    llm_layer w = {0};
    w.norm1 = table_norm(t, name->norm1, C);
    w.qkv = table_linear(t, name->qkv, (size_t[3]){HD, KVD, KVD}, C, std, c->bias || c->qkv_bias);
    if (c->qk_norm) w.qk_norm[0] = table_norm(t, name->q_norm, qk_width(c, 0));
    if (c->qk_norm) w.qk_norm[1] = table_norm(t, name->k_norm, qk_width(c, 1));
    w.proj = table_linear(t, name->proj, (size_t[3]){C}, HD, out, c->bias || c->proj_bias);
    w.norm2 = table_norm(t, name->norm2, C);
    w.up = table_linear(t, name->up, (size_t[3]){gate, F}, C, std, c->bias || c->mlp_bias);
    w.down = table_linear(t, name->down, (size_t[3]){C}, F, out, c->bias || c->mlp_bias);
    table_cut(&w.qkv, LLM_CUT_ROWS, name->qkv[1] ? 1 : 3);
    table_cut(&w.proj, LLM_CUT_COLS, 1);
    table_cut(&w.up, LLM_CUT_ROWS, gate && !name->up[1] ? 2 : 1);
    table_cut(&w.down, LLM_CUT_COLS, 1);
    return w;
}
/* The table and m's pointers into it, without memory for the numbers. */
static llm_model table_only(const llm_config *c) {
    const double std = sqrt(0.4 / c->C);
    llm_model m = {.c = *c, .parts = 1};
    m.layer = llm_alloc(c->L, sizeof *m.layer);
    m.param = llm_alloc(llm_add(llm_mul(c->L, BLOCK_ROWS), OTHER_ROWS), sizeof *m.param);
    table_writer t = {m.param, 0, 0, c, &model_families[c->family], -1};
    m.wte = table_add(&t, t.family->wte, "weight", c->V, c->C, std, false);
    if (c->position == LLM_LEARNED) m.wpe = table_add(&t, t.family->wpe, "weight", c->T, c->C, std / 2, false);
    for (t.layer = 0; t.layer < c->L; t.layer++) m.layer[t.layer] = table_block(&t);
    t.layer = -1;
    m.normf = table_norm(&t, t.family->normf, c->C);
    m.head = c->tied ? m.wte : table_add(&t, "lm_head", "weight", c->V, c->C, std, false);
    if (c->score) {                     /* the scalar head of chapter 9's reward models and critics: values near 1 */
        m.score = table_add(&t, "score", "weight", 1, c->C, sqrt(1.0 / (c->C + 1)), false);
        m.score->vector = false;        /* one row of a matrix: drawn at random and decayed like one */
    }
    m.params = t.count;
    return m;
}
size_t llm_parameters(const llm_config *c) {
    llm_model m = table_only(c);
    size_t numbers = 0;
    for (int i = 0; i < m.params; i++) numbers = llm_add(numbers, m.param[i].size);
    llm_release_all(m.param, m.layer);
    return numbers;
}

llm_param *llm_param_find(llm_model *m, const char *name) {
    for (int i = 0; i < m->params; i++)
        if (!strcmp(m->param[i].name, name)) return &m->param[i];
    return NULL;
}

static void *device_alloc(const llm_ops *op, size_t count, size_t size, const char *what) {
    void *p = op->alloc(llm_mul(count, size));
    if (!p) llm_die("a smaller --batch, --seq or model, or --recompute", "out of memory: %.1f MB for %s on %s",
                    count * size / 1e6, what, op->name);
    return p;
}
static void device_release(const llm_ops *op, void *p) {
    if (p) op->release(p);
}

/* What learns: the tensor table, or, where adapters hang on it, these alone (chapter 8). */
typedef struct { llm_param *param; int params; size_t size; struct llm_shares *shares; } learner;

static inline learner model_learner(const llm_model *m) {
    if (m->lora) return (learner){m->lora->param, m->lora->params, m->lora->size, m->lora->shares};
    return (learner){m->param, m->params, m->size, m->shares};
}

/* ---- what a rank of a team holds (skip it at the first reading) ----

   A team splits the arenas. Chapter 10 tells why and how; tools/llm_ranks.h has the code, and does nothing alone. */

#if defined(LLM_MPI) || defined(LLM_NCCL)
#include "tools/llm_ranks.h"
#else
struct llm_range { size_t begin; };
void llm_team_set(int zero, int tensors) { (void)zero, (void)tensors; }
#define team_stderr() stderr
#define team_layer(c, parts) (c)
#define team_place(m) false             /* weights */
#define team_weights_changed(m) false
#define team_upload(op, p, to, host, first, count, each) ((void)0)
#define team_download(op, p, host, from, each) ((void)0)
#define team_train(x, ops) NULL
#define team_lora(m) ((void)0)
#define team_free(s, ops) ((void)0)
#define weights_split(m) false          /* of which a rank has a part, and brings the rest when it is needed */
#define team_reserve(m, N) ((void)0)    /* ranks that share a layer */
#define team_residual(m, res) (res)
#define team_bias(m, bias) (bias)
#define team_add(m, x, N, each) ((void)0)
#define unit_ask(m, u) ((void)0)
#define unit_use(m, u) ((void)0)
#define unit_open(m, u) ((void)0)       /* gradients: a unit's are formed, and join the sums */
#define unit_close(m, u) ((void)0)
#define team_moments(x, first) (x)->size
#define team_range(s) NULL
#define team_own_rows(m, x) (x)
#define team_norm(o, op, s) ((void)0)
#define team_spread(m, s) ((void)0)
#endif

/* ---- the parts of a block ----

   Each function below calls one operation of chapter 4 with what the line would otherwise repeat: the sizes, the data
   and the gradient of a part, and whether that gradient is written or added to. */

/* The first writer of a gradient in a step sets it, later ones add (true: a row's `accumulate`): a tied embedding is
   written by head and look-up, and a step may have several batches. `used` remembers until AdamW has stepped. */
static bool mark_written(llm_param *p) {
    const bool was = p->used;
    p->used = p->grad != NULL;
    return was;
}
static bool mark_part(const llm_part *x) {
    const bool was = x->w->used;
    for (int i = 0; i < x->pieces; i++) mark_written(&x->w[i]);
    for (int i = 0; x->bias && i < x->pieces; i++) mark_written(&x->bias[i]);
    return was;
}
static llm_real *data_of(const llm_param *p) { return p ? p->data : NULL; }
static llm_real *grad_of(const llm_param *p) { return p ? p->grad : NULL; }
static llm_weight weight_of(const llm_param *p) { return p ? p->w : (llm_weight){0}; }
static llm_weight embedding_of(const llm_model *m) {     /* looked up in full precision where that is kept */
    const llm_real *full = m->wte->w.full;
    return full ? (llm_weight){full, LLM_TYPE_REAL, NULL, full} : m->wte->w;
}
static size_t part_outputs(const llm_part *x) {
    size_t n = 0;
    for (int i = 0; i < x->pieces; i++) n += x->w[i].rows;
    return n;
}

static void model_norm_forward(llm_model *m, llm_act *out, llm_stats s, const llm_res *inp, const llm_part *x,
                               size_t N) {
    if (m->c.norm == LLM_LAYERNORM)
        m->ops->layernorm_forward(out, s.mean, s.rstd, inp, x->w->data, data_of(x->bias), m->c.eps, N, m->c.C);
    else m->ops->rmsnorm_forward(out, s.rstd, inp, x->w->data, m->c.eps, N, m->c.C);
}
/* join: dinp is the residual stream's gradient, and this is added to it. */
static void model_norm_backward(llm_model *m, llm_res *dinp, const llm_act *dout, llm_stats s, const llm_res *inp,
                                const llm_part *x, size_t N, bool join) {
    const bool add = mark_part(x);
    if (m->c.norm == LLM_LAYERNORM)
        m->ops->layernorm_backward(dinp, x->w->grad, grad_of(x->bias), dout, inp, x->w->data, s.mean, s.rstd, N,
                                   m->c.C, join, add);
    else m->ops->rmsnorm_backward(dinp, x->w->grad, dout, inp, x->w->data, s.rstd, N, m->c.C, join, add);
}
/* What a branch reads: the norm of the stream; where the norms stand behind the branches, the stream itself. */
static void model_read_forward(llm_model *m, llm_act *out, llm_stats s, const llm_res *res, const llm_part *norm,
                               size_t N) {
    if (m->c.post_norm) m->ops->stream_forward(out, res, N * m->c.C);
    else model_norm_forward(m, out, s, res, norm, N);
}
static void model_read_backward(llm_model *m, const llm_act *dout, llm_stats s, const llm_res *res,
                                const llm_part *norm, size_t N) {
    if (m->c.post_norm) m->ops->stream_backward(m->dres, dout, N * m->c.C);
    else model_norm_backward(m, m->dres, dout, s, res, norm, N, true);
}
/* q and k as attention sees them: normed, and turned to their positions, where the config has that. */
static bool has_rope(const llm_config *c, int l) {
    return c->position == LLM_ROPE && !(c->no_rope_every && (l + 1) % c->no_rope_every == 0);
}
static llm_real rope_scale(const llm_config *c) { return c->rope_scaling == LLM_ROPE_YARN ? c->rope_length : 1; }
static void model_qk_forward(llm_model *m, int l, size_t N) {
    const llm_config *c = &m->c;
    const llm_acts *a = &m->acts[l];
    for (int i = 0; i < 2 && c->qk_norm; i++)
        m->ops->qk_norm_forward(a->qkv, a->qk[i].inp, a->qk[i].rstd, m->layer[l].qk_norm[i].w->data, c->eps, N,
                                qk_slice(c, i), qk_width(c, i));
    if (has_rope(c, l))
        m->ops->rope_forward(a->qkv, m->freq, rope_scale(c), m->ids.positions, N, c->H, c->KV, c->D);
}
static void model_qk_backward(llm_model *m, int l, size_t N) {
    const llm_config *c = &m->c;
    const llm_acts *a = &m->acts[l];
    if (has_rope(c, l))
        m->ops->rope_backward(m->dqkv, m->freq, rope_scale(c), m->ids.positions, N, c->H, c->KV, c->D);
    for (int i = 0; i < 2 && c->qk_norm; i++) {
        const llm_part *x = &m->layer[l].qk_norm[i];
        m->ops->qk_norm_backward(m->dqkv, x->w->grad, a->qk[i].inp, a->qk[i].rstd, x->w->data, N, qk_slice(c, i),
                                 qk_width(c, i), mark_part(x));
    }
}
static void activation_forward(llm_model *m, llm_act *out, const llm_act *pre, size_t N) {
    if (m->c.activation == LLM_GELU) m->ops->gelu_forward(out, pre, N * m->c.F);
    else m->ops->swiglu_forward(out, pre, N, m->c.F);
}
static void activation_backward(llm_model *m, llm_act *dpre, const llm_act *dout, const llm_act *pre, size_t N) {
    if (m->c.activation == LLM_GELU) m->ops->gelu_backward(dpre, dout, pre, N * m->c.F);
    else m->ops->swiglu_backward(dpre, dout, pre, N, m->c.F);
}

/* The adapters that hang on a linear (chapter 8; skip them for now) each add to their own columns of its output. */
static llm_slice adapter_slice(const llm_part *x, int i) {
    llm_slice s = {.ld = part_outputs(x), .cols = x->w[i].rows};
    while (i-- > 0) s.col += x->w[i].rows;
    return s;
}
static void adapters_forward(llm_model *m, void *out, const llm_act *inp, const llm_part *x, size_t N,
                             bool to_residual) {
    const llm_lora *lora = m->lora_off ? NULL : m->lora;
    for (int i = 0; lora && i < x->pieces; i++) {
        const llm_adapter *a = x->w[i].adapter;
        if (a)
            m->ops->lora_forward(out, a->u, inp, a->A->data, a->B->data, lora->scale, N, x->w->cols, lora->rank,
                                 adapter_slice(x, i), to_residual);
    }
}
static void adapters_backward(llm_model *m, llm_act *dinp, const void *dout, const llm_act *inp, const llm_part *x,
                              size_t N, bool from_residual) {
    const llm_lora *lora = m->lora_off ? NULL : m->lora;
    for (int i = 0; lora && i < x->pieces; i++) {
        const llm_adapter *a = x->w[i].adapter;
        if (a)
            m->ops->lora_backward(dinp, a->A->grad, a->B->grad, lora->du, dout, a->u, inp, a->A->data, a->B->data,
                                  lora->scale, N, x->w->cols, lora->rank, adapter_slice(x, i), from_residual,
                                  mark_part(&(llm_part){a->A, a->B, 1}));   /* B in a bias's place */
    }
}
/* out (N,O) = inp (N,I) w' + bias, and the same on top of the residual stream: out = res + inp w' + bias. There a norm
   may stand behind the product, which is then kept: out = res + norm(inp w' + bias). */
static void model_linear_forward(llm_model *m, llm_act *out, const llm_act *inp, const llm_part *x, size_t N) {
    m->ops->linear_forward(out, inp, x->w->w, weight_of(x->bias), N, x->w->cols, part_outputs(x));
    adapters_forward(m, out, inp, x, N, false);
}
static void model_linear_backward(llm_model *m, llm_act *dinp, const llm_act *dout, const llm_act *inp,
                                  const llm_part *x, size_t N) {
    m->ops->linear_backward(dinp, x->w->grad, grad_of(x->bias), dout, inp, x->w->w, N, x->w->cols, part_outputs(x),
                            mark_part(x));
    team_add(m, dinp, N, m->ops->act_size);
    adapters_backward(m, dinp, dout, inp, x, N, false);
}
static void model_residual_forward(llm_model *m, llm_res *out, const llm_res *res, const llm_act *inp,
                                   const llm_part *x, const llm_part *norm, llm_stats s, size_t N) {
    if (m->c.post_norm) {
        model_linear_forward(m, s.inp, inp, x, N);
        m->ops->post_norm_forward(out, s.rstd, res, s.inp, norm->w->data, m->c.eps, N, m->c.C);
        return;
    }
    res = team_residual(m, res);        /* of ranks that share a layer one adds residual stream and bias */
    m->ops->residual_forward(out, res, inp, x->w->w, weight_of(team_bias(m, x->bias)), N, x->w->cols, x->w->rows);
    team_add(m, out, N, m->ops->res_size);
    adapters_forward(m, out, inp, x, N, true);
}
static void model_residual_backward(llm_model *m, llm_act *dinp, const llm_act *inp, const llm_part *x,
                                    const llm_part *norm, llm_stats s, size_t N) {
    if (m->c.post_norm) {
        m->ops->post_norm_backward(m->dxn, norm->w->grad, m->dres, s.inp, norm->w->data, s.rstd, N, m->c.C,
                                   mark_part(norm));
        model_linear_backward(m, dinp, m->dxn, inp, x, N);
        return;
    }
    m->ops->residual_backward(dinp, x->w->grad, grad_of(x->bias), m->dres, inp, x->w->w, N, x->w->cols, x->w->rows,
                              mark_part(x));
    adapters_backward(m, dinp, m->dres, inp, x, N, true);
}
/* The feed-forward part's two products beside its activation. A device may have product and GELU as one operation,
   called where no adapter comes between. x is `up` on the way forward and `down` on the way back. */
static bool gelu_in_product(const llm_model *m, const llm_part *x) {
    const bool adapted = m->lora && !m->lora_off && x->w->adapter;
    return m->c.activation == LLM_GELU && m->ops->linear_gelu_forward && m->ops->residual_gelu_backward && !adapted;
}
static void model_up_forward(llm_model *m, llm_act *ff, llm_act *pre, const llm_act *inp, const llm_part *x, size_t N) {
    if (gelu_in_product(m, x)) {
        m->ops->linear_gelu_forward(pre, ff, inp, x->w->w, weight_of(x->bias), N, x->w->cols, x->w->rows);
        return;
    }
    model_linear_forward(m, pre, inp, x, N);
    activation_forward(m, ff, pre, N);
}
static void model_down_backward(llm_model *m, const llm_acts *a, const llm_layer *w, size_t N) {
    const llm_part *x = &w->down;
    if (gelu_in_product(m, x)) {
        m->ops->residual_gelu_backward(m->dpre, x->w->grad, grad_of(x->bias), m->dres, a->ff, a->pre, x->w->w, N,
                                       x->w->cols, x->w->rows, mark_part(x));
        return;
    }
    model_residual_backward(m, m->dff, a->ff, x, &w->norm2, a->stats2, N);
    activation_backward(m, m->dpre, m->dff, a->pre, N);
}

/* ---- a block, forward and backward ---- */

/* One block: out = mid + down(act(up(norm2(mid)))),  mid = res + proj(attention(qkv(norm1(res)))). (N,C) each; with
   swiglu `up` is two matrices side by side, gate | up. Where text is said and not learned (chapter 7) attention puts
   its keys and values into the cache and looks there, and ids.start is a token's row in it; else cache is NULL. norm1
   and norm2 are computed where a branch is read, or, where they stand behind, with its last product. */
static void block_forward(llm_model *m, int l, llm_res *out, size_t B, size_t T, const llm_cache *cache) {
    const llm_config *c = &m->c;
    const llm_ops *op = m->ops;
    const llm_layer *w = &m->layer[l];
    const llm_acts *a = &m->acts[l];
    const size_t N = B * T, H = c->H, KV = c->KV, D = c->D;

    model_read_forward(m, a->xn1, a->stats1, a->res, &w->norm1, N);
    model_linear_forward(m, a->qkv, a->xn1, &w->qkv, N);
    model_qk_forward(m, l, N);
    if (!cache) op->attention_forward(a->att, a->lse, a->qkv, m->ids.start, B, T, H, KV, D);
    else op->cache_attention(a->att, cache->k[l], cache->v[l], a->qkv, m->ids.start, m->ids.positions, N, cache->T, H,
                             KV, D);
    model_residual_forward(m, a->mid, a->res, a->att, &w->proj, &w->norm1, a->stats1, N);

    model_read_forward(m, a->xn2, a->stats2, a->mid, &w->norm2, N);
    model_up_forward(m, a->ff, a->pre, a->xn2, &w->up, N);
    model_residual_forward(m, out, a->mid, a->ff, &w->down, &w->norm2, a->stats2, N);
}
/* The same lines from the last to the first. m->dres holds the gradient of `out` on entry and that of `res` on return:
   the residual stream passes it on unchanged, each norm's backward adds its part. Where the outputs of norm1, norm2 and
   the activation, 2 C + F numbers a token, are not kept, they are made again: some percent of the time for a third of
   the memory. */
static void block_backward(llm_model *m, int l, size_t B, size_t T) {
    const llm_config *c = &m->c;
    const llm_ops *op = m->ops;
    const llm_layer *w = &m->layer[l];
    const llm_acts *a = &m->acts[l];
    const size_t N = B * T, H = c->H, KV = c->KV, D = c->D;
    const bool kept = m->keep == LLM_KEEP_ALL;

    if (!kept) activation_forward(m, a->ff, a->pre, N);
    model_down_backward(m, a, w, N);
    if (!kept) model_read_forward(m, a->xn2, a->stats2, a->mid, &w->norm2, N);
    model_linear_backward(m, m->dxn, m->dpre, a->xn2, &w->up, N);
    model_read_backward(m, m->dxn, a->stats2, a->mid, &w->norm2, N);

    model_residual_backward(m, m->datt, a->att, &w->proj, &w->norm1, a->stats1, N);
    op->attention_backward(m->dqkv, m->datt, a->att, a->lse, a->qkv, m->ids.start, B, T, H, KV, D);
    model_qk_backward(m, l, N);
    if (!kept) model_read_forward(m, a->xn1, a->stats1, a->res, &w->norm1, N);
    model_linear_backward(m, m->dxn, m->dqkv, a->xn1, &w->qkv, N);
    model_read_backward(m, m->dxn, a->stats1, a->res, &w->norm1, N);
}

/* ---- memory ---- */

/* Frequencies of rope: freq[j] = theta^(-2j/D). To reach beyond the `original` tokens of training, rope_scaling keeps a
   share of each and slows the rest by `factor`: of Llama-3's all that turn more than `high` times in these tokens, none
   that turn less than `low` times; in yarn (Peng et al. 2023) the share falls evenly with j between the two. Linear:
   none (Chen et al. 2023). Dynamic keeps all, and theta grows with the longest text of the pass. */
static double rope_share(const llm_config *c, double j, double f) {
    const double turn = 6.283185307179586, per = c->D / (2 * log(c->rope_theta)), N = c->rope_original;
    double high = per * log(N / (c->rope_high * turn)), low = per * log(N / (c->rope_low * turn)), share = 1;
    if (c->rope_truncate) high = floor(high), low = ceil(low);          /* yarn: these j turn so often */
    high = fmax(high, 0), low = fmin(low, c->D - 1);
    if (c->rope_scaling == LLM_ROPE_LINEAR) share = 0;
    if (c->rope_scaling == LLM_ROPE_LLAMA3) share = (N / (turn / f) - c->rope_low) / (c->rope_high - c->rope_low);
    if (c->rope_scaling == LLM_ROPE_YARN) share = 1 - (j - high) / (low == high ? 0.001 : low - high);
    return share < 0 ? 0 : share > 1 ? 1 : share;
}
static void model_frequencies(llm_model *m, int length) {
    const llm_config *c = &m->c;
    const size_t half = c->D / 2;
    const double more = c->rope_scaling == LLM_ROPE_DYNAMIC ? fmax((double)length / c->rope_original - 1, 0) : 0;
    const double theta = c->rope_theta * pow(1 + c->rope_factor * more, c->D / (c->D - 2.0));
    llm_real *freq = llm_alloc(half, sizeof *freq);
    for (size_t j = 0; j < half; j++) {
        const double f = pow(theta, -2.0 * j / c->D), share = rope_share(c, j, f);
        freq[j] = share < 1 ? f * ((1 - share) / c->rope_factor + share) : f;
    }
    if (!m->freq) m->freq = device_alloc(m->ops, half, sizeof *freq, "rope");
    m->ops->upload(m->freq, freq, half * sizeof *freq);
    m->freq_length = length;
    llm_release(freq);
}
/* Dynamic rope: those of the longest text of this pass. */
static void model_stretch(llm_model *m, const int *positions, size_t N) {
    int length = m->c.rope_original;
    if (m->c.rope_scaling != LLM_ROPE_DYNAMIC) return;
    for (size_t i = 0; i < N; i++) length = llm_max(length, positions[i] + 1);
    if (length != m->freq_length) model_frequencies(m, length);
}
/* The arenas of the weights, and the place of each tensor. */
static void place_weights(llm_model *m) {
    const llm_param *last = &m->param[m->params - 1];
    m->weights = LLM_TYPE_REAL;
    m->size = (last->offset + last->size + 15) / 16 * 16;
    if (team_place(m)) return;
    m->data = device_alloc(m->ops, m->size, sizeof *m->data, "weights");
    if (m->ops->precision == LLM_BF16) m->work = device_alloc(m->ops, m->size, sizeof(uint16_t), "bf16 weights");
    uint16_t *work = m->work;
    for (llm_param *p = m->param; p < m->param + m->params; p++) {
        p->data = m->data + p->offset;
        p->w = (llm_weight){p->data, LLM_TYPE_REAL, NULL, p->data};
        if (work) p->w = (llm_weight){work + p->offset, LLM_TYPE_BF16, NULL, p->data};
    }
}
/* New numbers in the master weights reach the working copy. */
void llm_weights_changed(llm_model *m) {
    if (!team_weights_changed(m) && m->work) m->ops->store_weights(m->work, m->data, m->size);
}
/* Numbers of a row, from number `first` on, from the host to the device, and the whole row to the host. Of what is
   split the owners give their parts to all, so every rank has to ask. each: bytes of a number. */
static void param_upload(const llm_ops *op, const llm_param *p, void *to, const void *host, size_t first, size_t count,
                         size_t each) {
    if (p->range || p->parts > 1) team_upload(op, p, to, host, first, count, each);
    else op->upload((char *)to + first * each, host, count * each);
}
static void param_download(const llm_ops *op, const llm_param *p, void *host, const void *from, size_t each) {
    if (p->range || p->parts > 1) team_download(op, p, host, from, each);
    else op->download(host, from, p->size * each);
}

/* ---- weights in fewer bits ----

   A weight that is only read, not learned, may lie in 16, 8 or 4 bits: chapter 13 says how and writes them, weight_row
   (chapter 4) reads them. Here stands only where they lie; skip it at the first reading. */

static size_t weight_blocks(llm_type type, size_t cols) {       /* scales of a row */
    return type == LLM_TYPE_Q8 || type == LLM_TYPE_Q4 ? (cols + 31) / 32 : 0;
}
static size_t weight_row_bytes(llm_type type, size_t cols) {
    return type == LLM_TYPE_REAL   ? cols * sizeof(llm_real)
           : type == LLM_TYPE_BF16 ? cols * sizeof(uint16_t)
           : type == LLM_TYPE_Q8   ? cols
                                   : 16 * weight_blocks(type, cols);
}
/* Norms, biases and learned positions stay as they are; so does the scalar head. */
static bool param_stays(const llm_model *m, const llm_param *p) { return p->vector || p == m->wpe || p == m->score; }

/* place_weights for these: an arena of all scales and then all integers, and one of what stays. First it is counted,
   then handed out. Rows follow each other without gaps, so q, k and v are one matrix here too. */
static void place_packed(llm_model *m, llm_type type) {
    llm_param *const end = m->param + m->params;
    size_t scales = 0, bytes = 0;
    m->weights = type;
    m->size = 0;
    if (llm_team && llm_team->tensors > 1)
        llm_usage("--tensor-parallel 1", "ranks share no layers in fewer bits");
    for (llm_param *p = m->param; p < end; p++) {
        if (param_stays(m, p)) m->size += p->size;
        else {
            scales = llm_add(scales, llm_mul(p->rows, weight_blocks(type, p->cols)));
            bytes = llm_add(bytes, llm_mul(p->rows, weight_row_bytes(type, p->cols)));
        }
    }
    const size_t all_scales = (scales * sizeof(uint16_t) + 63) / 64 * 64;
    m->packed_bytes = llm_add(all_scales, bytes);
    m->packed = device_alloc(m->ops, m->packed_bytes, 1, "weights");
    m->data = device_alloc(m->ops, m->size, sizeof *m->data, "vectors");
    uint16_t *scale = m->packed;
    char *integer = (char *)m->packed + all_scales;
    llm_real *data = m->data;
    for (llm_param *p = m->param; p < end; p++) {
        p->range = NULL;
        p->data = param_stays(m, p) ? data : NULL;
        p->w = p->data ? (llm_weight){data, LLM_TYPE_REAL, NULL, data} : (llm_weight){integer, type, scale, NULL};
        if (p->data) data += p->size;
        else {
            scale += p->rows * weight_blocks(type, p->cols);
            integer += p->rows * weight_row_bytes(type, p->cols);
        }
    }
}
/* A whole tensor from the device, into fresh memory, whatever type it has there. */
static llm_real *param_read(const llm_ops *op, const llm_param *p) {
    llm_real *host = llm_alloc(full_size(p), sizeof *host);
    if (p->data) {
        param_download(op, p, host, p->data, sizeof *host);
        return host;
    }
    const size_t bytes = p->rows * weight_row_bytes(p->w.type, p->cols);
    const size_t blocks = p->rows * weight_blocks(p->w.type, p->cols);
    char *packed = llm_alloc(bytes, 1);
    uint16_t *scale = llm_alloc(blocks + 1, sizeof *scale);
    op->download(packed, p->w.data, bytes);
    if (blocks) op->download(scale, p->w.scale, blocks * sizeof *scale);
    const llm_weight w = {packed, p->w.type, scale, NULL};
    for (size_t r = 0; r < p->rows; r++) memcpy(host + r * p->cols, weight_row(w, p->cols, r), p->cols * sizeof *host);
    llm_release_all(packed, scale);
    return host;
}
/* ---- the life of a model ---- */

/* Everything but the numbers: table, arenas, pointers. */
static void model_allocate(llm_model *m, const llm_config *c, const llm_ops *ops, llm_type weights) {
    llm_config_check(c, "model");
    llm_ops_check(ops);
    int parts = 1;
    const llm_config layer = team_layer(*c, &parts);
    *m = table_only(&layer);
    m->parts = parts;
    m->ops = ops;
    m->acts = llm_alloc(c->L, sizeof *m->acts);
    m->frozen = true;
    m->head_options.temperature = 1;
    if (weights == LLM_TYPE_REAL) place_weights(m);
    else place_packed(m, weights);
    if (c->position == LLM_ROPE) model_frequencies(m, c->rope_original);
}
/* Draw a tensor: every row from its own stream, so that the result depends on seed, name and row alone. */
static void param_draw(const llm_ops *op, const llm_param *p, uint64_t seed, double draw(llm_rng *r)) {
    const uint64_t stream = llm_hash(p->name, strlen(p->name), 0);
    const size_t rows = full_rows(p), cols = full_cols(p);
    llm_real *host = llm_alloc(rows * cols, sizeof *host);
    LLM_OMP(parallel for schedule(static))
    for (size_t i = 0; i < rows; i++) {
        llm_rng r = llm_rng_seed(seed, stream + i);
        for (size_t j = 0; j < cols; j++) host[i * cols + j] = p->vector ? p->init : p->init * draw(&r);
    }
    param_upload(op, p, p->data, host, 0, rows * cols, sizeof *host);
    llm_release(host);
}
void llm_model_init(llm_model *m, const llm_config *c, const llm_ops *ops, uint64_t seed) {
    model_allocate(m, c, ops, LLM_TYPE_REAL);
    for (int i = 0; i < m->params; i++) param_draw(ops, &m->param[i], seed, llm_rng_normal);
    llm_weights_changed(m);
}
static void refuse_packed(const llm_model *m, const char *what) {
    if (m->weights != LLM_TYPE_REAL)
        llm_die("weights in fp32 (llm_quantise makes them so again), or LoRA on it", "cannot %s a quantised model",
                what);
}
static void refuse_adapters(const llm_model *m, const char *what) {
    if (m->lora) llm_die("llm_lora_merge first", "%s a model with adapters", what);
}
void llm_model_train(llm_model *m) {
    const learner x = model_learner(m);
    llm_real **grad = m->lora ? &m->lora->grad : &m->grad;
    if (*grad) return;
    if (!m->lora) refuse_packed(m, "train");
    m->frozen = false;
    if (x.shares) {
        *grad = team_train(x, m->ops);
        return;
    }
    *grad = device_alloc(m->ops, x.size, sizeof **grad, "gradients");
    for (int i = 0; i < x.params; i++) x.param[i].grad = *grad + x.param[i].offset;
}
void llm_model_free(llm_model *m) {
    if (!m->ops) return;
    llm_lora_free(m);
    void *device[] = {m->data, m->grad, m->work, m->packed, m->freq, m->pool};
    for (size_t i = 0; i < sizeof device / sizeof *device; i++) device_release(m->ops, device[i]);
    team_free(m->shares, m->ops);
    llm_release_all(m->param, m->layer, m->acts);
    *m = (llm_model){.ops = NULL};
}

/* ---- activations ----

   What a pass over N tokens computes lies in one allocation, cut by one function that first only counts (base NULL),
   then hands out pieces. Scratch that is never needed at the same time shares its place. Of each layer's llm_acts

       LLM_KEEP_ALL             all are kept: what the backward pass reads
       LLM_KEEP_MOST            all but xn1, xn2 and ff, which are scratch
       LLM_KEEP_INPUTS          res is kept; the others are one set, which all layers write in turn
       frozen, or speaking      the same, and of res there are two: layer l reads one and writes the other */

typedef struct { char *base; size_t used; const llm_ops *op; } pool_cutter;

static void *pool_take(pool_cutter *k, size_t count, size_t size) {
    void *p = k->base ? k->base + k->used : NULL;
    k->used = llm_add(k->used, (llm_mul(count, size) + 63) / 64 * 64);
    return p;
}
static llm_real *pool_real(pool_cutter *k, size_t rows, size_t cols) {
    return pool_take(k, llm_mul(rows, cols), sizeof(llm_real));
}
static llm_act *pool_act(pool_cutter *k, size_t rows, size_t cols) {
    return pool_take(k, llm_mul(rows, cols), k->op->act_size);
}
static llm_res *pool_res(pool_cutter *k, size_t rows, size_t cols) {
    return pool_take(k, llm_mul(rows, cols), k->op->res_size);
}
static llm_stats pool_stats(pool_cutter *k, size_t rows, size_t width) {        /* width > 0: the input is kept, too */
    llm_real *mean = pool_real(k, rows, 1), *rstd = pool_real(k, rows, 1);
    return (llm_stats){mean, rstd, pool_act(k, rows, width)};
}
/* Outputs of the feed-forward part's first product: gate and up, or up alone. */
static size_t pre_width(const llm_config *c) { return c->activation == LLM_SWIGLU ? 2 * c->F : c->F; }

static void layers_cut_pool(llm_model *m, pool_cutter *k, size_t N, bool learns) {
    const llm_config *c = &m->c;
    const bool keep = learns && m->keep != LLM_KEEP_INPUTS, all = learns && m->keep == LLM_KEEP_ALL;
    for (int l = 0; l < c->L; l++) {
        llm_acts *a = &m->acts[l];
        if (l && !keep) *a = m->acts[0];
        a->res = l > 1 && !learns ? m->acts[l - 2].res : pool_res(k, N, c->C);
        if (l && !keep) continue;
        a->mid = pool_res(k, N, c->C);
        a->qkv = pool_act(k, N, (c->H + 2 * c->KV) * c->D);
        a->att = pool_act(k, N, c->H * c->D);
        a->pre = pool_act(k, N, pre_width(c));
        a->xn1 = all ? pool_act(k, N, c->C) : m->hidden;        /* no two norms' outputs are needed together */
        a->xn2 = all ? pool_act(k, N, c->C) : m->hidden;
        a->ff = all ? pool_act(k, N, c->F) : m->ff;
        a->stats1 = pool_stats(k, N, c->post_norm ? c->C : 0);
        a->stats2 = pool_stats(k, N, c->post_norm ? c->C : 0);
        for (int i = 0; i < 2 && c->qk_norm; i++)
            a->qk[i] = pool_stats(k, N * (qk_slice(c, i).cols / qk_width(c, i)), qk_width(c, i));
        a->lse = pool_real(k, N, c->H);
    }
}
static size_t model_cut_pool(llm_model *m, char *base, size_t N, bool learns) {
    const llm_config *c = &m->c;
    const size_t C = c->C, F = c->F, PRE = pre_width(c), HD = c->H * c->D, QKV = HD + 2 * c->KV * c->D;
    pool_cutter k = {base, 0, m->ops};
    m->hidden = pool_act(&k, N, C);
    m->ff = m->dqkv = pool_act(&k, N, learns ? size_max(F, QKV) : F);     /* on the way back ff is done first */
    layers_cut_pool(m, &k, N, learns);
    m->resf = pool_res(&k, N, C);
    m->statsf = pool_stats(&k, N, 0);
    llm_real **per_token[] = {&m->logp, &m->lse, &m->entropy, &m->value, &m->dlogp, &m->dentropy, &m->dvalue};
    for (int i = 0; i < 7; i++) *per_token[i] = pool_real(&k, N, 1);
    int **ids[] = {&m->ids.tokens, &m->ids.targets, &m->ids.positions, &m->ids.start, &m->rows};
    for (int i = 0; i < 5; i++) *ids[i] = pool_take(&k, N, sizeof(int));
    m->ids.own = learns ? pool_take(&k, llm_add(N, 1), m->ops->ids_size) : NULL;
    for (int i = 0; m->lora && i < m->lora->adapters; i++) m->lora->adapter[i].u = pool_act(&k, N, m->lora->rank);
    if (!learns) return k.used;
    if (m->lora) m->lora->du = pool_act(&k, N, m->lora->rank);
    m->dres = pool_take(&k, llm_mul(N, C), m->ops->dres_size);
    m->dxn = m->dhidden = pool_act(&k, N, C);           /* the head is done before the blocks' way back begins */
    m->dpre = pool_act(&k, N, PRE);
    m->dff = c->activation == LLM_GELU ? m->dpre : pool_act(&k, N, F);          /* gelu works in place */
    m->datt = HD <= PRE ? m->dpre : pool_act(&k, N, HD);
    return k.used;
}
static void model_reserve(llm_model *m, size_t N, bool learns) {
    const size_t bytes = model_cut_pool(m, NULL, N, learns);
    team_reserve(m, N);
    if (bytes > m->pool_bytes) {
        device_release(m->ops, m->pool);
        m->pool = device_alloc(m->ops, bytes, 1, "activations");
        m->pool_bytes = bytes;
    }
    model_cut_pool(m, m->pool, N, learns);
}
/* What is about to run was made for this table. */
static void model_enter(const llm_model *m) {
    if (m->ops->enter) m->ops->enter(m->ops);
}
static void require_ids(const int *ids, size_t n, int limit, const char *what) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= limit)
            llm_die("the tokenizer that belongs to the model", "%s %d at place %zu is outside 0..%d", what, ids[i], i,
                    limit - 1);
}
static void model_upload(llm_model *m, const llm_batch *b) {
    const size_t N = llm_places(b);
    if (b->B < 1 || b->T < 1 || N > INT_MAX) llm_die("a smaller --batch", "impossible batch %d x %d", b->B, b->T);
    if (b->T > m->c.T)
        llm_die("a smaller --seq", "sequence of %d tokens is beyond the model's context of %d", b->T, m->c.T);
    require_ids(b->tokens, N, m->c.V, "token");
    require_ids(b->targets, N, m->c.V, "target");
    require_ids(b->positions, N, m->c.T, "position");
    for (int i = 0; i < b->B * b->T; i++)
        if (b->start[i] < 0 || b->start[i] > i % b->T)
            llm_die(NULL, "attention start %d at place %d", b->start[i], i);
    model_reserve(m, N, !m->frozen);
    model_stretch(m, b->positions, N);
    m->ops->load_ids(&m->ids, b);
}

/* ---- the whole model ---- */

/* Embedding, all blocks, last norm: m->ids of N = B T tokens -> hidden (N,C). Room and ids are there already. */
static void hidden_forward(llm_model *m, size_t B, size_t T, const llm_cache *cache) {
    const llm_config *c = &m->c;
    const size_t N = B * T;
    unit_ask(m, 0);
    unit_ask(m, c->L + 1);
    unit_ask(m, 1);
    unit_use(m, 0);
    unit_use(m, c->L + 1);
    m->ops->embed_forward(m->acts[0].res, embedding_of(m), data_of(m->wpe), m->ids.tokens, m->ids.positions, N, c->C);
    for (int l = 0; l < c->L; l++) {
        unit_use(m, l + 1);
        unit_ask(m, l + 2);             /* on its way while this one is computed */
        block_forward(m, l, l + 1 < c->L ? m->acts[l + 1].res : m->resf, B, T, cache);
    }
    model_norm_forward(m, m->hidden, m->statsf, m->resf, &m->normf, N);
}
/* The same of a batch. Returns N. */
static size_t trunk_forward(llm_model *m, const llm_batch *b) {
    model_enter(m);
    model_upload(m, b);
    hidden_forward(m, b->B, b->T, NULL);
    return llm_places(b);
}
/* dhidden -> the gradients of everything below the head. */
static void trunk_backward(llm_model *m, const llm_batch *b) {
    const llm_config *c = &m->c;
    const size_t N = llm_places(b);
    model_norm_backward(m, m->dres, m->dhidden, m->statsf, m->resf, &m->normf, N, false);
    unit_close(m, c->L + 1);
    for (int l = c->L - 1; l >= 0; l--) {
        unit_use(m, l + 1);
        unit_ask(m, l);
        unit_open(m, l + 1);
        if (m->keep == LLM_KEEP_INPUTS && l < c->L - 1)         /* the last block's are still there: none ran since */
            block_forward(m, l, m->resf, b->B, b->T, NULL);     /* nobody needs resf any more */
        block_backward(m, l, b->B, b->T);
        unit_close(m, l + 1);
    }
    const bool add_wte = mark_written(m->wte), add_wpe = m->wpe && mark_written(m->wpe);
    if (m->wte->grad)
        m->ops->embed_backward(m->wte->grad, grad_of(m->wpe), m->dres, &m->ids, N, c->C, c->V, c->T, add_wte, add_wpe);
    unit_close(m, 0);
}
/* hidden -> logp, and the entropies where they are wanted; and back: dlogp, dentropy -> dhidden. */
static void head_forward(llm_model *m, llm_head head, size_t N, bool entropy) {
    m->ops->logprob_forward(m->logp, m->lse, entropy ? m->entropy : NULL, m->hidden, m->head->w, m->ids.targets, head,
                            N, m->c.C, m->c.V);
}
static void head_backward(llm_model *m, llm_head head, size_t N, bool entropy) {
    m->ops->logprob_backward(m->dhidden, m->head->grad, m->dlogp, entropy ? m->dentropy : NULL, m->lse,
                             entropy ? m->entropy : NULL, m->hidden, m->head->w, m->ids.targets, head, N, m->c.C,
                             m->c.V, mark_written(m->head));
}
void llm_forward(llm_model *m, const llm_batch *b, llm_real *logp, llm_real *entropy, llm_real *value) {
    const size_t N = trunk_forward(m, b), bytes = N * sizeof(llm_real);
    if (logp || entropy) head_forward(m, m->head_options, N, entropy != NULL);
    if (logp) m->ops->download(logp, m->logp, bytes);
    if (entropy) m->ops->download(entropy, m->entropy, bytes);
    if (!value) return;
    if (!m->score) llm_die("llm_model_add_score", "values were asked of a model without a scalar head");
    m->ops->value_forward(m->value, m->hidden, m->score->data, N, m->c.C);
    m->ops->download(value, m->value, bytes);
}
static void must_train(const llm_model *m) {
    if (m->frozen) llm_die("llm_model_train", "backward was asked of a frozen model");
    if (m->lora && m->lora_off) llm_die("lora_off = false", "backward was asked of a model without its adapters");
}
/* The gradients of logp and entropy go to the device, and beside them which rows have any: prompts and padding have
   none, in fine-tuning often half of all rows, and the head is most of a small model's work. */
static llm_head load_gradients(llm_model *m, const llm_real *dlogp, const llm_real *dentropy, size_t N) {
    llm_head head = m->head_options;
    llm_real *zeros = dlogp ? NULL : llm_alloc(N, sizeof *zeros);
    int *row = llm_alloc(N, sizeof *row);
    for (size_t n = 0; n < N; n++)
        if ((dlogp && dlogp[n] != 0) || (dentropy && dentropy[n] != 0)) row[head.rows++] = n;
    m->ops->upload(m->dlogp, dlogp ? dlogp : zeros, N * sizeof *dlogp);
    if (dentropy) m->ops->upload(m->dentropy, dentropy, N * sizeof *dentropy);
    if (head.rows < N) {
        m->ops->upload(m->rows, row, head.rows * sizeof *row);
        head.row = m->rows;
    }
    llm_release_all(row, zeros);
    return head;
}
void llm_backward(llm_model *m, const llm_batch *b, const llm_real *dlogp, const llm_real *dentropy,
                  const llm_real *dvalue) {
    const bool words = dlogp || dentropy;
    const size_t N = llm_places(b);
    must_train(m);
    model_enter(m);
    unit_open(m, 0);
    unit_open(m, m->c.L + 1);
    if (words) head_backward(m, load_gradients(m, dlogp, dentropy, N), N, dentropy != NULL);
    if (dvalue) {
        m->ops->upload(m->dvalue, dvalue, N * sizeof *dvalue);
        m->ops->value_backward(m->dhidden, m->score->grad, m->dvalue, m->hidden, m->score->data, N, m->c.C, words,
                               mark_written(m->score));
    }
    if (words || dvalue) trunk_backward(m, b);
}
void llm_forward_backward(llm_model *m, const llm_batch *b, const llm_real *dlogp, llm_real *logp) {
    must_train(m);
    const size_t N = trunk_forward(m, b);
    const llm_head head = load_gradients(m, dlogp, NULL, N);
    unit_open(m, 0);
    unit_open(m, m->c.L + 1);
    if (m->ops->logprob_fused)
        m->ops->logprob_fused(m->logp, m->dhidden, m->head->grad, m->dlogp, m->hidden, m->head->w, m->ids.targets,
                              head, N, m->c.C, m->c.V, mark_written(m->head));
    else {
        head_forward(m, head, N, false);
        head_backward(m, head, N, false);
    }
    if (logp) m->ops->fetch(logp, m->logp, N * sizeof *logp);
    trunk_backward(m, b);
}
void llm_wait(const llm_model *m) { m->ops->wait(); }

/* ================================================================================================================
   6. Learning
   ================================================================================================================
   The gradient says which way is downhill; this chapter takes the step, AdamW's (Loshchilov and Hutter 2019). Every
   weight has its own pace, by two moments: m and v are the mean of its gradient and of the square, over about the last
   1 / (1 - beta) steps. m / sqrt(v) is about +-1 where the gradient is steady, about 0 where it only trembles. How far
   to go is said by the learning rate: raised over the first steps, while m and v are still guesses, and lowered at the
   end, when only small steps improve a good model.

       norm  = sqrt(sum of all g^2)                        one number for the whole model: the direction stays
       g     = g min(1, clip / norm)                       one bad batch cannot throw the weights far away (clip 0: off)
       m     = beta1 m + (1 - beta1) g
       v     = beta2 v + (1 - beta2) g^2
       w     = w - lr ( (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)  +  decay w )

   decay draws matrices to 0, not vectors (biases, norms). t counts the steps taken: with skip_sigma above 0 (not the
   default) one is left out, moving no w, m, v and t, if norm is more than skip_sigma deviations above its mean of about
   100 steps (llm_adamw_judge, beside the table's struct). Chapter 4 has these lines as loops and says where they come
   from (plain_adamw); here is what a run sees: one call a step, a rate for it. A checkpoint has m, v and t: a resumed
   run gives the same bits as one that was never interrupted. With `offload` m and v stay in the host's memory (the idea
   of ZeRO-Offload, Ren et al. 2021), and a GPU reads and writes them over its bus, each number once a step. */

/* ---- AdamW ---- */

llm_adamw llm_adamw_defaults(void) {
    return (llm_adamw){.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .clip = 1};
}
void llm_adamw_free(llm_adamw *o, llm_model *m) {
    device_release(m->ops, o->m);
    device_release(m->ops, o->v);
    device_release(m->ops, o->device);
    o->m = o->v = o->device = NULL;
}
static size_t moment_bytes(const llm_adamw *o) { return o->moments16 ? 2 : sizeof(llm_real); }
/* Number i of one of the two arenas. */
static void *moment_place(const llm_adamw *o, void *arena, size_t i) {
    return (char *)arena + moment_bytes(o) * i - moment_bytes(o) * o->first;
}
static void adamw_allocate(llm_adamw *o, const llm_ops *op, const learner *x) {
    const size_t numbers = x->shares ? team_moments(x, &o->first) : x->size, bytes = llm_mul(numbers, moment_bytes(o));
    void *(*const alloc)(size_t) = o->offload ? op->alloc_host : op->alloc;
    if (!alloc) llm_die("no --offload", "nothing to offload: the memory of device %s is the host's", op->name);
    if (!o->m) o->m = alloc(bytes);
    if (!o->v) o->v = alloc(bytes);
    if (!o->device) o->device = op->alloc(sizeof *o->device);
    if (!o->m || !o->v || !o->device)
        llm_die("--moments16, LoRA, a smaller model; on a GPU --offload",
                "out of memory: AdamW's moments want 2 x %.1f MB", bytes / 1e6);
}
/* The norm is not finite and no weight has moved. Which tensor was it? One is asked after the other. */
LLM_NORETURN static void adamw_blame(llm_adamw *o, const llm_ops *op, const llm_param *param, int params) {
    const char *whose = NULL;
    for (int i = 0; i < params && !whose; i++) {
        llm_adamw_state alone;
        op->grad_norm(o->device, &param[i], 1);
        op->download(&alone, o->device, sizeof alone);
        if (!isfinite(alone.sumsq)) whose = param[i].name;
    }
    if (llm_team && !whose) sleep(2);   /* the rank whose range it lies in says so */
    llm_die("a lower --lr or a longer --warmup; the last checkpoint is still good: --resume goes on from it",
            "step %d: the gradient of %s is not finite", o->state.step, whose ? whose : "the whole model");
}
double llm_adamw_step(llm_adamw *o, llm_model *m, double lr) {
    const learner x = model_learner(m);
    const llm_ops *op = m->ops;
    const llm_adamw_rule rule = {lr, o->beta1, o->beta2, o->eps, o->weight_decay, o->clip, o->skip_sigma, o->moments16,
                                 x.shares != NULL};
    bool any = false;
    for (int i = 0; i < x.params; i++) any |= has_gradient(&x.param[i]);
    if (!any) llm_die("call llm_backward before llm_adamw_step", "step %d: no tensor has a gradient", o->state.step);
    model_enter(m);
    adamw_allocate(o, op, &x);
    const learner own = x.shares ? team_own_rows(m, x) : x;
    op->upload(o->device, &o->state, sizeof o->state);
    op->grad_norm(o->device, own.param, own.params);
    if (x.shares) team_norm(o, op, own);
    op->adamw(own.param, own.params, moment_place(o, o->m, 0), moment_place(o, o->v, 0), rule, o->device);
    if (x.shares) team_spread(m, x.shares);
    op->fetch(&o->state, o->device, sizeof o->state);
    op->wait();                         /* the one wait of a step */
    if (!isfinite(o->state.norm)) adamw_blame(o, op, own.param, own.params);
    for (int i = 0; i < x.params; i++) x.param[i].used = x.param[i].summed = false;
    if (own.param != x.param) llm_release(own.param);
    return o->state.norm;
}

/* ---- the learning rate ---- */

/* As a fraction of lr: (step + 1) / warmup at first (a rate of 0 would waste step 0's batch). Then x runs from 0 to 1,
   over all steps that are left, or for WSD over the last `cooldown` of them:

       cosine     final + (1 - final) (1 + cos pi x) / 2        1 |   .--------------.
       linear     1 - (1 - final) x                               |  /  `--.          `.  WSD
       WSD        1, and then linear                              | /       `--. cosine `.
       constant   1                                         final |/            `---------`
                                                                  +------------------------- step

   x is 1 at step `steps`, one behind the last, as everywhere in the field: the last step is a little above `final`. A
   run with WSD (warm-up, stable, decay; Hu et al. 2024) can be prolonged from its stable part: how many steps it will
   have need not be known before. */
double llm_schedule_lr(const llm_schedule *s, int step) {
    if (step < s->warmup) return s->lr * (step + 1) / s->warmup;
    int start = s->decay == LLM_WSD ? llm_max(s->warmup, s->steps - s->cooldown) : s->warmup;
    double x = fmin(1, fmax(0, 1.0 * (step - start) / llm_max(1, s->steps - start)));
    if (s->decay == LLM_CONSTANT) return s->lr;
    if (s->decay == LLM_COSINE) x = (1 - cos(3.14159265358979324 * x)) / 2;
    return s->lr * (1 - (1 - s->final) * x);
}

/* ================================================================================================================
   7. Speaking
   ================================================================================================================
   Training ends with a function: give it the beginning of a text, and it gives every token of the vocabulary the
   probability that it comes next. To speak is to draw one of them, write it behind the text, and ask again, until the
   token drawn is one that ends an answer. Two questions are left, and they are this chapter: how not to read the whole
   text again for every new token, and which token to draw.

   The first has an exact answer. A token looks back and never ahead, so nothing that was computed for the past changes
   when a token is added; and of all of it the newcomer needs two vectors a layer, the keys and the values (a query only
   serves its own token). They are kept, in the KV cache. Three texts in one layer of it, * the token being added:

       position    0     1     2     3     4     5    ...  T-1
       row 0      the   cat   sat   on    the   mat*             its k and v are put away at (0,5), then its q
       row 1      One   day   Mia*                               looks at 0 .. 5 of row 0, and at nothing else
       row 2      2     +     3     =*
                  `--- KV vectors of D numbers each, for the keys; and as many for the values

   A step takes one token of each row, at whatever position that row has reached (or all tokens of a new prompt): the
   products read every weight once, and serve all rows for nearly the price of one while the reading is what takes the
   time. That is why a server answers many people at a time. The price of the cache is memory, 2 L KV D numbers a token:
   with 4 bytes each 74 kB in GPT-2 124M, 75 MB for a text of 1,024 tokens.

   The second question is a matter of taste. Always the likeliest (greedy) repeats itself; drawing from all of them says
   something odd now and then, for the many thousand unlikely ones are together likely enough. Between the two lie a
   penalty for repetition, temperature, top-k, top-p and min-p, each an equation and a loop. And one may look further
   than one token: beam search keeps several texts alive and takes the best at the end (tools/beam.h). */

/* ---- the cache ---- */

/* All layers in one allocation: keys, then values of the first, of the second ... T is rounded up, so that a device may
   work on 64 keys at a time. */
llm_cache llm_cache_new(const llm_model *m, size_t rows, size_t T) {
    const size_t L = m->c.L, context = m->c.T;
    if (rows < 1 || T < 1 || T > context)
        llm_die("a shorter prompt or fewer new tokens", "a cache of %zu rows of %zu tokens: the model's context is %zu",
                rows, T, context);
    llm_cache cache = {.rows = rows, .T = (T + 63) / 64 * 64};
    const size_t numbers = llm_mul(llm_mul(rows, cache.T), llm_mul(m->c.KV, m->c.D));
    const size_t bytes = llm_mul(numbers, m->ops->act_size);            /* of one layer's keys, a multiple of 64 */
    cache.k = llm_alloc(L, sizeof *cache.k);
    cache.v = llm_alloc(L, sizeof *cache.v);
    char *piece = cache.memory = device_alloc(m->ops, llm_mul(2, L), bytes, "cached keys and values");
    for (size_t l = 0; l < L; l++, piece += 2 * bytes) {
        cache.k[l] = (llm_act *)piece;
        cache.v[l] = (llm_act *)(piece + bytes);
    }
    return cache;
}
void llm_cache_free(llm_cache *c, const llm_model *m) {
    device_release(m->ops, c->memory);
    device_release(m->ops, c->scratch);
    llm_release_all(c->k, c->v);
    *c = (llm_cache){.rows = 0};
}
void llm_cache_copy(llm_model *m, llm_cache *cache, size_t to, size_t from, size_t length) {
    model_enter(m);
    for (int l = 0; l < m->c.L; l++)
        m->ops->cache_copy(cache->k[l], cache->v[l], to, from, length, cache->T, m->c.KV, m->c.D);
}

/* ---- one step: n tokens through the model ---- */

/* Room for a step in the cache's own memory, which grows. */
static void cache_room(const llm_model *m, llm_cache *cache, size_t bytes) {
    if (bytes <= cache->scratch_bytes) return;
    device_release(m->ops, cache->scratch);
    cache->scratch = device_alloc(m->ops, bytes, 1, "a step of the cache");
    cache->scratch_bytes = bytes;
}
void llm_cache_reserve(llm_model *m, llm_cache *cache, size_t n, size_t wanted) {
    model_reserve(m, n, false);
    cache_room(m, cache, llm_mul(llm_mul(wanted, m->c.V), sizeof(llm_real)));
}
/* The forward pass of chapter 5 with the cache in the place of the batch: N = n, and ids.start says in which row of the
   cache a token stands. The output head is dear, so only wanted tokens come there: of a prompt, the last. */
void llm_cache_forward(llm_model *m, llm_cache *cache, size_t n, size_t wanted) {
    hidden_forward(m, 1, n, cache);
    m->ops->logits(cache->scratch, m->hidden, m->head->w, wanted < n ? m->rows : NULL, wanted, m->c.C, m->c.V);
}
/* (op->decode: a device may do the whole step by itself.) */
void llm_cache_step(llm_model *m, llm_cache *cache, const int *tokens, const int *rows, const int *positions,
                    const bool *want, size_t n, llm_real *logits) {
    const llm_ops *op = m->ops;
    model_enter(m);
    model_stretch(m, positions, n);
    if (op->decode && !weights_split(m) && op->decode(m, cache, tokens, rows, positions, want, n, logits)) return;
    int *wanted = llm_alloc(n, sizeof *wanted);
    size_t wants = 0;
    for (size_t i = 0; i < n; i++)
        if (want[i]) wanted[wants++] = (int)i;
    llm_cache_reserve(m, cache, n, wants);
    op->upload(m->ids.tokens, tokens, n * sizeof *tokens);
    op->upload(m->ids.start, rows, n * sizeof *rows);
    op->upload(m->ids.positions, positions, n * sizeof *positions);
    op->upload(m->rows, wanted, wants * sizeof *wanted);
    llm_release(wanted);
    llm_cache_forward(m, cache, n, wants);
    op->download(logits, cache->scratch, wants * m->c.V * sizeof *logits);
}

/* The tokens of the next step, gathered one by one. */
typedef struct { int *token, *row, *position; bool *want; size_t count; } cache_tokens;

static cache_tokens cache_tokens_new(size_t room) {
    return (cache_tokens){llm_alloc(room, sizeof(int)), llm_alloc(room, sizeof(int)), llm_alloc(room, sizeof(int)),
                          llm_alloc(room, sizeof(bool)), 0};
}
static void cache_tokens_free(cache_tokens *x) { llm_release_all(x->token, x->row, x->position, x->want); }
static void cache_tokens_add(cache_tokens *x, int token, int row, int position, bool want) {
    x->token[x->count] = token;
    x->row[x->count] = row;
    x->position[x->count] = position;
    x->want[x->count++] = want;
}
static void cache_tokens_run(cache_tokens *x, llm_model *m, llm_cache *cache, llm_real *logits) {
    llm_cache_step(m, cache, x->token, x->row, x->position, x->want, x->count, logits);
    x->count = 0;
}
static void check_prompt(const llm_model *m, const int *prompt, int length) {
    if (length < 1) llm_die("a prompt of at least one token", "an empty prompt");
    if (length > m->c.T)
        llm_die("a shorter prompt", "a prompt of %d tokens is beyond the model's context of %d", length, m->c.T);
    require_ids(prompt, length, m->c.V, "token");
}
/* Put a prompt into a row of the cache; logits (V) are those of its last token. */
static void start_row(llm_model *m, llm_cache *cache, int row, const int *prompt, int length, llm_real *logits) {
    cache_tokens x = cache_tokens_new(length);
    for (int t = 0; t < length; t++) cache_tokens_add(&x, prompt[t], row, t, t == length - 1);
    cache_tokens_run(&x, m, cache, logits);
    cache_tokens_free(&x);
}

/* ---- choosing the next token ----

   z (V) are the logits, p (V) the probabilities, but for a factor: only the last line makes their sum 1. What is not to
   be drawn has z = -infinity, p = 0. The order is that of Hugging Face: each filter sees what the one before left. */

llm_sampler llm_sampler_defaults(void) {
    return (llm_sampler){.temperature = 0.8, .top_p = 1, .repeat_penalty = 1, .seed = 1};
}
/* A model that computes no numbers is broken: whatever were drawn from them would mean nothing, the first token least.
   (-infinity is allowed: a token that is never said.) */
static void require_logits(const llm_real *z, size_t n) {
    int wrong = 0;
    for (size_t i = 0; i < n; i++) wrong |= !(z[i] < INFINITY);
    if (wrong) llm_die("another checkpoint", "the model's logits are no numbers");
}
/* The first of the largest. */
static size_t likeliest(const llm_real *z, size_t V) {
    llm_real best = z[0];
    LLM_SIMD(reduction(max : best))
    for (size_t v = 1; v < V; v++) best = z[v] > best ? z[v] : best;
    size_t top = 0;
    while (z[top] < best && top + 1 < V) top++;
    if (!(z[top] > -INFINITY)) llm_die("a list of forbidden tokens that leaves some", "every token is forbidden");
    return top;
}
static void ban_ids(llm_real *z, size_t V, const uint8_t *banned) {
    for (size_t v = 0; banned && v < V; v++)
        if (banned[v]) z[v] = -INFINITY;
}
/* Repetition penalty r (Keskar et al. 2019), above 1: what the answer has said is less likely, once, however often.

       z_v = z_v / r  where z_v > 0,  else z_v r               for every v that was said */
static void penalise_repetition(llm_real *z, const int *said, size_t count, llm_real r) {
    for (size_t i = 0; i < count; i++) {
        size_t first = 0;
        while (said[first] != said[i]) first++;
        llm_real *x = &z[said[i]];
        if (first == i) *x = *x > 0 ? *x / r : *x * r;
    }
}
/* e^x, x <= 0, by its series: e^x = (e^(x/512))^512, for so near to 0 eight terms are exact to 2e-11, which nine
   squarings make 1e-8. No call, so that the compiler turns a loop over it into vectors: with exp itself, choosing would
   take a tenth of the time in which a small model speaks. Below -87 nothing is left that 32 bits could hold. */
static inline double exp_of_negative(double x) {
    const double r = (x > -87 ? x : -87) / 512;
    double y = 1 / 24. + r * (1 / 120. + r * (1 / 720. + r * (1 / 5040.)));
    y = 1 + r * (1 + r * (1 / 2. + r * (1 / 6. + r * y)));
    for (int i = 0; i < 9; i++) y *= y;
    return x > -87 ? y : 0;
}
/* Temperature t: sharper below 1, flatter above. `best`, the largest logit, leaves the ratios as they are, and no
   exponential becomes infinite.

       p_v = exp((z_v - best) / t) */
static void apply_temperature(llm_real *z, size_t V, llm_real best, double t) {
    const double sharp = fmin(1 / t, 1e300);        /* infinity times the best's 0 would be NaN */
    LLM_SIMD()
    for (size_t v = 0; v < V; v++) z[v] = (llm_real)exp_of_negative((z[v] - best) * sharp);
}
/* Min-p (Nguyen et al. 2024): only what has the share s of the likeliest, whose p is e^0 = 1.

       p_v = 0  where p_v < s max p */
static void keep_above(llm_real *p, size_t V, llm_real least) {
    for (size_t v = 0; v < V; v++)
        if (p[v] < least) p[v] = 0;
}
/* Top-k (Fan et al. 2018): only the k likeliest, and what equals the last of them.

       p_v = 0  where p_v < the k-th largest p

   That is the largest number that k of the p reach. It lies between 0, which all reach, and 2, which none does; the
   middle says in which half, until no number is left between the two. */
static void keep_top_k(llm_real *p, size_t V, size_t k) {
    llm_real low = 0, high = 2;
    for (llm_real middle = 1; k < V && low < middle && middle < high; middle = low + (high - low) / 2) {
        size_t reach = 0;
        LLM_SIMD(reduction(+ : reach))
        for (size_t v = 0; v < V; v++) reach += p[v] >= middle;
        if (reach >= k) low = middle;
        else high = middle;
    }
    keep_above(p, V, low);
}

typedef struct { llm_real p; size_t id; } candidate;

static int by_probability(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p ? 1 : -1) : x->id < y->id ? -1 : 1;
}
/* Top-p, or nucleus (Holtzman et al. 2020): only the likeliest that together reach the share s of all.

       p_1 >= p_2 >= ...:   p_i = 0  where  p_1 + ... + p_(i-1) >= s sum_v p_v        s .7: .5 .3 .15 .05 -> .5 .3 */
static void keep_top_p(llm_real *p, size_t V, double share) {
    candidate *best = llm_alloc(V, sizeof *best);
    double total = 0, reached = 0;
    size_t n = 0, kept = 0;
    LLM_SIMD(reduction(+ : total))
    for (size_t v = 0; v < V; v++) total += p[v];
    /* Few need sorting: all those below (1 - share) total / V have together less than (1 - share) total. */
    const llm_real least = (llm_real)((1 - share) * total / V);
    for (size_t v = 0; v < V; v++)
        if (p[v] >= least) best[n++] = (candidate){p[v], v};
    qsort(best, n, sizeof *best, by_probability);
    while (kept < n && (kept == 0 || reached < share * total)) reached += best[kept++].p;
    memset(p, 0, V * sizeof *p);
    for (size_t i = 0; i < kept; i++) p[best[i].id] = best[i].p;
    llm_release(best);
}
/* p_v = p_v / sum_u p_u. Returns how many are left. */
static int normalise(llm_real *p, size_t V) {
    double sum = 0;
    int left = 0;
    LLM_SIMD(reduction(+ : sum, left))
    for (size_t v = 0; v < V; v++) {
        sum += p[v];
        left += p[v] > 0;
    }
    const llm_real factor = (llm_real)(1 / sum);
    for (size_t v = 0; v < V; v++) p[v] *= factor;
    return left;
}
int llm_sample_filter(llm_real *z, size_t V, const llm_sampler *s, const int *said, size_t count,
                      const uint8_t *banned) {
    require_logits(z, V);
    if (s->repeat_penalty != 1) penalise_repetition(z, said, count, (llm_real)s->repeat_penalty);
    ban_ids(z, V, banned);
    const size_t top = likeliest(z, V);
    if (s->temperature <= 0) {          /* greedy: what a temperature near 0 comes to */
        memset(z, 0, V * sizeof *z);
        z[top] = 1;
        return 1;
    }
    apply_temperature(z, V, z[top], s->temperature);
    if (s->top_k > 0) keep_top_k(z, V, s->top_k);
    if (s->top_p < 1) keep_top_p(z, V, s->top_p);
    if (s->min_p > 0) keep_above(z, V, (llm_real)s->min_p);
    return normalise(z, V);
}
/* Throw a dart, u in [0,1), at the p laid side by side. */
int llm_sample(llm_real *z, size_t V, const llm_sampler *s, llm_rng *rng, const int *said, size_t count,
               const uint8_t *banned) {
    llm_sample_filter(z, V, s, said, count, banned);
    const double u = llm_rng_uniform(rng);
    double reached = 0;
    int last = -1;                      /* rounding may leave the sum below u */
    for (size_t v = 0; v < V && !(u < reached); v++)
        if (z[v] > 0) reached += z[v], last = (int)v;
    if (last < 0) llm_die("a smaller --min-p", "no token is left to choose from");
    return last;
}

/* ---- many answers at once ----

   As many rows speak as the device likes (ops->speakers). When an answer is over, its row goes to the next prompt. Each
   prompt has random numbers of its own, so no answer depends on who speaks beside it. */

bool llm_is_stop(int id, const int *stop, int stops) {
    for (int i = 0; i < stops; i++)
        if (stop[i] == id) return true;
    return false;
}
enum { SPEAK_STEPS = 16 };              /* ids that a device with `speak` says before it is asked how it went */

typedef struct {
    llm_model *m; const llm_sampler *s; const llm_request *x;
    llm_cache cache; cache_tokens step;
    llm_speaker *who; size_t rows;      /* [rows] one in each row of the cache: ... */
    size_t alive;                       /* ... first those whose answer is not over; the rows of the others are free */
    int newest, newest_row;             /* the prompt that was read last, its row ... */
    llm_real *newest_logits;            /* ... and (V) what may follow */
    int *id; llm_real *logp, *logits;   /* (SPEAK_STEPS,rows) what was said, how likely; (rows,V) */
} speech;

/* Draw what `who` says next; its logits become probabilities, which the sampler has filtered. (Where PPO compares them
   with llm_forward's only temperature and ban may filter: llm_head has no others.) */
static int draw_id(const speech *t, llm_speaker *who, llm_real *logits, llm_real *logp) {
    const llm_request *x = t->x;
    const int id = llm_sample(logits, t->m->c.V, t->s, &who->rng, x->out[who->prompt], x->out_length[who->prompt],
                              x->banned);
    *logp = LLM_MATH(log)(logits[id]);
    llm_speaker_said(who, id, llm_is_stop(id, x->stop, x->stops));
    return id;
}
static void write_down(const llm_request *x, int prompt, int id, llm_real logp) {
    int *n = &x->out_length[prompt];
    if (!(logp < INFINITY)) llm_die("another checkpoint", "the model's logits are no numbers");
    if (x->logp) x->logp[llm_mul(prompt, x->max_new) + *n] = logp;
    if (!llm_is_stop(id, x->stop, x->stops)) x->out[prompt][(*n)++] = id;
    else if (x->stopped) x->stopped[prompt] = true;
}
/* Give a free row to the next prompt, and draw the first id of its answer; false where that ended it. In PPO and GRPO
   the answers to one prompt stand side by side: it is read once, and copied (who speaks writes only behind it). */
static bool begin_answer(speech *t, int prompt) {
    const llm_request *x = t->x;
    llm_speaker *who = &t->who[t->alive];
    const int length = x->length[prompt], *ids = x->prompt[prompt], row = who->row;
    const size_t V = t->m->c.V;
    llm_real logp;
    if (t->newest >= 0 && x->length[t->newest] == length &&
        !memcmp(x->prompt[t->newest], ids, length * sizeof *ids)) {
        if (row != t->newest_row) llm_cache_copy(t->m, &t->cache, row, t->newest_row, length);
    } else start_row(t->m, &t->cache, row, ids, length, t->newest_logits);
    t->newest = prompt;
    t->newest_row = row;
    x->out_length[prompt] = 0;
    if (x->stopped) x->stopped[prompt] = false;
    *who = (llm_speaker){.prompt = prompt, .row = row, .position = length - 1,
                         .left = llm_min(x->max_new, t->m->c.T - length + 1),
                         .rng = llm_rng_seed(t->s->seed, x->first + prompt)};
    if (who->left <= 0) return false;
    memcpy(t->logits, t->newest_logits, V * sizeof *t->logits);
    const int id = draw_id(t, who, t->logits, &logp);
    write_down(x, prompt, id, logp);
    return who->left > 0;
}
/* Every speaker says its next id, or, where the device can do that by itself, its next few: into id, logp [step * alive
   + i], -1 behind the end of an answer. Returns the steps. */
static size_t speak_on(speech *t) {
    const llm_ops *op = t->m->ops;
    const size_t n = t->alive, V = t->m->c.V;
    int most = 0;
    for (size_t i = 0; i < n; i++) most = llm_max(most, t->who[i].left);
    const size_t steps = llm_min(most, SPEAK_STEPS);
    model_enter(t->m);
    if (op->speak && !weights_split(t->m) && op->speak(t->m, &t->cache, t->who, n, steps, t->s, t->x, t->id, t->logp)) {
        op->wait();
        return steps;
    }
    for (size_t i = 0; i < n; i++)
        cache_tokens_add(&t->step, t->who[i].last, t->who[i].row, t->who[i].position, true);
    cache_tokens_run(&t->step, t->m, &t->cache, t->logits);
    require_logits(t->logits, n * V);                       /* here: many threads cannot end a program at once */
    LLM_OMP(parallel for schedule(static) if(n * V > 4000))
    for (size_t i = 0; i < n; i++) t->id[i] = draw_id(t, &t->who[i], t->logits + i * V, &t->logp[i]);
    return 1;
}
static speech speech_new(llm_model *m, const llm_sampler *s, const llm_request *x) {
    int longest = 0;
    for (int i = 0; i < x->prompts; i++) {
        check_prompt(m, x->prompt[i], x->length[i]);
        longest = llm_max(longest, x->length[i]);
    }
    const size_t rows = size_min(x->prompts, m->ops->speakers), V = m->c.V, said = llm_mul(rows, SPEAK_STEPS);
    speech t = {.m = m, .s = s, .x = x, .rows = rows, .newest = -1, .step = cache_tokens_new(rows),
                .who = llm_alloc(rows, sizeof *t.who), .id = llm_alloc(said, sizeof *t.id),
                .logp = llm_alloc(said, sizeof *t.logp), .logits = llm_alloc(llm_mul(rows, V), sizeof *t.logits),
                .newest_logits = llm_alloc(V, sizeof *t.newest_logits)};
    t.cache = llm_cache_new(m, rows, llm_min(m->c.T, longest + llm_max(x->max_new, 0)));
    for (size_t i = 0; i < rows; i++) t.who[i].row = (int)i;
    return t;
}
static void speech_free(speech *t) {
    cache_tokens_free(&t->step);
    llm_cache_free(&t->cache, t->m);
    llm_release_all(t->who, t->id, t->logp, t->logits, t->newest_logits);
}
void llm_generate_batch(llm_model *m, const llm_sampler *s, llm_request x) {
    if (x.prompts < 1) return;
    speech t = speech_new(m, s, &x);
    for (int next = 0; next < x.prompts || t.alive;) {
        for (; next < x.prompts && t.alive < t.rows; next++)
            if (begin_answer(&t, next)) t.alive++;
        if (!t.alive) continue;
        const size_t n = t.alive, said = speak_on(&t) * n;
        for (size_t i = 0; i < said; i++)
            if (t.id[i] >= 0) write_down(&x, t.who[i % n].prompt, t.id[i], t.logp[i]);
        t.alive = 0;
        for (size_t i = 0; i < n; i++) {        /* who is done goes behind those who are not */
            const llm_speaker speaks_on = t.who[i];
            if (speaks_on.left <= 0) continue;
            t.who[i] = t.who[t.alive];
            t.who[t.alive++] = speaks_on;
        }
        if (x.over) x.over(next - (int)t.alive, x.prompts);
    }
    speech_free(&t);
}

/* ---- one answer ---- */

/* A prompt as the tokenizer opens texts; an empty one begins with something: bos, or the end of what was before. */
int *llm_prompt_ids(const llm_tokenizer *t, const char *text, int *length) {
    size_t n = strlen(text);
    int open = n || t->opens >= 0 ? t->opens : t->bos >= 0 ? t->bos : t->eos;
    int *ids = llm_alloc(llm_add(t->room(text, n), 2), sizeof *ids), *rest = open >= 0 ? ids + 1 : ids;
    *ids = open;
    *length = (int)(rest - ids + llm_encode(t, text, n, rest));
    return ids;
}
char *llm_generate(llm_model *m, const llm_tokenizer *t, const char *prompt, int max_new, llm_sampler s) {
    int length, said;
    max_new = llm_max(0, llm_min(max_new, m->c.T));
    int *ids = llm_prompt_ids(t, prompt, &length), *answer = llm_alloc(max_new + 1, sizeof *answer);
    llm_generate_batch(m, &s, (llm_request){.prompt = (const int *[]){ids}, .length = &length, .prompts = 1,
                                            .max_new = max_new, .stop = t->stop, .stops = t->stops, .out = &answer,
                                            .out_length = &said});
    char *text = llm_decode(t, answer, said, false, NULL);
    llm_release_all(answer, ids);
    return text;
}

/* ================================================================================================================
   8. LoRA
   ================================================================================================================
   To teach a large model a new manner one does not have to move all of its weights. Low-rank adaptation (Hu et al.
   2021) freezes them and learns a small correction beside each chosen matrix (q_proj and v_proj, or GPT-2's c_attn, if
   nothing else is said; in a fused Wqkv an adapter writes its own columns): a layer computes with

       W + s B A        A (r,I), B (O,r), r about 8; s = alpha / r, alpha often 2r

   instead of W (O,I). alpha sets the strength, and the division by r is to let any r do with the same lr. Two thin
   matrices have r (O + I) numbers in the place of O I: below one percent in a model of a billion parameters. So the
   gradients and AdamW's two moments, three quarters of the memory of fine-tuning (but for activations), all but
   disappear, and what was learned is a file of some megabytes that can be sent to anybody who has the base model.

       inp (N,I) ---+------------- W (frozen) -------------> (+) --> out (N,O)
                    |                                         |
                    +--> A, s --> u (N,r) --> B --------------+

       forward    u = s inp A'       out += u B'
       backward   du = s dout B      dB = dout' u      dA = du' inp      dinp += du A      no dW    (see chapter 4)

   A is drawn, B starts at 0: the first step begins at the base model exactly and moves B (dA is 0 while B is 0; were
   both 0, nothing would ever move). Without the adapters (lora_off) the base is still there: the reference policy of
   chapter 9, at no memory. When training is over, merge computes W + s B A once, and the model is as fast as before.

   W itself is only read, so it may lie there in 8 or 4 bits (QLoRA, Dettmers et al. 2023): the gradient flows through
   the rounded W, and the adapters learn to make up for the rounding too. Merging then widens W first: the result is the
   model that was trained, and as large as one that never was rounded.

   The adapters form a tensor table of their own, with their own arenas: whatever walks the table of the model
   (gradients, AdamW, checkpoints) walks this one instead when there is one (model_learner, chapter 5). */

/* ---- which matrices ---- */

/* Adapters hang on the matrices inside the blocks, not on embeddings and heads. The module of a tensor, in the language
   of PEFT (Hugging Face's adapters), is its name "model.layers.0.self_attn.q_proj.weight" without the last part. */
static bool adaptable(const llm_param *p) {
    return !p->vector && (!strncmp(p->name, "model.layers.", 13) || !strncmp(p->name, "transformer.h.", 14));
}
static int module_length(const llm_param *p) { return strlen(p->name) - strlen(".weight"); }

/* Does the target t, n characters, mean this module? As PEFT has it: when it is the end of its path, from a dot on. */
static bool targeted(const llm_param *p, const char *t, int n) {
    const int length = module_length(p);
    const char *end = p->name + length - n;
    return n && n < length && end[-1] == '.' && !strncmp(end, t, n);
}
/* The last part of a module's path, "q_proj"; the last two, "mlp.c_proj", where GPT-2 has two c_proj in a block. */
static void module_name(const llm_param *p, char name[96]) {
    char path[96];
    snprintf(path, sizeof path, "%.*s", module_length(p), p->name);
    char *dot = strrchr(path, '.');
    if (!strcmp(dot, ".c_proj"))
        while (*--dot != '.') {}
    snprintf(name, 96, "%s", dot + 1);
}
char *llm_lora_modules(const llm_model *m, bool adapted, const char *separator) {
    char seen[8][96], *all = llm_format("%s", "");          /* a block has at most 7 */
    int count = 0;
    for (int i = 0; i < m->params; i++) {
        const llm_param *p = &m->param[i];
        int k = 0;
        if (!adaptable(p) || (adapted && !p->adapter)) continue;
        module_name(p, seen[count]);
        while (strcmp(seen[k], seen[count])) k++;
        if (k < count) continue;
        char *longer = llm_format("%s%s%s", all, count++ ? separator : "", seen[k]);
        llm_release(all);
        all = longer;
    }
    return all;
}
/* Which rows of the table have an adapter? [params], to be released. Each target must mean something. */
static bool *targeted_rows(const llm_model *m, const char *targets) {
    char *names = llm_lora_modules(m, false, ",");
    const char *const *qkv = model_families[m->c.family].qkv;
    if (!targets) targets = qkv[1] ? "q_proj,v_proj" : strchr(qkv[0], '.') + 1;
    if (!strcmp(targets, "all") || !strcmp(targets, "all-linear")) targets = names;
    bool *wanted = llm_alloc(m->params, sizeof *wanted), hit = false;
    const char *t = targets;
    do {
        const int n = strcspn(t, ",");
        hit = false;
        for (int i = 0; i < m->params; i++)
            if (adaptable(&m->param[i]) && targeted(&m->param[i], t, n)) hit = wanted[i] = true;
        t += n + (t[n] == ',');
    } while (hit && *t);
    if (!hit) llm_usage(names, "LoRA targets '%s': the model does not have all of these modules", targets);
    llm_release(names);
    return wanted;
}

/* ---- hanging them on, taking them off ---- */

/* As PEFT spells it. */
static void adapter_name(const llm_param *on, char which, char name[96]) {
    snprintf(name, 96, "base_model.model.%.*s.lora_%c.weight", module_length(on), on->name, which);
}
static llm_param adapter_row(const llm_param *on, char which, size_t rows, size_t cols, size_t *size) {
    llm_param p = {.rows = rows, .cols = cols, .offset = *size, .size = llm_mul(rows, cols)};
    p.init = which == 'A' ? 1 / sqrt(cols) : 0;
    adapter_name(on, which, p.name);
    *size = (llm_add(*size, p.size) + 15) / 16 * 16;        /* a line of 64 bytes, as in the model's own table */
    return p;
}
/* The table, its arena, the pointers from the rows of the model. wanted[i]: should row i have an adapter? */
static void lora_allocate(llm_model *m, int rank, double alpha, double scale, const bool *wanted, const char *base) {
    refuse_adapters(m, "one set of adapters is all that there is room for: this is");
    if (m->c.score)
        llm_die("a language model", "adapters on a model with a scalar head: its head would stay untrained");
    llm_lora *x = m->lora = llm_alloc(1, sizeof *x);
    int n = 0;
    for (int i = 0; i < m->params; i++) n += wanted[i];
    *x = (llm_lora){.rank = rank, .alpha = alpha, .scale = scale, .base = base ? llm_format("%s", base) : NULL};
    x->adapter = llm_alloc(n, sizeof *x->adapter);
    x->param = llm_alloc(n, 2 * sizeof *x->param);
    for (int i = 0; i < m->params; i++) {
        llm_param *on = &m->param[i];
        if (!wanted[i]) continue;
        llm_adapter *a = on->adapter = &x->adapter[x->adapters++];
        *a = (llm_adapter){.on = on, .A = &x->param[x->params], .B = &x->param[x->params + 1]};
        *a->A = adapter_row(on, 'A', rank, on->cols, &x->size);
        *a->B = adapter_row(on, 'B', on->rows, rank, &x->size);
        x->params += 2;
    }
    if (llm_team) team_lora(m);
    x->data = device_alloc(m->ops, x->size, sizeof *x->data, "adapters");
    for (llm_param *p = x->param; p < x->param + x->params; p++) {
        p->data = x->data + p->offset;
        p->w = (llm_weight){p->data, LLM_TYPE_REAL, NULL, p->data};
    }
    device_release(m->ops, m->grad);    /* the base is frozen now */
    m->grad = NULL;
    for (int i = 0; i < m->params; i++) m->param[i].grad = NULL;
    m->frozen = true;                   /* until llm_model_train, which gives the adapters gradients */
}
/* A is drawn as PEFT draws it (Kaiming-uniform with a = sqrt 5): uniform in +-1/sqrt(I). B is 0, as all new memory. */
static double draw_symmetric(llm_rng *r) { return 2 * llm_rng_uniform(r) - 1; }

void llm_lora_attach(llm_model *m, int rank, double alpha, const char *targets, const char *base, uint64_t seed) {
    if (rank < 1 || !(alpha > 0))
        llm_die("a rank of 1 or more, alpha above 0", "LoRA of rank %d with alpha %g", rank, alpha);
    bool *wanted = targeted_rows(m, targets);
    lora_allocate(m, rank, alpha, alpha / rank, wanted, base);
    for (int i = 0; i < m->lora->adapters; i++) param_draw(m->ops, m->lora->adapter[i].A, seed, draw_symmetric);
    llm_release(wanted);
}
void llm_lora_free(llm_model *m) {
    llm_lora *x = m->lora;
    if (!x) return;
    device_release(m->ops, x->data);
    device_release(m->ops, x->grad);
    team_free(x->shares, m->ops);
    for (int i = 0; i < m->params; i++) m->param[i].adapter = NULL;
    llm_release_all(x->adapter, x->param, x->base, x);
    m->lora = NULL;
    m->lora_off = false;
    m->frozen = true;                   /* nothing has a gradient now */
}
/* W += s B A, in double on the host, one matrix after the other. */
void llm_lora_merge(llm_model *m) {
    const llm_lora *x = m->lora;
    if (x && m->weights != LLM_TYPE_REAL) llm_quantise(m, LLM_TYPE_REAL);
    for (int k = 0; x && k < x->adapters; k++) {
        const llm_param *on = x->adapter[k].on;
        const size_t O = on->rows, I = on->cols, r = x->rank;
        llm_real *W = param_read(m->ops, on), *A = param_read(m->ops, x->adapter[k].A);
        llm_real *B = param_read(m->ops, x->adapter[k].B);
        LLM_OMP(parallel for schedule(static))
        for (size_t o = 0; o < O; o++)
            for (size_t i = 0; i < I; i++) {
                double sum = 0;
                for (size_t j = 0; j < r; j++) sum += (double)B[o * r + j] * A[j * I + i];
                const llm_real more = x->scale * sum;
                W[o * I + i] += more;
            }
        param_upload(m->ops, on, on->data, W, 0, on->size, sizeof *W);
        llm_release_all(W, A, B);
    }
    llm_lora_free(m);
    llm_weights_changed(m);
}
size_t llm_lora_parameters(const llm_config *c, int rank, const char *targets) {
    llm_model m = table_only(c);
    bool *wanted = targeted_rows(&m, targets);
    size_t n = 0;
    for (int i = 0; i < m.params; i++)
        if (wanted[i]) n += rank * (m.param[i].rows + m.param[i].cols);
    llm_release_all(wanted, m.param, m.layer);
    return n;
}

/* ================================================================================================================
   9. The losses of every stage
   ================================================================================================================
   Everything before this chapter serves one sentence: tokens in, log-probabilities out. Everything that makes a chat
   model out of a text completer is in the way back: which number is sent to which token.

       pretraining, SFT   to every token, or every token of the answer: the same push upwards
       reward model, DPO  to two answers (score; every token): the probability of having got them the wrong way round
       PPO, GRPO          to every sampled token: how much better than expected it did, until it has moved far enough
       KTO                to every token of an answer: most where the model is in two minds about it
       RRHF               to every token of two answers that are in the wrong order: one over their lengths

   Each loss is its equation, the derivative by hand, and a loop; the network is not mentioned again. The letters:

       logp   log pi(y_t | before) of a token y_t; pi is the policy, the model that learns. old, ref: the same number
              from the policy that sampled y, and from the reference policy, which stands still
       m, M   weight of a token (0 on prompt, template, padding), and the sum of m over the whole step
       S, |y| sums of m logp and of m over an answer y; u = S - S_ref in nats: how much likelier y has become
       r      score or reward, of an answer (r_w better, r_l worse) or of a token (r_t); in a loop over rows, the row
       total  the pairs, rankings or rows of the whole step: divides losses by answer as M does those by token
       s(x)   1/(1 + exp(-x)), the sigmoid; -log s(x) has the derivative -s(-x). L is a loss and V a value

   Losses by token write dL/dlogp, one number a place (B,T); losses by answer write dL/dS or dL/dr, one a row [B]. From
   logp to the logits is chapter 4's business: (onehot - softmax) dL/dlogp. */

static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double minus_log_sigmoid(double x) { return fmax(-x, 0) + log1p(exp(-fabs(x))); }       /* never overflows */
/* 1/total; a step without a single target is no error and moves nothing (else 0/0 reaches the weights as NaN) */
static double one_over(double total) { return total > 0 ? 1 / total : 0; }

/* An answer has one log-probability, S = sum m logp; each of its tokens gets the gradient of the sum, m dL/dS. */
void llm_row_sums(double *sum, double *count, const llm_real *x, const llm_batch *b) {
    for (int r = 0; r < b->B; r++) {
        double S = 0, tokens = 0;
        for (size_t i = at_place(b, r, 0), end = i + b->T; i < end; i++) {
            double m = b->weight[i];
            if (m == 0) continue;
            S += m * x[i];
            tokens += m;
        }
        sum[r] = S;
        if (count) count[r] = tokens;
    }
}
void llm_row_spread(llm_real *dx, const double *dsum, const llm_batch *b) {
    for (size_t i = 0; i < llm_places(b); i++)
        dx[i] = b->weight[i] == 0 ? 0 : b->weight[i] * dsum[i / b->T];
}

/* ---- pretraining and SFT: masked cross entropy (lecture 2: "usually only for the response") ----

       L = -(1/M) sum m logp        dL/dlogp = -m/M

   Dividing each micro-batch by its own sum of m, not the step's, would weigh a token by how many neighbours it happens
   to have. InstructGPT adds this loss on pretraining text, times 27.8, to that of PPO below. */

void llm_loss_ce_weights(llm_real *dlogp, const llm_batch *b, double M) {
    double scale = one_over(M);
    for (size_t i = 0; i < llm_places(b); i++) dlogp[i] = -b->weight[i] * scale;
}
double llm_loss_ce(const llm_real *logp, const llm_batch *b, double M) {
    double sum = 0;
    for (size_t i = 0; i < llm_places(b); i++)
        if (b->weight[i] != 0) sum -= (double)b->weight[i] * logp[i];
    return sum * one_over(M);
}

/* ---- the reward model (lecture 1, "Reward Model Training": D > C > A = B) ----

   Bradley and Terry 1952: of two answers with scores r_w and r_l, people prefer w with probability s(r_w - r_l). So

       L = (1/total) sum over pairs of [-log s(lead) + centre (r_w + r_l)^2]        lead = r_w - r_l - margin
       dL/dr_w = (1/total) [-s(-lead) + 2 centre (r_w + r_l)]      dL/dr_l = (1/total) [s(-lead) + 2 centre (r_w + r_l)]

   margin is asked for by Llama-2 where w is "significantly better" (pair_count's is r_w - r_l, as papers report it).
   Only differences matter to the first term, so a small centre keeps the scores from drifting. s(-lead) is the
   probability of being wrong: a pair pushes less and less as it is understood. */

static void pair_count(llm_pair_stats *stats, double chosen, double rejected) {
    if (!stats) return;
    stats->pairs += 1;
    stats->right += chosen > rejected ? 1 : chosen == rejected ? 0.5 : 0;
    stats->margin += chosen - rejected;
    stats->chosen += chosen;
    stats->rejected += rejected;
}
double llm_loss_pair(double *dr, const double *r, const double *margin, int pairs, double centre, double total,
                     llm_pair_stats *stats) {
    double loss = 0, scale = one_over(total);
    for (int i = 0; i < pairs; i++) {
        const double *pair = r + 2 * i;
        double lead = pair[0] - pair[1] - (margin ? margin[i] : 0), sum = pair[0] + pair[1];
        loss += minus_log_sigmoid(lead) + centre * sum * sum;
        dr[2 * i] = scale * (-sigmoid(-lead) + 2 * centre * sum);
        dr[2 * i + 1] = scale * (sigmoid(-lead) + 2 * centre * sum);
        pair_count(stats, pair[0], pair[1]);
    }
    return loss * scale;
}

/* InstructGPT (Ouyang et al. 2022, eq. 1): a ranking of K answers is K (K-1) / 2 pairs. They stay together in one
   step: each answer is read once and cannot be memorised from K-1 encounters. Ties say nothing and are dropped.

       L = (1/total) (1/pairs) sum over the pairs with rank_i < rank_j of -log s(r_i - r_j) */
double llm_loss_kwise(double *dr, const double *r, const int *rank, int K, double total, llm_pair_stats *stats) {
    double loss = 0;
    int pairs = 0;
    for (int i = 0; i < K; i++) {
        dr[i] = 0;
        for (int j = 0; j < K; j++) pairs += rank[i] < rank[j];
    }
    double scale = pairs ? one_over(total) / pairs : 0;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) {
            if (rank[i] >= rank[j]) continue;
            double wrong = sigmoid(r[j] - r[i]);
            loss += minus_log_sigmoid(r[i] - r[j]);
            dr[i] -= scale * wrong;
            dr[j] += scale * wrong;
            pair_count(stats, r[i], r[j]);
        }
    return loss * scale;
}

/* Plackett and Luce: the ranking as a race. The best wins a softmax among all, the second among the rest, and so on:

       L = (1/total) sum over i of [log sum over j of exp(r_j) - r_i]        j: i itself and all that rank below i

   Two that tie are never in one race. The last one runs alone and costs nothing. */
double llm_loss_plackett_luce(double *dr, const double *r, const int *rank, int K, double total) {
    double loss = 0, scale = one_over(total);
    for (int i = 0; i < K; i++) dr[i] = 0;
    for (int i = 0; i < K; i++) {
        double largest = r[i], sum = 0;
        for (int j = 0; j < K; j++)
            if (rank[j] > rank[i]) largest = fmax(largest, r[j]);
        for (int j = 0; j < K; j++)
            if (j == i || rank[j] > rank[i]) sum += exp(r[j] - largest);
        for (int j = 0; j < K; j++)
            if (j == i || rank[j] > rank[i]) dr[j] += scale * exp(r[j] - largest) / sum;
        dr[i] -= scale;
        loss += largest + log(sum) - r[i];
    }
    return loss * scale;
}

/* ---- rejection sampling (lecture 2: "Model outputs k samples. SFT the best response!"; Llama-2) ----

   Sample n answers, keep the one with the highest score, and train on it with the masked cross entropy above. No new
   loss. It cannot lead far: at most log n - (n-1)/n nats of KL, the next section's measure; 1.2 for n = 8. */

int llm_best_of(const double *score, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (score[i] > score[best]) best = i;
    return best;
}
double llm_best_of_kl(int n) { return log(n) - (n - 1.0) / n; }

/* ---- how far from the reference? ----

   What follows makes the policy chase a reward, which was learned near the reference (the SFT model) and means little
   elsewhere, so leaving costs: KL(pi || ref), the mean of d = logp - ref over what pi says. Estimates (Schulman 2020):

       k1 = d                   slope dk1/dlogp = 1     unbiased, noisy, may be negative
       k2 = d^2 / 2             slope d                 biased, never negative
       k3 = exp(-d) - 1 + d     slope 1 - exp(-d)       unbiased, never negative

   As losses they compare otherwise. What trains is the mean of slope grad logp, the tokens being held fixed. The mean
   of grad logp is 0, as probabilities sum to 1: so k1 leaves only noise, while k2 has exactly KL's gradient and k3 that
   of KL(ref || pi). k1 belongs in the reward (PPO), k2 or k3 in the loss (GRPO). test_losses.c measures them. */
double llm_kl(int k, double d, double *slope) {
    if (k < 1 || k > 3) llm_die("k1, k2 or k3", "there is no KL estimator k%d", k);
    *slope = k == 1 ? 1 : k == 2 ? d : -expm1(-d);
    return k == 1 ? d : k == 2 ? d * d / 2 : expm1(-d) + d;
}
/* beta rises while KL is above its target, falls below it: a fifth in `horizon` rows at most (Ziegler et al. 2019). */
void llm_kl_adapt(llm_kl_control *c, double kl, double rows) {
    double error = fmin(fmax(kl / c->target - 1, -0.2), 0.2);
    c->beta *= 1 + error * rows / c->horizon;
}

/* ---- PPO (lecture 1, "RL Training": "the objective is weighted by the advantage"; Schulman et al. 2017) ----

   The state is the text so far, the action the next token, the episode one answer. Ziegler et al. 2019, Stiennon et al.
   2020 and InstructGPT maximise the score less a fine for leaving the reference, in the mean over pi's own answers:

       objective = mean of (score - beta u)        r_t = -beta (old_t - ref_t) + [t is last] score

   The fine is k1, computed once when the token was sampled: a reward, not differentiated. Returned: the mean of u. */

double llm_ppo_rewards(llm_real *reward, const llm_real *old, const llm_real *ref, const double *score,
                       const llm_batch *b, double beta) {
    double kl = 0, rows = 0;
    for (int r = 0; r < b->B; r++) {
        bool last = true;
        for (int t = b->T - 1; t >= 0; t--) {
            size_t i = at_place(b, r, t);
            reward[i] = 0;
            if (b->weight[i] == 0) continue;
            double k1 = (double)old[i] - ref[i];
            reward[i] = -beta * k1 + (last ? score[r] : 0);
            kl += b->weight[i] * k1;
            rows += last;
            last = false;
        }
    }
    return kl * one_over(rows);
}

/* Generalised advantage estimation (Schulman et al. 2016): was this token better than expected? V_t, the critic's guess
   of the reward still to come, is read from the state that chose token t; behind the last one V = 0. The advantage A:

       surprise_t = r_t + gamma V_(t+1) - V_t        A_t = surprise_t + gamma lambda A_(t+1)        return_t = A_t + V_t

   lambda 0 trusts the critic for everything after one step, lambda 1 trusts only what was really received. */
void llm_gae(llm_real *advantage, llm_real *ret, const llm_real *reward, const llm_real *value, const llm_batch *b,
             double gamma, double lambda) {
    for (int r = 0; r < b->B; r++) {
        double next_value = 0, next_advantage = 0;
        for (int t = b->T - 1; t >= 0; t--) {
            size_t i = at_place(b, r, t);
            advantage[i] = ret[i] = 0;
            if (b->weight[i] == 0) continue;
            double V = value[i], surprise = reward[i] + gamma * next_value - V;
            next_advantage = surprise + gamma * lambda * next_advantage;
            next_value = V;
            advantage[i] = next_advantage;
            ret[i] = next_advantage + V;
        }
    }
}

/* (x - mean) / sqrt(var + 1e-8), var with n - 1: for advantages. Rewards keep their mean (no shift): it is the task. */
void llm_whiten(llm_real *x, const llm_batch *b, bool shift) {
    double n = 0, mean = 0, var = 0;
    for (size_t i = 0; i < llm_places(b); i++) {
        if (b->weight[i] == 0) continue;
        n += b->weight[i];
        mean += (double)b->weight[i] * x[i];
    }
    mean *= one_over(n);
    for (size_t i = 0; i < llm_places(b); i++)
        if (b->weight[i] != 0) var += b->weight[i] * (x[i] - mean) * (x[i] - mean);
    double factor = 1 / sqrt(var * one_over(n - 1) + 1e-8);
    for (size_t i = 0; i < llm_places(b); i++)
        if (b->weight[i] != 0) x[i] = (x[i] - mean) * factor + (shift ? 0 : mean);
}

/* The clipped objective. rho is the ratio of the new policy to the one that sampled; clipped_token is one token's part:

       rho = exp(logp - old)        L = (1/M) sum m max(-A rho, -A clip(rho, 1 - low, 1 + high))
       dL/dlogp = -(m/M) A rho, or 0 once the ratio has gone too far in the direction that A asks for

   The max makes it one-sided: a good token (A > 0) is not pushed beyond 1 + high, a bad one not below 1 - low, but one
   that went the wrong way is always brought back. Before the first update rho is 1: plain policy gradient. */
static double clipped_token(double *slope, double A, double log_ratio, double low, double high, double m,
                            llm_policy_stats *stats) {
    double rho = exp(log_ratio), bound = A > 0 ? 1 + high : 1 - low;
    bool clipped = A > 0 ? rho > bound : A < 0 && rho < bound;
    *slope = clipped ? 0 : -A * rho;
    if (stats) {
        stats->tokens += m;
        stats->clipped += clipped ? m : 0;
        stats->kl += m * (rho - 1 - log_ratio);         /* k3 of KL(old || new): the old policy said it */
        double size = fabs(log_ratio);                  /* NaN stays, where fmax would drop it */
        stats->largest = stats->largest >= size || isnan(stats->largest) ? stats->largest : size;
    }
    return -A * (clipped ? bound : rho);
}
double llm_loss_ppo(llm_real *dlogp, const llm_real *logp, const llm_real *old, const llm_real *advantage,
                    const llm_batch *b, double M, double clip, llm_policy_stats *stats) {
    double loss = 0, scale = one_over(M);
    for (size_t i = 0; i < llm_places(b); i++) {
        double m = b->weight[i], slope = 0;
        dlogp[i] = 0;
        if (m == 0) continue;
        loss += m * clipped_token(&slope, advantage[i], (double)logp[i] - old[i], clip, clip, m, stats);
        dlogp[i] = m * scale * slope;
    }
    return loss * scale;
}

/* The critic learns the return; it too may move only clip away from its old value (off with clip 0):

       L = (coefficient/2M) sum m max((V - ret)^2, (Vc - ret)^2)        Vc = clip(V, V_old - clip, V_old + clip)
       dL/dV = (coefficient/M) m (V - ret), or 0 where the max takes the other: there Vc is a constant */
double llm_loss_value(llm_real *dvalue, const llm_real *value, const llm_real *old, const llm_real *ret,
                      const llm_batch *b, double M, double coefficient, double clip) {
    double loss = 0, scale = coefficient * one_over(M);
    for (size_t i = 0; i < llm_places(b); i++) {
        double m = b->weight[i];
        dvalue[i] = 0;
        if (m == 0) continue;
        double V = value[i], Vc = V;
        if (clip > 0) Vc = fmin(fmax(V, old[i] - clip), old[i] + clip);
        double error = V - ret[i], kept = Vc - ret[i];
        bool free_to_move = error * error >= kept * kept;
        loss += 0.5 * m * (free_to_move ? error * error : kept * kept);
        dvalue[i] = free_to_move ? m * scale * error : 0;
    }
    return loss * scale;
}

/* A bonus for staying undecided: L = -(coefficient/M) sum m entropy; the entropy's own gradient is chapter 4's. */
double llm_loss_entropy(llm_real *dentropy, const llm_real *entropy, const llm_batch *b, double M, double coefficient) {
    double sum = 0, scale = coefficient * one_over(M);
    for (size_t i = 0; i < llm_places(b); i++) {
        double m = b->weight[i];
        dentropy[i] = -m * scale;
        if (m != 0) sum += m * entropy[i];
    }
    return -sum * scale;
}

/* ---- GRPO: the group is the critic (Shao et al. 2024; lecture 1's picture: "advantage (normalized rewards)") ----

   Ask the same prompt G times. What the group earned on average was to be expected; no value network is needed:

       GRPO       A_i = (r_i - mean) / (std + 1e-4)       std with G - 1
       Dr. GRPO   A_i = r_i - mean
       RLOO       A_i = r_i - mean of the others          = G/(G-1) (r_i - mean)

   Dividing by std favours questions that are nearly always right or nearly always wrong, which Dr. GRPO calls a bias. A
   group that agrees teaches nothing: its advantages are exactly 0. */

int llm_group_advantages(double *advantage, const double *reward, int rows, int group, llm_group kind) {
    if (group < 2 || rows < 0 || rows % group)
        llm_die("--group of at least 2 that divides the batch", "%d answers do not make groups of %d", rows, group);
    int silent = 0;
    for (int first = 0; first < rows; first += group) {
        const double *r = reward + first;
        double mean = 0, var = 0;
        bool equal = true;
        for (int i = 0; i < group; i++) {
            mean += r[i] / group;
            equal = equal && r[i] == r[0];
        }
        for (int i = 0; i < group; i++) var += (r[i] - mean) * (r[i] - mean) / (group - 1);
        double scale = kind == LLM_GROUP_NORM ? 1 / (sqrt(var) + 1e-4) : 1;
        if (kind == LLM_GROUP_RLOO) scale = group / (group - 1.0);
        for (int i = 0; i < group; i++) advantage[first + i] = equal ? 0 : (r[i] - mean) * scale;
        silent += equal;
    }
    return silent;
}

/*     L = sum of m scale (clipped_token(A of its answer) + beta k(logp - ref)), k = k2 or k3

       per row       scale = 1 / (rows |y|)      GRPO: every answer weighs the same, a long wrong one is barely punished
       per token     scale = 1 / M               DAPO (Yu et al. 2025): every token weighs the same
       per longest   scale = 1 / (rows longest)  Dr. GRPO (Liu et al. 2025): the same; `longest` is the limit on answers

   DAPO also clips higher upwards than downwards, so that rare tokens can grow. The advantages of a group sum to 0, so
   the loss hovers around 0 (per row; else long answers count more): watch the reward, not the loss. */
llm_grpo llm_grpo_defaults(void) {
    return (llm_grpo){.clip_low = 0.2, .clip_high = 0.2, .kl = 3, .norm = LLM_PER_TOKEN};
}
double llm_loss_grpo(llm_real *dlogp, const llm_real *logp, const llm_real *old, const llm_real *ref,
                     const double *advantage, const llm_batch *b, const llm_grpo *o, llm_policy_stats *stats) {
    double loss = 0;
    if (o->beta != 0 && !ref) llm_die("the reference's logp, or beta 0", "GRPO with a KL term wants a reference");
    if (o->beta != 0 && o->kl == 1) llm_die("k2 or k3", "k1 as a loss has no gradient, only noise");
    for (int r = 0; r < b->B; r++) {
        size_t begin = at_place(b, r, 0), end = begin + b->T;
        double length = 0, slope = 0, kl_slope = 0;
        for (size_t i = begin; i < end; i++) length += b->weight[i];
        double tokens = o->norm == LLM_PER_ROW ? length : o->longest;
        double scale = one_over(o->norm == LLM_PER_TOKEN ? o->tokens : o->rows * tokens);
        for (size_t i = begin; i < end; i++) {
            double m = b->weight[i], x = logp[i], kl = 0;
            dlogp[i] = 0;
            if (m == 0) continue;
            if (o->beta != 0) kl = llm_kl(o->kl, x - ref[i], &kl_slope);
            loss += scale * m * o->beta * kl;
            loss += scale * m * clipped_token(&slope, advantage[r], x - old[i], o->clip_low, o->clip_high, m, stats);
            dlogp[i] = scale * m * (slope + o->beta * kl_slope);
        }
    }
    return loss;
}

/* ---- DPO and its relatives (lecture 2: "encourage the likelihood of good samples, decrease that of bad ones") ----

   PPO's objective, the mean of r - beta u, has a known optimum: pi* = pi_ref exp(r / beta) / Z, where Z makes the
   answers to a prompt sum to 1. Turned round, r = beta u + beta log Z: the policy is its own reward model. Two answers
   to a prompt share Z, so Bradley-Terry's loss needs neither Z nor sampling (Rafailov et al. 2023). For one pair, with
   lead = beta (u_w - u_l), so dlead/dS_w = beta and dlead/dS_l = -beta, and f = -log s:

       DPO      L = f(lead)                                       dL/dlead = -s(-lead)
       cDPO     L = (1-e) f(lead) + e f(-lead)                    dL/dlead = -(1-e) s(-lead) + e s(lead)
       robust   L = [(1-e) f(lead) - e f(-lead)] / (1 - 2e)       dL/dlead = [-(1-e) s(-lead) - e s(lead)] / (1 - 2e)
       IPO      L = h^2, h = u_w/|y_w| - u_l/|y_l| - 1/(2 beta)   dL/dS_w = 2h / |y_w|, dL/dS_l = -2h / |y_l|

   e is the share of wrong labels, `flip` (Mitchell 2023; Chowdhury et al. 2024). IPO (Azar et al. 2024) regresses on a
   target, so lengths must be comparable; DPO sums on purpose: a longer answer is a longer bet. It sees the difference
   only and often lowers both S; the term -sft S_w/|y_w|, sft being a number (RPO), holds S_w up. */

static void reference_must_stand_still(const double *ref, const double *sum) {
    if (ref == sum) llm_die("a copy, made once before training", "the reference and the policy are the same array");
}
double llm_loss_dpo(double *dsum, const double *sum, const double *ref, const double *count, int pairs, llm_dpo o,
                    double total, llm_pair_stats *stats) {
    bool robust = o.kind == LLM_ROBUST_DPO;
    double loss = 0, scale = one_over(total), e = robust || o.kind == LLM_CDPO ? o.flip : 0;
    double sign = robust ? -1 : 1, whole = robust ? 1 - 2 * e : 1;
    reference_must_stand_still(ref, sum);
    if (!(o.beta > 0)) llm_die("--beta 0.1", "DPO with beta %g", o.beta);
    if (!(e >= 0 && e < 0.5)) llm_die("--noise below 0.5", "DPO with %g of its labels wrong", e);
    for (int i = 0; i < pairs; i++) {
        int w = 2 * i, l = w + 1;
        double nw = fmax(count[w], 1), nl = fmax(count[l], 1), slope_w, slope_l;
        double chosen = sum[w] - ref[w], rejected = sum[l] - ref[l];
        if (o.kind == LLM_IPO) {
            double h = chosen / nw - rejected / nl - 1 / (2 * o.beta);
            loss += h * h;
            slope_w = 2 * h / nw;
            slope_l = 2 * h / nl;
        } else {
            double lead = o.beta * (chosen - rejected);
            loss += ((1 - e) * minus_log_sigmoid(lead) + sign * e * minus_log_sigmoid(-lead)) / whole;
            slope_w = slope_l = o.beta * (-(1 - e) * sigmoid(-lead) + sign * e * sigmoid(lead)) / whole;
        }
        loss -= o.sft * sum[w] / nw;
        dsum[w] = scale * (slope_w - o.sft / nw);
        dsum[l] = -scale * slope_l;
        pair_count(stats, o.beta * chosen, o.beta * rejected);
    }
    return loss * scale;
}

/* KTO (Ethayarajh et al. 2024): no pairs, only thumbs up or down, valued as people value gains and losses: against a
   reference point z0, and flat far from it. That should be the policy's mean KL, which asks for samples; the mean u of
   answers to the wrong prompts, 0 at least, stands in (how far has it moved where nothing was taught?). No gradient.

       good   L = (1/total) weight_good (1 - q), q = s(beta (u - z0))    dL/dS = -(1/total) weight_good beta q (1-q)
       bad    L = (1/total) weight_bad  (1 - q), q = s(beta (z0 - u))    dL/dS = +(1/total) weight_bad  beta q (1-q) */
double llm_kto_z0(const double *mismatched, const double *ref, int rows) {
    double mean = 0;
    if (rows < 2) llm_die("a larger --batch", "KTO needs at least 2 rows for its reference point, not %d", rows);
    for (int i = 0; i < rows; i++) mean += (mismatched[i] - ref[i]) / rows;
    return fmax(mean, 0);
}
/* The rarer kind weighs more, so that both have the same sum (the paper advises a ratio in [1, 4/3]). */
void llm_kto_balance(double *weight_good, double *weight_bad, double good, double bad) {
    if (!(good > 0 && bad > 0)) llm_die("data with both kinds", "KTO with %g good and %g bad answers", good, bad);
    *weight_good = fmax(1, bad / good);
    *weight_bad = fmax(1, good / bad);
}
double llm_loss_kto(double *dsum, const double *sum, const double *ref, const bool *good, int rows, llm_kto o,
                    double total) {
    double loss = 0, scale = one_over(total);
    reference_must_stand_still(ref, sum);
    for (int i = 0; i < rows; i++) {
        double u = sum[i] - ref[i], sign = good[i] ? 1 : -1, weight = good[i] ? o.weight_good : o.weight_bad;
        double q = sigmoid(o.beta * sign * (u - o.z0));
        loss += weight * (1 - q);
        dsum[i] = -scale * weight * sign * o.beta * q * (1 - q);
    }
    return loss * scale;
}

/* RRHF (Yuan et al. 2023): rank the model's own log-probabilities per token, p_i = S_i / |y_i|, like the rewards, and
   imitate the best. No reference, no margin; where the order is right it pushes no more.

       L = (1/total) [sum over r_i < r_j of max(0, p_i - p_j) - sft p_best] */
double llm_loss_rrhf(double *dsum, const double *sum, const double *count, const double *reward, int K, double sft,
                     double total) {
    double loss = 0, scale = one_over(total);
    for (int i = 0; i < K; i++) dsum[i] = 0;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) {
            double ni = fmax(count[i], 1), nj = fmax(count[j], 1), gap = sum[i] / ni - sum[j] / nj;
            if (!(reward[i] < reward[j]) || !(gap > 0)) continue;
            loss += gap;
            dsum[i] += scale / ni;
            dsum[j] -= scale / nj;
        }
    int best = llm_best_of(reward, K);
    loss -= sft * sum[best] / fmax(count[best], 1);
    dsum[best] -= scale * sft / fmax(count[best], 1);
    return loss * scale;
}

/* ================================================================================================================
   10. Many ranks
   ================================================================================================================
   Llama-2 70B does not fit one card: AdamW in mixed precision keeps 18 bytes a parameter (master weight 4, bf16 copy 2,
   gradient 4, two moments 8), 1.2 TB, and an A100 has 80 GB. And if it did: one card would compute for two centuries.
   So many ranks train one model, a process each, on its GPU or processor. All run the same program line by line, with
   the same seeds and data; three things are shared out.

   The work (data parallel). Rank r computes the micro-batches i with i % R = r of a step. The loss divides by M, the
   targets of the whole step, so the gradient of the step is the sum of theirs, and after it all take the same step:

       rank 0   micro 0   micro 2           g0 ---.               .--> sum, at all ranks
       rank 1   micro 1   micro 3           g1 ----+---> sum -----+--> sum, at all ranks
                round 0   round 1                                      acc = ((g0 + g1) + g2) + g3

   Floating-point sums depend on their order. Here a micro-batch's gradient is formed from nothing and then added to
   those before it, in the order of the micro-batches: 1 rank x 4, 2 x 2 and 4 x 1 give the same bits (NCCL's sums have
   an order of their own, and so has a program without a team, which adds within the operations). A rank that has no
   micro-batch in the last round computes one whose dlogp is 0: x + 0 = x.

   The memory (ZeRO: Rajbhandari et al. 2020). Why should every rank hold what another one holds, too? The arena is cut
   into R equal ranges, whose owners alone step them. ZeRO 1 splits the moments, 2 the sums of gradients too, 3 the
   weights too. With 2 ranks (W weights, S sums, M moments; capitals: the whole, small letters: its half):

                 ZeRO 0             1                  2                  3
       rank 0    W S M              W S m0             W s0 m0            w0 s0 m0
       rank 1    W S M              W S m1             W s1 m1            w1 s1 m1

   The layers (tensor parallel: Shoeybi et al. 2019). K ranks share every layer, each with 1/K of its heads and of the
   feed-forward's columns: q|k|v and `up` are cut by rows, proj and `down` by columns, so between them nothing is sent.

       x --norm--> xn --Wqkv[my rows]--> my heads --attention--> --Wproj[my columns]--> a part of each number of x: sum

   A block has two such sums forward (the first rank has put residual stream and bias in), and two backward, where the
   gradient of xn is a sum over all heads: 8 L N C (K-1)/K numbers a pass, for GPUs that sit side by side. Norms,
   embedding and head are computed by all alike. Rank = data * K + tensor: K such ranks are one data rank above.

   The engine below is not ours: NCCL between GPUs (llm_cuda.cuh), MPI between processes on CPUs. What each rank holds
   when, what that costs, and the rows of llm_ranks over MPI, are in tools/llm_ranks.h. */

llm_ranks *llm_team = NULL;
int llm_rank(void) { return llm_team ? llm_team->rank : 0; }
bool llm_leads(void) { return llm_rank() == 0; }
/* ================================================================================================================
   11. The planner
   ================================================================================================================
   Can we afford the run? A question to ask before a computer runs for a night: every byte and every floating-point
   operation follows from the eight sizes V, T, L, C, H, KV, D and F, so memory and time are arithmetic: 700 GB for the
   weights of GPT-3. (What two thousand GPUs cost, and how often one of them breaks, stands in tools/fleet.h.)

   FLOPs. A product (N,I) x (I,O) costs 2 N I O: a multiplication and an addition. So a token costs 2 FLOPs per matrix
   element in the forward pass, and twice that in the backward pass, which needs the gradients of input and weight:

       6 P_matrix + 6 L T H D      P_matrix = L (C (H + 2 KV) D + H D C + (2 | 3) C F) + V C

   The second term is attention: q k' and p v are 2 T D each per head and token, 4 T H D, halved because the future is
   masked, and times three for the backward pass. Looking up the embedding costs nothing; norms and activations are
   forgotten by custom, and so is what recomputation repeats, unless one asks for the FLOPs executed. */

llm_plan llm_plan_make(const llm_config *c, const llm_ops *ops, int B, int T, bool train, llm_keep keep,
                       bool moments16) {
    llm_config_check(c, "the plan");
    if (ops->enter) ops->enter(ops);
    if (B < 1 || T < 1) llm_die("--batch and --seq of at least 1", "a plan for a batch of %d x %d tokens", B, T);
    double n = (double)B * T, most = ops->head_rows, rows = ceil(n / ceil(n / most));   /* equal chunks */
    double P = llm_parameters(c), C = c->C, F = c->F, q = (double)c->H * c->D, kv = (double)c->KV * c->D;
    double layer = C * (q + 2 * kv) + q * C + (c->activation == LLM_SWIGLU ? 3 : 2) * C * F;    /* matrix elements */
    double block = 2 * layer + 2.0 * T * c->H * c->D, head = 2.0 * c->V * c->C;
    llm_plan p = {.parameters = P};
    p.flops_per_token = (train ? 3 : 1) * (c->L * block + head);
    p.flops_executed = p.flops_per_token + (train && keep == LLM_KEEP_INPUTS ? (c->L - 1) * block : 0);
    p.weights = P * sizeof(llm_real);
    p.work = ops->precision == LLM_BF16 ? P * 2 : 0;
    p.gradients = train ? P * sizeof(llm_real) : 0;
    p.moments = train ? 2 * P * (moments16 ? 2 : sizeof(llm_real)) : 0;
    llm_model m = {.c = *c, .ops = ops, .keep = keep, .acts = llm_alloc(c->L, sizeof *m.acts)};
    p.activations = model_cut_pool(&m, NULL, llm_mul(B, T), train);        /* chapter 5 counts, hands nothing out */
    llm_release(m.acts);
    p.logits = rows * c->V * sizeof(llm_real);
    p.packing = ops->scratch_bytes ? ops->scratch_bytes(c, B, T, train) : 0;
    p.total = p.weights + p.work + p.gradients + p.moments + p.activations + p.logits + p.packing;
    return p;
}

/* ################################################################################################################
   PART II: the cellar
   ################################################################################################################
   What the lecture stands on and does not mention: errors, files and JSON, and the folders in which models are kept. */

/* ================================================================================================================
   12. Ground
   ================================================================================================================
   What every program stands on and no lecture mentions: errors that say what to do, sizes that cannot overflow, files
   that are complete or absent, random numbers that can be saved, and JSON. Nothing here knows about
   language models; skip it at the first reading. */

/* ---- errors ---- */

void (*llm_on_death)(const char *message) = NULL;

/* Where all ranks of a team die of the same (a wrong command line, a file that is not there), rank 0 says it for all:
   it has three seconds before the others speak. */
LLM_NORETURN static void die(int code, const char *remedy, const char *cause, va_list arguments) {
    char message[2048], whose[64] = "";
    int n = vsnprintf(message, sizeof message, cause, arguments);
    n = llm_min(llm_max(n, 0), sizeof message - 1);
    if (remedy) snprintf(message + n, sizeof message - n, "\n  try: %s", remedy);
    if (llm_on_death) llm_on_death(message);
    if (!llm_leads()) alarm(0);         /* nobody is waited for any more */
    for (unsigned left = llm_leads() ? 0 : 3; left;) left = sleep(left);
    if (llm_team && llm_team->size > 1 && code != 2)
        snprintf(whose, sizeof whose, "rank %d of %d: ", llm_team->rank, llm_team->size);
    fflush(stdout);
    fprintf(team_stderr(), "error: %s%s\n", whose, message);
    fflush(team_stderr());
    if (llm_team) llm_team->stop(code);
    exit(code);
}
void llm_die(const char *remedy, const char *cause, ...) {
    va_list a;
    va_start(a, cause);
    die(1, remedy, cause, a);
}
void llm_usage(const char *remedy, const char *cause, ...) {
    va_list a;
    va_start(a, cause);
    die(2, remedy, cause, a);
}

/* ---- memory and sizes ---- */

size_t llm_mul(size_t a, size_t b) {
    if (b && a > SIZE_MAX / b) llm_die("a smaller model, batch or file", "size overflow: %zu x %zu", a, b);
    return a * b;
}
size_t llm_add(size_t a, size_t b) {
    if (a > SIZE_MAX - b) llm_die("a smaller model, batch or file", "size overflow: %zu + %zu", a, b);
    return a + b;
}
/* Memory in whole cache lines. Large arrays ask for pages of 2 MB, so that walking across one does not spend its time
   looking pages up: 2 to 5% of a training step where Linux has them to give. NULL when there is no memory. */
static void *aligned_memory(size_t bytes) {
    const size_t huge = (size_t)2 << 20, unit = bytes < huge ? 64 : huge;
    const size_t size = bytes / 64 * 64 + 64;
    void *p = NULL;
    if (size < bytes || posix_memalign(&p, unit, size)) return NULL;
#ifdef MADV_HUGEPAGE
    if (unit == huge) madvise(p, size, MADV_HUGEPAGE);
#endif
    return p;
}
void *llm_alloc(size_t count, size_t size) {
    size_t bytes = llm_mul(count, size);
    void *p = aligned_memory(bytes);
    if (!p)
        llm_die("a smaller --batch, --seq or model, or --recompute", "out of memory: %.1f MB wanted", bytes / 1e6);
    return memset(p, 0, bytes);
}
void *llm_grow(void *p, size_t *capacity, size_t needed, size_t size) {
    if (needed <= *capacity) return p;
    size_t wanted = *capacity ? *capacity : 16;
    while (wanted < needed) wanted = llm_mul(wanted, 2);
    p = realloc(p, llm_mul(wanted, size));
    if (!p) llm_die("a smaller file", "out of memory: %.1f MB wanted", wanted * size / 1e6);
    *capacity = wanted;
    return p;
}
void llm_release(void *p) { free(p); }
void llm_release_list(void *const *p, size_t count) {
    for (size_t i = 0; i < count; i++) llm_release(p[i]);
}

char *llm_format(const char *format, ...) {
    va_list a, b;
    va_start(a, format);
    va_copy(b, a);
    int n = vsnprintf(NULL, 0, format, a);
    va_end(a);
    char *text = llm_alloc(llm_max(n, 0) + 1, 1);
    vsnprintf(text, llm_max(n, 0) + 1, format, b);
    va_end(b);
    return text;
}
static char *copy_text(const char *text, size_t size) {
    char *copy = llm_alloc(llm_add(size, 1), 1);
    if (size) memcpy(copy, text, size);
    return copy;
}
double llm_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* ---- random numbers ---- */

llm_rng llm_rng_seed(uint64_t seed, uint64_t stream) {
    llm_rng r = {seed}, s = {stream + 0x632BE59BD9B4E019u};
    r.state = llm_rng_u64(&r) ^ llm_rng_u64(&s);
    return r;
}
int llm_rng_below(llm_rng *r, int n) {
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
    do x = llm_rng_u64(r);
    while (x >= limit);                 /* the last, incomplete block would favour small numbers */
    return x % n;
}
double llm_rng_normal(llm_rng *r) {
    double u = 1 - llm_rng_uniform(r), v = llm_rng_uniform(r);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}
uint64_t llm_hash(const void *data, size_t bytes, uint64_t seed) {
    const unsigned char *p = data;
    uint64_t h = 0xCBF29CE484222325u ^ seed;
    for (size_t i = 0; i < bytes; i++) h = (h ^ p[i]) * 0x100000001B3u;
    return h;
}

/* ---- files ---- */

bool llm_exists(const char *path) {
    struct stat s;
    return stat(path, &s) == 0;
}
bool llm_is_dir(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}
char *llm_read_file(const char *path, size_t *size) {
    if (llm_is_dir(path)) llm_die("name a file inside it", "%s is a folder, a file was expected", path);
    FILE *f = fopen(path, "rb");
    if (!f) llm_die("check the path", "cannot open %s: %s", path, strerror(errno));
    char *text = NULL;
    size_t n = 0, capacity = 0, got;
    do {                                /* no trust in the size: pipes and growing files are files too */
        text = llm_grow(text, &capacity, llm_add(n, 65536), 1);
        got = fread(text + n, 1, capacity - n - 1, f);
        n += got;
    } while (got > 0);
    if (ferror(f)) llm_die("check the disk", "cannot read %s: %s", path, strerror(errno));
    fclose(f);
    text[n] = '\0';
    if (size) *size = n;
    return text;
}
void llm_make_dirs(const char *path) {
    if (!llm_leads()) return;
    char *p = copy_text(path, strlen(path));
    for (char *slash = p; slash;) {     /* each folder above it, then itself */
        slash = strchr(slash + 1, '/');
        if (slash) *slash = '\0';
        if (mkdir(p, 0777) && errno != EEXIST)
            llm_die("another folder", "cannot create folder %s: %s", p, strerror(errno));
        if (slash) *slash = '/';
    }
    if (!llm_is_dir(p)) llm_die("another folder", "%s is not a folder", p);
    llm_release(p);
}
/* A rename is durable only when the folder itself is flushed. */
static void sync_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *dir = slash ? copy_text(path, slash == path ? 1 : slash - path) : copy_text(".", 1);
    int fd = open(dir, O_RDONLY);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    llm_release(dir);
}
LLM_NORETURN static void write_failed(llm_writer *w) {
    int why = errno;
    if (w->file) fclose(w->file);
    if (llm_leads()) unlink(w->temporary);
    llm_die("free some space, or another folder", "cannot write %s: %s", w->path, strerror(why));
}
llm_writer llm_write_begin(const char *path) {
    llm_writer w = {NULL, copy_text(path, strlen(path)), llm_format("%s.tmp", path)};
    if (!llm_leads()) w.file = fopen("/dev/null", "wb");
    else w.file = unlink(w.temporary) && errno != ENOENT ? NULL : fopen(w.temporary, "wb");  /* never through a link */
    if (!w.file) llm_die("check the folder and its permissions", "cannot write %s: %s", w.temporary, strerror(errno));
    return w;
}
void llm_write_bytes(llm_writer *w, const void *data, size_t bytes) {
    if (bytes && fwrite(data, 1, bytes, w->file) != bytes) write_failed(w);
}
void llm_write_text(llm_writer *w, const char *format, ...) {
    va_list a;
    va_start(a, format);
    if (vfprintf(w->file, format, a) < 0) write_failed(w);
    va_end(a);
}
void llm_write_done(llm_writer *w) {
    if (fflush(w->file) || (llm_leads() && fsync(fileno(w->file)))) write_failed(w);
    FILE *file = w->file;
    w->file = NULL;
    if (fclose(file) || (llm_leads() && rename(w->temporary, w->path))) write_failed(w);
    if (llm_leads()) sync_folder_of(w->path);
    llm_release_all(w->path, w->temporary);
    *w = (llm_writer){NULL, NULL, NULL};
}

/* ---- JSON ---- */

/* A tree owns a chain of blocks. In the first lies a copy of the text, whose strings are unescaped where they stand. */
struct llm_json_arena { struct llm_json_arena *older; size_t used, size; char bytes[]; };

typedef struct { char *p, *end; const char *where; int line, depth; struct llm_json_arena *arena; } json_reader;

static void *json_take(json_reader *r, size_t bytes) {
    struct llm_json_arena *a = r->arena;
    bytes = llm_add(bytes, 7) / 8 * 8;
    if (!a || a->size - a->used < bytes) {
        size_t size = size_max(bytes, 65536);
        a = malloc(llm_add(sizeof *a, size));
        if (!a) llm_die("a smaller file", "out of memory: %zu bytes for what a JSON file holds", size);
        *a = (struct llm_json_arena){r->arena, 0, size};
        r->arena = a;
    }
    a->used += bytes;
    return a->bytes + a->used - bytes;
}
static void json_release(struct llm_json_arena *a) {
    for (struct llm_json_arena *older; a; a = older) {
        older = a->older;
        free(a);
    }
}
LLM_NORETURN static void json_bad(json_reader *r, const char *what) {
    if (r->p > r->end) what = "a string is not closed";         /* only there the '\0' behind the text is read */
    json_release(r->arena);
    llm_die("check that the file is complete JSON", "%s:%d: %s", r->where, r->line, what);
}
static void json_space(json_reader *r) {
    for (; *r->p == ' ' || *r->p == '\t' || *r->p == '\r' || *r->p == '\n'; r->p++) r->line += *r->p == '\n';
}
static void json_expect(json_reader *r, char c, const char *otherwise) {
    if (*r->p != c) json_bad(r, r->p < r->end ? otherwise : "the text ends too early");
    r->p++;
}
/* Write a code point as UTF-8; returns the number of bytes. */
static int utf8_put(char *out, uint32_t c) {
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6) out[i] = 0x80 | (c & 63);
    out[0] = lead[n] | c;
    return n;
}
int llm_utf8_get(const char *text, size_t n, uint32_t *code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};       /* that needs so many bytes */
    const unsigned char *s = (const unsigned char *)text;
    *code = s[0];
    if (s[0] < 0x80) return 1;
    size_t length = s[0] < 0xC0 || s[0] >= 0xF8 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    uint32_t c = s[0] & (0xFF >> (length + 1));
    *code = UINT32_MAX;
    if (!length || length > n) return 1;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) return 1;
        c = c << 6 | (s[i] & 63);
    }
    if (c < least[length] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 1;
    *code = c;
    return length;
}
/* The four digits of \u. */
static uint32_t json_hex4(json_reader *r) {
    static const char digits[] = "0123456789abcdefABCDEF";
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        const char *digit = memchr(digits, *r->p++, strlen(digits));
        if (!digit) json_bad(r, "\\u wants four hexadecimal digits");
        value = value * 16 + (digit - digits) - (digit >= digits + 16 ? 6 : 0);
    }
    return value;
}
static uint32_t json_unicode(json_reader *r) {
    uint32_t u = json_hex4(r);
    if (u >= 0xD800 && u < 0xDC00 && r->p[0] == '\\' && r->p[1] == 'u') {
        char *back = r->p;
        r->p += 2;
        uint32_t low = json_hex4(r);
        if (low >= 0xDC00 && low < 0xE000) return 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00);
        r->p = back;
    }
    return u >= 0xD800 && u < 0xE000 ? 0xFFFD : u;
}
static const char *json_string(json_reader *r, size_t *length) {
    static const char escape[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char *text = ++r->p, *out = text;   /* the unescaped text is never longer than the escaped */
    while (*r->p != '"') {
        char c = *r->p++;
        if (c == '\n' || c == '\r') json_bad(r, "a line ends inside a string");
        if ((unsigned char)c < 0x20) json_bad(r, "a control character inside a string");
        if (c != '\\') *out++ = c;
        else if ((c = *r->p++) == 'u') out += utf8_put(out, json_unicode(r));
        else {
            const char *known = memchr(escape, c, strlen(escape));
            if (!known) json_bad(r, "an unknown escape in a string");
            *out++ = meant[known - escape];
        }
    }
    r->p++;
    *length = out - text;
    *out = '\0';
    return text;
}
/* Behind the digits that must stand at p. */
static const char *json_digits(json_reader *r, const char *p) {
    size_t n = strspn(p, "0123456789");
    if (!n) json_bad(r, "a value was expected here");
    return p + n;
}
static void json_number(json_reader *r, llm_json *v) {
    const char *first = r->p + (*r->p == '-'), *p = json_digits(r, first);
    if (*first == '0' && p > first + 1) json_bad(r, "a value was expected here");
    if (*p == '.') p = json_digits(r, p + 1);
    if (*p == 'e' || *p == 'E') {
        p++;
        p = json_digits(r, p + (*p == '+' || *p == '-'));
    }
    v->type = LLM_JSON_NUMBER;
    v->length = p - r->p;
    char *text = json_take(r, v->length + 1);
    memcpy(text, r->p, v->length);
    text[v->length] = '\0';
    v->string = text;
    v->number = strtod(text, NULL);
    r->p += v->length;
}
static llm_json *json_value(json_reader *r);
static void json_members(json_reader *r, llm_json *v, char close) {
    llm_json **tail = &v->child;
    if (++r->depth > 200) json_bad(r, "nested deeper than 200 levels");
    r->p++;
    json_space(r);
    while (*r->p != close) {
        const char *key = NULL;
        if (v->length++) {
            json_expect(r, ',', close == '}' ? "',' or '}' was expected" : "',' or ']' was expected");
            json_space(r);
        }
        if (close == '}') {
            size_t n;
            if (*r->p != '"') json_bad(r, "a key in quotes was expected");
            key = json_string(r, &n);
            json_space(r);
            json_expect(r, ':', "':' was expected");
        }
        *tail = json_value(r);
        (*tail)->key = key;
        tail = &(*tail)->next;
        json_space(r);
    }
    r->p++;
    r->depth--;
}
static bool json_word(json_reader *r, const char *word) {
    size_t n = strlen(word);
    bool here = !strncmp(r->p, word, n);
    if (here) r->p += n;
    return here;
}
static llm_json *json_value(json_reader *r) {
    json_space(r);
    if (r->p >= r->end) json_bad(r, "the text ends too early");
    llm_json *v = json_take(r, sizeof *v);
    *v = (llm_json){.type = LLM_JSON_NULL, .line = r->line};
    if (*r->p == '{') { v->type = LLM_JSON_OBJECT; json_members(r, v, '}'); }
    else if (*r->p == '[') { v->type = LLM_JSON_ARRAY; json_members(r, v, ']'); }
    else if (*r->p == '"') { v->type = LLM_JSON_STRING; v->string = json_string(r, &v->length); }
    else if (json_word(r, "true")) { v->type = LLM_JSON_BOOL; v->number = 1; }
    else if (json_word(r, "false")) v->type = LLM_JSON_BOOL;
    else if (json_word(r, "NaN") || json_word(r, "Infinity") || json_word(r, "-Infinity")) v->number = NAN;   /* null */
    else if (!json_word(r, "null")) json_number(r, v);
    return v;
}
llm_json *llm_json_parse(const char *text, size_t size, const char *where, int first_line) {
    json_reader r = {.where = where, .line = first_line};
    r.p = json_take(&r, llm_add(size, 1));
    r.end = r.p + size;
    memcpy(r.p, text, size);
    *r.end = '\0';
    if (!strncmp(r.p, "\xEF\xBB\xBF", 3)) r.p += 3;     /* a byte order mark */
    llm_json *root = json_value(&r);
    json_space(&r);
    if (r.p < r.end) json_bad(&r, "text after the end of the value");
    root->arena = r.arena;
    return root;
}
llm_json *llm_json_file(const char *path) {
    size_t size;
    char *text = llm_read_file(path, &size);
    llm_json *root = llm_json_parse(text, size, path, 1);
    llm_release(text);
    return root;
}
void llm_json_free(llm_json *root) {
    if (root) json_release(root->arena);
}
const llm_json *llm_json_get(const llm_json *object, const char *key) {
    const llm_json *found = NULL;       /* of a key that stands there twice the last counts, as in Python */
    for (const llm_json *c = object && object->type == LLM_JSON_OBJECT ? object->child : NULL; c; c = c->next)
        if (!strcmp(c->key, key)) found = c;
    return found;
}
double llm_json_number(const llm_json *object, const char *key, double otherwise) {
    const llm_json *v = llm_json_get(object, key);
    return v && (v->type == LLM_JSON_NUMBER || isnan(v->number)) ? v->number : otherwise;
}
const char *llm_json_text(const llm_json *object, const char *key, const char *otherwise) {
    const llm_json *v = llm_json_get(object, key);
    return v && v->type == LLM_JSON_STRING ? v->string : otherwise;
}
bool llm_json_true(const llm_json *object, const char *key, bool otherwise) {
    const llm_json *v = llm_json_get(object, key);
    return v && v->type == LLM_JSON_BOOL ? v->number != 0 : otherwise;
}
void llm_write_json_string(llm_writer *w, const char *text, size_t length) {
    llm_write_bytes(w, "\"", 1);
    for (size_t i = 0, n; i < length; i += n) {
        uint32_t c;
        n = llm_utf8_get(text + i, length - i, &c);
        if (c == UINT32_MAX) llm_write_text(w, "\\ufffd");      /* JSON is UTF-8: a lone byte cannot be written */
        else if (c == '"' || c == '\\') llm_write_text(w, "\\%c", text[i]);
        else if (c == '\n') llm_write_text(w, "\\n");
        else if (c < 0x20) llm_write_text(w, "\\u%04x", c);
        else llm_write_bytes(w, text + i, n);
    }
    llm_write_bytes(w, "\"", 1);
}

/* ---- paths ---- */

void llm_paths_add(llm_paths *l, const char *path) {
    l->path = llm_grow(l->path, &l->capacity, l->count + 1, sizeof *l->path);
    l->path[l->count++] = copy_text(path, strlen(path));
}
void llm_paths_free(llm_paths *l) {
    for (size_t i = 0; i < l->count; i++) llm_release(l->path[i]);
    llm_release(l->path);
    *l = (llm_paths){NULL, 0, 0};
}

/* ================================================================================================================
   13. A model's folder
   ================================================================================================================
   What a stage leaves behind is a folder as Hugging Face's libraries read and write it: tokenizer.json, config.json,
   model.safetensors. Any of our stages, and any other program, goes on from there. (Checkpoints: tools/checkpoint.h.)

   Reading, llm.h keeps to one rule: it reads what it wrote. Whatever was read is written once more, in memory, and has
   to come out the same to the byte. So no key is overlooked and no value believed that would mean another computation,
   without a list of all the keys that there are. Folders of other programs are read by tools/hf.h, which knows the
   families, their tokenizers and their templates, and refuses by its key what we do not compute. */

static const char foreign[] = "include tools/hf.h behind llm.h: hf_model_load and hf_tokenizer_load read other folders";

/* The file DIR/NAME: is it there, away with it, write it. */
static bool folder_holds(const char *dir, const char *name) {
    char *path = llm_format("%s/%s", dir, name);
    bool exists = llm_exists(path);
    llm_release(path);
    return exists;
}
static void remove_in(const char *dir, const char *name) {
    char *path = llm_format("%s/%s", dir, name);
    if (llm_leads()) unlink(path);
    llm_release(path);
}
static llm_writer begin_in(const char *dir, const char *name) {
    char *path = llm_format("%s/%s", dir, name);
    llm_writer w = llm_write_begin(path);
    llm_release(path);
    return w;
}
static llm_writer write_in_memory(char **text, size_t *size) {
    llm_writer w = {open_memstream(text, size), NULL, NULL};
    if (!w.file) llm_die(NULL, "out of memory");
    return w;
}
/* Ends the program unless the file is what was written in memory. */
static void check_written(llm_writer *w, char *const *text, const size_t *size, const char *path) {
    fclose(w->file);                    /* now text and size are known */
    size_t n, i = 0;
    int line = 1;
    char *file = llm_read_file(path, &n);
    for (; i < n && i < *size && file[i] == (*text)[i]; i++) line += file[i] == '\n';
    bool same = n == *size && i == n;
    llm_release_all(file, *text);
    if (!same) llm_die(foreign, "%s:%d: llm.h did not write this file, or it was changed", path, line);
}

/* ---- tokenizer.json ----
   JSON is text, so GPT-2's family spells each byte as a printable character: '!' stands for itself, a space is U+0120
   (256 + 32). */

static uint32_t byte_to_char(int b) {
    if ((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174) return b;
    return 256 + (b < 33 ? b : b < 161 ? b - 127 + 33 : 67);          /* the other 68, in order */
}
static int char_to_byte(uint32_t c) {
    if (c < 256) return byte_to_char(c) == c ? (int)c : -1;
    c -= 256;
    return c < 33 ? (int)c : c < 67 ? (int)c - 33 + 127 : c == 67 ? 173 : -1;
}
/* One of our own tokens, or two with a space between (a merge), as tokenizer.json spells them. */
static void write_spelling(llm_writer *w, const llm_tokenizer *t, int a, int b) {
    const int id[] = {a, b};
    size_t n = 0, room = t->length[a] + (b >= 0 ? t->length[b] : 0);
    char *text = llm_alloc(llm_add(llm_mul(2, room), 1), 1);    /* a byte is at most two bytes of UTF-8 */
    for (int k = 0; k < (b >= 0 ? 2 : 1); k++) {
        if (k) text[n++] = ' ';
        for (int i = 0; i < t->length[id[k]]; i++) {
            if (t->special[id[k]]) text[n++] = t->token[id[k]][i];
            else n += utf8_put(text + n, byte_to_char((unsigned char)t->token[id[k]][i]));
        }
    }
    llm_write_json_string(w, text, n);
    llm_release(text);
}
static void write_our_tokenizer(const llm_tokenizer *t, llm_writer *w) {
    static const char bytes[] =
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}";
    static const char each_digit[] =
        "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": true},\n";
    int specials = t->vocab_size - OUR_SPECIALS;
    bool digits = t->split == LLM_SPLIT_DIGITS;
    llm_write_text(w, "{\n\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n\"added_tokens\": [");
    for (int i = specials; i < t->vocab_size; i++) {
        llm_write_text(w, "%s\n{\"id\": %d, \"content\": ", i > specials ? "," : "", i);
        write_spelling(w, t, i, -1);
        llm_write_text(w, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                          "\"special\": true}");
    }
    llm_write_text(w, "],\n\"normalizer\": null,\n\"pre_tokenizer\": %s%s%s,\n"
                      "\"post_processor\": {\"type\": \"TemplateProcessing\",\n\"single\": [{\"SpecialToken\": "
                      "{\"id\": \"<|endoftext|>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": "
                      "0}}],\n\"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": "
                      "\"B\", \"type_id\": 1}}], \"special_tokens\": {\"<|endoftext|>\": {\"id\": \"<|endoftext|>\", "
                      "\"ids\": [%d], \"tokens\": [\"<|endoftext|>\"]}}},\n\"decoder\": %s,\n"
                      "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"fuse_unk\": false,\n"
                      "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"byte_fallback\": false,\n"
                      "\"ignore_merges\": false,\n\"vocab\": {",
                   digits ? each_digit : "", bytes, digits ? "]}" : "", t->opens, bytes);
    for (int i = 0; i < specials; i++) {
        llm_write_text(w, i ? ",\n" : "\n");
        write_spelling(w, t, i, -1);
        llm_write_text(w, ": %d", i);
    }
    llm_write_text(w, "},\n\"merges\": [");
    for (int i = 0; i < t->merges; i++) {
        llm_write_text(w, i ? ",\n" : "\n");
        write_spelling(w, t, t->tables->merge[i].a, t->tables->merge[i].b);
    }
    llm_write_text(w, "]}\n}\n");
}
static void write_our_config(const llm_tokenizer *t, llm_writer *w) {
    static const char *const name[] = {"bos_token", "eos_token", "pad_token"};
    const int id[] = {t->bos, t->eos, t->pad};
    llm_write_text(w, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                      "  \"clean_up_tokenization_spaces\": false,\n");
    for (int i = 0; i < 3; i++) {
        llm_write_text(w, "  \"%s\": ", name[i]);
        if (id[i] >= 0) llm_write_json_string(w, t->token[id[i]], t->length[id[i]]);
        llm_write_text(w, id[i] >= 0 ? ",\n" : "null,\n");
    }
    if (t->tables->chat_template) {
        llm_write_text(w, "  \"chat_template\": ");
        llm_write_json_string(w, t->tables->chat_template, strlen(t->tables->chat_template));
        llm_write_text(w, ",\n");
    }
    llm_write_text(w, "  \"model_max_length\": 1000000000000000019884624838656\n}\n");  /* transformers' "no limit" */
}
/* A loaded tokenizer is written back byte for byte; a trained one is spelled out. */
void llm_tokenizer_save(const llm_tokenizer *t, const char *dir) {
    const struct llm_tokenizer_tables *k = t->tables;
    llm_make_dirs(dir);
    for (int i = 0; i < TOKENIZER_FILES; i++) {
        if (!k->file[i] && i >= 2) {
            remove_in(dir, tokenizer_file[i]);          /* another tokenizer's: it would be believed */
            continue;
        }
        llm_writer w = begin_in(dir, tokenizer_file[i]);
        if (k->file[i]) llm_write_bytes(&w, k->file[i], k->file_size[i]);
        else (i ? write_our_config : write_our_tokenizer)(t, &w);
        llm_write_done(&w);
    }
}

static int whole_number(const llm_json *v) {
    if (!v || v->type != LLM_JSON_NUMBER || !(v->number >= 0 && v->number < INT_MAX)) return -1;
    return v->number == floor(v->number) ? v->number : -1;
}
/* generation_config.json knows every id that ends an answer: a number or a list. Where it says nothing, config.json
   may; transformers writes defaults into both that the vocabulary does not have. Returns whether there was one. */
static bool read_stops(llm_tokenizer *t, const llm_json *config) {
    const llm_json *eos = llm_json_get(config, "eos_token_id");
    bool list = eos && eos->type == LLM_JSON_ARRAY, found = false;
    for (const llm_json *c = list ? eos->child : eos; c; c = list ? c->next : NULL) {
        int id = whole_number(c);
        if (id < 0 || id >= t->vocab_size) continue;
        if (t->eos < 0) t->eos = id;
        add_stop(t, id);
        found = true;
    }
    return found;
}
/* The merges, spelled "a b": with them, ids 0 .. 255 and our special tokens, the vocabulary is known. */
static void read_merges(llm_tokenizer *t, const llm_json *merges, size_t room) {
    struct llm_tokenizer_tables *k = t->tables;
    word_map id = {0};
    char *bytes = llm_alloc(llm_add(room, 256), 1), *p = bytes + 256;
    for (int i = 0; i < 256; i++) {
        bytes[i] = i;
        word_add(&id, bytes + i, 1)->value = i;
    }
    k->merge = llm_alloc(merges ? merges->length : 0, sizeof *k->merge);
    for (const llm_json *c = merges ? merges->child : NULL; c; c = c->next) {
        size_t n = 0, first = 0;
        for (size_t i = 0; c->type == LLM_JSON_STRING && i < c->length;) {
            uint32_t code;
            i += llm_utf8_get(c->string + i, c->length - i, &code);
            if (code == ' ') first = n;
            else p[n++] = char_to_byte(code);
        }
        const word_entry *a = word_find(&id, p, first), *b = word_find(&id, p + first, n - first);
        int made = 256 + t->merges;
        if (!a || !b) break;            /* not ours: it will not come out the same */
        k->merge[t->merges++] = (bpe_merge){a->value, b->value, made};
        word_add(&id, p, n)->value = made;
        p += n;
    }
    word_free(&id);
    llm_release(bytes);
}
void llm_tokenizer_load(llm_tokenizer *t, const char *dir) {
    char *path = llm_format("%s/%s", dir, tokenizer_file[0]), *text;
    if (!llm_exists(path)) llm_die("a folder of one of our stages", "there is no %s", path);
    size_t size;
    text = llm_read_file(path, &size);
    llm_json *root = llm_json_parse(text, size, path, 1);
    our_begin(t, llm_json_get(llm_json_get(root, "pre_tokenizer"), "pretokenizers") != NULL);
    read_merges(t, llm_json_get(llm_json_get(root, "model"), "merges"), size);
    our_end(t);
    llm_json_free(root);
    llm_release_all(text, path);
    for (int i = 0; i < TOKENIZER_FILES; i++, llm_release(path)) {
        path = llm_format("%s/%s", dir, tokenizer_file[i]);
        if (i >= 2 && llm_exists(path)) llm_die(foreign, "%s: llm.h writes no such file", path);
        if (i >= 2) continue;
        llm_writer w = write_in_memory(&text, &size);
        (i ? write_our_config : write_our_tokenizer)(t, &w);
        check_written(&w, &text, &size, path);
    }
    path = llm_format("%s/generation_config.json", dir);
    root = llm_exists(path) ? llm_json_file(path) : NULL;
    read_stops(t, root);
    llm_json_free(root);
    llm_release(path);
}

/* ---- safetensors ----

       8 bytes    N, the length of the header, lowest byte first
       N bytes    JSON: {"name": {"dtype": "F32", "shape": [rows, cols], "data_offsets": [begin, end]}, ...}, spaces
       the rest   the numbers, in memory order, lowest byte first: as they lie in our memory

   The header says where everything lies, and a file of ours has the header that we would write for these tensors. */

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors are read and written as they lie in memory, but this machine stores the highest byte first"
#endif

/* A tensor in a file. */
typedef struct {
    const char *name, *dtype; int dims; size_t shape[4];
    const void *data;                   /* where its numbers come from or go to, as the caller wants to remember it */
} file_tensor;

static const char *real_dtype(void) { return sizeof(llm_real) == 8 ? "F64" : "F32"; }
/* Bits of a number; the dtype says it: F32, BF16 ... and BOOL. */
static int tensor_bits(const char *dtype) {
    const char *digits = strpbrk(dtype, "0123456789");
    return digits ? atoi(digits) : 8;
}
static size_t tensor_bytes(const file_tensor *t) {
    size_t n = tensor_bits(t->dtype) / 8;
    for (int i = 0; i < t->dims; i++) n = llm_mul(n, t->shape[i]);
    return n;
}
static char *shape_text(int dims, const size_t *shape) {
    char text[112] = "[";
    int n = 1;
    for (int i = 0; i < dims; i++) n += snprintf(text + n, sizeof text - n, "%s%zu", i ? "," : "", shape[i]);
    return llm_format("%s]", text);
}
static int by_width_and_name(const void *a, const void *b) {    /* wide types first: every tensor is aligned */
    const file_tensor *x = a, *y = b;
    int difference = tensor_bits(y->dtype) - tensor_bits(x->dtype);
    return difference ? difference : strcmp(x->name, y->name);
}
/* Brings the tensors into the order of their file; returns its header. (Its length stands before it: it is composed in
   memory.) */
static char *header_text(file_tensor *t, int count, size_t *size) {
    char *text = NULL;
    size_t place = 0;
    llm_writer w = write_in_memory(&text, size);
    if (count) qsort(t, count, sizeof *t, by_width_and_name);
    /* Some releases of transformers refuse a file without this entry, others one whose entry lacks the format. */
    llm_write_text(&w, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int i = 0; i < count; i++) {
        size_t end = llm_add(place, tensor_bytes(&t[i]));
        char *shape = shape_text(t[i].dims, t[i].shape);
        llm_write_text(&w, ",");
        llm_write_json_string(&w, t[i].name, strlen(t[i].name));
        llm_write_text(&w, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", t[i].dtype, shape, place,
                       end);
        llm_release(shape);
        place = end;
    }
    llm_write_text(&w, "}");
    fflush(w.file);                     /* now `size` is known; spaces let the numbers begin at a multiple of 8 */
    llm_write_text(&w, "%*s", (int)(-*size & 7), "");
    fclose(w.file);
    return text;
}
/* Begin a file: then the caller writes the numbers of t[0], t[1] ..., one at a time, so that no model is held twice. */
static llm_writer tensors_begin(const char *dir, const char *name, file_tensor *t, int count) {
    size_t size;
    char *header = header_text(t, count, &size);
    llm_writer w = begin_in(dir, name);
    uint64_t n = size;
    llm_write_bytes(&w, &n, 8);
    llm_write_bytes(&w, header, size);
    llm_release(header);
    return w;
}

/* A file's header as text, and how many bytes it has and follow it. */
static char *tensor_header(const char *path, size_t *header_bytes, size_t *data_bytes) {
    struct stat s;
    FILE *f = fopen(path, "rb");
    if (!f) llm_die("check the path", "cannot open %s: %s", path, strerror(errno));
    uint64_t n = 0, file = fstat(fileno(f), &s) ? 0 : s.st_size;
    bool good = fread(&n, 1, 8, f) == 8 && file >= 8 && n >= 2 && n <= 100000000 && n <= file - 8;
    char *text = llm_alloc(good ? n + 1 : 1, 1);
    good = good && fread(text, 1, n, f) == n;
    fclose(f);
    if (!good) llm_die("fetch the file again: it is cut short, damaged, or no safetensors file",
                       "%s: wants a header of %llu bytes, but the whole file has %llu", path, (unsigned long long)n,
                       (unsigned long long)file);
    *header_bytes = n;
    *data_bytes = file - 8 - n;
    return text;
}
/* Another header: say what is missing, or how many tensors are too many. */
LLM_NORETURN static void header_refuse(const char *path, const char *text, const file_tensor *t, int count,
                                       const char *remedy) {
    int more = -count;
    for (const char *p = text; (p = strstr(p, ":{\"dtype\"")); p++) more++;
    for (int i = 0; i < count; i++) {
        char *shape = shape_text(t[i].dims, t[i].shape);
        char *entry = llm_format("\"%s\":{\"dtype\":\"%s\",\"shape\":%s", t[i].name, t[i].dtype, shape);
        if (!strstr(text, entry)) llm_die(remedy, "%s: tensor \"%s\" is not there or not %s", path, t[i].name, shape);
        llm_release_all(entry, shape);
    }
    if (more > 0) llm_die(remedy, "%s holds %d tensors that the model lacks", path, more);
    llm_die(foreign, "%s: llm.h did not write this file, or it was changed", path);
}
/* Open a file that we wrote for these tensors: it has the header that we would write, and ends with them. They come
   into its order, and their dtype becomes the file's (a build in float wrote it, or one in double). Returns where the
   numbers of t[0] begin; those of t[1] follow. */
static size_t tensors_open(const char *path, file_tensor *t, int count, const char *remedy) {
    size_t n, size, data_bytes, bytes = 0;
    char *text = tensor_header(path, &n, &data_bytes);
    const char *real = strstr(text, "\"dtype\":\"F64\"") ? "F64" : "F32";
    for (int i = 0; i < count; i++) {
        if (strcmp(t[i].dtype, "BF16")) t[i].dtype = real;
        bytes = llm_add(bytes, tensor_bytes(&t[i]));
    }
    char *ours = header_text(t, count, &size);
    if (size != n || memcmp(text, ours, n) || bytes != data_bytes) header_refuse(path, text, t, count, remedy);
    llm_release_all(text, ours);
    return 8 + n;
}

/* n numbers as they lie in the file, as doubles; false: a type that we do not read. */
static bool widen(double *out, const void *raw, const char *dtype, size_t n) {
    bool f32 = !strcmp(dtype, "F32"), f64 = !strcmp(dtype, "F64"), f16 = !strcmp(dtype, "F16");
    const float *single = raw;
    const double *wide = raw;
    const uint16_t *half = raw;
    if (!f32 && !f64 && !f16 && strcmp(dtype, "BF16")) return false;
    for (size_t i = 0; i < n; i++)
        out[i] = f32 ? single[i] : f64 ? wide[i] : f16 ? f16_to_real(half[i]) : bf16_to_real(half[i]);
    return true;
}
/* Numbers of a file from byte `at` on. In pieces: no file is ever in memory as a whole. */
static void numbers_read(const char *path, size_t at, const char *dtype, size_t count, llm_real *out) {
    enum { READ_PIECE = 4096 };
    double numbers[READ_PIECE], raw[READ_PIECE];
    int bytes = tensor_bits(dtype) / 8;
    FILE *f = fopen(path, "rb");
    if (!f) llm_die("check the path", "cannot open %s: %s", path, strerror(errno));
    bool good = !fseeko(f, (off_t)at, SEEK_SET);
    for (size_t done = 0, n; done < count && good; done += n) {
        n = size_min(READ_PIECE, count - done);
        good = fread(raw, bytes, n, f) == n && widen(numbers, raw, dtype, n);
        for (size_t i = 0; i < n; i++) out[done + i] = numbers[i];
    }
    fclose(f);
    if (!good) llm_die("check the disk", "cannot read the numbers of %s", path);
}

/* ---- weights in fewer bits ----

   A weight that is only read, not learned, needs no 32 bits. Neighbours in a row are of like size, so a block of 32
   shares one scale s, and each weight becomes a small integer: q = round(w / s) is kept, and s q is read.

                                                              bytes a weight            error at most
       bf16    a float, rounded to its upper half             2                         |w|/256
       q8      q in -127 .. 127, s = max|w| / 127             1 + 2/32 = 1.0625         s/2
       q4      q in -8 .. 7, s = -(the w of largest size)/8   0.5 + 2/32 = 0.5625       s/2; where 8 is cut to 7, 1.01 s

       a block, 32 weights     0.31  -0.02   0.08  ...  -0.40      its largest is -0.40: s = 0.40/8 = 0.05
       q4, 16 bytes + s           6      0      2  ...     -8      byte i: low 4 bits q[i] + 8, high 4 q[i+16] + 8
       read: s q               0.30   0.00   0.10  ...  -0.40

   Four bits count from -8 to 7: the largest weight becomes -8; one of nearly that size and the other sign would be 8
   and is cut to 7. s is kept as an f16, as in llama.cpp's files, and w is divided by the s that will be read: between
   these ends its rounding costs nothing. (Below 2^-14, where f16 is coarse, s is rounded up if w would be cut.) What is
   written here weight_row (chapter 4) reads; place_packed (chapter 5) made room for it. */

/* The integers of a block of n <= 32 numbers (0 behind the last). Returns its scale, as f16. */
static uint16_t pack_block(llm_type type, int q[32], const llm_real *x, size_t n) {
    const int least = type == LLM_TYPE_Q8 ? -127 : -8, most = type == LLM_TYPE_Q8 ? 127 : 7;
    llm_real largest = 0;
    for (size_t i = 0; i < n; i++)
        if (LLM_MATH(fabs)(x[i]) > LLM_MATH(fabs)(largest)) largest = x[i];
    uint16_t scale = real_to_f16(type == LLM_TYPE_Q8 ? LLM_MATH(fabs)(largest) / 127 : largest / -8);
    if (LLM_MATH(fabs)(largest) > LLM_MATH(fabs)(f16_to_real(scale)) * -least * 1.001f) scale++;
    const llm_real s = f16_to_real(scale), half = 0.5;
    for (size_t i = 0; i < 32; i++) {
        const llm_real y = i < n && s != 0 ? LLM_MATH(floor)(x[i] / s + half) : 0;
        q[i] = y > least ? y < most ? y : most : least;
    }
    return scale;
}
/* A row of `cols` numbers. False when one of them, or a scale, is no finite number. */
static bool pack_weights(llm_type type, void *out, uint16_t *scale, const llm_real *x, size_t cols) {
    uint8_t *byte = out;
    int q[32];
    bool finite = true;
    if (type == LLM_TYPE_REAL) memcpy(out, x, cols * sizeof *x);
    if (type == LLM_TYPE_BF16) plain_store_weights(out, x, cols);
    for (size_t b = 0; b < weight_blocks(type, cols); b++) {
        const size_t first = 32 * b, n = size_min(32, cols - first);
        scale[b] = pack_block(type, q, x + first, n);
        finite &= f16_to_real(scale[b]) - f16_to_real(scale[b]) == 0;
        for (size_t i = 0; type == LLM_TYPE_Q8 && i < n; i++) byte[first + i] = q[i];
        for (size_t i = 0; type == LLM_TYPE_Q4 && i < 16; i++) byte[16 * b + i] = (q[i] + 8) | (q[i + 16] + 8) << 4;
    }
    for (size_t i = 0; i < cols; i++) finite &= x[i] - x[i] == 0;
    return finite;
}
/* `rows` rows of a tensor, from row `row` on, to the device, in whatever type it has there. */
static void param_write(const llm_ops *op, const llm_param *p, size_t row, size_t rows, const llm_real *host) {
    const size_t cols = full_cols(p), blocks = weight_blocks(p->w.type, cols);
    const size_t bytes = weight_row_bytes(p->w.type, cols);
    if (p->data) {
        param_upload(op, p, p->data, host, row * cols, rows * cols, sizeof *host);
        return;
    }
    char *packed = llm_alloc(rows, bytes);
    uint16_t *scale = llm_alloc(rows * blocks + 1, sizeof *scale);
    bool finite = true;
    LLM_OMP(parallel for schedule(static) reduction(&& : finite))
    for (size_t r = 0; r < rows; r++)
        finite = pack_weights(p->w.type, packed + r * bytes, scale + r * blocks, host + r * cols, cols) && finite;
    if (!finite) llm_die("another checkpoint", "%s holds numbers that are not finite or too large", p->name);
    if (p->range || p->parts > 1)       /* moments in bf16 */
        param_upload(op, p, (char *)p->w.data, packed, row * cols, rows * cols, bytes / cols);
    else op->upload((char *)p->w.data + row * bytes, packed, rows * bytes);
    if (blocks) op->upload((uint16_t *)p->w.scale + row * blocks, scale, rows * blocks * sizeof *scale);
    llm_release_all(packed, scale);
}
double llm_weight_bytes(const llm_model *m) {
    return m->size * (sizeof *m->data + (m->work ? sizeof(uint16_t) : 0)) + m->packed_bytes;
}
double llm_quantise(llm_model *m, llm_type weights) {
    if (m->grad) llm_die("llm_quantise before llm_model_train", "a model that is being trained cannot be quantised");
    const llm_model old = *m;
    llm_param *was = llm_alloc(m->params, sizeof *was);
    memcpy(was, m->param, m->params * sizeof *was);
    m->data = m->work = m->packed = NULL;
    m->shares = NULL;
    m->packed_bytes = 0;
    if (weights == LLM_TYPE_REAL) place_weights(m);
    else place_packed(m, weights);
    for (int i = 0; i < m->params; i++) {
        llm_real *host = param_read(m->ops, &was[i]);
        param_write(m->ops, &m->param[i], 0, full_rows(&m->param[i]), host);
        llm_release(host);
    }
    llm_weights_changed(m);
    device_release(m->ops, old.data);
    device_release(m->ops, old.work);
    device_release(m->ops, old.packed);
    team_free(old.shares, m->ops);
    llm_release(was);
    return llm_weight_bytes(&old) - llm_weight_bytes(m);
}

/* ---- copies of a model ---- */

void llm_model_copy_weights(llm_model *m, const llm_model *from) {
    for (int i = 0; i < from->params; i++) {
        const llm_param *p = &from->param[i];
        llm_param *q = llm_param_find(m, p->name);
        if (!q || full_size(q) != full_size(p)) continue;
        llm_real *host = param_read(m->ops, p);
        param_upload(m->ops, q, q->data, host, 0, full_size(q), sizeof *host);
        llm_release(host);
    }
    llm_weights_changed(m);
}
void llm_model_copy(llm_model *m, const llm_model *from, bool frozen) {
    refuse_adapters(from, "cannot copy");
    refuse_packed(from, "copy");
    const llm_config c = llm_config_whole(from);
    model_allocate(m, &c, from->ops, LLM_TYPE_REAL);
    llm_model_copy_weights(m, from);
    m->keep = from->keep;
    if (!frozen) llm_model_train(m);
}
void llm_model_add_score(llm_model *m, uint64_t seed) {
    if (m->c.score) return;
    refuse_adapters(m, "cannot add a head to");
    refuse_packed(m, "add a head to");
    llm_model old = *m;
    llm_config c = llm_config_whole(&old);
    c.score = true;
    model_allocate(m, &c, old.ops, LLM_TYPE_REAL);
    llm_model_copy_weights(m, &old);
    param_draw(m->ops, m->score, seed, llm_rng_normal);
    llm_weights_changed(m);
    m->keep = old.keep;
    if (!old.frozen) llm_model_train(m);
    llm_model_free(&old);
}

/* ---- what a model can be, and what it is, in words ---- */

/* The parts of a family, "gpt2", "llama" ..., as its first preset has them; the file says every size. */
static llm_config config_parts(const char *type) {
    int i = 0;
    while (i + 1 < LLM_PRESETS && strcmp(model_families[presets[i].c.family].type, type)) i++;
    return presets[i].c;
}
/* The parts go together as one of these families has them: the tensor table and the files know no others, and a part
   that they do not know would be left out without a word. */
static void config_family(const llm_config *c, const char *where) {
    const family_row *f = &model_families[c->family <= LLM_PHI3 ? c->family : LLM_GPT2];
    const llm_config p = config_parts(f->type);
    const bool parts = c->family == p.family && c->norm == p.norm && c->position == p.position && c->bias == p.bias &&
                       c->activation == p.activation && c->qk_norm == p.qk_norm && c->post_norm == p.post_norm;
    const bool biases = c->qkv_bias == (f->attention_bias ? c->proj_bias : p.qkv_bias) &&
                        c->proj_bias <= f->attention_bias && c->mlp_bias <= f->mlp_bias;
    const bool scales = c->position == LLM_ROPE && c->family != LLM_PHI3 && c->rope_scaling <= LLM_ROPE_YARN;
    if (!parts || !biases || (c->rope_scaling && !scales) || (c->no_rope_every && !p.no_rope_every))
        llm_die("the parts that the presets of this family have",
                "%s: no family of models has this mixture of parts: %s has not", where, f->type);
    if (p.bias && (c->KV != c->H || c->H * c->D != c->C))
        llm_die("as many key/value heads as heads, which fill the channels; or a Llama",
                "%s: GPT-2 with %d heads of %d, %d key/value heads, %d channels", where, c->H, c->D, c->KV, c->C);
}
/* Dynamic rope reaches so far. */
static int dynamic_context(const llm_config *c) { return fmin(fmax(c->rope_factor * c->rope_original, 0), INT_MAX); }
static void config_rope(const llm_config *c, const char *where) {
    const llm_rope_scaling kind = c->rope_scaling;
    bool good = !kind || (c->rope_factor >= 1 && (kind == LLM_ROPE_LINEAR || c->rope_original >= 1));
    if (kind == LLM_ROPE_DYNAMIC) good = good && c->T == dynamic_context(c);
    if (kind == LLM_ROPE_LLAMA3 || kind == LLM_ROPE_YARN) good = good && c->rope_high > c->rope_low;
    if (kind == LLM_ROPE_YARN) good = good && c->rope_low > 0 && c->rope_length > 0;
    if (!good) llm_die("the numbers that the model was trained with", "%s: impossible factors of rope", where);
}
static void wrong_config(const char *where, const char *what, int a, int b) {
    llm_die("sizes that fit together; --help shows the presets", "%s: impossible model: %s (%d, %d)", where, what, a,
            b);
}
void llm_config_check(const llm_config *c, const char *where) {
    const struct { const char *name; int size, most; } size[] = {   /* a row of weights, and a head, have such a room */
        {"vocabulary", c->V, 1 << 24}, {"context", c->T, 1 << 24}, {"layers", c->L, 1 << 12},
        {"channels", c->C, 1 << 16}, {"heads", c->H, 1 << 16}, {"key/value heads", c->KV, 1 << 16},
        {"head size", c->D, 1 << 12}, {"feed-forward", c->F, 1 << 16}};
    for (int i = 0; i < 8; i++)
        if (size[i].size < 1 || size[i].size > size[i].most)
            wrong_config(where, size[i].name, size[i].size, size[i].most);
    if (c->H % c->KV) wrong_config(where, "heads are no multiple of the key/value heads", c->H, c->KV);
    if (c->position == LLM_ROPE && c->D % 2) wrong_config(where, "rope wants an even head size", c->D, 2);
    if (c->H * c->D > 1 << 16) wrong_config(where, "heads times head size is too large", c->H, c->D);
    if (!(c->eps > 0) || (c->position == LLM_ROPE && !(c->rope_theta > 0)))
        llm_die("a positive number", "%s: norm epsilon and rope theta must be above 0", where);
    config_family(c, where);
    config_rope(c, where);
}

/* ---- config.json ----
   GPT-2 has keys of its own; all other families have Llama's, and some a few more (chapter 5's rows say which). What
   stands in the file is said once, for both ways: config_pass writes it, or reads it. */

typedef struct { llm_writer *w; const llm_json *from; } config_file;    /* one of the two; the other is NULL */

static void write_int(llm_writer *w, const char *key, int x) { llm_write_text(w, "  \"%s\": %d,\n", key, x); }
/* The shortest spelling that reads back as the same bits: 1e-05, not 1.0000000000000001e-05. And 10000.0: a float. */
static void write_number(llm_writer *w, const char *key, double x) {
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    llm_write_text(w, "  \"%s\": %s%s,\n", key, text, strpbrk(text, ".e") ? "" : ".0");
}
static void config_text(config_file f, const char *text) {
    if (f.w && text) llm_write_text(f.w, "%s", text);
}
/* What is missing or wrong becomes -1 or 0, and will not come out the same. Below 0: null. */
static void config_int(config_file f, const char *key, int *x) {
    if (!f.w) *x = whole_number(llm_json_get(f.from, key));
    else if (*x >= 0) write_int(f.w, key, *x);
    else llm_write_text(f.w, "  \"%s\": null,\n", key);
}
static void config_bool(config_file f, const char *key, bool *x) {
    if (!f.w) *x = llm_json_true(f.from, key, false);
    else llm_write_text(f.w, "  \"%s\": %s,\n", key, *x ? "true" : "false");
}
/* The sizes and numbers, as each family spells them. */
typedef struct { const char *key; size_t at; bool number; } config_row;
#define SIZE(key, member) {key, offsetof(llm_config, member), false}
#define NUMBER(key, member) {key, offsetof(llm_config, member), true}
enum { GPT2_ROWS = 7, LLAMA_ROWS = 10 };
static const config_row gpt2_row[GPT2_ROWS] = {         /* (llama.cpp's converter asks for n_ctx) */
    SIZE("vocab_size", V), SIZE("n_positions", T), SIZE("n_embd", C), SIZE("n_layer", L), SIZE("n_head", H),
    SIZE("n_ctx", T), NUMBER("layer_norm_epsilon", eps)};
static const config_row llama_row[LLAMA_ROWS] = {
    SIZE("vocab_size", V), SIZE("max_position_embeddings", T), SIZE("hidden_size", C), SIZE("num_hidden_layers", L),
    SIZE("num_attention_heads", H), SIZE("intermediate_size", F), SIZE("num_key_value_heads", KV), SIZE("head_dim", D),
    NUMBER("rms_norm_eps", eps), NUMBER("rope_theta", rope_theta)};
static const config_row rope_row[] = {
    NUMBER("factor", rope_factor), SIZE("original_max_position_embeddings", rope_original),
    NUMBER("low_freq_factor", rope_low), NUMBER("high_freq_factor", rope_high), NUMBER("beta_slow", rope_low),
    NUMBER("beta_fast", rope_high), NUMBER("attention_factor", rope_length)};
/* The ways to stretch rope, and which rows each has besides factor and original_max_position_embeddings. */
static const struct { const char *type; int first, count; } rope_kinds[] = {
    {"default", 0, 0}, {"llama3", 2, 2}, {"linear", 0, 0}, {"dynamic", 0, 0}, {"yarn", 4, 3}};
#undef SIZE
#undef NUMBER

static void config_rows(config_file f, llm_config *c, const config_row *row, int count) {
    for (int i = 0; i < count; i++) {
        void *at = (char *)c + row[i].at;
        if (!row[i].number) config_int(f, row[i].key, at);
        else if (f.w) write_number(f.w, row[i].key, *(double *)at);
        else *(double *)at = llm_json_number(f.from, row[i].key, 0);
    }
}
static void gpt2_pass(config_file f, llm_config *c) {
    int inner = c->F == 4.0 * c->C ? -1 : c->F;
    config_rows(f, c, gpt2_row, GPT2_ROWS);
    config_int(f, "n_inner", &inner);
    c->F = inner < 0 && c->C <= INT_MAX / 4 ? 4 * c->C : inner;
    c->KV = c->H;
    c->D = c->H > 0 && c->C % c->H == 0 ? c->C / c->H : 0;
    config_text(f, "  \"activation_function\": \"gelu_new\",\n  \"scale_attn_weights\": true,\n");
    config_text(f, "  \"resid_pdrop\": 0.0,\n  \"embd_pdrop\": 0.0,\n  \"attn_pdrop\": 0.0,\n"); /* no dropout */
}
static void rope_pass(config_file f, llm_config *c) {
    const config_file rope = {f.w, llm_json_get(f.from, "rope_scaling")};
    int kind = LLM_ROPE_YARN;
    while (!f.w && kind && strcmp(rope_kinds[kind].type, llm_json_text(rope.from, "rope_type", ""))) kind--;
    if (!f.w) c->rope_scaling = kind;
    kind = c->rope_scaling;
    config_text(f, kind ? "  \"rope_scaling\": {\n" : "  \"rope_scaling\": null,\n");
    if (!kind) return;
    config_rows(rope, c, rope_row, rope_kinds[kind].count ? 2 : 1);
    config_rows(rope, c, rope_row + rope_kinds[kind].first, rope_kinds[kind].count);
    if (kind == LLM_ROPE_YARN) config_bool(rope, "truncate", &c->rope_truncate);
    if (f.w) llm_write_text(f.w, "  \"rope_type\": \"%s\"\n  },\n", rope_kinds[kind].type);
}
static void llama_pass(config_file f, llm_config *c) {
    const family_row *family = &model_families[c->family];
    const int context = c->T;
    if (f.w && c->rope_scaling == LLM_ROPE_DYNAMIC) c->T = c->rope_original;
    config_rows(f, c, llama_row, LLAMA_ROWS);
    rope_pass(f, c);
    if (c->rope_scaling == LLM_ROPE_DYNAMIC) c->rope_original = c->T, c->T = f.w ? context : dynamic_context(c);
    config_text(f, "  \"hidden_act\": \"silu\",\n  \"attention_dropout\": 0.0,\n");
    if (family->attention_bias) config_bool(f, "attention_bias", &c->proj_bias), c->qkv_bias = c->proj_bias;
    if (family->mlp_bias) config_bool(f, "mlp_bias", &c->mlp_bias);
    if (c->family == LLM_SMOLLM3) {     /* beyond the last layer: all have rope */
        if (!c->no_rope_every) c->no_rope_every = c->L + 1;
        config_int(f, "no_rope_layer_interval", &c->no_rope_every);
        if (c->no_rope_every > c->L) c->no_rope_every = 0;
    }
    config_text(f, family->window);
}
static void config_pass(config_file f, llm_config *c, const char *dtype) {
    const bool gpt2 = gpt2_names(c);
    if (f.w) llm_write_text(f.w, "{\n  \"architectures\": [\"%s%s\"],\n  \"model_type\": \"%s\",\n",
                            model_families[c->family].classes, c->score ? "ForSequenceClassification" :
                            gpt2 ? "LMHeadModel" : "ForCausalLM", model_families[c->family].type);
    (gpt2 ? gpt2_pass : llama_pass)(f, c);
    config_bool(f, "tie_word_embeddings", &c->tied);
    config_int(f, "bos_token_id", &c->bos);
    config_int(f, "eos_token_id", &c->eos);
    if (!f.w) c->score = llm_json_get(f.from, "id2label") != NULL;
    if (c->score) config_text(f, "  \"id2label\": {\"0\": \"LABEL_0\"},\n  \"label2id\": {\"LABEL_0\": 0},\n");
    if (c->score && c->pad < 0) c->pad = c->eos;                /* the score is read before the pads */
    config_int(f, "pad_token_id", &c->pad);
    if (f.w) llm_write_text(f.w, "  \"initializer_range\": 0.02,\n  \"torch_dtype\": \"%s\",\n  \"use_cache\": true,\n"
                                 "  \"transformers_version\": \"4.46.0\"\n}\n", dtype);
}
static void config_write(llm_writer *w, const llm_config *c, const char *dtype) {
    llm_config said = *c;
    config_pass((config_file){w, NULL}, &said, dtype);
}
llm_config llm_config_load(const char *dir) {
    char *path = llm_format("%s/config.json", dir), *text;
    if (!llm_exists(path)) llm_die(foreign, "%s does not exist", path);
    llm_json *root = llm_json_file(path);
    llm_config c = config_parts(llm_json_text(root, "model_type", ""));
    config_pass((config_file){NULL, root}, &c, NULL);
    size_t size;
    llm_writer w = write_in_memory(&text, &size);
    bool wide = !strcmp(llm_json_text(root, "torch_dtype", ""), "float64");     /* a build in double wrote it */
    config_write(&w, &c, wide ? "float64" : "float32");
    check_written(&w, &text, &size, path);
    llm_config_check(&c, path);
    llm_json_free(root);
    llm_release(path);
    return c;
}
static void generation_save(const llm_config *c, const llm_tokenizer *t, const char *dir) {
    int stops = t && t->stops ? t->stops : c->eos >= 0;
    const int *stop = t && t->stops ? t->stop : &c->eos;
    llm_writer w = begin_in(dir, "generation_config.json");
    llm_write_text(&w, "{\n  \"_from_model_config\": true,\n");
    if (c->bos >= 0) write_int(&w, "bos_token_id", c->bos);
    for (int i = 0; i < stops; i++)
        llm_write_text(&w, "%s%d%s", i ? ", " : stops > 1 ? "  \"eos_token_id\": [" : "  \"eos_token_id\": ", stop[i],
                       i + 1 < stops ? "" : stops > 1 ? "],\n" : ",\n");
    if (c->pad >= 0) write_int(&w, "pad_token_id", c->pad);
    llm_write_text(&w, "  \"transformers_version\": \"4.46.0\"\n}\n");
    llm_write_done(&w);
}

/* ---- a model's folder ---- */

/* Rows as they lie on the disk: vectors have one dimension, GPT-2's "Conv1D" matrices are (inputs, outputs). */
static file_tensor *stored_rows(const llm_param *p, int params, const char *dtype) {
    file_tensor *t = llm_alloc(params, sizeof *t);
    for (int i = 0; i < params; i++, p++) {
        const size_t rows = full_rows(p), cols = full_cols(p);
        t[i] = (file_tensor){.name = p->name, .dtype = dtype, .dims = 2, .shape = {rows, cols}, .data = p};
        if (p->transposed) t[i].shape[0] = cols, t[i].shape[1] = rows;
        if (p->vector) t[i].dims = 1, t[i].shape[0] = rows * cols;
    }
    return t;
}
/* (rows, cols) -> (cols, rows), sixteen columns at a time, so that whole lines of the cache are read. */
static void transposed_copy(llm_real *out, const llm_real *inp, int height, int width) {
    size_t rows = height, cols = width;
    for (size_t block = 0; block < cols; block += 16)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = block; c < size_min(block + 16, cols); c++) out[c * rows + r] = inp[r * cols + c];
}
/* Straight to the device in rows of 8 MB; only what must be transposed is held as a whole, and twice. */
static void param_load(const llm_param *p, const char *path, size_t at, const char *dtype, const llm_ops *op) {
    const size_t rows = full_rows(p), cols = full_cols(p), size = rows * cols;
    const size_t piece = size_min(cols * (p->transposed ? rows : (1 << 21) / cols + 1), size);
    llm_real *host = llm_alloc(piece, sizeof *host), *turned = p->transposed ? llm_alloc(piece, sizeof *host) : host;
    for (size_t done = 0, n; done < size; done += n) {
        n = size_min(piece, size - done);
        numbers_read(path, at + done * (tensor_bits(dtype) / 8), dtype, n, host);
        if (p->transposed) transposed_copy(turned, host, cols, rows);
        param_write(op, p, done / cols, n / cols, turned);
    }
    if (turned != host) llm_release(turned);
    llm_release(host);
}
/* Read the rows of a table, which are all that the file holds. */
static void table_load(const llm_ops *op, const llm_param *param, int params, const char *path, const char *dtype,
                       const char *remedy) {
    file_tensor *t = stored_rows(param, params, dtype);
    size_t at = tensors_open(path, t, params, remedy);
    for (int i = 0; i < params; at += tensor_bytes(&t[i++])) param_load(t[i].data, path, at, t[i].dtype, op);
    llm_release(t);
}
/* The numbers of a row as the file holds them, in fresh memory. */
static void *stored_numbers(const llm_ops *op, const llm_param *p) {
    if (!p->data) {                     /* moments in bf16: there as here */
        uint16_t *raw = llm_alloc(full_size(p), sizeof *raw);
        param_download(op, p, raw, p->w.data, sizeof *raw);
        return raw;
    }
    llm_real *host = param_read(op, p);
    if (!p->transposed) return host;
    llm_real *turned = llm_alloc(full_size(p), sizeof *turned);
    transposed_copy(turned, host, full_rows(p), full_cols(p));
    llm_release(host);
    return turned;
}
static void table_save(const llm_ops *op, const llm_param *param, int params, const char *dir, const char *name,
                       const char *dtype) {
    file_tensor *t = stored_rows(param, params, dtype);
    llm_writer w = tensors_begin(dir, name, t, params);
    for (int i = 0; i < params; i++) {
        void *numbers = stored_numbers(op, t[i].data);
        llm_write_bytes(&w, numbers, tensor_bytes(&t[i]));
        llm_release(numbers);
    }
    llm_write_done(&w);
    llm_release(t);
}
void llm_model_load(llm_model *m, const char *dir, const llm_ops *op) { llm_model_load_as(m, dir, op, LLM_TYPE_REAL); }
void llm_model_load_as(llm_model *m, const char *dir, const llm_ops *ops, llm_type weights) {
    char *path = llm_format("%s/model.safetensors", dir);
    llm_config c = llm_config_load(dir);
    if (!llm_exists(path)) llm_die(foreign, "%s does not exist", path);
    /* Asked before memory is taken for the numbers: the sizes in config.json are somebody's claim. */
    llm_model promised = table_only(&c);
    file_tensor *t = stored_rows(promised.param, promised.params, real_dtype());
    tensors_open(path, t, promised.params, foreign);
    llm_release_all(t, promised.param, promised.layer);
    model_allocate(m, &c, ops, weights);
    table_load(ops, m->param, m->params, path, real_dtype(), foreign);
    llm_weights_changed(m);
    llm_release(path);
}

static void folder_save(const llm_model *m, const llm_tokenizer *t, const char *dir) {
    refuse_adapters(m, "a folder holds a whole model: cannot save");
    refuse_packed(m, "save");
    llm_make_dirs(dir);
    if (t) llm_tokenizer_save(t, dir);
    generation_save(&m->c, t, dir);
    table_save(m->ops, m->param, m->params, dir, "model.safetensors", real_dtype());
    llm_writer w = begin_in(dir, "config.json");        /* last: a folder with a config.json holds a whole model */
    const llm_config c = llm_config_whole(m);
    config_write(&w, &c, sizeof(llm_real) == 8 ? "float64" : "float32");
    llm_write_done(&w);
}
void llm_model_save(const llm_model *m, const char *dir) { folder_save(m, NULL, dir); }
bool llm_result_exists(const char *out) { return folder_holds(out, "config.json"); }

/* ================================================================================================================
   Unicode
   ================================================================================================================ */

/* Unicode 16: how many code points lie outside, inside, outside ... the class, from 0 on. Each number is in base 26,
   its last digit a small letter, the others capitals: "CnBag" is 65, 26, 6 (test/gen/unicode_tables.py --text). */
static const char *unicode_letter =
    "CnBagBaBvbkbebfxbBfbRqemofhbbbEzfbccebbgbbdbbbubDfbFjiGkbBmcbgBpCtBbeeBtBrBjcbDvbbpchckdcbqbbBeBdDllbyBhjcebfweb"
    "jbdbxzhlfybgrBqCgCcdbsbhkpqeicccwbhbbdedbqbncbdockbigeccwbhbcbcbcBfebbtdqjbdbwbhbcbfdbsbpcxblicccwbhbcbfdbBecbdp"
    "brbbgddbedcbbbcdcdddmwbCaibdbxbqdbBadcbccBebeibdbxbkbfdbBfcbcpcrjbdbBpcbqbfdidygfsdybjbbchCgBwbcmhCgcbbbfbybbbkb"
    "cjbcfbbveBgbClibBkBbfElBrubqgeedbdchdenmbrBmbbfbcBrbMvbechbbbecBpbecBhbechbbbecpbCfbecCpBlqqDicgdXwcrbBafCxgihsn"
    "tosonbdpCaBjbebCpDlhfcBibbfCskBfBxBecflBseBaCcxjCbDebDpBvriCcBenckBsBaBkBpdkBkclfBrcdBpebgbcdbfHkCmKscgcBmcgcibb"
    "bbbbbBfcCbbhbbddbhdecgenfdbhEmbnbqnDxbebckbbdfgbbbbbbeblceffebCacDZfIvgedcmBmbbfbcCehbqxjhbhbhbhbhbhbhbhDcbSbcBq"
    "ffceDigdbDmbefBrbDqrBgBwqTsJToCmBGUfCpBucKjdqkcuBvqBfcCsBxjcDzcCpccbbbivqbdbebxBdCaoByCkgdbbclBckxzBdhBvBcbqfbkk"
    "fbBpxdbiuxdbdBybbdccfcbbbydclhdmgcgcgjhbhbBrbogElBdQNsmxeBxMNcOccEcBmhmffbbkbnbfbbbcbcbEeBhNzsCmcCcBomEmfbFfBkBa"
    "gBalDldgcgcgcdBjmbBabtbcbpcoBiEtOzBddBxBvBgnubigBmkBecBkeiBwGcsBkeBkeBoiCamlbpbhbcblbpbhbcdCamLzjwkiygbBqbjCrgcb"
    "bBsbcdbcxkxjBfCntbckwkBaCsCegcCmbpebdbBdBqBddBdBjibBcBbCckwktnsEgCvCdBznBznBkBmBcjxJqBqgcqdChBdkbiwBqsBuvBbxmCbC"
    "fccbnBtBgzBaBkBdbcbiBjdbmBwoevbbbBjsbztcClhbbbebpbkhBvBmicccwbhbcbfdbsbmfBekbbcbbBmbbzbbbBsCbseudBeBwucbbHcBvBpe"
    "BkBwubChBrnbCtBbBlhHdBsEmCmBficbcibcbypbbbDqicBnqbbbBcbkBohbvblButbsCvHrBhBfjbBlrbBxBeEihbcbBmvbzgbcbBgobMptpbbn"
    "bBiEubDbBJmIwHoDXkDtpBPgrgzFXrfWlKDdBeCPuVxhBfrDbrBesBwqeBfvftQqBtIdCmEyCxfbConCmcbbBcJCaiBVqBpkNFrebhbcbLfpbBdd"
    "cboeiPgDKuEdfndjhkIWkDhbCtbccbcccebmbbbhbCnbecibhbBcbebfbbdhbNcczbzbBfbzbBfbzbBfbzbBfbzbiCSyBfggKbCkFqBtkhqbMjBe"
    "sBsSqBcIuBecbTbhbebcbpbHpChCqhbBUiebBbbcbbcbbkbebbbbgbebbbbbbdbcbbcbbbbbbbbbbcbbcebhbebebbbkbrfdbfbrGOaCLFcBgGDu"
    "gIocINqoLBlpXyDQwUwCFyHHzfGFg";
static const char *unicode_number =
    "BwkEqcfbcdCDlkFekHqkPwkEokegEekEokEokcgEgnElkihDzkEahhtEfkDskEokCsuKikCskBBruBHxdJfkgkwkLokEylGjkgkHakDikFekgkBO"
    "gbdggkHqBzcfBByCiDawYgBeCBhbBDxbzjodNfeFikBeibpBgkBnpBRSakHgkMigFykBmkHqkwkDikPqkBFMckSzBtmCfrcNdBbBkeBdbibFefHu"
    "kBKgizhBnjCxfwgGeccqcBuCmjCacBedCxfEaiyiBphMsgBwkgkKsBfGckBqeEihFeBeEykCikFokhuJrkNekEokOkkDykguCymQetDpkZmkDiBd"
    "ItkCskQgkDyvBPbEhXAfkDMckDikFekbhUgkKcxBJSzkCEwumuEezBQrByDNckQgkTikJnkBBojEykBElChbdbeCyBtbpBLanEDfk";
static const char *unicode_space =
    "jfsbDwbBabIHjbDPnlBdcfbBvbFXwb";

/* ---- a faster table, where there is one ---- */

#if defined(__has_include) && defined(__GNUC__) && !defined(LLM_PLAIN)
#if __has_include("llm_simd.h")
#include "llm_simd.h"
#endif
#endif
#ifndef LLM_SIMD_H
const llm_ops *llm_cpu(llm_precision p) {
    if (p != LLM_FP32)
        llm_die("--precision fp32, or llm_simd.h beside llm.h", "the plain loops compute in %s alone",
                sizeof(llm_real) == sizeof(double) ? "double" : "fp32");
    return &llm_plain;
}
llm_precision llm_precision_best(void) { return LLM_FP32; }
#endif
const char *llm_product_name(const llm_ops *ops) {
#ifdef LLM_SIMD_H
    if (strcmp(ops->name, "plain")) return simd_product_name(ops->precision);
#endif
    (void)ops;
    return "plain loops: 4 to 8 times slower than with llm_simd.h";
}
#endif /* LLM_IMPLEMENTATION */
