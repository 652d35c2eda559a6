/* Where a task comes from, and since when a greenlet is parked. */

#ifndef GREENPOOL_ORIGIN_H
#define GREENPOOL_ORIGIN_H

#include "connect.h"

/* Note when and where *new*, a task whose slots are empty, is made in *greenlet*, the calling one. */
int initialize_origin(PyObject *new, PyObject *greenlet);

/* Note that *greenlet*, the calling one, a carrier, parks now. */
int note_park(PyObject *greenlet);

#endif
