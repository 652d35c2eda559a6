/* Taking and freeing a Lock and an RLock, for the locks of a patched program as well. */

#ifndef GREENPOOL_LOCK_H
#define GREENPOOL_LOCK_H

#include "connect.h"

/* The classes, and those of a patched program, which are subclasses with the same fields. Other subclasses may have
   methods of their own, which `with` has to call. *guard* is the class of what guards a line. */
extern struct lock_types {
    PyTypeObject *lock, *rlock, *patched_lock, *patched_rlock, *guard;
} lock_types;

/* Take *self* if it is free and nobody waits for it, and for an RLock also if *greenlet*, the calling one, has it.
   Returns 1, 0 if the twin has to decide it, or -1 with an exception. */
int take_lock(PyObject *self);
int take_rlock(PyObject *self, PyObject *greenlet);

/* Undo one take_rlock. Returns 1, 0 if *greenlet*, the calling one, does not have it, or -1 with an exception. */
int free_rlock(PyObject *self, PyObject *greenlet);

/* Make a lock of a patched program, which is free. */
PyObject *make_patched_lock(void);

/* Returns 1 if a Lock is held, 0 if not, or -1. */
int is_lock_held(PyObject *self);

#endif
