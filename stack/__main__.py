"""`python -m stack`: exit code 0 good, 1 something is wrong, 2 usage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from stack import commands
from stack.errors import StackError
from stack.instance import DEV, Instance
from stack.process import tail

LOG_LINES = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stack: interrupted", file=sys.stderr)
    return 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--instance", default=DEV, metavar="NAME", help="which set of servers (default: dev)")
    several = argparse.ArgumentParser(add_help=False, parents=[shared])
    several.add_argument("--only", type=_names, default=(), metavar="A,B", help="only these services")

    root = argparse.ArgumentParser(prog="python -m stack", description="The local servers.")
    commands_ = root.add_subparsers(required=True, metavar="COMMAND")
    start = commands_.add_parser("up", parents=[several], help="start, and return when all serve")
    start.add_argument("--migrate", action="store_true", help="then make tables, topics and indices")
    start.add_argument("--with-app", action="store_true", help="then migrate and start bridge and workers")
    start.add_argument("--workers", type=_count, default=1, metavar="N", help="with --with-app (default: 1)")
    start.set_defaults(run=_up)
    for name, run, text in (("down", _down, "stop"), ("status", _status, "what runs; exit 0 if all does")):
        commands_.add_parser(name, parents=[several], help=text).set_defaults(run=run)
    for name, run, text in (
        ("wipe", _wipe, "stop and delete the data"),
        ("env", _env, "the settings with which clients find the servers"),
    ):
        commands_.add_parser(name, parents=[shared], help=text).set_defaults(run=run)
    for name, run, text in (
        ("kill", _kill, "end one service as a crash would"),
        ("start", _start, "start one service again"),
    ):
        command = commands_.add_parser(name, parents=[shared], help=text)
        command.add_argument("name", metavar="NAME")
        command.set_defaults(run=run)
    logs = commands_.add_parser("logs", parents=[shared], help="the end of the logs, or of one")
    logs.add_argument("name", metavar="NAME", nargs="?")
    logs.set_defaults(run=_logs)
    return root


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.replace(",", " ").split())


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers")
    return int(text)


def _up(options: argparse.Namespace) -> None:
    workers = options.workers if options.with_app else None
    commands.up(options.instance, only=options.only, migrate=options.migrate, workers=workers)


def _down(options: argparse.Namespace) -> None:
    commands.down(options.instance, only=options.only)


def _wipe(options: argparse.Namespace) -> None:
    commands.wipe(options.instance)


def _kill(options: argparse.Namespace) -> None:
    commands.kill(options.name, options.instance)


def _start(options: argparse.Namespace) -> None:
    commands.start(options.name, options.instance)


def _env(options: argparse.Namespace) -> None:
    for name, value in commands.environment(options.instance).items():
        print(f"{name}={value}")


def _status(options: argparse.Namespace) -> int:
    states = commands.status(options.instance, only=options.only)
    for row in states:
        port, pid = (f"{number}" if number else "-" for number in (row.port, row.pid))
        uptime = "-" if row.uptime is None else f"{row.uptime:.0f} s"
        print(f"{row.name:<13} {row.state:<8} {port:>6} {pid:>8} {uptime:>10}")
    return 0 if all(row.state == "running" for row in states) else 1


def _logs(options: argparse.Namespace) -> None:
    instance = Instance(options.instance)
    paths = [instance.log(options.name)] if options.name else sorted(instance.logs.glob("*.log"))
    if not paths or not paths[0].exists():
        raise StackError(f"instance {instance.name!r} has no such log")
    for path in paths:
        print(f"==> {path} <==\n{tail(path.read_text(errors='replace'), LOG_LINES)}")


if __name__ == "__main__":
    sys.exit(main())
