/* The system calls that never block. */

#ifndef GREENPOOL_SYSCALLS_H
#define GREENPOOL_SYSCALLS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>

/* A copy of more bytes than this takes longer than a switch of threads, so it releases the GIL. */
#define KEEP_GIL_LIMIT (64 * 1024)

/* What the functions below return instead of a count. FAILED comes with an exception set. */
enum { FAILED = -1, WOULD_BLOCK = -2 };

Py_ssize_t receive_now(int fd, void *buffer, size_t size);

/* Receive at most *size* bytes, KEEP_GIL_LIMIT at most. *count* becomes what receive_now returns. NULL if that is no
   count, or with an exception set. */
PyObject *receive_bytes_now(int fd, Py_ssize_t size, Py_ssize_t *count);
Py_ssize_t send_now(int fd, const void *data, size_t size);

#endif
