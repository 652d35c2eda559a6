/* Measured: ping-pong over one hub: 1.08x of its twin in Python, without the GIL 1.22x.

How a greenlet waits for a descriptor, and its budget of operations.

`park` is the twin of Registration.wait_read in _core/descriptor.py, which defines what it does. Change both. It handles
the usual case: no timeout, no pending interrupt, no other reader, an edge-triggered poller. In all other cases it calls
its twin before anything has happened.

*References.* A parked greenlet holds references to its socket, its registration and itself, like the frames of the
twins. It holds none to a task, because it may stay parked for long. */

#include "module.h"
#include "sections.h"
#include "slots.h"
#include "waiter.h"

#include <errno.h>

struct carrier_slots carrier = {NULL, {"credit", 0}, {"hub", 0}, {"interrupts", 0}, {"thrown", 0}, {"waiter", 0}};

struct registration_slots registration = {NULL,
                                          {"arm", 0},
                                          {"closed", 0},
                                          {"crowd", 0},
                                          {"hub", 0},
                                          {"hung_up", 0},
                                          {"readable", 0},
                                          {"reader", 0},
                                          {"writer", 0}};

struct hub_slots hub = {NULL, {"ready", 0}, {"registrations", 0}};

static PyTypeObject *task_type;

/* Python functions, and the budget after a wait. */
static PyObject *switch_twin, *yield_now, *full_credit;

static PyObject *str_append, *str_appendleft, *str_popleft, *str_switch, *str_wait_read;

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
        /* A call from C would hold the task for as long as this greenlet is parked. A call from Python does not. */
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

/* Raise the exception of a kill or of a timeout, which *thrown* holds. */
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
raise_if_closed(PyObject *registered)
{
    int closed = holds(registered, &registration.closed, Py_True);
    if (closed > 0) {
        errno = EBADF;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return closed ? -1 : 0;
}

/* 1 if the twin has to wait, because of a pending interrupt, another reader or a level-triggered poller. */
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

int
park(PyObject *registered, PyObject *greenlet, PyObject *home)
{
    int unusual = is_unusual_wait(registered, greenlet);
    if (unusual) {
        return unusual < 0 ? -1 : done(PyObject_CallMethodOneArg(registered, str_wait_read, greenlet));
    }
    PyObject *ready = get(home, &hub.ready);
    if (!ready) {
        return -1;
    }
    int status = -1;
    if (set(registered, &registration.reader, greenlet) == 0 && set(greenlet, &carrier.waiter, registered) == 0 &&
        set(greenlet, &carrier.credit, full_credit) == 0 && switch_to_next(ready) == 0 &&
        set(greenlet, &carrier.waiter, Py_None) == 0 && raise_thrown(greenlet) == 0) {
        status = raise_if_closed(registered);
    }
    Py_DECREF(ready);
    return status;
}

int
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

int
spend_budget(PyObject *greenlet)
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

const char connect_waiter_doc[] = PyDoc_STR(
"connect_waiter($module, Carrier, Registration, Hub, Task, switch_to_next, yield_now, credit, /)\n--\n\n"
"Take note of the classes, the functions and the full budget. Called once, before there is a hub.");

PyObject *
connect_waiter(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {
        {&str_append, "append"}, {&str_appendleft, "appendleft"}, {&str_popleft, "popleft"},
        {&str_switch, "switch"}, {&str_wait_read, "wait_read"},
    };
    if (check_arguments("connect_waiter", args, nargs, "CCCCFFI") < 0 || intern_names(names, LENGTH(names)) < 0 ||
        find_greenlet() < 0 || find_slots(args[0], SLOTS(carrier.credit, carrier.waiter)) < 0 ||
        find_slots(args[1], SLOTS(registration.arm, registration.writer)) < 0 ||
        find_slots(args[2], SLOTS(hub.ready, hub.registrations)) < 0) {
        return NULL;
    }
    keep_type(&carrier.type, args[0]);
    keep_type(&registration.type, args[1]);
    keep_type(&hub.type, args[2]);
    keep_type(&task_type, args[3]);
    keep(&switch_twin, args[4]);
    keep(&yield_now, args[5]);
    keep(&full_credit, args[6]);
    Py_RETURN_NONE;
}
