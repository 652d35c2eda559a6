/* greenpool._speedups: a small first piece of frame stack for each carrier.

The Python frames of a greenlet lie in chunks of 16 KiB, which CPython maps one at a time: so of the memory of a
parked greenlet a page, 4 KiB, is the beginning of its first chunk, hardly used. A carrier therefore begins with
a chunk of FIRST_CHUNK bytes from malloc, which holds the frames of a few nested calls; what is called deeper
goes, as ever, to a chunk of CPython's. Small chunks also do not all begin at the same offset of a page, where
their first frames would compete for the same few lines of the caches.

*What CPython does with chunks* (push_chunk and _PyThreadState_PopFrame in pystate.c): where a frame does not fit, it
maps a new chunk, which it links to the one before and unmaps when that frame returns. The first chunk is never
unmapped by that, because no frame begins at its first place. greenlet swaps the three fields of the thread's state
when it switches, begins a greenlet with none, and lets go of the chunks of one that has died. So it is from CPython
3.11 to 3.14; later ones are left alone.

*The arena allocator* is what chunks are mapped by (PyObject_SetArenaAllocator). Ours stands in front of it, for
two reasons. Where a call in a loop just does not fit, each turn would map and unmap a chunk and fault its page in,
which takes 11 microseconds: so some are kept, and it takes 30 nanoseconds. And whoever lets go of the first chunk of
a carrier that will never run again (greenlet, or CPython for a thread that dies with the interpreter) takes it for
a mapped one.

*Threads.* A chunk belongs to the thread that runs its greenlet; the spare ones are exchanged atomically. */

#include "connect.h"
#include "module.h"

#include <stdatomic.h>

/* About seven calls; with its header, a block of 1.5 KiB for malloc. No chunk of CPython's, and no arena, is as
   small. */
#define FIRST_CHUNK (1536 - 8)

#define CHUNK (16 * 1024)
#define SPARE_CHUNKS 64
#define TRIES 4

static PyObjectArenaAllocator mapping;
static _Atomic(void *) spare[SPARE_CHUNKS];
static PyObject *run_twin;

/* Where a thread begins to look: so that threads seldom meet. The identifiers of threads differ in few of their bits,
   hence the multiplication. (The address of a thread-local variable would do, too, but every thread of the process
   would get its copy of all that this module has of that kind, 64 KiB.) */
static size_t
favourite(void)
{
    return (size_t)((uint64_t)PyThread_get_thread_ident() * 0x9E3779B97F4A7C15u >> 32) % SPARE_CHUNKS;
}

static void *
map_chunk(void *context, size_t size)
{
    if (size == CHUNK) {
        for (size_t i = favourite(), tries = TRIES; tries; tries--, i = (i + 1) % SPARE_CHUNKS) {
            void *chunk = atomic_exchange(&spare[i], NULL);
            if (chunk) {
                return chunk;
            }
        }
    }
    return mapping.alloc(context, size);
}

static void
unmap_chunk(void *context, void *chunk, size_t size)
{
    if (size == FIRST_CHUNK) {
        PyMem_RawFree(chunk);
        return;
    }
    if (size == CHUNK) {
        for (size_t i = favourite(), tries = TRIES; tries; tries--, i = (i + 1) % SPARE_CHUNKS) {
            void *none = NULL;
            if (atomic_compare_exchange_strong(&spare[i], &none, chunk)) {
                return;
            }
        }
    }
    mapping.free(context, chunk, size);
}

static PyObject *
carrier_run(PyObject *carrier, PyObject *Py_UNUSED(none))
{
    PyThreadState *state = PyThreadState_Get();
    _PyStackChunk *chunk = state->datastack_chunk ? NULL : PyMem_RawMalloc(FIRST_CHUNK);
    if (!chunk) {
        /* Called by hand, traced by a function in Python, or out of memory. */
        return PyObject_CallOneArg(run_twin, carrier);
    }
    chunk->previous = NULL;
    chunk->size = FIRST_CHUNK;
    chunk->top = 0;
    state->datastack_chunk = chunk;
    /* The first place stays free: who finds a frame there unmaps the chunk when it returns. */
    state->datastack_top = &chunk->data[1];
    state->datastack_limit = (PyObject **)((char *)chunk + FIRST_CHUNK);
    PyObject *result = PyObject_CallOneArg(run_twin, carrier);
    /* Every frame has returned; what greenlet still does with this one may push a chunk of CPython's. */
    state = PyThreadState_Get();
    if (state->datastack_chunk == chunk) {
        state->datastack_chunk = NULL;
        state->datastack_top = state->datastack_limit = NULL;
        PyMem_RawFree(chunk);
    }
    return result;
}

static Method carrier_methods[] = {{{"run", carrier_run, METH_NOARGS, NULL}, "($self, /)", &run_twin}};

const char connect_carrier_doc[] = PyDoc_STR(
"connect_carrier($module, Carrier, /)\n--\n\n"
"Take note of the class; return the methods for it. Called once, before there is a carrier.");

PyObject *
connect_carrier(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (check_arguments("connect_carrier", args, nargs, "C") < 0) {
        return NULL;
    }
    if (Py_Version >= 0x030F0000) {
        return PyDict_New();
    }
    PyObjectArenaAllocator present;
    PyObject_GetArenaAllocator(&present);
    if (present.alloc != map_chunk) {
        mapping = present;
        PyObjectArenaAllocator ours = {present.ctx, map_chunk, unmap_chunk};
        PyObject_SetArenaAllocator(&ours);
    }
    return make_methods((PyTypeObject *)args[0], carrier_methods, LENGTH(carrier_methods));
}
