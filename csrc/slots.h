/* Reading and writing the state of the Python classes from C.

The state lies in the __slots__ of the classes. C reads and writes them at the offsets that the member descriptors give.
So both kinds of code work on the same objects, and nothing has to be kept in step. Without the GIL, a slot that several
threads use is as safe as an attribute is in Python code. */

#ifndef GREENPOOL_SLOTS_H
#define GREENPOOL_SLOTS_H

#include "connect.h"

/* Only CPython 3.11 needs it. Later versions have it in Python.h. */
#include <structmember.h>

static inline PyMemberDef *
member_of(const Slot *slot)
{
    return ((PyMemberDescrObject *)slot->descriptor)->d_member;
}

/* Returns a new reference. */
static inline PyObject *
get(PyObject *object, const Slot *slot)
{
#ifdef Py_GIL_DISABLED
    return PyMember_GetOne((const char *)object, member_of(slot));
#else
    PyObject *value = *(PyObject **)((char *)object + member_of(slot)->offset);
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, slot->name);
        return NULL;
    }
    return Py_NewRef(value);
#endif
}

static inline int
set(PyObject *object, const Slot *slot, PyObject *value)
{
#ifdef Py_GIL_DISABLED
    return PyMember_SetOne((char *)object, member_of(slot), value);
#else
    PyObject **place = (PyObject **)((char *)object + member_of(slot)->offset);
    PyObject *before = *place;
    *place = Py_NewRef(value);
    Py_XDECREF(before);
    return 0;
#endif
}

/* Fill a slot of an object that nobody else has. Takes over the reference. */
static inline void
initialize(PyObject *object, const Slot *slot, PyObject *value)
{
    *(PyObject **)((char *)object + member_of(slot)->offset) = value;
}

/* Returns 1 if the slot holds *value*, 0 if not, -1 with an exception. */
static inline int
holds(PyObject *object, const Slot *slot, const PyObject *value)
{
    PyObject *found = get(object, slot);
    if (!found) {
        return -1;
    }
    Py_DECREF(found);
    return found == value;
}

static inline int
get_int(PyObject *object, const Slot *slot, long *result)
{
    PyObject *value = get(object, slot);
    if (!value) {
        return -1;
    }
    *result = PyLong_AsLong(value);
    Py_DECREF(value);
    return *result == -1 && PyErr_Occurred() ? -1 : 0;
}

static inline int
done(PyObject *result)
{
    Py_XDECREF(result);
    return result ? 0 : -1;
}

#endif
