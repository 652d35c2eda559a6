/* The guarded ways of SimpleQueue.put and get; see queue.c. */

#ifndef GREENPOOL_QUEUE_H
#define GREENPOOL_QUEUE_H

#include <Python.h>

/* Put *item* into a SimpleQueue under its guard. Returns 1, 0 if the twin has to do it, or -1 with an exception. */
int put_guarded(PyObject *self, PyObject *item);

/* Take an item under the guard. NULL without an exception if the twin has to do it. */
PyObject *get_guarded(PyObject *self);

#endif
