"""Which port each server of an instance listens on, and whether it is free."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Collection, Mapping

import psutil

from stack.errors import StackError

HOST = "127.0.0.1"

# Port by role for the instance `dev`; each is one setting, STACK_<ROLE>_PORT.
DEFAULTS: Mapping[str, int] = {
    "redis": 36379,
    "kafka": 39092,
    "kafka_controller": 39093,
    "postgres": 35432,
    "elasticsearch": 39200,
    "elasticsearch_transport": 39300,
    "web": 36066,  # the first worker; worker i listens on web + i
}

# Other instances take an aligned block. It lies below Linux's default range for outgoing connections
# (32768-60999), so that no connection takes the port of a server while that is being restarted.
BLOCK = 16
BLOCKS = range(20000, 32000, BLOCK)


def setting(role: str) -> str:
    """The environment variable that moves this port of `dev`."""
    return f"STACK_{role.upper()}_PORT"


def fixed(environ: Mapping[str, str]) -> dict[str, int]:
    """The ports of `dev`: the defaults, where the environment does not say otherwise.

    Raises StackError for a value that is no port, or for one port given twice.
    """
    ports: dict[str, int] = {}
    for role, default in DEFAULTS.items():
        text = environ.get(setting(role), "") or str(default)
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
            raise StackError(f"{setting(role)}={text!r} is not a port (1 to 65535)")
        port = int(text)
        if (twin := next((other for other, taken in ports.items() if taken == port), None)) is not None:
            raise StackError(f"{setting(twin)} and {setting(role)} are both {port}")
        ports[role] = port
    return ports


def block(start: int) -> dict[str, int]:
    """The ports of an instance whose block begins here; what is left over belongs to further workers."""
    return {role: start + index for index, role in enumerate(DEFAULTS)}


def choose(remembered: Collection[int], free: Callable[[int], bool]) -> dict[str, int]:
    """Choose a block of which every port is free and which no other instance remembers."""
    for start in random.sample(BLOCKS, len(BLOCKS)):
        span = range(start, start + BLOCK)
        if not any(port in span for port in remembered) and all(map(free, span)):
            return block(start)
    raise StackError(f"no {BLOCK} free ports side by side between {BLOCKS.start} and {BLOCKS.stop}")


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that lingers after its server stopped does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    """Whether someone accepts connections on this loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def holder(port: int) -> str:
    """Who holds a port, as far as the caller may see it: " by pid 12 (name)" or nothing."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return ""
