/* Measured: spawn and join: 1.86x of its twins in Python (spawn alone 1.75x, _finish alone 1.16x).

spawn, and the end of a task.

The twin of spawn in greenlet.py, together with Task.__init__ and Task.start_unshared, defines what spawn does. The twin
of Task._finish is in _core/task.py. Only the usual case is written here: a greenlet of a hub that goes on spawns a
child there, without keywords, and there are no spawn callbacks. In all other cases spawn calls its twin before
anything has happened. The end of a task is complete, except for its links.

*Threads.* Nobody else knows the new task before it is in the ready queue. ``live`` belongs to the hub's thread, which
runs this code. */

#include "module.h"
#include "origin.h"
#include "slots.h"

static PyTypeObject *greenlet_type, *carrier_type, *hub_type;
static PyObject *spawn_twin, *spawn_callbacks, *finish_twin, *no_args;
static PyObject *str_append, *str_call_links, *str_hub, *str_placement, *str_take_in_next;
#ifdef Py_GIL_DISABLED
static PyObject *deque_rotate, *zero;
#endif

static struct {
    Slot hub, placement;
} carrier = {{"hub", 0}, {"placement", 0}};

static struct {
    Slot inbox, live, main, ready, spawned, stopping;
} hub = {{"inbox", 0}, {"live", 0}, {"main", 0}, {"ready", 0}, {"spawned", 0}, {"stopping", 0}};

static Slot inbox_queue = {"queue", 0};

static struct {
    Slot args, context, function, hub, start;
    /* These begin as None or False. */
    Slot carrier, kwargs, locals, value, exception, links, name, done, quiet, posted;
} task = {{"args", 0},    {"context", 0}, {"_function", 0}, {"hub", 0},        {"_start", 0}, {"carrier", 0},
          {"_kwargs", 0}, {"locals", 0}, {"_value", 0},    {"_exception", 0}, {"_links", 0}, {"_name", 0},
          {"done", 0},    {"quiet", 0},   {"_posted", 0}};

/* A started task of *home*, which is not in its ready queue yet, made in *greenlet*, the calling one. */
static PyObject *
make_task(PyObject *greenlet, PyObject *home, PyObject *const *args, Py_ssize_t nargs)
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
    for (const Slot *slot = &task.done; slot <= &task.posted; slot++) {
        initialize(new, slot, Py_NewRef(Py_False));
    }
    if (initialize_origin(new, greenlet) < 0) {
        Py_CLEAR(new);
    }
    return new;
}

/* The hub on which a child of *greenlet* lives. NULL without an exception if the twin has to decide it. */
static PyObject *
find_home(PyObject *greenlet)
{
    PyObject *home, *placement;
    if (Py_IS_TYPE(greenlet, carrier_type)) {
        placement = get(greenlet, &carrier.placement);
        home = placement ? get(greenlet, &carrier.hub) : NULL;
    }
    else {
        /* A main greenlet that has been adopted has these as attributes. */
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

/* Add 1 to a number of the hub. */
static int
count(PyObject *home, const Slot *slot)
{
    long number;
    PyObject *more = get_int(home, slot, &number) == 0 ? PyLong_FromLong(number + 1) : NULL;
    int status = more ? set(home, slot, more) : -1;
    Py_XDECREF(more);
    return status;
}

static PyObject *
spawn_on(PyObject *greenlet, PyObject *home, PyObject *const *args, Py_ssize_t nargs)
{
    long live;
    PyObject *more, *ready = get(home, &hub.ready), *new = NULL;
    if (ready && get_int(home, &hub.live, &live) == 0 && (more = PyLong_FromLong(live + 1))) {
        new = make_task(greenlet, home, args, nargs);
        if (new && (done(PyObject_CallMethodOneArg(ready, str_append, new)) < 0 || set(home, &hub.live, more) < 0 ||
                    count(home, &hub.spawned) < 0)) {
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
    if (nargs && !names && !PySet_GET_SIZE(spawn_callbacks) && PyCallable_Check(args[0])) {
        PyObject *greenlet = greenlet_getcurrent(), *home = greenlet ? find_home(greenlet) : NULL, *new = NULL;
        if (home) {
            new = spawn_on(greenlet, home, args, nargs);
            Py_DECREF(home);
        }
        Py_XDECREF(greenlet);
        if (new || PyErr_Occurred()) {
            return new;
        }
    }
    return PyObject_Vectorcall(spawn_twin, args, (size_t)nargs, names);
}

static int
count_end(PyObject *home)
{
    long live;
    PyObject *fewer = get_int(home, &hub.live, &live) == 0 ? PyLong_FromLong(live - 1) : NULL;
    int counted = fewer ? set(home, &hub.live, fewer) : -1;
    Py_XDECREF(fewer);
    return counted;
}

static int
call_links(PyObject *self)
{
    int none = holds(self, &task.links, Py_None);
    if (none) {
        return none < 0 ? -1 : 0;
    }
    return done(PyObject_CallMethodNoArgs(self, str_call_links));
}

/* The length of an inbox. Without the GIL it first touches the queue, as the twin does, for the order in memory. */
static Py_ssize_t
measure_inbox(PyObject *inbox)
{
    PyObject *queue = get(inbox, &inbox_queue);
    if (!queue) {
        return -1;
    }
#ifdef Py_GIL_DISABLED
    PyObject *arguments[] = {queue, zero};
    Py_ssize_t size = done(PyObject_Vectorcall(deque_rotate, arguments, 2, NULL)) < 0 ? -1 : PyObject_Size(queue);
#else
    Py_ssize_t size = PyObject_Size(queue);
#endif
    Py_DECREF(queue);
    return size;
}

static int
look_into_inbox(PyObject *home)
{
    int pool = holds(home, &hub.main, Py_None);
    if (pool) {
        return pool < 0 ? -1 : 0;
    }
    PyObject *inbox = get(home, &hub.inbox);
    Py_ssize_t size = inbox ? measure_inbox(inbox) : -1;
    Py_XDECREF(inbox);
    return size > 0 ? done(PyObject_CallMethodNoArgs(home, str_take_in_next)) : (int)size;
}

static int
finish(PyObject *self, PyObject *home)
{
    /* The twin says why in this order. */
    if (set(self, &task.locals, Py_None) < 0 || set(self, &task.function, Py_None) < 0 ||
        set(self, &task.kwargs, Py_None) < 0 || set(self, &task.args, no_args) < 0 ||
        set(self, &task.context, Py_None) < 0 || set(self, &task.carrier, Py_None) < 0 ||
        set(self, &task.done, Py_True) < 0 || count_end(home) < 0 || call_links(self) < 0) {
        return -1;
    }
    return look_into_inbox(home);
}

static PyObject *
task_finish(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *home = get(self, &task.hub);
    if (!home) {
        return NULL;
    }
    PyObject *result = NULL;
    if (!Py_IS_TYPE(home, hub_type)) {
        result = PyObject_CallOneArg(finish_twin, self);
    }
    else if (finish(self, home) == 0) {
        result = Py_NewRef(Py_None);
    }
    Py_DECREF(home);
    return result;
}

static Method task_methods[] = {
    {{"_finish", task_finish, METH_NOARGS, NULL}, "($self)", &finish_twin},
};

const char connect_task_doc[] = PyDoc_STR(
"connect_task($module, Task, Hub, Inbox, deque, /)\n--\n\n"
"Take note of the classes. Returns the method for Task. Called once, after connect_waiter.");

PyObject *
connect_task(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {{&str_call_links, "_call_links"}, {&str_take_in_next, "take_in_next"}};
    if (check_arguments("connect_task", args, nargs, "CCCC") < 0 || intern_names(names, LENGTH(names)) < 0 ||
        find_slots(args[0], SLOTS(task.args, task.posted)) < 0 ||
        find_slots(args[1], SLOTS(hub.inbox, hub.stopping)) < 0 ||
        find_slots(args[2], SLOTS(inbox_queue, inbox_queue)) < 0) {
        return NULL;
    }
    PyObject *empty = PyTuple_New(0);
    if (!empty) {
        return NULL;
    }
    Py_XSETREF(no_args, empty);
#ifdef Py_GIL_DISABLED
    Py_XSETREF(deque_rotate, PyObject_GetAttrString(args[3], "rotate"));
    Py_XSETREF(zero, PyLong_FromLong(0));
    if (!deque_rotate || !zero) {
        return NULL;
    }
#endif
    keep_type(&hub_type, args[1]);
    return make_methods((PyTypeObject *)args[0], task_methods, LENGTH(task_methods));
}

static PyMethodDef spawn_definition = {"spawn", FASTCALL(spawn), METH_FASTCALL | METH_KEYWORDS, NULL};

const char connect_spawn_doc[] = PyDoc_STR(
"connect_spawn($module, Greenlet, Carrier, Hub, spawn, spawn_callbacks, /)\n--\n\n"
"Take note of the classes, of spawn's twin and of the set of spawn callbacks. Returns spawn. Called once, after\n"
"connect_task.");

PyObject *
connect_spawn(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {{&str_append, "append"}, {&str_hub, "hub"}, {&str_placement, "placement"}};
    if (check_arguments("connect_spawn", args, nargs, "CCCFS") < 0 || intern_names(names, LENGTH(names)) < 0 ||
        take_documentation(&spawn_definition, "(function, /, *args, **kwargs)", args[3]) < 0 ||
        find_slots(args[1], SLOTS(carrier.hub, carrier.placement)) < 0) {
        return NULL;
    }
    keep_type(&greenlet_type, args[0]);
    keep_type(&carrier_type, args[1]);
    keep_type(&hub_type, args[2]);
    keep(&spawn_twin, args[3]);
    keep(&spawn_callbacks, args[4]);
    PyObject *name = PyObject_GetAttrString(args[3], "__module__");
    PyObject *result = name ? PyCFunction_NewEx(&spawn_definition, NULL, name) : NULL;
    Py_XDECREF(name);
    return result;
}
