"""Faust's Kafka transport with one correction: never commit past a message that is still in flight.

Faust 0.15.3 accepts a one-message gap at the head of the acknowledged offsets, and any gap while nothing is committed
yet (faust-streaming/faust#606, open): a crash then loses the message. Lanes acknowledge in order, so this is the
second line. `_new_offset`, `_unacked_messages` and `_acked` are private names of exactly this release.
"""

from __future__ import annotations

from typing import Any

from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as base


class SafeConsumer(base.Consumer):
    """Commits only offsets below the first message in flight."""

    def _new_offset(self, tp: Any) -> int | None:
        acked = self._acked[tp]
        if not acked:
            return None
        floor = min((m.offset for m in self._unacked_messages if m.tp == tp and not m.acked), default=None)
        if floor is None:
            return super()._new_offset(tp)
        keep = [offset for offset in acked if offset >= floor]
        below = [offset for offset in acked if offset < floor]
        if not below:
            return None
        self._acked[tp][:] = below
        try:
            return super()._new_offset(tp)
        finally:
            self._acked[tp].extend(keep)
            self._acked[tp].sort()


class Transport(base.Transport):
    """Registered as the scheme `safe://`."""

    Consumer = SafeConsumer


TRANSPORTS.aliases["safe"] = "streamapp.transport:Transport"
