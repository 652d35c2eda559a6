/* Measured: a small request over TLS: 3.7x of its twins in Python (26,300 instructions instead of 98,200).

SSLSocket.recv, recv_into, send and sendall.

Their twins in ssl.py define what they do. Change both. Only the usual case is written here: an established connection
without a timeout, in a carrier whose hub the socket is registered with, and not much to send. In all other
cases the method calls its twin before anything has happened.

*Threads.* The socket's green lock guards OpenSSL's connection object, both buffers and the slots of the class, as in
the twins. It is held from a system call to the call into OpenSSL, so that the bytes keep their order. The greenlet
parks only between two steps, without the lock. A signal handler or a finalizer may run in a call into OpenSSL, but not
while bytes are on their way: so the C does not set _moving. */

#include "lock.h"
#include "module.h"
#include "socket.h"
#include "syscalls.h"
#include "waiter.h"

static struct {
    PyTypeObject *type;
    Slot connection, decrypted, descriptor, exact, header, incoming, left, lock, missing, moving, outgoing, owed;
    Slot starved, unsent;
} tls = {NULL,
         {"_sslobj", 0},
         {"_decrypted", 0},
         {"_descriptor", 0},
         {"_exact", 0},
         {"_header", 0},
         {"_incoming", 0},
         {"_left", 0},
         {"_tls_lock", 0},
         {"_missing", 0},
         {"_moving", 0},
         {"_outgoing", 0},
         {"_owed", 0},
         {"_starved", 0},
         {"_unsent", 0}};

/* How much to ask the kernel for, how much to encrypt at a time, and the most plain bytes of a record. */
static Py_ssize_t ahead, batch, record_size;
static PyObject *record_size_object;

/* What the classes of OpenSSL's connection and of the buffers have. To look a method up for each call takes as long as
   the call of a short one. */
static struct {
    PyObject *pending, *read, *write;
} of_connection, of_buffer;
static PyTypeObject *connection_type;

/* Python functions, the exception that says that OpenSSL needs input, and two values of _missing. */
static PyObject *recv_twin, *recv_into_twin, *send_twin, *sendall_twin, *await_sent, *owe, *flush_if_possible, *wake_readers;
static PyObject *want_read, *unknown, *nothing, *empty;

static PyObject *str_acquire, *str_registrations, *str_release, *str_write_eof;
static PyObject *str_pending, *str_read, *str_write;

/* What a step of reading leaves to do. */
enum { STEP_DONE = 0, STEP_STARVED = 1 };

/* The objects of a connection, for one call. */
typedef struct {
    PyObject *connection, *incoming, *outgoing, *lock;
} Stream;

static void
drop_stream(Stream *stream)
{
    Py_XDECREF(stream->connection);
    Py_XDECREF(stream->incoming);
    Py_XDECREF(stream->outgoing);
    Py_XDECREF(stream->lock);
}

/* Returns 0, -1 or BY_TWIN. Only after 0 the references have to be dropped. */
static int
find_stream(PyObject *self, Stream *stream)
{
    *stream = (Stream){NULL, NULL, NULL, NULL};
    int usual = has_no_timeout(self);
    if (usual > 0) {
        usual = holds(self, &tls.exact, Py_False);
    }
    /* The twin raises what there is to raise about a plain socket. */
    if (usual > 0 && (stream->connection = get(self, &tls.connection))) {
        if (stream->connection == Py_None) {
            usual = 0;
        }
        else if ((stream->incoming = get(self, &tls.incoming)) && (stream->outgoing = get(self, &tls.outgoing)) &&
                 (stream->lock = get(self, &tls.lock))) {
            return 0;
        }
    }
    int status = usual == 0 ? BY_TWIN : -1;
    drop_stream(stream);
    return status;
}

/* Call a method of the connection *args[0]*: *found*, or that of the *name* if a program has put an object of its own
   in the connection's place. */
static PyObject *
call_connection(PyObject *found, PyObject *name, PyObject *const *args, size_t count)
{
    return Py_IS_TYPE(args[0], connection_type) ? PyObject_Vectorcall(found, args, count, NULL)
                                                : PyObject_VectorcallMethod(name, args, count, NULL);
}

/* How much is in a buffer, or -1. */
static Py_ssize_t
pending_in(PyObject *buffer)
{
    PyObject *count = Py_TYPE(of_buffer.pending)->tp_descr_get(of_buffer.pending, buffer, NULL);
    if (!count) {
        return -1;
    }
    Py_ssize_t result = PyLong_AsSsize_t(count);
    Py_DECREF(count);
    return result;
}

/* Acquire the lock of *self*, an RLock, for *greenlet*, the calling one. */
static int
acquire(PyObject *lock, PyObject *greenlet)
{
    int taken = take_rlock(lock, greenlet);
    return taken ? (taken < 0 ? -1 : 0) : done(PyObject_CallMethodNoArgs(lock, str_acquire));
}

static int
give_back(PyObject *lock, PyObject *greenlet)
{
    int freed = free_rlock(lock, greenlet);
    return freed ? (freed < 0 ? -1 : 0) : done(PyObject_CallMethodNoArgs(lock, str_release));
}

/* Release the lock. Keeps an exception. Returns *status*, or -1 with an exception of its own. */
static int
release(PyObject *lock, PyObject *greenlet, int status)
{
    if (!PyErr_Occurred()) {
        return give_back(lock, greenlet) < 0 ? -1 : status;
    }
    PyObject *kind, *value, *traceback;
    PyErr_Fetch(&kind, &value, &traceback);
    if (give_back(lock, greenlet) < 0) {
        Py_XDECREF(kind);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        return -1;
    }
    PyErr_Restore(kind, value, traceback);
    return status;
}

/* OpenSSL has raised an error, and tells the peer why. Keeps the exception. */
static void
send_alert(PyObject *self)
{
    PyObject *kind, *value, *traceback;
    PyErr_Fetch(&kind, &value, &traceback);
    if (done(PyObject_CallOneArg(flush_if_possible, self)) < 0) {
        PyErr_WriteUnraisable(self);
    }
    PyErr_Restore(kind, value, traceback);
}

/* 1 if OpenSSL needs input and none is there. */
static int
is_starved(PyObject *self)
{
    return holds(self, &tls.starved, Py_True);
}

/* 1 if OpenSSL has no part of a record that has not come as a whole. What the socket has counted of a header, while it
   was watched, is void from now on. */
static int
forget_header(PyObject *self)
{
    int whole = holds(self, &tls.missing, nothing);
    if (whole > 0) {
        whole = holds(self, &tls.header, empty);
        if (whole == 0 && set(self, &tls.header, empty) < 0) {
            whole = -1;
        }
    }
    return whole;
}

/* _fill, in the usual case. Returns STEP_DONE if OpenSSL has got something. *limit*, the size of a read, becomes
   smaller if OpenSSL has less than that now. */
static int
fill(PyObject *self, Caller *caller, PyObject *incoming, Py_ssize_t *limit)
{
    int fd, whole = forget_header(self);
    if (whole < 0 || get_fd(self, &fd) < 0) {
        return -1;
    }
    Py_ssize_t count;
    PyObject *bytes = receive_bytes_now(fd, ahead, &count);
    if (count == WOULD_BLOCK) {
        return note_drained(caller) < 0 ? -1 : STEP_STARVED;
    }
    if (!bytes) {
        return -1;
    }
    if (count == 0) {
        Py_DECREF(bytes);
        /* The twin says how the stream has ended. */
        return done(PyObject_CallMethodNoArgs(incoming, str_write_eof)) < 0 || set(self, &tls.starved, Py_False) < 0
                   ? -1
                   : BY_TWIN;
    }
    PyObject *args[] = {incoming, bytes};
    int status = done(PyObject_Vectorcall(of_buffer.write, args, 2, NULL));
    Py_DECREF(bytes);
    if (status < 0 || set(self, &tls.missing, unknown) < 0 || set(self, &tls.starved, Py_False) < 0 ||
        (count < ahead && note_short_read(self, caller) < 0)) {
        return -1;
    }
    if (whole && count < *limit) {
        *limit = count; /* no part of a record came before these bytes */
    }
    return STEP_DONE;
}

/* The bytes of *result*, which is bytes or a count. */
static Py_ssize_t
count_of(PyObject *result)
{
    return PyBytes_Check(result) ? PyBytes_GET_SIZE(result) : PyLong_AsSsize_t(result);
}

/* OpenSSL has more, which the kernel does not report: wake the others that wait for it. If this hub alone knows the
   socket and no second greenlet waits, nothing is to be done. */
static int
share_rest(PyObject *self, Caller *caller)
{
    int alone = holds(caller->registered, &registration.crowd, Py_None);
    PyObject *descriptor = alone > 0 ? get(self, &tls.descriptor) : NULL;
    if (descriptor && descriptor != Py_None) {
        PyObject *registrations = PyObject_GetAttr(descriptor, str_registrations);
        alone = registrations ? PyList_Check(registrations) && PyList_GET_SIZE(registrations) == 1 : -1;
        Py_XDECREF(registrations);
    }
    else if (alone > 0 && !descriptor) {
        alone = -1;
    }
    Py_XDECREF(descriptor);
    if (alone > 0) {
        PyObject *ready = get(caller->home, &hub.ready);
        int status = ready ? wake(caller->registered, &registration.reader, ready) : -1;
        Py_XDECREF(ready);
        return status;
    }
    return alone < 0 ? -1 : done(PyObject_CallOneArg(wake_readers, self));
}

/* After a read of *count* bytes, of which there could be *most*: 1 if OpenSSL has more plain bytes. At the end of the
   stream the next read finds the end again, so that counts as more. */
static int
has_decrypted(Stream *stream, Py_ssize_t count, Py_ssize_t most)
{
    if (count == 0) {
        return 1;
    }
    if (count < most) {
        return 0; /* OpenSSL returns less than it is asked for only if the record has no more */
    }
    PyObject *rest = call_connection(of_connection.pending, str_pending, &stream->connection, 1);
    int more = rest ? PyObject_IsTrue(rest) : -1;
    Py_XDECREF(rest);
    return more;
}

/* _note_rest, after a read of *count* bytes, of which there could be *most*. If this fails, the bytes are lost; that
   takes a failure of a getter. */
static int
note_rest(PyObject *self, Caller *caller, Stream *stream, Py_ssize_t count, Py_ssize_t most)
{
    int decrypted = count < 0 ? -1 : has_decrypted(stream, count, most);
    Py_ssize_t there = decrypted < 0 ? -1 : pending_in(stream->incoming);
    if (there < 0 || set(self, &tls.starved, decrypted || there ? Py_False : Py_True) < 0 ||
        (!there && set(self, &tls.missing, nothing) < 0)) {
        return -1;
    }
    return decrypted || there ? share_rest(self, caller) : 0;
}

/* What a read asks OpenSSL for: at most *size* bytes, into *buffer* or, if that is NULL, into bytes. */
typedef struct {
    Py_ssize_t most;
    PyObject *size, *buffer;
} Read;

/* Enter OpenSSL. *limit* is what it has at most. */
static PyObject *
decrypt(PyObject *connection, const Read *asked, Py_ssize_t limit)
{
    PyObject *args[] = {connection, asked->size, asked->buffer};
    if (asked->buffer) {
        return call_connection(of_connection.read, str_read, args, 3);
    }
    if (limit == asked->most) {
        return call_connection(of_connection.read, str_read, args, 2);
    }
    /* The standard method makes bytes of the size that it is asked for, and shrinks them afterwards: 1,000 instructions
       more for a small request. */
    PyObject *result = NULL;
    if ((args[1] = PyLong_FromSsize_t(limit))) {
        result = call_connection(of_connection.read, str_read, args, 2);
        Py_DECREF(args[1]);
    }
    return result;
}

/* One step of a read, under the lock. Returns STEP_DONE with a result, STEP_STARVED, -1 or BY_TWIN. */
static int
read_step(PyObject *self, Caller *caller, Stream *stream, const Read *asked, PyObject **result)
{
    int usual = holds(self, &tls.moving, Py_False);
    if (usual > 0) {
        usual = holds(self, &tls.decrypted, empty);
    }
    if (usual > 0) {
        usual = holds(self, &tls.unsent, empty);
    }
    if (usual <= 0) {
        return usual < 0 ? -1 : BY_TWIN;
    }
    Py_ssize_t limit = asked->most;
    int starved = is_starved(self);
    if (starved) {
        int status = starved < 0 ? -1 : fill(self, caller, stream->incoming, &limit);
        if (status != STEP_DONE) {
            return status;
        }
    }
    *result = decrypt(stream->connection, asked, limit);
    if (!*result) {
        if (!PyErr_ExceptionMatches(want_read)) {
            send_alert(self);
            return -1;
        }
        PyErr_Clear();
        if (set(self, &tls.starved, Py_True) < 0) {
            return -1;
        }
    }
    else if (note_rest(self, caller, stream, count_of(*result), limit) < 0) {
        Py_CLEAR(*result);
        return -1;
    }
    Py_ssize_t answer = pending_in(stream->outgoing);
    if (answer && (answer < 0 || done(PyObject_CallOneArg(flush_if_possible, self)) < 0)) {
        Py_CLEAR(*result);
        return -1;
    }
    /* Without a result, the twin waits until the answer is sent. */
    return *result ? STEP_DONE : answer ? BY_TWIN : STEP_STARVED;
}

/* Returns 0 with a result, -1 or BY_TWIN. */
static int
read_when_ready(PyObject *self, Caller *caller, Stream *stream, const Read *asked, PyObject **result)
{
    int starved = is_starved(self);
    int status = starved < 0 ? -1 : starved ? wait_or_spend(caller) : spend_budget(caller->greenlet);
    while (status == 0) {
        if (acquire(stream->lock, caller->greenlet) < 0) {
            return -1;
        }
        status = release(stream->lock, caller->greenlet, read_step(self, caller, stream, asked, result));
        if (status == STEP_DONE) {
            return *result ? 0 : -1;
        }
        if (status == STEP_STARVED) {
            /* If there is more, this only spends. */
            status = wait_or_spend(caller);
        }
    }
    Py_CLEAR(*result);
    return status;
}

/* In the usual case, do what read_when_ready does. Otherwise return BY_TWIN. */
static int
read_on_this_hub(PyObject *self, const Read *asked, PyObject **result)
{
    Stream stream;
    int status = find_stream(self, &stream);
    if (status) {
        return status;
    }
    Caller caller;
    status = find_caller(self, &caller);
    if (status == 0) {
        status = read_when_ready(self, &caller, &stream, asked, result);
        drop_caller(&caller);
    }
    drop_stream(&stream);
    return status;
}

static PyObject *
tls_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs == 1 && !names && PyLong_CheckExact(args[0])) {
        Py_ssize_t size = PyLong_AsSsize_t(args[0]);
        if (size == -1 && PyErr_Occurred()) {
            PyErr_Clear(); /* the twin raises it */
        }
        if (size > 0) {
            /* OpenSSL gives at most one record at a time. */
            Read asked = {size, args[0], NULL};
            if (size > record_size) {
                asked = (Read){record_size, record_size_object, NULL};
            }
            PyObject *result = NULL;
            int status = read_on_this_hub(self, &asked, &result);
            if (status != BY_TWIN) {
                return status < 0 ? NULL : result;
            }
        }
    }
    return call_twin(recv_twin, self, args, nargs, names);
}

static PyObject *
tls_recv_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    Py_buffer view;
    if (nargs == 1 && !names && PyObject_CheckBuffer(args[0])) {
        if (PyObject_GetBuffer(args[0], &view, PyBUF_WRITABLE) < 0) {
            PyErr_Clear(); /* the twin raises it */
        }
        else {
            PyObject *result = NULL, *size = PyLong_FromSsize_t(view.len);
            Read asked = {view.len, size, args[0]};
            int status = !size ? -1 : view.len ? read_on_this_hub(self, &asked, &result) : BY_TWIN;
            Py_XDECREF(size);
            PyBuffer_Release(&view);
            if (status != BY_TWIN) {
                return status < 0 ? NULL : result;
            }
        }
    }
    return call_twin(recv_into_twin, self, args, nargs, names);
}

/* _flush of *encrypted*, when nothing else is to be sent. What the kernel does not take becomes _unsent. Returns the
   size of that, or -1. */
static Py_ssize_t
send_encrypted(PyObject *self, PyObject *encrypted)
{
    int fd;
    Py_ssize_t size = PyBytes_GET_SIZE(encrypted), count = FAILED;
    if (get_fd(self, &fd) == 0) {
        count = send_now(fd, PyBytes_AS_STRING(encrypted), (size_t)size);
    }
    Py_ssize_t sent = count < 0 ? 0 : count;
    if (sent < size) {
        PyObject *kind, *value, *traceback;
        PyErr_Fetch(&kind, &value, &traceback);
        PyObject *rest = PyBytes_FromStringAndSize(PyBytes_AS_STRING(encrypted) + sent, size - sent);
        if (!rest || set(self, &tls.unsent, rest) < 0) {
            PyErr_WriteUnraisable(self);
        }
        Py_XDECREF(rest);
        PyErr_Restore(kind, value, traceback);
    }
    return count == FAILED ? -1 : size - sent;
}

/* The step of a write, under the lock. *written* becomes the count of plain bytes, NULL if none. Returns the count of
   encrypted bytes that the kernel has not taken, -1 or BY_TWIN. */
static Py_ssize_t
write_step(PyObject *self, Stream *stream, PyObject *data, PyObject **written)
{
    int usual = holds(self, &tls.moving, Py_False);
    if (usual > 0) {
        usual = holds(self, &tls.unsent, empty);
    }
    if (usual > 0) {
        usual = holds(self, &tls.owed, empty);
    }
    if (usual <= 0) {
        return usual < 0 ? -1 : BY_TWIN;
    }
    PyObject *args[] = {stream->connection, data};
    *written = call_connection(of_connection.write, str_write, args, 2);
    if (!*written) {
        if (PyErr_ExceptionMatches(want_read)) {
            PyErr_Clear();
            return BY_TWIN;
        }
        send_alert(self);
        return -1;
    }
    PyObject *encrypted = PyObject_Vectorcall(of_buffer.read, &stream->outgoing, 1, NULL);
    if (!encrypted) {
        return -1;
    }
    Py_ssize_t left = send_encrypted(self, encrypted);
    Py_DECREF(encrypted);
    return left;
}

/* Note that *written* bytes of *data* are encrypted, though the caller gets an exception. Keeps the exception. */
static void
note_owed(PyObject *self, PyObject *data, PyObject *written)
{
    PyObject *kind, *value, *traceback;
    PyErr_Fetch(&kind, &value, &traceback);
    if (done(PyObject_CallFunctionObjArgs(owe, self, data, written, NULL)) < 0) {
        PyErr_WriteUnraisable(self);
    }
    PyErr_Restore(kind, value, traceback);
}

/* Returns the count of plain bytes sent, NULL, or NULL without an exception if the twin has to do it. */
static PyObject *
write_on_this_hub(PyObject *self, PyObject *data)
{
    Stream stream;
    int status = find_stream(self, &stream);
    if (status) {
        return NULL;
    }
    PyObject *written = NULL, *greenlet = greenlet_getcurrent();
    Py_ssize_t left = -1;
    status = !greenlet                             ? -1
             : Py_IS_TYPE(greenlet, carrier.type) ? spend_budget(greenlet)
                                                   : BY_TWIN;
    if (status == 0 && acquire(stream.lock, greenlet) == 0) {
        left = write_step(self, &stream, data, &written);
        if (release(stream.lock, greenlet, 0) < 0) {
            left = -1;
        }
    }
    Py_XDECREF(greenlet);
    drop_stream(&stream);
    if (left < 0 && written) {
        note_owed(self, data, written);
        Py_CLEAR(written);
    }
    if (left > 0) {
        PyObject *count = PyObject_CallFunctionObjArgs(await_sent, self, data, written, NULL);
        Py_SETREF(written, count);
    }
    return written;
}

/* 1 if *data* can be encrypted at once. */
static int
is_small(PyObject *data)
{
    if (PyBytes_CheckExact(data)) {
        return PyBytes_GET_SIZE(data) > 0 && PyBytes_GET_SIZE(data) <= batch;
    }
    Py_buffer view;
    if (!PyObject_CheckBuffer(data)) {
        return 0;
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear(); /* the twin raises it */
        return 0;
    }
    int small = view.len > 0 && view.len <= batch;
    PyBuffer_Release(&view);
    return small;
}

static PyObject *
tls_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs == 1 && !names && is_small(args[0])) {
        PyObject *written = write_on_this_hub(self, args[0]);
        if (written || PyErr_Occurred()) {
            return written;
        }
    }
    return call_twin(send_twin, self, args, nargs, names);
}

static PyObject *
tls_sendall(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs == 1 && !names && PyBytes_CheckExact(args[0]) && is_small(args[0])) {
        PyObject *written = write_on_this_hub(self, args[0]);
        if (written) {
            Py_ssize_t size = PyBytes_GET_SIZE(args[0]), count = PyLong_AsSsize_t(written);
            Py_DECREF(written);
            if (count == size) {
                Py_RETURN_NONE;
            }
            /* OpenSSL has taken less. */
            PyObject *rest = count < 0 ? NULL : PySequence_GetSlice(args[0], count, size);
            PyObject *result = rest ? PyObject_CallFunctionObjArgs(sendall_twin, self, rest, NULL) : NULL;
            Py_XDECREF(rest);
            return result;
        }
        if (PyErr_Occurred()) {
            return NULL;
        }
    }
    return call_twin(sendall_twin, self, args, nargs, names);
}

static Method tls_methods[] = {
    {{"recv", FASTCALL(tls_recv), METH_FASTCALL | METH_KEYWORDS, NULL}, "($self, buflen=1024, flags=0)", &recv_twin},
    {{"recv_into", FASTCALL(tls_recv_into), METH_FASTCALL | METH_KEYWORDS, NULL},
     "($self, buffer, nbytes=None, flags=0)",
     &recv_into_twin},
    {{"send", FASTCALL(tls_send), METH_FASTCALL | METH_KEYWORDS, NULL}, "($self, data, flags=0)", &send_twin},
    {{"sendall", FASTCALL(tls_sendall), METH_FASTCALL | METH_KEYWORDS, NULL}, "($self, data, flags=0)", &sendall_twin},
};

const char connect_ssl_doc[] = PyDoc_STR(
"connect_ssl($module, SSLSocket, connection, buffer, SSLWantReadError, await_sent, owe, flush_if_possible,\n"
"wake_readers, ahead, batch, record, unknown, /)\n--\n\n"
"Take note of the class, those of OpenSSL's connection and of its buffers, the exception, the functions and the\n"
"sizes. Returns the methods for the first. Called once, after connect_socket.");

static int
find_methods(PyObject *connection, PyObject *buffer)
{
    const struct {
        PyObject **variable, *type;
        const char *name;
    } wanted[] = {
        {&of_connection.pending, connection, "pending"}, {&of_connection.read, connection, "read"},
        {&of_connection.write, connection, "write"},     {&of_buffer.pending, buffer, "pending"},
        {&of_buffer.read, buffer, "read"},               {&of_buffer.write, buffer, "write"},
    };
    for (size_t i = 0; i < LENGTH(wanted); i++) {
        PyObject *found = PyObject_GetAttrString(wanted[i].type, wanted[i].name);
        if (!found) {
            return -1;
        }
        Py_XSETREF(*wanted[i].variable, found);
    }
    keep_type(&connection_type, connection);
    if (!Py_IS_TYPE(of_buffer.pending, &PyGetSetDescr_Type)) {
        PyErr_Format(PyExc_TypeError, "%R.pending must be a getter", buffer);
        return -1;
    }
    return 0;
}

PyObject *
connect_ssl(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {
        {&str_acquire, "acquire"}, {&str_pending, "pending"}, {&str_read, "read"},
        {&str_registrations, "registrations"}, {&str_release, "release"}, {&str_write, "write"},
        {&str_write_eof, "write_eof"},
    };
    if (check_arguments("connect_ssl", args, nargs, "CCCCFFFFIIII") < 0 || intern_names(names, LENGTH(names)) < 0 ||
        find_slots(args[0], SLOTS(tls.connection, tls.unsent)) < 0 || find_methods(args[1], args[2]) < 0) {
        return NULL;
    }
    PyObject *zero = PyLong_FromLong(0), *bytes = PyBytes_FromStringAndSize(NULL, 0);
    if (!zero || !bytes) {
        Py_XDECREF(zero);
        Py_XDECREF(bytes);
        return NULL;
    }
    Py_XSETREF(nothing, zero);
    Py_XSETREF(empty, bytes);
    keep_type(&tls.type, args[0]);
    keep(&want_read, args[3]);
    keep(&await_sent, args[4]);
    keep(&owe, args[5]);
    keep(&flush_if_possible, args[6]);
    keep(&wake_readers, args[7]);
    ahead = PyLong_AsSsize_t(args[8]);
    batch = PyLong_AsSsize_t(args[9]);
    record_size = PyLong_AsSsize_t(args[10]);
    keep(&record_size_object, args[10]);
    keep(&unknown, args[11]);
    return make_methods(tls.type, tls_methods, LENGTH(tls_methods));
}
