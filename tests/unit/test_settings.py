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
        ("FACE_SUGGESTED", "0.9"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"STREAMAPP_{name}", value)
    with pytest.raises(ValidationError, match=f"(?i){name}"):
        Settings()


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ("read_model_face_search,read_model_recommendations_knn", "media_ai_insights or read_model_media_search"),
        ("read_model_recommendations_knn,read_model_post_search", "media_ai_insights or read_model_media_search"),
        ("media_detected_faces,read_model_media_search", "media_ai_insights, which it refers to"),
    ],
)
def test_tables_without_what_guards_them_are_refused(monkeypatch: pytest.MonkeyPatch, tables: str, said: str) -> None:
    monkeypatch.setenv("STREAMAPP_SINK_TABLES", tables)
    with pytest.raises(ValidationError, match=f"(?i)sink_tables(.|\n)*not without {said}"):
        Settings()


@pytest.mark.parametrize(
    "tables",
    [
        "read_model_face_search,read_model_media_search",
        "read_model_recommendations_knn,media_ai_insights,media_detected_faces",
        "read_model_post_search,read_model_user_search",
        "",
    ],
)
def test_tables_with_what_guards_them_are_taken(monkeypatch: pytest.MonkeyPatch, tables: str) -> None:
    monkeypatch.setenv("STREAMAPP_SINK_TABLES", tables)
    assert Settings().sink_tables == tuple(tables.split(",") if tables else ())


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
