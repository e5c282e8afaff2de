"""Events run concurrently and are acknowledged in order, each after everything it sent is confirmed.

This is the one place that knows how Faust acknowledges. A lane belongs to one agent: it starts each event's work,
bounds how many are in flight, and acknowledges them in the order of the log. An event is done when its handler has
ended and every send and every table record the handler caused is confirmed by the broker; a handler that fails is
dead-lettered, or, when a server is down, tried again without limit. Handlers must therefore be replayable.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import faust
import orjson
from aiokafka.errors import KafkaError
from faust.exceptions import FaustError
from faust.types import EventT, StreamT

from streamapp.contracts import Message
from streamapp.dead_letters import cut, dead_letter_headers
from streamapp.errors import Unavailable
from streamapp.names import DEAD_LETTERS

logger = logging.getLogger(__name__)

Handler = Callable[[EventT[Any]], Awaitable[None]]

confirmations: ContextVar[list[asyncio.Future[Any]] | None] = ContextVar("confirmations", default=None)
"""What the event at work has sent and not yet seen confirmed."""

# FaustError: among others a send that failed, and a table whose topic is so new that its partitions are not known yet.
TROUBLE = (Unavailable, KafkaError, FaustError, OSError)
FRAMING = 16 * 1024  # bytes left for the names of headers and the framing of a batch
WINDOW = 1024  # events of a lane that are done or at work and not yet acknowledged
LONGEST_WAIT = 15.0  # seconds between attempts while a server is down
LONGEST_HOLD = 2.0  # the same where a whole lane waits; partitions may move meanwhile


class TooLarge(ValueError):
    """A record over the message limit. Faust's producer would crash the worker on it (and again after a restart)."""


def confirm(pending: asyncio.Future[Any]) -> None:
    """Make the event at work wait for pending before it is acknowledged."""
    collected = confirmations.get()
    if collected is None:
        raise RuntimeError("only an event handled by a lane may send or write tables")
    collected.append(pending)


class Outbox:
    """Sends raw records in order; the confirmation is awaited before the event is acknowledged."""

    def __init__(self, app: faust.App, *, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes
        self.dead_letters = 0
        self._channels: dict[str, Any] = {}

    def check(self, what: str, value: bytes, *beside: bytes) -> None:
        """Raise TooLarge where value, with its key and headers beside it, cannot be sent."""
        size, limit = len(value) + sum(map(len, beside)), self._max_bytes - FRAMING
        if size > limit:
            raise TooLarge(f"{what} is {size} bytes, the limit is {limit}")

    async def send(
        self,
        topic: str,
        *,
        key: str | bytes | None,
        value: bytes,
        headers: Mapping[str, str] | None = None,
        partition: int | None = None,
    ) -> None:
        """Queue a record; partition None: the one of its key. Raises TooLarge."""
        raw_key = key.encode() if isinstance(key, str) else key
        raw_headers = {name: text.encode("utf-8", "replace") for name, text in (headers or {}).items()}
        self.check(f"a record for {topic}", value, raw_key or b"", *raw_headers.values())
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = self._app.topic(topic, key_serializer="raw", value_serializer="raw")
        sent = await channel.send(
            key=raw_key, value=value, headers=raw_headers or None, partition=partition, force=True
        )
        confirm(asyncio.ensure_future(sent))

    async def send_message(self, message: Message) -> None:
        """Queue a result message for the bridge, which drops one whose result id it has delivered. Raises TooLarge."""
        headers = {"result-id": message.result_id}
        await self.send(message.stream, key=message.key, value=orjson.dumps(message.fields), headers=headers)


class Lane:
    """The events of one agent. `ordered`: handlers run one after the other in the order of the log, and only the
    confirmations are awaited concurrently; else whole handlers run concurrently."""

    def __init__(self, name: str, handle: Handler, *, outbox: Outbox, room: int, ordered: bool) -> None:
        self.name, self.ordered = name, ordered
        self._handle, self._outbox, self._room = handle, outbox, room
        self._pending: deque[tuple[EventT[Any], asyncio.Task[None]]] = deque()
        self._changed = asyncio.Condition()
        self._acker: asyncio.Task[None] | None = None
        self._epoch = 0
        self.done = self.dead = self.retries = self.abandoned = 0
        self.waiting_for: str | None = None  # why events wait: the last error of a server that is down
        self.waiting_since: float | None = None

    @property
    def in_flight(self) -> int:
        """Events started and not yet acknowledged."""
        return len(self._pending)

    async def run(self, stream: StreamT[Any]) -> None:
        """Work through a stream until it ends."""
        if self._acker is None or self._acker.done():
            self._acker = asyncio.create_task(self._acknowledge(), name=f"{self.name}-acker")
        async for event in stream.noack().events():  # type: ignore[attr-defined]  # Stream has it, StreamT not
            await self._submit(event)

    async def _submit(self, event: EventT[Any]) -> None:
        epoch = self._epoch
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room() or self._epoch != epoch)
        first = await self._begin(event, epoch) if self.ordered else _Attempt(self._handle)
        if epoch != self._epoch:
            return  # revoked meanwhile: whoever has the partition now gets it again
        task = asyncio.create_task(self._work(event, first), name=f"{self.name}-{event.message.offset}")
        self._pending.append((event, task))
        async with self._changed:
            self._changed.notify_all()

    def _has_room(self) -> bool:
        """Those that are done but wait for an earlier one take no room: one slow event must not stop the lane."""
        return len(self._pending) < WINDOW and sum(not task.done() for _, task in self._pending) < self._room

    async def _begin(self, event: EventT[Any], epoch: int) -> _Attempt:
        """Run the handler, again and again while it meets a server that is down: those after it must not pass it."""
        wait = 0.1
        attempt = _Attempt(self._handle)
        while epoch == self._epoch:
            await attempt.start(event)
            if not isinstance(attempt.failure, TROUBLE):
                break
            self._wait_for(event, attempt.failure)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_HOLD)
            attempt = attempt.again()
        return attempt

    async def _work(self, event: EventT[Any], attempt: _Attempt) -> None:
        try:
            await self._attend(event, attempt)
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _attend(self, event: EventT[Any], attempt: _Attempt) -> None:
        """Try until the event's work is confirmed or its failure is. Only cancelling ends it otherwise."""
        wait = 0.1
        failure: Exception | None = None
        while True:
            try:
                await attempt.finish(event)
                self.dead += failure is not None
                self.waiting_for = self.waiting_since = None
                return
            except TROUBLE as exc:
                self._wait_for(event, exc)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)
                attempt = attempt.again()
            except Exception as exc:
                if failure is not None:
                    # A dead letter that cannot be written is our own fault: never give the event up for it.
                    self._wait_for(event, exc)
                    await asyncio.sleep(LONGEST_WAIT)
                failure = failure or exc
                logger.warning("%s: %s failed", self.name, origin(event), exc_info=exc)
                attempt = _Attempt(self._bury(failure))

    def _bury(self, failure: Exception) -> Handler:
        async def bury(event: EventT[Any]) -> None:
            await dead_letter(self._outbox, event, failure)

        return bury

    def _wait_for(self, event: EventT[Any], exc: Exception) -> None:
        self.retries += 1
        if self.waiting_since is None:
            self.waiting_since = time.time()
            logger.warning("%s: %s waits, a server is down: %r", self.name, origin(event), exc)
        self.waiting_for = repr(exc)

    async def _acknowledge(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._pending))
            event, task = self._pending[0]
            await asyncio.wait([task])
            if task.cancelled() or not self._pending or self._pending[0][1] is not task:
                continue  # abandoned meanwhile
            self._pending.popleft()
            event.ack()
            self.done += 1
            async with self._changed:
                self._changed.notify_all()

    async def abandon(self) -> None:
        """Forget what is not done, at stop and when partitions move: it is not acknowledged, so it comes again."""
        self._epoch += 1
        pending, self._pending = list(self._pending), deque()
        for _, task in pending:
            task.cancel()
        self.abandoned += len(pending)
        await asyncio.gather(*(task for _, task in pending), return_exceptions=True)
        async with self._changed:
            self._changed.notify_all()


class _Attempt:
    """One run of a handler for one event, with what it sent. Runs once: at start() or else at finish()."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._sent: list[asyncio.Future[Any]] = []
        self.failure: Exception | None = None
        self._started = False

    def again(self) -> _Attempt:
        return _Attempt(self._handle)

    async def start(self, event: EventT[Any]) -> None:
        """Run the handler; its failure is kept for finish()."""
        self._started = True
        token = confirmations.set(self._sent)
        try:
            await self._handle(event)
        except Exception as exc:
            self.failure = exc
        finally:
            confirmations.reset(token)

    async def finish(self, event: EventT[Any]) -> None:
        """Run the handler if it has not, then await all it sent. Raises what failed."""
        if not self._started:
            await self.start(event)
        if self._sent:
            # Not gather: abandoning the event must not cancel what the producer still has to resolve.
            await asyncio.wait(self._sent)
        for failure in (self.failure, *(sent.exception() for sent in self._sent)):
            if failure is not None:
                raise failure


def payload(event: EventT[Any]) -> bytes:
    """The bytes of an event. Raises ValueError where it has none: nobody sends tombstones to agents."""
    if event.message.value is None:
        raise ValueError("the record has no value")
    return event.message.value


def origin(event: EventT[Any]) -> str:
    """Where a record lies: `kafka:topic:partition:offset`."""
    message = event.message
    return f"kafka:{message.topic}:{message.partition}:{message.offset}"


async def dead_letter(outbox: Outbox, event: EventT[Any], failure: Exception) -> None:
    """Keep an event's original bytes with the cause."""
    message = event.message
    await keep(outbox, origin(event), message.key or b"", message.value or b"", failure, headers=event.headers or {})


async def keep(
    outbox: Outbox,
    source: str,
    key: bytes,
    value: bytes,
    failure: Exception,
    *,
    headers: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Keep a record that cannot be used in dead-letters, with the cause and where it came from."""
    logger.warning("%s is dead-lettered: %s: %s", source, type(failure).__name__, failure)
    outbox.dead_letters += 1
    told = dead_letter_headers(origin=source, error=failure, headers=headers)
    try:
        outbox.check("a dead letter", value, key, *(text.encode() for text in told.values()))
    except TooLarge:  # what is left says where the whole lies, and how to know it
        (value, whole), (key, _) = cut(value), cut(key)
        told = dead_letter_headers(origin=source, error=failure, headers={}) | whole
    await outbox.send(DEAD_LETTERS, key=key, value=value, headers=told)
