/* greenpool._speedups: spawn.

The twin in greenlet.py defines what it does, together with Task.__init__ and Task.start_unshared. Here is only
the usual case: a greenlet of a hub that goes on, spawning there, without keywords. For any other the twin is
called, before anything has happened.

*Threads.* Nobody else knows the new task before it is in the ready queue; ``live`` belongs to the hub's thread,
which is the one that runs this. */

#include "_speedups.h"
#include "_speedups_slots.h"

static PyTypeObject *greenlet_type, *carrier_type, *hub_type;
static PyObject *spawn_twin, *str_append, *str_hub, *str_placement;

static struct {
    Slot hub, placement;
} carrier = {{"hub", 0}, {"placement", 0}};

static struct {
    Slot live, ready, stopping;
} hub = {{"live", 0}, {"ready", 0}, {"stopping", 0}};

static struct {
    Slot args, context, function, hub, start;
    /* What is None or False to begin with. */
    Slot carrier, kwargs, locals, value, exception, links, name, done, quiet;
} task = {{"args", 0},   {"context", 0}, {"_function", 0},  {"hub", 0},    {"_start", 0}, {"carrier", 0}, {"_kwargs", 0},
          {"locals", 0}, {"_value", 0},  {"_exception", 0}, {"_links", 0}, {"_name", 0},  {"done", 0},    {"quiet", 0}};

/* Into a slot of an object that nobody else has; takes over the reference. */
static inline void
initialize(PyObject *object, const Slot *slot, PyObject *value)
{
    *(PyObject **)((char *)object + member_of(slot)->offset) = value;
}

/* A started task of *home*, not in its ready queue yet. */
static PyObject *
make_task(PyObject *home, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *new = NULL, *context = PyContext_CopyCurrent(), *rest = PyTuple_New(nargs - 1);
    if (context && rest) {
        new = greenlet_type->tp_alloc(greenlet_type, 0);
    }
    if (!new) {
        Py_XDECREF(context);
        Py_XDECREF(rest);
        return NULL;
    }
    for (Py_ssize_t i = 1; i < nargs; i++) {
        PyTuple_SET_ITEM(rest, i - 1, Py_NewRef(args[i]));
    }
    initialize(new, &task.args, rest);
    initialize(new, &task.context, context);
    initialize(new, &task.function, Py_NewRef(args[0]));
    initialize(new, &task.hub, Py_NewRef(home));
    initialize(new, &task.start, Py_NewRef(Py_True));
    for (const Slot *slot = &task.carrier; slot <= &task.name; slot++) {
        initialize(new, slot, Py_NewRef(Py_None));
    }
    initialize(new, &task.done, Py_NewRef(Py_False));
    initialize(new, &task.quiet, Py_NewRef(Py_False));
    return new;
}

/* The hub on which a child of *greenlet* lives; NULL, maybe without an exception, if that is not for us to say. */
static PyObject *
find_home(PyObject *greenlet)
{
    PyObject *home, *placement;
    if (Py_IS_TYPE(greenlet, carrier_type)) {
        placement = get(greenlet, &carrier.placement);
        home = placement ? get(greenlet, &carrier.hub) : NULL;
    }
    else {
        /* A main greenlet has them as attributes, once it has been adopted. */
        placement = PyObject_GetAttr(greenlet, str_placement);
        home = placement ? PyObject_GetAttr(greenlet, str_hub) : NULL;
        if (!home && PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
        }
    }
    Py_XDECREF(placement);
    if (home && (placement != Py_None || !Py_IS_TYPE(home, hub_type) || holds(home, &hub.stopping, Py_False) <= 0)) {
        Py_CLEAR(home);
    }
    return home;
}

static PyObject *
spawn_on(PyObject *home, PyObject *const *args, Py_ssize_t nargs)
{
    long live;
    PyObject *more, *ready = get(home, &hub.ready), *new = NULL;
    if (ready && get_int(home, &hub.live, &live) == 0 && (more = PyLong_FromLong(live + 1))) {
        new = make_task(home, args, nargs);
        if (new && (done(PyObject_CallMethodOneArg(ready, str_append, new)) < 0 || set(home, &hub.live, more) < 0)) {
            Py_CLEAR(new);
        }
        Py_DECREF(more);
    }
    Py_XDECREF(ready);
    return new;
}

static PyObject *
spawn(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs && !names && PyCallable_Check(args[0])) {
        PyObject *greenlet = greenlet_getcurrent(), *home = greenlet ? find_home(greenlet) : NULL, *new = NULL;
        Py_XDECREF(greenlet);
        if (home) {
            new = spawn_on(home, args, nargs);
            Py_DECREF(home);
        }
        if (new || PyErr_Occurred()) {
            return new;
        }
    }
    return PyObject_Vectorcall(spawn_twin, args, (size_t)nargs, names);
}

static PyMethodDef spawn_definition = {"spawn", FASTCALL(spawn), METH_FASTCALL | METH_KEYWORDS, NULL};

const char connect_spawn_doc[] = PyDoc_STR(
"connect_spawn($module, Greenlet, Carrier, Hub, spawn, /)\n--\n\n"
"Take note of the classes and of spawn's twin; return spawn. Called once, after connect_core.");

PyObject *
connect_spawn(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {{&str_append, "append"}, {&str_hub, "hub"}, {&str_placement, "placement"}};
    if (check_types("connect_spawn", args, nargs, 4, 3) < 0 || intern_names(names, LENGTH(names)) < 0 ||
        take_documentation(&spawn_definition, "(function, /, *args, **kwargs)", args[3]) < 0 ||
        find_slots(args[0], SLOTS(task.args, task.quiet)) < 0 ||
        find_slots(args[1], SLOTS(carrier.hub, carrier.placement)) < 0 ||
        find_slots(args[2], SLOTS(hub.live, hub.stopping)) < 0) {
        return NULL;
    }
    keep_type(&greenlet_type, args[0]);
    keep_type(&carrier_type, args[1]);
    keep_type(&hub_type, args[2]);
    keep(&spawn_twin, args[3]);
    PyObject *name = PyObject_GetAttrString(args[3], "__module__");
    PyObject *result = name ? PyCFunction_NewEx(&spawn_definition, NULL, name) : NULL;
    Py_XDECREF(name);
    return result;
}
