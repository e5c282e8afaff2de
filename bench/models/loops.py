"""A loop over images, several processes of it at once, and what they did together."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Run: TypeAlias = Callable[[bytes, int, frozenset[str]], None]
"""Looks at so many copies of an image together, in those stages."""


def arguments(stages: str) -> argparse.ArgumentParser:
    """What every loop is told; stages: by default."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stages", default=stages)
    return parser


def loop(asked: argparse.Namespace, run: Run) -> None:
    """Warm up, say "ready", wait for a line, work through the images, and print what that took, for together()."""
    stages, raw = frozenset(asked.stages.split(",")), asked.image.read_bytes()
    run(raw, asked.batch, stages)  # warm
    print("ready", flush=True)
    sys.stdin.readline()
    begin, cpu = time.perf_counter(), time.process_time()
    for start in range(0, asked.count, asked.batch):
        run(raw, min(asked.batch, asked.count - start), stages)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"images": asked.count, "seconds": seconds, "cpu_seconds": cpu, "peak_mib": round(peak)}))


@dataclass(frozen=True, slots=True)
class Rate:
    """Images per second of all processes together; milliseconds of a core for an image; peak resident memory of the
    largest process, MiB."""

    images_per_second: float
    cpu_ms: float
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
    return Rate(
        images_per_second=round(images / max(each["seconds"] for each in told), 2),
        cpu_ms=round(1000 * sum(each["cpu_seconds"] for each in told) / images, 1),
        peak_mib=max(each["peak_mib"] for each in told),
    )


def _line(process: subprocess.Popen[str], wanted: str = "") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(wanted or "{"):
            return line
    raise RuntimeError(f"a loop ended with {process.wait()} before it was done")


def _environment() -> dict[str, Any]:
    return os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
