"""``gevent.fileobject``: FileObject by the names of all of gevent's ways to make one."""

from __future__ import annotations

from greenpool.fileobject import FileObject

__all__ = ["FileObject", "FileObjectBlock", "FileObjectPosix", "FileObjectThread"]

FileObjectPosix = FileObject
FileObjectThread = FileObject
FileObjectBlock = FileObject
