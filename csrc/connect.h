/* How the classes of Python and their methods in C find each other, when the modules are imported.

The functions that can fail return -1 or NULL, with an exception set. */

#ifndef GREENPOOL_CONNECT_H
#define GREENPOOL_CONNECT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>

/* The detour over void (*)(void) keeps -Wcast-function-type silent. */
#define FASTCALL(function) ((PyCFunction)(void (*)(void))(function))

/* A slot of a Python class. find_slots sets the descriptor. */
typedef struct {
    const char *name;
    PyObject *descriptor;
} Slot;

typedef struct {
    PyObject **variable;
    const char *name;
} Name;

/* A method in C. Its twin in Python has its documentation, and does what the C leaves out. */
typedef struct {
    PyMethodDef definition;
    const char *signature;
    PyObject **twin; /* NULL if the C never calls it */
} Method;

extern PyObject *(*greenlet_getcurrent)(void);
extern PyObject *(*greenlet_switch)(PyObject *greenlet, PyObject *args, PyObject *kwargs);
extern int (*greenlet_is_main)(PyObject *greenlet);
int find_greenlet(void);

/* The calling greenlet. NULL without an exception if the interpreter is being finalized: then the twin decides what
   stands for it. */
PyObject *get_current_greenlet(void);

/* Check the arguments. *kinds* has a letter for each: C for a class, F for a function, S for a set, I for an int. */
int check_arguments(const char *function, PyObject *const *args, Py_ssize_t nargs, const char *kinds);

/* Find the slots of an array that ends at *end*. */
int find_slots(PyObject *type, Slot *slot, const Slot *end);

int intern_names(const Name *names, size_t count);
void keep(PyObject **variable, PyObject *value);
void keep_type(PyTypeObject **variable, PyObject *value);
int take_documentation(PyMethodDef *definition, const char *signature, PyObject *twin);

/* Make a dict of the methods for *type*, whose twins are found there. */
PyObject *make_methods(PyTypeObject *type, Method *methods, size_t count);

PyObject *call_twin(PyObject *twin, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names);

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define SLOTS(first, last) (Slot *)&(first), (const Slot *)&(last) + 1

#endif
