/* Measured: is_set and wait of an event that is set: 1.9x of their twins in Python (1,272 instructions, 2,413).

Event.wait of a patched program, when the event is set.

Its twin in threading.py defines what it does: it counts as an operation and returns True. In all other cases the method
calls its twin before anything has happened.

*Threads.* Any thread may call it. */

#include "module.h"
#include "thread.h"

static PyObject *wait_twin, *str_flag;

/* Returns 1 if the flag is up and the wait has been counted, 0 if the twin has to decide it, or -1. */
static int
pass(PyObject *self)
{
    PyObject *flag = PyObject_GetAttr(self, str_flag);
    Py_XDECREF(flag);
    if (flag != Py_True) {
        return flag ? 0 : -1;
    }
    struct operation operation;
    int status = begin_operation(&operation);
    return end_operation(&operation, status);
}

static PyObject *
wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs + (names ? PyTuple_GET_SIZE(names) : 0) == 0) {
        int passed = pass(self);
        if (passed) {
            return passed < 0 ? NULL : Py_NewRef(Py_True);
        }
    }
    return call_twin(wait_twin, self, args, nargs, names);
}

static Method methods[] = {
    {{"wait", FASTCALL(wait), METH_FASTCALL | METH_KEYWORDS, NULL}, "($self, timeout=None)", &wait_twin},
};

const char connect_threading_doc[] = PyDoc_STR(
"connect_threading($module, Event, /)\n--\n\n"
"Returns the methods for an Event of threading. Called once for each copy of that module.");

PyObject *
connect_threading(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {{&str_flag, "_flag"}};
    if (check_arguments("connect_threading", args, nargs, "C") < 0 || intern_names(names, LENGTH(names)) < 0) {
        return NULL;
    }
    return make_methods((PyTypeObject *)args[0], methods, LENGTH(methods));
}
