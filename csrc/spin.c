/* Measured: a value to another hub and back, each hub on a core of its own: 11 us, with its twin in Python 65 us.

await_post, which spins without the GIL before a hub sleeps.

The head of _core/inbox.py says when a hub spins. With a GIL the poster still holds it when we see the post, and mostly
releases it here, when it waits in its turn. Requesting the GIL before that would put us to sleep, which spinning is
there to avoid. So a hub that has seen the post spins on, for as long as the poster most likely keeps the GIL.

*Threads.* Any thread may spin, each with a queue of its own. They share `let_go` only. */

#include "module.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* Seconds from a post to the end of its poster's turn. */
#define LONGEST_TURN 20e-6

/* The queue is read this many times between two readings of the clock. */
#define LOOKS 64

#ifndef Py_GIL_DISABLED
/* How often any thread has released the GIL to spin. */
static atomic_ulong let_go;
#endif

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void
relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Only a hint, because the caller does not hold the lock of the deque. */
static int
has_items(PyObject *deque)
{
    return *(volatile Py_ssize_t *)&((PyVarObject *)deque)->ob_size > 0;
}

const char await_post_doc[] = PyDoc_STR(
"await_post($module, queue, seconds, /)\n--\n\n"
"Spin for at most *seconds*, until the deque *queue* has an item. Returns whether it has one now.");

PyObject *
speedups_await_post(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *queue;
    double seconds;
    if (!PyArg_ParseTuple(args, "Od:await_post", &queue, &seconds)) {
        return NULL;
    }
    if (strcmp(Py_TYPE(queue)->tp_name, "collections.deque") != 0) {
        PyErr_Format(PyExc_TypeError, "queue must be a deque, not %R", queue);
        return NULL;
    }

    int found = 0;
    double end = now() + seconds;
    PyThreadState *suspended = PyEval_SaveThread();
#ifndef Py_GIL_DISABLED
    atomic_fetch_add(&let_go, 1);
    unsigned long before = 0;
#endif
    do {
        for (int i = 0; i < LOOKS && !found; i++) {
#ifndef Py_GIL_DISABLED
            /* Read this first, because the poster may come here between the two reads. */
            before = atomic_load(&let_go);
#endif
            found = has_items(queue);
            relax();
        }
    } while (!found && now() < end);
#ifndef Py_GIL_DISABLED
    if (found) {
        end = now() + LONGEST_TURN;
        while (atomic_load(&let_go) == before && now() < end) {
            relax();
        }
    }
#endif
    PyEval_RestoreThread(suspended);
    return PyBool_FromLong(found);
}
