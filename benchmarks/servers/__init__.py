"""One small server per peer, each as that peer's own documentation would write it.

Every one prints its port as its first line and serves until it is terminated. They all take the
same listening socket (``listening.listen``) and read up to 64 KiB at a time, so that they differ in
nothing but the peer.
"""
