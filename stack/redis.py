"""Redis: append-only file, nothing evicted."""

from __future__ import annotations

import os
import socket

from stack.account import owned_directory, server_account
from stack.errors import StackError
from stack.instance import Instance
from stack.packages import redis_server
from stack.ports import HOST
from stack.service import Service, server_environment


def service(instance: Instance) -> Service:
    """Redis of this instance.

    STACK_REDIS_APPENDFSYNC is `everysec` (default: a crash of the machine may lose the last second) or
    `always`. Raises StackError for another value.
    """
    fsync = os.environ.get("STACK_REDIS_APPENDFSYNC", "everysec")
    if fsync not in ("everysec", "always"):
        raise StackError(f"STACK_REDIS_APPENDFSYNC={fsync!r} is neither 'everysec' nor 'always'")
    directory, port, account = instance.home / "redis", instance.ports()["redis"], server_account()
    data = directory / "data"
    options = {
        "bind": HOST,
        "port": str(port),
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": fsync,
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return Service(
        name="redis",
        argv=[redis_server(), *(word for name, value in options.items() for word in (f"--{name}", value))],
        directory=directory,
        ports={"redis": port},
        prepare=lambda: owned_directory(data, account),
        ready=lambda: answers_ping(port),
        environment=server_environment(directory),
        account=account,
    )


def answers_ping(port: int) -> bool:
    """Whether Redis says PONG; while it loads its file it says LOADING instead."""
    with socket.create_connection((HOST, port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")
