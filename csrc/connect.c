/* No figure of its own: the files with methods need it.

How the classes of Python and their methods in C find each other, when the modules are imported. */

#include "connect.h"

#include <string.h>

PyObject *(*greenlet_getcurrent)(void);
PyObject *(*greenlet_switch)(PyObject *greenlet, PyObject *args, PyObject *kwargs);

int (*greenlet_is_main)(PyObject *greenlet);

/* The indices of these functions in greenlet's capsule. greenlet's header has had the first two numbers since its first
   release and the third since 2.0, but it is not there when a wheel is built. */
enum { GET_CURRENT = 4, SWITCH = 6, IS_MAIN = 8 };

int
find_greenlet(void)
{
    void **api = PyCapsule_Import("greenlet._C_API", 0);
    if (!api) {
        return -1;
    }
    /* ISO C does not convert between pointers to objects and pointers to functions. */
    memcpy(&greenlet_getcurrent, &api[GET_CURRENT], sizeof(api[0]));
    memcpy(&greenlet_switch, &api[SWITCH], sizeof(api[0]));
    memcpy(&greenlet_is_main, &api[IS_MAIN], sizeof(api[0]));
    return 0;
}

PyObject *
get_current_greenlet(void)
{
    PyObject *greenlet = greenlet_getcurrent();
    if (!greenlet && PyErr_ExceptionMatches(PyExc_RuntimeError)) {
        PyErr_Clear();
    }
    return greenlet;
}

int
check_arguments(const char *function, PyObject *const *args, Py_ssize_t nargs, const char *kinds)
{
    Py_ssize_t wanted = (Py_ssize_t)strlen(kinds);
    if (nargs != wanted) {
        PyErr_Format(PyExc_TypeError, "%s expected %zd arguments, got %zd", function, wanted, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        PyObject *argument = args[i];
        int right = kinds[i] == 'C'   ? PyType_Check(argument)
                    : kinds[i] == 'F' ? PyFunction_Check(argument) || PyCFunction_Check(argument)
                    : kinds[i] == 'S' ? PySet_Check(argument)
                                      : PyLong_Check(argument);
        if (!right) {
            PyErr_Format(PyExc_TypeError, "%s: argument %zd must be a %s, not %R", function, i + 1,
                         kinds[i] == 'C'   ? "class"
                         : kinds[i] == 'F' ? "function"
                         : kinds[i] == 'S' ? "set"
                                           : "number",
                         argument);
            return -1;
        }
    }
    return 0;
}

int
find_slots(PyObject *type, Slot *slot, const Slot *end)
{
    for (; slot < end; slot++) {
        PyObject *descriptor = PyObject_GetAttrString(type, slot->name);
        if (!descriptor) {
            return -1;
        }
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) {
            PyErr_Format(PyExc_TypeError, "%R.%s must be a slot, not %R", type, slot->name, descriptor);
            Py_DECREF(descriptor);
            return -1;
        }
        Py_XSETREF(slot->descriptor, descriptor);
    }
    return 0;
}

int
intern_names(const Name *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        PyObject *name = PyUnicode_InternFromString(names[i].name);
        if (!name) {
            return -1;
        }
        Py_XSETREF(*names[i].variable, name);
    }
    return 0;
}

void
keep(PyObject **variable, PyObject *value)
{
    Py_XSETREF(*variable, Py_NewRef(value));
}

void
keep_type(PyTypeObject **variable, PyObject *value)
{
    PyTypeObject *before = *variable;
    *variable = (PyTypeObject *)Py_NewRef(value);
    Py_XDECREF(before);
}

int
take_documentation(PyMethodDef *definition, const char *signature, PyObject *twin)
{
    PyObject *documentation = PyObject_GetAttrString(twin, "__doc__");
    if (!documentation) {
        return -1;
    }
    int there = documentation != Py_None;
    PyObject *text = PyUnicode_FromFormat(there ? "%s%s\n--\n\n%S" : "%s%s\n--\n\n", definition->ml_name, signature,
                                          documentation);
    Py_DECREF(documentation);
    /* The text is never freed, because the definition points into it. */
    return text && (definition->ml_doc = PyUnicode_AsUTF8(text)) ? 0 : -1;
}

PyObject *
make_methods(PyTypeObject *type, Method *methods, size_t count)
{
    PyObject *made = PyDict_New();
    for (size_t i = 0; made && i < count; i++) {
        Method *method = &methods[i];
        PyObject *descriptor = NULL, *twin = PyObject_GetAttrString((PyObject *)type, method->definition.ml_name);
        if (twin && !PyFunction_Check(twin)) {
            PyErr_Format(PyExc_TypeError, "%R must be a Python function", twin);
        }
        else if (twin && take_documentation(&method->definition, method->signature, twin) == 0) {
            if (method->twin) {
                keep(method->twin, twin);
            }
            descriptor = PyDescr_NewMethod(type, &method->definition);
        }
        Py_XDECREF(twin);
        if (!descriptor || PyDict_SetItemString(made, method->definition.ml_name, descriptor) < 0) {
            Py_CLEAR(made);
        }
        Py_XDECREF(descriptor);
    }
    return made;
}

PyObject *
call_twin(PyObject *twin, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    PyObject *all[8];
    Py_ssize_t count = nargs + (names ? PyTuple_GET_SIZE(names) : 0);
    if (count > 7) {
        PyErr_Format(PyExc_TypeError, "%U() takes at most 7 arguments (%zd given)",
                     ((PyFunctionObject *)twin)->func_name, count);
        return NULL;
    }
    all[0] = self;
    for (Py_ssize_t i = 0; i < count; i++) {
        all[i + 1] = args[i];
    }
    return PyObject_Vectorcall(twin, all, (size_t)nargs + 1, names);
}
