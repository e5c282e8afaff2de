"""Apache Kafka: one node in KRaft mode, run from its jars."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Sequence
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stack.account import owned_directory, public_file, server_account
from stack.artefacts import kafka_jars
from stack.instance import Instance
from stack.ports import HOST, listens
from stack.process import run
from stack.service import Service, server_environment
from stack.wheels import java_home

# Messages have up to 8 MiB. The broker's limit is on a batch, which adds keys, headers and framing.
MAX_BATCH_BYTES = 9 * 1024 * 1024


def service(instance: Instance) -> Service:
    """Kafka of this instance."""
    ports, directory = instance.ports(), instance.home / "kafka"
    port, controller = ports["kafka"], ports["kafka_controller"]
    # The JVM expands the star itself.
    java: list[str | Path] = [java_home() / "bin/java", f"-Djava.io.tmpdir={directory}/tmp", "-cp", f"{kafka_jars()}/*"]
    properties, account = directory / "server.properties", server_account()

    def prepare() -> None:
        for name in ("data", "tmp"):
            owned_directory(directory / name, account)
        public_file(properties, server_properties(directory, port=port, controller=controller))
        if not (directory / "data/meta.properties").exists():
            format_storage(java, properties)

    return Service(
        name="kafka",
        argv=[
            *java,
            *("-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxMetaspaceSize=160m"),
            *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
            *("kafka.Kafka", properties),
        ],
        directory=directory,
        ports={"kafka": port, "kafka_controller": controller},
        prepare=prepare,
        ready=lambda: listens(port) and asyncio.run(_lists_topics(port)),
        environment=server_environment(directory),
        account=account,
    )


def server_properties(directory: Path, *, port: int, controller: int) -> str:
    """The broker's configuration."""
    properties = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": f"{directory}/data",
        "auto.create.topics.enable": "false",
        "message.max.bytes": MAX_BATCH_BYTES,
        "replica.fetch.max.bytes": MAX_BATCH_BYTES,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 8,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # A killed broker may register again only when its last session is over: 9 s unless set.
        "broker.session.timeout.ms": 5000,
        "broker.heartbeat.interval.ms": 1000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def cluster_id() -> str:
    """A random id in the form that Kafka's tools take: base64 of 16 bytes, not beginning with a dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode()).startswith("-"):
        pass
    return text


def format_storage(java: Sequence[str | Path], properties: Path) -> None:
    """Make the log directory of a new cluster."""
    run(
        # Half a second less than with the compiler that the server itself wants.
        [
            *(java[0], "-XX:TieredStopAtLevel=1", *java[1:]),
            *("kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", properties),
        ],
        cwd=properties.parent,
        environment=server_environment(properties.parent),
        account=server_account(),
        what="formatting Kafka's storage",
    )


async def _lists_topics(port: int) -> bool:
    """Whether the broker answers a client's metadata request; its port is open some time before it does."""
    client = AIOKafkaAdminClient(bootstrap_servers=f"{HOST}:{port}", request_timeout_ms=2000)
    try:
        await client.start()
        await client.list_topics()
    except KafkaError:
        return False
    finally:
        await client.close()
    return True
