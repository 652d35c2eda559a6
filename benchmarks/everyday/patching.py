"""Patches the standard library, as the first act of a program."""

NATIVE = ", native"
"""The end of the name of a row that uses the library's own names."""


def patch_for(peer: str) -> None:
    """Patch the standard library as ``peer`` needs it: not at all for plain threads and for native rows."""
    if peer == "greenpool":
        from greenpool import monkey

        monkey.patch_all()
    elif peer == "gevent":
        from gevent import monkey as gevent_monkey

        gevent_monkey.patch_all()
