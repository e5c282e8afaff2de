"""The wire: every form of message in use, in and out. Maps of strings in, records out, and back; no I/O."""

from streamapp.contracts.dialects import DIALECTS
from streamapp.contracts.entry import derived_correlation_id, fields_of, ids
from streamapp.contracts.errors import ContractError
from streamapp.contracts.readers import read
from streamapp.contracts.records import (
    AggregationRequest,
    FaceRecognised,
    ImageRequest,
    PostUpdate,
    ProfileEmbedded,
    ProfileFailed,
    ProfileRequest,
    Request,
    Snapshot,
    SyncRequest,
)
from streamapp.contracts.results import Message, read_result, refused, write
from streamapp.contracts.streams import INBOUND, OUTBOUND

__all__ = [
    "DIALECTS",
    "INBOUND",
    "OUTBOUND",
    "AggregationRequest",
    "ContractError",
    "FaceRecognised",
    "ImageRequest",
    "Message",
    "PostUpdate",
    "ProfileEmbedded",
    "ProfileFailed",
    "ProfileRequest",
    "Request",
    "Snapshot",
    "SyncRequest",
    "derived_correlation_id",
    "fields_of",
    "ids",
    "read",
    "read_result",
    "refused",
    "write",
]
