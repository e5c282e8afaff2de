"""What all rounds came to, as a table for people and as figures."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.check import KINDS
from chaos.plan import SERVERS, VICTIMS


@dataclass(kw_only=True)
class Total:
    """The sums of a run; times are seconds after a kill."""

    seed: int
    broken: bool
    rounds: int = 0
    posts: int = 0
    images: int = 0
    repeated: int = 0  # messages sent again because their reply did not come
    kills: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)  # ended by themselves and started again
    found: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    next_result: list[float] = field(default_factory=list)
    caught_up: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "seed": self.seed,
            "broken": self.broken,
            "rounds": self.rounds,
            "posts": self.posts,
            "images": self.images,
            "repeated": self.repeated,
            "kills": {victim: self.kills[victim] for victim in VICTIMS},
            "left": dict(self.left),
            "found": self.found,
            "next_result_seconds": percentiles(self.next_result),
            "caught_up_seconds": percentiles(self.caught_up),
        }


def lines(total: Total) -> Iterable[str]:
    """A Markdown table."""
    dead = ", ".join(f"{victim} {total.kills[victim]}" for victim in VICTIMS if total.kills[victim])
    left = ", ".join(f"{name} {count}" for name, count in total.left.items())
    rows = [
        ("rounds", f"{total.rounds} (seed {total.seed}{', broken on purpose' * total.broken})"),
        ("kill -9", f"{sum(total.kills.values())}: {dead}"),
        ("ended by themselves, started again", left or "0"),
        ("posts, images", f"{total.posts}, {total.images}"),
        ("messages repeated, as Redis did not answer", str(total.repeated)),
        *((kind, str(count)) for kind, count in total.found.items()),
        ("kill → next result", _spread(total.next_result)),
        ("kill → all answered that was asked before", _spread(total.caught_up)),
    ]
    yield "| | |"
    yield "| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in rows)


def needed_for_results(victim: str) -> bool:
    """Whether results wait while this is down: rows and documents follow them and delay none."""
    return victim not in SERVERS or victim in ("kafka", "redis")


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """p50 and p95, None of nothing."""
    if not seconds:
        return None
    cuts = statistics.quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 19
    return {"p50": round(statistics.median(seconds), 1), "p95": round(cuts[18], 1)}


def _spread(seconds: Sequence[float]) -> str:
    found = percentiles(seconds)
    return "-" if found is None else f"p50 {found['p50']} s, p95 {found['p95']} s"
