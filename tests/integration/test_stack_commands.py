"""The stack from outside: `python -m stack` with real servers, from a checkout of its own."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from redis import Redis

from stack.instance import CHECKOUT, instances_directory

# Stand-ins for the application: what the stack knows of it is its commands and how it says that it is ready.
CLI = "import sys, pathlib; pathlib.Path('migrated').touch(); print('migrating'); sys.exit('{failure}')"
BRIDGE = "import time; print('a line'); time.sleep(0.3); print('INFO bridge ready'); time.sleep(600)"
WORKER = """
import http.server, os, sys, time
assert sys.argv[1:] == ["-A", "streamapp", "worker", "-l", "info"], sys.argv
assert os.path.isdir(os.environ["STREAMAPP_DATADIR"])
began = time.monotonic()
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = self.path == "/health/ready" and time.monotonic() > began + 0.5
        self.send_response(200 if ready else 503)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["STREAMAPP_WEB_PORT"])), Health).serve_forever()
"""


class Checkout:
    """A copy of the stack with an application of stand-ins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(CHECKOUT / "stack", path / "stack", ignore=shutil.ignore_patterns("__pycache__"))
        (path / "streamapp").mkdir()
        (path / "streamapp/__init__.py").touch()
        self.migration_fails_with("")
        (path / "bridge.py").write_text(BRIDGE)
        (path / "faust.py").write_text(WORKER)

    def migration_fails_with(self, failure: str) -> None:
        (self.path / "streamapp/cli.py").write_text(CLI.format(failure=failure).replace("sys.exit('')", "sys.exit(0)"))

    def stack(self, *arguments: str, instance: str = "test") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stack", *arguments, "--instance", instance],
            cwd=self.path,
            check=False,
            capture_output=True,
            text=True,
        )

    def good(self, *arguments: str) -> list[str]:
        done = self.stack(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.splitlines()

    def urls(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.good("env"))

    def processes(self) -> list[psutil.Process]:
        """Everything that runs out of this checkout's instances."""
        home, found = str(instances_directory(self.path)), []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.cwd().startswith((home, str(self.path))):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path / "check out")
    yield checkout
    for instance in ("test", "dev"):
        checkout.stack("wipe", instance=instance)
    assert checkout.processes() == []
    shutil.rmtree(instances_directory(checkout.path), ignore_errors=True)


def query(url: str, sql: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def words(lines: list[str], count: int = 2) -> list[str]:
    return [" ".join(line.split()[:count]) for line in lines]


def test_redis_and_postgres_from_nothing_to_nothing(checkout: Checkout) -> None:
    only = ("--only", "redis,postgres")
    assert sorted(words(checkout.good("up", *only))) == ["postgres ready", "redis ready"]
    assert sorted(words(checkout.good("up", *only), 3)) == ["postgres already runs", "redis already runs"]
    assert sorted(words(checkout.good("status", *only))) == ["postgres running", "redis running"]
    assert checkout.stack("status").returncode == 1  # Kafka and Elasticsearch do not run
    assert "Ready to accept connections" in "\n".join(checkout.good("logs", "redis"))

    urls = checkout.urls()
    with Redis.from_url(urls["STREAMAPP_REDIS_URL"]) as redis:
        redis.xadd("stream", {"a": "1"})
        settings = redis.config_get("append*", "maxmemory-policy")
        assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")
        assert settings["maxmemory-policy"] == "noeviction"
    postgres = urls["STREAMAPP_POSTGRES_URL"]
    assert query(postgres, "SELECT '[3,4]'::vector <-> '[0,0]'") == 5.0
    query(postgres, "CREATE TABLE kept AS SELECT 42 AS x")
    with pytest.raises(asyncpg.InvalidPasswordError):
        query(postgres.replace("app:app", "app:wrong"), "SELECT 1")

    for name in ("redis", "postgres"):
        checkout.good("kill", name)
    assert words(checkout.stack("status", *only).stdout.splitlines()) == ["redis died", "postgres died"]
    for name in ("redis", "postgres"):
        checkout.good("start", name)
    assert checkout.urls() == urls
    with Redis.from_url(urls["STREAMAPP_REDIS_URL"]) as redis:
        assert redis.xlen("stream") == 1
    assert query(postgres, "SELECT x FROM kept") == 42

    assert sorted(words(checkout.good("down"))) == ["postgres stopped", "redis stopped"]
    assert checkout.processes() == []
    assert checkout.good("down") == []
    checkout.good("up", *only)
    assert query(postgres, "SELECT x FROM kept") == 42
    assert words(checkout.good("wipe"))[-1] == "test data"
    assert not (instances_directory(checkout.path) / "test").exists()


def test_a_taken_port_is_an_error_that_starts_nothing(checkout: Checkout) -> None:
    port = int(checkout.urls()["STREAMAPP_POSTGRES_URL"].rpartition(":")[2].partition("/")[0])
    with socket.create_server(("127.0.0.1", port)):
        done = checkout.stack("up", "--only", "redis,postgres")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"nothing was started:\n  port {port} is taken by pid" in done.stderr


def test_a_failing_server_shows_its_log_and_what_ran_before_stays(checkout: Checkout) -> None:
    checkout.good("up", "--only", "redis,postgres")
    checkout.good("down", "--only", "postgres")
    version = instances_directory(checkout.path) / "test/postgres/data/PG_VERSION"
    version.write_text("3\n")
    done = checkout.stack("up", "--only", "redis,postgres")
    assert done.returncode == 1
    assert "postgres ended before it was ready" in done.stderr
    assert "database files are incompatible with server" in done.stderr
    assert checkout.stack("status", "--only", "redis").returncode == 0


def test_the_application_starts_after_the_migration_and_stops_first(checkout: Checkout) -> None:
    lines = checkout.good("up", "--only", "redis", "--with-app", "--workers", "2")
    assert words(lines)[:2] == ["redis ready", "migrate tables,"]
    assert sorted(words(lines)[2:]) == ["bridge ready", "worker-0 ready", "worker-1 ready"]
    assert (checkout.path / "migrated").exists()
    again = checkout.good("up", "--only", "redis", "--with-app", "--workers", "2")
    assert [line for line in words(again) if line.endswith(" ready")] == []
    checkout.good("kill", "worker-1")
    assert words(checkout.good("start", "worker-1")) == ["worker-1 ready"]
    assert words(checkout.good("down"))[-1] == "redis stopped"


def test_a_failing_migration_is_shown_and_takes_down_what_this_call_started(checkout: Checkout) -> None:
    checkout.migration_fails_with("no such table")
    done = checkout.stack("up", "--only", "redis", "--migrate")
    assert done.returncode == 1
    assert "streamapp migrate failed with code 1:\nmigrating\nno such table" in done.stderr
    assert checkout.stack("status", "--only", "redis").stdout.split()[:2] == ["redis", "stopped"]


def test_a_failing_worker_takes_down_what_this_call_started(checkout: Checkout) -> None:
    (checkout.path / "faust.py").write_text("raise SystemExit('no weights')")
    done = checkout.stack("up", "--only", "redis", "--with-app")
    assert done.returncode == 1
    assert "worker-0 ended before it was ready" in done.stderr
    assert "no weights" in done.stderr
    assert checkout.processes() == []


def test_dev_writes_dotenv(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("STACK_REDIS_PORT", str(port))
    monkeypatch.setenv("STACK_REDIS_APPENDFSYNC", "always")
    (checkout.path / ".env").write_text("STREAMAPP_ENGINE=pixel\n")
    assert checkout.stack("up", "--only", "redis", instance="dev").returncode == 0
    lines = (checkout.path / ".env").read_text().splitlines()
    assert lines[:2] == ["STREAMAPP_ENGINE=pixel", f"STREAMAPP_REDIS_URL=redis://127.0.0.1:{port}/0"]
    with Redis.from_url(f"redis://127.0.0.1:{port}/0") as redis:
        assert redis.config_get("appendfsync") == {"appendfsync": "always"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("up", "--only", "mysql"), 1, "no server is called mysql"),
        (("start", "mysql"), 1, "there is no 'mysql'"),
        (("kill", "redis"), 1, "redis of instance 'test' does not run"),
        (("logs",), 1, "has no such log"),
        (("status",), 1, ""),
        (("down",), 0, ""),
        (("wipe",), 0, ""),
        (("up", "--with-app", "--workers", "0"), 2, "'0' is not a number of workers"),
        (("fly",), 2, "invalid choice"),
    ],
)
def test_what_cannot_be_done_is_said(checkout: Checkout, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = checkout.stack(*arguments)
    assert done.returncode == code
    assert message in done.stderr


def test_an_unknown_fsync_policy_is_refused(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_REDIS_APPENDFSYNC", "no")
    done = checkout.stack("up", "--only", "redis")
    assert (done.returncode, done.stdout) == (1, "")
    assert "STACK_REDIS_APPENDFSYNC='no'" in done.stderr
