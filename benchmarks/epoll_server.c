/* The ceiling: an echo server in C, one thread, level-triggered epoll. Prints its port.
 *
 * The server keeps data that it could not send at once. Until that data is out, it watches the connection for
 * writing instead of reading, so it never reads data that it has no room for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, BUFFER = 1 << 16 };

struct connection {
    int fd;
    char *unsent; /* NULL if nothing is left to send */
    size_t length, offset; /* of `unsent` */
};

static int poller, listener;
static char buffer[BUFFER];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void drop(struct connection *c)
{
    close(c->fd);
    free(c->unsent);
    free(c);
}

static void watch(struct connection *c, uint32_t mask)
{
    struct epoll_event event = { .events = mask, .data.ptr = c };
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event))
        die("epoll_ctl");
}

static void on_writable(struct connection *c)
{
    ssize_t n = send(c->fd, c->unsent + c->offset, c->length - c->offset, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        drop(c);
        return;
    }
    c->offset += n > 0 ? (size_t)n : 0;
    if (c->offset == c->length) {
        free(c->unsent);
        c->unsent = NULL;
        watch(c, EPOLLIN);
    }
}

static void on_readable(struct connection *c)
{
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        drop(c);
        return;
    }
    ssize_t sent = send(c->fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(c);
        return;
    }
    if (sent < 0)
        sent = 0;
    if (sent < n) {
        c->length = (size_t)(n - sent);
        c->offset = 0;
        c->unsent = malloc(c->length);
        if (!c->unsent)
            die("malloc");
        memcpy(c->unsent, buffer + sent, c->length);
        watch(c, EPOLLOUT);
    }
}

static void on_connection(void)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && errno == EAGAIN)
            return;
        if (fd < 0)
            die("accept4");
        struct connection *c = calloc(1, sizeof *c);
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
        if (!c)
            die("calloc");
        c->fd = fd;
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
            die("epoll_ctl");
    }
}

int main(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);

    int one = 1;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    poller = epoll_create1(EPOLL_CLOEXEC);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (poller < 0 || listener < 0)
        die("start");
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* for both options see servers/listening.py */
    setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)
        || getsockname(listener, (struct sockaddr *)&address, &length)
        || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event))
        die("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poller, events, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                on_connection();
            else if (c->unsent)
                on_writable(c);
            else
                on_readable(c);
        }
    }
}
