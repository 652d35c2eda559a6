/* What the two files of greenpool._speedups have in common. */

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

/* _speedups_paths.c: the methods. */
PyObject *connect_core(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *connect_socket(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_core_doc[], connect_socket_doc[];

#endif
