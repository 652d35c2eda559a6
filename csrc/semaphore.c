/* Measured: `with` a Semaphore: 2.8x of its twins in Python (1,411 instructions instead of 3,964).

Semaphore.acquire, release and `with`, and those of BoundedSemaphore, while no greenlet waits.

Their twins in _sync/semaphore.py define what they do. The permits are the elements of a list, and each step on it is a
single step (steps.h). So the head of _sync/line.py says why this is right. In all other cases the method calls its twin
before anything has happened.

*Threads.* Any thread may call the methods. */

#include "line.h"
#include "module.h"
#include "steps.h"

static PyTypeObject *plain_type, *bounded_type;
static PyObject *acquire_twin, *enter_twin, *exit_twin, *release_twin, *str_serve_and_resume;
static PyObject *bounded_acquire_twin, *bounded_release_twin;

static struct {
    Slot line, permits;
} semaphore = {{"_line", 0}, {"_permits", 0}};

static Slot taken_slot = {"_taken", 0};

/* Returns 1 if a permit has been taken, 0 if the twin has to decide it, or -1. */
static int
take(PyObject *self)
{
    int empty = is_line_empty(self, &semaphore.line);
    if (empty <= 0) {
        return empty;
    }
    PyObject *permits = get(self, &semaphore.permits);
    int taken = permits ? take_from_list(permits) : -1;
    Py_XDECREF(permits);
    return taken;
}

static int
append_to(PyObject *self, const Slot *slot)
{
    PyObject *list = get(self, slot);
    int added = list ? PyList_Append(list, Py_None) : -1;
    Py_XDECREF(list);
    return added;
}

static int
give_back(PyObject *self)
{
    return append_to(self, &semaphore.permits) < 0 ? -1 : serve(self, &semaphore.line, str_serve_and_resume);
}

/* The same for a BoundedSemaphore, which has a list of the permits that are taken. */
static int
take_bounded(PyObject *self)
{
    int taken = take(self);
    return taken > 0 && append_to(self, &taken_slot) < 0 ? -1 : taken;
}

/* Returns 1, 0 if there were too many releases, or -1. */
static int
give_back_bounded(PyObject *self)
{
    PyObject *permits = get(self, &taken_slot);
    int taken = permits ? take_from_list(permits) : -1;
    Py_XDECREF(permits);
    return taken > 0 && give_back(self) < 0 ? -1 : taken;
}

static PyObject *
acquire_by(int (*try)(PyObject *), PyObject *twin, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
           PyObject *names)
{
    if (read_blocking(args, nargs, names) != UNUSUAL) {
        int taken = try(self);
        if (taken) {
            return taken < 0 ? NULL : Py_NewRef(Py_True);
        }
    }
    return call_twin(twin, self, args, nargs, names);
}

static PyObject *
acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return acquire_by(take, acquire_twin, self, args, nargs, names);
}

static PyObject *
acquire_bounded(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return acquire_by(take_bounded, bounded_acquire_twin, self, args, nargs, names);
}

static PyObject *
release(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (!nargs && !names) {
        return give_back(self) < 0 ? NULL : Py_NewRef(Py_None);
    }
    return call_twin(release_twin, self, args, nargs, names);
}

static PyObject *
release_bounded(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (!nargs && !names) {
        int given = give_back_bounded(self);
        if (given) {
            return given < 0 ? NULL : Py_NewRef(Py_None);
        }
    }
    return call_twin(bounded_release_twin, self, args, nargs, names);
}

static PyObject *
enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_IS_TYPE(self, plain_type)     ? acquire(self, NULL, 0, NULL)
           : Py_IS_TYPE(self, bounded_type) ? acquire_bounded(self, NULL, 0, NULL)
                                            : PyObject_CallOneArg(enter_twin, self);
}

static PyObject *
leave(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return Py_IS_TYPE(self, plain_type)     ? release(self, NULL, 0, NULL)
           : Py_IS_TYPE(self, bounded_type) ? release_bounded(self, NULL, 0, NULL)
                                            : call_twin(exit_twin, self, args, nargs, NULL);
}

static Method methods[] = {
    {{"acquire", FASTCALL(acquire), METH_FASTCALL | METH_KEYWORDS, NULL},
     "($self, blocking=True, timeout=None)",
     &acquire_twin},
    {{"release", FASTCALL(release), METH_FASTCALL | METH_KEYWORDS, NULL}, "($self, n=1)", &release_twin},
    {{"__enter__", enter, METH_NOARGS, NULL}, "($self)", &enter_twin},
    {{"__exit__", FASTCALL(leave), METH_FASTCALL, NULL}, "($self, *exc_info)", &exit_twin},
};

static Method bounded_methods[] = {
    {{"acquire", FASTCALL(acquire_bounded), METH_FASTCALL | METH_KEYWORDS, NULL},
     "($self, blocking=True, timeout=None)",
     &bounded_acquire_twin},
    {{"release", FASTCALL(release_bounded), METH_FASTCALL | METH_KEYWORDS, NULL},
     "($self, n=1)",
     &bounded_release_twin},
};

const char connect_semaphore_doc[] = PyDoc_STR(
"connect_semaphore($module, Semaphore, BoundedSemaphore, /)\n--\n\n"
"Take note of the classes. Returns the methods for each of them. Called once.");

PyObject *
connect_semaphore(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {{&str_serve_and_resume, "_serve_and_resume"}};
    if (check_arguments("connect_semaphore", args, nargs, "CC") < 0 || connect_steps() < 0 ||
        intern_names(names, LENGTH(names)) < 0 ||
        find_slots(args[0], SLOTS(semaphore.line, semaphore.permits)) < 0 ||
        find_slots(args[1], SLOTS(taken_slot, taken_slot)) < 0) {
        return NULL;
    }
    keep_type(&plain_type, args[0]);
    keep_type(&bounded_type, args[1]);
    PyObject *plain = make_methods(plain_type, methods, LENGTH(methods));
    PyObject *bounded = make_methods(bounded_type, bounded_methods, LENGTH(bounded_methods));
    if (!plain || !bounded) {
        Py_XDECREF(plain);
        Py_XDECREF(bounded);
        return NULL;
    }
    return Py_BuildValue("(NN)", plain, bounded);
}
