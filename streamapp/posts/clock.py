"""Redis entry ids as clocks: of two facts about one thing the greater id counts."""

from __future__ import annotations


def parse(entry_id: str) -> tuple[int, int]:
    """`ms-seq` as numbers. Raises ValueError when it is not an entry id."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def newer(entry_id: str, than: str | None) -> bool:
    """Whether entry_id is greater; anything is newer than nothing."""
    return than is None or parse(entry_id) > parse(than)
