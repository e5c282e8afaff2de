"""Ports: fixed and movable for `dev`, a free block of their own for every other instance."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack import ports
from stack.errors import StackError


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((ports.HOST, 0)) as server:
        yield server


def port_of(server: socket.socket) -> int:
    number: int = server.getsockname()[1]
    return number


def test_dev_has_the_documented_ports() -> None:
    assert ports.fixed({}) == {
        "redis": 36379,
        "kafka": 39092,
        "kafka_controller": 39093,
        "postgres": 35432,
        "elasticsearch": 39200,
        "elasticsearch_transport": 39300,
        "web": 36066,
    }


@pytest.mark.parametrize("role", ports.DEFAULTS)
def test_each_port_of_dev_is_one_setting(role: str) -> None:
    moved = ports.fixed({ports.setting(role): "1234"})
    assert moved == ports.fixed({}) | {role: 1234}


@pytest.mark.parametrize("text", ["x", "0", "65536", "-1", "1.5", "٣"])
def test_what_is_no_port_is_refused_by_the_name_of_its_setting(text: str) -> None:
    with pytest.raises(StackError, match="STACK_KAFKA_CONTROLLER_PORT"):
        ports.fixed({"STACK_KAFKA_CONTROLLER_PORT": text})


def test_one_port_for_two_servers_is_refused() -> None:
    with pytest.raises(StackError, match="STACK_REDIS_PORT and STACK_POSTGRES_PORT are both 36379"):
        ports.fixed({"STACK_POSTGRES_PORT": "36379"})


@given(remembered=st.lists(st.sampled_from(ports.BLOCKS), max_size=50), busy=st.sets(st.sampled_from(ports.BLOCKS)))
def test_a_chosen_block_is_free_and_nobody_elses(remembered: list[int], busy: set[int]) -> None:
    theirs = {port for start in remembered for port in ports.block(start).values()}
    if len(set(remembered) | busy) == len(ports.BLOCKS):
        return
    chosen = ports.choose(theirs, lambda port: port not in busy)
    assert chosen.keys() == ports.DEFAULTS.keys()
    assert not theirs & set(chosen.values())
    assert not busy & set(range(chosen["redis"], chosen["redis"] + ports.BLOCK))
    assert all(port < 32768 for port in chosen.values())


def test_when_no_block_is_free_it_says_so() -> None:
    with pytest.raises(StackError, match="no 16 free ports"):
        ports.choose((), lambda port: False)


def test_a_port_is_taken_while_someone_listens(listener: socket.socket) -> None:
    port = port_of(listener)
    assert ports.listens(port)
    assert not ports.is_free(port)
    listener.close()
    assert not ports.listens(port)
    assert ports.is_free(port)


def test_a_listener_on_all_addresses_takes_the_port_too() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not ports.is_free(port_of(server))


def test_a_connection_that_lingers_does_not_take_the_port(listener: socket.socket) -> None:
    port = port_of(listener)
    client = socket.create_connection((ports.HOST, port))
    served, _ = listener.accept()
    served.close()  # the side that closes first keeps the connection in TIME_WAIT
    client.close()
    listener.close()
    assert ports.is_free(port)


def test_the_holder_of_a_port_is_named(listener: socket.socket) -> None:
    assert f"pid {os.getpid()} " in ports.holder(port_of(listener))
    assert ports.holder(1) == ""
