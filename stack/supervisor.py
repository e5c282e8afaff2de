"""Keeps services running as children of nobody: starts them, waits until they serve, stops what is on record."""

from __future__ import annotations

import atexit
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from stack import ports, records
from stack.errors import StackError
from stack.instance import DEV, Instance
from stack.process import identity, tail
from stack.progress import say
from stack.records import Mark, Record
from stack.service import Service

POLL_SECONDS = 0.05
RELEASE_SECONDS = 5.0  # until a port that our own killed process held counts as taken
KILL_TIMEOUT = 10.0  # a killed process is gone at once, unless the kernel waits for a device

# Children outlive their Popen on purpose. Kept, so that the interpreter neither warns about them nor forgets
# to collect the exit status of one that ends while this process still runs.
_children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_go() -> None:
    """Those that still run stay: without a return code Popen would warn of each of them."""
    for child in _children.values():
        child.returncode = child.returncode or 0


class Supervisor:
    """The processes of one instance. Its methods expect the caller to hold the instance's lock."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._records = records.load(instance.records)
        self._writing = threading.Lock()
        self._abort = threading.Event()

    def names(self) -> list[str]:
        """What is on record, in the order of first start."""
        return list(self._records)

    def record(self, name: str) -> Record | None:
        """What is known of a service."""
        return self._records.get(name)

    def alive(self, name: str) -> bool:
        """Whether this service's process lives."""
        return name in self._records and self._records[name].alive

    def check(self, services: Sequence[Service]) -> None:
        """End what a crash left of these, then see that those which do not run find their ports free.

        Raises StackError naming each port that is taken, and who holds it as far as that is visible.
        """
        missing = [service for service in services if not self.alive(service.name)]
        for service in missing:
            self._end(service.name)
        # The kernel may close the sockets of a killed process of many threads a moment after the process is gone.
        ours = [port for s in missing if s.name in self._records for port in s.ports.values()]
        deadline = time.monotonic() + RELEASE_SECONDS
        while not all(map(ports.is_free, ours)) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        taken = [
            f"port {port} is taken{ports.holder(port)}; {service.name} needs it ({_remedy(self._instance.name, role)})"
            for service in missing
            for role, port in service.ports.items()
            if not ports.is_free(port)
        ]
        if taken:
            raise StackError("\n  ".join(("nothing was started:", *taken)))

    def up(self, services: Sequence[Service]) -> list[str]:
        """Start those that do not run and return their names once all serve.

        When one of them fails, or the caller is interrupted, stops those that this call started, and raises
        StackError.
        """
        self.check(services)
        missing = [service for service in services if not self.alive(service.name)]
        pool = ThreadPoolExecutor(max(1, len(services)), thread_name_prefix="stack")
        try:
            futures = [pool.submit(self._bring_up, service, service in missing) for service in services]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            self._abort.set()
            pool.shutdown()
            self.stop(service.name for service in missing)
            raise
        pool.shutdown()
        return [service.name for service in missing]

    def stop(self, names: Iterable[str]) -> None:
        """Stop these in reverse order of start: politely, then by force. Those not on record are skipped."""
        wanted = set(names)
        for name in [name for name in reversed(self._records) if name in wanted]:
            self._end(name)
            del self._records[name]
            self._save()

    def _end(self, name: str) -> None:
        if (record := self._records.get(name)) is None:
            return
        began = time.monotonic()
        marks = (record.main, *record.descendants, *records.family(record.main))
        # Descendants are signalled only where they outlived their parent, who otherwise ends them in order.
        addressed = records.living([record.main]) or records.living(marks)
        if not addressed:
            return
        for process in addressed:
            _signal(process, record.stop_signal)
        if _gone(marks, record.stop_timeout):
            say(name, f"stopped in {time.monotonic() - began:.1f} s")
        else:
            self._kill(name, marks)
            say(name, f"killed: it did not stop within {record.stop_timeout:g} s")

    def kill(self, name: str) -> None:
        """End a service and all its descendants as a crash would. Raises StackError when it does not run."""
        record = self._records.get(name)
        if record is None or not record.alive:
            raise StackError(f"{name} of instance {self._instance.name!r} does not run")
        self._kill(name, (record.main, *record.descendants, *records.family(record.main)))
        say(name, "killed")

    def _kill(self, name: str, marks: Sequence[Mark]) -> None:
        # The parent first, so that it does not see its children die and report or restart them.
        for process in records.living(marks):
            _signal(process, signal.SIGKILL)
        if not _gone(marks, KILL_TIMEOUT):
            pids = ", ".join(str(process.pid) for process in records.living(marks))
            raise StackError(f"{name}: pid {pids} is still there {KILL_TIMEOUT:g} s after SIGKILL")

    def _bring_up(self, service: Service, missing: bool) -> None:
        began = time.monotonic()
        if missing:
            self._start(service)
        self._await(service)
        record = self._records[service.name]
        self._remember(service.name, record.main, service)
        where = f" on {ports.HOST}:{service.port}" if service.port else ""
        took = f"ready{where} in {time.monotonic() - began:.1f} s" if missing else f"already runs{where}"
        say(service.name, took)

    def _start(self, service: Service) -> None:
        service.directory.mkdir(exist_ok=True)
        service.directory.chmod(0o755)
        service.prepare()
        if self._abort.is_set():
            return
        with _fresh_log(self._instance.log(service.name)) as log:
            try:
                child = subprocess.Popen(
                    service.argv,
                    cwd=service.working_directory or service.directory,
                    env=dict(service.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # what interrupts the caller's terminal is not for it
                    **identity(service.account),
                )
            except OSError as error:
                raise StackError(f"{service.name} cannot be started: {error}") from error
        _children[child.pid] = child
        with suppress(psutil.NoSuchProcess):  # it has ended already; waiting for it tells
            self._remember(service.name, Mark.of(child.pid), service)

    def _remember(self, name: str, main: Mark, service: Service) -> None:
        record = Record(
            main=main,
            descendants=records.family(main),
            port=service.port,
            stop_signal=service.stop_signal,
            stop_timeout=service.stop_timeout,
        )
        with self._writing:
            self._records[name] = record
            self._save()

    def _save(self) -> None:
        records.save(self._instance.records, self._records)

    def _await(self, service: Service) -> None:
        deadline = time.monotonic() + service.ready_timeout
        while not self._abort.is_set():
            if not self.alive(service.name):
                raise self._failure(service.name, "ended before it was ready")
            with suppress(OSError):
                if service.ready():
                    return
            if time.monotonic() > deadline:
                raise self._failure(service.name, f"was not ready within {service.ready_timeout:g} s")
            time.sleep(POLL_SECONDS)
        raise StackError(f"{service.name}: given up, as another service failed")

    def _failure(self, name: str, what: str) -> StackError:
        log = self._instance.log(name)
        return StackError(f"{name} {what}; {log} ends with:\n{tail(log.read_text(errors='replace'))}")


def _remedy(instance: str, role: str) -> str:
    if instance == DEV:
        return f"set {ports.setting(role)} to another"
    return f"`wipe --instance {instance}` lets it choose others"


def _fresh_log(path: Path) -> BinaryIO:
    """A new log for a new start; that of the start before stays as `.1`."""
    if path.exists():
        path.replace(path.with_suffix(".log.1"))
    return path.open("wb")


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):  # psutil compares the creation time again
        process.send_signal(number)


def _gone(marks: Sequence[Mark], timeout: float) -> bool:
    """Wait until none of these lives, at most this many seconds."""
    deadline = time.monotonic() + timeout
    while records.living(marks):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    for mark in marks:
        if (child := _children.get(mark.pid)) is not None and child.poll() is not None:
            del _children[mark.pid]
    return True
