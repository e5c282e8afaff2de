"""Golden samples: the messages of every document as we read them, and one fixed result as every dialect writes it.

`UPDATE_GOLDEN=1` rewrites what is expected; the difference is then for a person to judge.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamapp.contracts import DIALECTS, INBOUND, OUTBOUND, read, read_result, write
from streamapp.contracts.examples import ENTRY_ID, RESULTS
from streamapp.contracts.explain import explain

GOLDEN = Path(__file__).parents[1] / "golden"
SAMPLES = sorted(path for path in GOLDEN.glob("*/*/*.json") if not path.stem.startswith("written-"))
REQUESTS = [path for path in SAMPLES if path.parent.name in INBOUND]
RESULT_SAMPLES = [path for path in SAMPLES if path.parent.name in OUTBOUND]


def name_of(path: Path) -> str:
    return str(path.relative_to(GOLDEN))


def check(path: Path, content: dict[str, Any]) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    assert json.loads(path.read_text()) == json.loads(json.dumps(content))


@pytest.mark.parametrize("path", REQUESTS, ids=name_of)
def test_request_of_a_document_is_read(path: Path) -> None:
    fields = json.loads(path.read_text())["fields"]
    record = msgspec.to_builtins(read(path.parent.name, fields, ENTRY_ID))
    check(path, {"fields": fields, "record": record})


@pytest.mark.parametrize("path", RESULT_SAMPLES, ids=name_of)
def test_result_of_a_document_is_read(path: Path) -> None:
    fields = json.loads(path.read_text())["fields"]
    values = msgspec.to_builtins(read_result(path.parent.name, fields, path.parents[1].name))
    check(path, {"fields": fields, "values": values})


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", RESULTS)
def test_fixed_result_is_written(dialect: str, name: str) -> None:
    messages = write(RESULTS[name], dialect=dialect)
    for stream in {message.stream for message in messages}:
        written = [asdict(message) for message in messages if message.stream == stream]
        check(GOLDEN / dialect / stream / f"written-{name}.json", {"messages": written})


def test_every_dialect_has_a_sample_of_every_stream_it_writes() -> None:
    for dialect in DIALECTS:
        assert {path.parent.name for path in GOLDEN.glob(f"{dialect}/*/written-*.json")} == set(OUTBOUND)


def test_every_inbound_stream_has_samples() -> None:
    assert {path.parent.name for path in REQUESTS} == set(INBOUND)


@pytest.mark.parametrize(
    "path",
    [path for path in SAMPLES if path.parents[1].name in DIALECTS and "serialised" not in path.stem],
    ids=name_of,
)
def test_samples_are_recognised_as_their_document(path: Path) -> None:
    fields = json.loads(path.read_text())["fields"]
    report = explain(fields)
    assert report.stream == path.parent.name
    assert path.parents[1].name in report.dialects
    assert report.error is None
