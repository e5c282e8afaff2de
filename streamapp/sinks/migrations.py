"""Bring the database's schema up to date: numbered files, forward only, each applied once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg

from streamapp.sinks import sql

logger = logging.getLogger(__name__)

_LOCK = 7310868731190474611  # only this lock's own number
_TABLE = """
CREATE TABLE IF NOT EXISTS streamapp_migrations (
    name TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""
_EXPECTED = {"42P07", "42701", "42710"}  # "already exists, skipping"


class MigrationError(Exception):
    """The files do not continue what this database has applied."""


async def migrate(connection: asyncpg.Connection[Any], directory: Path | None = None) -> list[str]:
    """Apply the files of `directory` (default: our own) that are missing, all or none; their names, in order.

    Whoever comes second waits for the first and then finds nothing to do. Raises MigrationError when an applied
    file has been edited, a new one sorts before an applied one, or a backend's row that must have a vector has none.
    """
    files = {path.stem: path.read_text() for path in (directory or sql.directory() / "migrations").glob("*.sql")}
    connection.add_log_listener(_log)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute(_TABLE)
            applied = dict(await connection.fetch("SELECT name, sha256 FROM streamapp_migrations"))
            names = pending(files, applied)
            if names:
                try:
                    await connection.execute(sql.queries("migrations")["drop_bad_vectors"])
                except asyncpg.RaiseError as error:
                    raise MigrationError(f"{error.args[0]}. {error.hint}") from error
            for name in names:
                await connection.execute(files[name])
                await connection.execute(
                    "INSERT INTO streamapp_migrations (name, sha256) VALUES ($1, $2)", name, _sha256(files[name])
                )
    finally:
        connection.remove_log_listener(_log)
    return names


def pending(files: Mapping[str, str], applied: Mapping[str, str]) -> list[str]:
    """Names of the files to apply, in order; `files` are name -> text, `applied` name -> checksum.

    What was applied by a newer release and is unknown here is left alone. Raises MigrationError.
    """
    for name in sorted(files.keys() & applied.keys()):
        if _sha256(files[name]) != applied[name]:
            raise MigrationError(f"migration {name} was edited after it was applied; put the change in a new file")
    names = sorted(files.keys() - applied.keys())
    if names and applied and names[0] < max(applied):
        raise MigrationError(f"migration {names[0]} sorts before {max(applied)}, which is applied; renumber it")
    return names


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _log(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
    if message.sqlstate not in _EXPECTED:
        logger.warning("postgresql: %s", message.message)
