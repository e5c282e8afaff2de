"""Who dies when in a round: a function of seed and round alone."""

from __future__ import annotations

import random
from dataclasses import dataclass

from chaos.load import BURSTS, SECONDS

BRIDGE = "bridge"
WORKERS = ("worker-0", "worker-1")
SERVERS = ("kafka", "redis", "postgres", "elasticsearch")
EVERY = 2  # rounds: how often a server dies too
VICTIMS = (*WORKERS, BRIDGE, *SERVERS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """Kill -9 `at` seconds after the begin of the round, started again `away` seconds later."""

    at: float
    victim: str
    away: float


def kills(seed: int, number: int) -> list[Kill]:
    """The kills of round `number`, counted from 1, in their order.

    Always the bridge and a worker, often both workers or one of them twice (the second time while it recovers), and in
    every second round a server: each of the four before any of them again.
    """
    chance = random.Random(f"{seed}:{number}:kills")
    victims = [BRIDGE, chance.choice(WORKERS)]
    if chance.random() < 0.5:
        victims.append(chance.choice(WORKERS))
    if number % EVERY == 0:
        victims.append(server(seed, number // EVERY - 1))
    planned: dict[str, Kill] = {}
    again = []
    for victim in victims:
        if (first := planned.get(victim)) is None:
            planned[victim] = Kill(at=_moment(chance), victim=victim, away=_away(chance, victim))
        else:
            at = first.at + first.away + chance.uniform(1, 4)
            again.append(Kill(at=at, victim=victim, away=_away(chance, victim)))
    return sorted([*planned.values(), *again], key=lambda kill: kill.at)


def server(seed: int, turn: int) -> str:
    """Which server dies at its turn, counted from 0."""
    cycle, place = divmod(turn, len(SERVERS))
    return random.Random(f"{seed}:{cycle}:servers").sample(SERVERS, len(SERVERS))[place]


def _moment(chance: random.Random) -> float:
    """Any, but more often soon after posts came: in the middle of much work is where most can be lost."""
    if chance.random() < 0.6:
        return chance.choice(BURSTS) + chance.uniform(0.1, 1.5)
    return chance.uniform(0.1, SECONDS - 1)


def _away(chance: random.Random, victim: str) -> float:
    """As long as whatever watches over processes may take to notice; a server's machine may take longer."""
    return chance.uniform(1, 3) if victim in SERVERS else chance.uniform(0, 1.5)
