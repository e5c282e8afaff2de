"""docker-compose.yml: the same servers, pinned, checked for health, reachable from this machine only."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from stack import artefacts, kafka, ports
from stack.instance import CHECKOUT, POSTGRES_DATABASE, POSTGRES_PASSWORD, POSTGRES_USER
from streamapp.settings import Settings

COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = ("redis", "kafka", "postgres", "elasticsearch")


@pytest.mark.parametrize("name", SERVERS)
def test_each_server_is_pinned_and_checked(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?(-[a-z0-9]+)?", service["image"])
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert check["retries"] >= 12
    assert all(re.fullmatch(r"\d+s", check[key]) for key in ("interval", "timeout", "start_period"))


def test_the_versions_are_those_of_the_local_servers() -> None:
    assert SERVICES["kafka"]["image"].endswith(f":{artefacts.KAFKA}")
    assert SERVICES["elasticsearch"]["image"].endswith(f":{artefacts.ELASTICSEARCH}")
    assert SERVICES["postgres"]["image"].endswith("-pg18")


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_is_bound_to_loopback(name: str) -> None:
    for binding in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{STACK_[A-Z]+_PORT:-\d+\}:\d+", binding)


@pytest.mark.parametrize(
    ("service", "role"), [*((name, name) for name in SERVERS), ("worker", "web")], ids=[*SERVERS, "web"]
)
def test_the_ports_are_those_of_dev(service: str, role: str) -> None:
    (binding,) = SERVICES[service]["ports"]
    assert f"${{{ports.setting(role)}:-{ports.DEFAULTS[role]}}}" in binding


def test_every_volume_is_declared() -> None:
    named = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if not volume.startswith(".")
    }
    assert named == COMPOSE["volumes"].keys()


def test_files_that_are_mounted_exist() -> None:
    (mounted,) = (volume for volume in SERVICES["postgres"]["volumes"] if volume.startswith("./"))
    assert (CHECKOUT / mounted.split(":")[0]).read_text() == "CREATE EXTENSION vector;\n"


def test_kafka_takes_the_same_messages_and_makes_no_topics() -> None:
    environment = SERVICES["kafka"]["environment"]
    assert environment["KAFKA_MESSAGE_MAX_BYTES"] == str(kafka.MAX_BATCH_BYTES)
    assert environment["KAFKA_REPLICA_FETCH_MAX_BYTES"] == str(kafka.MAX_BATCH_BYTES)
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_redis_evicts_nothing_and_appends() -> None:
    command = SERVICES["redis"]["command"]
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


@pytest.mark.parametrize("name", ["migrate", "bridge", "worker"])
def test_the_application_finds_the_servers(name: str) -> None:
    environment = SERVICES[name]["environment"]
    login = f"{POSTGRES_USER}:{POSTGRES_PASSWORD}"
    assert environment["STREAMAPP_POSTGRES_URL"] == f"postgresql://{login}@postgres:5432/{POSTGRES_DATABASE}"
    internal = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert environment["STREAMAPP_KAFKA_URL"].removeprefix("kafka://") in internal
    fields = {f"STREAMAPP_{field.upper()}" for field in Settings.model_fields}
    assert environment.keys() <= fields


def test_nothing_of_the_application_starts_before_the_migration() -> None:
    assert all(SERVICES["migrate"]["depends_on"][name]["condition"] == "service_healthy" for name in SERVERS)
    for name in ("bridge", "worker"):
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
