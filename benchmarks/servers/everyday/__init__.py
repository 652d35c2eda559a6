"""Servers as programs have them: TLS, a connection per request, ``makefile`` and ``http.server``.

``python -m benchmarks.servers.everyday PROGRAM PEER`` runs one. The programs are in ``blocking.py`` and, for
asyncio and uvloop, in ``streams.py``.
"""
