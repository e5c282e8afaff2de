"""What a comparison finds: differences, what is not there for a reason, and how much was compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

SHORT = 80  # characters of a value in a line
EXAMPLES = 5  # of what is told apart; all of it could be as much as the state

SOURCES = {"document": "row", "state": "the post", "user": "the backend", "item": "its media"}  # else the state

Kind: TypeAlias = Literal["state", "row", "document", "result", "missing", "extra", "pending", "rejected", "doubled"]
"""What differs (state, row, document, result), or: not there, there without reason, not there yet, refused by the
index, there more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference. `where` names the place (`row TABLE`, `user TABLE`, `item TABLE`, `document INDEX`,
    `result STREAM`, `state TABLE`); `expected` is what the source says (the state, the backend's row of a user, the
    media of a feed item, the row of a document), or a reason; `found` is what is there."""

    kind: Kind
    where: str
    post: str | None = None
    media: str | None = None
    field: str | None = None
    expected: Any = None
    found: Any = None

    def line(self) -> str:
        """For people."""
        ids = [f"{name} {value}" for name, value in (("post", self.post), ("media", self.media)) if value is not None]
        place = " ".join([*ids, self.where]) + (f".{self.field}" if self.field else "")
        return f"{place}: {self._told()}"

    def _told(self) -> str:
        match self.kind:
            case "missing":
                return "missing" + (f", {self.expected}" if self.expected else "")
            case "extra":
                return f"should not be there: {self.expected}"
            case "pending" | "rejected":
                return f"{self.kind}: {self.found}"
            case "doubled":
                return f"is there {self.found} times"
        what = self.where.partition(" ")[0]
        source = SOURCES.get(what, "state")
        return f"{source} has {shorten(self.expected)}, {what} has {shorten(self.found)}"


def shorten(value: Any) -> str:
    """A value for people."""
    text = repr(value)
    return text if len(text) <= SHORT else f"{text[:SHORT]}… ({len(text)} characters)"


@dataclass(slots=True)
class Findings:
    """What was found of one thing, or of all. `told` is not there for a reason: category -> how often, and examples."""

    differences: list[Difference] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def tell(self, category: str, example: str) -> None:
        """Something is not there, and that is right."""
        self.told[category] += 1
        if len(known := self.examples.setdefault(category, [])) < EXAMPLES:
            known.append(example)

    def add(self, other: Findings) -> None:
        """Take over what was found elsewhere."""
        self.differences += other.differences
        self.compared += other.compared
        self.told += other.told
        for category, examples in other.examples.items():
            known = self.examples.setdefault(category, [])
            known += examples[: EXAMPLES - len(known)]


def ids_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The ids of a row or document as a Difference has them."""
    return {name: str(value) for name in ("post", "media") if (value := row.get(f"{name}_id")) is not None}
