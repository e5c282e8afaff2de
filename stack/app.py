"""The application's own processes, run from the checkout beside the servers: one bridge and n workers."""

from __future__ import annotations

import os
import sys
from urllib.request import urlopen

from stack.instance import Instance
from stack.ports import HOST, listens
from stack.process import run
from stack.progress import step
from stack.service import Service

BRIDGE = "bridge"
BRIDGE_READY = b"bridge ready"  # what the bridge logs once it consumes
WORKER_READY_TIMEOUT = 300.0  # seconds: a worker recovers its tables and loads its models first


def environment(instance: Instance) -> dict[str, str]:
    """The caller's environment with the servers of this instance in it."""
    return os.environ | instance.environment() | {"PYTHONUNBUFFERED": "1"}


def migrate(instance: Instance) -> None:
    """Make tables, topics and indices. Raises StackError with the end of the output when that fails."""
    with step("migrate", "tables, topics and indices"):
        run(
            [sys.executable, "-m", "streamapp.cli", "migrate"],
            cwd=instance.checkout,
            environment=environment(instance),
            what="streamapp migrate",
        )


def services(instance: Instance, workers: int) -> list[Service]:
    """The bridge and this many workers."""
    return [bridge(instance), *(worker(instance, index) for index in range(workers))]


def service(instance: Instance, name: str) -> Service | None:
    """The process of this name, or None when the application has none such."""
    if name == BRIDGE:
        return bridge(instance)
    prefix, _, index = name.partition("-")
    return worker(instance, int(index)) if prefix == "worker" and index.isdecimal() else None


def bridge(instance: Instance) -> Service:
    """The bridge between Redis and Kafka."""
    log = instance.log(BRIDGE)
    return Service(
        name=BRIDGE,
        argv=[sys.executable, "-m", "bridge"],
        directory=instance.home / BRIDGE,
        working_directory=instance.checkout,
        # Every start has a log of its own, so this line is never that of the start before.
        ready=lambda: BRIDGE_READY in log.read_bytes(),
        environment=environment(instance),
    )


def worker(instance: Instance, index: int) -> Service:
    """Worker number `index`, from 0: its own data directory, its own web port."""
    name, port = f"worker-{index}", instance.ports()["web"] + index
    directory = instance.home / name
    return Service(
        name=name,
        argv=[sys.executable, "-m", "faust", "-A", "streamapp", "worker", "-l", "info"],
        directory=directory,
        working_directory=instance.checkout,
        ports={"web": port},
        ready=lambda: listens(port) and is_ready(port),
        environment=environment(instance) | {"STREAMAPP_DATADIR": str(directory), "STREAMAPP_WEB_PORT": str(port)},
        ready_timeout=WORKER_READY_TIMEOUT,
    )


def is_ready(port: int) -> bool:
    """Whether the worker says that it is assigned, recovered and has its engines loaded.

    What it says otherwise, 503, reaches the caller as an OSError: not yet.
    """
    with urlopen(f"http://{HOST}:{port}/health/ready", timeout=2) as response:
        return bool(response.status == 200)
