"""The dialects: every module here is one, found by being here."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from streamapp.contracts.dialect import Dialect

_found: list[Dialect] = [import_module(f"{__name__}.{module.name}").DIALECT for module in iter_modules(__path__)]
DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in _found}
DEFAULT = "api-reference"


def dialect_named(name: str) -> Dialect:
    """The dialect. Raises ValueError that says which there are."""
    if name not in DIALECTS:
        raise ValueError(f"no dialect {name!r}, there are {', '.join(DIALECTS)}")
    return DIALECTS[name]
