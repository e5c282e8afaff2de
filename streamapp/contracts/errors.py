"""The one error of this package: a message that cannot be read, and why."""

from __future__ import annotations

SHOWN = 80  # characters of a found value that an error message repeats


def shorten(value: str) -> str:
    """The value as one printable line of about SHOWN characters; safe to log and to encode as UTF-8."""
    if len(value) <= SHOWN:
        return repr(value)
    return f"{value[:SHOWN]!r}… ({len(value)} characters)"


class ContractError(Exception):
    """A message of `stream` is refused because of `field`: what was found there and what is accepted."""

    def __init__(self, stream: str, field: str, found: str, accepted: str) -> None:
        super().__init__(stream, field, found, accepted)
        self.stream = stream
        self.field = field
        self.found = found
        self.accepted = accepted

    def __str__(self) -> str:
        return f"{self.stream}: {self.field}: found {self.found}, accepted is {self.accepted}"
