"""`.env.example`, generated from the settings of the application and the bridge: `python -m stack.example`."""

from __future__ import annotations

from collections.abc import Collection

from pydantic_settings import BaseSettings

import bridge.settings
import streamapp.settings


def text() -> str:
    """Each setting once, with its meaning and default."""
    lines = ["# Settings of streamapp, each with its default. Copy to .env and change what differs.", ""]
    lines += ["# --- the application, and what it shares with the bridge", ""]
    lines += _lines(streamapp.settings.Settings, but=())
    lines += ["# --- the bridge", ""]
    lines += _lines(bridge.settings.Settings, but=streamapp.settings.Settings.model_fields)
    return "\n".join(lines)


def _lines(settings: type[BaseSettings], *, but: Collection[str]) -> list[str]:
    lines: list[str] = []
    for name, field in settings.model_fields.items():
        if name not in but:
            default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
            lines += [f"# {field.description}", f"#STREAMAPP_{name.upper()}={default}", ""]
    return lines


if __name__ == "__main__":
    print(text(), end="")
