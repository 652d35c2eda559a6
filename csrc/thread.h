/* The operations that a green thread counts against its budget: see _spend in thread.py. */

#ifndef GREENPOOL_THREAD_H
#define GREENPOOL_THREAD_H

#include "connect.h"

/* One operation of the calling greenlet. *attributes* has the budget of a greenlet that is no carrier. *left* is the
   budget after the operation, or NULL if the greenlet has none. */
struct operation {
    PyObject *greenlet, *attributes, *left;
};

/* Returns 1 if the operation may be done, 0 if the twin has to decide it, or -1. The caller ends all three by
   end_operation. */
int begin_operation(struct operation *operation);

/* Count the operation if *status* is more than 0. Returns *status*, or -1. */
int end_operation(struct operation *operation, int status);

#endif
