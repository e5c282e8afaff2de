"""What is found: kept, shown, and looked at again."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.verify.findings import EXAMPLES, SHORT, Difference, Findings, shorten
from streamapp.verify.looks import look_again
from streamapp.verify.rejections import document_of


async def test_what_is_on_its_way_is_no_difference() -> None:
    looks: list[list[int]] = []

    async def look(keys: Any) -> dict[int, Findings]:
        looks.append(list(keys))
        difference = Difference(kind="missing", where="row t")
        wrong = {2} if len(looks) > 1 else {2, 3}
        return {key: Findings([difference] if key in wrong else []) for key in keys}

    assert len((await look_again(look, [1, 2, 3], wait=0.01)).differences) == 1
    assert looks[:2] == [[1, 2, 3], [2, 3]]
    assert set(map(tuple, looks[2:])) <= {(2,)}
    looks.clear()
    assert len((await look_again(look, [1, 2, 3], wait=0.0)).differences) == 2
    assert looks == [[1, 2, 3]]


def test_findings_keep_some_examples() -> None:
    one, other = Findings(), Findings()
    for n in range(EXAMPLES + 3):
        one.tell("rows refused", f"a{n}")
        other.tell("rows refused", f"b{n}")
    one.add(other)
    assert one.told["rows refused"] == 2 * EXAMPLES + 6
    assert one.examples["rows refused"] == [f"a{n}" for n in range(EXAMPLES)]


def test_long_values_are_shortened() -> None:
    assert shorten("\n" * 10) == repr("\n" * 10)  # in one line
    assert shorten("x" * 998) == "'" + "x" * (SHORT - 1) + "… (1000 characters)"


@pytest.mark.parametrize(
    ("origin", "found"),
    [
        ("es:read_model_media_search:-5:17", ("read_model_media_search", -5, 17)),
        ("kafka:post-events:3:99", None),
        ("redis:post-image-processing:1-0", None),
        ("", None),
    ],
)
def test_which_dead_letters_are_documents(origin: str, found: Any) -> None:
    assert document_of(origin) == found
