/* How a greenlet waits for a descriptor, and its budget of operations. All of it runs on the hub's own thread. */

#ifndef GREENPOOL_WAITER_H
#define GREENPOOL_WAITER_H

#include "connect.h"

/* The slots that more than one file uses. */

extern struct carrier_slots {
    PyTypeObject *type;
    Slot budget, hub, interrupts, task, waiter;
} carrier;

extern struct registration_slots {
    PyTypeObject *type;
    Slot arm, closed, crowd, hub, hung_up, readable, reader, writer;
} registration;

extern struct hub_slots {
    PyTypeObject *type;
    Slot ready, registrations;
} hub;

/* Park *greenlet*, the calling one, a carrier of *home*, until the descriptor of *registered* may be readable. It has
   no timeout. Raises what ends the wait. */
int park(PyObject *registered, PyObject *greenlet, PyObject *home);

/* Wake the waiter in *slot* of *registered*, if one waits there: append its greenlet to *ready*. */
int wake(PyObject *registered, const Slot *slot, PyObject *ready);

/* Count one operation of *greenlet*, the calling one, a carrier. It yields when the budget is used up, and that raises
   a pending interrupt. */
int spend_budget(PyObject *greenlet);

#endif
