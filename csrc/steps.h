/* Single steps on the containers that hold permits: _sync/line.py says what they are for.

Each function is one step for all other threads. With the GIL it is one because it runs no Python code and so keeps the
GIL. Without the GIL it is one because it holds the container's own mutex. That mutex is also what orders the memory
accesses of two threads. A permit is None, so its end runs no code.

The functions that take return 1, 0 if there was nothing to take, or -1 with an exception. */

#ifndef GREENPOOL_STEPS_H
#define GREENPOOL_STEPS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Permits for which a list keeps its memory when they are taken. list.pop of the only element would free it, and the
   next append would allocate it anew: half of the time of both. */
#define KEPT_PERMITS 16

#ifdef Py_GIL_DISABLED

/* Take note of the methods of list and set. */
int connect_steps(void);

int take_from_list(PyObject *list);
int take_from_set(PyObject *set);
int add_to_set(PyObject *set);

#else

static inline int
connect_steps(void)
{
    return 0;
}

static inline int
take_from_list(PyObject *list)
{
    Py_ssize_t size = PyList_GET_SIZE(list);
    if (size == 0) {
        return 0;
    }
    if (size > KEPT_PERMITS) {
        return PyList_SetSlice(list, size - 1, size, NULL) < 0 ? -1 : 1;
    }
    PyObject *permit = PyList_GET_ITEM(list, size - 1);
    Py_SET_SIZE((PyVarObject *)list, size - 1);
    Py_DECREF(permit);
    return 1;
}

static inline int
take_from_set(PyObject *set)
{
    if (PySet_GET_SIZE(set) == 0) {
        return 0;
    }
    PyObject *permit = PySet_Pop(set);
    Py_XDECREF(permit);
    return permit ? 1 : -1;
}

static inline int
add_to_set(PyObject *set)
{
    return PySet_Add(set, Py_None);
}

#endif

#endif
