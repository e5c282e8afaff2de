"""PostgreSQL 18 with pgvector: on TCP with a password, the application's database made when it is first started."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import asyncpg
import psutil

from stack.account import owned_directory, public_file, server_account
from stack.instance import POSTGRES_DATABASE, POSTGRES_PASSWORD, POSTGRES_USER, Instance
from stack.ports import HOST
from stack.process import run
from stack.service import Service, server_environment
from stack.wheels import postgres_binaries

SETTINGS = {
    "listen_addresses": HOST,
    # TCP only: the path of a socket may have 107 bytes, and a checkout may lie deep.
    "unix_socket_directories": "",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
}


def service(instance: Instance) -> Service:
    """PostgreSQL of this instance."""
    binaries, directory = postgres_binaries(), instance.home / "postgres"
    port = instance.ports()["postgres"]
    settings = SETTINGS | {"port": str(port)}
    url = instance.urls()["STREAMAPP_POSTGRES_URL"]
    return Service(
        name="postgres",
        argv=[
            *(binaries / "postgres", "-D", directory / "data"),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ],
        directory=directory,
        ports={"postgres": port},
        prepare=lambda: prepare(binaries, directory),
        ready=lambda: accepts(binaries, port) and asyncio.run(_login(url)),
        environment=server_environment(directory),
        account=server_account(),
        stop_signal=signal.SIGINT,  # "fast": sessions are ended, not awaited
    )


def prepare(binaries: Path, directory: Path) -> None:
    """Have a data directory that a new server takes as its own."""
    create(binaries, directory)
    forget_zombie(directory / "data/postmaster.pid")


def forget_zombie(pid_file: Path) -> None:
    """Remove the file of a server that was killed but whose process nobody has collected yet.

    In a container the first process may collect late or never, and to a new server a zombie looks alive. For
    a process that is gone altogether PostgreSQL does this itself, and for one that runs it rightly refuses.
    """
    try:
        pid = int(pid_file.read_text().split()[0])
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            pid_file.unlink()
    except (FileNotFoundError, psutil.NoSuchProcess):
        pass


def create(binaries: Path, directory: Path) -> None:
    """Make the data directory with the database and its extension, where there is none yet.

    In a draft that takes its name last, so that what an interruption leaves is never taken for a database.
    """
    data, draft, password = directory / "data", directory / "data.draft", directory / "password"
    if data.exists():
        return
    if draft.exists():
        shutil.rmtree(draft)
    account = server_account()
    as_server = partial(run, cwd=directory, environment=server_environment(directory), account=account)
    owned_directory(draft, account)
    public_file(password, f"{POSTGRES_PASSWORD}\n")  # the same for every instance: no secret
    as_server(
        [
            *(binaries / "initdb", "-D", draft, "-U", POSTGRES_USER, "--pwfile", password),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"),
        ]
    )
    single_user: list[str | Path] = [binaries / "postgres", "--single", "-D", draft, "-c", "exit_on_error=on"]
    as_server([*single_user, "postgres"], script=f"CREATE DATABASE {POSTGRES_DATABASE}\n")
    as_server([*single_user, POSTGRES_DATABASE], script="CREATE EXTENSION vector\n")
    draft.rename(data)


def accepts(binaries: Path, port: int) -> bool:
    """Whether pg_isready says that connections are accepted."""
    probe = subprocess.run(
        [binaries / "pg_isready", "-q", "-h", HOST, "-p", str(port), "-d", POSTGRES_DATABASE], check=False
    )
    return probe.returncode == 0


async def _login(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):  # it starts or recovers
        return False
    await connection.close()
    return True
