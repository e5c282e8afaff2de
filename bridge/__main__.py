"""`python -m bridge`: run until SIGTERM or SIGINT, then finish in less than 5 s."""

import asyncio
import logging
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import uvloop
from aiokafka.errors import KafkaError
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bridge.counts import line, report
from bridge.inbound import Inbound
from bridge.names import DEAD_LETTERS, INBOUND, OUTBOUND
from bridge.outbound import Outbound, new_consumer
from bridge.sender import new_producer
from bridge.settings import Settings
from bridge.topics import ensure_topics
from bridge.trimming import Trimmer
from bridge.trouble import Trouble, pause

logger = logging.getLogger("bridge")

#: Seconds that what is in flight has to be confirmed after a signal; what is not stays pending.
GRACE_SECONDS = 3.0
#: Seconds between two looks at whether all topics are (still) there.
TOPICS_SECONDS = 15.0


def new_redis(settings: Settings) -> Redis:
    """A client that reports a broken connection instead of retrying: after one, positions are in doubt."""
    return Redis.from_url(
        settings.redis_url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=5,
        socket_connect_timeout=5,
    )


async def keep_topics(
    names: Sequence[str], settings: Settings, counts: Counter[str], stop: asyncio.Event, ready: asyncio.Event
) -> None:
    """Create the topics, and again those that disappear."""
    trouble = Trouble(activity="topics", counts=counts)
    while not stop.is_set():
        try:
            await ensure_topics(names, settings)
            trouble.recovered()
            ready.set()
            await pause(stop, TOPICS_SECONDS)
        except (KafkaError, OSError, TimeoutError) as error:
            await pause(stop, trouble.failed(error))


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    *,
    inbound_names: Mapping[str, Sequence[str]] = INBOUND,
    outbound_names: Sequence[str] = OUTBOUND,
    dead_letters: str = DEAD_LETTERS,
) -> None:
    """Run both directions until `stop`. Raises what nobody waits out: a defect."""
    counts: Counter[str] = Counter()
    redis = new_redis(settings)
    inbound = [
        Inbound(
            stream=stream,
            key_fields=key_fields,
            redis=redis,
            producer_factory=lambda: new_producer(settings),
            settings=settings,
            counts=counts,
            dead_letters=dead_letters,
        )
        for stream, key_fields in inbound_names.items()
    ]
    outbound = Outbound(
        topics=outbound_names,
        redis=redis,
        consumer_factory=lambda: new_consumer(settings),
        producer_factory=lambda: new_producer(settings),
        settings=settings,
        counts=counts,
        dead_letters=dead_letters,
    )
    trimmer = Trimmer(streams=outbound_names, redis=redis, settings=settings, counts=counts)
    directions: list[Inbound | Outbound] = [*inbound, outbound]
    names = [*inbound_names, *outbound_names, dead_letters]
    topics = asyncio.Event()

    async def after_topics(direction: Inbound | Outbound) -> None:
        await topics.wait()
        await direction.run(stop)

    async def announce() -> None:
        for direction in directions:
            await direction.ready.wait()
        logger.info("bridge ready")
        await stop.wait()

    tasks = {
        asyncio.create_task(keep_topics(names, settings, counts, stop, topics)),
        asyncio.create_task(report(counts, stop)),
        asyncio.create_task(announce()),
        asyncio.create_task(trimmer.run(stop)),
        *(asyncio.create_task(after_topics(direction)) for direction in directions),
    }
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await stopped
    _, pending = await asyncio.wait(tasks, timeout=GRACE_SECONDS)
    for task in pending:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await redis.aclose()
    logger.info("bridge stopped: %s", line(counts))
    for result in results:
        if isinstance(result, Exception):
            raise result


async def main(settings: Settings) -> None:
    """Serve until a signal."""
    await serve(settings, stop_at_signal())


def stop_at_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def run() -> None:
    """Entry point; a wrong setting is said in one line per field."""
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(map(str, problem["loc"])).upper()
            sys.stderr.write(f"STREAMAPP_{name}: {problem['msg']}\n")
        sys.exit(2)
    logging.basicConfig(level=settings.bridge_log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # It logs every attempt to reach a broker that is away; `Trouble` says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(settings))


if __name__ == "__main__":
    run()
