"""What is asked of the index, and how rankings are fused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.engines.pixel import Pixel
from streamapp.engines.texts import embedder
from streamapp.sinks.search import FIELDS, MEDIA, K, Query, Way, filters, fuse, nearest, words

rankings = st.lists(st.integers(0, 30), unique=True, max_size=15).map(
    lambda ids: {media_id: float(len(ids) - rank) for rank, media_id in enumerate(ids)}
)


def test_the_fields_searched_exist() -> None:
    for field in FIELDS:
        name, _, subfield = field.partition("^")[0].partition(".")
        definition = MEDIA.fields[name]
        assert (definition["fields"][subfield] if subfield else definition)["type"] == "text"


def test_unsafe_is_filtered_unless_asked_for() -> None:
    assert filters(Query(text="a")) == [{"term": {"is_safe": True}}]
    assert filters(Query(text="a", safe_only=False)) == []


@pytest.mark.parametrize(
    ("user", "fields"),
    [("ann", {"uploader_username"}), ("7", {"uploader_username", "uploader_id"}), ("007", {"uploader_username"})],
)
def test_a_user_is_named_or_numbered(user: str, fields: set[str]) -> None:
    (only,) = filters(Query(text="a", user=user, safe_only=False))
    assert {name for term in only["bool"]["should"] for name in term["term"]} == fields
    assert only["bool"]["minimum_should_match"] == 1


def test_every_way_is_filtered() -> None:
    only = filters(Query(text="a", user="ann"))
    assert words("a", only)["bool"]["filter"] == only
    assert nearest([1.0], only, 100)["filter"] == only
    assert nearest([1.0], only, 9000)["num_candidates"] == 10_000


def test_one_ranking_keeps_its_scores() -> None:
    assert fuse({"words": {3: 9.0, 1: 2.0}}) == [(3, 9.0), (1, 2.0)]
    assert fuse({"words": {}}) == []


def test_fused_by_hand() -> None:
    found = fuse({"words": {1: 9.0, 2: 8.0}, "likeness": {2: 0.9, 3: 0.8}})
    assert found == [(2, 1 / 62 + 1 / 61), (1, 1 / 61), (3, 1 / 62)]


def test_of_a_tie_the_newer() -> None:
    assert [media_id for media_id, _ in fuse({"words": {1: 1.0}, "likeness": {2: 1.0}})] == [2, 1]


@given(rankings, rankings)
def test_fusing_is_fair(one: dict[int, float], other: dict[int, float]) -> None:
    ways: dict[Way, dict[int, float]] = {"words": one, "likeness": other}
    found = fuse(ways)
    assert {media_id for media_id, _ in found} == one.keys() | other.keys()
    assert all(a[1] >= b[1] for a, b in pairwise(found))
    assert all(0 < score <= 2 / (K + 1) for _, score in found)
    assert sorted(fuse({"likeness": one, "words": other})) == sorted(found)  # whichever way it came
    scores = dict(found)
    for ranking, rest in ((one, other), (other, one)):
        alone = [media_id for media_id in ranking if media_id not in rest]
        assert all(
            scores[a] > scores[b] for a, b in pairwise(alone)
        )  # what one way says stands where others are silent


async def test_an_engine_without_texts_has_no_vectors_of_them() -> None:
    assert embedder(Pixel(image_dim=512, face_dim=1024, max_faces=32)) is None


class Reader(Pixel):
    """An engine that also reads."""

    def embed_texts(self, texts: Sequence[str]) -> list[bytes]:
        return [np.array([len(text), 0.5], "<f4").tobytes() for text in texts]


async def test_an_engine_with_texts_is_asked_for_them() -> None:
    embed = embedder(Reader(image_dim=512, face_dim=1024, max_faces=32))
    assert embed is not None
    assert await embed("beach") == [5.0, 0.5]
