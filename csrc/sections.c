/* greenpool._speedups: what a greenlet holds while it is parked, without the GIL.

C code that works on an object holds its lock then, as a *critical section*: that of a buffered file that is being
read, of a functools.cache whose function runs. CPython lets all of a thread's go when the thread waits. A greenlet
that parks is no thread that waits: it would keep its own, and the next greenlet to touch the object would stop the
whole hub, for ever. So they are let go of here, and taken again when it goes on.

That is what C code has to expect of any call that may run Python code. What parks in Python is in
_core/sections.py; with a GIL there are no sections. */

#include "sections.h"

#include "module.h"

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

const char leave_sections_doc[] = PyDoc_STR(
"leave_sections($module, /)\n--\n\n"
"Let go of the critical sections that this greenlet is in; returns what return_to_sections takes, 0 if there are none.");

PyObject *
speedups_leave_sections(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(no_argument))
{
    return PyLong_FromSize_t(leave_sections());
}

const char return_to_sections_doc[] = PyDoc_STR(
"return_to_sections($module, held, /)\n--\n\n"
"Take them again: in the same greenlet, and as deep in the calls of C functions.");

PyObject *
speedups_return_to_sections(PyObject *Py_UNUSED(module), PyObject *argument)
{
    size_t held = PyLong_AsSize_t(argument);
    if (held == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    return_to_sections(held);
    Py_RETURN_NONE;
}

#endif
