/* greenpool._speedups: what a greenlet holds while it is parked, without the GIL.

C code that works on an object holds its lock then, as a *critical section*: that of a buffered file that is being
read, of a functools.cache whose function runs. CPython lets all of a thread's go when the thread waits. A greenlet
that parks is no thread that waits: it would keep its own, and the next greenlet to touch the object would stop the
whole hub, for ever. So they are let go of here, and taken again when it goes on.

That is what C code has to expect of any call that may run Python code. Twins in Python: Waiter.park in
_core/waiter.py, Registration's waits in _core/descriptor.py, yield_now in _core/hub.py. With a GIL they stay. */

#include "_speedups.h"

#ifdef Py_GIL_DISABLED

/* Not in any header for extensions. */
extern void _PyCriticalSection_SuspendAll(PyThreadState *state);
extern void _PyCriticalSection_Resume(PyThreadState *state);

uintptr_t
leave_sections(void)
{
    PyThreadState *state = PyThreadState_Get();
    uintptr_t held = state->critical_section;
    if (held) {
        _PyCriticalSection_SuspendAll(state);
        /* They say now that they are suspended. */
        held = state->critical_section;
        /* Or the end of a section that is begun before the greenlet goes on would take these again. */
        state->critical_section = 0;
    }
    return held;
}

void
return_to_sections(uintptr_t held)
{
    if (held) {
        PyThreadState *state = PyThreadState_Get();
        state->critical_section = held;
        _PyCriticalSection_Resume(state);
    }
}

static PyObject *park_twin, *wait_read_twin, *wait_write_twin, *yield_now_twin;

static PyObject *
call_without_sections(PyObject *twin, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    uintptr_t held = leave_sections();
    PyObject *result = self ? call_twin(twin, self, args, nargs, names) : PyObject_CallNoArgs(twin);
    return_to_sections(held);
    return result;
}

static PyObject *
waiter_park(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return call_without_sections(park_twin, self, args, nargs, names);
}

static PyObject *
registration_wait_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return call_without_sections(wait_read_twin, self, args, nargs, names);
}

static PyObject *
registration_wait_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return call_without_sections(wait_write_twin, self, args, nargs, names);
}

static PyObject *
yield_without_sections(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(no_argument))
{
    return call_without_sections(yield_now_twin, NULL, NULL, 0, NULL);
}

static Method waiter_methods[] = {
    {{"park", FASTCALL(waiter_park), METH_FASTCALL | METH_KEYWORDS, NULL}, "($self, timeout=None)", &park_twin},
};

static Method registration_methods[] = {
    {{"wait_read", FASTCALL(registration_wait_read), METH_FASTCALL | METH_KEYWORDS, NULL},
     "($self, greenlet, timeout=None)",
     &wait_read_twin},
    {{"wait_write", FASTCALL(registration_wait_write), METH_FASTCALL | METH_KEYWORDS, NULL},
     "($self, greenlet, timeout=None)",
     &wait_write_twin},
};

static PyMethodDef yield_now_definition = {"yield_now", yield_without_sections, METH_NOARGS, NULL};

#endif

const char connect_sections_doc[] = PyDoc_STR(
"connect_sections($module, Waiter, Registration, yield_now, /)\n--\n\n"
"Return the methods for Waiter and Registration and the function, with a GIL none and the same one. Called once.");

PyObject *
connect_sections(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (check_types("connect_sections", args, nargs, 3, 2) < 0) {
        return NULL;
    }
#ifdef Py_GIL_DISABLED
    if (take_documentation(&yield_now_definition, "($module)", args[2]) < 0) {
        return NULL;
    }
    keep(&yield_now_twin, args[2]);
    PyObject *of_waiter = make_methods((PyTypeObject *)args[0], waiter_methods, LENGTH(waiter_methods));
    PyObject *of_registration =
        of_waiter
            ? make_methods((PyTypeObject *)args[1], registration_methods, LENGTH(registration_methods))
            : NULL;
    PyObject *function = of_registration ? PyCFunction_New(&yield_now_definition, module) : NULL;
    PyObject *result = function ? PyTuple_Pack(3, of_waiter, of_registration, function) : NULL;
    Py_XDECREF(of_waiter);
    Py_XDECREF(of_registration);
    Py_XDECREF(function);
    return result;
#else
    (void)module;
    return Py_BuildValue("{}{}O", args[2]);
#endif
}
