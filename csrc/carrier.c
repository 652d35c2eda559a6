/* Measured: a parked greenlet takes 4,236 bytes, without this file 6,805.

A small first chunk of frame stack for each carrier.

The Python frames of a greenlet lie in chunks of 16 KiB, which CPython maps one at a time. So one page, 4 KiB, of each
parked greenlet's memory is the hardly used beginning of its first chunk. A carrier therefore begins with a chunk of
FIRST_CHUNK bytes from malloc, which holds the frames of a few nested calls. The frames of deeper calls go to chunks of
CPython's, as usual. There is a second gain: chunks that CPython maps all begin at the same offset of a page, where
their first frames compete for the same few cache lines.

*How CPython uses chunks* (push_chunk and _PyThreadState_PopFrame in pystate.c): when a frame does not fit, CPython maps
a new chunk, links it to the one before, and unmaps it when that frame returns. It never unmaps the first chunk that
way, because no frame begins at its first place. greenlet swaps the three fields of the thread's state when it switches,
begins a greenlet without a chunk, and frees the chunks of a greenlet that has died. This is so from CPython 3.11 to
3.14. Later versions are left alone.

*The arena allocator* (PyObject_SetArenaAllocator) maps the chunks. Ours stands in front of it, for two reasons. When a
call in a loop just does not fit, each turn would map and unmap a chunk and fault its page in, which takes 11
microseconds. Keeping some spare chunks makes that 30 nanoseconds. And when a carrier will never run again, greenlet, or
CPython at the end of a thread, frees its first chunk as if it were mapped.

*Threads.* A chunk belongs to the thread that runs its greenlet. The spare chunks are exchanged atomically. */

#include "connect.h"
#include "module.h"

#include <stdatomic.h>

/* Room for about seven calls. With malloc's header it is a block of 1.5 KiB. No chunk of CPython's, and no arena, is as
   small. */
#define FIRST_CHUNK (1536 - 8)

#define CHUNK (16 * 1024)
#define SPARE_CHUNKS 64
#define TRIES 4

static PyObjectArenaAllocator mapping;
static _Atomic(void *) spare[SPARE_CHUNKS];
static PyObject *run_twin;

/* The place where a thread begins to look, so that threads seldom meet. The identifiers of threads differ in few bits
   only, which the multiplication spreads. (The address of a thread-local variable would do as well. But then every
   thread of the process would get a copy of all thread-local variables of this module, 64 KiB.) */
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
        /* Somebody has called it by hand, a function in Python traces it, or there is no memory. */
        return PyObject_CallOneArg(run_twin, carrier);
    }
    chunk->previous = NULL;
    chunk->size = FIRST_CHUNK;
    chunk->top = 0;
    state->datastack_chunk = chunk;
    /* The first place stays free, because CPython unmaps a chunk when the frame at its first place returns. */
    state->datastack_top = &chunk->data[1];
    state->datastack_limit = (PyObject **)((char *)chunk + FIRST_CHUNK);
    PyObject *result = PyObject_CallOneArg(run_twin, carrier);
    /* Every frame has returned. greenlet still uses this one afterwards, which may push a chunk of CPython's. */
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
"Take note of the class. Returns the methods for it. Called once, before there is a carrier.");

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
