/* No figure: callbacks of sys.monitoring look for the frame that called them, and a twin in Python would be that frame.

CodeFilter calls a trace function, a profile function or a callback of sys.monitoring, but not for the code of one
directory. Its twin in sys.py defines what it does. Change both. */

#include "connect.h"
#include "module.h"

#include <stddef.h>

/* Only CPython 3.11 needs it. Later versions have it in Python.h. */
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function, *directory, *otherwise;
} CodeFilter;

/* 1 if *place*, a frame or a code object, is of the directory; 0 for all else. */
static int
is_inside(PyObject *directory, PyObject *place)
{
    PyObject *code = PyFrame_Check(place) ? (PyObject *)PyFrame_GetCode((PyFrameObject *)place) : Py_NewRef(place);
    int inside = 0;
    if (PyCode_Check(code)) {
        inside = (int)PyUnicode_Tailmatch(((PyCodeObject *)code)->co_filename, directory, 0, PY_SSIZE_T_MAX, -1);
    }
    Py_DECREF(code);
    return inside;
}

static PyObject *
filter_call(PyObject *self, PyObject *const *args, size_t flags, PyObject *names)
{
    CodeFilter *filter = (CodeFilter *)self;
    int inside = PyVectorcall_NARGS(flags) ? is_inside(filter->directory, args[0]) : 0;
    if (inside) {
        return inside < 0 ? NULL : Py_NewRef(filter->otherwise);
    }
    return PyObject_Vectorcall(filter->function, args, flags, names);
}

static PyObject *
filter_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *function, *directory, *otherwise;
    if (keywords && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "CodeFilter takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OUO:CodeFilter", &function, &directory, &otherwise)) {
        return NULL;
    }
    CodeFilter *made = (CodeFilter *)type->tp_alloc(type, 0);
    if (made) {
        made->vectorcall = filter_call;
        made->function = Py_NewRef(function);
        made->directory = Py_NewRef(directory);
        made->otherwise = Py_NewRef(otherwise);
    }
    return (PyObject *)made;
}

static int
filter_traverse(CodeFilter *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->function);
    Py_VISIT(self->otherwise);
    return 0;
}

static int
filter_clear(CodeFilter *self)
{
    Py_CLEAR(self->function);
    Py_CLEAR(self->otherwise);
    return 0;
}

static void
filter_dealloc(CodeFilter *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    filter_clear(self);
    Py_CLEAR(self->directory);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef filter_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(CodeFilter, vectorcall), READONLY, NULL},
    {"function", T_OBJECT, offsetof(CodeFilter, function), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot filter_slots[] = {
    {Py_tp_doc, "Calls a function, but not for the code of one directory."},
    {Py_tp_new, filter_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, filter_members},
    {Py_tp_traverse, filter_traverse},
    {Py_tp_clear, filter_clear},
    {Py_tp_dealloc, filter_dealloc},
    {0, NULL},
};

static PyType_Spec filter_spec = {
    .name = "greenpool._speedups.CodeFilter",
    .basicsize = sizeof(CodeFilter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = filter_slots,
};

const char make_code_filter_doc[] = PyDoc_STR(
"make_code_filter($module, /)\n--\n\n"
"Make the class CodeFilter.");

PyObject *
speedups_make_code_filter(PyObject *module, PyObject *Py_UNUSED(no_argument))
{
    return PyType_FromModuleAndSpec(module, &filter_spec, NULL);
}
