/* Measured: while another hub computes: ping-pong 1.5x of select.epoll, accept 2.3x. socket.c needs the rest.

The system calls that never block and therefore keep the GIL.

The standard socket module releases the GIL around every system call. When several hubs are busy, each release hands the
GIL to another hub's thread, and getting it back costs far more than the call. A call that cannot block need not release
it.

The rules of this file:

- No call blocks. Receiving and sending pass MSG_DONTWAIT. accept has no such flag, so it refuses a listener in blocking
  mode. epoll_wait gets a timeout of zero.
- EAGAIN is a return value, because an exception costs more than the call itself.
- A copy of more than KEEP_GIL_LIMIT bytes releases the GIL, because it takes longer than a switch of threads.
- Descriptors are plain ints. Asking a socket object for its fileno() is a Python call each time, while the caller has
  the number at hand. The -1 of a closed socket goes to the kernel like any other number and comes back as EBADF.
- EINTR runs the signal handlers and tries again (PEP 475).
- The calls keep no state, so any thread may make them at any time, with or without a GIL. The caller makes sure that
  nobody closes and reuses the descriptor meanwhile. */

#include "module.h"
#include "syscalls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/epoll.h>
#endif

#ifndef MSG_NOSIGNAL /* macOS. Python ignores SIGPIPE anyway. */
#define MSG_NOSIGNAL 0
#endif

#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
#define HAVE_ACCEPT4_FLAGS 1
#endif

/* recv makes a bytes object of the exact size from this buffer. Programs ask for 64 KiB and get 64 bytes: allocating
   what was asked and shrinking it costs more than copying what came, and leaves small objects strewn over the heap. The
   buffer is not on the C stack, because threading.stack_size() goes down to 32 KiB. */
static _Thread_local char scratch[KEEP_GIL_LIMIT];

/* From this size on, the copy costs more than the allocation. Sizes repeat, so the thread's last one decides. */
enum { LARGE = 16 * 1024 };
static _Thread_local Py_ssize_t last_size;

/* The functions for arguments return 1, or 0 with an exception set. */

static int
parse_size(const char *name, PyObject *argument, Py_ssize_t *result)
{
    if (!PyIndex_Check(argument)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int, not %.200s", name,
                     Py_TYPE(argument)->tp_name);
        return 0;
    }
    *result = PyNumber_AsSsize_t(argument, PyExc_OverflowError);
    if (*result == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_Format(PyExc_OverflowError, "%s is out of range: %R", name, argument);
        }
        return 0;
    }
    return 1;
}

static int
parse_int(const char *name, PyObject *argument, int *result)
{
    Py_ssize_t value;
    if (!parse_size(name, argument, &value)) {
        return 0;
    }
    if (value < INT_MIN || value > INT_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s is out of range: %R", name, argument);
        return 0;
    }
    *result = (int)value;
    return 1;
}

/* Translate the errno of a failed call: WOULD_BLOCK, FAILED with an exception set, or 0 for "try again". */
static int
judge(int error)
{
    if (error == EAGAIN || error == EWOULDBLOCK) {
        return WOULD_BLOCK;
    }
    if (error == EINTR) {
        return PyErr_CheckSignals() < 0 ? FAILED : 0;
    }
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return FAILED;
}

enum direction { RECEIVE, SEND };

static Py_ssize_t
transfer(enum direction direction, int fd, void *buffer, size_t size, int release_gil)
{
    for (;;) {
        PyThreadState *suspended = release_gil ? PyEval_SaveThread() : NULL;
        Py_ssize_t count = direction == RECEIVE
                               ? recv(fd, buffer, size, MSG_DONTWAIT)
                               : send(fd, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        int error = errno;
        if (suspended) {
            PyEval_RestoreThread(suspended);
        }
        if (count >= 0) {
            return count;
        }
        int verdict = judge(error);
        if (verdict) {
            return verdict;
        }
    }
}

Py_ssize_t
receive_now(int fd, void *buffer, size_t size)
{
    /* A call that asks for 1 MiB mostly gets little, so the amount that has arrived decides. Asking the kernel for it
       is one more system call, so only large calls do it. If the kernel cannot say, the GIL is released. */
    int release_gil = 0;
    if (size > KEEP_GIL_LIMIT) {
        int arrived;
        release_gil = ioctl(fd, FIONREAD, &arrived) < 0 || arrived > KEEP_GIL_LIMIT;
    }
    return transfer(RECEIVE, fd, buffer, size, release_gil);
}

PyObject *
receive_bytes_now(int fd, Py_ssize_t size, Py_ssize_t *count)
{
    if (size < LARGE || last_size < LARGE) {
        *count = receive_now(fd, scratch, (size_t)size);
        if (*count < 0) {
            return NULL;
        }
        last_size = *count;
        return PyBytes_FromStringAndSize(scratch, *count);
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    *count = bytes ? receive_now(fd, PyBytes_AS_STRING(bytes), (size_t)size) : FAILED;
    if (*count < 0) {
        Py_XDECREF(bytes);
        return NULL;
    }
    last_size = *count;
    if (*count < size) {
        _PyBytes_Resize(&bytes, *count);
    }
    return bytes;
}

Py_ssize_t
send_now(int fd, const void *data, size_t size)
{
    return transfer(SEND, fd, (void *)data, size, size > KEEP_GIL_LIMIT);
}

/* A peer's address, in the form of the standard socket module. None for other families. */
static PyObject *
make_address(const struct sockaddr_storage *storage, socklen_t length)
{
    char host[INET6_ADDRSTRLEN];

    if (length == 0) { /* some systems do this for an unnamed Unix socket */
        Py_RETURN_NONE;
    }
    switch (storage->ss_family) {
    case AF_INET: {
        const struct sockaddr_in *in = (const struct sockaddr_in *)storage;
        if (!inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host))) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        return Py_BuildValue("si", host, (int)ntohs(in->sin_port));
    }
    case AF_INET6: {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)storage;
        if (!inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host))) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        return Py_BuildValue("siII", host, (int)ntohs(in6->sin6_port),
                             (unsigned int)ntohl(in6->sin6_flowinfo),
                             (unsigned int)in6->sin6_scope_id);
    }
    case AF_UNIX: {
        const struct sockaddr_un *un = (const struct sockaddr_un *)storage;
#ifdef __linux__
        /* A first byte of zero means the abstract namespace, where all bytes count, even zeros. */
        const socklen_t before = offsetof(struct sockaddr_un, sun_path);
        if (length > before && un->sun_path[0] == '\0') {
            return PyBytes_FromStringAndSize(un->sun_path, (Py_ssize_t)(length - before));
        }
#endif
        /* The longest path has no terminator of its own. Zeros of sockaddr_storage follow it. */
        return PyUnicode_DecodeFSDefault(un->sun_path);
    }
    default:
        Py_RETURN_NONE;
    }
}

static int
accept_nonblocking(int fd, struct sockaddr *address, socklen_t *length)
{
#ifdef HAVE_ACCEPT4_FLAGS
    return accept4(fd, address, length, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
    int accepted = accept(fd, address, length);
    if (accepted >= 0 && (fcntl(accepted, F_SETFD, FD_CLOEXEC) < 0 ||
                          fcntl(accepted, F_SETFL, O_NONBLOCK) < 0)) {
        int error = errno;
        close(accepted);
        errno = error;
        return -1;
    }
    return accepted;
#endif
}

const char accept_doc[] = PyDoc_STR(
"accept($module, fd, /)\n--\n\n"
"Accept a connection: (descriptor, address), or None if the call would block.\n\n"
"The new descriptor is non-blocking and not inheritable, and the caller must close it. The address\n"
"is that of socket.accept() for AF_INET, AF_INET6 and AF_UNIX. For other families it is None, and\n"
"the caller asks getpeername(). Raises OSError as socket.accept() does, and ValueError if fd is in\n"
"blocking mode.");

PyObject *
speedups_accept(PyObject *Py_UNUSED(module), PyObject *argument)
{
    int fd;
    if (!parse_int("fd", argument, &fd)) {
        return NULL;
    }

    /* Check the mode each time, because it belongs to the open file, which another process may share. */
    int mode = fcntl(fd, F_GETFL);
    if (mode < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (!(mode & O_NONBLOCK)) {
        PyErr_Format(PyExc_ValueError, "fd must be in non-blocking mode, and %d is not", fd);
        return NULL;
    }

    for (;;) {
        struct sockaddr_storage storage;
        socklen_t length = sizeof(storage);
        memset(&storage, 0, sizeof(storage));
        int accepted = accept_nonblocking(fd, (struct sockaddr *)&storage, &length);
        if (accepted < 0) {
            int verdict = judge(errno);
            if (verdict == WOULD_BLOCK) {
                Py_RETURN_NONE;
            }
            if (verdict == FAILED) {
                return NULL;
            }
            continue;
        }
        PyObject *address = make_address(&storage, length);
        PyObject *result = address ? Py_BuildValue("iN", accepted, address) : NULL;
        if (!result) {
            close(accepted);
        }
        return result;
    }
}

const char renumber_doc[] = PyDoc_STR(
"renumber($module, fd, lowest, /)\n--\n\n"
"Close fd and return a duplicate, not inheritable, with a number of lowest or more.\n\n"
"Return fd itself if it has such a number, or if there is none to be had.");

PyObject *
speedups_renumber(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd, lowest;
    if (!PyArg_ParseTuple(args, "ii:renumber", &fd, &lowest)) {
        return NULL;
    }
    int number = fd < lowest ? fcntl(fd, F_DUPFD_CLOEXEC, lowest) : -1;
    if (number < 0) {
        return PyLong_FromLong(fd);
    }
    close(fd);
    return PyLong_FromLong(number);
}

#ifdef __linux__

/* One call returns at most this many events and leaves the rest for the next call. The price of a call does not count
   when so many events share it. The events are on the stack, not in `scratch`: making tuples may run the garbage
   collector, and so any code, this function included. */
#define MOST_EVENTS 512

static PyObject *
make_pair(const struct epoll_event *event)
{
    PyObject *pair = PyTuple_New(2);
    PyObject *fd = PyLong_FromLong(event->data.fd);
    PyObject *events = PyLong_FromUnsignedLong(event->events);
    if (!pair || !fd || !events) {
        Py_XDECREF(pair);
        Py_XDECREF(fd);
        Py_XDECREF(events);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, fd);
    PyTuple_SET_ITEM(pair, 1, events);
    return pair;
}

const char epoll_poll_doc[] = PyDoc_STR(
"epoll_poll($module, epfd, maxevents, /)\n--\n\n"
"What select.epoll.poll(0, maxevents) returns: a list of (fd, events), without waiting.\n\n"
"One call returns at most 512. The next one goes on from there.");

PyObject *
speedups_epoll_poll(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    struct epoll_event events[MOST_EVENTS];
    int epfd, count;
    Py_ssize_t maxevents;

    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "epoll_poll expected 2 arguments, got %zd", nargs);
        return NULL;
    }
    if (!parse_int("epfd", args[0], &epfd) || !parse_size("maxevents", args[1], &maxevents)) {
        return NULL;
    }
    if (maxevents < 1) {
        PyErr_Format(PyExc_ValueError, "maxevents must be at least 1, not %zd", maxevents);
        return NULL;
    }
    if (maxevents > MOST_EVENTS) {
        maxevents = MOST_EVENTS;
    }
    while ((count = epoll_wait(epfd, events, (int)maxevents, 0)) < 0) {
        if (errno != EINTR) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
    }

    PyObject *list = PyList_New(count);
    if (!list) {
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        PyObject *pair = make_pair(&events[i]);
        if (!pair) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, i, pair);
    }
    return list;
}

#endif /* __linux__ */
