"""Bulk requests: what is sent for an outbox entry, and what the answer to it means. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from streamapp.sinks import documents
from streamapp.sinks.indices import Target

REQUEST_BYTES = 2**20  # of a usual request: aiohttp warns that more in one piece holds up the event loop
# Managed servers take 10 MB on their smallest machines, and answer more by ending the connection.
LARGEST_DOCUMENT_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An outbox entry in our lease."""

    table_name: str
    pk: int
    target: Target
    version: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An entry with what is sent for it; `document` is None where the row is gone.

    `index` is no alias: what comes late must not reach another index than the one that was there when the row was
    read. And a versioned deletion would make an index of the alias's name where there is none, whatever is required.
    """

    entry: Entry
    index: str
    document: bytes | None

    def lines(self) -> list[bytes]:
        """The lines of a bulk request. External versions make any order and repetition of requests harmless."""
        action = "index" if self.document is not None else "delete"
        meta = {
            "_index": self.index,
            "_id": str(self.entry.pk),
            "version": self.entry.version,
            "version_type": "external",
        }
        head = documents.encode({action: meta})
        return [head] if self.document is None else [head, self.document]


def requests(operations: Iterable[Operation]) -> Iterator[list[bytes] | None]:
    """The lines of one bulk request after another, in order. None stands for a document that is too large to send."""
    request: list[bytes] = []
    size = 0
    for operation in operations:
        lines = operation.lines()
        more = sum(len(line) + 1 for line in lines)
        if request and size + more > REQUEST_BYTES:
            yield request
            request, size = [], 0
        if more > LARGEST_DOCUMENT_BYTES:
            yield None
        else:
            request, size = request + lines, size + more
    if request:
        yield request


class Verdict(Enum):
    """What becomes of an entry."""

    DONE = "done"
    STALE = "stale"  # the index has a newer version
    LATER = "later"
    REJECTED = "rejected"  # this document can never be indexed


def verdict(item: Mapping[str, Any]) -> tuple[Verdict, str]:
    """The verdict and the error of one item of a bulk answer."""
    ((action, result),) = item.items()
    status, error = result["status"], result.get("error")
    if status < 300 or (action == "delete" and status == 404 and error is None):
        return Verdict.DONE, ""
    if status == 409:
        return Verdict.STALE, ""
    # Only 400 is about the document itself, unless the index is closed. A missing index (404), a block (403), a full
    # queue (429) pass.
    of_document = status == 400 and not (isinstance(error, Mapping) and error.get("type") == "index_closed_exception")
    return Verdict.REJECTED if of_document else Verdict.LATER, reason(status, error)


def reason(status: int, error: Any) -> str:
    """One line that says what is wrong and, where the server says so, with which field."""
    if not isinstance(error, Mapping):
        return f"{status} {error}"
    cause = error.get("caused_by")
    text = f"{status} {error.get('type')}: {error.get('reason')}"
    return f"{text} ({cause.get('reason')})" if isinstance(cause, Mapping) else text
