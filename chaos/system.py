"""A system of one's own: its processes can be killed at any moment and are watched over."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import samples
import stack
from chaos.plan import BRIDGE, SERVERS, WORKERS
from stack import app
from stack.supervisor import Supervisor

BROKEN = Path(__file__).parent / "broken"
PROCESSES = (BRIDGE, *WORKERS)
STARTS = 5  # of one process in a round, until it counts as unable to start
SETTINGS = {
    "STACK_REDIS_APPENDFSYNC": "always",  # else a killed Redis may forget what it has confirmed
    "STREAMAPP_ENV_FILE": os.devnull,
    **samples.SETTINGS,
    # Deadlines longer than any restart: what a deadline gives out depends on when it passes.
    "STREAMAPP_POST_TIMEOUT_SECONDS": "300",
    "STREAMAPP_POST_QUIET_SECONDS": "2",
    "STREAMAPP_FETCH_TIMEOUT_SECONDS": "30",
    "STREAMAPP_ATTEMPT_TIMEOUT_SECONDS": "60",
    "STREAMAPP_RETRY_SECONDS": "0.3",
}


class System:
    """Servers, bridge and two workers. Methods block; one at a time."""

    def __init__(self, instance: str) -> None:
        self._instance = stack.Instance(instance)
        self.environment: Mapping[str, str] = {}
        self.left: Counter[str] = Counter()  # what ended by itself and was started again
        self._killed: set[str] = set()

    @property
    def logs(self) -> Path:
        """Where the logs of all starts lie: `NAME.log`, those before as `NAME.N.log`."""
        return self._instance.logs

    def up(self) -> None:
        """All of it, empty."""
        self.wipe()
        with _silent():
            stack.up(self._instance.name, workers=len(WORKERS))
        self.environment = stack.environment(self._instance.name)

    def down(self) -> None:
        """Stop; data and logs stay."""
        with _silent():
            stack.down(self._instance.name)

    def wipe(self) -> None:
        """Stop and delete."""
        with _silent():
            stack.wipe(self._instance.name)

    def kill(self, name: str) -> int | None:
        """Kill -9; when it was gone, in milliseconds since 1970. None when it did not run."""
        if not self._alive(name):
            return None
        self._killed.add(name)
        with _silent(), contextlib.suppress(stack.StackError):  # it may have ended just now; launch starts it anyway
            stack.kill(name, self._instance.name)
        return time.time_ns() // 1_000_000

    def launch(self, name: str) -> None:
        """Start what was killed, without waiting until it serves: more may be killed meanwhile."""
        self._killed.discard(name)
        if self._alive(name):
            return
        self._keep_log(name)
        service = stack.SERVERS[name](self._instance) if name in SERVERS else app.service(self._instance, name)
        assert service is not None
        with _silent(), self._instance.lock():
            Supervisor(self._instance).up([replace(service, ready=lambda: True)])

    def tend(self) -> None:
        """Start again what ended by itself, as whatever watches over processes does."""
        for name in (*SERVERS, *PROCESSES):
            if name not in self._killed and not self._alive(name):
                self.left[name] += 1
                self.launch(name)

    def ready(self) -> None:
        """Return when all serve. Raises stack.StackError."""
        for name in (*SERVERS, *PROCESSES):
            for attempt in range(1, STARTS + 1):
                self.tend()
                try:
                    with _silent():
                        stack.start(name, self._instance.name)
                    break
                except stack.StackError:
                    if attempt == STARTS:
                        raise

    def _alive(self, name: str) -> bool:
        return stack.status(self._instance.name, only=[name])[0].state == "running"

    def _keep_log(self, name: str) -> None:
        log = self._instance.log(name)
        if log.exists():
            count = len(list(self.logs.glob(f"{name}.*.log")))
            shutil.move(log, log.with_suffix(f".{count + 1}.log"))


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """The settings of chaos and no others, in this process and those it starts."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("STREAMAPP_")]:
        del os.environ[name]
    os.environ |= SETTINGS
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def broken_build() -> Iterator[None]:
    """Workers that are started in this block acknowledge before they send, see chaos/broken."""
    os.environ["PYTHONPATH"] = str(BROKEN)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]


def _silent() -> contextlib.AbstractContextManager[object]:
    """What stack says line by line is for people who start servers by hand."""
    return contextlib.redirect_stdout(io.StringIO())
