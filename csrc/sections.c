/* No figure: without it a hub can stop forever when there is no GIL (tests/core/test_critical_sections.py).

The critical sections that a greenlet gives up while it is parked, without the GIL.

C code that works on an object holds that object's lock meanwhile, as a *critical section*: a buffered file while it is
read, a functools.cache while its function runs. CPython releases all critical sections of a thread that waits. But a
greenlet that parks is not a thread that waits. It would keep its sections, and the next greenlet to touch the object
would stop the whole hub forever. So these functions release the sections and take them again when the greenlet goes on.

C code must expect that of any call that may run Python code. _core/sections.py does the same for waits in Python. With
a GIL there are no sections. */

#include "sections.h"

#include "module.h"

#ifdef Py_GIL_DISABLED

/* No header for extensions declares them. */
extern void _PyCriticalSection_SuspendAll(PyThreadState *state);
extern void _PyCriticalSection_Resume(PyThreadState *state);

uintptr_t
leave_sections(void)
{
    PyThreadState *state = PyThreadState_Get();
    uintptr_t held = state->critical_section;
    if (held) {
        _PyCriticalSection_SuspendAll(state);
        /* The value now says that the sections are suspended. */
        held = state->critical_section;
        /* Otherwise the end of a section that another greenlet begins meanwhile would take these again. */
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
"Release the critical sections of this greenlet. Returns the argument for return_to_sections: 0 if there were none.");

PyObject *
speedups_leave_sections(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(no_argument))
{
    return PyLong_FromSize_t(leave_sections());
}

const char return_to_sections_doc[] = PyDoc_STR(
"return_to_sections($module, held, /)\n--\n\n"
"Take the sections again, in the same greenlet and at the same depth of C calls.");

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
