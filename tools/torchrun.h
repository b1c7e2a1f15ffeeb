/* torchrun.h: how processes that torchrun has started find one another (llm_cuda.cuh, llm_nccl). Anybody else may set
   what it sets: RANK (of all processes), WORLD_SIZE (how many), LOCAL_RANK (of those on this machine), MASTER_ADDR
   (rank 0's machine), MASTER_PORT.

   Rank 0 listens one port above MASTER_PORT, at which torchrun itself listens; the others call, say who they are, and
   get what rank 0 has to hand out. The sockets stay open. Who dies closes them, without a word; the system then raises
   SIGIO in rank 0, which tells all others (a byte): so nobody waits for the dead. */
#ifndef TORCHRUN_H
#define TORCHRUN_H

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    int rank, size;
    int *peer, peers;                   /* sockets: rank 0's to each of the others, theirs to it */
    int voice;                          /* the true stderr */
} torchrun;

static const char torchrun_remedy[] =
    "torchrun, or all that it sets: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT";

static bool torchrun_started(void) { return getenv("RANK") || getenv("WORLD_SIZE") || getenv("LOCAL_RANK"); }

static const char *torchrun_text(const char *name) {
    const char *text = getenv(name);
    if (!text || !*text) llm_die(torchrun_remedy, "%s is not set, but others that torchrun sets are", name);
    return text;
}
static int torchrun_number(const char *name, int low, int high) {
    const char *text = torchrun_text(name);
    char *end;
    const long x = strtol(text, &end, 10);
    if (*end || x < low || x > high)
        llm_die(torchrun_remedy, "%s is '%s', no number from %d to %d", name, text, low, high);
    return (int)x;
}
/* team: one of these processes; it joins. */
static void torchrun_join(llm_ranks *team) {
    torchrun.size = team->size = torchrun_number("WORLD_SIZE", 1, 1 << 20);
    torchrun.rank = team->rank = torchrun_number("RANK", 0, team->size - 1);
    team->local = torchrun_number("LOCAL_RANK", 0, team->rank);
    if (getenv("LLM_RANK_TIMEOUT")) team->timeout = torchrun_number("LLM_RANK_TIMEOUT", 1, 1 << 20);
    torchrun_text("MASTER_ADDR");
    torchrun_number("MASTER_PORT", 1, 65534);
    torchrun.voice = dup(STDERR_FILENO);
    llm_team_join(team);
}

/* ---- the sockets ---- */

/* One that listens (host NULL) or has reached host; -1: none, errno says why. */
static int torchrun_socket(const char *host, const char *port, int family) {
    struct addrinfo hint, *list = NULL;
    memset(&hint, 0, sizeof hint);
    hint.ai_family = family, hint.ai_socktype = SOCK_STREAM, hint.ai_flags = host ? 0 : AI_PASSIVE;
    const int e = getaddrinfo(host, port, &hint, &list), yes = 1, no = 0;
    if (e && host) llm_die("another MASTER_ADDR", "MASTER_ADDR is '%s': %s", host, gai_strerror(e));
    int s = -1;
    for (const struct addrinfo *a = list; a && s < 0; a = a->ai_next) {
        s = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (s < 0) continue;
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        if (family == AF_INET6) setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);       /* IPv4, too */
        const bool fails = host ? connect(s, a->ai_addr, a->ai_addrlen) :
                                  bind(s, a->ai_addr, a->ai_addrlen) || listen(s, SOMAXCONN);
        if (fails) close(s), s = -1;
    }
    if (list) freeaddrinfo(list);
    return s;
}
typedef struct { char sign[8]; int rank, size; size_t bytes; } torchrun_greeting;

static bool torchrun_say(int s, const void *x, size_t bytes) {
    return send(s, x, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
}
static bool torchrun_hear(int s, void *x, size_t bytes) { return recv(s, x, bytes, MSG_WAITALL) == (ssize_t)bytes; }

/* Which rank is at the other end? Each says first who it is. -1: a stranger, or silent (rank 0 listens for 10 s). */
static int torchrun_greet(int s, size_t bytes) {
    const struct timeval soon = {10, 0};
    torchrun_greeting mine = {{'l', 'l', 'm', '.', 'h', ' ', '1', '4'}, torchrun.rank, torchrun.size, bytes}, other;
    if (torchrun.rank == 0) setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    if (!torchrun_say(s, &mine, sizeof mine) || !torchrun_hear(s, &other, sizeof other)) return -1;
    if (memcmp(other.sign, mine.sign, sizeof mine.sign) || other.bytes != bytes) return -1;
    if (other.size == mine.size && other.rank >= 0 && other.rank < mine.size) return other.rank;
    llm_die("one WORLD_SIZE for all", "rank %d of %d meets rank %d of %d", mine.rank, mine.size, other.rank,
            other.size);
}
/* Rank 0: all others, in the order in which they come. */
static void torchrun_accept(const char *port, size_t bytes, char *what, size_t room) {
    int door = torchrun_socket(NULL, port, AF_INET6), next = 1;
    if (door < 0) door = torchrun_socket(NULL, port, AF_INET);
    if (door < 0) llm_die("another MASTER_PORT", "port %s, MASTER_PORT + 1, does not open: %s", port, strerror(errno));
    for (int there = 1; there < torchrun.size;) {
        while (next < torchrun.size && torchrun.peer[next - 1] >= 0) next++;
        snprintf(what, room, "%d of %d ranks have come, rank %d has not", there, torchrun.size, next);
        const int s = accept(door, NULL, NULL), rank = s < 0 ? -1 : torchrun_greet(s, bytes);
        if (rank == 0 || (rank > 0 && torchrun.peer[rank - 1] >= 0))
            llm_die("a RANK of its own for each process", "two processes are rank %d", rank);
        if (rank > 0) torchrun.peer[rank - 1] = s, there++;
        else if (s >= 0) close(s);      /* a stranger: sent away */
    }
    close(door);
}
/* The word that the run is over. */
static void torchrun_stop(void) {
    for (int i = 0; i < torchrun.peers; i++) send(torchrun.peer[i], "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}
/* SIGIO: is it a word, or has somebody gone? Where that is rank 0, one of the others is enough to say so. */
static void torchrun_lost(int signal) {
    const int before = errno, me = torchrun.rank;
    for (int i = 0; i < torchrun.peers; i++) {
        char text[80], word;
        const ssize_t n = recv(torchrun.peer[i], &word, 1, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        const int who = me ? 0 : i + 1, length = snprintf(text, sizeof text, "error: rank %d of %d has gone\n", who,
                                                          torchrun.size);
        if (n <= 0 && me < 2 && write(torchrun.voice, text, (size_t)length) < 0) _exit(signal ? 1 : 2);
        torchrun_stop();
        _exit(1);
    }
    errno = before;
}
/* From now on: SIGIO when there is something to be heard; a machine that is silent for 9 s is dead. */
static void torchrun_listen(int s) {
    const int yes = 1, idle = 3, each = 2, times = 3;
    setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(s, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(s, IPPROTO_TCP, TCP_KEEPINTVL, &each, sizeof each);
    setsockopt(s, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
    fcntl(s, F_SETFD, FD_CLOEXEC);
    fcntl(s, F_SETOWN, getpid());
    fcntl(s, F_SETFL, O_ASYNC | O_NONBLOCK);
}
/* All ranks come together; afterwards each has rank 0's x. */
static void torchrun_meet(void *x, size_t bytes) {
    static char what[300];              /* that a rank waits for */
    const char *host = torchrun_text("MASTER_ADDR");
    char port[16];
    snprintf(port, sizeof port, "%d", torchrun_number("MASTER_PORT", 1, 65534) + 1);
    snprintf(what, sizeof what, "rank 0 at %s, port %s: MASTER_ADDR, MASTER_PORT + 1", host, port);
    llm_team_watch(what);
    const int peers = torchrun.rank ? 1 : torchrun.size - 1;
    torchrun.peer = (int *)llm_alloc((size_t)peers + 1, sizeof *torchrun.peer);
    for (int i = 0; i < peers; i++) torchrun.peer[i] = -1;
    if (torchrun.rank == 0) {
        torchrun_accept(port, bytes, what, sizeof what);
        for (int i = 0; i < peers; i++) torchrun_say(torchrun.peer[i], x, bytes);
    } else {                            /* rank 0 may not be there yet; a port may even reach itself */
        int s = -1;
        while ((s = torchrun_socket(host, port, AF_UNSPEC)) < 0 || torchrun_greet(s, bytes) != 0) {
            if (s >= 0) close(s);
            usleep(100000);
        }
        if (!torchrun_hear(s, x, bytes)) llm_die("what rank 0 says", "rank 0 has gone before all ranks had come");
        torchrun.peer[0] = s;
    }
    torchrun.peers = peers;
    struct sigaction heard;
    memset(&heard, 0, sizeof heard);
    heard.sa_handler = torchrun_lost, heard.sa_flags = SA_RESTART;
    sigaction(SIGIO, &heard, NULL);
    for (int i = 0; i < peers; i++) torchrun_listen(torchrun.peer[i]);
    torchrun_lost(SIGIO);               /* who has gone before there were signals */
    llm_team_watch(NULL);
}
/* From now on anybody may go. */
static void torchrun_leave(void) { signal(SIGIO, SIG_IGN); }

#endif
