from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamapp.errors import Unavailable
from streamapp.resources import Resources
from streamapp.settings import Settings


@pytest.mark.parametrize("failure", [Unavailable("database is down"), RuntimeError("a bug")])
async def test_background_work_that_fails_is_shown_and_starts_again(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamapp.resources.RESTART_AFTER", 0.05)
    resources = Resources(Settings())
    runs = 0
    shown: list[Any] = []

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise failure
        await asyncio.Event().wait()

    task = asyncio.create_task(resources._keep("indexing", work))
    await asyncio.sleep(0.02)
    shown.append(resources.waiting())
    await asyncio.sleep(0.2)
    assert runs == 3
    assert str(failure) in shown[0]["indexing"]["error"]
    assert resources.waiting() == {}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await resources.close()
