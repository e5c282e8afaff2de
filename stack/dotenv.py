"""The `.env` file: the stack's own lines are replaced in place, the user's stay as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")


def merge(text: str, values: Mapping[str, str]) -> str:
    """The file's new text: each value on the line that had it, further ones at the end, once each."""
    lines, missing = [], dict(values)
    for line in text.splitlines():
        key = match[1] if (match := ASSIGNMENT.match(line)) else None
        if key not in values:
            lines.append(line)
        elif key in missing:
            lines.append(f"{key}={missing.pop(key)}")
    lines += [f"{key}={value}" for key, value in missing.items()]
    return "".join(f"{line}\n" for line in lines)


def update(path: Path, values: Mapping[str, str]) -> None:
    """Merge the values into the file, readable by its owner only, in one step."""
    old = path.read_text() if path.exists() else ""
    draft = path.with_name(f"{path.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(merge(old, values))
    draft.chmod(0o600)
    os.replace(draft, path)
