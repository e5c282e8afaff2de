"""Errors that mean the same everywhere."""


class Unavailable(Exception):
    """A server is down or cannot do it now; nothing was done. Wait and try again, however long it takes."""
