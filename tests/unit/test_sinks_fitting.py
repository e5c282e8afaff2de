"""Values that are wider than our columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamapp.sinks.fitting import fit
from streamapp.sinks.readmodels import MEDIA_SEARCH, POST_SEARCH, READ_MODELS

LETTERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(title=LETTERS, name=LETTERS, width=st.integers(-(2**40), 2**40), position=st.integers(-(2**40), 2**40))
def test_what_does_not_fit_is_cut_and_told(title: str, name: str, width: int, position: int) -> None:
    title *= 5
    row = dict.fromkeys(READ_MODELS[MEDIA_SEARCH].columns) | {
        "post_title": title,
        "uploader_username": name,
        "width": width,
        "media_position": position,
    }
    done = fit(MEDIA_SEARCH, row)
    assert (row["post_title"], row["uploader_username"]) == (title[:200], name[:50])
    fits = [-(2**31) <= number < 2**31 for number in (width, position)]
    assert [row["width"], row["media_position"]] == [
        number if ok else None for number, ok in zip((width, position), fits, strict=True)
    ]
    assert len(done) == (len(title) > 200) + (len(name) > 50) + fits.count(False)
    assert fit(MEDIA_SEARCH, row) == []


def test_what_was_done_says_to_which_value() -> None:
    row = dict.fromkeys(READ_MODELS[POST_SEARCH].columns) | {"author_username": "x" * 51, "total_media": 2**31}
    assert fit(POST_SEARCH, row) == [
        f"{POST_SEARCH}.author_username: 51 characters are cut to 50",
        f"{POST_SEARCH}.total_media: 2147483648 is no 32-bit integer",
    ]
