"""`make chaos`: exit code 0 good, 1 something was found, 2 usage."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import stack
from bench import machine
from chaos import check, entries, images, load, outcome, plan, run, table
from chaos.check import Finding
from chaos.outcome import Outcome
from chaos.quiet import quiet
from chaos.system import System, broken_build, settings
from chaos.table import Total
from chaos.verify import VerifyError, verify
from demo.backend import Backend

INSTANCE = "chaos"
QUIET_SECONDS = 60.0  # for one round; what stirs after that is pending for ever
SHOWN = 20  # findings of a round that are printed
IGNORED = (
    f"{', '.join(sorted(entries.IGNORED))} of final payloads; {', '.join(sorted(entries.IGNORED_IN_RESULTS))} of single"
    f" results; {', '.join(outcome.IGNORED)} of rows and documents"
)


def say(text: str = "") -> None:
    print(text, flush=True)


async def undisturbed(system: System, rounds: int, seed: int, url: str) -> Outcome:
    """The outcome of all rounds' load when nobody dies."""
    begin = time.monotonic()
    all_posts = [load.posts(seed, number, url=url) for number in range(1, rounds + 1)]
    async with Backend(system.environment) as backend:
        for posts in all_posts:
            await run.insert(backend, posts, url)
            await run.send_at_once(system.environment["STREAMAPP_REDIS_URL"], load.in_order(posts))
        if stirring := await quiet(backend, system.environment, seconds=QUIET_SECONDS * (1 + rounds / 4)):
            raise stack.StackError(f"the undisturbed run does not come to rest: {', '.join(stirring[:5])}")
        results = await outcome.streams(backend)
        found = await outcome.read(backend, system.environment, results)
    if wrong := check.findings(found, found):
        raise stack.StackError(f"the undisturbed run is not whole: {wrong[0]}")
    say(f"undisturbed: {len(found.final)} posts in {time.monotonic() - begin:.0f} s")
    return found


async def disturbed(system: System, number: int, total: Total, calm: Outcome, url: str) -> list[Finding]:
    """One round: what was found in it. Raises stack.StackError where something does not come back."""
    begin = time.monotonic()
    posts = load.posts(total.seed, number, url=url)
    async with Backend(system.environment) as backend:
        await run.insert(backend, posts, url)
    played = await run.play(system, load.in_order(posts), plan.kills(total.seed, number))
    up = time.monotonic() - begin
    async with Backend(system.environment) as backend:  # the connections of before may be dead
        stirring = await quiet(backend, system.environment, seconds=QUIET_SECONDS)
        silent = time.monotonic() - begin
        results = await outcome.streams(backend)
        found = check.findings(await outcome.read(backend, system.environment, results), calm)
    found += [Finding(check.PENDING, text) for text in stirring] + await verify(system.environment)
    total.rounds, total.repeated, total.left = number, total.repeated + played.repeated, system.left
    total.posts += len(posts)
    total.images += sum(len(post.images) for post in posts)
    for kill, at in played.killed:
        total.kills[kill.victim] += 1
        if table.needed_for_results(kill.victim):
            following, caught_up = entries.recovery(results, at)
            total.next_result += [following] if following is not None else []
            total.caught_up += [caught_up] if caught_up is not None else []
    total.found = {kind: total.found[kind] + count for kind, count in check.counted(found).items()}
    dead = ", ".join(f"{kill.victim} at {kill.at:.1f} s" for kill, _ in played.killed)
    say(
        f"round {number:2}: {dead}; up again after {up:.0f} s, quiet after {silent:.0f} s, checked after"
        f" {time.monotonic() - begin:.0f} s: {f'{len(found)} found' if found else 'nothing found'}"
    )
    for finding in found[:SHOWN]:
        say(f"    {finding.kind}: {finding.text[:600]}")
    return found


def chaos(rounds: int, seed: int, *, broken: bool, instance: str) -> int:
    """The whole run."""
    system, total = System(instance), Total(seed=seed, broken=broken)
    good = False
    try:
        with images.serve() as url:
            system.up()
            calm = asyncio.run(undisturbed(system, rounds, seed, url))
            with broken_build() if broken else contextlib.nullcontext():
                system.up()
                good = all(
                    not asyncio.run(disturbed(system, number, total, calm, url)) for number in range(1, rounds + 1)
                )
    except (stack.StackError, VerifyError) as error:
        say(f"round {total.rounds + 1}: {error}")
    finally:
        system.wipe() if good else system.down()
    say()
    for line in table.lines(total):
        say(line)
    say(f"\nnot compared: {IGNORED}")
    say(f"figures are in {_keep(total)}")
    if not good:
        say(f"the data of the last round is kept until the next run, logs are in {system.logs}")
    return int(not good)


def _keep(total: Total) -> Path:
    now = datetime.now(UTC)
    machine.OUTPUT.mkdir(exist_ok=True)
    path = machine.OUTPUT / f"chaos-{now:%Y%m%dT%H%M%SZ}.json"
    figures = {"at": now.isoformat(timespec="seconds"), "machine": machine.machine(), **total.figures()}
    path.write_text(json.dumps(figures, indent=2) + "\n")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Kill -9, again and again.")
    parser.add_argument("--rounds", type=_count, default=25, metavar="N", help="how many rounds (default: 25)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="what makes load and kills (default: 1)")
    parser.add_argument("--broken", action="store_true", help="workers acknowledge before they send: must be found")
    parser.add_argument("--instance", default=INSTANCE, metavar="NAME", help="name of the servers (default: chaos)")
    options = parser.parse_args(arguments)
    with settings():
        return chaos(options.rounds, options.seed, broken=options.broken, instance=options.instance)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
