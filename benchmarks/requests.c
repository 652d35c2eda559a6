/* A load generator for servers that are not plain echo servers: over TLS, with a connection for each request, or with
 * responses whose length it does not know. One thread, epoll, one outstanding request for each connection.
 *
 *   requests HOST PORT CONNECTIONS kept|each plain|tls REQUEST END WARMUP SECONDS SERVER_PID [PROBE]
 *
 * A response ends with the byte END, which it has nowhere else. With `kept` the next request follows on the same
 * connection. With `each` the server closes after its response, and the next request has a new connection (with `tls`
 * a full handshake, because no session is kept). When all connections have had a response, the program runs for WARMUP
 * seconds that are not counted and for SECONDS that are, and prints one JSON object. Its purpose is the server's user
 * and system time, so the program may be slower than the server.
 *
 * With PROBE one more client sends this request again and again, each time over a new connection, which the server
 * closes. Its latencies, from the connect to the close, are those of a newcomer at a busy server.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { EVENTS = 512, BUFFER = 1 << 16, SOURCE_ADDRESSES = 16, REASONABLE_ERRORS = 100, CONNECT_SECONDS = 60 };
enum { MOST_PROBES = 100000 };

enum state { CONNECTING, HANDSHAKE, TALKING };

struct connection {
    int fd;
    SSL *ssl;
    enum state state;
    int answered; /* the response of the outstanding request is complete */
    int one_each; /* the server closes after its response */
    double started; /* when it was opened */
    int ready; /* its first response was complete; later connections in its place do not count */
};

static struct connection *connections;
static struct connection prober;
static int connection_count, poller;
static SSL_CTX *tls;
static const char *request, *probe;
static double probes[MOST_PROBES];
static int probe_count;
static char end_byte, buffer[BUFFER];
static struct sockaddr_in server;
static unsigned long long requests, opened;
static int errors, first_answers;

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t))
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "requests: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void open_connection(struct connection *c)
{
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4); /* like the servers, see servers/listening.py */
    /* One address has too few ports for all the connections of a run. */
    struct sockaddr_in source = { .sin_family = AF_INET };
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(opened++ % SOURCE_ADDRESSES));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&source, sizeof source))
        die("bind");
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        die("connect");
    c->state = CONNECTING;
    c->answered = 0;
    c->started = seconds_of(CLOCK_MONOTONIC);
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event))
        die("epoll_ctl");
}

static void reopen(struct connection *c)
{
    if (c->ssl)
        SSL_free(c->ssl);
    c->ssl = NULL;
    close(c->fd);
    open_connection(c);
}

static void fail(struct connection *c, const char *what)
{
    if (++errors > REASONABLE_ERRORS) {
        fprintf(stderr, "requests: too many errors, the last at %s: %s\n", what, strerror(errno));
        exit(1);
    }
    ERR_clear_error();
    reopen(c);
}

static int would_block(struct connection *c, int result)
{
    if (!c->ssl)
        return errno == EAGAIN;
    int error = SSL_get_error(c->ssl, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static void start_request(struct connection *c)
{
    c->answered = 0;
    const char *text = c == &prober ? probe : request;
    int size = (int)strlen(text);
    int n = c->ssl ? SSL_write(c->ssl, text, size) : (int)send(c->fd, text, (size_t)size, MSG_NOSIGNAL);
    if (n != size)
        fail(c, "send");
}

/* Reads what is there. Returns -1 at an error, 0 at the end of the stream, else 1. */
static int receive(struct connection *c)
{
    for (;;) {
        int n = c->ssl ? SSL_read(c->ssl, buffer, BUFFER) : (int)recv(c->fd, buffer, BUFFER, 0);
        if (n > 0) {
            c->answered = buffer[n - 1] == end_byte;
            continue;
        }
        if (n < 0 && would_block(c, n))
            return 1;
        return n == 0 ? 0 : -1;
    }
}

static void on_event(struct connection *c)
{
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error) {
            errno = error;
            fail(c, "connect");
            return;
        }
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
        c->state = tls ? HANDSHAKE : TALKING;
        if (tls) {
            c->ssl = SSL_new(tls);
            SSL_set_fd(c->ssl, c->fd);
        } else {
            start_request(c);
            return;
        }
    }
    if (c->state == HANDSHAKE) {
        int n = SSL_connect(c->ssl);
        if (n == 1) {
            c->state = TALKING;
            start_request(c);
        } else if (!would_block(c, n)) {
            fail(c, "handshake");
        }
        return;
    }
    int more = receive(c);
    if (c->answered && !c->ready && c != &prober) {
        c->ready = 1;
        first_answers++;
    }
    if (more < 0 || (more == 0 && !(c->one_each && c->answered))) {
        fail(c, "recv");
    } else if (more == 0) {
        if (c != &prober)
            requests++;
        else if (probe_count < MOST_PROBES)
            probes[probe_count++] = seconds_of(CLOCK_MONOTONIC) - c->started;
        if (c->ssl)
            SSL_shutdown(c->ssl);
        reopen(c);
    } else if (c->answered && !c->one_each) {
        requests++;
        start_request(c);
    }
}

static void poll_once(void)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poller, events, EVENTS, 20);
    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    for (int i = 0; i < n; i++)
        on_event(events[i].data.ptr);
}

static void run_until(double end)
{
    while (seconds_of(CLOCK_MONOTONIC) < end)
        poll_once();
}

static void connect_all(void)
{
    double deadline = seconds_of(CLOCK_MONOTONIC) + CONNECT_SECONDS;
    while (first_answers < connection_count && seconds_of(CLOCK_MONOTONIC) < deadline)
        poll_once();
    if (first_answers < connection_count) {
        fprintf(stderr, "requests: only %d of %d connections were answered\n", first_answers, connection_count);
        exit(1);
    }
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double probe_us(double fraction)
{
    return probes[(int)(probe_count * fraction)] * 1e6;
}

/* The user and the system time of the server, in ticks, which are too coarse for anything but their proportion. */
static void ticks_of(pid_t pid, double *user, double *system)
{
    char path[64], text[1024];
    *user = *system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    char *after_name = strrchr(text, ')');
    if (after_name)
        sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lf %lf", user, system);
}

int main(int argc, char **argv)
{
    if (argc != 11 && argc != 12) {
        fprintf(stderr, "usage: requests HOST PORT CONNECTIONS kept|each plain|tls REQUEST END WARMUP SECONDS PID "
                        "[PROBE]\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    connection_count = atoi(argv[3]);
    int one_each = !strcmp(argv[4], "each");
    request = argv[6];
    probe = argc == 12 ? argv[11] : NULL;
    end_byte = argv[7][0];
    double warmup = atof(argv[8]), seconds = atof(argv[9]);
    pid_t pid = (pid_t)atoi(argv[10]);
    clockid_t server_clock;
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 || connection_count < 1 || !*request ||
        clock_getcpuclockid(pid, &server_clock)) {
        fprintf(stderr, "requests: wrong arguments\n");
        return 2;
    }
    if (!strcmp(argv[5], "tls")) {
        tls = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    }
    connections = calloc((size_t)connection_count, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || poller < 0)
        die("start");
    for (int i = 0; i < connection_count; i++) {
        connections[i].one_each = one_each;
        open_connection(&connections[i]);
    }
    connect_all();
    prober.one_each = 1;
    if (probe)
        open_connection(&prober);
    run_until(seconds_of(CLOCK_MONOTONIC) + warmup);

    double user, system, user_end, system_end;
    requests = 0;
    errors = probe_count = 0;
    ticks_of(pid, &user, &system);
    double load_cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), cpu = seconds_of(server_clock);
    double start = seconds_of(CLOCK_MONOTONIC);
    run_until(start + seconds);
    double elapsed = seconds_of(CLOCK_MONOTONIC) - start;
    cpu = seconds_of(server_clock) - cpu;
    load_cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - load_cpu;
    ticks_of(pid, &user_end, &system_end);
    if (!requests) {
        fprintf(stderr, "requests: no response came\n");
        return 1;
    }
    double ticks = user_end - user + system_end - system, each = cpu / (double)requests * 1e6;
    double system_share = ticks > 0 ? (system_end - system) / ticks : 0;
    printf("{\"requests\": %llu, \"rate\": %.1f, \"cpu_us\": %.3f, \"user_us\": %.3f, \"system_us\": %.3f, "
           "\"errors\": %d, \"load_cpu\": %.3f, \"server_cpu\": %.3f",
           requests, (double)requests / elapsed, each, each * (1 - system_share), each * system_share, errors,
           load_cpu / elapsed, cpu / elapsed);
    if (probe_count) {
        qsort(probes, (size_t)probe_count, sizeof probes[0], compare);
        printf(", \"new_p50_us\": %.1f, \"new_p95_us\": %.1f", probe_us(0.5), probe_us(0.95));
    }
    printf("}\n");
    return 0;
}
