"""The story of a post in lines."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.cli.inspect import explain

STORY: dict[str, Any] = {"postId": "1", "state": "complete", "revision": 3, "why": [], "media": []}
MEDIA = "read_model_media_search"


def told(**fields: Any) -> dict[str, Any]:
    given = {"table_name": MEDIA, "pk": 10, "bulk": False, "wanted": True, "since": "2026-01-02", "reported": True}
    return given | fields


@pytest.mark.parametrize(
    ("hint", "line"),
    [
        (told(), f"row {MEDIA}/10: told of, but not there, since 2026-01-02"),
        (told(bulk=True, pk=1), "the media of post 1: told of, but not there, since 2026-01-02"),
        (told(wanted=False), f"row {MEDIA}/10: told deleted, but there, since 2026-01-02"),
        (told(reported=False), f"row {MEDIA}/10: told of, looked at again soon, since 2026-01-02"),
        (told(reported=False, wanted=False), f"row {MEDIA}/10: told deleted, looked at again soon, since 2026-01-02"),
    ],
)
def test_what_the_backend_told(hint: dict[str, Any], line: str) -> None:
    assert explain(STORY | {"hints": [hint]}).splitlines()[1:] == [f"  {line}"]


def test_what_cannot_be_known_now() -> None:
    down = {"unknown": "database is down"}
    lines = explain(STORY | {"hints": down, "awaiting": down}).splitlines()
    assert lines[1:] == ["  rows: unknown, database is down", "  hints: unknown, database is down"]


def test_nothing_to_tell() -> None:
    assert explain(STORY | {"hints": [], "awaiting": []}) == "post 1: complete, revision 3"
