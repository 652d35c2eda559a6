/* Guard: a reentrant lock that code in C takes without a call; see guard.c. */

#ifndef GREENPOOL_GUARD_H
#define GREENPOOL_GUARD_H

#include "connect.h"

#include <pythread.h>
#include <stdatomic.h>

typedef struct {
    PyObject_HEAD
    PyThread_type_lock lock;
    _Atomic(unsigned long) owner; /* 0 if nobody has it */
    unsigned long count;
    atomic_int left; /* how many operations are free of charge before the next that counts; a hint */
} Guard;

extern PyTypeObject *guard_type;

static inline unsigned long
get_owner(Guard *guard)
{
    return atomic_load_explicit(&guard->owner, memory_order_relaxed);
}

static inline void
set_owner(Guard *guard, unsigned long owner)
{
    atomic_store_explicit(&guard->owner, owner, memory_order_relaxed);
}

/* Take the guard for a few lines that run no code in Python and do not give the GIL away. 0 if somebody has it. */
static inline int
try_guard(Guard *guard)
{
#ifdef Py_GIL_DISABLED
    unsigned long me = PyThread_get_thread_ident();
    if (get_owner(guard) == me || !PyThread_acquire_lock(guard->lock, NOWAIT_LOCK)) {
        return 0;
    }
    set_owner(guard, me);
    guard->count = 1;
    return 1;
#else
    return get_owner(guard) == 0;
#endif
}

static inline void
leave_guard(Guard *guard)
{
#ifdef Py_GIL_DISABLED
    guard->count = 0;
    set_owner(guard, 0);
    PyThread_release_lock(guard->lock);
#else
    (void)guard;
#endif
}

/* Whether the next operation counts, one in *every*. Any thread. */
static inline int
is_counted(Guard *guard, int every)
{
    int left = atomic_load_explicit(&guard->left, memory_order_relaxed);
    atomic_store_explicit(&guard->left, left > 0 ? left - 1 : every - 1, memory_order_relaxed);
    return left <= 0;
}

#endif
