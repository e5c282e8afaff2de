"""The Faust application: its settings, its table class, and how it stops and gives partitions up."""

from __future__ import annotations

# Twice the events per second of the default loop; must be chosen before faust is imported.
import mode.loop

mode.loop.use("uvloop")

import asyncio  # noqa: E402
import logging  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from typing import Any  # noqa: E402

import faust  # noqa: E402
import faust._cython.streams  # type: ignore[import-not-found]  # noqa: E402  # without it Faust acknowledges what it skips at a rebalance
from aiokafka.errors import KafkaError  # noqa: E402
from faust.types import ConsumerT  # noqa: E402

import streamapp.transport  # noqa: E402, F401  # registers the scheme safe://
from streamapp import topics, watchdog  # noqa: E402
from streamapp.changelog import ConfirmedTable  # noqa: E402
from streamapp.delivery import Handler, Lane, Outbox  # noqa: E402
from streamapp.engines.weights import ModelsError  # noqa: E402
from streamapp.resources import Resources  # noqa: E402
from streamapp.settings import Settings, get_settings  # noqa: E402

STOP = 8.0  # seconds until a worker that is told to stop has left, whatever hangs; supervisors give 10
GRACE = 3.0  # seconds for events in flight at stop and when partitions are revoked; then they are abandoned
POLL_RECORDS = 16
RETRY = 2.0  # seconds between attempts to reach Kafka at start
SESSION = 10.0  # seconds without a heartbeat until a worker's partitions go to others


logger = logging.getLogger(__name__)


class App(faust.App):
    """Faust, with lanes that are abandoned instead of waited for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.resources = Resources(settings)
        self.ignored: Counter[str] = Counter()  # facts that said nothing new, by kind
        self.refused: Counter[str] = Counter()  # rows that cannot be written, for example of an id that is no number
        self.lanes: dict[str, Lane] = {}
        self.started_at = time.time()
        super().__init__(
            settings.app_id,
            broker=settings.kafka_url.replace("kafka://", "safe://"),
            store="rocksdb://",
            datadir=settings.datadir / settings.app_id,  # the state of another id has nothing to do with this one
            Table=ConfirmedTable,
            autodiscover=False,  # a module that fails to import would only be a warning
            topic_partitions=settings.partitions,
            topic_replication_factor=settings.replication_factor,
            topic_disable_leader=True,
            table_standby_replicas=0,
            processing_guarantee="at_least_once",
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=settings.max_message_bytes,
            producer_max_request_size=settings.max_message_bytes,
            producer_acks=-1,
            producer_request_timeout=60.0,
            # One slow agent must not stop the others: a queue's last fifth holds what all partitions of its (at most
            # three) topics still deliver.
            stream_buffer_maxsize=5 * 3 * settings.partitions * POLL_RECORDS,
            broker_max_poll_records=POLL_RECORDS,
            broker_max_poll_interval=86_400.0,  # a full queue stops polling; leaving the group for it is final (#138)
            broker_session_timeout=SESSION,
            broker_heartbeat_interval=3.0,
            broker_commit_interval=0.5,
            broker_commit_every=500,
            stream_wait_empty=True,
            web_bind=settings.web_host,
            web_host=settings.web_host,
            web_port=settings.web_port,
            canonical_url=settings.web_address,
            web_tables_enabled=False,  # the built-in pages have no access control and misroute keys (#514)
            web_router_enabled=False,
        )
        self.outbox = Outbox(self, max_bytes=settings.max_message_bytes)
        self.on_rebalance_complete.connect(self._hold)

    def lane(self, name: str, handle: Handler, *, room: int = 256, ordered: bool = True) -> Lane:
        """The lane of an agent."""
        self.lanes[name] = Lane(name, handle, outbox=self.outbox, room=room, ordered=ordered)
        return self.lanes[name]

    async def on_first_start(self) -> None:
        """Make the data directory with its parents, which Faust does not."""
        self.conf.datadir.mkdir(parents=True, exist_ok=True)
        await super().on_first_start()

    async def on_start(self) -> None:
        """Load the engine (leave with one line where its weights are missing), make the topics that are missing (refuse
        to start where partition counts disagree), open what is used."""
        watchdog.watch(0.8 * SESSION)
        try:
            await self.resources.load()
        except ModelsError as exc:  # for people: what is missing, and the command that helps
            raise SystemExit(f"streamapp: {exc}") from None
        await self._ensure_topics()
        await self.resources.open(self)
        await super().on_start()
        # Faust pauses every stream while more than 100 table records are queued (#173).
        self.producer.buffer.max_messages = 10_000

    async def _ensure_topics(self) -> None:
        """Wait for Kafka without limit, as for every server. Raises topics.TopicMismatch."""
        while True:
            try:
                await topics.ensure(self.settings)
                return
            except (KafkaError, OSError, TimeoutError) as exc:
                logger.warning("Kafka does not answer yet: %r", exc)
                await asyncio.sleep(RETRY)

    async def _hold(self, *_: Any, **__: Any) -> None:
        """Fetch nothing until the streams are at their committed offsets.

        When the tables are recovered Faust resumes the streams, then seeks them, then clears the agents' queues
        (`Recovery.on_recovery_completed`, `_resume_streams`): what is fetched in between is lost. Both resume the
        flow at their end.
        """
        self.consumer.stop_flow()
        self.flow_control.suspend()

    async def on_stop(self) -> None:
        """Close what was opened; what the agents still do then fails and comes again."""
        watchdog.leave_within(STOP)
        await super().on_stop()
        await self.resources.close()

    async def _consumer_wait_empty(self, consumer: ConsumerT, logger: Any) -> None:
        """At stop and revoke: a grace for what is in flight, then abandon it (Faust waits without limit)."""
        unacked: set[Any] = consumer._unacked_messages  # type: ignore[attr-defined]
        end = time.monotonic() + GRACE
        while unacked and time.monotonic() < end:
            await asyncio.sleep(0.02)
            consumer._clean_unacked_messages()  # type: ignore[attr-defined]
        for lane in self.lanes.values():
            await lane.abandon()
        unacked.clear()
        await consumer.commit()


app = App(get_settings())

from streamapp import agents, tables, web  # noqa: E402, F401  # explicit: a broken module fails the start
