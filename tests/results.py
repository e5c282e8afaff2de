"""Waiting for results."""

from __future__ import annotations

from typing import Any

from system import System

from demo.backend import Backend, Fields, until

PER_IMAGE = 5  # results on ml-insights-results


async def answered(backend: Backend, post_id: int | str, media: int) -> tuple[list[Fields], list[Fields]]:
    """The results of all services for so many media: insights and faces."""

    async def whole() -> tuple[list[Fields], list[Fields]] | None:
        insights = await backend.results("ml-insights-results", post_id)
        faces = await backend.results("face-detection-results", post_id)
        return (insights, faces) if len(insights) >= PER_IMAGE * media and len(faces) >= media else None

    found: tuple[list[Fields], list[Fields]] = await until(whole, what=f"results of {media} media of {post_id}")
    return found


async def aggregates(backend: Backend, post_id: int | str, *, count: int = 1, seconds: float = 30) -> list[Fields]:
    """At least `count` aggregates of a post, oldest first."""

    async def enough() -> list[Fields] | None:
        found = await backend.results("post-insights-enriched", post_id)
        return found if len(found) >= count else None

    found: list[Fields] = await until(enough, what=f"{count} aggregates of {post_id}", seconds=seconds)
    return found


async def whole(backend: Backend, post_id: int | str) -> Fields:
    """The first aggregate that lacks nothing. Before it, each answer of an image that came late may give one."""

    async def found() -> Fields | None:
        given = await backend.results("post-insights-enriched", post_id)
        return next((each for each in given if each["completeness"] == "complete"), None)

    complete: Fields = await until(found, what=f"the whole aggregate of {post_id}")
    return complete


async def letter_of(system: System, correlation_id: str) -> dict[str, Any]:
    """The dead letter whose original has this correlation id."""

    async def found() -> dict[str, Any] | None:
        letters = await system.dead_letters()
        return next((letter for letter in letters if correlation_id.encode() in letter["value"]), None)

    letter: dict[str, Any] = await until(found, what=f"the dead letter of {correlation_id}")
    return letter
