"""`streamapp contracts`: is the documentation of the wire current, and why is a message read as it is?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from streamapp.contracts import docs
from streamapp.contracts.explain import Report, explain_text

SHORT = 100  # characters of a value shown


def check(path: Path, *, write: bool) -> tuple[bool, Any, str]:
    """Whether the file is what the code generates; with `write`, make it so."""
    wanted = docs.markdown()
    current = path.exists() and path.read_text() == wanted
    if write and not current:
        path.write_text(wanted)
    told = "is current" if current else ("written" if write else "is stale: `streamapp contracts --write` makes it")
    return current or write, {"path": str(path), "current": current}, f"{path} {told}"


def explained(text: str, stream: str | None) -> tuple[bool, Any, str]:
    """Reports for the messages in text. Bad when one is refused, or there is none."""
    try:
        reports = explain_text(text, stream)
    except ValueError as exc:
        return False, {"error": str(exc)}, str(exc)
    good = all(report.error is None for report in reports)
    return good, [dataclasses.asdict(report) for report in reports], "\n\n".join(map(_lines, reports))


def _lines(report: Report) -> str:
    looks = f"looks like {' or '.join(report.dialects)} ({report.likeness:.0%})" if report.dialects else "of no dialect"
    lines = [f"{report.stream}{'' if report.stream_given else ' (guessed)'}, {looks}"]
    lines += [f"  {r.name:22} → {r.attribute} = {_short(r.value)}" for r in report.readings]
    lines += [f"  {name:22}   ignored" for name in report.ignored]
    lines.append(f"  refused: {report.error}" if report.error else "  accepted")
    return "\n".join(lines)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHORT else f"{text[:SHORT]}… ({len(text)} characters)"
