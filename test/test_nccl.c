/* test_nccl.c: many ranks by llm_nccl (llm_cuda.cuh), started as torchrun would. The ranks are processes of this
   machine, each with an emulated GPU of its own (test/cuda_on_cpu), or a real one. The program starts itself once for
   each rank:

     build/test_nccl               everything
     build/test_nccl rows 2        one case with so many ranks: what they say is shown */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "check.h"
#include "tiny_models.h"
#include <glob.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { MOST = 4 };                      /* ranks */
static const llm_ops *op;               /* the GPU's table */

/* ---- what a rank does: the rows of llm_ranks ---- */

static llm_ranks *join(void) {          /* the test hears all ranks, not rank 0 alone */
    const int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    llm_ranks *r = llm_nccl();
    if (!r) {
        printf("alone\n");
        exit(0);
    }
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    op = llm_cuda(LLM_FP32);
    return r;
}
/* Whole numbers, whose sums are exact in any order. */
static llm_real part_of(int rank, size_t i) { return (llm_real)(1000 * rank + (int)(i % 997)); }

static llm_real *filled(size_t n, int rank) {
    llm_real *host = llm_alloc(n, sizeof *host);
    for (size_t i = 0; i < n; i++) host[i] = part_of(rank, i);
    return host;
}
static llm_real *device_filled(size_t n, int rank) {
    llm_real *host = filled(n, rank), *device = op->alloc(n * sizeof *host);
    op->upload(device, host, n * sizeof *host);
    llm_release(host);
    return device;
}
/* Is x[i] = part_of(rank, i) * times + sum over the data ranks (ranks 0: none) of theirs? */
static bool is(const llm_real *device, size_t n, int rank, int times, int first, int step, int ranks) {
    llm_real *x = llm_alloc(n, sizeof *x);
    bool right = true;
    op->download(x, device, n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        llm_real want = times * part_of(rank, i);
        for (int k = 0; k < ranks; k++) want += part_of(first + k * step, i);
        right &= x[i] == want;
    }
    llm_release(x);
    return right;
}
static void check_sum(llm_ranks *r, size_t n, int root, bool add) {
    llm_real *acc = device_filled(n, 9), *part = device_filled(n, r->rank);
    const bool mine = root < 0 || root == r->data;
    const double before = r->sent, bytes = n * sizeof *acc;
    r->sum(acc, part, n, root, add);
    r->wait();
    CHECK(is(acc, n, 9, mine ? add : 1, r->tensor, r->tensors, mine ? r->datas : 0),
          "rank %d: sum of %zu, root %d, add %d", r->rank, n, root, add);
    CHECK(is(part, n, r->rank, 1, 0, 0, 0), "rank %d: a sum of %zu, root %d, changes its part", r->rank, n, root);
    const double want = root < 0 ? 2 * bytes * (r->datas - 1) / r->datas : mine ? 0 : bytes;
    CHECK(r->sent - before == want, "rank %d: %g bytes sent, not %g", r->rank, r->sent - before, want);
    op->release(acc);
    op->release(part);
}
static void check_spread(llm_ranks *r, size_t n, int root, bool in_place) {
    const bool mine = root == r->data;
    llm_real *own = device_filled(n, r->rank), *x = in_place && mine ? own : device_filled(n, 8);
    r->spread(x, mine ? own : NULL, n, root);
    r->wait();
    CHECK(is(x, n, root * r->tensors + r->tensor, 1, 0, 0, 0), "rank %d: spread of %zu from %d", r->rank, n, root);
    if (x != own) op->release(x);
    op->release(own);
}
static void check_all_sum(llm_ranks *r, size_t n) {
    const int first = r->data * r->tensors;
    llm_real *x = device_filled(n, r->rank);
    r->all_sum(x, n, sizeof *x);
    r->wait();
    CHECK(is(x, n, 0, 0, first, 1, r->tensors), "rank %d: sum over a layer's ranks", r->rank);
    uint16_t *half = llm_alloc(n, sizeof *half), *there = op->alloc(n * sizeof *half);
    for (size_t i = 0; i < n; i++) half[i] = real_to_bf16((llm_real)(r->tensor + 1) * (i % 8));
    op->upload(there, half, n * sizeof *half);
    r->all_sum(there, n, sizeof *half);
    r->wait();
    op->download(half, there, n * sizeof *half);
    const int all = r->tensors * (r->tensors + 1) / 2;
    bool right = true;
    for (size_t i = 0; i < n; i++) right &= bf16_to_real(half[i]) == (llm_real)all * (i % 8);
    CHECK(right, "rank %d: sum in bf16 over a layer's ranks", r->rank);
    llm_release(half);
    op->release(x);
    op->release(there);
}
static void check_host(llm_ranks *r, size_t bytes) {
    uint8_t *all = llm_alloc(r->size, bytes), *own = all + r->rank * bytes;
    for (size_t i = 0; i < bytes; i++) own[i] = (uint8_t)(r->rank * 31 + i % 251);
    const double before = r->sent;
    r->gather(all, bytes);
    CHECK(r->sent - before == (r->size - 1.) * bytes, "rank %d: gather sent %g", r->rank, r->sent - before);
    bool right = true;
    for (int k = 0; k < r->size; k++)
        for (size_t i = 0; i < bytes; i++) right &= all[k * bytes + i] == (uint8_t)(k * 31 + i % 251);
    CHECK(right, "rank %d: gather of %zu bytes", r->rank, bytes);
    for (int root = 0; root < r->size; root++) {
        for (size_t i = 0; i < bytes; i++) all[i] = (uint8_t)(r->rank * 31 + i % 251);
        r->share(all, bytes, root);
        right = true;
        for (size_t i = 0; i < bytes; i++) right &= all[i] == (uint8_t)(root * 31 + i % 251);
        CHECK(right, "rank %d: %zu bytes shared by %d", r->rank, bytes, root);
    }
    llm_release(all);
}
/* As in a backward pass: slices leave one after the other, and each is reused after a wait. */
static void check_buckets(llm_ranks *r) {
    enum { SLICES = 6, EACH = 240 };
    llm_real *slot[2] = {op->alloc(EACH * sizeof(llm_real)), op->alloc(EACH * sizeof(llm_real))};
    llm_real *acc = device_filled(SLICES * EACH, 0);
    for (int s = 0; s < SLICES; s++) {
        llm_real *host = filled(EACH, r->rank + s);
        if (s >= 2) r->wait();
        op->upload(slot[s % 2], host, EACH * sizeof *host);
        r->sum(acc + s * EACH, slot[s % 2], EACH, -1, false);
        llm_release(host);
    }
    r->wait();
    for (int s = 0; s < SLICES; s++)
        CHECK(is(acc + s * EACH, EACH, 0, 0, r->tensor + s, r->tensors, r->datas), "rank %d: slice %d", r->rank, s);
    op->release(acc);
    op->release(slot[0]);
    op->release(slot[1]);
}
static void check_rows(llm_ranks *r) {
    for (int root = -1; root < r->datas; root++)
        for (int add = 0; add < 2; add++) {
            check_sum(r, 1, root, add);
            check_sum(r, 1009, root, add);
        }
    for (int root = 0; root < r->datas; root++) check_spread(r, 777, root, root % 2);
    check_all_sum(r, 501);
    check_buckets(r);
}
static void no_wait(void) {}
static void case_rows(void) {
    llm_ranks *r = join();
    if (getenv("NO_WAIT")) r->wait = no_wait;   /* a planted fault */
    CHECK(!strcmp(r->engine, "NCCL") && r->datas == r->size && r->tensors == 1, "the team's sizes");
    check_rows(r);
    check_host(r, 1);
    check_host(r, 1000);
    if (r->size == 2) {                 /* more than the room through which it goes */
        check_sum(r, (4 << 20) + 7, -1, true);
        check_host(r, (9 << 20) + 3);
    }
    for (int tensors = 2; tensors <= r->size; tensors *= 2) {
        r->tensors = tensors, r->datas = r->size / tensors, r->data = r->rank / tensors, r->tensor = r->rank % tensors;
        r->split(tensors);
        check_rows(r);
    }
    r->close();
}

static void case_meet(void) {
    llm_ranks *r = join();
    check_host(r, 1000);
    r->close();
}

/* ---- whole training steps: the micro-batches of a step dealt to the ranks, ZeRO 0 to 3 ---- */

enum { B = 2, T = 8, STEPS = 2, MICROS = 4 };

static void one_step(llm_model *m, llm_adamw *o, int step) {
    llm_real d[B * T];
    for (int n = 0; n < B * T; n++) d[n] = (llm_real)-1 / (MICROS * B * T);
    for (int i = llm_team->data; i < MICROS; i += llm_team->datas) {
        llm_batch b = random_batch(B, T, m->c.V, true, (uint64_t)(100 * step + i));
        llm_forward_backward(m, &b, d, NULL);
        llm_batch_free(&b);
    }
    llm_adamw_step(o, m, 0.02);
}
/* The weights after STEPS steps: one rank alone leaves them in a file that begins with REFERENCE, others compare. */
static void check_training(const char *what, llm_config c, bool lora, double bound) {
    const bool alone = llm_team->size == 1;
    char *path = llm_format("%s.%s", getenv("REFERENCE"), what);
    FILE *reference = fopen(path, alone ? "wb" : "rb");
    CHECK(reference, "%s: %s", path, strerror(errno));
    llm_model m = build(c, op, 7);
    if (lora) llm_lora_attach(&m, 2, 4, "all", NULL, 3);
    llm_model_train(&m);
    llm_adamw o = llm_adamw_defaults();
    o.eps = 1e-4;                       /* a gradient that is but rounding (GPT-2's key bias) must not become a step */
    for (int s = 0; s < STEPS; s++) one_step(&m, &o, s);
    const llm_param *p = lora ? m.lora->param : m.param;
    for (int i = 0; i < (lora ? m.lora->params : m.params); i++) {
        const size_t n = p[i].size;
        llm_real *got = param_read(op, &p[i]), *want = llm_alloc(n, sizeof *want);
        if (alone) CHECK(fwrite(got, sizeof *got, n, reference) == n, "%s", path);
        else {
            CHECK(fread(want, sizeof *want, n, reference) == n, "%s is short", path);
            CHECK_SMALL(relative_error(got, want, n), bound, "rank %d, ZeRO %d: %s: %s", llm_rank(), llm_team->zero,
                        what, p[i].name);
        }
        llm_release_all(got, want);
    }
    fclose(reference);
    llm_release(path);
    llm_adamw_free(&o, &m);
    llm_model_free(&m);
}
static void case_train(void) {
    llm_ranks *r = join();
    if (getenv("NO_WAIT")) r->wait = no_wait;
    const int zero = atoi(getenv("ZERO"));
    const bool alone = r->size == 1;
    llm_team_set(zero, 1);
    check_training("gpt2", tiny_gpt2(), false, 1e-5);
    if (alone || zero % 2) check_training("llama", tiny_llama(false, 2, true), false, 1e-5);
    if (alone || zero >= 2) check_training("adapters", tiny_gpt2(), true, 1e-5);
    op = llm_cuda(LLM_BF16);            /* where the last bit of a sum may be a weight's last bit of 8 */
    if (alone || zero == 3) check_training("bf16", tiny_gpt2(), false, 1e-2);
    r->close();
}

/* ---- what goes wrong ---- */

static void case_dies(void) {           /* one has an error */
    llm_ranks *r = join();
    if (r->rank == r->size - 1) llm_die("another disk", "the disk is full");
    check_host(r, 10);
}
static void case_killed(void) {
    llm_ranks *r = join();
    check_host(r, 10);
    if (r->rank == r->size - 1) raise(SIGKILL);
    check_host(r, 10);
}
static void case_leads_killed(void) {
    llm_ranks *r = join();
    check_host(r, 10);
    if (r->rank == 0) raise(SIGKILL);
    check_host(r, 10);
}
static void case_hangs(void) {
    llm_ranks *r = join();
    llm_real *x = device_filled(10, 0), y[10];
    r->timeout = 2;
    if (r->rank == r->size - 1) sleep(60);
    r->sum(x, x, 10, -1, false);
    r->wait();
    op->download(y, x, sizeof y);       /* the host waits here */
}
static void case_order(void) {          /* the ranks ask in different orders */
    llm_ranks *r = join();
    llm_real *x = device_filled(10, 0);
    if (r->rank) r->sum(x, x, 10, -1, false);
    r->spread(x, x, 10, 0);
    if (!r->rank) r->sum(x, x, 10, -1, false);
    r->wait();
    op->wait();
}
static const struct { const char *name; void (*run)(void); } cases[] = {
    {"rows", case_rows}, {"meet", case_meet}, {"train", case_train}, {"dies", case_dies}, {"killed", case_killed},
    {"leads_killed", case_leads_killed}, {"hangs", case_hangs}, {"order", case_order}};

/* ---- the ranks are started, and heard ---- */

static struct { int passed, failed, code[MOST + 1]; double seconds; char said[20000]; } told;

static int free_port(void) {
    const int s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t size = sizeof a;
    if (bind(s, (struct sockaddr *)&a, sizeof a) || getsockname(s, (struct sockaddr *)&a, &size)) exit(1);
    close(s);
    return ntohs(a.sin_port);
}
/* One process; environment: "NAME=value ..."; NAME= takes it away; 1:NAME=value is for rank 1. */
static pid_t start(const char *name, int rank, int ranks, int port, const char *environment, int out) {
    fflush(stdout);
    const pid_t pid = fork();
    if (pid) return pid;
    const char *const variable[] = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT"};
    const int value[] = {rank, ranks, rank, port};
    char text[512];
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "%d", value[i]);
        setenv(variable[i], text, 1);
    }
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    snprintf(text, sizeof text, "%s", environment);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        char *equals = strchr(word, '='), *colon = strchr(word, ':');
        *equals = 0;
        if (colon && colon < equals) {
            if (atoi(word) != rank) continue;
            word = colon + 1;
        }
        if (equals[1]) setenv(word, equals + 1, 1);
        else unsetenv(word);
    }
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execl("/proc/self/exe", "test_nccl", "rank", name, (char *)NULL);
    _exit(127);
}
/* All end within a minute, or are ended. What they said is read from a file: nobody waits at a full pipe. */
static void end(const pid_t *pid, int n, FILE *heard) {
    const double begin = llm_now();
    for (int left = n, i = 0; left;) {
        int status;
        const pid_t who = waitpid(-1, &status, WNOHANG);
        if (who <= 0) {
            if (llm_now() - begin > 60) for (i = 0; i < n; i++) kill(pid[i], SIGKILL);
            usleep(2000);
            continue;
        }
        for (i = 0; i < n; i++)
            if (pid[i] == who) told.code[i] = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), left--;
    }
    told.seconds = llm_now() - begin;
    char left_over[64];                 /* the emulation's shared memory, of ranks that died before they had it */
    glob_t files = {0};
    for (int i = 0; i < n; i++) {
        snprintf(left_over, sizeof left_over, "/dev/shm/cuda_on_cpu-%d-*", (int)pid[i]);
        glob(left_over, i ? GLOB_APPEND : 0, NULL, &files);
    }
    for (size_t i = 0; i < files.gl_pathc; i++) unlink(files.gl_pathv[i]);
    globfree(&files);
    rewind(heard);
    const size_t size = fread(told.said, 1, sizeof told.said - 1, heard);
    told.said[size] = 0;
    for (const char *s = told.said; (s = strstr(s, "counted ")); s++) {
        int p, f;
        if (sscanf(s, "counted %d %d", &p, &f) == 2) told.passed += p, told.failed += f;
    }
    fclose(heard);
}
static bool show;
static void run(const char *name, int ranks, const char *environment) {
    pid_t pid[MOST];
    FILE *heard = tmpfile();
    const int port = free_port() - 1;
    memset(&told, 0, sizeof told);
    for (int i = 0; i < ranks; i++) pid[i] = start(name, i, ranks, port, environment, fileno(heard));
    end(pid, ranks, heard);
    if (show) printf("%s\nexit codes:", told.said);
    for (int i = 0; show && i < ranks; i++) printf(" %d%s", told.code[i], i + 1 < ranks ? "" : "\n");
}
/* A case in which all is well. */
static void passes(const char *name, int ranks, const char *environment) {
    run(name, ranks, environment);
    bool ended = true;
    for (int i = 0; i < ranks; i++) ended &= told.code[i] == 0;
    CHECK(ended && told.passed && !told.failed, "%s, %d ranks, %s:\n%s", name, ranks, environment, told.said);
    checks_passed += told.passed;
    checks_failed += told.failed;
}
/* A case in which all end soon, and one says `text`; seconds: at most. */
static void fails(const char *name, int ranks, const char *environment, const char *text, double seconds) {
    run(name, ranks, environment);
    bool ended = true;
    for (int i = 0; i < ranks; i++) ended &= told.code[i] != 0;
    CHECK(ended && strstr(told.said, text), "%s, %d ranks, %s: no '%s':\n%s", name, ranks, environment, text,
          told.said);
    CHECK(told.seconds < seconds, "%s, %d ranks: ended after %.1f s", name, ranks, told.seconds);
}
/* Somebody else calls rank 0 first, and says something of his own. */
static void check_stranger(void) {
    FILE *heard = tmpfile();
    const int port = free_port() - 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(port + 1))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    static const char says[] = "GET / HTTP/1.1\r\nHost: of a quite different kind\r\n\r\n";
    pid_t pid[2];
    memset(&told, 0, sizeof told);
    pid[0] = start("meet", 0, 2, port, "", fileno(heard));
    int s;
    do {
        usleep(2000);
        s = socket(AF_INET, SOCK_STREAM, 0);
    } while (connect(s, (struct sockaddr *)&a, sizeof a) && !close(s));
    CHECK(send(s, says, sizeof says, MSG_NOSIGNAL) == sizeof says, "a stranger is not heard");
    pid[1] = start("meet", 1, 2, port, "", fileno(heard));
    end(pid, 2, heard);
    close(s);
    CHECK(told.code[0] == 0 && told.code[1] == 0 && told.passed && !told.failed, "a stranger disturbs:\n%s",
          told.said);
}
static void check_all_training(void) {
    static const char *const files[] = {"gpt2", "llama", "adapters", "bf16"};
    char folder[] = "/tmp/test_nccl.XXXXXX", text[200];
    if (!mkdtemp(folder)) exit(1);
    snprintf(text, sizeof text, "REFERENCE=%s/of ZERO=0", folder);
    passes("train", 1, text);
    for (int zero = 0; zero <= 3; zero++) {
        snprintf(text, sizeof text, "REFERENCE=%s/of ZERO=%d CUDA_CPU_ASYNC=1", folder, zero);
        passes("train", 2, text);
        if (zero == 3) passes("train", 4, text);
    }
    told.failed = 0;
    for (int seed = 1; seed <= 8 && !told.failed; seed++) {     /* in some orders of the streams all comes out right */
        snprintf(text, sizeof text, "REFERENCE=%s/of ZERO=1 CUDA_CPU_ASYNC=1 CUDA_CPU_SEED=%d NO_WAIT=1", folder, seed);
        run("train", 2, text);
    }
    CHECK(told.failed > 0, "nobody saw that training does not wait");
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "%s/of.%s", folder, files[i]);
        unlink(text);
    }
    rmdir(folder);
}
static void check_meeting(void) {
    passes("meet", 2, "MASTER_ADDR=localhost");
    const int six = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (six >= 0 && !bind(six, (struct sockaddr *)&here, sizeof here)) passes("meet", 2, "MASTER_ADDR=::1");
    else printf("SKIP: IPv6: there is none here\n");
    if (six >= 0) close(six);
    check_stranger();
    run("meet", 1, "RANK= WORLD_SIZE= LOCAL_RANK=");
    CHECK(told.code[0] == 0 && strstr(told.said, "alone"), "nobody has started it: %s", told.said);
    fails("meet", 2, "MASTER_ADDR=", "MASTER_ADDR is not set", 10);
    fails("meet", 2, "WORLD_SIZE=", "WORLD_SIZE is not set", 10);
    fails("meet", 2, "RANK=2", "RANK is '2', no number from 0 to 1", 10);
    fails("meet", 2, "MASTER_PORT=x", "MASTER_PORT is 'x'", 10);
    fails("meet", 2, "MASTER_ADDR=nowhere.invalid LLM_RANK_TIMEOUT=6", "MASTER_ADDR is 'nowhere.invalid'", 10);
    fails("meet", 2, "1:RANK=0 1:LOCAL_RANK=0 LLM_RANK_TIMEOUT=2", "does not open: Address already in use", 10);
    fails("meet", 3, "2:RANK=1 2:LOCAL_RANK=1 LLM_RANK_TIMEOUT=2", "two processes are rank 1", 10);
    fails("meet", 3, "2:WORLD_SIZE=4 2:RANK=3 LLM_RANK_TIMEOUT=2", "meets rank 3 of 4", 10);
    fails("meet", 2, "WORLD_SIZE=3 LLM_RANK_TIMEOUT=2", "in 2 s (2 of 3 ranks have come, rank 2 has not)", 10);
    fails("meet", 1, "RANK=1 WORLD_SIZE=2 LLM_RANK_TIMEOUT=2", "gave no answer in 2 s (rank 0 at", 10);
    fails("meet", 3, "1:CUDA_CPU_DEVICES=0", "rank 1 of 3: there is no GPU", 10);
}
int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "rank")) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) if (!strcmp(cases[i].name, argv[2])) cases[i].run();
        printf("counted %d %d\n", checks_passed, checks_failed);
        return checks_failed != 0;
    }
    if (argc == 3) {
        show = true;
        run(argv[1], atoi(argv[2]), getenv("SET") ? getenv("SET") : "");
        return 0;
    }
    passes("rows", 2, "");
    for (int ranks = 1; ranks <= MOST; ranks *= 2) passes("rows", ranks, "CUDA_CPU_ASYNC=1");
    check_meeting();
    check_all_training();
    run("rows", 2, "CUDA_CPU_ASYNC=1 NO_WAIT=1");
    CHECK(told.failed > 0, "nobody saw that wait was missing");
    fails("dies", 4, "", "rank 3 of 4: the disk is full", 10);
    CHECK(!strstr(told.said, "has gone"), "who has said why it ends is not missed:\n%s", told.said);
    fails("killed", 4, "", "rank 3 of 4 has gone", 10);
    fails("leads_killed", 4, "", "rank 0 of 4 has gone", 10);
    fails("hangs", 2, "", "rank 0 of 2: the others gave no answer in 2 s", 10);
    fails("order", 2, "", " at ncclBroadcast", 10);        /* whoever of the two sees it first */
    fails("rows", 2, "CUDA_CPU_NCCL_ERROR=9 CUDA_CPU_ASYNC=1", "remote process exited", 10);
    fails("rows", 2, "CUDA_CPU_DEVICES=1", "Duplicate GPU", 10);
    return checks_done();
}
