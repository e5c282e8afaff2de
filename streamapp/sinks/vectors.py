"""Vectors as the database reads them."""

from __future__ import annotations

import numpy as np
import orjson

from streamapp.sinks.parts import Refused


def vector_text(raw: bytes, width: int, *, what: str = "image") -> str | Refused:
    """Little-endian float32 bytes as pgvector's text, which gives the same bits back.

    Refused: another width, NaN, and what has no direction in float32 (a zero vector, or one whose squares sum to
    zero or infinity), because a cosine index can not take it.
    """
    if len(raw) != 4 * width:
        return Refused(f"the {what} vector has {len(raw)} bytes, {width} float32 have {4 * width}")
    vector = np.frombuffer(raw, "<f4")
    with np.errstate(all="ignore"):
        norm = float(np.dot(vector, vector))
    if not 0 < norm < float("inf"):
        return Refused(f"the {what} vector has no direction: its squares sum to {norm}")
    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()
