/* The critical sections of CPython without the GIL; call these around each switch away from a greenlet. */

#ifndef GREENPOOL_SECTIONS_H
#define GREENPOOL_SECTIONS_H

#include <Python.h>

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

#endif
