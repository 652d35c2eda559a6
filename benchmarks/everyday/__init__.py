"""What programs do all day: locks, queues, threads and logging of the standard library.

Each subject is one unchanged program of the standard library. It runs under ``patch_all()`` of greenpool
and of gevent, and unpatched ("threads"). Some subjects have native rows, too: the same program with the
library's own names. The figures are operations in a second of user and system time, which other programs on
the machine disturb less than the clock. Each file declares ``SUBJECTS``, by their names.

This module imports nothing, because the patching of a peer has to come before all other imports.
"""
