"""Kill -9 of everything in some rounds; and the proof that losing work would be found."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stack

ROOT = Path(__file__).parents[2]
INSTANCE = f"chaos-{os.getpid()}"


async def chaos(*arguments: str) -> tuple[int | None, str]:
    """Exit code and what was printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos", "--instance", INSTANCE, *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


@pytest.fixture(autouse=True)
def gone() -> Iterator[None]:
    """What a run keeps when it finds something is not needed: its output says it."""
    yield
    stack.wipe(INSTANCE)


@pytest.mark.timeout(900)
async def test_nothing_is_lost_doubled_or_different_after_kills() -> None:
    code, printed = await chaos("--rounds", "3", "--seed", "6")  # Kafka dies too, and a worker while it recovers
    assert code == 0, printed
    assert "| rounds | 3 (seed 6) |" in printed
    assert "| lost | 0 |" in printed
    assert "| kill -9 | 0" not in printed


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_build_that_acknowledges_before_it_sends_is_found() -> None:
    code, printed = await chaos("--rounds", "3", "--broken")
    assert code == 1, printed
    assert "broken on purpose" in printed
    assert " found\n" in printed
    assert "lost: no answer for" in printed


async def test_a_wrong_number_of_rounds_is_refused() -> None:
    code, printed = await chaos("--rounds", "0")
    assert code == 2
    assert "not a number from 1" in printed
