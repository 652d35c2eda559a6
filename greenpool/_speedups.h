/* What the files of greenpool._speedups have in common. */

#ifndef GREENPOOL_SPEEDUPS_H
#define GREENPOOL_SPEEDUPS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>

/* A copy above this releases the GIL: it takes longer than a switch of threads. */
#define KEEP_GIL_LIMIT (64 * 1024)

/* What the system-call functions return when they do not return a count. */
enum { FAILED = -1, WOULD_BLOCK = -2 };

/* By way of void (*)(void), or -Wcast-function-type complains. */
#define FASTCALL(function) ((PyCFunction)(void (*)(void))(function))

/* _speedups.c: the calls. A thread's buffer for what is received, of KEEP_GIL_LIMIT bytes; nothing that may run
   Python code stands between filling it and copying from it. */
char *receive_buffer(void);
Py_ssize_t receive_now(int fd, void *buffer, size_t size, int flags);
Py_ssize_t send_now(int fd, const void *data, size_t size, int flags);

/* _speedups_connect.c. What fails returns -1 or NULL, with an exception. */

/* A slot of a Python class; the descriptor is there once find_slots has found it. */
typedef struct {
    const char *name;
    PyObject *descriptor;
} Slot;

typedef struct {
    PyObject **variable;
    const char *name;
} Name;

/* A method in C: its documentation, and what to call in an unusual case, are those of its twin in Python. */
typedef struct {
    PyMethodDef definition;
    const char *signature;
    PyObject **twin;
} Method;

extern PyObject *(*greenlet_getcurrent)(void);
extern PyObject *(*greenlet_switch)(PyObject *greenlet, PyObject *args, PyObject *kwargs);
int find_greenlet(void);

/* Check that there are *wanted* arguments: classes, the first *types* of them, and Python functions. */
int check_types(const char *function, PyObject *const *args, Py_ssize_t nargs, Py_ssize_t wanted, Py_ssize_t types);

/* Find the slots, which stand in an array that ends at *end*. */
int find_slots(PyObject *type, Slot *slot, const Slot *end);

int intern_names(const Name *names, size_t count);
void keep(PyObject **variable, PyObject *value);
void keep_type(PyTypeObject **variable, PyObject *value);
int take_documentation(PyMethodDef *definition, const char *signature, PyObject *twin);

/* A dict of the methods for *type*, made once its twins are found there. */
PyObject *make_methods(PyTypeObject *type, Method *methods, size_t count);

PyObject *call_twin(PyObject *twin, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names);

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define SLOTS(first, last) (Slot *)&(first), (const Slot *)&(last) + 1

/* _speedups_sections.c: around each switch away from a greenlet. */
#ifdef Py_GIL_DISABLED
uintptr_t leave_sections(void);
void return_to_sections(uintptr_t held);
#else
static inline uintptr_t
leave_sections(void)
{
    return 0;
}
static inline void
return_to_sections(uintptr_t Py_UNUSED(held))
{
}
#endif
PyObject *speedups_leave_sections(PyObject *module, PyObject *no_argument);
PyObject *speedups_return_to_sections(PyObject *module, PyObject *held);
extern const char leave_sections_doc[], return_to_sections_doc[];

/* _speedups_spin.c. */
PyObject *speedups_await_post(PyObject *module, PyObject *args);
extern const char await_post_doc[];

PyObject *speedups_raise_in_thread(PyObject *module, PyObject *args);
extern const char raise_in_thread_doc[];

/* The other files: what they offer to the Python modules. */
PyObject *connect_carrier(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *connect_core(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *connect_socket(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *connect_task(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *connect_spawn(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *connect_queue(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_carrier_doc[], connect_core_doc[], connect_socket_doc[], connect_task_doc[],
    connect_spawn_doc[], connect_queue_doc[];

#endif
