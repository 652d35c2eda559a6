/* No figure of its own: the files of the locks need it where there is no GIL.

Single steps on containers, without the GIL: the methods of the containers, which take the container's mutex. */

#include "steps.h"

#include "connect.h"

#ifdef Py_GIL_DISABLED

static PyObject *list_pop, *set_pop, *set_add;

int
connect_steps(void)
{
    if (!list_pop) {
        list_pop = PyObject_GetAttrString((PyObject *)&PyList_Type, "pop");
        set_pop = PyObject_GetAttrString((PyObject *)&PySet_Type, "pop");
        set_add = PyObject_GetAttrString((PyObject *)&PySet_Type, "add");
    }
    return list_pop && set_pop && set_add ? 0 : -1;
}

/* Call a *method* that raises *empty* when there is nothing to take. */
static int
take(PyObject *method, PyObject *container, PyObject *empty)
{
    PyObject *permit = PyObject_CallOneArg(method, container);
    if (permit) {
        Py_DECREF(permit);
        return 1;
    }
    if (!PyErr_ExceptionMatches(empty)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

int
take_from_list(PyObject *list)
{
    return PyObject_Size(list) > 0 ? take(list_pop, list, PyExc_IndexError) : 0;
}

int
take_from_set(PyObject *set)
{
    return PyObject_Size(set) > 0 ? take(set_pop, set, PyExc_KeyError) : 0;
}

int
add_to_set(PyObject *set)
{
    PyObject *both[] = {set, Py_None};
    PyObject *result = PyObject_Vectorcall(set_add, both, 2, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

#endif
