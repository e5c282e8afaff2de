"""Tables whose changelog can be trusted, whoever else has written to it.

A worker that stood still or was cut off can find that others have had its partitions; what it still had in hand then
lies in the changelog after newer rows. Two rules make that harmless to those who recover from it: of two rows of one
key the one that has seen more of the log counts, and is written again after the older one, because compaction keeps
what is last; and the local position moves only over records that this worker wrote one after the other, so that those
of others are read at the next recovery.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import faust
import msgspec
from faust.types import TP, EventT, FutureMessage

from streamapp.delivery import confirm

logger = logging.getLogger(__name__)


class Seen(msgspec.Struct):
    """What a row tells of its age: the position in the log of the last fact it has seen; -1 where it tells nothing."""

    seen: int = -1


_seen: Callable[[bytes], Seen] = msgspec.json.Decoder(Seen).decode


class ConfirmedTable(faust.Table):  # type: ignore[type-arg]
    """A table whose changelog records must be confirmed before the event that wrote them is acknowledged.

    Faust drops the future (`Collection.send_changelog`), so a failed changelog send loses state silently.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.foreign = 0  # records found that this worker did not expect: of others, or its own sent twice
        self._again: dict[tuple[int, bytes], bytes] = {}

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        future = super().send_changelog(*args, **kwargs)
        confirm(future)
        return future

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """Recovery: keep the row that has seen more, where Faust takes the last one."""
        rows: dict[tuple[int, bytes], bytes | None] = {}
        taken: list[EventT[Any]] = []
        ends: dict[TP, int] = {}
        for event in batch:
            message = event.message
            if message.topic != self.changelog_topic_name:
                continue  # Faust gives the record of a partition that is no longer ours to the table it served last
            ends[message.tp] = message.offset
            at = message.partition, message.key or b""
            store: Any = self.data
            old = rows[at] if at in rows else store._db_for_partition(message.partition).get(message.key)
            if message.value is not None and old is not None and _older(message.value, old):
                self.foreign += 1
                logger.warning("%s: an older row of %r came after a newer one", self.name, message.key)
                self._again[at] = old
            else:
                rows[at] = message.value
                self._again.pop(at, None)
                taken.append(event)
        super().apply_changelog_batch(taken)
        for tp, end in ends.items():
            self.data.set_persisted_offset(tp, end)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Write what must be last, now that the position is at the end."""
        await super().on_recovery_completed(active_tps, standby_tps)
        again, self._again = self._again, {}
        for (partition, key), value in again.items():
            super().send_changelog(partition, key, value, key_serializer="raw", value_serializer="raw")

    def _on_changelog_sent(self, fut: FutureMessage) -> None:
        written = fut.result()
        tp: TP = written.topic_partition
        known = self.data.persisted_offset(tp)
        position = -1 if known is None else known
        if written.offset == position + 1:
            self.data.set_persisted_offset(tp, written.offset)
        else:
            self.foreign += 1


def _older(new: bytes, old: bytes) -> bool:
    try:
        return _seen(new).seen < _seen(old).seen
    except msgspec.MsgspecError:  # whoever wrote it: what can be read counts
        return _readable(old) and not _readable(new)


def _readable(row: bytes) -> bool:
    try:
        _seen(row)
    except msgspec.MsgspecError:
        return False
    return True
