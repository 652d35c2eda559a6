/* No figure of its own: it makes the files one module.

The module, and the names of what the other files offer. */

#include "connect.h"
#include "module.h"

static PyMethodDef speedups_methods[] = {
    {"accept", speedups_accept, METH_O, accept_doc},
#ifdef __linux__
    {"epoll_poll", FASTCALL(speedups_epoll_poll), METH_FASTCALL, epoll_poll_doc},
#endif
    {"renumber", speedups_renumber, METH_VARARGS, renumber_doc},
    {"await_post", speedups_await_post, METH_VARARGS, await_post_doc},
    {"raise_in_thread", speedups_raise_in_thread, METH_VARARGS, raise_in_thread_doc},
#ifdef Py_GIL_DISABLED
    {"leave_sections", speedups_leave_sections, METH_NOARGS, leave_sections_doc},
    {"return_to_sections", speedups_return_to_sections, METH_O, return_to_sections_doc},
#endif
    {"find_free_memory", speedups_find_free_memory, METH_NOARGS, find_free_memory_doc},
    {"give_back", speedups_give_back, METH_VARARGS, give_back_doc},
    {"connect_carrier", FASTCALL(connect_carrier), METH_FASTCALL, connect_carrier_doc},
    {"connect_waiter", FASTCALL(connect_waiter), METH_FASTCALL, connect_waiter_doc},
    {"connect_hub", FASTCALL(connect_hub), METH_FASTCALL, connect_hub_doc},
    {"connect_origin", connect_origin, METH_VARARGS, connect_origin_doc},
    {"note_origin", speedups_note_origin, METH_VARARGS, note_origin_doc},
    {"use_exact_clock", speedups_use_exact_clock, METH_O, use_exact_clock_doc},
    {"make_switch_recorder", speedups_make_switch_recorder, METH_NOARGS, make_switch_recorder_doc},
    {"stack_key", speedups_stack_key, METH_O, stack_key_doc},
    {"connect_task", FASTCALL(connect_task), METH_FASTCALL, connect_task_doc},
    {"connect_spawn", FASTCALL(connect_spawn), METH_FASTCALL, connect_spawn_doc},
    {"connect_lock", FASTCALL(connect_lock), METH_FASTCALL, connect_lock_doc},
    {"connect_rlock", FASTCALL(connect_rlock), METH_FASTCALL, connect_rlock_doc},
    {"connect_semaphore", FASTCALL(connect_semaphore), METH_FASTCALL, connect_semaphore_doc},
    {"connect_thread", FASTCALL(connect_thread), METH_FASTCALL, connect_thread_doc},
    {"connect_threading", FASTCALL(connect_threading), METH_FASTCALL, connect_threading_doc},
    {"connect_local", FASTCALL(connect_local), METH_FASTCALL, connect_local_doc},
    {"make_guard_type", speedups_make_guard_type, METH_NOARGS, make_guard_type_doc},
    {"connect_queue", FASTCALL(connect_queue), METH_FASTCALL, connect_queue_doc},
    {"connect_standard_queue", FASTCALL(connect_standard_queue), METH_FASTCALL, connect_standard_queue_doc},
    {"make_code_filter", speedups_make_code_filter, METH_NOARGS, make_code_filter_doc},
    {"connect_thread_state", FASTCALL(connect_thread_state), METH_FASTCALL, connect_thread_state_doc},
    {"take_thread_state", speedups_take_thread_state, METH_NOARGS, take_thread_state_doc},
    {"drop_thread_state", speedups_drop_thread_state, METH_O, drop_thread_state_doc},
    {"trace_like", speedups_trace_like, METH_O, trace_like_doc},
    {"connect_files", FASTCALL(connect_files), METH_FASTCALL, connect_files_doc},
    {"connect_socket", FASTCALL(connect_socket), METH_FASTCALL, connect_socket_doc},
    {"connect_ssl", FASTCALL(connect_ssl), METH_FASTCALL, connect_ssl_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot speedups_slots[] = {
#ifdef Py_mod_multiple_interpreters
    /* greenlet does not support them either. */
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

PyDoc_STRVAR(speedups_doc, "Socket calls that never block and keep the GIL, and the methods that wait between them.");

static struct PyModuleDef speedups_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "greenpool._speedups",
    .m_doc = speedups_doc,
    .m_size = 0,
    .m_methods = speedups_methods,
    .m_slots = speedups_slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&speedups_module);
}
