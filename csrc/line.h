/* What Lock, RLock and Semaphore share: the look at the line of waiters, and the arguments of acquire. */

#ifndef GREENPOOL_LINE_H
#define GREENPOOL_LINE_H

#include "slots.h"

/* Returns 1 if nobody waits, 0 if a waiter is in line, or -1 with an exception. *line* is the slot `_line`. */
static inline int
is_line_empty(PyObject *self, const Slot *line)
{
    PyObject *waiters = get(self, line);
    if (!waiters) {
        return -1;
    }
    /* A tuple until somebody has had to wait. */
    int empty = PyTuple_CheckExact(waiters) || (PyDict_Check(waiters) && PyDict_Size(waiters) == 0);
    Py_DECREF(waiters);
    return empty;
}

/* After a permit was put back: hand it to the line, if there is one. */
static inline int
serve(PyObject *self, const Slot *line, PyObject *str_serve_and_resume)
{
    int empty = is_line_empty(self, line);
    if (empty) {
        return empty < 0 ? -1 : 0;
    }
    return done(PyObject_CallMethodNoArgs(self, str_serve_and_resume));
}

enum blocking { TRY, WAIT, UNUSUAL };

/* The argument *blocking* of an acquire without a timeout. */
static inline enum blocking
read_blocking(PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (!nargs && !names) {
        return WAIT;
    }
    if (names ? nargs || PyTuple_GET_SIZE(names) != 1 ||
                    PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "blocking") != 0
              : nargs != 1) {
        return UNUSUAL;
    }
    return args[0] == Py_True ? WAIT : args[0] == Py_False ? TRY : UNUSUAL;
}

#endif
