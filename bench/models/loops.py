"""Several processes of one loop at once, and what they did together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rate:
    """images per second of all processes together; peak resident memory of the largest, MiB."""

    images_per_second: float
    peak_mib: int


def together(module: str, arguments: Sequence[str], *, processes: int) -> Rate:
    """Run `python -m module arguments` so many times at once: all begin when all are loaded."""
    command = [sys.executable, "-m", module, *arguments]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment())
        for _ in range(processes)
    ]
    try:
        for process in running:
            _line(process, "ready")
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [json.loads(_line(process)) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    images = sum(each["images"] for each in told)
    return Rate(round(images / max(each["seconds"] for each in told), 2), max(each["peak_mib"] for each in told))


def _line(process: subprocess.Popen[str], wanted: str = "") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(wanted or "{"):
            return line
    raise RuntimeError(f"a loop ended with {process.wait()} before it was done")


def _environment() -> dict[str, Any]:
    return os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
