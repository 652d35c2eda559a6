/* What each file adds to the module. */

#ifndef GREENPOOL_MODULE_H
#define GREENPOOL_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* carrier.c */
PyObject *connect_carrier(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_carrier_doc[];

/* code_filter.c */
PyObject *speedups_make_code_filter(PyObject *module, PyObject *no_argument);
extern const char make_code_filter_doc[];

/* guard.c */
PyObject *speedups_make_guard_type(PyObject *module, PyObject *no_argument);
extern const char make_guard_type_doc[];

/* hub.c */
PyObject *connect_hub(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_hub_doc[];

/* lock.c */
PyObject *connect_lock(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_lock_doc[];

/* memory.c */
PyObject *speedups_find_free_memory(PyObject *module, PyObject *no_argument);
PyObject *speedups_give_back(PyObject *module, PyObject *args);
extern const char find_free_memory_doc[], give_back_doc[];

/* origin.c */
PyObject *connect_origin(PyObject *module, PyObject *args);
PyObject *speedups_note_origin(PyObject *module, PyObject *args);
PyObject *speedups_use_exact_clock(PyObject *module, PyObject *exact);
extern const char connect_origin_doc[], note_origin_doc[], use_exact_clock_doc[];

/* files.c */
PyObject *connect_files(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_files_doc[];

/* local.c */
PyObject *connect_local(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_local_doc[];

/* queue.c */
PyObject *connect_queue(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_queue_doc[];

/* recorder.c */
PyObject *speedups_make_switch_recorder(PyObject *module, PyObject *no_argument);
PyObject *speedups_stack_key(PyObject *module, PyObject *greenlet);
extern const char make_switch_recorder_doc[], stack_key_doc[];

/* rlock.c */
PyObject *connect_rlock(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_rlock_doc[];

/* semaphore.c */
PyObject *connect_semaphore(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_semaphore_doc[];

/* exit.c */
PyObject *speedups_raise_in_thread(PyObject *module, PyObject *args);
extern const char raise_in_thread_doc[];

/* sections.c, without the GIL only */
PyObject *speedups_leave_sections(PyObject *module, PyObject *no_argument);
PyObject *speedups_return_to_sections(PyObject *module, PyObject *held);
extern const char leave_sections_doc[], return_to_sections_doc[];

/* socket.c */
PyObject *connect_socket(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_socket_doc[];

/* spin.c */
PyObject *speedups_await_post(PyObject *module, PyObject *args);
extern const char await_post_doc[];

/* ssl.c */
PyObject *connect_ssl(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_ssl_doc[];
/* standard_queue.c */
PyObject *connect_standard_queue(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_standard_queue_doc[];

/* syscalls.c */
PyObject *speedups_accept(PyObject *module, PyObject *argument);
PyObject *speedups_epoll_poll(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *speedups_renumber(PyObject *module, PyObject *args);
extern const char accept_doc[], epoll_poll_doc[], renumber_doc[];

/* task.c */
PyObject *connect_task(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *connect_spawn(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_task_doc[], connect_spawn_doc[];

/* thread.c */
PyObject *connect_thread(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_thread_doc[];

/* threading.c */
PyObject *connect_threading(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_threading_doc[];

/* thread_state.c */
PyObject *connect_thread_state(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *speedups_take_thread_state(PyObject *module, PyObject *no_argument);
PyObject *speedups_drop_thread_state(PyObject *module, PyObject *state);
PyObject *speedups_trace_like(PyObject *module, PyObject *state);
extern const char connect_thread_state_doc[], drop_thread_state_doc[], take_thread_state_doc[], trace_like_doc[];

/* waiter.c */
PyObject *connect_waiter(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
extern const char connect_waiter_doc[];

#endif
