"""The bodies behind ``event``, ``lock`` and ``queue``: one primitive a file.

They may be made before there is any hub, and used from every greenlet of every hub and every plain thread.
"""
