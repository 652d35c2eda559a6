/* Measured: while an asyncio loop runs on a hub, each switch takes 1,900 instructions more, with its twin in Python 8,100.

The state that CPython keeps for each OS thread, taken off a greenlet that is switched out and put back later.

Its twins in _core/thread_state.py define what it does. Change both. Two things only C can do. The twins call
sys.settrace, which from CPython 3.12 on has all code of the process prepared for tracing anew when the last tracer goes.
Here the fields of the thread are moved. And a greenlet may park inside a trace function: `tracing` says so, and belongs
to that greenlet alone.

*Threads.* A state belongs to one greenlet, so only the thread of its hub touches it. */

#include "connect.h"
#include "module.h"
#include "slots.h"

#if PY_VERSION_HEX < 0x030C0000
#define EVENT tracing_what
#else
#define EVENT what_event
#endif

#if PY_VERSION_HEX < 0x030D0000
#define PyObject_GetOptionalAttr _PyObject_LookupAttr
#endif

typedef struct {
    PyObject_HEAD
    PyObject *loop, *task, *firstiter, *finalizer, *trace_object, *profile_object;
    Py_tracefunc trace, profile;
    int depth, tracing, event;
} ThreadState;

static PyTypeObject *state_type;

/* The class RunningLoop, and the slots of the class Swap. */
static PyObject *running_loop;

static struct {
    Slot following, hooks, loop, stored;
} swap = {{"following", 0}, {"hooks", 0}, {"loop", 0}, {"stored", 0}};

static PyObject *swap_twin;

static PyObject *str_dead, *str_end_swapping, *str_get, *str_set, *str_store, *str_swap_task, *str_thread_state;

static int
state_traverse(ThreadState *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    Py_VISIT(self->task);
    Py_VISIT(self->firstiter);
    Py_VISIT(self->finalizer);
    Py_VISIT(self->trace_object);
    Py_VISIT(self->profile_object);
    return 0;
}

static int
state_clear(ThreadState *self)
{
    Py_CLEAR(self->loop);
    Py_CLEAR(self->task);
    Py_CLEAR(self->firstiter);
    Py_CLEAR(self->finalizer);
    Py_CLEAR(self->trace_object);
    Py_CLEAR(self->profile_object);
    return 0;
}

static void
state_dealloc(ThreadState *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    state_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot state_slots[] = {
    {Py_tp_doc, "The state of one greenlet that is switched out."},
    {Py_tp_traverse, state_traverse},
    {Py_tp_clear, state_clear},
    {Py_tp_dealloc, state_dealloc},
    {0, NULL},
};

static PyType_Spec state_spec = {
    .name = "greenpool._speedups.ThreadState",
    .basicsize = sizeof(ThreadState),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = state_slots,
};

/* RunningLoop.<name>(*args), which is None where asyncio is not imported. */
static PyObject *
call_asyncio(PyObject *name, PyObject *first, PyObject *second)
{
    PyObject *function = PyObject_GetAttr(running_loop, name);
    PyObject *result = function ? PyObject_CallFunctionObjArgs(function, first, second, NULL) : NULL;
    Py_XDECREF(function);
    return result;
}

/* Take the state off the thread. *outer* is how many trace functions run that are not the greenlet's own. NULL without
   an exception where the thread has none. */
static ThreadState *
take_state(PyThreadState *thread, int outer)
{
    PyObject *loop = call_asyncio(str_get, NULL, NULL);
    if (!loop) {
        return NULL;
    }
    if (loop == Py_None && !thread->c_traceobj && !thread->c_tracefunc && !thread->c_profilefunc &&
        !thread->async_gen_firstiter && !thread->async_gen_finalizer && !thread->coroutine_origin_tracking_depth &&
        thread->tracing == outer) {
        Py_DECREF(loop);
        return NULL;
    }
    ThreadState *state = (ThreadState *)state_type->tp_alloc(state_type, 0);
    if (!state) {
        Py_DECREF(loop);
        return NULL;
    }
    state->loop = loop;
    if (loop != Py_None) {
        state->task = call_asyncio(str_swap_task, loop, Py_None);
        if (!state->task || done(call_asyncio(str_set, Py_None, NULL)) < 0) {
            Py_DECREF(state);
            return NULL;
        }
    }
    state->firstiter = thread->async_gen_firstiter;
    state->finalizer = thread->async_gen_finalizer;
    state->trace = thread->c_tracefunc;
    state->trace_object = thread->c_traceobj;
    state->profile = thread->c_profilefunc;
    state->profile_object = thread->c_profileobj;
    state->depth = thread->coroutine_origin_tracking_depth;
    state->tracing = thread->tracing - outer;
    state->event = thread->EVENT;
    thread->async_gen_firstiter = thread->async_gen_finalizer = NULL;
    thread->c_tracefunc = thread->c_profilefunc = NULL;
    thread->c_traceobj = thread->c_profileobj = NULL;
    thread->coroutine_origin_tracking_depth = 0;
    thread->tracing = outer;
    return state;
}

static void
move(PyObject **to, PyObject **from)
{
    PyObject *before = *to;
    *to = *from;
    *from = NULL;
    Py_XDECREF(before);
}

static int
put_state(PyThreadState *thread, ThreadState *state, int outer)
{
    thread->c_tracefunc = state->trace;
    move(&thread->c_traceobj, &state->trace_object);
    thread->c_profilefunc = state->profile;
    move(&thread->c_profileobj, &state->profile_object);
    move(&thread->async_gen_firstiter, &state->firstiter);
    move(&thread->async_gen_finalizer, &state->finalizer);
    thread->coroutine_origin_tracking_depth = state->depth;
    thread->tracing = state->tracing + outer;
    thread->EVENT = state->event;
    if (state->loop != Py_None &&
        (done(call_asyncio(str_set, state->loop, NULL)) < 0 ||
         (state->task != Py_None && done(call_asyncio(str_swap_task, state->loop, state->task)) < 0))) {
        return -1;
    }
    return 0;
}

/* Let go of a state that nobody will want. CPython counts the threads that trace, so its own functions take them away. */
static void
drop_state(PyThreadState *thread, ThreadState *state)
{
    if (state->trace) {
        thread->c_tracefunc = state->trace;
        move(&thread->c_traceobj, &state->trace_object);
        PyEval_SetTrace(NULL, NULL);
    }
    if (state->profile) {
        thread->c_profilefunc = state->profile;
        move(&thread->c_profileobj, &state->profile_object);
        PyEval_SetProfile(NULL, NULL);
    }
}

static int
check_state(PyObject *state)
{
    if (!Py_IS_TYPE(state, state_type)) {
        PyErr_Format(PyExc_TypeError, "state must be a ThreadState, not %R", state);
        return -1;
    }
    return 0;
}

/* greenlet calls this inside one of its own trace guards, which counts as one trace function. */
#define GUARD 1

static int
count(PyObject *self, long change)
{
    long stored;
    if (get_int(self, &swap.stored, &stored) < 0) {
        return -1;
    }
    PyObject *value = PyLong_FromLong(stored + change);
    int status = value ? set(self, &swap.stored, value) : -1;
    Py_XDECREF(value);
    return status;
}

static int
leave(PyObject *self, PyThreadState *thread, PyObject *origin)
{
    int is_loop = holds(self, &swap.loop, origin);
    if (is_loop < 0) {
        return -1;
    }
    if (is_loop) {
        thread->tracing = GUARD;
    }
    ThreadState *state = take_state(thread, GUARD);
    if (!state) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *dead = is_loop ? Py_NewRef(Py_True) : PyObject_GetAttr(origin, str_dead);
    int status = -1;
    if (dead == Py_False) {
        status = PyObject_SetAttr(origin, str_thread_state, (PyObject *)state) < 0 ? -1 : count(self, 1);
    }
    else if (dead) {
        status = done(PyObject_CallMethodObjArgs(self, str_store, origin, state, NULL));
    }
    Py_XDECREF(dead);
    Py_DECREF(state);
    return status;
}

/* *target* has no state, and maybe no greenlet has any more. */
static int
go_on_without(PyObject *self, PyThreadState *thread, PyObject *target)
{
    long stored;
    int over = get_int(self, &swap.stored, &stored) < 0 ? -1 : stored ? 0 : holds(self, &swap.hooks, Py_None);
    if (over) {
        return over < 0 ? -1 : done(PyObject_CallMethodNoArgs(self, str_end_swapping));
    }
    int is_loop = holds(self, &swap.loop, target);
    if (is_loop > 0) {
        /* No trace function is called in the loop, even if another thread sets one for this thread. */
        thread->tracing = GUARD + 1;
    }
    return is_loop < 0 ? -1 : 0;
}

static int
go_on(PyObject *self, PyThreadState *thread, PyObject *target)
{
    PyObject *state;
    if (PyObject_GetOptionalAttr(target, str_thread_state, &state) < 0) {
        return -1;
    }
    if (!state || state == Py_None) {
        Py_XDECREF(state);
        return go_on_without(self, thread, target);
    }
    int status = check_state(state);
    if (status == 0) {
        status = PyObject_SetAttr(target, str_thread_state, Py_None) < 0 ? -1 : count(self, -1);
    }
    if (status == 0) {
        status = put_state(thread, (ThreadState *)state, GUARD);
    }
    Py_DECREF(state);
    return status;
}

static PyObject *
swap_swap(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *pair = nargs == 2 ? args[1] : NULL;
    if (!pair || !PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2) {
        return call_twin(swap_twin, self, args, nargs, NULL);
    }
    PyThreadState *thread = PyThreadState_Get();
    if (leave(self, thread, PyTuple_GET_ITEM(pair, 0)) < 0) {
        return NULL;
    }
    int status = go_on(self, thread, PyTuple_GET_ITEM(pair, 1));
    PyObject *following = status < 0 ? NULL : get(self, &swap.following);
    if (!following || following == Py_None) {
        return following;
    }
    PyObject *result = PyObject_Vectorcall(following, args, 2, NULL);
    Py_DECREF(following);
    return result;
}

const char take_thread_state_doc[] = PyDoc_STR(
"take_thread_state($module, /)\n--\n\n"
"Take the calling thread's state off it; None if it has none.");

PyObject *
speedups_take_thread_state(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(no_argument))
{
    PyThreadState *thread = PyThreadState_Get();
    PyObject *state = (PyObject *)take_state(thread, thread->tracing);
    return state || PyErr_Occurred() ? state : Py_NewRef(Py_None);
}

const char drop_thread_state_doc[] = PyDoc_STR(
"drop_thread_state($module, state, /)\n--\n\n"
"Let go of a state that nobody will want.");

PyObject *
speedups_drop_thread_state(PyObject *Py_UNUSED(module), PyObject *state)
{
    if (check_state(state) < 0) {
        return NULL;
    }
    drop_state(PyThreadState_Get(), (ThreadState *)state);
    Py_RETURN_NONE;
}

const char trace_like_doc[] = PyDoc_STR(
"trace_like($module, state, /)\n--\n\n"
"Trace the calling thread as the greenlet of *state* is traced.");

PyObject *
speedups_trace_like(PyObject *Py_UNUSED(module), PyObject *state)
{
    if (check_state(state) < 0) {
        return NULL;
    }
    ThreadState *other = (ThreadState *)state;
    PyEval_SetTrace(other->trace, other->trace_object);
    Py_RETURN_NONE;
}

static Method swap_methods[] = {
    {{"swap", FASTCALL(swap_swap), METH_FASTCALL, NULL}, "($self, event, switch, /)", &swap_twin},
};

const char connect_thread_state_doc[] = PyDoc_STR(
"connect_thread_state($module, Swap, RunningLoop, /)\n--\n\n"
"Take note of the classes. Returns the methods for the first. Called once, before there is a hub.");

PyObject *
connect_thread_state(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    static const Name names[] = {
        {&str_dead, "dead"},   {&str_end_swapping, "end_swapping"}, {&str_get, "get"},
        {&str_set, "set"},     {&str_swap_task, "swap_task"},       {&str_thread_state, "thread_state"},
        {&str_store, "store"},
    };
    if (check_arguments("connect_thread_state", args, nargs, "CC") < 0 || intern_names(names, LENGTH(names)) < 0 ||
        find_slots(args[0], SLOTS(swap.following, swap.stored)) < 0) {
        return NULL;
    }
    PyObject *type = PyType_FromModuleAndSpec(module, &state_spec, NULL);
    if (!type) {
        return NULL;
    }
    keep_type(&state_type, type);
    Py_DECREF(type);
    keep(&running_loop, args[1]);
    return make_methods((PyTypeObject *)args[0], swap_methods, LENGTH(swap_methods));
}
