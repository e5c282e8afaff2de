"""Tables whose changelog can be trusted, whoever else has written to it.

A worker that stood still or was cut off can find that others have had its partitions; what it still had in hand then
lies in the changelog after newer rows. Two rules make that harmless to those who recover from it: of two rows of one
key the one that has seen more of the log counts, and the local position moves only over records that this worker wrote
one after the other, so that those of others are read at the next recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import faust
import msgspec
from faust.types import TP, EventT, FutureMessage

from streamapp.delivery import confirm


class Seen(msgspec.Struct):
    """What a row tells of its age: the position in the log of the last fact it has seen; -1 where it tells nothing."""

    seen: int = -1


_seen: Callable[[bytes], Seen] = msgspec.json.Decoder(Seen).decode


class ConfirmedTable(faust.Table):  # type: ignore[type-arg]
    """A table whose changelog records must be confirmed before the event that wrote them is acknowledged.

    Faust drops the future (`Collection.send_changelog`), so a failed changelog send loses state silently.
    """

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        future = super().send_changelog(*args, **kwargs)
        confirm(future)
        return future

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """Recovery: keep the row that has seen more. Replaces what Faust does, which takes the last one."""
        for event in batch:
            message = event.message
            store: Any = self.data._db_for_partition(message.partition)  # type: ignore[attr-defined]
            if message.value is None:
                store.delete(message.key)
            elif not _older(message.value, store.get(message.key)):
                store.put(message.key, message.value)
            self.data.set_persisted_offset(message.tp, message.offset)

    def _on_changelog_sent(self, fut: FutureMessage) -> None:
        written = fut.result()
        tp: TP = written.topic_partition
        known = self.data.persisted_offset(tp)
        if written.offset == (-1 if known is None else known) + 1:
            self.data.set_persisted_offset(tp, written.offset)


def _older(new: bytes, old: bytes | None) -> bool:
    return old is not None and _seen(new).seen < _seen(old).seen
