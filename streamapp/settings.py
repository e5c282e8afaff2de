"""Every setting of the application: environment variables STREAMAPP_*, or the same names in `.env`.

STREAMAPP_ENV_FILE names another file than `.env`.
`python -m streamapp.settings` prints `.env.example`.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from streamapp.media.addresses import AllowedHosts

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

# The words that users of existing consumers search for, and those that lead to an event (posts/inference.py).
TAG_LABELS = (
    *("person", "people", "face", "car", "vehicle", "building", "architecture", "tree", "nature", "sky", "water"),
    *("beach", "mountain", "forest", "food", "animal", "dog", "cat", "bird", "indoor", "outdoor", "city", "street"),
    *("road", "sunset", "sunrise", "night", "day"),
    *("formal", "flowers", "music", "stage", "drinks", "party", "team"),
)
SCENE_LABELS = (
    *("beach", "mountains", "urban", "office", "restaurant", "forest", "desert", "lake", "park", "indoor", "outdoor"),
    *("rural", "coastal", "mountainous", "tropical", "arctic"),
)
# As many harmless kinds as harmful ones: what resembles none of them is then at even odds, and so unsafe.
MODERATION_LABELS = (
    *("safe:neutral", "safe:landscape", "safe:things", "safe:places", "safe:text", "safe:drawing"),
    *("unsafe:nsfw", "unsafe:porn", "unsafe:hentai", "unsafe:racy", "unsafe:violence", "unsafe:gore"),
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


def _hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    AllowedHosts(value)  # raises ValueError that names the entry
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

    engine: Literal["pixel", "models"] = Field(
        "pixel",
        description="What looks at the images: pixel (statistics of colours, for development) or models (CLIP, BLIP, "
        "FaceNet; needs pip install 'streamapp[models]' and streamapp models pull).",
    )
    models_dir: Path = Field(Path(".models"), description="Where the weights of the models are; docs/models.md.")
    models_facenet_url: str = Field(
        "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
        pattern=r"^https?://",
        description="Where streamapp models pull facenet fetches from. For the other models HF_ENDPOINT says it.",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?)$",
        description="Where the models compute: cpu, cuda, cuda:N, or auto, which is a GPU where there is one.",
    )
    models_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Numbers of CLIP and BLIP. auto: bfloat16 where the hardware is fast with it, else float32. Faces "
        "are always float32.",
    )
    model_threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Threads that one look at images computes with. 0: the cores of this process divided by "
        "ENGINE_THREADS.",
    )
    tag_labels: CommaList = Field(
        TAG_LABELS,
        description="Words that CLIP may tag an image with: word, or word=phrase|phrase for what stands for it. Comma "
        "list.",
    )
    scene_labels: CommaList = Field(SCENE_LABELS, description="Scenes that CLIP may name, like TAG_LABELS.")
    moderation_labels: CommaList = Field(
        MODERATION_LABELS,
        description="What CLIP judges the safety of an image by, like TAG_LABELS, with safe: or unsafe: before each "
        "word.",
    )
    moderation_unsafe: float = Field(
        0.45, gt=0, le=1, description="An image is unsafe when CLIP gives the unsafe words together this probability."
    )
    caption_tokens: int = Field(20, ge=1, le=200, description="Longest caption, in tokens: words and parts of words.")
    face_min_size: int = Field(
        40,
        ge=20,
        description="Pixels of the smallest face that is searched for. 20 finds more and takes twice as long.",
    )
    face_search_side: int = Field(
        1280,
        ge=160,
        description="An image with a longer side is searched for faces at this size; FACE_MIN_SIZE counts there.",
    )
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
    attempt_timeout_seconds: float = Field(10.0, gt=0, description="Longest time of one look, per image of its batch.")

    fetch_allowed_hosts: Annotated[CommaList, AfterValidator(_hosts)] = Field(
        (),
        description="Images are fetched from public addresses only, and from these hosts whatever their address is. "
        "Comma list; a host as it stands in image URLs, name or address, exactly; host:port allows one port of it.",
    )
    fetch_max_bytes: int = Field(25 * 2**20, gt=0, description="Largest image file.")
    fetch_max_pixels: int = Field(
        50_000_000,
        gt=0,
        description="Largest image, width x height. Decoding one takes up to 17 bytes of memory a pixel.",
    )
    fetch_timeout_seconds: float = Field(8.0, gt=0, description="Longest time to fetch one image.")
    fetch_cache_bytes: int = Field(
        256 * 2**20,
        ge=0,
        description="Image files kept in DATADIR/images, the oldest dropped first, so that an image wanted again soon "
        "is not fetched again. 0: none.",
    )
    decode_min_side: int = Field(
        960,
        ge=0,
        description="A large image is decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side keeps so many "
        "pixels, n: several times faster for photographs, and faces smaller than that shows are not found. A strip is "
        "halved until it has at most 8 n x n pixels, so that no image takes more than 24 n x n bytes. Results are in "
        "pixels of the file all the same. 0: at full size, always.",
    )
    max_faces: int = Field(32, ge=1, description="Faces kept per image, the surest first.")
    engine_threads: int = Field(2, ge=1, le=256, description="Threads that look at images.")
    batch_size: int = Field(8, ge=1, description="Images of one kind that the engine looks at together, at most.")
    batch_delay_seconds: float = Field(
        0.005,
        ge=0,
        description="While the engine is busy, a batch that is not full waits so long for more; when it is idle, "
        "nothing waits.",
    )
    tasks_in_flight: int = Field(16, ge=1, description="Tasks a worker works on at once, per kind.")

    image_embedding_dim: int = Field(512, ge=1, description="Width of image vectors.")
    face_embedding_dim: int = Field(1024, ge=1, description="Width of face vectors.")
    face_identified: float = Field(0.85, ge=-1, le=1, description="Raw cosine from which a face is identified.")
    face_suggested: float = Field(0.70, ge=-1, le=1, description="Raw cosine from which a user is suggested.")
    enrol_min_side: int = Field(
        80, ge=1, description="Pixels that the shorter side of a face must have in a profile picture to be enrolled."
    )
    enrol_min_quality: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Quality that a face must have to be enrolled: how sure the engine is of it, times the worst of "
        "size, sharpness and frontality.",
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

    @model_validator(mode="after")
    def _ordered_thresholds(self) -> Self:
        if self.face_suggested > self.face_identified:
            raise ValueError("STREAMAPP_FACE_SUGGESTED is above STREAMAPP_FACE_IDENTIFIED")
        return self

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
