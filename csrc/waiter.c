/* Measured: ping-pong over one hub: 1.08x of its twin in Python, without the GIL 1.22x.

How a greenlet waits for a descriptor, and its budget of operations.

`park` is the twin of Registration.wait_read in _core/registration.py, which defines what it does, and of the Waiter.park
that it calls. Change both. It handles
the usual case: no timeout, no pending interrupt, no other reader, an edge-triggered poller. In all other cases it calls
its twin before anything has happened.

*References.* A parked greenlet holds references to its socket, its registration and itself, like the frames of the
twins. It holds none to a task, because it may stay parked for long. */

#include "module.h"
#include "origin.h"
#include "sections.h"
#include "slots.h"
#include "waiter.h"

#include <errno.h>

struct carrier_slots carrier = {NULL, {"budget", 0}, {"hub", 0}, {"interrupts", 0}, {"task", 0}, {"waiter", 0}};

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

static struct {
    PyTypeObject *type;
    Slot greenlet, guard, hub, state, value;
} waiter = {NULL, {"greenlet", 0}, {"guard", 0}, {"hub", 0}, {"state", 0}, {"value", 0}};

/* A park ends when the state of its waiter is this or more: woken, failed or expired. */
static long park_ends;

static PyTypeObject *task_type;

/* Python functions, the budget after a wait, and two states of a waiter. */
static PyObject *switch_twin, *yield_now, *full_budget, *waiting, *woken;

static PyObject *str_append, *str_appendleft, *str_outcome, *str_popleft, *str_switch, *str_wait_read;

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

/* A waiter of *greenlet*, the calling one, without a guard. */
static PyObject *
make_waiter(PyObject *greenlet, PyObject *home)
{
    PyObject *made = waiter.type->tp_alloc(waiter.type, 0);
    if (made) {
        initialize(made, &waiter.greenlet, Py_NewRef(greenlet));
        initialize(made, &waiter.hub, Py_NewRef(home));
        initialize(made, &waiter.guard, Py_NewRef(Py_None));
        initialize(made, &waiter.value, Py_NewRef(Py_None));
        initialize(made, &waiter.state, Py_NewRef(waiting));
    }
    return made;
}

/* Waiter.park without a timeout: give the hub to the next greenlet until *parked*, a waiter of *greenlet*, is claimed.
   *state* becomes that of the waiter. */
static int
switch_until_claimed(PyObject *greenlet, PyObject *parked, PyObject *ready, long *state)
{
    if (note_park(greenlet) < 0 || set(greenlet, &carrier.waiter, parked) < 0) {
        return -1;
    }
    int status;
    do {
        status = switch_to_next(ready);
        if (status == 0) {
            status = get_int(parked, &waiter.state, state);
        }
    } while (status == 0 && *state < park_ends);
    PyObject *kind, *value, *traceback;
    PyErr_Fetch(&kind, &value, &traceback);
    if (set(greenlet, &carrier.waiter, Py_None) < 0) {
        PyErr_WriteUnraisable(greenlet);
    }
    PyErr_Restore(kind, value, traceback);
    return status;
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

/* 1 if the twin has to wait, because of a pending interrupt or a level-triggered poller. */
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
        int edge_triggered = holds(registered, &registration.arm, Py_None);
        unusual = edge_triggered < 0 ? -1 : !edge_triggered;
    }
    return unusual;
}

/* The reader's waiter, for *greenlet*: that of its last wait or a new one. NULL without an exception if another
   greenlet waits there. */
static PyObject *
get_reader(PyObject *registered, PyObject *greenlet, PyObject *home)
{
    PyObject *reader = get(registered, &registration.reader);
    if (!reader) {
        return NULL;
    }
    if (Py_IS_TYPE(reader, waiter.type)) {
        int unclaimed = holds(reader, &waiter.state, waiting);
        int own = unclaimed ? 0 : holds(reader, &waiter.greenlet, greenlet);
        if (own > 0) {
            own = set(reader, &waiter.state, waiting) < 0 ? -1 : 1;
        }
        if (own > 0) {
            return reader;
        }
        if (unclaimed || own < 0) {
            Py_DECREF(reader);
            return NULL;
        }
    }
    Py_DECREF(reader);
    reader = make_waiter(greenlet, home);
    if (reader && set(registered, &registration.reader, reader) < 0) {
        Py_CLEAR(reader);
    }
    return reader;
}

int
park(PyObject *registered, PyObject *greenlet, PyObject *home)
{
    PyObject *parked = NULL;
    int unusual = is_unusual_wait(registered, greenlet);
    if (!unusual) {
        parked = get_reader(registered, greenlet, home);
        unusual = parked ? 0 : PyErr_Occurred() ? -1 : 1;
    }
    if (unusual) {
        return unusual < 0 ? -1 : done(PyObject_CallMethodOneArg(registered, str_wait_read, greenlet));
    }
    PyObject *ready = get(home, &hub.ready);
    long state = 0;
    int status = -1;
    if (ready && set(greenlet, &carrier.budget, full_budget) == 0 &&
        switch_until_claimed(greenlet, parked, ready, &state) == 0) {
        status = state == park_ends ? raise_if_closed(registered) : done(PyObject_CallMethodNoArgs(parked, str_outcome));
    }
    Py_XDECREF(ready);
    Py_DECREF(parked);
    return status;
}

int
wake(PyObject *registered, const Slot *slot, PyObject *ready)
{
    PyObject *parked = get(registered, slot);
    if (!parked || parked == Py_None) {
        Py_XDECREF(parked);
        return parked ? 0 : -1;
    }
    if (!Py_IS_TYPE(parked, waiter.type)) {
        PyErr_Format(PyExc_TypeError, "not a Waiter: %R", parked);
        Py_DECREF(parked);
        return -1;
    }
    int status = holds(parked, &waiter.state, waiting);
    if (status > 0) {
        PyObject *greenlet = get(parked, &waiter.greenlet);
        status = greenlet ? set(parked, &waiter.state, woken) : -1;
        if (status == 0) {
            status = done(PyObject_CallMethodOneArg(ready, str_append, greenlet));
        }
        Py_XDECREF(greenlet);
    }
    Py_DECREF(parked);
    return status;
}

int
spend_budget(PyObject *greenlet)
{
    long budget;
    if (get_int(greenlet, &carrier.budget, &budget) < 0) {
        return -1;
    }
    if (budget <= 0) {
        return done(PyObject_CallNoArgs(yield_now));
    }
    PyObject *left = PyLong_FromLong(budget - 1);
    int result = left ? set(greenlet, &carrier.budget, left) : -1;
    Py_XDECREF(left);
    return result;
}

const char connect_waiter_doc[] = PyDoc_STR(
"connect_waiter($module, Carrier, Registration, Hub, Task, Waiter, switch_to_next, yield_now, budget, waiting, woken,\n"
"/)\n--\n\n"
"Take note of the classes, the functions, the full budget and two states. Called once, before there is a hub.");

PyObject *
connect_waiter(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {
        {&str_append, "append"},   {&str_appendleft, "appendleft"}, {&str_outcome, "outcome"},
        {&str_popleft, "popleft"}, {&str_switch, "switch"},         {&str_wait_read, "wait_read"},
    };
    if (check_arguments("connect_waiter", args, nargs, "CCCCCFFIII") < 0 || intern_names(names, LENGTH(names)) < 0 ||
        find_greenlet() < 0 || find_slots(args[0], SLOTS(carrier.budget, carrier.waiter)) < 0 ||
        find_slots(args[1], SLOTS(registration.arm, registration.writer)) < 0 ||
        find_slots(args[2], SLOTS(hub.ready, hub.registrations)) < 0 ||
        find_slots(args[4], SLOTS(waiter.greenlet, waiter.value)) < 0) {
        return NULL;
    }
    park_ends = PyLong_AsLong(args[9]);
    keep_type(&carrier.type, args[0]);
    keep_type(&registration.type, args[1]);
    keep_type(&hub.type, args[2]);
    keep_type(&task_type, args[3]);
    keep_type(&waiter.type, args[4]);
    keep(&switch_twin, args[5]);
    keep(&yield_now, args[6]);
    keep(&full_budget, args[7]);
    keep(&waiting, args[8]);
    keep(&woken, args[9]);
    Py_RETURN_NONE;
}
