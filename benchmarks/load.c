/* A load generator for echo servers: one thread, epoll, one outstanding request for each connection.
 *
 *   load echo HOST PORT CONNECTIONS SIZE WARMUP SECONDS SERVER_PID
 *   load hold HOST PORT CONNECTIONS
 *
 * `echo` first opens all connections and sends one checked request on each. Then it runs for WARMUP seconds that
 * are not counted and for SECONDS that are, and prints one JSON object. `hold` opens the connections in the same
 * way, prints `{"connections": N}`, and keeps them open and silent until its standard input ends.
 *
 * The load generator must never limit the result. So a request costs it one send, one recv, its share of an
 * epoll_wait and one look at the clock, and it allocates nothing while it runs. Three facts make that enough:
 *
 * - A response is complete when as many bytes came back as were sent, and nothing follows before the next request
 *   goes out. So no recv is spent to see EAGAIN.
 * - On a TCP stream a recv that returns less than was asked for has emptied the socket, and the edge-triggered
 *   epoll reports later data. So a short read ends the reading, too.
 * - The first response is compared with its request. The kernel drops the later ones uncopied (MSG_TRUNC).
 *
 * At most WINDOW connections are being set up at a time. A connection counts as set up when it has its first
 * response, which proves that the server accepted it. So no server's listen backlog overflows, and no SYN is lost
 * and repeated a second later.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { WINDOW = 64, EVENTS = 512, PER_SOURCE_ADDRESS = 10000, BUFFER = 1 << 18 };
enum { CONNECT_SECONDS = 60, DRAIN_SECONDS = 2 };

/* Latencies are counted in buckets of 1/64 of their power of two, so the error is at most 1.6 %. */
enum { SUB_BITS = 6, BUCKETS = 64 << SUB_BITS };

struct connection {
    int fd; /* -1 if not open: not yet, or it failed */
    int ready; /* its first, checked response has come */
    uint32_t sent, received; /* of the outstanding request */
    uint64_t started; /* in ns, or 0 if nothing is outstanding */
};

static struct connection *connections;
static int connection_count, opened, ready_count, failed;
static uint32_t size;
static int poller;
static int looping; /* false while connecting, when no request follows a finished one */
static char *payload, buffer[BUFFER];
static struct sockaddr_in server;

static uint64_t requests, longest, histogram[BUCKETS];

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t))
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static unsigned bucket_of(uint64_t ns)
{
    if (ns < (1u << SUB_BITS))
        return (unsigned)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - SUB_BITS;
    return ((shift + 1) << SUB_BITS) | (unsigned)((ns >> shift) & ((1u << SUB_BITS) - 1));
}

static double bucket_middle(unsigned bucket)
{
    if (bucket < (2u << SUB_BITS))
        return bucket;
    unsigned shift = (bucket >> SUB_BITS) - 1;
    uint64_t low = (uint64_t)((bucket & ((1u << SUB_BITS) - 1)) | (1u << SUB_BITS)) << shift;
    return (double)low + (double)(1ull << shift) / 2;
}

static double percentile_us(double fraction)
{
    uint64_t wanted = (uint64_t)((double)requests * fraction), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen > wanted)
            return bucket_middle(i) / 1000;
    }
    return (double)longest / 1000;
}

static void fail(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
    failed++;
}

static int send_rest(struct connection *c)
{
    while (c->sent < size) {
        ssize_t n = send(c->fd, payload + c->sent, size - c->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        c->sent += (uint32_t)n;
    }
    return 1;
}

static int start_request(struct connection *c, uint64_t now)
{
    c->sent = c->received = 0;
    c->started = now;
    return send_rest(c);
}

/* Returns 1 if the response is complete, 0 if more has to come, -1 if the connection failed. */
static int receive(struct connection *c)
{
    while (c->received < size) {
        size_t asked = size - c->received;
        if (asked > BUFFER)
            asked = BUFFER;
        ssize_t n = recv(c->fd, buffer, asked, c->ready ? MSG_TRUNC : 0);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        if (n == 0)
            return -1;
        if (!c->ready && memcmp(buffer, payload + c->received, (size_t)n)) {
            fprintf(stderr, "load: the response differs from the request\n");
            exit(1);
        }
        c->received += (uint32_t)n;
        if ((size_t)n < asked)
            return c->received == size;
    }
    return 1;
}

static void on_event(struct connection *c, uint32_t mask)
{
    if (c->fd < 0)
        return;
    if (!c->started && c->ready) { /* idle, so a close matters and room to write does not */
        if (mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            fail(c);
        return;
    }
    if (!c->started) { /* the connect has ended */
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error || !start_request(c, now_ns(CLOCK_MONOTONIC)))
            fail(c);
        return;
    }
    if (c->sent < size && !send_rest(c)) {
        fail(c);
        return;
    }
    int state = receive(c);
    if (state < 0) {
        fail(c);
        return;
    }
    if (state == 0)
        return;
    if (!c->ready) {
        c->ready = 1;
        ready_count++;
    }
    if (!looping) {
        c->started = 0;
        return;
    }
    uint64_t now = now_ns(CLOCK_MONOTONIC), took = now - c->started;
    requests++;
    histogram[bucket_of(took)]++;
    if (took > longest)
        longest = took;
    if (!start_request(c, now))
        fail(c);
}

static void poll_once(int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poller, events, EVENTS, timeout_ms);
    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    for (int i = 0; i < n; i++)
        on_event(events[i].data.ptr, events[i].events);
}

static void open_connection(struct connection *c, int index)
{
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4); /* like the servers, see servers/listening.py */
    if (index >= PER_SOURCE_ADDRESS) {
        /* One address has about 28,000 ports minus those in TIME_WAIT, so take the next one of 127.0.0.0/8. */
        struct sockaddr_in source = { .sin_family = AF_INET };
        source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index / PER_SOURCE_ADDRESS));
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(c->fd, (struct sockaddr *)&source, sizeof source))
            die("bind");
    }
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        die("connect");
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c };
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event))
        die("epoll_ctl");
}

static void connect_all(void)
{
    uint64_t deadline = now_ns(CLOCK_MONOTONIC) + CONNECT_SECONDS * 1000000000ull;
    while (ready_count + failed < connection_count) {
        while (opened < connection_count && opened - ready_count - failed < WINDOW) {
            open_connection(&connections[opened], opened);
            opened++;
        }
        poll_once(100);
        if (now_ns(CLOCK_MONOTONIC) > deadline)
            break;
    }
    if (ready_count < connection_count) {
        fprintf(stderr, "load: only %d of %d connections were answered\n", ready_count, connection_count);
        exit(1);
    }
}

static void run_until(uint64_t end)
{
    while (now_ns(CLOCK_MONOTONIC) < end && failed < connection_count)
        poll_once(20);
}

/* Receives the outstanding responses, so that the server sees its clients leave and not break off. */
static void drain(void)
{
    uint64_t deadline = now_ns(CLOCK_MONOTONIC) + DRAIN_SECONDS * 1000000000ull;
    looping = 0;
    for (int i = 0; i < connection_count; i++)
        while (connections[i].fd >= 0 && connections[i].started && now_ns(CLOCK_MONOTONIC) < deadline)
            poll_once(20);
}

static void echo(double warmup, double seconds, pid_t server_pid)
{
    clockid_t server_clock = CLOCK_MONOTONIC;
    int has_server_clock = server_pid > 0 && !clock_getcpuclockid(server_pid, &server_clock);

    looping = 1;
    for (int i = 0; i < connection_count; i++)
        if (connections[i].fd >= 0 && !start_request(&connections[i], now_ns(CLOCK_MONOTONIC)))
            fail(&connections[i]);
    run_until(now_ns(CLOCK_MONOTONIC) + (uint64_t)(warmup * 1e9));

    requests = longest = 0;
    memset(histogram, 0, sizeof histogram);
    uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), server_cpu = has_server_clock ? now_ns(server_clock) : 0;
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    run_until(start + (uint64_t)(seconds * 1e9));
    uint64_t end = now_ns(CLOCK_MONOTONIC);
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    server_cpu = has_server_clock ? now_ns(server_clock) - server_cpu : 0;

    /* A connection that the server forgot has an age, but no latency. The age counts in the maximum. */
    for (int i = 0; i < connection_count; i++)
        if (connections[i].fd >= 0 && connections[i].started && end - connections[i].started > longest)
            longest = end - connections[i].started;
    double elapsed = (double)(end - start);
    printf("{\"connections\": %d, \"size\": %u, \"seconds\": %.3f, \"requests\": %llu, \"rate\": %.1f, "
           "\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"errors\": %d, "
           "\"load_cpu\": %.3f, \"server_cpu\": %.3f}\n",
           connection_count, size, elapsed / 1e9, (unsigned long long)requests, (double)requests / elapsed * 1e9,
           percentile_us(0.5), percentile_us(0.9), percentile_us(0.99), (double)longest / 1000, failed,
           (double)cpu / elapsed, (double)server_cpu / elapsed);
    fflush(stdout);
    drain();
}

static void hold(void)
{
    char end;
    printf("{\"connections\": %d}\n", connection_count);
    fflush(stdout);
    while (read(0, &end, 1) > 0)
        ;
}

int main(int argc, char **argv)
{
    int is_echo = argc == 9 && !strcmp(argv[1], "echo");
    if (!is_echo && !(argc == 5 && !strcmp(argv[1], "hold"))) {
        fprintf(stderr, "usage: load echo HOST PORT CONNECTIONS SIZE WARMUP SECONDS SERVER_PID\n"
                        "       load hold HOST PORT CONNECTIONS\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[3]));
    connection_count = atoi(argv[4]);
    size = is_echo ? (uint32_t)atoi(argv[5]) : 64;
    if (inet_pton(AF_INET, argv[2], &server.sin_addr) != 1 || connection_count < 1 || size < 1) {
        fprintf(stderr, "load: HOST must be an IPv4 address, CONNECTIONS and SIZE at least 1\n");
        return 2;
    }

    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < (rlim_t)connection_count + 16) {
        fprintf(stderr, "load: %d connections need more than the %llu descriptors allowed here (ulimit -Hn)\n",
                connection_count, (unsigned long long)limit.rlim_cur);
        return 1;
    }

    connections = calloc((size_t)connection_count, sizeof *connections);
    payload = malloc(size);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || !payload || poller < 0)
        die("start");
    for (int i = 0; i < connection_count; i++)
        connections[i].fd = -1;
    for (uint32_t i = 0; i < size; i++)
        payload[i] = (char)('a' + i % 23);

    connect_all();
    if (is_echo)
        echo(atof(argv[6]), atof(argv[7]), (pid_t)atoi(argv[8]));
    else
        hold();
    return 0;
}
