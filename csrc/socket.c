/* Measured: echo over 100 connections: 1.25x of its twins in Python; ping-pong over two hubs: 1.5x.

socket.recv, recv_into, send and sendall.

Their twins in socket.py define what they do. Change both. Only the usual case is written here. In all other cases (a
timeout, flags, a greenlet that is no carrier, a socket that is not registered with this hub) the method calls its twin
before anything has happened.

*Threads.* A registration and a carrier belong to their hub's thread, which runs this code. Any thread may replace a
socket's slots meanwhile. So each slot is read once. */

#include "module.h"
#include "socket.h"
#include "syscalls.h"
#include "waiter.h"

struct socket_slots socket_ = {NULL, {"_drains", 0}, {"_fd", 0}, {"_registration", 0}, {"_timeout", 0}};

/* Python functions. */
static PyObject *spend, *recv_twin, *recv_into_twin, *send_twin, *sendall_twin, *send_rest;

int
find_caller(PyObject *self, Caller *caller)
{
    PyObject *registered = get(self, &socket_.registration);
    if (!registered) {
        return -1;
    }
    if (!Py_IS_TYPE(registered, registration.type)) {
        Py_DECREF(registered);
        return BY_TWIN;
    }
    PyObject *greenlet = greenlet_getcurrent(), *home = NULL, *there = NULL;
    int status = -1;
    if (greenlet && !Py_IS_TYPE(greenlet, carrier.type)) {
        status = BY_TWIN;
    }
    else if (greenlet && (home = get(greenlet, &carrier.hub)) && (there = get(registered, &registration.hub))) {
        status = home == there && Py_IS_TYPE(home, hub.type) ? 0 : BY_TWIN;
    }
    Py_XDECREF(there);
    *caller = (Caller){greenlet, home, registered};
    if (status) {
        drop_caller(caller);
    }
    return status;
}

void
drop_caller(Caller *caller)
{
    Py_XDECREF(caller->home);
    Py_XDECREF(caller->greenlet);
    Py_DECREF(caller->registered);
}

int
wait_or_spend(Caller *caller)
{
    int readable = holds(caller->registered, &registration.readable, Py_True);
    return readable < 0 ? -1
           : readable   ? spend_budget(caller->greenlet)
                        : park(caller->registered, caller->greenlet, caller->home);
}

int
note_drained(Caller *caller)
{
    return set(caller->registered, &registration.readable, Py_False) < 0
               ? -1
               : set(caller->registered, &registration.hung_up, Py_False);
}

int
note_short_read(PyObject *self, Caller *caller)
{
    int drains = holds(self, &socket_.drains, Py_True);
    int exact = holds(caller->registered, &registration.hung_up, Py_False);
    if (drains > 0 && exact > 0) {
        return set(caller->registered, &registration.readable, Py_False);
    }
    return drains < 0 || exact < 0 ? -1 : 0;
}

/* Receive as soon as there is something, into *buffer* or, if that is NULL, into bytes. *result* becomes what the method
   returns. Returns 0 or -1. */
static int
receive_when_ready(PyObject *self, Caller *caller, void *buffer, Py_ssize_t size, PyObject **result)
{
    if (wait_or_spend(caller) < 0) {
        return -1;
    }
    for (;;) {
        int fd;
        if (get_fd(self, &fd) < 0) {
            return -1;
        }
        Py_ssize_t count;
        if (!buffer) {
            *result = receive_bytes_now(fd, size, &count);
        }
        else {
            count = receive_now(fd, buffer, (size_t)size);
            *result = count < 0 ? NULL : PyLong_FromSsize_t(count);
        }
        if (count >= 0) {
            if (!*result) {
                return -1;
            }
            if (count < size && note_short_read(self, caller) < 0) {
                Py_CLEAR(*result);
                return -1;
            }
            return 0;
        }
        if (count == FAILED || note_drained(caller) < 0 ||
            park(caller->registered, caller->greenlet, caller->home) < 0) {
            return -1;
        }
    }
}

/* In the usual case, do what receive_when_ready does. Otherwise return BY_TWIN. */
static int
receive_on_this_hub(PyObject *self, void *buffer, Py_ssize_t size, PyObject **result)
{
    int usual = has_no_timeout(self);
    if (usual <= 0) {
        return usual < 0 ? -1 : BY_TWIN;
    }
    Caller caller;
    int status = find_caller(self, &caller);
    if (status == 0) {
        status = receive_when_ready(self, &caller, buffer, size, result);
        drop_caller(&caller);
    }
    return status;
}

static PyObject *
socket_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs == 1 && PyLong_CheckExact(args[0])) {
        Py_ssize_t size = PyLong_AsSsize_t(args[0]);
        if (size == -1 && PyErr_Occurred()) {
            PyErr_Clear(); /* the twin raises it */
        }
        if (size > 0 && size <= KEEP_GIL_LIMIT) {
            PyObject *result = NULL;
            int status = receive_on_this_hub(self, NULL, size, &result);
            if (status != BY_TWIN) {
                return status < 0 ? NULL : result;
            }
        }
    }
    return call_twin(recv_twin, self, args, nargs, NULL);
}

static PyObject *
socket_recv_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    Py_buffer view;
    if (nargs == 1 && !names && PyObject_CheckBuffer(args[0])) {
        if (PyObject_GetBuffer(args[0], &view, PyBUF_WRITABLE) < 0) {
            PyErr_Clear(); /* the twin raises it */
        }
        else {
            PyObject *result = NULL;
            int status = view.len ? receive_on_this_hub(self, view.buf, view.len, &result) : BY_TWIN;
            PyBuffer_Release(&view);
            if (status != BY_TWIN) {
                return status < 0 ? NULL : result;
            }
        }
    }
    return call_twin(recv_into_twin, self, args, nargs, names);
}

/* Send what the kernel takes at once. Returns the count, WOULD_BLOCK, FAILED or BY_TWIN. *size* becomes the size of the
   data. */
static Py_ssize_t
send_at_once(PyObject *self, PyObject *data, Py_ssize_t *size)
{
    Py_buffer view;
    int fd, usual = has_no_timeout(self);
    if (usual <= 0) {
        return usual < 0 ? FAILED : BY_TWIN;
    }
    if (!PyObject_CheckBuffer(data)) {
        return BY_TWIN;
    }
    PyObject *greenlet = greenlet_getcurrent();
    if (!greenlet) {
        return FAILED;
    }
    int status = Py_IS_TYPE(greenlet, carrier.type) ? spend_budget(greenlet) : done(PyObject_CallNoArgs(spend));
    Py_DECREF(greenlet);
    /* The descriptor is read only now, because the greenlet may have yielded and another one closed the socket. */
    if (status < 0 || get_fd(self, &fd) < 0) {
        return FAILED;
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return BY_TWIN;
    }
    *size = view.len;
    Py_ssize_t count = send_now(fd, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return count;
}

static PyObject *
socket_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs == 1 && !names) {
        Py_ssize_t size, count = send_at_once(self, args[0], &size);
        if (count >= 0) {
            return PyLong_FromSsize_t(count);
        }
        if (count == FAILED) {
            return NULL;
        }
    }
    return call_twin(send_twin, self, args, nargs, names);
}

static PyObject *
socket_sendall(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs == 1) {
        Py_ssize_t size = 0, count = send_at_once(self, args[0], &size);
        if (count == FAILED) {
            return NULL;
        }
        if (count >= 0 && count == size) {
            Py_RETURN_NONE;
        }
        if (count != BY_TWIN) {
            PyObject *sent = PyLong_FromSsize_t(count >= 0 ? count : -1);
            if (!sent) {
                return NULL;
            }
            PyObject *result = PyObject_CallFunctionObjArgs(send_rest, self, args[0], sent, NULL);
            Py_DECREF(sent);
            return result;
        }
    }
    return call_twin(sendall_twin, self, args, nargs, NULL);
}

static Method socket_methods[] = {
    {{"recv", FASTCALL(socket_recv), METH_FASTCALL, NULL}, "($self, bufsize, flags=0, /)", &recv_twin},
    {{"recv_into", FASTCALL(socket_recv_into), METH_FASTCALL | METH_KEYWORDS, NULL},
     "($self, buffer, nbytes=0, flags=0)",
     &recv_into_twin},
    {{"send", FASTCALL(socket_send), METH_FASTCALL | METH_KEYWORDS, NULL},
     "($self, data, flags=0, /, *, timeout=-1)",
     &send_twin},
    {{"sendall", FASTCALL(socket_sendall), METH_FASTCALL, NULL}, "($self, data, flags=0, /)", &sendall_twin},
};

const char connect_socket_doc[] = PyDoc_STR(
"connect_socket($module, socket, spend, send_rest, /)\n--\n\n"
"Take note of the class. Returns the methods for it. Called once, after connect_waiter.");

PyObject *
connect_socket(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (check_arguments("connect_socket", args, nargs, "CFF") < 0 ||
        find_slots(args[0], SLOTS(socket_.drains, socket_.timeout)) < 0) {
        return NULL;
    }
    keep_type(&socket_.type, args[0]);
    keep(&spend, args[1]);
    keep(&send_rest, args[2]);
    return make_methods(socket_.type, socket_methods, LENGTH(socket_methods));
}
