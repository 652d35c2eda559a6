"""The functions of the ``socket`` module that know names, over the simulated network.

*Threads*: any; on a thread that is none of the run, the original functions answer.
"""

from __future__ import annotations

import _socket
from collections.abc import Iterable
from types import ModuleType

from ... import socket as _green
from .endpoint import Shown
from .resolver import address_of, host_at, is_numeric, port_of, resolve, text_of
from .sockets import fabric_here

_getaddrinfo = _green.getaddrinfo
_gethostbyname = _green.gethostbyname
_gethostbyname_ex = _green.gethostbyname_ex
_gethostbyaddr = _green.gethostbyaddr
_getnameinfo = _green.getnameinfo
_gethostname = _socket.gethostname


def getaddrinfo(
    host: bytes | str | None,
    port: bytes | str | int | None,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[Shown]:
    """As ``socket.getaddrinfo``, for the hosts of the network; IPv4 only."""
    fabric = fabric_here()
    if fabric is None:
        return _getaddrinfo(host, port, family, type, proto, flags)
    fabric.scheduler.may_park("socket.getaddrinfo")
    name = None if host is None else text_of(host)
    numeric = name
    if name and not is_numeric(name) and ":" not in name:
        if flags & _socket.AI_NUMERICHOST or family == _socket.AF_INET6:
            raise _socket.gaierror(_socket.EAI_NONAME, "Name or service not known")
        numeric = address_of(fabric, name)
    found = _getaddrinfo(numeric, port_of(port), family, type, proto, flags)
    if family == 0 and numeric is None:
        found = [entry for entry in found if entry[0] == _socket.AF_INET]
    if flags & _socket.AI_CANONNAME and name:
        found = [(*entry[:3], name if entry[3] else "", entry[4]) for entry in found]
    return found


def gethostbyname(hostname: str, /) -> str:
    """As ``socket.gethostbyname``."""
    fabric = fabric_here()
    if fabric is None:
        return _gethostbyname(hostname)
    fabric.scheduler.may_park("socket.gethostbyname")
    return resolve(fabric, hostname)


def gethostbyname_ex(hostname: str, /) -> tuple[str, list[str], list[str]]:
    """As ``socket.gethostbyname_ex``."""
    fabric = fabric_here()
    if fabric is None:
        return _gethostbyname_ex(hostname)
    return text_of(hostname), [], [gethostbyname(hostname)]


def gethostbyaddr(ip_address: str, /) -> tuple[str, list[str], list[str]]:
    """As ``socket.gethostbyaddr``."""
    fabric = fabric_here()
    if fabric is None:
        return _gethostbyaddr(ip_address)
    fabric.scheduler.may_park("socket.gethostbyaddr")
    address = text_of(ip_address)
    found = host_at(fabric, address)
    return found.name, [], [address if is_numeric(address) else found.address]


def getnameinfo(sockaddr: Shown, flags: int, /) -> tuple[str, str]:
    """As ``socket.getnameinfo``."""
    fabric = fabric_here()
    if fabric is None or len(sockaddr) != 2:
        return _getnameinfo(sockaddr, flags)
    fabric.scheduler.may_park("socket.getnameinfo")
    address, port = resolve(fabric, sockaddr[0]), sockaddr[1]
    host = None if flags & _socket.NI_NUMERICHOST else fabric.at(address, fabric.here())
    if host is None and flags & _socket.NI_NAMEREQD:
        raise _socket.gaierror(_socket.EAI_NONAME, "Name or service not known")
    service = str(port)
    if not flags & _socket.NI_NUMERICSERV:
        try:
            service = _socket.getservbyport(port, "udp" if flags & _socket.NI_DGRAM else "tcp")
        except OSError:
            pass  # it has no name
    return (address if host is None else host.name), service


def gethostname() -> str:
    """As ``socket.gethostname``: the name of the host to which the caller belongs."""
    fabric = fabric_here()
    return _gethostname() if fabric is None else fabric.here().name


def replacements(modules: Iterable[ModuleType]) -> list[tuple[object, object]]:
    """Each of the functions above with what *modules* have in its place."""
    made = (getaddrinfo, gethostbyname, gethostbyname_ex, gethostbyaddr, getnameinfo, gethostname)
    return [(vars(module)[each.__name__], each) for module in modules for each in made]
