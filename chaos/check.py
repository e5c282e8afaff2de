"""A disturbed outcome against that of the undisturbed run: every difference, by kind. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from chaos.outcome import Key, Outcome
from streamapp.sinks.readmodels import MEDIA_SEARCH

LOST, DOUBLED, PAYLOAD = "lost", "doubled", "payload ≠ undisturbed"
ROW, DOCUMENT = "row ≠ undisturbed", "document ≠ undisturbed"
STATE_ROW, ROW_DOCUMENT, STATE_RESULT = "row ≠ state", "document ≠ row", "result ≠ state"
PENDING, DEAD_LETTER = "pending", "dead letter"
KINDS = (LOST, DOUBLED, PAYLOAD, STATE_ROW, ROW_DOCUMENT, STATE_RESULT, ROW, DOCUMENT, PENDING, DEAD_LETTER)

K = TypeVar("K")


class Finding(NamedTuple):
    """One difference; `text` has the ids by which it is found in logs and streams."""

    kind: str
    text: str


def findings(found: Outcome, calm: Outcome) -> list[Finding]:
    """What the disturbed run has otherwise. The undisturbed one may be further: it has had all rounds at once."""
    posts = {slot.post for slot in found.wanted}
    return [
        *(Finding(LOST, f"no answer for {' '.join(slot)}") for slot in sorted(found.wanted - found.answers.keys())),
        *(Finding(LOST, f"no final payload of post {post}") for post in sorted(posts - found.final.keys())),
        *(Finding(DOUBLED, text) for text in found.doubled),
        *_unequal(PAYLOAD, "final payload of post", found.final, calm.final, _told_as_lost),
        *_unequal(PAYLOAD, "answer", found.answers, calm.answers, _told_as_lost),
        *_unequal(ROW, "row", found.rows, calm.rows, lambda key: str(_post(key, calm.rows)) in posts),
        *_unequal(
            DOCUMENT, "document", found.documents, calm.documents, lambda key: str(_post(key, calm.documents)) in posts
        ),
        *(Finding(DEAD_LETTER, letter) for letter in sorted(found.dead_letters - calm.dead_letters)),
    ]


def counted(found: Iterable[Finding]) -> dict[str, int]:
    """How many of each kind, of all kinds."""
    counts = Counter(finding.kind for finding in found)
    return {kind: counts[kind] for kind in KINDS}


def _unequal(
    kind: str,
    what: str,
    found: Mapping[K, Mapping[str, Any]],
    calm: Mapping[K, Mapping[str, Any]],
    concerned: Callable[[K], bool],
) -> Iterable[Finding]:
    """Records that are missing, too many or different, field by field."""
    for key in sorted({*found, *filter(concerned, calm)}, key=str):
        name = f"{what} {' '.join(map(str, key)) if isinstance(key, tuple) else key}"
        if key not in found:
            yield Finding(kind, f"{name} is missing")
        elif key not in calm:
            yield Finding(kind, f"{name} is not in the undisturbed run")
        else:
            ours, theirs = found[key], calm[key]
            for field in sorted({*ours, *theirs}):
                if ours.get(field) != theirs.get(field):
                    yield Finding(kind, f"{name} {field}: {_short(ours.get(field))}, not {_short(theirs.get(field))}")


def _told_as_lost(key: object) -> bool:
    return False


def _post(key: Key, records: Mapping[Key, Mapping[str, Any]]) -> Any:
    """A record without it is of the post of its media."""
    record = records[key]
    return record["post_id"] if "post_id" in record else records[MEDIA_SEARCH, str(record["media_id"])]["post_id"]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:120]}… ({len(text)} characters)"
