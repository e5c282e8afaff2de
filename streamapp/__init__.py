"""The AI side of a photo-sharing backend, as a stream-processing application.

`faust -A streamapp` looks for the name `app` here. It is imported on first use, so that the pure parts (contracts,
posts, events) and the command line do not load Faust.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamapp.app import app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streamapp.app import app

    # Importing the submodule has bound its name here: put the application in its place.
    globals()["app"] = app
    return app
