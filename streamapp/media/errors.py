"""Why a file could not be fetched."""

from __future__ import annotations

from typing import Literal

Kind = Literal["url", "address", "redirects", "status", "size", "encoding", "timeout", "connection"]


class FetchError(Exception):
    """A file could not be fetched. `permanent` says that another attempt is useless, `kind` what to count it as.

    The message is one line that names the host and never the rest of a URL: paths and queries carry keys.
    """

    def __init__(self, message: str, *, permanent: bool, kind: Kind = "connection") -> None:
        super().__init__(message)
        self.permanent = permanent
        self.kind = kind
