"""What machine the figures come from, and where they are kept."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parent / "output"


def machine() -> dict[str, Any]:
    """Processor, cores, memory, Python."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    cpu = next(names, platform.processor())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "python": platform.python_version()}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p95, rounded to a tenth."""
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": round(statistics.median(values), 1), "p95": round(cuts[18], 1)}


def keep(figures: dict[str, Any], *, name: str = "") -> Path:
    """Write figures with the machine and the time; the file, whose name begins with `name`."""
    now = datetime.now(UTC)
    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / f"{name and name + '-'}{now:%Y%m%dT%H%M%SZ}.json"
    kept = {"at": now.isoformat(timespec="seconds"), "machine": machine(), **figures}
    path.write_text(json.dumps(kept, indent=2) + "\n")
    return path
