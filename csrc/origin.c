/* Measured: spawn and join takes 1 % more instructions with it, an echo 0.3 %.

Where a task comes from, and since when a greenlet is parked: what greenpool.inspect cannot find out later.

The twins in _core/origin.py define what these do. Change both.

*Threads.* A new task is known to its maker only. A greenlet notes its own parks. */

#include "connect.h"
#include "module.h"
#include "origin.h"
#include "slots.h"

#include <time.h>

/* The clock of time.monotonic(). The coarse one of Linux has a resolution of a few milliseconds, and takes a fifth of
   the time. */
#if defined(CLOCK_MONOTONIC_COARSE)
#define PARKING_CLOCK CLOCK_MONOTONIC_COARSE
#elif defined(__APPLE__)
#define PARKING_CLOCK CLOCK_UPTIME_RAW
#else
#define PARKING_CLOCK CLOCK_MONOTONIC
#endif

/* The one that is read: the exact one while the hubs are recorded. */
static clockid_t clock_in_use = PARKING_CLOCK;

static struct {
    Slot born, origin, spawner;
} task = {{"born", 0}, {"origin", 0}, {"spawner", 0}};

static struct {
    PyTypeObject *type;
    Slot parked_at, task;
} carrier = {NULL, {"parked_at", 0}, {"task", 0}};

static PyObject *hidden_files, *str_task;

#ifndef Py_GIL_DISABLED
/* The origin of the last task, which mostly is that of the next one, too. */
static PyObject *last_origin;
#endif

static PyObject *
read_clock(void)
{
    struct timespec now;
    if (clock_gettime(clock_in_use, &now) < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyFloat_FromDouble((double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
}

int
note_park(PyObject *greenlet)
{
    PyObject *now = read_clock();
    int status = now ? set(greenlet, &carrier.parked_at, now) : -1;
    Py_XDECREF(now);
    return status;
}

/* A weak reference to the task of *greenlet*, or None. */
static PyObject *
find_spawner(PyObject *greenlet)
{
    PyObject *spawner =
        Py_IS_TYPE(greenlet, carrier.type) ? get(greenlet, &carrier.task) : PyObject_GetAttr(greenlet, str_task);
    if (!spawner && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        /* A main greenlet that has not been adopted. */
        PyErr_Clear();
        spawner = Py_NewRef(Py_None);
    }
    if (!spawner || spawner == Py_None) {
        return spawner;
    }
    PyObject *reference = PyWeakref_NewRef(spawner, NULL);
    Py_DECREF(spawner);
    return reference;
}

/* Whether the code belongs to one of the hidden files: 1 or 0, or -1 with an exception. */
static int
is_hidden(PyCodeObject *code)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(hidden_files); i++) {
        Py_ssize_t hidden =
            PyUnicode_Tailmatch(code->co_filename, PyTuple_GET_ITEM(hidden_files, i), 0, PY_SSIZE_T_MAX, -1);
        if (hidden) {
            return hidden < 0 ? -1 : 1;
        }
    }
    return 0;
}

static PyObject *
make_origin(PyCodeObject *code, int offset)
{
#ifdef Py_GIL_DISABLED
    return Py_BuildValue("(Oi)", code, offset);
#else
    PyObject *made = Py_BuildValue("(Oi)", code, offset);
    if (made) {
        keep(&last_origin, made);
    }
    return made;
#endif
}

/* The place at which *frame* is, or None if that is no place of the program. */
static PyObject *
find_place(PyFrameObject *frame)
{
    PyObject *place;
    PyCodeObject *code = PyFrame_GetCode(frame);
    int offset = PyFrame_GetLasti(frame);
#ifndef Py_GIL_DISABLED
    if (last_origin && PyTuple_GET_ITEM(last_origin, 0) == (PyObject *)code &&
        PyLong_AsLong(PyTuple_GET_ITEM(last_origin, 1)) == offset) {
        Py_DECREF(code);
        return Py_NewRef(last_origin);
    }
#endif
    int hidden = is_hidden(code);
    place = hidden < 0 ? NULL : hidden ? Py_NewRef(Py_None) : make_origin(code, offset);
    Py_DECREF(code);
    return place;
}

static PyObject *
find_origin(void)
{
    PyFrameObject *frame = (PyFrameObject *)Py_XNewRef((PyObject *)PyEval_GetFrame());
    PyObject *place = Py_NewRef(Py_None);
    while (frame && place == Py_None) {
        Py_DECREF(place);
        place = find_place(frame);
        if (place == Py_None) {
            PyFrameObject *caller = PyFrame_GetBack(frame);
            Py_DECREF(frame);
            frame = caller;
        }
    }
    Py_XDECREF(frame);
    return place;
}

int
initialize_origin(PyObject *new, PyObject *greenlet)
{
    PyObject *born = read_clock(), *spawner = born ? find_spawner(greenlet) : NULL;
    PyObject *origin = spawner ? find_origin() : NULL;
    if (!origin) {
        Py_XDECREF(born);
        Py_XDECREF(spawner);
        return -1;
    }
    initialize(new, &task.born, born);
    initialize(new, &task.spawner, spawner);
    initialize(new, &task.origin, origin);
    return 0;
}

const char note_origin_doc[] = PyDoc_STR(
"note_origin($module, task, greenlet, /)\n--\n\n"
"Note in which greenlet a new task was made, and at which place of the program.");

PyObject *
speedups_note_origin(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *new, *greenlet;
    if (!PyArg_ParseTuple(args, "OO:note_origin", &new, &greenlet)) {
        return NULL;
    }
    PyObject *spawner = find_spawner(greenlet), *origin = spawner ? find_origin() : NULL;
    int status = origin ? set(new, &task.spawner, spawner) : -1;
    if (status == 0) {
        status = set(new, &task.origin, origin);
    }
    Py_XDECREF(spawner);
    Py_XDECREF(origin);
    if (status < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

const char use_exact_clock_doc[] = PyDoc_STR(
"use_exact_clock($module, exact, /)\n--\n\n"
"Whether the moments of parks and of new tasks are exact, which takes longer.");

PyObject *
speedups_use_exact_clock(PyObject *Py_UNUSED(module), PyObject *exact)
{
    int is_exact = PyObject_IsTrue(exact);
    if (is_exact < 0) {
        return NULL;
    }
#if defined(CLOCK_MONOTONIC_COARSE)
    /* Other threads may be reading it. Both values are right. */
    clock_in_use = is_exact ? CLOCK_MONOTONIC : PARKING_CLOCK;
#endif
    Py_RETURN_NONE;
}

const char connect_origin_doc[] = PyDoc_STR(
"connect_origin($module, Task, Carrier, hidden_files, /)\n--\n\n"
"Take note of the classes, and of the files whose frames are none of the program's. Called once, before there is a\n"
"task.");

PyObject *
connect_origin(PyObject *Py_UNUSED(module), PyObject *args)
{
    static const Name names[] = {{&str_task, "task"}};
    PyObject *task_type, *carrier_type, *files;
    if (!PyArg_ParseTuple(args, "O!O!O!:connect_origin", &PyType_Type, &task_type, &PyType_Type, &carrier_type,
                          &PyTuple_Type, &files) ||
        intern_names(names, LENGTH(names)) < 0 || find_greenlet() < 0 ||
        find_slots(task_type, SLOTS(task.born, task.spawner)) < 0 ||
        find_slots(carrier_type, SLOTS(carrier.parked_at, carrier.task)) < 0) {
        return NULL;
    }
    keep_type(&carrier.type, carrier_type);
    keep(&hidden_files, files);
    Py_RETURN_NONE;
}
