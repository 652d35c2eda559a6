"""One small server per peer, written as that peer's own documentation would write it.

Each server prints its port as its first line and serves until it is terminated. All of them take the same
listening socket (``listening.listen``) and read up to 64 KiB at a time, so that they differ only in the peer.
"""
