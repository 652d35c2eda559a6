/* Measured: `with` a Lock: 2.6x of its twins in Python (1,578 instructions instead of 4,084).

Lock.acquire, release and `with`, while no greenlet waits.

Their twins in _sync/lock.py define what they do. The permit is the one element of a set, and each step on it is a
single step (steps.h). So the head of _sync/line.py says why this is right for this code, too: acquire looks at the line
and then takes the permit; release puts it back and then looks at the line. In all other cases acquire calls its twin
before anything has happened.

*Threads.* Any thread may call the methods. */

#include "lock.h"

#include "line.h"
#include "module.h"
#include "slots.h"
#include "steps.h"

struct lock_types lock_types;

static PyObject *acquire_twin, *enter_twin, *exit_twin, *release_twin, *str_serve_and_resume;

static struct {
    Slot free, guard, line;
} lock = {{"_free", 0}, {"_guard", 0}, {"_line", 0}};

PyObject *
make_patched_lock(void)
{
    PyObject *free = PySet_New(NULL), *line = PyTuple_New(0), *new = NULL;
    PyObject *guard = PyObject_CallNoArgs((PyObject *)lock_types.guard);
    if (free && line && guard && PySet_Add(free, Py_None) == 0) {
        new = lock_types.patched_lock->tp_alloc(lock_types.patched_lock, 0);
    }
    if (new) {
        initialize(new, &lock.free, Py_NewRef(free));
        initialize(new, &lock.guard, Py_NewRef(guard));
        initialize(new, &lock.line, Py_NewRef(line));
    }
    Py_XDECREF(free);
    Py_XDECREF(line);
    Py_XDECREF(guard);
    return new;
}

int
take_lock(PyObject *self)
{
    int empty = is_line_empty(self, &lock.line);
    if (empty <= 0) {
        return empty;
    }
    PyObject *permit = get(self, &lock.free);
    int taken = permit ? take_from_set(permit) : -1;
    Py_XDECREF(permit);
    return taken;
}

int
is_lock_held(PyObject *self)
{
    PyObject *permit = get(self, &lock.free);
    Py_ssize_t size = permit ? PySet_Size(permit) : -1;
    Py_XDECREF(permit);
    return size < 0 ? -1 : size == 0;
}

/* Returns 0, 1 if it is not held, or -1. */
static int
give_back(PyObject *self)
{
    PyObject *permit = get(self, &lock.free);
    if (!permit) {
        return -1;
    }
    int free = PySet_GET_SIZE(permit) > 0, added = free ? 0 : add_to_set(permit);
    Py_DECREF(permit);
    return added < 0 ? -1 : free ? 1 : serve(self, &lock.line, str_serve_and_resume);
}

static PyObject *
acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    enum blocking blocking = read_blocking(args, nargs, names);
    if (blocking != UNUSUAL) {
        int taken = take_lock(self);
        if (taken > 0) {
            Py_RETURN_TRUE;
        }
        int held = taken == 0 && blocking == TRY ? is_lock_held(self) : 0;
        if (taken < 0 || held < 0) {
            return NULL;
        }
        if (held) {
            Py_RETURN_FALSE;
        }
    }
    return call_twin(acquire_twin, self, args, nargs, names);
}

static PyObject *
release(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    int status = give_back(self);
    if (status > 0) {
        return PyObject_CallOneArg(release_twin, self);
    }
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    if (Py_IS_TYPE(self, lock_types.lock)) {
        return acquire(self, NULL, 0, NULL);
    }
    return PyObject_CallOneArg(enter_twin, self);
}

static PyObject *
leave(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (Py_IS_TYPE(self, lock_types.lock) || Py_IS_TYPE(self, lock_types.patched_lock)) {
        return release(self, NULL);
    }
    return call_twin(exit_twin, self, args, nargs, NULL);
}

static Method methods[] = {
    {{"acquire", FASTCALL(acquire), METH_FASTCALL | METH_KEYWORDS, NULL},
     "($self, blocking=True, timeout=-1)",
     &acquire_twin},
    {{"release", release, METH_NOARGS, NULL}, "($self)", &release_twin},
    {{"__enter__", enter, METH_NOARGS, NULL}, "($self)", &enter_twin},
    {{"__exit__", FASTCALL(leave), METH_FASTCALL, NULL}, "($self, *exc_info)", &exit_twin},
};

const char connect_lock_doc[] = PyDoc_STR(
"connect_lock($module, Lock, Guard, /)\n--\n\n"
"Take note of the classes. Returns the methods for Lock. Called once.");

PyObject *
connect_lock(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {{&str_serve_and_resume, "_serve_and_resume"}};
    if (check_arguments("connect_lock", args, nargs, "CC") < 0 || connect_steps() < 0 ||
        intern_names(names, LENGTH(names)) < 0 || find_slots(args[0], SLOTS(lock.free, lock.line)) < 0) {
        return NULL;
    }
    keep_type(&lock_types.lock, args[0]);
    keep_type(&lock_types.guard, args[1]);
    return make_methods(lock_types.lock, methods, LENGTH(methods));
}
