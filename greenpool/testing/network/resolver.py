"""Names of hosts and their addresses, as the ``socket`` module asks for them.

A name that is no host of the network is unknown: nothing is looked up outside.  The network knows IPv4
addresses only.  A socket of AF_INET6 uses them all the same, in the form that IPv6 has for them.

*Threads*: any; on a thread that is none of the run, the original functions answer.
"""

from __future__ import annotations

import _socket

from .fabric import ANY, LOCALHOST, LOOPBACK, Address, Fabric, Host

# The IPv6 address of an IPv4 address begins with this.
MAPPED = "::ffff:"


def shown_as_ipv6(address: Address) -> tuple[str, int, int, int]:
    """An address as a socket of AF_INET6 gives it."""
    host, port = address
    return "::" if host == ANY else MAPPED + host, port, 0, 0


def is_numeric(host: str) -> bool:
    """Whether *host* is an IPv4 address."""
    try:
        _socket.inet_aton(host)
    except OSError:
        return False
    return True


def text_of(host: object) -> str:
    """A host that was given as text or bytes."""
    if isinstance(host, (bytes, bytearray)):
        return host.decode("ascii")
    if isinstance(host, str):
        return host
    raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")


def resolve(fabric: Fabric, host: object) -> str:
    """The address of a host, for ``bind`` and ``connect``; raises gaierror if there is none of the name."""
    name = text_of(host)
    if name in ("", "::"):
        return ANY
    if name == "::1":
        return LOOPBACK
    name = name.removeprefix(MAPPED)
    if is_numeric(name):
        return _socket.inet_ntoa(_socket.inet_aton(name))
    return address_of(fabric, name)


def address_of(fabric: Fabric, name: str) -> str:
    """The address of the host *name*; raises gaierror if there is none."""
    if name == LOCALHOST:
        return LOOPBACK
    found = fabric.known(name)
    if found is None:
        raise _socket.gaierror(_socket.EAI_NONAME, "Name or service not known")
    return found.address


def port_of(port: bytes | str | int | None) -> bytes | str | int | None:
    """A port as a number or its text, where *port* may be the name of a service."""
    if isinstance(port, (bytes, bytearray)):
        port = port.decode("ascii")
    if isinstance(port, str) and port and not port.isdecimal():
        try:
            return _socket.getservbyname(port)
        except OSError:
            raise _socket.gaierror(_socket.EAI_SERVICE, "Servname not supported for ai_socktype") from None
    return port


def host_at(fabric: Fabric, address: str) -> Host:
    """The host that has *address*, or is called so; raises herror if there is none."""
    here = fabric.here()
    found = fabric.known(address)
    if found is None and is_numeric(address):
        found = fabric.at(address, here)
    if found is None:
        raise _socket.herror(1, "Unknown host")
    return found
