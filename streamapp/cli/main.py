"""The commands and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import click
import orjson

from streamapp.cli.inspect import inspect_post
from streamapp.cli.migrate import migrate_all
from streamapp.cli.search import search_media


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Operate streamapp. Settings come from STREAMAPP_* variables or .env."""


def _finish(work: Coroutine[Any, Any, tuple[bool, Any, str]], *, as_json: bool) -> None:
    """Print what work found, and exit 1 where it found something wrong. It gives (good, body, text)."""
    good, body, text = asyncio.run(work)
    click.echo(orjson.dumps(body, option=orjson.OPT_INDENT_2, default=str).decode() if as_json else text)
    raise SystemExit(0 if good else 1)


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@main.command()
@_json
def migrate(as_json: bool) -> None:
    """Create what is missing: topics, tables, indices. Any number of times."""
    _finish(migrate_all(), as_json=as_json)


@main.group()
def inspect() -> None:
    """Look at what is known."""


@inspect.command("post")
@click.argument("post_id")
@_json
def inspect_post_command(post_id: str, as_json: bool) -> None:
    """Why is this post not complete? Asks a running worker."""
    _finish(inspect_post(post_id), as_json=as_json)


@main.command()
@click.argument("text")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--unsafe", is_flag=True, help="Also what is not known to be safe.")
@_json
def search(text: str, limit: int, unsafe: bool, as_json: bool) -> None:
    """Find images by words."""
    _finish(search_media(text, limit=limit, safe_only=not unsafe), as_json=as_json)
