"""Topics as agents read them: raw keys and raw values.

A record Faust itself cannot decode is acknowledged out of order and lost; decoding happens in the handler, where a
failure is dead-lettered.
"""

from __future__ import annotations

from faust.types import TopicT

from streamapp.app import app


def channel(*names: str) -> TopicT:
    """The topics of an agent."""
    return app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
