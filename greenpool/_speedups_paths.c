/* greenpool._speedups: the methods that a busy hub spends its time in.

Each has a twin in Python, which it takes the place of, and which defines what it does: socket.recv and its
like in socket.py, Registration.wait_read in _core/descriptor.py, Hub._dispatch in _core/hub.py. Change both.
Only the usual case is written here. For any other (a timeout, flags, a greenlet that is no carrier, a socket
that this hub has not registered, several readers) the twin is called, before anything has happened.

*State* is that of the Python classes: it lies in their __slots__ (see _speedups_slots.h).

*Threads.* A registration and a carrier belong to their hub's thread, which runs this code. A socket's slots
may be replaced by any thread meanwhile: so each is read once, and without the GIL as getattr() does it.

*References.* What is parked holds references to its socket, its registration and itself, as the frames of
the twins do, but to no task: it may be parked for long. */

#include "_speedups.h"
#include "_speedups_slots.h"

#include <errno.h>
#include <string.h>

enum {
    /* As in descriptor.py. */
    READ = 0x001 | 0x002 | 0x008 | 0x010 | 0x2000,
    WRITE = 0x004 | 0x008 | 0x010,
    RARE = 0x002 | 0x008 | 0x010 | 0x2000,
};

/* When it is not a count: the twin is to do it. */
enum { BY_TWIN = -3 };

/* Slots of the Python classes. */

static struct {
    PyTypeObject *type;
    Slot credit, hub, interrupts, thrown, waiter;
} carrier = {NULL, {"credit", 0}, {"hub", 0}, {"interrupts", 0}, {"thrown", 0}, {"waiter", 0}};

static struct {
    PyTypeObject *type;
    Slot arm, closed, crowd, hub, hung_up, readable, reader, writer;
} registration = {NULL,
                  {"arm", 0},
                  {"closed", 0},
                  {"crowd", 0},
                  {"hub", 0},
                  {"hung_up", 0},
                  {"readable", 0},
                  {"reader", 0},
                  {"writer", 0}};

static struct {
    PyTypeObject *type;
    Slot ready, registrations;
} hub = {NULL, {"ready", 0}, {"registrations", 0}};

static struct {
    PyTypeObject *type;
    Slot drains, fd, registration, timeout;
} socket_ = {NULL, {"_drains", 0}, {"_fd", 0}, {"_registration", 0}, {"_timeout", 0}};

static PyTypeObject *task_type;

/* Python functions, and an int that is stored often. */
static PyObject *dispatch_twin, *switch_twin, *yield_now, *spend, *full_credit;
static PyObject *recv_twin, *recv_into_twin, *send_twin, *sendall_twin, *send_rest;

static PyObject *str_append, *str_appendleft, *str_popleft, *str_switch, *str_wait_read, *str_wake_crowd;

/* Waiting. */

/* ready.popleft().switch() */
static int
switch_to_next(PyObject *ready)
{
    PyObject *next = PyObject_CallMethodNoArgs(ready, str_popleft), *result;
    if (!next) {
        return -1;
    }
    uintptr_t held = leave_sections();
    if (Py_IS_TYPE(next, carrier.type)) {
        result = greenlet_switch(next, NULL, NULL);
    }
    else if (PyObject_TypeCheck(next, task_type)) {
        /* A call from C would hold the task for as long as this greenlet is parked; one from Python does not. */
        result = PyObject_CallMethodOneArg(ready, str_appendleft, next);
        if (result) {
            Py_DECREF(next);
            next = result; /* None */
            result = PyObject_CallOneArg(switch_twin, ready);
        }
    }
    else {
        result = PyObject_CallMethodNoArgs(next, str_switch);
    }
    return_to_sections(held);
    Py_DECREF(next);
    return done(result);
}

/* What *thrown* holds: a kill's or a timeout's exception. */
static int
raise_thrown(PyObject *greenlet)
{
    PyObject *thrown = get(greenlet, &carrier.thrown);
    if (!thrown) {
        return -1;
    }
    if (thrown == Py_None) {
        Py_DECREF(thrown);
        return 0;
    }
    if (set(greenlet, &carrier.thrown, Py_None) == 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(thrown), thrown);
    }
    Py_DECREF(thrown);
    return -1;
}

static int
is_closed(PyObject *registered)
{
    int closed = holds(registered, &registration.closed, Py_True);
    if (closed > 0) {
        errno = EBADF;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return closed;
}

/* Whether the twin has to carry the wait out: pending interrupts, another reader, a level-triggered poller. */
static int
is_unusual_wait(PyObject *registered, PyObject *greenlet)
{
    PyObject *interrupts = get(greenlet, &carrier.interrupts);
    if (!interrupts) {
        return -1;
    }
    int unusual = PyTuple_CheckExact(interrupts) ? PyTuple_GET_SIZE(interrupts) > 0 : 1;
    Py_DECREF(interrupts);
    if (!unusual) {
        int alone = holds(registered, &registration.reader, Py_None);
        unusual = alone < 0 ? -1 : !alone;
    }
    if (!unusual) {
        int edge_triggered = holds(registered, &registration.arm, Py_None);
        unusual = edge_triggered < 0 ? -1 : !edge_triggered;
    }
    return unusual;
}

/* Registration.wait_read without a timeout, for a carrier of its hub. */
static int
park_for_reading(PyObject *registered, PyObject *greenlet, PyObject *ready)
{
    int unusual = is_unusual_wait(registered, greenlet);
    if (unusual) {
        return unusual < 0 ? -1 : done(PyObject_CallMethodOneArg(registered, str_wait_read, greenlet));
    }
    if (set(registered, &registration.reader, greenlet) < 0 ||
        set(greenlet, &carrier.waiter, registered) < 0 || set(greenlet, &carrier.credit, full_credit) < 0 ||
        switch_to_next(ready) < 0 || set(greenlet, &carrier.waiter, Py_None) < 0 ||
        raise_thrown(greenlet) < 0) {
        return -1;
    }
    return is_closed(registered) ? -1 : 0;
}

/* Count one operation of a carrier, before it is carried out: where it yields, what is pending is raised. */
static int
spend_credit(PyObject *greenlet)
{
    long credit;
    if (get_int(greenlet, &carrier.credit, &credit) < 0) {
        return -1;
    }
    if (credit <= 0) {
        return done(PyObject_CallNoArgs(yield_now));
    }
    PyObject *left = PyLong_FromLong(credit - 1);
    int result = left ? set(greenlet, &carrier.credit, left) : -1;
    Py_XDECREF(left);
    return result;
}

/* Sockets. */

/* 1 if the call may wait for ever, and no longer; 0 if there is a timeout. */
static inline int
has_no_timeout(PyObject *self)
{
    return holds(self, &socket_.timeout, Py_None);
}

static inline int
get_fd(PyObject *self, int *fd)
{
    long number;
    if (get_int(self, &socket_.fd, &number) < 0) {
        return -1;
    }
    *fd = (int)number;
    return 0;
}

/* Receive into *buffer* as soon as there is something; *result* becomes what the method returns. 0, -1 or
   BY_TWIN. The greenlet and the registration, which are the caller's, belong together. */
static int
receive_when_ready(PyObject *self, PyObject *greenlet, PyObject *registered, PyObject *ready, void *buffer,
                   Py_ssize_t size, int as_bytes, PyObject **result)
{
    int readable = holds(registered, &registration.readable, Py_True);
    if (readable < 0 ||
        (readable ? spend_credit(greenlet) : park_for_reading(registered, greenlet, ready)) < 0) {
        return -1;
    }
    for (;;) {
        int fd;
        if (get_fd(self, &fd) < 0) {
            return -1;
        }
        Py_ssize_t count = receive_now(fd, buffer, (size_t)size, 0);
        if (count >= 0) {
            *result = as_bytes ? PyBytes_FromStringAndSize(buffer, count) : PyLong_FromSsize_t(count);
            if (!*result) {
                return -1;
            }
            if (count == size) {
                return 0;
            }
            /* The short-read rule. */
            int drains = holds(self, &socket_.drains, Py_True);
            int exact = holds(registered, &registration.hung_up, Py_False);
            if (drains > 0 && exact > 0) {
                drains = set(registered, &registration.readable, Py_False);
            }
            if (drains < 0 || exact < 0) {
                Py_CLEAR(*result);
                return -1;
            }
            return 0;
        }
        if (count == FAILED || set(registered, &registration.readable, Py_False) < 0 ||
            set(registered, &registration.hung_up, Py_False) < 0 ||
            park_for_reading(registered, greenlet, ready) < 0) {
            return -1;
        }
    }
}

/* As receive_when_ready, once it is clear that this is the usual case. */
static int
receive_on_this_hub(PyObject *self, void *buffer, Py_ssize_t size, int as_bytes, PyObject **result)
{
    int usual = has_no_timeout(self);
    if (usual <= 0) {
        return usual < 0 ? -1 : BY_TWIN;
    }
    PyObject *registered = get(self, &socket_.registration);
    if (!registered) {
        return -1;
    }
    if (!Py_IS_TYPE(registered, registration.type)) {
        Py_DECREF(registered);
        return BY_TWIN;
    }
    PyObject *greenlet = greenlet_getcurrent(), *home = NULL, *there = NULL, *ready = NULL;
    int status = -1;
    if (greenlet && !Py_IS_TYPE(greenlet, carrier.type)) {
        status = BY_TWIN;
    }
    else if (greenlet && (home = get(greenlet, &carrier.hub)) && (there = get(registered, &registration.hub))) {
        if (home != there || !Py_IS_TYPE(home, hub.type)) {
            status = BY_TWIN;
        }
        else if ((ready = get(home, &hub.ready))) {
            status = receive_when_ready(self, greenlet, registered, ready, buffer, size, as_bytes, result);
        }
    }
    Py_XDECREF(ready);
    Py_XDECREF(there);
    Py_XDECREF(home);
    Py_XDECREF(greenlet);
    Py_DECREF(registered);
    return status;
}

static PyObject *
socket_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs == 1 && PyLong_CheckExact(args[0])) {
        Py_ssize_t size = PyLong_AsSsize_t(args[0]);
        if (size == -1 && PyErr_Occurred()) {
            PyErr_Clear(); /* the twin says it */
        }
        if (size > 0 && size <= KEEP_GIL_LIMIT) {
            PyObject *result = NULL;
            int status = receive_on_this_hub(self, receive_buffer(), size, 1, &result);
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
            PyErr_Clear(); /* the twin says it */
        }
        else {
            PyObject *result = NULL;
            int status = view.len ? receive_on_this_hub(self, view.buf, view.len, 0, &result) : BY_TWIN;
            PyBuffer_Release(&view);
            if (status != BY_TWIN) {
                return status < 0 ? NULL : result;
            }
        }
    }
    return call_twin(recv_into_twin, self, args, nargs, names);
}

/* Send what the kernel takes at once: the count, WOULD_BLOCK, FAILED, or BY_TWIN. *size* becomes that of the
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
    int status = Py_IS_TYPE(greenlet, carrier.type) ? spend_credit(greenlet) : done(PyObject_CallNoArgs(spend));
    Py_DECREF(greenlet);
    /* Only now, as somebody may have closed the socket where this has yielded. */
    if (status < 0 || get_fd(self, &fd) < 0) {
        return FAILED;
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return BY_TWIN;
    }
    *size = view.len;
    Py_ssize_t count = send_now(fd, view.buf, (size_t)view.len, 0);
    PyBuffer_Release(&view);
    return count;
}

static PyObject *
socket_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs == 1) {
        Py_ssize_t size, count = send_at_once(self, args[0], &size);
        if (count >= 0) {
            return PyLong_FromSsize_t(count);
        }
        if (count == FAILED) {
            return NULL;
        }
    }
    return call_twin(send_twin, self, args, nargs, NULL);
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

/* Hub._dispatch. */

/* Make ready who waits in *slot*, if anybody does. */
static int
wake(PyObject *registered, const Slot *slot, PyObject *ready)
{
    PyObject *greenlet = get(registered, slot);
    int status = greenlet ? 0 : -1;
    if (greenlet && greenlet != Py_None) {
        status = set(registered, slot, Py_None);
        if (status == 0) {
            status = done(PyObject_CallMethodOneArg(ready, str_append, greenlet));
        }
    }
    Py_XDECREF(greenlet);
    return status;
}

static int
dispatch_event(PyObject *registered, PyObject *events, PyObject *ready)
{
    long mask = PyLong_AsLong(events);
    if (mask == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (mask & READ && (set(registered, &registration.readable, Py_True) < 0 ||
                        wake(registered, &registration.reader, ready) < 0)) {
        return -1;
    }
    if (mask & WRITE && wake(registered, &registration.writer, ready) < 0) {
        return -1;
    }
    if (mask & RARE && set(registered, &registration.hung_up, Py_True) < 0) {
        return -1;
    }
    int alone = holds(registered, &registration.crowd, Py_None);
    if (alone == 0) {
        return done(PyObject_CallMethodOneArg(registered, str_wake_crowd, events));
    }
    return alone < 0 ? -1 : 0;
}

static PyObject *
hub_dispatch(PyObject *self, PyObject *events)
{
    if (!PyList_CheckExact(events)) {
        PyErr_Format(PyExc_TypeError, "events must be a list, not %R", events);
        return NULL;
    }
    Py_ssize_t count = PyList_GET_SIZE(events);
    if (!count) {
        Py_RETURN_NONE;
    }
    PyObject *ready = get(self, &hub.ready), *registrations = get(self, &hub.registrations);
    int status = ready && registrations ? 0 : -1;
    /* The list is the poller's, made for this call: nobody else has it. */
    for (Py_ssize_t i = 0; i < count && status == 0; i++) {
        PyObject *event = PyList_GET_ITEM(events, i);
        if (!PyTuple_CheckExact(event) || PyTuple_GET_SIZE(event) != 2) {
            PyErr_Format(PyExc_TypeError, "an event must be (descriptor, mask), not %R", event);
            status = -1;
            break;
        }
        /* Only this thread touches the table. */
        PyObject *registered = PyDict_GetItemWithError(registrations, PyTuple_GET_ITEM(event, 0));
        if (!registered) {
            status = PyErr_Occurred() ? -1 : 0;
        }
        else {
            Py_INCREF(registered);
            if (PyObject_TypeCheck(registered, registration.type)) {
                status = dispatch_event(registered, PyTuple_GET_ITEM(event, 1), ready);
            }
            else {
                PyErr_Format(PyExc_TypeError, "not a Registration: %R", registered);
                status = -1;
            }
            Py_DECREF(registered);
        }
    }
    Py_XDECREF(ready);
    Py_XDECREF(registrations);
    if (status < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Connecting. */

static Method hub_methods[] = {{{"_dispatch", hub_dispatch, METH_O, NULL}, "($self, events, /)", &dispatch_twin}};

const char connect_core_doc[] = PyDoc_STR(
"connect_core($module, Carrier, Registration, Hub, Task, switch_to_next, yield_now, /)\n--\n\n"
"Take note of the classes; return the methods for Hub. Called once, before there is a hub.");

PyObject *
connect_core(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {
        {&str_append, "append"}, {&str_appendleft, "appendleft"}, {&str_popleft, "popleft"},
        {&str_switch, "switch"}, {&str_wait_read, "wait_read"},   {&str_wake_crowd, "wake_crowd"},
    };
    if (check_types("connect_core", args, nargs, 6, 4) < 0 || intern_names(names, LENGTH(names)) < 0 ||
        find_greenlet() < 0 || find_slots(args[0], SLOTS(carrier.credit, carrier.waiter)) < 0 ||
        find_slots(args[1], SLOTS(registration.arm, registration.writer)) < 0 ||
        find_slots(args[2], SLOTS(hub.ready, hub.registrations)) < 0) {
        return NULL;
    }
    PyObject *credit = PyLong_FromLong(128);
    if (!credit) {
        return NULL;
    }
    Py_XSETREF(full_credit, credit);
    keep_type(&carrier.type, args[0]);
    keep_type(&registration.type, args[1]);
    keep_type(&hub.type, args[2]);
    keep_type(&task_type, args[3]);
    keep(&switch_twin, args[4]);
    keep(&yield_now, args[5]);
    return make_methods(hub.type, hub_methods, LENGTH(hub_methods));
}

static Method socket_methods[] = {
    {{"recv", FASTCALL(socket_recv), METH_FASTCALL, NULL}, "($self, bufsize, flags=0, /)", &recv_twin},
    {{"recv_into", FASTCALL(socket_recv_into), METH_FASTCALL | METH_KEYWORDS, NULL},
     "($self, buffer, nbytes=0, flags=0)",
     &recv_into_twin},
    {{"send", FASTCALL(socket_send), METH_FASTCALL, NULL}, "($self, data, flags=0, /)", &send_twin},
    {{"sendall", FASTCALL(socket_sendall), METH_FASTCALL, NULL}, "($self, data, flags=0, /)", &sendall_twin},
};

const char connect_socket_doc[] = PyDoc_STR(
"connect_socket($module, socket, spend, send_rest, /)\n--\n\n"
"Take note of the class; return the methods for it. Called once, after connect_core.");

PyObject *
connect_socket(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (check_types("connect_socket", args, nargs, 3, 1) < 0 ||
        find_slots(args[0], SLOTS(socket_.drains, socket_.timeout)) < 0) {
        return NULL;
    }
    keep_type(&socket_.type, args[0]);
    keep(&spend, args[1]);
    keep(&send_rest, args[2]);
    return make_methods(socket_.type, socket_methods, LENGTH(socket_methods));
}
