"""The bridge as a process of its own, and what its tests look at."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bridge_harness import Servers, by_key, eventually, first_of_each, read_topic, redis_ids, unique
from redis.asyncio import Redis

from bridge.settings import Settings

ROOT = Path(__file__).parents[2]
#: `python -m bridge`, but with names of the test's own.
PROGRAM = """
import asyncio, logging, sys, uvloop
from bridge.__main__ import serve, stop_at_signal
from bridge.settings import Settings

async def main(stream, topic, letters):
    names = {"inbound_names": {stream: ("postId",)}, "outbound_names": [topic], "dead_letters": letters}
    await serve(Settings(), stop_at_signal(), **names)

logging.basicConfig(level="INFO")
logging.getLogger("aiokafka").setLevel("CRITICAL")
uvloop.run(main(*sys.argv[1:]))
"""


class Bridge:
    """A bridge process on names of its own."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self.names = [unique("stream"), unique("topic"), unique("letters")]
        self.stream, self.topic, self.letters = self.names
        self._directory = directory
        self._log = directory / f"{unique('bridge')}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str, **changes: str) -> None:
        settings = {f"STREAMAPP_{name}".upper(): str(value) for name, value in self.settings}
        arguments = command or ("-c", PROGRAM, *self.names)
        self._log.write_bytes(b"")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], env=os.environ | settings | changes, cwd=ROOT, stderr=log
            )

    async def started(self) -> None:
        try:
            await eventually(lambda: "bridge ready" in self.log, seconds=30)
        except AssertionError:
            pytest.fail(f"the bridge did not get ready: {self.log}")

    def another(self, **changes: Any) -> "Bridge":
        """A second one on the same names, with other settings."""
        bridge = Bridge(self.settings.model_copy(update=changes), self._directory)
        bridge.names = self.names
        bridge.stream, bridge.topic, bridge.letters = self.names
        return bridge

    @property
    def peak_memory(self) -> int:
        """Bytes: the most that were resident at once."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    @property
    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Its exit code, and the seconds it took."""
        assert self._process is not None
        start = time.monotonic()
        self._process.send_signal(number)
        code = self._process.wait(20)
        self._process = None
        return code, time.monotonic() - start


async def everything_acknowledged(redis: Redis, bridge: Bridge) -> bool:
    groups = await redis.xinfo_groups(bridge.stream)
    last = (await redis.xinfo_stream(bridge.stream))["last-generated-id"]
    return [(group["last-delivered-id"], group["pending"]) for group in groups] == [(last, 0)]


async def assert_all_arrived(redis: Redis, bridge: Bridge, ids: list[bytes]) -> int:
    """Nothing is missing in Kafka, each key is in order; the number of repeats."""
    records = await read_topic(bridge.settings, bridge.stream)
    firsts = first_of_each(records)
    assert sorted(redis_ids(firsts)) == sorted(ids)
    for numbers in by_key((record.key, int(json.loads(record.value)["n"])) for record in firsts).values():
        assert numbers == sorted(numbers)
    return len(records) - len(firsts)


def kafka(command: str, servers: Servers) -> None:
    """`kill` or `start` Kafka."""
    subprocess.run(
        [sys.executable, "-m", "stack", command, "kafka", "--instance", servers.instance],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )
