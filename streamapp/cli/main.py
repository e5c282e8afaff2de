"""The commands and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Any, TypeAlias

import click
import orjson

from streamapp.cli import contracts as wire
from streamapp.cli.faces import stats, who
from streamapp.cli.forget import forget_user
from streamapp.cli.inspect import inspect_post
from streamapp.cli.migrate import migrate_all
from streamapp.cli.models import NAMES as MODELS
from streamapp.cli.models import check_models, list_models, pull_models
from streamapp.cli.rebuild import NAMES, ROWS, abandon, rebuild_named
from streamapp.cli.search import search_media
from streamapp.cli.verify import verify as verify_all
from streamapp.sinks.parts import database_id
from streamapp.sinks.search import MOST, Query

Found: TypeAlias = tuple[bool, Any, str]
"""Whether all is good, the body for --json, the text for people."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Operate streamapp. Settings come from STREAMAPP_* variables or .env."""


def _finish(work: Coroutine[Any, Any, Found], *, as_json: bool) -> None:
    _show(asyncio.run(work), as_json=as_json)


def _show(found: Found, *, as_json: bool) -> None:
    """Print what was found, and exit 1 where something is wrong."""
    good, body, text = found
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS  # of rows by their keys
    click.echo(orjson.dumps(body, option=options, default=str).decode() if as_json else text)
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
@click.argument("text", required=False)
@click.option("--like", metavar="MEDIA", type=int, help="Like this media.")
@click.option("--face", metavar="USER", type=int, help="With the face of this user, by id.")
@click.option("--user", metavar="USER", help="Uploaded by this user, by name or id.")
@click.option("--safe-only/--unsafe", default=True, help="Also what is not known to be safe; without it nothing else.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, MOST))
@_json
def search(
    text: str | None, like: int | None, face: int | None, user: str | None, safe_only: bool, limit: int, as_json: bool
) -> None:
    """Find images by words, by likeness, by who is on them; what several ways find is ranked together."""
    if text is None and like is None and face is None:
        raise click.UsageError("say what to find: TEXT, --like MEDIA, or --face USER")
    query = Query(text=text, like=like, face=face, user=user, safe_only=safe_only, limit=limit)
    _finish(search_media(query), as_json=as_json)


@main.command()
@click.argument("name", type=click.Choice(NAMES), metavar="INDEX|all|rows")
@click.option("--drop-old", is_flag=True, help="Delete what is not searched any more.")
@click.option("--abandon", "give_up", is_flag=True, help="Give up a rebuild that was begun, and delete its index.")
@_json
def rebuild(name: str, drop_old: bool, give_up: bool, as_json: bool) -> None:
    """Build an index anew from its rows, or the rows from the state, while both are in use.

    Of an index, ended anywhere, it goes on from there when it is run again. Rows are made from what a running worker
    tells, each time from the first post on; what is right is not touched.
    """
    if give_up and (drop_old or name == ROWS):
        raise click.UsageError("--abandon goes with an index or all, and alone")
    _finish(abandon(name) if give_up else rebuild_named(name, drop_old=drop_old), as_json=as_json)


@main.command()
@click.option("--post", metavar="ID", help="Only this post.")
@click.option(
    "--wait",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds that something may be on its way before it counts as missing.",
)
@_json
def verify(post: str | None, wait: float, as_json: bool) -> None:
    """Compare state, rows, documents and results. Asks a running worker for the state."""
    _finish(verify_all(post, wait=wait), as_json=as_json)


class _UserId(click.ParamType):
    name = "user"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if (number := database_id(str(value))) is None:
            self.fail(f"the id of a user is a number, not {value!r}", param, ctx)
        return number


@main.group()
def forget() -> None:
    """Remove what is known of a person."""


@forget.command("user")
@click.argument("user_id", type=_UserId(), metavar="ID")
@click.option("--check", is_flag=True, help="Remove nothing, only look whether anything is left.")
@click.option(
    "--wait",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds until what running workers have to do, in the state and the indices, counts as left.",
)
@_json
def forget_user_command(user_id: int, check: bool, wait: float, as_json: bool) -> None:
    """Forget a user's face: embeddings, enrolment, and who is on images, in every table, index and the state.

    A picture that was sent before never enrols them again; a newer one does. Of a user whom the backend has deleted
    everything goes. Exit code 1 where something is left.
    """
    _finish(forget_user(user_id, check=check, wait=wait), as_json=as_json)


@main.group()
def faces() -> None:
    """Known faces, and who is near them."""


@faces.command("who")
@click.argument("face", metavar="FACE|IMAGE")
@_json
def faces_who_command(face: str, as_json: bool) -> None:
    """Who is it, and how sure is that? FACE is the id of a stored face, IMAGE a file or a URL with any faces."""
    _finish(who(face), as_json=as_json)


@faces.command("stats")
@click.option("--sample", default=10_000, show_default=True, type=click.IntRange(1, 1_000_000), help="Stored faces.")
@_json
def faces_stats_command(sample: int, as_json: bool) -> None:
    """How near stored faces are to the nearest known one, for choosing thresholds, and what is still to be compared."""
    _finish(stats(sample), as_json=as_json)


@main.group()
def models() -> None:
    """The weights of engine models, in STREAMAPP_MODELS_DIR."""


_names = click.argument("names", nargs=-1, type=click.Choice(MODELS), metavar="[NAME]...")


@models.command("pull")
@_names
@_json
def models_pull_command(names: tuple[str, ...], as_json: bool) -> None:
    """Fetch weights (clip, blip, facenet; all without a NAME) and check them. What is there already is not fetched."""
    _show(pull_models(names), as_json=as_json)


@models.command("list")
@_json
def models_list_command(as_json: bool) -> None:
    """Which weights are there, and are they what was fetched? Reads every byte of them."""
    _show(list_models(), as_json=as_json)


@models.command("check")
@_names
@_json
def models_check_command(names: tuple[str, ...], as_json: bool) -> None:
    """Load models and look at drawn pictures with them: time, memory, and whether they work at all."""
    _show(check_models(names), as_json=as_json)


@main.group(invoke_without_command=True)
@click.option("--check", is_flag=True, help="Exit 1 when the file is not what the code generates.")
@click.option("--write", is_flag=True, help="Write the file.")
@click.option("--file", default="docs/contracts.md", show_default=True, type=click.Path(dir_okay=False, path_type=Path))
@_json
@click.pass_context
def contracts(context: click.Context, check: bool, write: bool, file: Path, as_json: bool) -> None:
    """The wire: its generated documentation, and explanations of messages."""
    if context.invoked_subcommand is None:
        if not check and not write:
            raise click.UsageError("say --check, --write, or explain FILE")
        _show(wire.check(file, write=write), as_json=as_json)


@contracts.command("explain")
@click.argument("file", type=click.File(encoding="utf-8", errors="surrogateescape"))
@click.option("--stream", help="The stream the messages are of; guessed without it.")
@_json
def explain_command(file: IO[str], stream: str | None, as_json: bool) -> None:
    """How is a message read, and why is it refused? FILE (or -) holds redis-cli output or JSON."""
    _show(wire.explained(file.read(), stream), as_json=as_json)
