/* greenpool._speedups: socket calls that never block and therefore keep the GIL; and the module itself,
   which also has the methods of _speedups_paths.c.

The standard socket module releases the GIL around every system call. With several busy hubs each
release hands the GIL to another hub's thread, and getting it back costs far more than the call. A
call that cannot block need not release it.

The rules of this file:

- No call blocks. recv and send pass MSG_DONTWAIT; accept refuses a listener that is in blocking
  mode, since there is no such flag for it; epoll_wait gets a timeout of zero.
- "Not now" (EAGAIN) is the return value None: an exception costs more than the call itself.
- A copy above KEEP_GIL_LIMIT releases the GIL: it takes longer than a switch of threads.
- Descriptors are plain ints. To ask a socket object for its fileno() is a Python call each time,
  while the caller has the number at hand. A closed socket's -1 goes to the kernel like any other
  number and comes back as EBADF.
- EINTR runs the signal handlers and tries again (PEP 475).
- No state is kept between two calls, so any thread may call anything at any time, with or without
  a GIL. It is the caller, as with every bare descriptor, who sees to it that the number is not
  closed and reused meanwhile. */

#include "_speedups.h"

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

#ifndef MSG_NOSIGNAL /* macOS; Python ignores SIGPIPE anyway */
#define MSG_NOSIGNAL 0
#endif

#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
#define HAVE_ACCEPT4_FLAGS 1
#endif

/* Where recv puts the data before it makes a bytes object of the exact size. Programs ask for
   64 KiB and get 64 bytes; to allocate what was asked and shrink it costs more than to copy what
   came, and leaves small objects strewn over the heap. Not on the C stack, because
   threading.stack_size() goes down to 32 KiB. Nothing that may run Python code stands between
   filling it and copying from it. */
static _Thread_local char scratch[KEEP_GIL_LIMIT];

char *
receive_buffer(void)
{
    return scratch;
}

/* Arguments: 1, or 0 with an exception set. */

static int
check_count(const char *function, Py_ssize_t given, Py_ssize_t least, Py_ssize_t most)
{
    if (given >= least && given <= most) {
        return 1;
    }
    PyErr_Format(PyExc_TypeError, "%s expected at %s %zd arguments, got %zd", function,
                 given < least ? "least" : "most", given < least ? least : most, given);
    return 0;
}

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
parse_count(const char *name, PyObject *argument, Py_ssize_t least, Py_ssize_t *result)
{
    if (!parse_size(name, argument, result)) {
        return 0;
    }
    if (*result < least) {
        PyErr_Format(PyExc_ValueError, "%s must be at least %zd, not %zd", name, least, *result);
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

static int
parse_buffer(const char *name, PyObject *argument, int writable, Py_buffer *view)
{
    if (PyObject_GetBuffer(argument, view, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) == 0) {
        return 1;
    }
    /* BufferError for a read-only or strided one; the standard socket makes that a TypeError. */
    if (PyErr_ExceptionMatches(PyExc_BufferError) || PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Format(PyExc_TypeError, "%s must be a contiguous %sbytes-like object, not %.200s",
                     name, writable ? "writable " : "", Py_TYPE(argument)->tp_name);
    }
    return 0;
}

/* System calls. */

/* What a failed call means: WOULD_BLOCK, or FAILED with an exception set; 0 for "try again". */
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
transfer(enum direction direction, int fd, void *buffer, size_t size, int flags, int release_gil)
{
    for (;;) {
        PyThreadState *suspended = release_gil ? PyEval_SaveThread() : NULL;
        Py_ssize_t count = direction == RECEIVE
                               ? recv(fd, buffer, size, flags | MSG_DONTWAIT)
                               : send(fd, buffer, size, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
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
receive_now(int fd, void *buffer, size_t size, int flags)
{
    /* Who asks for 1 MiB mostly gets little, so what has arrived decides. To ask the kernel for
       that is one more system call, hence only here. Where it cannot say, release. */
    int release_gil = 0;
    if (size > KEEP_GIL_LIMIT) {
        int arrived;
        release_gil = ioctl(fd, FIONREAD, &arrived) < 0 || arrived > KEEP_GIL_LIMIT;
    }
    return transfer(RECEIVE, fd, buffer, size, flags, release_gil);
}

Py_ssize_t
send_now(int fd, const void *data, size_t size, int flags)
{
    return transfer(SEND, fd, (void *)data, size, flags, size > KEEP_GIL_LIMIT);
}

static PyObject *
count_or_none(Py_ssize_t count)
{
    if (count >= 0) {
        return PyLong_FromSsize_t(count);
    }
    if (count == WOULD_BLOCK) {
        Py_RETURN_NONE;
    }
    return NULL;
}

PyDoc_STRVAR(recv_doc,
"recv($module, fd, bufsize, flags=0, /)\n--\n\n"
"Receive up to bufsize bytes, or return None where the call would block.\n\n"
"b'' is the end of the stream. Raises OSError as socket.recv() does.");

static PyObject *
speedups_recv(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    int fd, flags = 0;
    Py_ssize_t bufsize, count;

    if (!check_count("recv", nargs, 2, 3) || !parse_int("fd", args[0], &fd) ||
        !parse_count("bufsize", args[1], 0, &bufsize) ||
        (nargs > 2 && !parse_int("flags", args[2], &flags))) {
        return NULL;
    }

    /* With MSG_TRUNC the kernel may fill less than it says, and say more than there is room for. */
    int truncating = flags & MSG_TRUNC;

    if (bufsize <= KEEP_GIL_LIMIT && !truncating) {
        count = receive_now(fd, scratch, (size_t)bufsize, flags);
        return count >= 0 ? PyBytes_FromStringAndSize(scratch, count) : count_or_none(count);
    }

    PyObject *data = PyBytes_FromStringAndSize(NULL, bufsize);
    if (!data) {
        return NULL;
    }
    if (truncating) {
        memset(PyBytes_AS_STRING(data), 0, (size_t)bufsize);
    }
    count = receive_now(fd, PyBytes_AS_STRING(data), (size_t)bufsize, flags);
    if (count < 0) {
        Py_DECREF(data);
        return count_or_none(count);
    }
    if (count != bufsize && _PyBytes_Resize(&data, count) < 0) {
        return NULL;
    }
    if (count > bufsize) {
        memset(PyBytes_AS_STRING(data) + bufsize, 0, (size_t)(count - bufsize));
    }
    return data;
}

PyDoc_STRVAR(recv_into_doc,
"recv_into($module, fd, buffer, nbytes=0, flags=0, /)\n--\n\n"
"Receive up to nbytes bytes (0: as many as fit) into buffer.\n\n"
"Returns the number of bytes, or None where the call would block. Raises OSError as\n"
"socket.recv_into() does.");

static PyObject *
speedups_recv_into(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    int fd, flags = 0;
    Py_ssize_t nbytes = 0, count;
    Py_buffer view;

    if (!check_count("recv_into", nargs, 2, 4) || !parse_int("fd", args[0], &fd) ||
        (nargs > 2 && !parse_count("nbytes", args[2], 0, &nbytes)) ||
        (nargs > 3 && !parse_int("flags", args[3], &flags)) ||
        !parse_buffer("buffer", args[1], 1, &view)) {
        return NULL;
    }
    if (nbytes > view.len) {
        PyErr_Format(PyExc_ValueError, "nbytes must be at most the buffer's length %zd, not %zd",
                     view.len, nbytes);
        PyBuffer_Release(&view);
        return NULL;
    }
    count = receive_now(fd, view.buf, (size_t)(nbytes ? nbytes : view.len), flags);
    PyBuffer_Release(&view);
    return count_or_none(count);
}

PyDoc_STRVAR(send_doc,
"send($module, fd, data, flags=0, /)\n--\n\n"
"Send what the kernel takes of data at once.\n\n"
"Returns the number of bytes, or None where the call would block. Raises OSError as\n"
"socket.send() does.");

static PyObject *
speedups_send(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    int fd, flags = 0;
    Py_ssize_t count;
    Py_buffer view;

    if (!check_count("send", nargs, 2, 3) || !parse_int("fd", args[0], &fd) ||
        (nargs > 2 && !parse_int("flags", args[2], &flags)) ||
        !parse_buffer("data", args[1], 0, &view)) {
        return NULL;
    }
    count = send_now(fd, view.buf, (size_t)view.len, flags);
    PyBuffer_Release(&view);
    return count_or_none(count);
}

/* A peer's address as the standard socket module gives it; None for other families. */
static PyObject *
make_address(const struct sockaddr_storage *storage, socklen_t length)
{
    char host[INET6_ADDRSTRLEN];

    if (length == 0) { /* some systems, for an unnamed Unix socket */
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
        /* A first byte of zero is the abstract namespace: all bytes count, zeros included. */
        const socklen_t before = offsetof(struct sockaddr_un, sun_path);
        if (length > before && un->sun_path[0] == '\0') {
            return PyBytes_FromStringAndSize(un->sun_path, (Py_ssize_t)(length - before));
        }
#endif
        /* The longest path has no terminator of its own; zeros of sockaddr_storage follow it. */
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

PyDoc_STRVAR(accept_doc,
"accept($module, fd, /)\n--\n\n"
"Accept a connection: (descriptor, address), or None where the call would block.\n\n"
"The new descriptor is non-blocking and not inheritable, and the caller's to close. The address\n"
"is that of socket.accept() for AF_INET, AF_INET6 and AF_UNIX; for other families it is None, and\n"
"the caller asks getpeername(). Raises OSError as socket.accept() does, and ValueError where fd\n"
"is in blocking mode.");

static PyObject *
speedups_accept(PyObject *Py_UNUSED(module), PyObject *argument)
{
    int fd;
    if (!parse_int("fd", argument, &fd)) {
        return NULL;
    }

    /* Each time, because the mode belongs to the open file, which another process may share. */
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
            if (verdict) {
                return count_or_none(verdict);
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

#ifdef __linux__

/* What one call returns at most; the rest is left for the next one, whose price is then spread
   over so many events that it does not count. They lie on the stack and not in scratch: making
   tuples may run the garbage collector, and so any code, this function included. */
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

PyDoc_STRVAR(epoll_poll_doc,
"epoll_poll($module, epfd, maxevents, /)\n--\n\n"
"What select.epoll.poll(0, maxevents) returns: a list of (fd, events), without waiting.\n\n"
"One call returns at most 512; the next one goes on from there.");

static PyObject *
speedups_epoll_poll(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    struct epoll_event events[MOST_EVENTS];
    int epfd, count;
    Py_ssize_t maxevents;

    if (!check_count("epoll_poll", nargs, 2, 2) || !parse_int("epfd", args[0], &epfd) ||
        !parse_count("maxevents", args[1], 1, &maxevents)) {
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

static PyMethodDef speedups_methods[] = {
    {"recv", FASTCALL(speedups_recv), METH_FASTCALL, recv_doc},
    {"recv_into", FASTCALL(speedups_recv_into), METH_FASTCALL, recv_into_doc},
    {"send", FASTCALL(speedups_send), METH_FASTCALL, send_doc},
    {"accept", speedups_accept, METH_O, accept_doc},
#ifdef __linux__
    {"epoll_poll", FASTCALL(speedups_epoll_poll), METH_FASTCALL, epoll_poll_doc},
#endif
    {"await_post", speedups_await_post, METH_VARARGS, await_post_doc},
    {"raise_in_thread", speedups_raise_in_thread, METH_VARARGS, raise_in_thread_doc},
    {"leave_sections", speedups_leave_sections, METH_NOARGS, leave_sections_doc},
    {"return_to_sections", speedups_return_to_sections, METH_O, return_to_sections_doc},
    {"connect_carrier", FASTCALL(connect_carrier), METH_FASTCALL, connect_carrier_doc},
    {"connect_core", FASTCALL(connect_core), METH_FASTCALL, connect_core_doc},
    {"connect_socket", FASTCALL(connect_socket), METH_FASTCALL, connect_socket_doc},
    {"connect_task", FASTCALL(connect_task), METH_FASTCALL, connect_task_doc},
    {"connect_spawn", FASTCALL(connect_spawn), METH_FASTCALL, connect_spawn_doc},
    {"connect_queue", FASTCALL(connect_queue), METH_FASTCALL, connect_queue_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot speedups_slots[] = {
#ifdef Py_mod_multiple_interpreters
    /* Nor does greenlet. */
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

PyDoc_STRVAR(speedups_doc, "Socket calls that never block and keep the GIL, and the methods that wait between them.");

static struct PyModuleDef speedups_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "greenpool._speedups",
    .m_doc = speedups_doc,
    .m_size = 0,
    .m_methods = speedups_methods,
    .m_slots = speedups_slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&speedups_module);
}
