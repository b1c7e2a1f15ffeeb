/* test_files.c: chapter 6. What is read is checked (every kind of damage is refused, with the right words), what is
   written reads back to the same bits, what is killed in the middle leaves nothing half-done, and AdamW's step is the
   formula's. Run from the repository's root. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/hf.h"
#include "../tools/checkpoint.h"
#include "check.h"
#include "fake_device.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char scratch[256];               /* a fresh folder, removed at the end */
static char path_buffer[128][512];        /* good for the next 127 calls */
static int path_next;
static const char *in_scratch(const char *format, ...) LLM_PRINTF(1, 2);
static const char *in_scratch(const char *format, ...) {
    char *p = path_buffer[path_next++ % 128];
    int n = snprintf(p, sizeof path_buffer[0], "%s/", scratch);
    va_list a;
    va_start(a, format);
    vsnprintf(p + n, sizeof path_buffer[0] - (size_t)n, format, a);
    va_end(a);
    return p;
}
static void write_file(const char *path, const void *data, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f)) { printf("cannot write %s\n", path); exit(1); }
}
/* JSON is full of quotes: these tests write ' for them. Good for the next 127 calls. */
static const char *quoted(const char *text) {
    static char buffer[128][1024];
    static int next;
    char *p = buffer[next++ % 128];
    snprintf(p, sizeof buffer[0], "%s", text);
    for (char *c = p; *c; c++)
        if (*c == '\'') *c = '"';
    return p;
}
static void write_text(const char *path, const char *text) { write_file(path, quoted(text), strlen(text)); }
static bool same_file(const char *a, const char *b) {
    size_t n, k;
    char *x = llm_read_file(a, &n), *y = llm_read_file(b, &k);
    bool same = n == k && !memcmp(x, y, n);
    llm_release(x);
    llm_release(y);
    return same;
}
static void make_dir(const char *path) { llm_make_dirs(path); }

/* ---- safetensors: what is refused ---- */

/* A file of a header and `data` bytes of numbers. */
static const char *tensor_file(const char *header, size_t length, size_t data) {
    const char *path = in_scratch("t.safetensors");
    char *all = llm_alloc(8 + length + data, 1);
    for (int i = 0; i < 8; i++) all[i] = (char)(length >> 8 * i);
    memcpy(all + 8, header, length);
    write_file(path, all, 8 + length + data);
    llm_release(all);
    return path;
}
static void open_and_close(const char *path) {
    hf_safetensors s;
    hf_safetensors_open(&s, path);
    hf_safetensors_close(&s);
}
static void test_malformed(void) {
#define ONE "'dtype':'F32','shape':[2],'data_offsets':[0,8]"
    static const struct { const char *header; size_t data; const char *says; } bad[] = {
        {" {'a':{" ONE "}}", 8, "header does not begin"},
        {"{'a':{" ONE "}", 8, "JSON"},
        {"{'a':{" ONE "}} x", 8, "JSON"},
        {"{'a':{" ONE "},}", 8, "JSON"},
        {"{'\xff':{" ONE "}}", 8, "UTF-8"},
        {"{'\xc0\xaf':{" ONE "}}", 8, "UTF-8"},
        {"{'a':{" ONE "},'a':{'dtype':'F32','shape':[2],'data_offsets':[8,16]}}", 16, "'a' appears twice"},
        {"{'a':{" ONE ",'dtype':'F32'}}", 8, "says 'dtype' twice"},
        {"{'a':{" ONE ",'shape':[2]}}", 8, "says 'shape' twice"},
        {"{'a':{" ONE ",'data_offsets':[0,8]}}", 8, "says 'data_offsets' twice"},
        {"{'a':{'dtype':'F32','shape':[9223372036854775807,4],'data_offsets':[0,8]}}", 8, "overflows"},
        {"{'a':{'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,0]}}", 0, "overflows"},
        {"{'a':{'dtype':'F32','shape':[18446744073709551616],'data_offsets':[0,8]}}", 8, "is no size"},
        {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,18446744073709551624]}}", 8, "is no size"},
        {"{'a':{'dtype':'F32','shape':[-2],'data_offsets':[0,8]}}", 8, "is no size"},
        {"{'a':{'dtype':'F32','shape':[2.0],'data_offsets':[0,8]}}", 8, "is no size"},
        {"{'a':{'dtype':'F32','shape':[2e0],'data_offsets':[0,8]}}", 8, "is no size"},
        {"{'a':{'dtype':'F32','shape':['2'],'data_offsets':[0,8]}}", 8, "is no size"},
        {"{'a':{'dtype':'F32','shape':[3],'data_offsets':[0,8]}}", 8, "make 12"},
        {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,8]}}", 8, "make 4"},
        {"{'a':{'dtype':'F4','shape':[3],'data_offsets':[0,1]}}", 1, "make 1"},
        {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[8,0]}}", 8, "lies at 8 .. 0"},
        {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[8,16]}}", 8, "lies at 8 .. 16 of 8"},
        {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[8,16]}}", 16, "begins at byte 8"},     /* hole in front */
        {"{'a':{" ONE "},'b':{'dtype':'F32','shape':[2],'data_offsets':[12,20]}}", 20, "begins at byte 12"},
        /* overlap */
        {"{'a':{" ONE "},'b':{'dtype':'F32','shape':[2],'data_offsets':[4,12]}}", 12, "begins at byte 4"},
        {"{'a':{" ONE "},'b':{" ONE "}}", 8, "begins at byte 0"},     /* alias */
        {"{'a':{" ONE "}}", 9, "the file holds 9"},     /* trailing byte */
        {"{}", 1, "the file holds 1"},
        {"{'a':{" ONE "}}", 7, "of 7 bytes"},
        {"{'a':{'dtype':'F33','shape':[2],'data_offsets':[0,8]}}", 8, "unknown dtype 'F33'"},
        {"{'a':{'dtype':'f32','shape':[2],'data_offsets':[0,8]}}", 8, "unknown dtype 'f32'"},
        {"{'a':{'dtype':32,'shape':[2],'data_offsets':[0,8]}}", 8, "lacks a dtype"},
        {"{'a':{'shape':[2],'data_offsets':[0,8]}}", 8, "lacks a dtype"},
        {"{'a':{'dtype':'F32','data_offsets':[0,8]}}", 8, "lacks a dtype"},
        {"{'a':{'dtype':'F32','shape':[2]}}", 8, "lacks a dtype"},
        {"{'a':{'dtype':'F32','shape':2,'data_offsets':[0,8]}}", 8, "lacks a dtype"},
        {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8,8]}}", 8, "two data_offsets"},
        {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[8]}}", 8, "two data_offsets"},
        {"{'a':[0,8]}", 8, "lacks a dtype"},
        {"{'a':null}", 0, "lacks a dtype"},
        {"{'a':{'dtype':'F32','shape':[1,1,1,1,2],'data_offsets':[0,8]}}", 8, "5 dimensions"},
        {"{'__metadata__':{'format':1},'a':{" ONE "}}", 8, "__metadata__"},
        {"{'__metadata__':[],'a':{" ONE "}}", 8, "__metadata__"},
        {"{'__metadata__':{},'__metadata__':{},'a':{" ONE "}}", 8, "__metadata__"},
    };
    for (volatile size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_DIES(open_and_close(tensor_file(quoted(bad[i].header), strlen(bad[i].header), bad[i].data)),
                   quoted(bad[i].says));
    static const char *const good[] = {
        "{'a':{" ONE "}}", "{'a':{" ONE "}}   ", "{'a':{" ONE ",'more':[{}]}}",
        "{'__metadata__':{'x':'y'},'a':{" ONE "}}",
        "{'a':{'data_offsets':[0,8],'shape':[2],'dtype':'F32'}}",
        "{'b':{'dtype':'I32','shape':[],'data_offsets':[4,8]},'a':{'dtype':'F32','shape':[],'data_offsets':[0,4]}}",
        ("{'a':{" ONE "},'n':{'dtype':'F16','shape':[3,0,9],'data_offsets':[8,8]},"
         "'m':{'dtype':'F16','shape':[0],'data_offsets':[0,0]}}"),
        ("{'f':{'dtype':'F8_E4M3','shape':[4],'data_offsets':[0,4]},'g':{'dtype':'F6_E2M3','shape':[4],"
         "'data_offsets':[4,7]},'h':{'dtype':'F4','shape':[2],'data_offsets':[7,8]}}")};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        open_and_close(tensor_file(quoted(good[i]), strlen(good[i]), 8));
        CHECK(true, "opens");
    }
    open_and_close(tensor_file("{}", 2, 0));
    CHECK_DIES(open_and_close(in_scratch("none.safetensors")), "cannot open");
    CHECK_DIES(open_and_close(scratch), "neither model.safetensors nor");
#undef ONE
}
static void test_header_length(void) {
    const char *path = in_scratch("n.safetensors");
    static const uint64_t length[] = {0, 1, 3, 4, 1000, 100000001, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63};
    for (volatile size_t i = 0; i < sizeof length / sizeof *length; i++) {
        char all[16] = "12345678{}";
        memcpy(all, &length[i], 8);
        write_file(path, all, 10);      /* the only right length is 2 */
        CHECK_DIES(open_and_close(path), "wants a header of");
    }
    for (volatile size_t n = 0; n < 8; n++) {
        write_file(path, "\2\0\0\0\0\0\0\0", n);
        CHECK_DIES(open_and_close(path), "wants a header of");
    }
    FILE *f = fopen(path, "wb");        /* a header longer than 100 MB, and a file that has the room (a hole on disk) */
    fwrite("\1\xe1\xf5\5\0\0\0\0{}", 1, 10, f);
    fclose(f);
    CHECK(!truncate(path, 100000100), "truncate");
    CHECK_DIES(open_and_close(path), "wants a header of 100000001 bytes");
    unlink(path);
    char *deep = llm_alloc(100001, 1);  /* a hundred thousand opening brackets must not eat the stack */
    memset(deep, '[', 100000);
    memcpy(deep, "{\"a\":", 5);
    CHECK_DIES(open_and_close(tensor_file(deep, 100000, 0)), "nested");
    llm_release(deep);
}
/* A good file cut after every byte is refused; one with any bit of its header flipped is refused or read, but
   never crashes. */
static void read_everything(const char *path) {
    hf_safetensors s;
    hf_safetensors_open(&s, path);
    for (int i = 0; i < s.count; i++) {
        size_t n = 1;
        for (int d = 0; d < s.tensor[i].dims; d++) n *= s.tensor[i].shape[d];
        double *x = llm_alloc(n, sizeof *x);
        hf_safetensors_read(&s, &s.tensor[i], x);
        llm_release(x);
    }
    hf_safetensors_close(&s);
}
/* A file of these tensors, whose numbers lie at `data`. */
static void write_tensors(const char *path, const file_tensor *tensor, int count) {
    file_tensor *t = llm_alloc((size_t)count, sizeof *t);
    if (count) memcpy(t, tensor, (size_t)count * sizeof *t);
    llm_writer w = tensors_begin(scratch, path + strlen(scratch) + 1, t, count);
    for (int i = 0; i < count; i++) llm_write_bytes(&w, t[i].data, tensor_bytes(&t[i]));
    llm_write_done(&w);
    llm_release(t);
}
static void test_damage(void) {
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    static const uint16_t y[3] = {0x3F80, 0xC000, 0x7F80};
    const char *good = in_scratch("good.safetensors"), *bad = in_scratch("bad.safetensors");
    file_tensor t[2] = {{.name = "x", .dtype = "F32", .dims = 2, .shape = {2, 3}, .data = x},
                           {.name = "y", .dtype = "BF16", .dims = 1, .shape = {3}, .data = y}};
    write_tensors(good, t, 2);
    size_t n;
    char *bytes = llm_read_file(good, &n);
    int refused = 0, read = 0;
    llm_on_death = check_on_death;
    for (volatile size_t i = 0; i < n; i++) {
        write_file(bad, bytes, i);
        if (!setjmp(check_jump)) { read_everything(bad); read++; } else refused++;
    }
    CHECK(read == 0 && refused == (int)n, "a file cut short was read %d times of %zu", read, n);
    read = refused = 0;
    for (volatile size_t i = 0; i < 8 * (n - 30); i++) {
        bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
        write_file(bad, bytes, n);
        if (!setjmp(check_jump)) { read_everything(bad); read++; } else refused++;
        bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
    }
    llm_on_death = NULL;
    CHECK(refused > read, "flipped bits of the header: %d refused, %d read", refused, read);
    llm_release(bytes);
}

/* ---- safetensors: every type, exact bytes, shards ---- */

static void test_types(void) {
    static const float f32[4] = {1.5f, -0.0f, 1e-45f, INFINITY};
    static const double f64[2] = {0.1, -1e300};
    static const uint16_t f16[9] = {0x3C00, 0x8000, 0x7BFF, 0x0001, 0x83FF, 0x7C00, 0xFC00, 0x7E00, 0x0400};
    static const uint16_t bf16[4] = {0x3F80, 0xC049, 0x0001, 0x7F80};
    static const int64_t i64[3] = {-5, (int64_t)1 << 53, 50256};
    static const int32_t i32[2] = {INT32_MIN, 7};
    static const int16_t i16[2] = {-300, 300};
    static const int8_t i8[2] = {-128, 127};
    static const uint64_t u64[1] = {(uint64_t)1 << 63};
    static const uint32_t u32[1] = {4294967295u};
    static const uint16_t u16[1] = {65535};
    static const uint8_t u8[1] = {255}, boolean[2] = {0, 1};
    const struct { const char *dtype; const void *data; size_t n; double want[9]; } all[] = {
        {"F32", f32, 4, {1.5, -0.0, 0x1p-149, INFINITY}}, {"F64", f64, 2, {0.1, -1e300}},
        {"F16", f16, 9, {1, -0.0, 65504, 0x1p-24, -1023 * 0x1p-24, INFINITY, -INFINITY, NAN, 0x1p-14}},
        {"BF16", bf16, 4, {1, -3.140625, 0x1p-133, INFINITY}}, {"I64", i64, 3, {-5, 0x1p53, 50256}},
        {"I32", i32, 2, {-0x1p31, 7}},
        {"I16", i16, 2, {-300, 300}}, {"I8", i8, 2, {-128, 127}}, {"U64", u64, 1, {0x1p63}},
        {"U32", u32, 1, {4294967295.0}},
        {"U16", u16, 1, {65535}}, {"U8", u8, 1, {255}}, {"BOOL", boolean, 2, {0, 1}}};
    enum { TYPES = sizeof all / sizeof *all };
    file_tensor t[TYPES];
    for (int i = 0; i < TYPES; i++)
        t[i] = (file_tensor){.name = all[i].dtype, .dtype = all[i].dtype, .dims = 1, .shape = {all[i].n},
                                .data = all[i].data};
    const char *path = in_scratch("types.safetensors");
    write_tensors(path, t, TYPES);
    hf_safetensors s;
    hf_safetensors_open(&s, path);
    CHECK(s.count == TYPES, "%d tensors", s.count);
    for (int i = 0; i < TYPES; i++) {
        double x[9];
        llm_real y[9];
        const hf_tensor_info *info = hf_safetensors_find(&s, all[i].dtype);
        hf_safetensors_read(&s, info, x);
        hf_safetensors_read_real(&s, info, y);
        for (size_t k = 0; k < all[i].n; k++) {
            double want = all[i].want[k];
            bool same = isnan(want) ? isnan(x[k]) && isnan(y[k]) : x[k] == want && y[k] == (llm_real)want &&
                !signbit(x[k]) == !signbit(want);
            CHECK(same, "%s [%zu]: %g, not %g", all[i].dtype, k, x[k], want);
        }
        CHECK((s.data_start[0] + info->begin) % (size_t)(tensor_bits(info->dtype) / 8) == 0, "%s is not aligned",
              info->dtype);
    }
    CHECK(!hf_safetensors_find(&s, "F33") && !hf_safetensors_find(&s, ""), "found what is not there");
    hf_safetensors_close(&s);
    static const char f8[] = "{\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    CHECK_DIES(read_everything(tensor_file(f8, strlen(f8), 4)), "stored as F8_E4M3, which is not read");
}
static void test_written_bytes(void) {
    static const float one = 1;
    static const double two = 2;
    static const int32_t three = 3;
    const char *path = in_scratch("bytes.safetensors");
    file_tensor t[3] = {{.name = "z", .dtype = "F32", .dims = 2, .shape = {1, 1}, .data = &one},
                           {.name = "q\"\n", .dtype = "F64", .data = &two},
                           {.name = "b", .dtype = "I32", .dims = 1, .shape = {1}, .data = &three}};
    write_tensors(path, t, 3);
    const char *want = quoted("{'__metadata__':{'format':'pt'},"
                              "'q\\'\\n':{'dtype':'F64','shape':[],'data_offsets':[0,8]},"
                              "'b':{'dtype':'I32','shape':[1],'data_offsets':[8,12]},"
                              "'z':{'dtype':'F32','shape':[1,1],'data_offsets':[12,16]}}");
    size_t n, length = (strlen(want) + 7) / 8 * 8;
    char *bytes = llm_read_file(path, &n);
    CHECK(n == 8 + length + 16 && (unsigned char)bytes[0] + 256u * (unsigned char)bytes[1] == length, "%zu bytes", n);
    CHECK(!memcmp(bytes + 8, want, strlen(want)), "header %.*s", (int)length, bytes + 8);
    for (size_t i = strlen(want); i < length; i++) CHECK(bytes[8 + i] == ' ', "padding is not a space");
    CHECK(!memcmp(bytes + 8 + length, &two, 8) && !memcmp(bytes + 16 + length, "\3\0\0\0", 4) &&
          !memcmp(bytes + 20 + length, &one, 4),
          "the numbers are not in the order of the header");
    llm_release(bytes);
    hf_safetensors s;
    hf_safetensors_open(&s, path);
    CHECK(hf_safetensors_find(&s, "q\"\n") != NULL, "escaped name");
    hf_safetensors_close(&s);
    write_tensors(path, NULL, 0);
    open_and_close(path);
}
static void test_shards(void) {
    static const float x[2] = {1, 2}, y[2] = {3, 4};
    const char *dir = in_scratch("shards"), *index = in_scratch("shards/model.safetensors.index.json");
    make_dir(dir);
    file_tensor a = {.name = "a", .dtype = "F32", .dims = 1, .shape = {2}, .data = x}, b = a;
    b.name = "b";
    b.data = y;
    write_tensors(in_scratch("shards/one.safetensors"), &b, 1);
    write_tensors(in_scratch("shards/two.safetensors"), &a, 1);
    write_text(index, "{'metadata':{'total_size':16},'weight_map':{'b':'one.safetensors','a':'two.safetensors'}}");
    for (int i = 0; i < 2; i++) {       /* by folder, and by the index itself */
        hf_safetensors s;
        hf_safetensors_open(&s, i ? index : dir);
        double v[2], w[2];
        hf_safetensors_read(&s, hf_safetensors_find(&s, "a"), v);
        hf_safetensors_read(&s, hf_safetensors_find(&s, "b"), w);
        CHECK(s.count == 2 && s.paths == 2 && v[0] == 1 && v[1] == 2 && w[0] == 3 && w[1] == 4, "shards");
        hf_safetensors_close(&s);
    }
    write_text(index, "{'weight_map':{'b':'one.safetensors','a':'three.safetensors'}}");
    CHECK_DIES(open_and_close(dir), "cannot open");
    write_text(index, "{'weight_map':{'b':'one.safetensors','c':'two.safetensors'}}");
    CHECK_DIES(open_and_close(dir), "\"c\" is not in two.safetensors");
    write_text(index, "{'weight_map':{'a':'one.safetensors','b':'two.safetensors'}}");
    CHECK_DIES(open_and_close(dir), "\"a\" is not in one.safetensors");
    write_text(index, "{'weight_map':{'b':'../shards/one.safetensors'}}");
    CHECK_DIES(open_and_close(dir), "in the same folder");
    write_text(index, "{'weight_map':{'b':7}}");
    CHECK_DIES(open_and_close(dir), "in the same folder");
    write_text(index, "{'weight_map':{}}");
    CHECK_DIES(open_and_close(dir), "no \"weight_map\"");
    write_tensors(in_scratch("shards/two.safetensors"), &b, 1);
    write_text(index, "{'weight_map':{'b':'one.safetensors','a':'two.safetensors'}}");
    CHECK_DIES(open_and_close(dir), "\"b\" appears twice");
}

/* ---- config.json ---- */

#define GPT2_JSON "'model_type':'gpt2','architectures':['GPT2LMHeadModel'],'vocab_size':320,'n_positions':32," \
                  "'n_embd':32,'n_layer':2,'n_head':4"
#define LLAMA_SIZES "'vocab_size':320,'max_position_embeddings':32,'hidden_size':32,'intermediate_size':88," \
                    "'num_hidden_layers':2,'num_attention_heads':4"
#define LIKE(type) "'model_type':'" type "'," LLAMA_SIZES
#define LLAMA_JSON "'model_type':'llama','architectures':['LlamaForCausalLM']," LLAMA_SIZES

static llm_config config_of(const char *members) {
    char *text = llm_format("{%s}", members);
    write_text(in_scratch("config.json"), text);
    llm_release(text);
    return hf_config_load(scratch);
}
static void test_config_defaults(void) {
    llm_config c = config_of(GPT2_JSON);
    CHECK(c.V == 320 && c.T == 32 && c.C == 32 && c.L == 2 && c.H == 4 && c.KV == 4 && c.D == 8 && c.F == 128,
          "GPT-2 sizes");
    CHECK(c.norm == LLM_LAYERNORM && c.position == LLM_LEARNED && c.activation == LLM_GELU && c.bias && !c.qkv_bias,
          "GPT-2 parts");
    CHECK(c.tied && !c.score && c.eps == 1e-5 && c.bos == -1 && c.eos == -1 && c.pad == -1, "GPT-2 defaults");
    c = config_of(GPT2_JSON ",'n_inner':100,'tie_word_embeddings':false,'layer_norm_epsilon':1e-6,'bos_token_id':3,"
                  "'pad_token_id':null");
    CHECK(c.F == 100 && !c.tied && c.eps == 1e-6 && c.bos == 3 && c.pad == -1, "GPT-2 given");
    c = config_of(GPT2_JSON ",'n_inner':null,'activation_function':'gelu_pytorch_tanh','reorder_and_upcast_attn':true");
    CHECK(c.F == 128, "n_inner null");
    c = config_of(LLAMA_JSON);
    CHECK(c.V == 320 && c.T == 32 && c.C == 32 && c.F == 88 && c.L == 2 && c.H == 4 && c.KV == 4 && c.D == 8,
          "Llama sizes");
    CHECK(c.norm == LLM_RMSNORM && c.position == LLM_ROPE && c.activation == LLM_SWIGLU && !c.bias && !c.qkv_bias,
          "Llama parts");
    CHECK(!c.tied && c.eps == 1e-6 && c.rope_theta == 10000 && c.rope_scaling == LLM_ROPE_PLAIN, "Llama defaults");
    c = config_of(LLAMA_JSON ",'num_key_value_heads':2,'head_dim':16,'rope_theta':500000.0,'eos_token_id':[7,8,9],"
                  "'bos_token_id':[],'tie_word_embeddings':true,'rope_scaling':null,'hidden_act':'silu'");
    CHECK(c.KV == 2 && c.D == 16 && c.rope_theta == 500000 && c.eos == 7 && c.bos == -1 && c.tied, "Llama given");
    c = config_of("'model_type':'qwen2','num_key_value_heads':2,'use_sliding_window':false,'sliding_window':131072,"
                  "'attention_bias':true," LLAMA_SIZES);
    CHECK(c.qkv_bias && !c.bias && c.position == LLM_ROPE && c.KV == 2, "Qwen2");
    c = config_of(LIKE("llama") ",'attention_bias':true,'mlp_bias':true");
    CHECK(c.qkv_bias && c.proj_bias && c.mlp_bias && !c.bias, "Llama with biases");
}
/* What a file leaves unsaid, each family means in its own way; so transformers' config classes say. */
static void test_config_families(void) {
    llm_config c = config_of(LIKE("mistral") ",'num_key_value_heads':2");
    CHECK(c.family == LLM_MISTRAL && c.KV == 2 && c.D == 8 && c.T == 32 && !c.tied && c.eps == 1e-6, "Mistral");
    CHECK(config_of(LIKE("mistral") ",'num_key_value_heads':null,'head_dim':null").KV == 4, "null: as many as heads");
    CHECK(config_of(LIKE("mistral") ",'num_key_value_heads':2,'sliding_window':31").T == 31, "a window cuts");
    CHECK(config_of(LIKE("mistral") ",'num_key_value_heads':2,'sliding_window':null").T == 32, "no window");
    c = config_of("'model_type':'mistral','vocab_size':320,'max_position_embeddings':9999,'hidden_size':32,"
                  "'intermediate_size':88,'num_hidden_layers':2,'num_attention_heads':8");
    CHECK(c.T == 4096 && c.KV == 8, "Mistral's window and key/value heads, unsaid");
    CHECK(config_of(LIKE("phi3") ",'sliding_window':15").T == 15, "Phi-3's window");
    c = config_of(LIKE("qwen3") ",'num_key_value_heads':2");
    CHECK(c.family == LLM_QWEN3 && c.D == 128 && c.qk_norm == LLM_QK_HEADS && !c.post_norm && !c.tied, "Qwen3");
    c = config_of(LIKE("qwen3") ",'num_key_value_heads':2,'head_dim':6,'attention_bias':true,'use_sliding_window':true,"
                  "'sliding_window':9,'max_window_layers':1");
    CHECK(c.D == 6 && c.qkv_bias && c.proj_bias && c.T == 9, "Qwen3 with biases and a window in its last layer");
    CHECK(config_of(LIKE("qwen3") ",'num_key_value_heads':2,'use_sliding_window':true,'sliding_window':9").T == 32,
          "no layer as far up as Qwen3's window");
    CHECK(config_of(LIKE("qwen3") ",'num_key_value_heads':2,'use_sliding_window':true,'sliding_window':9,"
                    "'layer_types':['full_attention','sliding_attention']").T == 9, "a layer that slides");
    c = config_of(LIKE("smollm3"));
    CHECK(c.family == LLM_SMOLLM3 && c.KV == 4 && c.rope_theta == 2e6 && c.tied && !c.no_rope_every,
          "SmolLM3: the fourth layer of two");
    CHECK(config_of(LIKE("smollm3") ",'no_rope_layer_interval':2").no_rope_every == 2, "every second");
    CHECK(config_of(LIKE("smollm3") ",'no_rope_layers':[1,0,1]").no_rope_every == 2, "every second, as a list");
    CHECK(config_of(LIKE("smollm3") ",'no_rope_layers':[0,0]").no_rope_every == 1, "every layer");
    CHECK(config_of(LIKE("smollm3") ",'no_rope_layers':[1,1],'no_rope_layer_interval':1").no_rope_every == 0, "none");
    c = config_of(LIKE("olmo2"));
    CHECK(c.family == LLM_OLMO2 && c.KV == 4 && c.eps == 1e-5 && c.qk_norm == LLM_QK_ALL && c.post_norm, "OLMo-2");
    c = config_of(LIKE("phi3") ",'rope_scaling':null,'original_max_position_embeddings':4096");
    CHECK(c.family == LLM_PHI3 && c.eps == 1e-5 && !c.qk_norm && c.rope_scaling == LLM_ROPE_PLAIN, "Phi-3");
}
/* Linear, dynamic, yarn, in both spellings, and what yarn leaves unsaid. */
static void test_config_stretched(void) {
    llm_config c = config_of(LLAMA_JSON ",'rope_scaling':{'type':'linear','factor':4}");
    CHECK(c.rope_scaling == LLM_ROPE_LINEAR && c.rope_factor == 4 && c.T == 32, "linear");
    c = config_of(LLAMA_JSON ",'rope_parameters':{'rope_type':'dynamic','factor':2.5,'rope_theta':9.0}");
    CHECK(c.rope_scaling == LLM_ROPE_DYNAMIC && c.rope_original == 32 && c.T == 80 && c.rope_theta == 9, "dynamic");
    c = config_of(LLAMA_JSON ",'rope_scaling':{'rope_type':'yarn','factor':4,'original_max_position_embeddings':8}");
    CHECK(c.rope_scaling == LLM_ROPE_YARN && c.rope_low == 1 && c.rope_high == 32 && c.rope_original == 8 &&
          c.rope_truncate && fabs(c.rope_length - (0.1 * log(4) + 1)) < 1e-15, "yarn");
    c = config_of(LLAMA_JSON ",'rope_parameters':{'type':'yarn','beta_fast':20,'beta_slow':2,'truncate':false,"
                  "'mscale':2,'mscale_all_dim':1,'original_max_position_embeddings':8,'rope_theta':9,'factor':null}");
    CHECK(c.rope_low == 2 && c.rope_high == 20 && !c.rope_truncate && c.rope_factor == 4 &&
          fabs(c.rope_length - (0.2 * log(4) + 1) / (0.1 * log(4) + 1)) < 1e-15, "yarn, all said");
    c = config_of(LLAMA_JSON ",'original_max_position_embeddings':16,'rope_scaling':{'type':'yarn','factor':2,"
                  "'attention_factor':1.25,'original_max_position_embeddings':8}");
    CHECK(c.rope_length == 1.25 && c.rope_original == 16, "the file's own original length counts");
}
static void test_config_rope(void) {
    static const char *const spelled[] = {
        LLAMA_JSON ",'rope_theta':20.0,'rope_scaling':{'rope_type':'llama3','factor':4.0,'low_freq_factor':1.0,"
        "'high_freq_factor':2.0,'original_max_position_embeddings':16}",
        LLAMA_JSON ",'rope_theta':20,'rope_scaling':{'type':'llama3','factor':4,'low_freq_factor':1,"
        "'high_freq_factor':2,'original_max_position_embeddings':16}",
        LLAMA_JSON ",'rope_parameters':{'rope_theta':20.0,'rope_type':'llama3','factor':4.0,'low_freq_factor':1.0,"
        "'high_freq_factor':2.0,'original_max_position_embeddings':16}"};
    for (int i = 0; i < 3; i++) {
        llm_config c = config_of(spelled[i]);
        CHECK(c.rope_theta == 20 && c.rope_factor == 4 && c.rope_low == 1 && c.rope_high == 2 && c.rope_original == 16,
              "llama3 rope %d", i);
    }
    CHECK(config_of(LLAMA_JSON ",'rope_parameters':{'rope_theta':99.0,'rope_type':'default'}").rope_theta == 99,
          "rope_parameters");
    CHECK(config_of(LLAMA_JSON ",'rope_theta':99,'rope_scaling':{'type':'default'}").rope_theta == 99,
          "rope type default");
}
static void test_config_refusals(void) {
    static const struct { const char *members, *says; } bad[] = {
        {"'vocab_size':7", "'model_type': (missing) is not implemented"},
        {"'model_type':2", "'model_type' must be a text"},
        {LIKE("mistral") ",'attention_bias':true", "'attention_bias': true is not implemented"},
        {LIKE("qwen3") ",'mlp_bias':true", "'mlp_bias': true is not implemented"},
        {LIKE("gemma2"), "'model_type': gemma2 is not implemented"},
        {LIKE("gpt_neox"), "'model_type': gpt_neox is not implemented"},
        {LIKE("mixtral"), "'model_type': mixtral is not implemented"},
        {LIKE("qwen3_moe"), "'model_type': qwen3_moe is not implemented"},
        {LIKE("phi3") ",'rope_scaling':{'type':'longrope','short_factor':[1],'long_factor':[2]}",
         "'rope_scaling': short_factor is not implemented"},
        {LIKE("phi3") ",'rope_scaling':{'type':'su'}", "'rope_scaling': su is not implemented"},
        {LIKE("phi3") ",'rope_scaling':{'type':'yarn','factor':2}", "'rope_scaling': yarn is not implemented"},
        {LIKE("phi3") ",'rope_parameters':{'rope_type':'default','partial_rotary_factor':0.75}",
         "'partial_rotary_factor'"},
        {LIKE("smollm3") ",'no_rope_layers':[0,1]", "'no_rope_layers': a list"},
        {LIKE("smollm3") ",'no_rope_layers':[1]", "'no_rope_layers': a list"},
        {LIKE("smollm3") ",'no_rope_layer_interval':0", "'no_rope_layer_interval': 0"},
        {LIKE("qwen2") ",'num_key_value_heads':4,'use_sliding_window':true,'layer_types':['chunked_attention']",
         "'layer_types': chunked_attention is not implemented"},
        {LLAMA_JSON ",'hidden_act':'gelu'", "'hidden_act': gelu is not implemented"},
        {LLAMA_JSON ",'quantization_config':{'bits':4}", "'quantization_config'"},
        {LLAMA_JSON ",'rope_scaling':{'type':'linear','factor':0.5}", "impossible factors"},
        {LLAMA_JSON ",'rope_scaling':{'rope_type':'yarn','factor':2.0,'beta_slow':40}", "impossible factors"},
        {LLAMA_JSON ",'rope_scaling':{'rope_type':'dynamic'}", "missing key 'factor'"},
        {LLAMA_JSON ",'rope_scaling':{'rope_type':'linear','factor':2,'mrope_section':[1]}",
         "'rope_scaling': mrope_section is not implemented"},
        {LLAMA_JSON ",'rope_parameters':{'rope_type':'longrope'}", "'rope_parameters': longrope is not implemented"},
        {LLAMA_JSON ",'rope_scaling':{'rope_type':'llama3','factor':2.0}", "missing key 'low_freq_factor'"},
        {LLAMA_JSON ",'rope_scaling':{'rope_type':'llama3','factor':2,'low_freq_factor':4,'high_freq_factor':4,"
         "'original_max_position_embeddings':8}", "impossible factors"},
        {LLAMA_JSON ",'rope_scaling':'llama3'", "'rope_scaling' must be an object"},
        {LLAMA_JSON ",'partial_rotary_factor':0.5", "'partial_rotary_factor'"},
        {LLAMA_JSON ",'rope_theta':'big'", "'rope_theta' must be a number"},
        {LLAMA_JSON ",'rope_theta':0", "rope theta"},
        {LLAMA_JSON ",'num_key_value_heads':3", "key/value heads"},
        {LLAMA_JSON ",'num_key_value_heads':0", "key/value heads"},
        {LLAMA_JSON ",'head_dim':7", "even head size"},
        {LLAMA_JSON ",'head_dim':-8", "is no size"},
        {LLAMA_JSON ",'head_dim':8.5", "is no size"},
        {LLAMA_JSON ",'eos_token_id':'x'", "'eos_token_id' is no token id"},
        {LLAMA_JSON ",'eos_token_id':[1,-7]", "'eos_token_id' is no token id"},
        {LLAMA_JSON ",'tie_word_embeddings':1", "'tie_word_embeddings' must be true or false"},
        {GPT2_JSON ",'activation_function':'gelu'", "'activation_function': gelu is not implemented"},
        {GPT2_JSON ",'scale_attn_weights':false", "'scale_attn_weights': false is not implemented"},
        {GPT2_JSON ",'scale_attn_by_inverse_layer_idx':true",
         "'scale_attn_by_inverse_layer_idx': true is not implemented"},
        {GPT2_JSON ",'add_cross_attention':true", "'add_cross_attention': true is not implemented"},
        {GPT2_JSON ",'layer_norm_epsilon':0", "epsilon"},
        {"'model_type':'gpt2','vocab_size':320,'n_positions':32,'n_layer':2,'n_head':4", "missing key 'n_embd'"},
        {"'model_type':'gpt2','vocab_size':320,'n_positions':32,'n_layer':2,'n_head':5,'n_embd':32", "head size"},
        {"'model_type':'gpt2','vocab_size':320,'n_positions':32,'n_layer':2,'n_head':0,'n_embd':32", "heads"},
        {"'model_type':'gpt2','vocab_size':99999999999,'n_positions':32,'n_layer':2,'n_head':4,'n_embd':32",
         "is no size"},
        {LLAMA_JSON ",'architectures':['LlamaForTokenClassification']", "ForTokenClassification is not implemented"},
        {LLAMA_JSON ",'architectures':['LlamaForSequenceClassification']", "a classifier with other than 1 label"},
        {LLAMA_JSON ",'architectures':['LlamaForSequenceClassification'],'id2label':{'0':'A','1':'B'}",
         "other than 1 label"},
        {LLAMA_JSON ",'architectures':['LlamaForSequenceClassification'],'num_labels':3", "other than 1 label"}};
    for (volatile size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_DIES(config_of(bad[i].members), quoted(bad[i].says));
    CHECK(config_of(LLAMA_JSON ",'architectures':['LlamaForSequenceClassification'],'id2label':{'0':'LABEL_0'}").score,
          "score");
    CHECK(config_of(GPT2_JSON ",'architectures':['GPT2ForSequenceClassification'],'num_labels':1").score,
          "score by num_labels");
    write_text(in_scratch("config.json"), "{'model_type':");
    CHECK_DIES(hf_config_load(scratch), "config.json:1");
    unlink(in_scratch("config.json"));
    CHECK_DIES(hf_config_load(scratch), "config.json does not exist");
}
enum { TINY_CONFIGS = 14 };
static llm_config tiny_config(int family) {
    llm_config c = {.V = 37, .T = 12, .L = 2, .C = 16, .H = 4, .KV = 2, .D = 6, .F = 20, .norm = LLM_RMSNORM,
                    .position = LLM_ROPE,
                    .activation = LLM_SWIGLU, .eps = 1e-6, .rope_theta = 12345.678, .bos = 0, .eos = 2, .pad = 1,
                    .family = LLM_LLAMA};
    if (family == 0) {                  /* GPT-2 */
        c.KV = 4; c.D = 4; c.F = 64; c.norm = LLM_LAYERNORM; c.position = LLM_LEARNED; c.activation = LLM_GELU;
        c.bias = c.tied = true; c.eps = 1e-5; c.rope_theta = 10000; c.pad = -1; c.family = LLM_GPT2;
    }
    if (family == 2) { c.family = LLM_QWEN2; c.qkv_bias = c.tied = true; c.KV = 4; }                          /* Qwen2 */
    if (family == 3) { c.score = c.tied = true; }                                       /* a reward model */
    if (family == 4) {
        c.rope_scaling = LLM_ROPE_LLAMA3; c.rope_factor = 32; c.rope_low = 1; c.rope_high = 4; c.rope_original = 8;
        c.score = true;
    }
    if (family == 5) { c.rope_scaling = LLM_ROPE_LINEAR; c.rope_factor = 4; }
    if (family == 6) { c.rope_scaling = LLM_ROPE_DYNAMIC; c.rope_factor = 2.5; c.rope_original = 5; c.T = 12; }
    if (family == 7) { c.family = LLM_MISTRAL; }
    if (family == 8) { c.family = LLM_PHI3; }
    if (family == 9) {
        c.rope_scaling = LLM_ROPE_YARN; c.rope_factor = 4; c.rope_original = 3; c.rope_low = 1.5; c.rope_high = 32;
        c.rope_length = 1.1; c.rope_truncate = true;
    }
    if (family == 10) { c.family = LLM_QWEN3; c.qk_norm = LLM_QK_HEADS; c.qkv_bias = c.proj_bias = true; }
    if (family == 11) { c.family = LLM_SMOLLM3; c.no_rope_every = 2; c.mlp_bias = c.tied = true; }
    if (family == 12) { c.family = LLM_OLMO2; c.qk_norm = LLM_QK_ALL; c.post_norm = true; }
    if (family == 13) { c.family = LLM_SMOLLM3; c.qkv_bias = c.proj_bias = true; }       /* none without rope */
    return c;
}
static void config_save(const llm_config *c) {
    llm_writer w = begin_in(scratch, "config.json");
    config_write(&w, c, "float32");
    llm_write_done(&w);
}
static void test_config_round_trip(void) {
    for (int family = 0; family < TINY_CONFIGS; family++) {
        llm_config c = tiny_config(family);
        config_save(&c);
        for (int other = 0; other < 2; other++) {       /* tools/hf.h reads ours too */
        llm_config d = other ? hf_config_load(scratch) : llm_config_load(scratch);
        CHECK(d.V == c.V && d.T == c.T && d.L == c.L && d.C == c.C && d.H == c.H && d.KV == c.KV && d.D == c.D &&
              d.F == c.F &&
              d.norm == c.norm && d.position == c.position && d.activation == c.activation && d.bias == c.bias &&
              d.qkv_bias == c.qkv_bias && d.tied == c.tied && d.score == c.score && d.eps == c.eps &&
              (c.position == LLM_LEARNED || d.rope_theta == c.rope_theta) &&
              d.family == c.family && d.rope_scaling == c.rope_scaling &&
              d.proj_bias == c.proj_bias && d.mlp_bias == c.mlp_bias && d.qk_norm == c.qk_norm &&
              d.post_norm == c.post_norm && d.no_rope_every == c.no_rope_every && d.rope_length == c.rope_length &&
              d.rope_truncate == c.rope_truncate && d.rope_factor == c.rope_factor && d.rope_low == c.rope_low && d.rope_high == c.rope_high &&
              d.rope_original == c.rope_original && d.bos == c.bos && d.eos == c.eos && d.pad == c.pad, "family %d",
              family);
        }
    }
    for (int i = 0; i < LLM_PRESETS; i++) {
        llm_config c = llm_preset(presets[i].name);
        config_save(&c);
        llm_config d = llm_config_load(scratch);
        CHECK(d.F == c.F && d.eps == c.eps && d.tied == c.tied &&
              (c.position == LLM_LEARNED || d.rope_theta == c.rope_theta),
              "preset %s", presets[i].name);
    }
    static const struct { const char *preset; size_t numbers; } counted[] = {   /* as transformers counts them */
        {"mistral-7b", 7248023552}, {"qwen3-0.6b", 596049920}, {"smollm3-3b", 3075098624}, {"olmo2-1b", 1484916736},
        {"phi3-mini", 3821079552}};
    for (int i = 0; i < 5; i++) {
        llm_config c = llm_preset(counted[i].preset);
        CHECK(llm_parameters(&c) == counted[i].numbers, "%s has %zu parameters", counted[i].preset,
              llm_parameters(&c));
    }
    llm_config c = tiny_config(0);
    c.position = LLM_ROPE;
    CHECK_DIES(llm_config_check(&c, scratch), "no family of models");
}

/* ---- the learning rate ---- */

static void test_schedule(void) {
    llm_schedule s = {LLM_COSINE, 2, 0.1, 4, 24, 0};
    static const struct { llm_decay decay; int step; double want; } at[] = {
        {LLM_COSINE, 0, 0.5}, {LLM_COSINE, 3, 2}, {LLM_COSINE, 4, 2}, {LLM_COSINE, 14, 1.1}, {LLM_COSINE, 24, 0.2},
        {LLM_COSINE, 99, 0.2},
        {LLM_COSINE, 9, 0.2 + 0.9 * (1 + 0.70710678118654752)}, {LLM_LINEAR, 1, 1}, {LLM_LINEAR, 14, 1.1},
        {LLM_LINEAR, 9, 1.55},
        {LLM_LINEAR, 24, 0.2}, {LLM_LINEAR, 99, 0.2}, {LLM_CONSTANT, 0, 0.5}, {LLM_CONSTANT, 4, 2},
        {LLM_CONSTANT, 99, 2},
        {LLM_WSD, 2, 1.5}, {LLM_WSD, 4, 2}, {LLM_WSD, 16, 2}, {LLM_WSD, 20, 1.1}, {LLM_WSD, 24, 0.2},
        {LLM_WSD, 99, 0.2}};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        s.decay = at[i].decay;
        s.cooldown = 8;
        CHECK_SMALL(fabs(llm_schedule_lr(&s, at[i].step) - at[i].want), 1e-12,
                    "schedule %d at step %d: %.15g, not %.15g", (int)s.decay,
                    at[i].step, llm_schedule_lr(&s, at[i].step), at[i].want);
    }
    s = (llm_schedule){LLM_WSD, 1, 0, 0, 10, 0};        /* no cooldown: constant to the end */
    CHECK(llm_schedule_lr(&s, 0) == 1 && llm_schedule_lr(&s, 9) == 1, "WSD without cooldown");
    s = (llm_schedule){LLM_COSINE, 1, 0, 10, 10, 0};    /* nothing but warm-up */
    CHECK(llm_schedule_lr(&s, 9) == 1 && llm_schedule_lr(&s, 10) == 1 && llm_schedule_lr(&s, 11) == 0,
          "steps = warmup");
    s = (llm_schedule){LLM_WSD, 1, 0.5, 5, 10, 100};    /* a cooldown longer than the run begins after the warm-up */
    CHECK(llm_schedule_lr(&s, 4) == 1 && llm_schedule_lr(&s, 5) == 1 && llm_schedule_lr(&s, 10) == 0.5,
          "long cooldown");
}

/* ---- a model's folder ---- */

static llm_real *host_copy(const llm_model *m, const llm_param *p) {
    llm_real *x = llm_alloc(p->size, sizeof *x);
    m->ops->download(x, p->data, p->size * sizeof *x);
    return x;
}
static bool same_weights(const llm_model *a, const llm_model *b) {
    bool same = a->params == b->params;
    for (int i = 0; i < a->params && same; i++) {
        llm_real *x = host_copy(a, &a->param[i]), *y = host_copy(b, &b->param[i]);
        same = a->param[i].size == b->param[i].size && !memcmp(x, y, a->param[i].size * sizeof *x);
        llm_release(x);
        llm_release(y);
    }
    return same;
}
static void load_and_free(const char *dir) {
    llm_model m;
    hf_model_load(&m, dir, llm_cpu(LLM_FP32));
    llm_model_free(&m);
}
static void test_model_round_trip(const llm_ops *ops) {
    for (int family = 0; family < TINY_CONFIGS; family++) {
        llm_config c = tiny_config(family);
        llm_model m, again;
        llm_model_init(&m, &c, ops, 1 + (uint64_t)family);
        const char *dir = in_scratch("model-%d", family), *second = in_scratch("again-%d", family);
        llm_model_save(&m, dir);
        hf_model_load(&again, dir, ops);
        CHECK(same_weights(&m, &again), "family %d on %s: load(save) differs by way of hf.h", family, ops->name);
        llm_model_free(&again);
        llm_model_load(&again, dir, ops);
        CHECK(same_weights(&m, &again), "family %d on %s: load(save) differs", family, ops->name);
        llm_model_save(&again, second);
        static const char *const file[] = {"config.json", "model.safetensors", "generation_config.json"};
        for (int i = 0; i < 3; i++) {
            char a[600], b[600];
            snprintf(a, sizeof a, "%s/%s", dir, file[i]);
            snprintf(b, sizeof b, "%s/%s", second, file[i]);
            CHECK(same_file(a, b), "family %d on %s: save(load(save)) differs in %s", family, ops->name, file[i]);
        }
        llm_model_free(&m);
        llm_model_free(&again);
    }
}
/* ---- how a model begins, and its copies ---- */

static double deviation(const llm_param *p) {
    double sum = 0;
    for (size_t i = 0; i < p->size; i++) sum += (double)p->data[i] * (double)p->data[i];
    return sqrt(sum / (double)p->size);
}
static void test_made(void) {
    llm_config c = tiny_config(0);
    c.V = 200, c.T = 80, c.L = 8, c.C = 64, c.H = c.KV = 4, c.D = 16, c.F = 256;
    llm_model m, n;
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 5);
    const double std = sqrt(0.4 / 64);
    const struct { const char *name; double want; } drawn[] = {
        {"transformer.wte.weight", std}, {"transformer.wpe.weight", std / 2}, {"transformer.h.3.attn.c_attn.weight", std},
        {"transformer.h.3.attn.c_proj.weight", std / 4}, {"transformer.h.7.mlp.c_proj.weight", std / 4}};     /* sqrt(2 L) = 4 */
    for (int i = 0; i < 5; i++) {
        const llm_param *p = llm_param_find(&m, drawn[i].name);
        CHECK(fabs(deviation(p) / drawn[i].want - 1) < 0.05, "%s begins with deviation %g, not %g", p->name, deviation(p), drawn[i].want);
        CHECK(memcmp(p->data, p->data + p->cols, p->cols * sizeof *p->data), "%s: rows are alike", p->name);
    }
    m.keep = LLM_KEEP_INPUTS;
    llm_model_copy(&n, &m, true);
    CHECK(n.keep == LLM_KEEP_INPUTS && n.frozen && same_weights(&m, &n), "a copy");
    llm_model_free(&n);
    llm_model_train(&m);
    llm_model_add_score(&m, 7);
    const llm_real *u = m.score->data;
    CHECK(m.keep == LLM_KEEP_INPUTS && !m.frozen && m.score->grad, "a head is added: the model goes on learning");
    CHECK(u[0] != u[1] && fabs(deviation(m.score) / sqrt(1. / 65) - 1) < 0.3, "the head is drawn at random: %g", deviation(m.score));
    llm_model_copy(&n, &m, true);
    llm_quantise(&n, LLM_TYPE_Q8);
    CHECK(n.score->data && n.score->data[1] == u[1], "the head stays as it is in fewer bits");
    llm_model_free(&n);
    c.F = 128;                          /* a tensor of another size is not copied */
    llm_model_init(&n, &c, llm_cpu(LLM_FP32), 9);
    const llm_param *up = llm_param_find(&n, "transformer.h.0.mlp.c_fc.weight");
    llm_real before = up->data[17];
    llm_model_copy_weights(&n, &m);
    CHECK(up->data[17] == before && n.wte->data[17] == m.wte->data[17], "only what has the same size");
    llm_model_free(&n);
    llm_model_free(&m);
    /* Words and values push together; what has no place in a model or a row is refused. */
    c = tiny_config(1);
    c.score = true;
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 5);
    llm_model_train(&m);
    llm_batch b = llm_batch_new(1, 6);
    llm_real dlogp[6] = {1, 0, -1, 2}, dvalue[6] = {0, 3, 0, 0, -1}, dentropy[6] = {0, 0, 0, 0, 1}, entropy[6], sum[3][16];
    for (int i = 0; i < 6; i++) b.tokens[i] = i + 3, b.targets[i] = i + 4, b.positions[i] = i;
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < m.params; i++) m.param[i].used = false;
        llm_forward(&m, &b, NULL, entropy, NULL);
        llm_backward(&m, &b, k == 1 ? NULL : dlogp, NULL, k == 0 ? NULL : dvalue);
        memcpy(sum[k], m.normf.w->grad, sizeof sum[k]);
    }
    double apart = 0;
    for (int i = 0; i < 16; i++) apart = fmax(apart, fabs((double)sum[2][i] - (double)sum[0][i] - (double)sum[1][i]));
    CHECK_SMALL(apart, 1e-4, "the gradients of words and values add up");
    for (int i = 0; i < m.params; i++) m.param[i].used = false;
    llm_forward(&m, &b, NULL, entropy, NULL);
    llm_backward(&m, &b, NULL, dentropy, NULL);
    CHECK(deviation(&(llm_param){.data = m.head->grad, .size = m.head->size}) > 0, "an entropy alone has a gradient");
    b.positions[5] = c.T;
    CHECK_DIES(llm_forward(&m, &b, NULL, entropy, NULL), "position 12 at place 5 is outside 0..11");
    b.positions[5] = 5, b.start[2] = 3;
    CHECK_DIES(llm_forward(&m, &b, NULL, entropy, NULL), "attention start 3 at place 2");
    llm_batch_free(&b);
    llm_model_free(&m);
    if (ONLY_FP32) return;              /* bf16: what computes is the file's, too */
    c = tiny_config(1);
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 5);
    llm_model_save(&m, in_scratch("work"));
    llm_model_load(&n, in_scratch("work"), llm_cpu(LLM_BF16));
    CHECK(((uint16_t *)n.work)[3] == real_to_bf16(m.data[3]) && m.data[3] != 0, "the working copy of a model that was loaded");
    llm_model_free(&m);
    llm_model_free(&n);
}
/* What other programs read in a folder of ours. */
static void test_written(void) {
    llm_config c = tiny_config(0);
    llm_tokenizer t;
    llm_model m;
    llm_tokenizer_train(&t, "abc", 3, 300, true);
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 5);
    const char *out = in_scratch("written");
    make_dir(out);
    write_text(in_scratch("written/special_tokens_map.json"), "{'bos_token': '<s>'}");
    write_text(in_scratch("precious"), "years of work");
    CHECK(!symlink("../precious", in_scratch("written/note.tmp")), "a link");
    llm_writer note = llm_write_begin(in_scratch("written/note"));
    llm_write_text(&note, "mine");
    llm_write_done(&note);
    char *text = llm_read_file(in_scratch("precious"), NULL);
    CHECK(!strcmp(text, "years of work") && llm_exists(in_scratch("written/note")), "nothing is written through a link: %s", text);
    llm_release(text);
    llm_result_save(out, &m, &t);
    CHECK(!llm_exists(in_scratch("written/special_tokens_map.json")), "another tokenizer's file is gone");
    text = llm_read_file(in_scratch("written/config.json"), NULL);
    CHECK(strstr(text, "\"n_inner\": null"), "four times the channels are the default: %s", text);
    llm_release(text);
    char *stops = llm_format("\"eos_token_id\": [%d, %d]", t.eos, t.im_end);
    text = llm_read_file(in_scratch("written/generation_config.json"), NULL);
    CHECK(t.stops == 2 && strstr(text, stops), "every id that ends an answer, %s: %s", stops, text);
    llm_release_all(text, stops);
    llm_model_free(&m);
    llm_tokenizer_free(&t);
    c = tiny_config(3);
    c.pad = -1;
    config_save(&c);
    text = llm_read_file(in_scratch("config.json"), NULL);
    CHECK(strstr(text, "\"pad_token_id\": 2"), "a score is read before the pads: %s", text);
    llm_release(text);
}
/* Rewrite a folder's tensors through `change`, which may rename, drop (name NULL), retype or reshape each. */
static void rewrite(const char *from, const char *to, void (*change)(file_tensor *t, int i),
                    const file_tensor *extra) {
    hf_safetensors s;
    hf_safetensors_open(&s, from);
    file_tensor *t = llm_alloc((size_t)s.count + 1, sizeof *t);
    int n = 0;
    for (int i = 0; i < s.count; i++) {
        float *x = llm_alloc(hf_tensor_count(&s.tensor[i]), sizeof *x);
        double *wide = llm_alloc(hf_tensor_count(&s.tensor[i]), sizeof *wide);
        hf_safetensors_read(&s, &s.tensor[i], wide);
        for (size_t k = 0; k < hf_tensor_count(&s.tensor[i]); k++) x[k] = (float)wide[k];
        llm_release(wide);
        t[n] = (file_tensor){.name = s.tensor[i].name, .dtype = "F32", .dims = s.tensor[i].dims, .data = x};
        memcpy(t[n].shape, s.tensor[i].shape, sizeof t[n].shape);
        change(&t[n], i);
        if (t[n].name) n++;
        else llm_release(x);
    }
    int owned = n;
    if (extra) t[n++] = *extra;
    make_dir(to);
    write_tensors(in_scratch("rewritten.tmp"), t, n);
    for (int i = 0; i < owned; i++) llm_release((void *)t[i].data);
    char target[600], a[600], b[600];
    snprintf(target, sizeof target, "%s/model.safetensors", to);
    rename(in_scratch("rewritten.tmp"), target);
    snprintf(a, sizeof a, "%s/config.json", from);
    snprintf(b, sizeof b, "%s/config.json", to);
    size_t size;
    char *config = llm_read_file(a, &size);
    write_file(b, config, size);
    llm_release(config);
    llm_release(t);
    hf_safetensors_close(&s);
}
static void keep(file_tensor *t, int i) { (void)t; (void)i; }
static void strip(file_tensor *t, int i) { (void)i; t->name = strchr(t->name, '.') + 1; }
static void drop_first(file_tensor *t, int i) { if (!i) t->name = NULL; }
static void drop_head(file_tensor *t, int i) {
    (void)i;
    if (!strcmp(t->name, "lm_head.weight")) t->name = NULL;
}
static void flatten(file_tensor *t, int i) {
    (void)i;
    if (path_ends_with(t->name, "c_fc.weight")) { t->dims = 1; t->shape[0] *= t->shape[1]; }
}
static void swap_shape(file_tensor *t, int i) {
    (void)i;
    if (path_ends_with(t->name, "h.1.mlp.c_fc.weight")) { t->shape[0] = 64; t->shape[1] = 16; }
}
static void name_head(file_tensor *t, int i) {
    (void)i;
    if (path_ends_with(t->name, "wte.weight") || path_ends_with(t->name, "embed_tokens.weight")) t->name = "lm_head.weight";
}
static void strip_model(file_tensor *t, int i) {
    (void)i;
    if (!strncmp(t->name, "model.", 6)) t->name += 6;
}
/* config.json ties head and embedding: one tensor under either name, or two that are equal; two that differ are both
   read, and from then on are no longer tied. */
static void test_tied(const char *dir, const char *embedding) {
    const char *changed = in_scratch("changed");
    llm_model m, n;
    hf_safetensors s;
    hf_model_load(&m, dir, llm_cpu(LLM_FP32));
    hf_safetensors_open(&s, dir);
    const hf_tensor_info *t = hf_safetensors_find(&s, embedding);
    CHECK(m.c.tied && t, "%s is tied", dir);
    size_t count = hf_tensor_count(t);
    double *wide = llm_alloc(count, sizeof *wide);
    float *x = llm_alloc(count, sizeof *x);
    hf_safetensors_read(&s, t, wide);
    for (size_t i = 0; i < count; i++) x[i] = (float)wide[i];
    file_tensor extra = {.name = "lm_head.weight", .dtype = "F32", .dims = 2, .shape = {t->shape[0], t->shape[1]}, .data = x};
    void (*const names[])(file_tensor *, int) = {name_head, keep, strip, strip_model};
    for (int i = 0; i < 4; i++) {
        if (names[i] == (gpt2_names(&m.c) ? strip_model : strip)) continue;
        rewrite(dir, changed, names[i], i ? &extra : NULL);
        hf_model_load(&n, changed, llm_cpu(LLM_FP32));
        CHECK(n.c.tied && n.head == n.wte && n.params == m.params, "one tensor, names %d", i);
        CHECK(sizeof(llm_real) == 8 || same_weights(&m, &n), "the same weights, names %d", i);
        llm_model_free(&n);
    }
    const float last = x[count - 1];
    x[count - 1] = last + 1;
    rewrite(dir, changed, keep, &extra);
    hf_model_load(&n, changed, llm_cpu(LLM_FP32));
    CHECK(!n.c.tied && n.head != n.wte && n.params == m.params + 1, "two tensors that differ are both read");
    CHECK(n.head->data[count - 1] == (llm_real)x[count - 1] && n.wte->data[count - 1] == (llm_real)last,
          "each from its own");
    llm_model_save(&n, in_scratch("untied"));
    llm_model_free(&n);
    CHECK(!hf_config_load(in_scratch("untied")).tied, "and the result says so");
    extra.shape[0]--;                   /* of another shape: no head of this model */
    rewrite(dir, changed, keep, &extra);
    CHECK_DIES(load_and_free(changed), "\"lm_head.weight\" has the shape");
    llm_release_all(wide, x);
    hf_safetensors_close(&s);
    llm_model_free(&m);
}
static void test_model_folders(void) {
    const char *dir = in_scratch("model-0"), *changed = in_scratch("changed");      /* GPT-2, saved by the round trip */
    llm_model m, n;
    hf_model_load(&m, dir, llm_cpu(LLM_FP32));
    /* Conv1D: element [in i][out o] of the file is element [o][i] in memory */
    hf_safetensors s;
    hf_safetensors_open(&s, dir);
    const hf_tensor_info *t = hf_safetensors_find(&s, "transformer.h.1.mlp.c_fc.weight");
    llm_param *p = llm_param_find(&m, "transformer.h.1.mlp.c_fc.weight");
    CHECK(t && t->dims == 2 && t->shape[0] == 16 && t->shape[1] == 64 && p->rows == 64 && p->cols == 16,
          "c_fc is (in, out) on the disk");
    double x[16 * 64];
    hf_safetensors_read(&s, t, x);
    CHECK((llm_real)x[3 * 64 + 50] == p->data[50 * 16 + 3] && (llm_real)x[15 * 64] == p->data[15],
          "c_fc is not transposed");
    t = hf_safetensors_find(&s, "transformer.wte.weight");
    CHECK(t && t->shape[0] == 37 && t->shape[1] == 16, "wte is (V, C)");
    t = hf_safetensors_find(&s, "transformer.ln_f.bias");
    CHECK(t && t->dims == 1 && t->shape[0] == 16, "a vector has one dimension");
    CHECK(!hf_safetensors_find(&s, "lm_head.weight"), "a tied head is written once");
    hf_safetensors_close(&s);

    rewrite(dir, changed, strip, NULL);
    hf_model_load(&n, changed, llm_cpu(LLM_FP32));
    CHECK(sizeof(llm_real) == 8 || same_weights(&m, &n), "names without \"transformer.\"");
    llm_model_free(&n);
    static const float noise[144];
    static const char *const ignored[] = {"transformer.h.0.attn.bias", "h.1.attn.masked_bias"};
    for (int i = 0; i < 2; i++) {
        file_tensor extra = {.name = ignored[i], .dtype = "F32", .dims = 4, .shape = {1, 1, 12, 12}, .data = noise};
        rewrite(dir, changed, keep, &extra);
        load_and_free(changed);
        CHECK(true, "ignored");
    }
    file_tensor extra = {.name = "transformer.h.0.attn.q_norm.weight", .dtype = "F32", .dims = 1, .shape = {4},
                            .data = noise};
    rewrite(dir, changed, keep, &extra);
    CHECK_DIES(load_and_free(changed), "unexpected tensor \"transformer.h.0.attn.q_norm.weight\"");
    extra.name = "score.weight";
    rewrite(dir, changed, keep, &extra);
    CHECK_DIES(load_and_free(changed), "unexpected tensor \"score.weight\"");
    rewrite(dir, changed, drop_first, NULL);
    CHECK_DIES(load_and_free(changed), "no tensor \"transformer.h.0.attn.c_attn.bias\"");
    rewrite(dir, changed, flatten, NULL);
    CHECK_DIES(load_and_free(changed), "c_fc.weight\" has the shape [1024], but config.json makes it [16,64]");
    rewrite(dir, changed, swap_shape, NULL);
    CHECK_DIES(load_and_free(changed),
               "\"transformer.h.1.mlp.c_fc.weight\" has the shape [64,16], but config.json makes it [16,64]");
    llm_model_free(&m);
    /* A classifier's folder has no lm_head.weight, tied or not; the score is [1,C]. */
    hf_model_load(&m, in_scratch("model-4"), llm_cpu(LLM_FP32));
    CHECK(m.score && m.score->size == 16 && !m.c.tied, "score");
    llm_model_free(&m);
    rewrite(in_scratch("model-4"), changed, drop_head, NULL);
    hf_model_load(&m, changed, llm_cpu(LLM_FP32));
    CHECK(m.score && m.c.tied && m.head == m.wte, "a classifier without a head over the vocabulary");
    llm_model_free(&m);
    rewrite(in_scratch("model-1"), changed, drop_head, NULL);
    CHECK_DIES(load_and_free(changed), "no tensor \"lm_head.weight\"");
    hf_safetensors_open(&s, in_scratch("model-4"));
    t = hf_safetensors_find(&s, "score.weight");
    CHECK(t && t->dims == 2 && t->shape[0] == 1 && t->shape[1] == 16, "score.weight is [1,C]");
    hf_safetensors_close(&s);
    CHECK_DIES(load_and_free(in_scratch("nowhere")), "nowhere/config.json does not exist");
    make_dir(in_scratch("circle"));     /* adapters whose base is their own folder */
    char *text = llm_format("{'base_model_name_or_path':'%s'}", in_scratch("circle"));
    write_text(in_scratch("circle/adapter_config.json"), text);
    llm_release(text);
    CHECK_DIES(load_and_free(in_scratch("circle")), "holds a model");
}
/* What transformers saved: GPT-2 in F32, and bare in F16 with its masks; Llama; BF16 in two shards. */
static void test_fixture_folders(void) {
    static const struct { const char *name; int params; double bits; } fixture[] = {
        {"gpt2-tiny", 28, 0}, {"gpt2-bare", 28, 0x1p13}, {"llama-tiny", 20, 0}, {"llama-untied", 21, 0x1p16}};
    for (int i = 0; i < 4; i++) {
        char dir[128];
        snprintf(dir, sizeof dir, "test/data/models/%s", fixture[i].name);
        if (!llm_exists(dir)) { CHECK(false, "%s is not there: run from the repository's root", dir); continue; }
        llm_model m, n;
        hf_model_load(&m, dir, llm_cpu(LLM_FP32));
        CHECK(m.params == fixture[i].params, "%s: %d tensors", dir, m.params);
        bool narrow = true;             /* 16-bit weights have their low bits 0 */
        for (size_t k = 0; k < m.size && fixture[i].bits > 0; k++) {
            union { float value; uint32_t bits; } u = {(float)m.data[k]};
            if ((i == 3 || fabs((double)u.value) >= 0x1p-14) && u.bits % (uint32_t)fixture[i].bits) narrow = false;
        }
        CHECK(narrow, "%s: weights that 16 bits cannot hold", dir);
        const char *copy = in_scratch("copy-%d", i);
        llm_model_save(&m, copy);
        hf_model_load(&n, copy, llm_cpu(LLM_FP32));
        CHECK(same_weights(&m, &n), "%s: load(save(load)) differs", dir);
        llm_model_free(&m);
        llm_model_free(&n);
    }
    /* transformers 4 spelled the same config otherwise */
    for (int i = 2; i < 4; i++) {
        char path[160];
        snprintf(path, sizeof path, "test/data/models/%s", fixture[i].name);
        llm_config a = hf_config_load(path);
        size_t n;
        snprintf(path, sizeof path, "test/data/models/%s/config.v4.json", fixture[i].name);
        char *text = llm_read_file(path, &n);
        write_file(in_scratch("config.json"), text, n);
        llm_release(text);
        llm_config b = hf_config_load(scratch);
        CHECK(a.rope_theta == b.rope_theta && a.rope_factor == b.rope_factor && a.rope_low == b.rope_low &&
              a.rope_high == b.rope_high &&
              a.rope_original == b.rope_original && a.F == b.F && a.tied == b.tied, "%s and config.json differ", path);
    }
}

/* ---- AdamW ---- */

static void fill_gradients(llm_model *m, uint64_t seed, double scale) {
    llm_rng r = llm_rng_seed(seed, 1);
    for (int i = 0; i < m->params; i++) {
        llm_real *x = llm_alloc(m->param[i].size, sizeof *x);
        for (size_t k = 0; k < m->param[i].size; k++) x[k] = (llm_real)(scale * llm_rng_normal(&r));
        m->ops->upload(m->param[i].grad, x, m->param[i].size * sizeof *x);
        m->param[i].used = true;
        llm_release(x);
    }
}
/* The formula at the head of chapter 6, in double, on its own copies; tensor 4 never has a gradient. */
typedef struct { double *w, *m, *v; } plain;

static void plain_step(const llm_model *m, plain *a, const llm_adamw *o, int step, double lr, double *norm) {
    double sum = 0;
    for (int i = 0; i < m->params; i++)
        for (size_t k = 0; k < m->param[i].size && m->param[i].used; k++)
            sum += (double)m->param[i].grad[k] * (double)m->param[i].grad[k];
    *norm = sqrt(sum);
    double scale = o->clip > 0 && *norm > o->clip ? o->clip / *norm : 1;
    for (int i = 0; i < m->params; i++)
        for (size_t k = 0; k < m->param[i].size && m->param[i].used; k++) {
            double g = scale * (double)m->param[i].grad[k], *w = &a[i].w[k];
            a[i].m[k] = o->beta1 * a[i].m[k] + (1 - o->beta1) * g;
            a[i].v[k] = o->beta2 * a[i].v[k] + (1 - o->beta2) * g * g;
            double mhat = a[i].m[k] / (1 - pow(o->beta1, step)), vhat = a[i].v[k] / (1 - pow(o->beta2, step));
            *w -= lr * (mhat / (sqrt(vhat) + o->eps) + (m->param[i].vector ? 0 : o->weight_decay * *w));
        }
}
static void test_adamw(int family) {
    llm_config c = tiny_config(family);
    llm_model m;
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 5);
    llm_model_train(&m);
    plain *a = llm_alloc((size_t)m.params, sizeof *a);
    for (int i = 0; i < m.params; i++) {
        size_t n = m.param[i].size;
        a[i] = (plain){llm_alloc(n, sizeof(double)), llm_alloc(n, sizeof(double)), llm_alloc(n, sizeof(double))};
        for (size_t k = 0; k < n; k++) a[i].w[k] = (double)m.param[i].data[k];
    }
    llm_real before = m.param[4].data[0];
    llm_adamw o = llm_adamw_defaults();
    CHECK(o.beta1 == 0.9 && o.beta2 == 0.95 && o.eps == 1e-8 && o.weight_decay == 0.1 && o.clip == 1, "defaults");
    for (int step = 1; step <= 10; step++) {
        fill_gradients(&m, (uint64_t)step, step % 2 ? 1 : 1e-3);       /* clipped, and not */
        m.param[4].used = false;
        double want, norm;
        plain_step(&m, a, &o, step, 1e-2, &want);
        norm = llm_adamw_step(&o, &m, 1e-2);
        CHECK_SMALL(fabs(norm - want) / want, 1e-6, "family %d, step %d: norm %g, not %g", family, step, norm, want);
        CHECK(o.state.step == step && !m.param[0].used, "counters after step %d", step);
    }
    double worst = 0;
    for (int i = 0; i < m.params; i++) {
        double error = 0, largest = 0;
        for (size_t k = 0; k < m.param[i].size; k++) {
            double e = fabs((double)m.param[i].data[k] - a[i].w[k]);
            error = worse(error, e);
            largest = fmax(largest, fabs(a[i].w[k]));
        }
        worst = worse(worst, error / largest);
        CHECK_SMALL(error / largest, sizeof(llm_real) == 8 ? 1e-14 : 2e-6, "family %d: %s after 10 steps", family,
                    m.param[i].name);
        llm_release(a[i].w);
        llm_release(a[i].m);
        llm_release(a[i].v);
    }
    printf("adamw, family %d: largest error of a weight after 10 steps %.2g of the tensor's largest\n", family, worst);
    CHECK(m.param[4].data[0] == before, "a tensor without a gradient moved");
    llm_release(a);
    llm_adamw_free(&o, &m);
    CHECK(!o.m && !o.v, "freed");
    llm_model_free(&m);
}
static void test_adamw_refusals(void) {
    llm_config c = tiny_config(1);
    llm_model m;
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 5);
    llm_model_train(&m);
    llm_adamw o = llm_adamw_defaults();
    CHECK_DIES(llm_adamw_step(&o, &m, 1e-3), "no tensor has a gradient");
    fill_gradients(&m, 1, 1);
    m.param[4].grad[7] = (llm_real)NAN;
    llm_real before = m.param[0].data[0];
    CHECK_DIES(llm_adamw_step(&o, &m, 1e-3), m.param[4].name);
    CHECK(strstr(check_message, "not finite") && strstr(check_message, "--lr") && strstr(check_message, "checkpoint"),
          "remedy: %s",
          check_message);
    CHECK(m.param[0].data[0] == before && o.state.step == 0, "a refused step moved a weight");
    m.param[4].grad[7] = (llm_real)INFINITY;
    CHECK_DIES(llm_adamw_step(&o, &m, 1e-3), "not finite");
    llm_adamw_free(&o, &m);
    o.offload = true;
    CHECK_DIES(llm_adamw_step(&o, &m, 1e-3), "nothing to offload");
    llm_model_free(&m);
}
/* The first 32 norms only teach: an outlier is taken as the 32nd, and left out as the 33rd. */
static void test_adamw_teaching(void) {
    const llm_adamw_rule r = {.skip_sigma = 6};
    for (int before = 30; before < 35; before++) {
        llm_adamw_state s = {.step = 0};
        for (int i = 0; i <= before; i++) {
            s.sumsq = i < before ? 1 + 0.1 * (i % 3) : 1e6;
            llm_adamw_judge(&s, &r);
            if (i < before) CHECK(!s.skip, "norm %d of %d", i, before);
        }
        CHECK(s.skip == (before >= 32) && s.skipped == (before >= 32), "an outlier behind %d norms: skipped %d", before,
              s.skip);
    }
}
static void test_adamw_skip(void) {
    llm_config c = tiny_config(1);
    llm_model m;
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 5);
    llm_model_train(&m);
    llm_adamw o = llm_adamw_defaults();
    o.skip_sigma = 6;
    for (int i = 0; i < 60; i++) {
        fill_gradients(&m, (uint64_t)i, i == 40 || i == 3 ? 50 : 1 + 0.1 * (i % 3));
        llm_real before = m.param[2].data[5];
        int skipped = o.state.skipped;
        double most = o.state.norm_mean + 1.001 / 41 * (o.skip_sigma * sqrt(o.state.norm_var));
        double norm = llm_adamw_step(&o, &m, 1e-3);
        CHECK(i != 40 || o.state.norm_mean <= most, "an outlier moved the mean to %g, beyond %g",
              o.state.norm_mean, most);
        bool moved = m.param[2].data[5] != before;
        CHECK(norm > 1 && moved == (i != 40) && o.state.skipped - skipped == (i == 40), "step %d: norm %g, moved %d", i,
              norm, moved);
    }
    CHECK(o.state.step == 59 && o.state.skipped == 1, "%d steps, %d skipped", o.state.step, o.state.skipped);
    llm_adamw_free(&o, &m);
    o = llm_adamw_defaults();           /* the level rises for good: soon it is no outlier any more */
    o.skip_sigma = 6;
    for (int i = 0; i < 300; i++) {
        fill_gradients(&m, (uint64_t)i, (i < 100 ? 1 : 8) * (1 + 0.1 * (i % 3)));
        llm_adamw_step(&o, &m, 1e-3);
    }
    CHECK(o.state.skipped > 0 && o.state.skipped < 40, "a lasting change was skipped %d times", o.state.skipped);
    printf("adamw: a norm risen 8 times for good is followed after %d skipped steps\n", o.state.skipped);
    llm_adamw_free(&o, &m);
    llm_model_free(&m);
}

/* ---- checkpoints ---- */

static void train_some(llm_model *m, llm_adamw *o, int from, int to) {
    for (int i = from; i < to; i++) {
        fill_gradients(m, 100 + (uint64_t)i, 1);
        llm_adamw_step(o, m, 1e-2);
    }
}
static void test_resume(const llm_ops *ops, bool moments16) {
    for (int family = 0; family < 3; family++) {
        const char *out = in_scratch("resume-%s-%d-%d", ops->name, family, moments16);
        llm_config c = tiny_config(family);
        llm_model m, n;
        llm_adamw o = llm_adamw_defaults(), p = llm_adamw_defaults();
        o.moments16 = moments16;
        o.skip_sigma = 5;
        llm_model_init(&m, &c, ops, 9);
        llm_model_train(&m);
        train_some(&m, &o, 0, 5);
        o.state.skipped = 3;
        llm_checkpoint_save(out, 5, &m, &o, NULL, "\"data\": {\"epoch\": 3}, \"seed\": \"77\"", 2);
        train_some(&m, &o, 5, 10);      /* never interrupted */
        char *dir = llm_checkpoint_newest(out);
        CHECK(dir && path_ends_with(dir, "/checkpoint-5"), "newest is %s", dir ? dir : "(none)");
        hf_model_load(&n, dir, ops);
        p.skip_sigma = 5;
        llm_json *state = llm_checkpoint_resume(dir, &n, &p, NULL);
        CHECK(p.state.step == 5 && p.moments16 == moments16 && p.state.norm_count == 5 &&
              p.state.skipped == 3, "optimizer state");
        CHECK(llm_json_number(state, "step", 0) == 5 && llm_json_number(llm_json_get(state, "data"), "epoch", 0) == 3 &&
              !strcmp(llm_json_text(state, "seed", ""), "77"), "extra state");
        llm_json_free(state);
        llm_model_train(&n);
        train_some(&n, &p, 5, 10);
        CHECK(same_weights(&m, &n), "%s, family %d, moments16 %d: a resumed run differs", ops->name, family, moments16);
        CHECK(p.state.norm_mean == o.state.norm_mean && p.state.norm_var == o.state.norm_var,
              "norm statistics: %.17g, %.17g",
              p.state.norm_mean,
              o.state.norm_mean);
        llm_release(dir);
        llm_adamw_free(&o, &m);
        llm_adamw_free(&p, &n);
        llm_model_free(&m);
        llm_model_free(&n);
    }
}
/* In the file, m and v are what they are called: v is a mean of squares. And bf16's working copy follows a load. */
static void test_moment_names(void) {
    llm_config c = tiny_config(1);
    llm_model m;
    llm_adamw o = llm_adamw_defaults();
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 9);
    llm_model_train(&m);
    train_some(&m, &o, 0, 1);
    llm_checkpoint_save(in_scratch("names16"), 1, &m, &o, NULL, NULL, 2);
    hf_safetensors s;
    hf_safetensors_open(&s, in_scratch("names16/checkpoint-1/optimizer.safetensors"));
    double x[37 * 16], y[37 * 16], error = 0;
    hf_safetensors_read(&s, hf_safetensors_find(&s, "m.model.embed_tokens.weight"), x);
    hf_safetensors_read(&s, hf_safetensors_find(&s, "v.model.embed_tokens.weight"), y);
    for (int i = 0; i < 37 * 16; i++)   /* both are g^2 */
        error = fmax(error, fabs(x[i] * x[i] / 0.01 - y[i] / 0.05) / (y[i] / 0.05));
    CHECK_SMALL(error, 1e-5, "after one step m^2 / (1 - beta1)^2 = v / (1 - beta2)");
    hf_safetensors_close(&s);
    llm_adamw_free(&o, &m);
    llm_model_free(&m);
    if (sizeof(llm_real) == 8) return;  /* doubles know fp32 precision only */
    hf_model_load(&m, in_scratch("names16/checkpoint-1"), llm_cpu(LLM_BF16));
    error = m.work ? 0 : 1;
    for (size_t i = 0; i < m.size && m.work; i++) {
        double w = (double)m.data[i],
            e = fabs((double)bf16_to_real(((const uint16_t *)m.work)[i]) - w) / (fabs(w) + 1e-30);
        error = worse(error, e);
    }
    CHECK_SMALL(error, 1.0 / 256, "the bf16 copy of a loaded model");
    llm_model_free(&m);
    llm_cpu(LLM_FP32);
}
static void test_resume_refusals(void) {
    llm_config c = tiny_config(1), wide = c;
    llm_model m, n;
    llm_adamw o = llm_adamw_defaults(), p = llm_adamw_defaults();
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 9);
    llm_model_train(&m);
    train_some(&m, &o, 0, 2);
    const char *out = in_scratch("refuse"), *dir = in_scratch("refuse/checkpoint-2"),
        *state = in_scratch("refuse/checkpoint-2/trainer_state.json");
    const char *config = in_scratch("refuse/checkpoint-2/config.json");
    llm_tokenizer t = {.hash = 0x1234}, other = {.hash = 0x1235};
    llm_checkpoint_save(out, 2, &m, &o, NULL, NULL, 2);
    CHECK_DIES(llm_checkpoint_resume(dir, &m, &p, &t), "another tokenizer");
    wide.F = 24;
    llm_model_init(&n, &wide, llm_cpu(LLM_FP32), 9);
    CHECK_DIES(llm_checkpoint_resume(dir, &n, &p, NULL), "is not there or not [16,24]");
    llm_adamw_free(&p, &n);
    llm_model_free(&n);
    wide = c;
    wide.L = 1;
    llm_model_init(&n, &wide, llm_cpu(LLM_FP32), 9);
    CHECK_DIES(llm_checkpoint_resume(dir, &n, &p, NULL), "18 tensors that the model lacks");
    llm_adamw_free(&p, &n);
    llm_model_free(&n);
    wide.L = 3;
    llm_model_init(&n, &wide, llm_cpu(LLM_FP32), 9);
    llm_model_train(&n);
    CHECK_DIES(llm_checkpoint_resume(dir, &n, &p, NULL), "is not there");
    llm_adamw_free(&p, &n);
    llm_model_free(&n);
    write_text(state, "{'step': 2, 'tokenizer_hash': '0000000000001234', 'optimizer': {'step': -1}}");
    CHECK_DIES(llm_checkpoint_resume(dir, &m, &p, &other), "fingerprint 0000000000001234, not 0000000000001235");
    CHECK_DIES(llm_checkpoint_resume(dir, &m, &p, &t), "\"step\" is missing or out of range");
    write_text(state, "{'step': 2, 'optimizer': {}}");
    CHECK_DIES(llm_checkpoint_resume(dir, &m, &p, NULL), "\"step\" is missing or out of range");
    write_text(state, "{'step': 2");
    CHECK_DIES(llm_checkpoint_resume(dir, &m, &p, NULL), "trainer_state.json:1");
    unlink(config);
    CHECK(llm_checkpoint_newest(out) == NULL, "an incomplete checkpoint is none");
    llm_adamw_free(&o, &m);
    llm_adamw_free(&p, &m);
    llm_model_free(&m);
}
static int entries(const char *dir) {
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}
static void test_checkpoint_names(void) {
    llm_config c = tiny_config(1);
    llm_model m;
    llm_adamw o = llm_adamw_defaults();
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 9);
    const char *out = in_scratch("names/deep/out");
    CHECK(!llm_checkpoint_newest(out), "no folder, no checkpoint");
    llm_checkpoint_save(out, 0, &m, &o, NULL, NULL, 2);         /* before the first step: there are no moments */
    char *dir = llm_checkpoint_newest(out);
    llm_json_free(llm_checkpoint_resume(dir, &m, &o, NULL));
    CHECK(path_ends_with(dir, "checkpoint-0") && o.state.step == 0 && !o.m, "checkpoint 0");
    llm_release(dir);
    llm_checkpoint_save(out, 9, &m, &o, NULL, NULL, 2);
    llm_checkpoint_save(out, 10, &m, &o, NULL, NULL, 2);
    CHECK(llm_exists(in_scratch("names/deep/out/checkpoint-9")) &&
          !llm_exists(in_scratch("names/deep/out/checkpoint-0")), "keeps two");
    llm_checkpoint_save(out, 10, &m, &o, NULL, NULL, 2);        /* the same step again: a name that never existed */
    dir = llm_checkpoint_newest(out);
    CHECK(path_ends_with(dir, "checkpoint-10-2") && llm_exists(in_scratch("names/deep/out/checkpoint-10")) &&
          entries(out) == 2, "%s", dir);
    llm_release(dir);
    make_dir(in_scratch("names/deep/out/checkpoint-99.tmp"));   /* a killed save */
    make_dir(in_scratch("names/deep/out/checkpoint-98"));       /* somebody's copy, not finished */
    make_dir(in_scratch("names/deep/out/checkpoint-best"));     /* somebody's own folder */
    dir = llm_checkpoint_newest(out);
    CHECK(path_ends_with(dir, "checkpoint-10-2"), "%s", dir);
    llm_release(dir);
    llm_checkpoint_save(out, 100, &m, &o, NULL, NULL, 0);
    CHECK(entries(out) == 5 && !llm_exists(in_scratch("names/deep/out/checkpoint-99.tmp")),
          "keep 0 removes nothing but leftovers");
    write_text(in_scratch("names/deep/out/notes.txt"), "mine");
    llm_result_save(out, &m, NULL);
    CHECK(llm_result_exists(out), "result");
    make_dir(in_scratch("names/deep/away"));
    write_text(in_scratch("names/deep/away/config.json"), "mine too");
    CHECK(!symlink("../away", in_scratch("names/deep/out/checkpoint-7")), "a link");
    write_text(in_scratch("names/deep/out/checkpoint-100/notes.txt"), "mine as well");
    llm_checkpoints_clear(out);
    CHECK(llm_result_exists(out) && !llm_checkpoint_newest(out), "cleared, but the result stays");
    CHECK(llm_exists(in_scratch("names/deep/out/notes.txt")) && llm_exists(in_scratch("names/deep/out/checkpoint-best")),
          "and the user's files");
    CHECK(llm_exists(in_scratch("names/deep/away/config.json")), "and what a link leads to");
    CHECK(llm_exists(in_scratch("names/deep/out/checkpoint-100/notes.txt")) && entries(in_scratch("names/deep/out/checkpoint-100")) == 1,
          "and notes in a checkpoint");
    for (int step = 1; step < 4; step++) llm_checkpoint_save(out, step, &m, &o, NULL, NULL, 2);
    dir = llm_checkpoint_newest(out);
    CHECK(dir && path_ends_with(dir, "checkpoint-3") && llm_exists(in_scratch("names/deep/out/checkpoint-2")) &&
          !llm_exists(in_scratch("names/deep/out/checkpoint-1")), "they do not count as one of those to keep");
    llm_release(dir);
    unlink(in_scratch("names/deep/out/checkpoint-3/trainer_state.json"));
    dir = llm_checkpoint_newest(out);
    CHECK(dir && path_ends_with(dir, "checkpoint-2"), "one without its trainer_state.json is none");
    llm_release(dir);
    unlink(in_scratch("names/deep/out/checkpoint-2/optimizer.safetensors"));
    CHECK(!llm_checkpoint_newest(out), "nor one without its moments");
    make_dir(in_scratch("names/deep/out/checkpoint-500"));      /* as transformers' Trainer leaves them */
    write_text(in_scratch("names/deep/out/checkpoint-500/config.json"), "mine");
    write_text(in_scratch("names/deep/out/checkpoint-500/trainer_state.json"), "mine");
    write_text(in_scratch("names/deep/out/checkpoint-500/optimizer.pt"), "mine");
    for (int step = 4; step < 7; step++) llm_checkpoint_save(out, step, &m, &o, NULL, NULL, 1);
    dir = llm_checkpoint_newest(out);
    CHECK(dir && path_ends_with(dir, "checkpoint-6") && !llm_exists(in_scratch("names/deep/out/checkpoint-5")),
          "another program's do not count");
    llm_release(dir);
    make_dir(in_scratch("names/deep/out/checkpoint-8.tmp"));
    write_text(in_scratch("names/deep/out/checkpoint-8.tmp/config.json"), "half");
    llm_checkpoints_tidy(out);
    CHECK(!llm_exists(in_scratch("names/deep/out/checkpoint-8.tmp")) &&
          llm_exists(in_scratch("names/deep/out/checkpoint-6")), "tidied: halves go, the others stay");
    llm_checkpoints_clear(out);
    CHECK(!llm_exists(in_scratch("names/deep/out/checkpoint-6")) &&
          entries(in_scratch("names/deep/out/checkpoint-500")) == 3, "cleared, but for what is not ours");
    llm_adamw_free(&o, &m);
    llm_model_free(&m);
}
/* A child saves checkpoints and results as fast as it can and is killed at random moments. What it leaves must load. */
static void test_kill(void) {
    const char *out = in_scratch("kill");
    llm_config c = tiny_config(0);
    llm_model m, n;
    llm_adamw o = llm_adamw_defaults(), p = llm_adamw_defaults();
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 9);
    llm_model_train(&m);
    adamw_allocate(&o, m.ops, &(learner){.size = m.size});
    m.data[0] = m.data[m.size - 16] = 0;
    m.c.bos = 0;
    double begin = llm_now();           /* disks differ: how long does one round take here? */
    llm_checkpoint_save(out, 0, &m, &o, NULL, NULL, 2);
    llm_result_save(out, &m, NULL);
    double round = llm_now() - begin;
    llm_rng r = llm_rng_seed(3, 3);
    int found = 0, results = 0, kills = llm_max(10, llm_min(100, (int)(5 / round)));
    long last = -1;
    for (int i = 0; i < kills; i++) {
        pid_t child = fork();
        if (!child) {
            char *dir = llm_checkpoint_newest(out);
            checkpoint_id at = {0, 0};
            if (dir) checkpoint_parse(strrchr(dir, '/') + 1, &at);
            for (int step = (int)at.step + 1;; step++) {
                m.c.bos = step;
                m.data[0] = m.data[m.size - 16] = (llm_real)step;      /* first and last tensor tell the step */
                o.state.step = step;
                llm_checkpoint_save(out, step, &m, &o, NULL, NULL, 2);
                llm_result_save(out, &m, NULL);
            }
        }
        usleep((useconds_t)(1e6 * round * (0.2 + 2 * llm_rng_uniform(&r))));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        char *dir = llm_checkpoint_newest(out);
        if (dir) {
            checkpoint_id at;
            checkpoint_parse(strrchr(dir, '/') + 1, &at);
            hf_model_load(&n, dir, llm_cpu(LLM_FP32));
            llm_json_free(llm_checkpoint_resume(dir, &n, &p, NULL));
            CHECK(p.state.step == at.step && n.data[0] == (llm_real)at.step &&
                  n.data[n.size - 16] == (llm_real)at.step &&
                  at.step >= last,
                  "kill %d: checkpoint-%ld holds step %d, tensors of %g and %g, the last one was %ld", i, at.step,
                  p.state.step,
                  (double)n.data[0], (double)n.data[n.size - 16], last);
            round *= at.step == last ? 1.3 : 0.9;       /* how busy the machine is changes: one step a child, about */
            last = at.step;
            llm_adamw_free(&p, &n);
            llm_model_free(&n);
            llm_release(dir);
            found++;
        }
        bool one = true;                /* a result is there or not, but it is never a mixture */
        if (llm_result_exists(out)) {
            hf_model_load(&n, out, llm_cpu(LLM_FP32));
            llm_json *generation = llm_json_file(in_scratch("kill/generation_config.json"));
            one = n.data[0] == n.data[n.size - 16] && n.data[0] == (llm_real)n.c.bos &&
                  n.data[0] == (llm_real)llm_json_number(generation, "bos_token_id", -1);
            llm_json_free(generation);
            llm_model_free(&n);
            results++;
        }
        CHECK(one, "kill %d: a result whose files are of two steps", i);
    }
    CHECK(found == kills && last > kills / 4, "%d kills, %d checkpoints, the last of step %ld", kills, found, last);
    printf("kill -9: %d times, %d with a checkpoint (last: step %ld), %d with a result\n", kills, found, last, results);
    llm_adamw_free(&o, &m);
    llm_model_free(&m);
}
/* A disk that is full after `bytes` of a file. */
static void file_limit(rlim_t bytes) {
    struct rlimit l;
    getrlimit(RLIMIT_FSIZE, &l);
    l.rlim_cur = bytes ? bytes : l.rlim_max;
    setrlimit(RLIMIT_FSIZE, &l);
}
static void test_full_disk(void) {
    const char *out = in_scratch("full"), *weights = in_scratch("full/model.safetensors"),
        *old = in_scratch("old.safetensors");
    llm_config c = tiny_config(1);
    llm_model m;
    llm_adamw o = llm_adamw_defaults();
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 9);
    llm_model_train(&m);
    llm_result_save(out, &m, NULL);
    llm_checkpoint_save(out, 1, &m, &o, NULL, NULL, 2);
    size_t n;
    char *bytes = llm_read_file(weights, &n);
    write_file(old, bytes, n);
    llm_release(bytes);
    train_some(&m, &o, 0, 1);
    signal(SIGXFSZ, SIG_IGN);
    static const rlim_t limit[] = {1, 100, 5000};
    for (int i = 0; i < 3; i++) {
        file_limit(limit[i]);
        CHECK_DIES(llm_checkpoint_save(out, 2, &m, &o, NULL, NULL, 2), "free some space");
        CHECK_DIES(llm_result_save(out, &m, NULL), "free some space");
        CHECK_DIES(llm_model_save(&m, in_scratch("full/new")), "cannot write");
        file_limit(0);
        char *dir = llm_checkpoint_newest(out);
        CHECK(dir && path_ends_with(dir, "checkpoint-1") && !llm_exists(in_scratch("full/checkpoint-2")), "full disk: %s",
              dir ? dir : "none");
        llm_release(dir);
        CHECK(llm_result_exists(out) && same_file(weights, old), "full disk: the old result is damaged");
        CHECK(!llm_result_exists(in_scratch("full/new")) && !llm_exists(in_scratch("full/new/model.safetensors")),
              "half a model was left");
    }
    llm_checkpoint_save(out, 2, &m, &o, NULL, NULL, 2);         /* with room again, all is well */
    llm_result_save(out, &m, NULL);
    CHECK(llm_exists(in_scratch("full/checkpoint-2/config.json")) && !same_file(weights, old) &&
          !llm_exists(in_scratch("full/result.tmp")),
          "after the disk was full");
    write_text(in_scratch("file"), "");
    CHECK_DIES(llm_checkpoint_save(in_scratch("file"), 1, &m, &o, NULL, NULL, 2), "is not a folder");
    CHECK_DIES(llm_model_save(&m, in_scratch("file/x")), "cannot create folder");
    llm_adamw_free(&o, &m);
    llm_model_free(&m);
}

/* ---- the border: llm.h reads what it wrote, to the byte; everything else it leaves to tools/hf.h ---- */

static void replace_in(const char *path, const char *old, const char *fresh) {
    char *text = llm_read_file(path, NULL), *at = strstr(text, old);
    CHECK(at, "%s lacks %s", path, old);
    llm_writer w = llm_write_begin(path);
    if (at) llm_write_text(&w, "%.*s%s%s", (int)(at - text), text, fresh, at + strlen(old));
    llm_write_done(&w);
    llm_release(text);
}
static void test_border_config(void) {
    static const char *const foreign_folder[] = {"gpt2-tiny", "gpt2-bare", "llama-tiny", "llama-untied"};
    static const char *const changed[][2] = {
        {"\"silu\"", "\"gelu\""}, {"\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"linear\"}"},
        {"{\n", "{\n  \"sliding_window\": 8,\n"}, {"\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": 0.000001"},
        {"  \"mlp_bias\": false,\n", ""}, {"ForCausalLM", "LMHeadModel"}, {"}\n", "}"}};
    llm_model m;
    for (volatile int i = 0; i < 4; i++) {
        char dir[64];
        snprintf(dir, sizeof dir, "test/data/models/%s", foreign_folder[i]);
        CHECK_DIES(llm_model_load(&m, dir, llm_cpu(LLM_FP32)), "tools/hf.h");
    }
    const char *path = in_scratch("config.json");
    llm_config c = tiny_config(1);
    for (volatile size_t i = 0; i < sizeof changed / sizeof *changed; i++) {
        config_save(&c);
        replace_in(path, changed[i][0], changed[i][1]);
        CHECK_DIES(llm_config_load(scratch), "tools/hf.h");
    }
    config_save(&c);
    bool is_double = sizeof(llm_real) == 8;     /* the other build's folder is ours too */
    replace_in(path, is_double ? "float64" : "float32", is_double ? "float32" : "float64");
    CHECK(llm_config_load(scratch).V == c.V, "the other precision");
    replace_in(path, is_double ? "float32" : "float64", "bfloat16");
    CHECK_DIES(llm_config_load(scratch), "tools/hf.h");
    const char *dir = in_scratch("model-1"), *shards = in_scratch("border");
    llm_model_load(&m, dir, llm_cpu(LLM_FP32));
    llm_model_save(&m, shards);
    llm_model_free(&m);
    unlink(in_scratch("border/model.safetensors"));     /* it may lie there in shards */
    CHECK_DIES(llm_model_load(&m, shards, llm_cpu(LLM_FP32)), "tools/hf.h");
}
/* The header of the weights must be ours, the file as long as it says; F32 or F64, whichever build wrote it. */
static void test_border_weights(void) {
    const char *dir = in_scratch("model-1"), *changed = in_scratch("changed");
    const char *path = in_scratch("changed/model.safetensors");
    static const float noise[4];
    file_tensor extra = {.name = "model.q_norm.weight", .dtype = "F32", .dims = 1, .shape = {4}, .data = noise};
    file_tensor tensor[64];
    llm_model m, n;
    hf_safetensors s;
    size_t size;
    rewrite(dir, changed, keep, &extra);
    CHECK_DIES(llm_model_load(&m, changed, llm_cpu(LLM_FP32)), "holds 1 tensors that the model lacks");
    rewrite(dir, changed, drop_head, NULL);
    CHECK_DIES(llm_model_load(&m, changed, llm_cpu(LLM_FP32)), "\"lm_head.weight\" is not there or not [37,16]");
    rewrite(dir, changed, keep, NULL);
    llm_model_load(&m, changed, llm_cpu(LLM_FP32));
    hf_safetensors_open(&s, path);
    for (int i = 0; i < s.count; i++) {
        hf_tensor_info *t = &s.tensor[i];
        double *x = llm_alloc(hf_tensor_count(t), sizeof *x);
        hf_safetensors_read(&s, t, x);
        tensor[i] = (file_tensor){.name = t->name, .dtype = "F64", .dims = t->dims, .data = x};
        memcpy(tensor[i].shape, t->shape, sizeof t->shape);
    }
    write_tensors(path, tensor, s.count);
    for (int i = 0; i < s.count; i++) llm_release((void *)tensor[i].data);
    hf_safetensors_close(&s);
    llm_model_load(&n, changed, llm_cpu(LLM_FP32));
    CHECK(same_weights(&m, &n), "weights in F64");
    llm_model_free(&m);
    llm_model_free(&n);
    char *text = llm_read_file(path, &size);
    write_file(path, text, size - 1);
    CHECK_DIES(llm_model_load(&m, changed, llm_cpu(LLM_FP32)), "tools/hf.h");
    llm_release(text);
}
static void test_border_tokenizer(void) {
    static const char *const foreign_folder[] = {"digits", "gpt2pairs", "gpt2re", "llama3re", "qwen2", "spm",
                                                 "spm-metaspace"};
    static const char *const changed[][3] = {
        {"tokenizer.json", "\"use_regex\": true", "\"use_regex\": false"},
        {"tokenizer.json", "\"normalizer\": null", "\"normalizer\": {\"type\": \"NFC\"}"},
        {"tokenizer.json", "\"ignore_merges\": false", "\"ignore_merges\": true"},
        {"tokenizer.json", "\"t h\"", "\"h t\""}, {"tokenizer.json", "\"t h\"", "7"}, {"tokenizer.json", "]}\n}", "]} }"},
        {"tokenizer_config.json", "\"<|pad|>\"", "null"}, {"tokenizer_config.json", "assistant", "model"}};
    llm_tokenizer t, u;
    const char *dir = in_scratch("tokenizer");
    for (volatile int i = 0; i < 7; i++) {
        char folder[64];
        snprintf(folder, sizeof folder, "test/data/tok/%s", foreign_folder[i]);
        CHECK_DIES(llm_tokenizer_load(&u, folder), "tools/hf.h");
    }
    const char *text = "the other then, the thing there: 12 of these";
    llm_tokenizer_train(&t, text, strlen(text), 280, true);
    for (volatile size_t i = 0; i < sizeof changed / sizeof *changed; i++) {
        char path[300];
        llm_tokenizer_save(&t, dir);
        snprintf(path, sizeof path, "%s/%s", dir, changed[i][0]);
        replace_in(path, changed[i][1], changed[i][2]);
        CHECK_DIES(llm_tokenizer_load(&u, dir), "tools/hf.h");
    }
    llm_tokenizer_save(&t, dir);
    write_text(in_scratch("tokenizer/generation_config.json"), "{'eos_token_id':[5,6]}");
    llm_tokenizer_load(&u, dir);
    CHECK(u.stops == 4 && u.stop[2] == 5 && u.stop[3] == 6 && u.hash == t.hash, "%d stops", u.stops);
    write_text(in_scratch("tokenizer/chat_template.jinja"), "[INST]");
    CHECK_DIES(llm_tokenizer_load(&u, dir), "tools/hf.h");
    llm_tokenizer_free(&t);
}

/* No byte of our tokenizer.json may change; a changed config.json is refused or is another config of ours. */
static void test_border_bytes(void) {
    const char *dir = in_scratch("tokenizer"), *text = "the other then, the thing there: 12 of these";
    const char *path[2] = {in_scratch("tokenizer/tokenizer.json"), in_scratch("config.json")};
    llm_tokenizer t;
    llm_config c = tiny_config(4);
    llm_rng r = llm_rng_seed(5, 0);
    llm_tokenizer_train(&t, text, strlen(text), 280, false);
    remove_tree(dir);
    llm_tokenizer_save(&t, dir);
    llm_tokenizer_free(&t);
    config_save(&c);
    volatile int passed = 0, refused = 0;
    for (volatile int round = 0; round < 600; round++) {
        volatile int file = round % 2;
        size_t n;
        char *good = llm_read_file(path[file], &n), *bad = llm_read_file(path[file], NULL);
        bad[llm_rng_below(&r, (int)n)] ^= (char)(1 << llm_rng_below(&r, 8));
        write_file(path[file], bad, n);
        llm_on_death = check_on_death;
        if (!setjmp(check_jump)) {
            if (file) llm_config_load(scratch);
            else llm_tokenizer_load(&t, dir);
            passed += !file;
        } else refused++;
        llm_on_death = NULL;
        write_file(path[file], good, n);
        llm_release(good);
        llm_release(bad);
    }
    CHECK(passed == 0, "%d changed tokenizers were taken for ours", passed);
    CHECK(refused >= 500, "only %d of 600 changed files were refused", refused);
}

int main(void) {
    const char *base = getenv("TMPDIR");                /* in memory where we can: thousands of files are flushed */
    if (!base) base = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
    snprintf(scratch, sizeof scratch, "%s/test_files.XXXXXX", base);
    if (!mkdtemp(scratch)) { printf("cannot make %s\n", scratch); return 1; }
    llm_threads(1);                     /* tiny models: more threads would only wait for each other */
    test_kill();                        /* first: a process that has used OpenMP must not fork */
    test_malformed();
    test_header_length();
    test_damage();
    test_types();
    test_written_bytes();
    test_shards();
    test_config_defaults();
    test_config_families();
    test_config_stretched();
    test_config_rope();
    test_config_refusals();
    test_config_round_trip();
    test_schedule();
    test_model_round_trip(fake_device(LLM_FP32));
    test_model_round_trip(llm_cpu(LLM_FP32));
    test_made();
    test_written();
    test_model_folders();
    test_tied(in_scratch("model-0"), "transformer.wte.weight");
    test_tied("test/data/models/llama-tiny", "model.embed_tokens.weight");
    test_fixture_folders();
    test_border_config();
    test_border_weights();
    test_border_tokenizer();
    test_border_bytes();
    test_adamw(0);
    test_adamw(1);
    test_adamw_refusals();
    test_adamw_teaching();
    test_adamw_skip();
    test_resume(llm_cpu(LLM_FP32), false);
    test_resume(llm_cpu(LLM_FP32), true);
    test_resume(fake_device(LLM_FP32), false);
    test_moment_names();
    test_resume_refusals();
    test_checkpoint_names();
    test_full_disk();
    remove_tree(scratch);
    return checks_done();
}
