"""The operator's command line on a running system: exit codes 0 good, 1 something wrong, 2 usage."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from results import aggregates
from system import SETTINGS, System

from demo.backend import Backend, until
from streamapp.sinks.indices import INDICES

pytestmark = pytest.mark.timeout(120)


async def streamapp(system: System, *arguments: str, port: str | None = None) -> tuple[int, str]:
    """Exit code and standard output."""
    environment = os.environ | SETTINGS | system.environment
    if port is not None:
        environment["STREAMAPP_WEB_PORT"] = port
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "streamapp.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return run.returncode, run.stdout


async def test_inspect_tells_why(system: System, backend: Backend, images: str, post_id: int) -> None:
    await backend.request_image(post_id, post_id + 1, f"{images}/gone.jpg")
    await backend.trigger(post_id, post_id + 1)
    await aggregates(backend, post_id)
    code, text = await streamapp(system, "inspect", "post", str(post_id))
    assert code == 1
    assert f"post {post_id}: partial" in text
    assert "404 Not Found" in text
    code, text = await streamapp(system, "inspect", "post", str(post_id), "--json")
    assert (code, json.loads(text)["state"]) == (1, "partial")
    assert await streamapp(system, "inspect", "post", "nobody") == (1, "no post nobody\n")
    assert (await streamapp(system, "inspect"))[0] == 2


async def test_search_and_inspect_of_a_complete_post(
    system: System, backend: Backend, images: str, post_id: int
) -> None:
    await backend.add_post(post_id, 15, f"Walk {post_id}", {post_id + 1: f"{images}/forest.jpg"})
    await backend.request_image(post_id, post_id + 1, f"{images}/forest.jpg")
    await backend.trigger(post_id, post_id + 1)
    await aggregates(backend, post_id)
    code, text = await streamapp(system, "inspect", "post", str(post_id))
    assert code == 0
    assert "6 of 6 services answered" in text

    async def found() -> Any:
        code, text = await streamapp(system, "search", f"walk {post_id}", "--json")
        return code == 0 and any(hit["media_id"] == post_id + 1 for hit in json.loads(text)["hits"])

    await until(found, what="the image by the command line")
    assert (await streamapp(system, "search", "nothinglikethis"))[0] == 1
    assert (await streamapp(system, "search"))[0] == 2
    assert (await streamapp(system, "search", "--like", "1")) == (1, "media 1 is not known\n")
    assert (await streamapp(system, "search", f"walk {post_id}", "--user", "nobody"))[0] == 1
    code, text = await streamapp(system, "search", f"walk {post_id}", "--user", "ana", "--safe-only")
    assert code == 0
    assert "(by words only: this engine has no vectors of texts)" in text
    assert (await streamapp(system, "rebuild", "nothing"))[0] == 2
    assert (await streamapp(system, "rebuild", "rows", "--abandon"))[0] == 2
    assert (await streamapp(system, "rebuild", "user_search", "--abandon")) == (0, "nothing was begun\n")


async def test_migrate_again_changes_nothing(system: System) -> None:
    code, text = await streamapp(system, "migrate", "--json")
    assert code == 0
    body = json.loads(text)
    assert (body["topics"], body["migrations"]) == ([], [])
    assert body["indices"] == {index.name: "present" for index in INDICES.values()}


async def test_without_a_worker_it_says_so(system: System) -> None:
    code, text = await streamapp(system, "inspect", "post", "1", port="9")
    assert code == 1
    assert "no worker answers at http://127.0.0.1:9" in text
