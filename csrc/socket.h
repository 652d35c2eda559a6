/* What a socket's methods know of the calling greenlet. The file of the TLS sockets uses it, too. */

#ifndef GREENPOOL_SOCKET_H
#define GREENPOOL_SOCKET_H

#include "slots.h"

/* Another value that is no count: the method has to call its twin. */
enum { BY_TWIN = -3 };

extern struct socket_slots {
    PyTypeObject *type;
    Slot drains, fd, registration, timeout;
} socket_;

/* The greenlet that makes a call, its hub, and the registration of the socket with that hub. */
typedef struct {
    PyObject *greenlet, *home, *registered;
} Caller;

/* Fill *caller* if it is a carrier and the socket is registered with its hub. Returns 0, -1 or BY_TWIN. Only after 0 the
   references have to be dropped. */
int find_caller(PyObject *self, Caller *caller);
void drop_caller(Caller *caller);

/* Before the system call: park if the descriptor is certainly not readable. */
int wait_or_spend(Caller *caller);

/* After EAGAIN. */
int note_drained(Caller *caller);

/* After a short read: the next one need not ask, if this proves it. */
int note_short_read(PyObject *self, Caller *caller);

/* 1 if the call may wait forever, 0 if there is a timeout. */
static inline int
has_no_timeout(PyObject *self)
{
    return holds(self, &socket_.timeout, Py_None);
}

static inline int
get_fd(PyObject *self, int *fd)
{
    long number;
    if (get_int(self, &socket_.fd, &number) < 0) {
        return -1;
    }
    *fd = (int)number;
    return 0;
}

#endif
