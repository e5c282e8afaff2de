"""Every setting of the application: environment variables STREAMAPP_*, or the same names in `.env`.

STREAMAPP_ENV_FILE names another file than `.env`.
`python -m streamapp.settings` prints `.env.example`.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

READ_MODELS = (
    "read_model_post_search",
    "read_model_media_search",
    "read_model_user_search",
    "read_model_face_search",
    "read_model_recommendations_knn",
    "read_model_feed_personalized",
    "read_model_known_faces",
    "media_ai_insights",
    "media_detected_faces",
    "user_face_embeddings",
)


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _known_tables(value: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := set(value) - set(READ_MODELS):
        raise ValueError(f"unknown tables {sorted(unknown)}, known are {', '.join(READ_MODELS)}")
    return value


_REVISIONS_OF_MEDIA = {"read_model_media_search", "media_ai_insights"}
_NEED_ONE = {"read_model_face_search", "read_model_recommendations_knn"}


def _sound_tables(value: tuple[str, ...]) -> tuple[str, ...]:
    """A media may have no row in some tables, so that its rows in others say which of its revisions is the newest."""
    _known_tables(value)
    if (lone := _NEED_ONE & set(value)) and not _REVISIONS_OF_MEDIA & set(value):
        raise ValueError(f"{' and '.join(sorted(lone))}: not without {' or '.join(sorted(_REVISIONS_OF_MEDIA))}")
    if "media_detected_faces" in value and "media_ai_insights" not in value:
        raise ValueError("media_detected_faces: not without media_ai_insights, which it refers to")
    return value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """Settings by name; a wrong value is an error at start that names the variable."""

    model_config = SettingsConfigDict(
        env_prefix="STREAMAPP_",
        env_file=os.environ.get("STREAMAPP_ENV_FILE", ".env"),
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
    )

    redis_url: str = Field("redis://127.0.0.1:36379/0", description="The backend's Redis (the bridge's side).")
    kafka_url: str = Field(
        "kafka://127.0.0.1:39092",
        pattern=r"^kafka://[^/]+$",
        description="Kafka: kafka://host:port[;host:port].",
    )
    postgres_url: str = Field(
        "postgresql://app@127.0.0.1:35432/streamapp", description="The backend's database, with pgvector."
    )
    elasticsearch_url: str = Field("http://127.0.0.1:39200", description="Elasticsearch 9.")

    app_id: str = Field("streamapp", description="Consumer group and prefix of the state topics.")
    datadir: Path = Field(Path(".stack/worker"), description="Local state of this worker: one directory each.")
    partitions: int = Field(8, ge=1, description="Partitions of every topic. Never change it on a living system.")
    replication_factor: int = Field(1, ge=1, description="Replicas of every topic.")
    max_message_bytes: int = Field(
        8 * 2**20, ge=2**20, description="Largest message, for topics, producers and consumers alike."
    )

    web_host: str = Field("127.0.0.1", description="Address the worker's web server listens on.")
    web_port: int = Field(36066, ge=1, le=65535, description="Port of the worker's web server.")
    web_url: str = Field(
        "", description="URL under which other workers reach this one's web server; default http://WEB_HOST:WEB_PORT."
    )
    web_token: str = Field("", description="When set, web requests need the header Authorization: Bearer <token>.")

    engine: Literal["pixel"] = Field("pixel", description="What looks at the images.")
    dialect: str = Field("api-reference", description="Form of the result messages; docs/contracts.md lists them.")

    post_quiet_seconds: float = Field(
        5.0, gt=0, description="Without a trigger a post is whole when no media was added for so long."
    )
    post_timeout_seconds: float = Field(
        120.0, gt=0, description="After so long without an answer a post is given as partial."
    )
    post_max_wait_seconds: float = Field(
        3600.0, gt=0, description="The longest that the timeout waits for a backlog of tasks that is being worked off."
    )
    attempts: int = Field(3, ge=1, le=40, description="Attempts per image and service before it is failed for good.")
    retry_seconds: float = Field(2.0, gt=0, description="Wait before the second attempt; doubles with each.")
    attempt_timeout_seconds: float = Field(10.0, gt=0, description="Longest time of one look at an image.")

    fetch_allowed_hosts: CommaList = Field(
        (), description="Not in use yet: hosts to fetch from though their address is private. Comma list."
    )
    fetch_max_bytes: int = Field(25 * 2**20, gt=0, description="Largest image file.")
    fetch_max_pixels: int = Field(50_000_000, gt=0, description="Largest image, width x height.")
    fetch_timeout_seconds: float = Field(8.0, gt=0, description="Longest time to fetch one image.")
    max_faces: int = Field(32, ge=1, description="Faces kept per image, the surest first.")
    engine_threads: int = Field(2, ge=1, description="Threads that look at images.")
    tasks_in_flight: int = Field(16, ge=1, description="Tasks a worker works on at once, per kind.")

    image_embedding_dim: int = Field(512, ge=1, description="Width of image vectors.")
    face_embedding_dim: int = Field(1024, ge=1, description="Width of face vectors.")
    face_identified: float = Field(
        0.85, ge=-1, le=1, description="Not in use yet: raw cosine from which a face is identified."
    )
    face_suggested: float = Field(
        0.70, ge=-1, le=1, description="Not in use yet: raw cosine from which a user is suggested."
    )

    sink_tables: Annotated[CommaList, AfterValidator(_sound_tables)] = Field(
        READ_MODELS,
        description="Read models and AI tables this application writes; the others are the backend's. Comma list. "
        "media_detected_faces only together with media_ai_insights; read_model_face_search and "
        "read_model_recommendations_knn only together with that or read_model_media_search, whose rows say which "
        "revision of a media is the newest.",
    )
    feed_users: int = Field(
        100, ge=0, description="A public post enters the feeds of so many active users, the last who joined."
    )
    sync_rereads: bool = Field(
        False,
        description="For a database whose read models have no triggers of ours: after a message of es-sync-queue a row "
        "is read again after 1, 5 and 30 seconds.",
    )
    index_prefix: str = Field("", pattern=r"^[a-z0-9-]*$", description="Put before the names of indices.")

    @property
    def kafka_servers(self) -> list[str]:
        """Bootstrap servers, `host:port` each."""
        return self.kafka_url.removeprefix("kafka://").split(";")

    @property
    def web_address(self) -> str:
        """URL of this worker for other workers."""
        return self.web_url or f"http://{self.web_host}:{self.web_port}"

    @property
    def web_headers(self) -> dict[str, str]:
        """What a request to a worker of these settings must carry."""
        return {"Authorization": f"Bearer {self.web_token}"} if self.web_token else {}


@cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
