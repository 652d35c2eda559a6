/* No figure: at the end of a program, pure Python has to import ctypes for this, which takes 10 ms and more.

raise_in_thread, for the last act of a program (see _core/interpreter_exit.py). */

#include "module.h"

const char raise_in_thread_doc[] = PyDoc_STR(
"raise_in_thread($module, thread, exception, /)\n--\n\n"
"Have the Python thread of that identifier raise the class *exception* at its next bytecode; 0 if there is none.");

PyObject *
speedups_raise_in_thread(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long thread;
    PyObject *exception;
    if (!PyArg_ParseTuple(args, "kO:raise_in_thread", &thread, &exception)) {
        return NULL;
    }
    return PyLong_FromLong(PyThreadState_SetAsyncExc(thread, exception));
}
