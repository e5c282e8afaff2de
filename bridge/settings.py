"""The bridge's settings: environment variables `STREAMAPP_*`, or the file `.env` (or STREAMAPP_ENV_FILE)."""

import os

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that can be set; the environment variable is `STREAMAPP_` and the name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="STREAMAPP_", env_file=os.environ.get("STREAMAPP_ENV_FILE", ".env"), extra="ignore"
    )

    redis_url: str = Field("redis://127.0.0.1:36379/0", description="The Redis that holds the streams.")
    kafka_url: str = Field(
        "kafka://127.0.0.1:39092", description="Kafka's bootstrap servers: `kafka://host:port[;host:port]`."
    )
    partitions: int = Field(8, ge=1, description="Partitions of a topic that the bridge creates.")
    replication_factor: int = Field(1, ge=1, description="Replicas of a topic that the bridge creates.")
    max_message_bytes: int = Field(
        8 * 1024 * 1024,
        ge=64 * 1024,
        description="Largest record, and `max.message.bytes` of created topics; a larger entry is dead-lettered.",
    )
    bridge_name: str = Field(
        "bridge-1",
        min_length=1,
        description="This bridge's consumer name in the Redis groups. Keep it over restarts, so that a restarted "
        "bridge finishes what it had begun; two bridges at once need two names.",
    )
    bridge_group: str = Field(
        "streamapp",
        min_length=1,
        description="The consumer group on the inbound streams; `<group>-bridge` is the Kafka group outbound.",
    )
    bridge_batch: int = Field(500, ge=1, description="Most entries or records handled in one round.")
    bridge_batch_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1,
        description="Most bytes handled in one round of a stream, and fetched from Kafka at once; what is larger is "
        "handled alone. The bridge's memory is a multiple of it.",
    )
    bridge_claim_seconds: float = Field(
        60,
        gt=0,
        description="Entries another bridge read and did not confirm for so long are taken over. Longer than any "
        "pause of a living bridge, or both produce them.",
    )
    bridge_stream_maxlen: int = Field(
        0,
        ge=0,
        description="Trim outbound streams to about so many entries every few seconds; 0 never trims. What some "
        "consumer group has not read and acknowledged stays.",
    )
    bridge_trim_unread: bool = Field(
        False,
        description="Trim also entries that a consumer group has not read and acknowledged, and streams that no "
        "group reads: whoever comes late loses results.",
    )
    seen_days: float = Field(
        7,
        gt=0,
        description="A result id is remembered so long after the last result with the same record key.",
    )
    bridge_log_level: str = Field("INFO", description="Level of the bridge's own log lines.")

    @field_validator("kafka_url")
    @classmethod
    def _is_kafka_url(cls, value: str) -> str:
        scheme, _, rest = value.partition("://")
        hosts = [host.rpartition(":") for host in rest.split(";")]
        if scheme != "kafka" or not all(host and port.isdecimal() for host, _, port in hosts):
            raise ValueError(f"{value!r} is not of the form kafka://host:port[;host:port]")
        return value

    @property
    def bootstrap_servers(self) -> list[str]:
        """`kafka_url` as the client libraries want it: `["host:port", …]`."""
        return self.kafka_url.removeprefix("kafka://").split(";")
