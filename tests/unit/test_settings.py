from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

import bridge.names
from bridge.settings import Settings as BridgeSettings
from stack.example import text
from streamapp.contracts import INBOUND, OUTBOUND
from streamapp.names import DEAD_LETTERS
from streamapp.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_is_generated_from_the_settings() -> None:
    assert (ROOT / ".env.example").read_text() == text(), "make generated writes it"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_URL", "localhost:9092"),
        ("WEB_PORT", "x"),
        ("ENGINE", "magic"),
        ("SINK_TABLES", "users"),
        ("ATTEMPTS", "0"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"STREAMAPP_{name}", value)
    with pytest.raises(ValidationError, match=f"(?i){name}"):
        Settings()


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_FETCH_ALLOWED_HOSTS", "cdn.example.org, 127.0.0.1,")
    assert Settings().fetch_allowed_hosts == ("cdn.example.org", "127.0.0.1")


def test_bridge_and_application_agree_on_names_and_shared_settings() -> None:
    assert set(bridge.names.INBOUND) == set(INBOUND)
    assert set(bridge.names.OUTBOUND) == set(OUTBOUND)
    assert bridge.names.DEAD_LETTERS == DEAD_LETTERS
    shared = set(Settings.model_fields) & set(BridgeSettings.model_fields)
    assert {"redis_url", "kafka_url", "partitions", "max_message_bytes"} <= shared
    for name in shared:
        assert Settings.model_fields[name].default == BridgeSettings.model_fields[name].default, name
