"""``gevent.resolver``: the system's resolver on threads, and one that blocks."""
