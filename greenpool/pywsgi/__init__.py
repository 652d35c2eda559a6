"""A WSGI server for HTTP/1.1 (as ``gevent.pywsgi``); needs ``pip install greenpool[wsgi]``.

::

    from greenpool.pywsgi import WSGIServer

    WSGIServer(("127.0.0.1", 8000), application).serve_forever()

*The parser* is llhttp, the parser of Node.js, by the package ``httptools``.  It checks each byte of a request
line, of headers and of chunks.  It accepts a few requests that can be read in two ways, and ``request.py``
refuses those.

*A connection* has one greenlet, which serves its requests one after another.  So a slow client costs a
greenlet, and never a hub.
"""

from __future__ import annotations

from .handler import WSGIHandler
from .limits import Limits
from .response import FileWrapper
from .server import WSGIServer

__all__ = ["FileWrapper", "Limits", "WSGIHandler", "WSGIServer"]

# Programs import them from here.
for _public in (FileWrapper, Limits, WSGIHandler, WSGIServer):
    _public.__module__ = __name__
