"""The agents: thin, each one lane. Importing this package registers them."""

from streamapp.agents import (
    captions,
    faces,
    ingest,
    posts,
    profiles,
    publish,
    recognition,
    sink,
    sync,
    ticker,
    vision,
)

__all__ = [
    "captions",
    "faces",
    "ingest",
    "posts",
    "profiles",
    "publish",
    "recognition",
    "sink",
    "sync",
    "ticker",
    "vision",
]
