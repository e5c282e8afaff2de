"""What can be done with an instance, for the command line and for tests."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from stack import app, elasticsearch, kafka, postgres, redis
from stack.errors import StackError
from stack.instance import DEV, Instance
from stack.progress import say
from stack.service import Service
from stack.supervisor import Supervisor

# They start side by side: on two cores that is some seconds faster than one after the other, as much of
# Elasticsearch's start is waiting.
SERVERS: Mapping[str, Callable[[Instance], Service]] = {
    "redis": redis.service,
    "kafka": kafka.service,
    "postgres": postgres.service,
    "elasticsearch": elasticsearch.service,
}


@dataclass(frozen=True, kw_only=True)
class State:
    """One line of `status`: `state` is running, stopped, or died (it is on record, and gone)."""

    name: str
    state: str
    port: int | None
    pid: int | None
    uptime: float | None  # seconds


def up(instance: str = DEV, *, only: Iterable[str] = (), migrate: bool = False, workers: int | None = None) -> None:
    """Start the servers, or only the named ones, and return when they serve.

    `migrate` then makes tables, topics and indices; `workers` (a number) does that too, and starts the
    bridge and so many workers. `up` of `dev` writes `.env`. Raises StackError; what this call started is
    then stopped again.
    """
    target = Instance(instance)
    with target.lock():
        target.create()
        supervisor = Supervisor(target)
        target.settle_ports(running=any(map(supervisor.alive, supervisor.names())))
        servers = [SERVERS[name](target) for name in _servers(only)]
        processes = app.services(target, workers) if workers is not None else []
        supervisor.check([*servers, *processes])
        started = supervisor.up(servers)
        if target.name == DEV:
            target.write_dotenv()
        try:
            if migrate or processes:
                app.migrate(target)
            supervisor.up(processes)
        except BaseException:
            supervisor.stop(started)
            raise


def down(instance: str = DEV, *, only: Iterable[str] = ()) -> None:
    """Stop what is on record, or only the named ones, in reverse order of start."""
    target = Instance(instance)
    with target.lock():
        supervisor = Supervisor(target)
        supervisor.stop(tuple(only) or supervisor.names())


def wipe(instance: str = DEV) -> None:
    """Stop everything and delete the instance's data, logs and ports."""
    target = Instance(instance)
    with target.lock():
        supervisor = Supervisor(target)
        supervisor.stop(supervisor.names())
        if target.home.exists():
            shutil.rmtree(target.home)
            say(instance, "data deleted")


def kill(name: str, instance: str = DEV) -> None:
    """End one service with all its processes as a crash would (SIGKILL)."""
    target = Instance(instance)
    with target.lock():
        Supervisor(target).kill(name)


def start(name: str, instance: str = DEV) -> None:
    """Start one service on the port and the data that it had, and return when it serves."""
    target = Instance(instance)
    with target.lock():
        target.create()
        service = SERVERS[name](target) if name in SERVERS else app.service(target, name)
        if service is None:
            raise StackError(f"there is no {name!r}: {', '.join(SERVERS)}, {app.BRIDGE}, worker-0, …")
        Supervisor(target).up([service])


def urls(instance: str = DEV) -> dict[str, str]:
    """Where clients find the servers: STREAMAPP_REDIS_URL, _KAFKA_URL, _POSTGRES_URL, _ELASTICSEARCH_URL."""
    return Instance(instance).urls()


def environment(instance: str = DEV) -> dict[str, str]:
    """The URLs and STREAMAPP_WEB_PORT, where the first worker listens."""
    return Instance(instance).environment()


def status(instance: str = DEV, *, only: Iterable[str] = ()) -> list[State]:
    """The state of the servers and of whatever else is on record, or only of the named ones."""
    supervisor = Supervisor(Instance(instance))
    names = tuple(only) or tuple(dict.fromkeys((*SERVERS, *supervisor.names())))
    return [_state(supervisor, name) for name in names]


def _state(supervisor: Supervisor, name: str) -> State:
    record = supervisor.record(name)
    if record is None:
        return State(name=name, state="stopped", port=None, pid=None, uptime=None)
    if not record.alive:
        return State(name=name, state="died", port=record.port, pid=None, uptime=None)
    uptime = time.time() - record.main.created
    return State(name=name, state="running", port=record.port, pid=record.main.pid, uptime=uptime)


def _servers(only: Iterable[str]) -> tuple[str, ...]:
    """The chosen servers in the order of start. Raises StackError for a name that is none."""
    chosen = tuple(only) or tuple(SERVERS)
    if unknown := [name for name in chosen if name not in SERVERS]:
        raise StackError(f"no server is called {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    return tuple(name for name in SERVERS if name in chosen)
