/* Measured: the switch benchmark takes 1.65x of its time while it is recorded, with the twins in Python 2.4x.

What _core/recorder.py and _core/park_reason.py do at each switch and at each park.

The twins, SwitchRecorder and `stack_key`, define what these do. Change both.

*Threads.* A recorder belongs to one hub, and only the thread of the hub calls it. Another thread may copy the list
of entries meanwhile, and then finds the first half of a pair at its end. */

#include "connect.h"
#include "module.h"
#include "slots.h"
#include "waiter.h"

#include <time.h>

/* The clock of time.monotonic(). */
#ifdef __APPLE__
#define CLOCK CLOCK_UPTIME_RAW
#else
#define CLOCK CLOCK_MONOTONIC
#endif

typedef struct {
    PyObject_HEAD
    PyObject *entries, *note_park, *following;
} Recorder;

static PyObject *str_gr_frame, *str_waiter;

static int
recorder_traverse(Recorder *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->entries);
    Py_VISIT(self->note_park);
    Py_VISIT(self->following);
    return 0;
}

static int
recorder_clear(Recorder *self)
{
    Py_CLEAR(self->entries);
    Py_CLEAR(self->note_park);
    Py_CLEAR(self->following);
    return 0;
}

static void
recorder_dealloc(Recorder *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    recorder_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
recorder_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(names))
{
    PyObject *entries, *note_park, *following;
    if (!PyArg_ParseTuple(args, "O!OO:SwitchRecorder", &PyList_Type, &entries, &note_park, &following)) {
        return NULL;
    }
    Recorder *self = (Recorder *)type->tp_alloc(type, 0);
    if (self) {
        self->entries = Py_NewRef(entries);
        self->note_park = Py_NewRef(note_park);
        self->following = Py_NewRef(following);
    }
    return (PyObject *)self;
}

/* Append *item*, which may be NULL with an exception, and let go of it. */
static int
append(PyObject *entries, PyObject *item)
{
    int status = item ? PyList_Append(entries, item) : -1;
    Py_XDECREF(item);
    return status;
}

/* Whether *greenlet* has a waiter: 1 or 0, or -1 with an exception. */
static int
has_waiter(PyObject *greenlet)
{
    PyObject *waiter = Py_IS_TYPE(greenlet, carrier.type) ? get(greenlet, &carrier.waiter)
                                                          : PyObject_GetAttr(greenlet, str_waiter);
    if (!waiter) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        /* A main or raw greenlet that has not been adopted. */
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(waiter);
    return waiter != Py_None;
}

static int
record(Recorder *self, PyObject *switched)
{
    if (!PyTuple_Check(switched) || PyTuple_GET_SIZE(switched) != 2) {
        PyErr_Format(PyExc_TypeError, "a switch must be (origin, target), not %R", switched);
        return -1;
    }
    PyObject *origin = PyTuple_GET_ITEM(switched, 0), *target = PyTuple_GET_ITEM(switched, 1);
    struct timespec now;
    if (clock_gettime(CLOCK, &now) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    if (append(self->entries, PyFloat_FromDouble((double)now.tv_sec + 1e-9 * (double)now.tv_nsec)) < 0 ||
        append(self->entries, PyLong_FromVoidPtr(target)) < 0) {
        return -1;
    }
    int parks = has_waiter(origin);
    return parks > 0 ? done(PyObject_CallOneArg(self->note_park, origin)) : parks;
}

static PyObject *
recorder_call(Recorder *self, PyObject *args, PyObject *Py_UNUSED(names))
{
    if (PyTuple_GET_SIZE(args) != 2) {
        PyErr_SetString(PyExc_TypeError, "a recorder takes an event and a switch");
        return NULL;
    }
    if (self->entries && self->entries != Py_None && record(self, PyTuple_GET_ITEM(args, 1)) < 0) {
        return NULL;
    }
    if (!self->following || self->following == Py_None) {
        Py_RETURN_NONE;
    }
    PyObject *following = Py_NewRef(self->following), *result = PyObject_Call(following, args, NULL);
    Py_DECREF(following);
    return result;
}

static PyObject *
recorder_stop(Recorder *self, PyObject *Py_UNUSED(none))
{
    Py_XSETREF(self->entries, Py_NewRef(Py_None));
    Py_XSETREF(self->note_park, Py_NewRef(Py_None));
    Py_RETURN_NONE;
}

static PyMethodDef recorder_methods[] = {
    {"stop", (PyCFunction)(void (*)(void))recorder_stop, METH_NOARGS, "Record no more."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot recorder_slots[] = {
    {Py_tp_doc, "Records each switch of one thread."},
    {Py_tp_new, recorder_new},
    {Py_tp_call, recorder_call},
    {Py_tp_methods, recorder_methods},
    {Py_tp_traverse, recorder_traverse},
    {Py_tp_clear, recorder_clear},
    {Py_tp_dealloc, recorder_dealloc},
    {0, NULL},
};

static PyType_Spec recorder_spec = {
    .name = "greenpool._speedups.SwitchRecorder",
    .basicsize = sizeof(Recorder),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = recorder_slots,
};

const char make_switch_recorder_doc[] = PyDoc_STR(
"make_switch_recorder($module, /)\n--\n\n"
"Returns the type of the recorder of switches. Called once, after connect_waiter.");

PyObject *
speedups_make_switch_recorder(PyObject *module, PyObject *Py_UNUSED(no_argument))
{
    static const Name names[] = {{&str_gr_frame, "gr_frame"}, {&str_waiter, "waiter"}};
    return intern_names(names, LENGTH(names)) < 0 ? NULL : PyType_FromModuleAndSpec(module, &recorder_spec, NULL);
}

typedef struct {
    void *code;
    long offset;
} Place;

const char stack_key_doc[] = PyDoc_STR(
"stack_key($module, greenlet, /)\n--\n\n"
"What greenlets with equal stacks have in common; valid as long as somebody refers to their code.");

PyObject *
speedups_stack_key(PyObject *Py_UNUSED(module), PyObject *greenlet)
{
    Place few[32], *places = few;
    size_t count = 0, room = LENGTH(few);
    PyObject *frame = PyObject_GetAttr(greenlet, str_gr_frame), *key = NULL;
    if (!frame) {
        return NULL;
    }
    while (frame && PyFrame_Check(frame)) {
        if (count == room) {
            Place *more = PyMem_Malloc(2 * room * sizeof(Place));
            if (!more) {
                PyErr_NoMemory();
                goto done;
            }
            memcpy(more, places, count * sizeof(Place));
            if (places != few) {
                PyMem_Free(places);
            }
            places = more;
            room *= 2;
        }
        PyCodeObject *code = PyFrame_GetCode((PyFrameObject *)frame);
        places[count].code = code;
        places[count++].offset = PyFrame_GetLasti((PyFrameObject *)frame);
        Py_DECREF(code);
        PyObject *caller = (PyObject *)PyFrame_GetBack((PyFrameObject *)frame);
        Py_DECREF(frame);
        frame = caller;
    }
    key = PyBytes_FromStringAndSize((const char *)places, (Py_ssize_t)(count * sizeof(Place)));
done:
    Py_XDECREF(frame);
    if (places != few) {
        PyMem_Free(places);
    }
    return key;
}
