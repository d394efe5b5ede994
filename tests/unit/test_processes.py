"""Ports of servers that have to come back to the same address."""

import socket
import threading

import pytest

from deployments.processes import free_port


def test_a_port_is_none_that_an_outgoing_connection_may_take():
    assert {free_port() < 32_768 for _ in range(20)} == {True}


@pytest.mark.parametrize("held", [True, False])
def test_the_wanted_port_is_taken_unless_somebody_listens_there(held):
    port = free_port()
    with socket.socket() as somebody:
        if held:
            somebody.bind(("127.0.0.1", port))
            somebody.listen()
        assert (free_port(port, patience_s=0.2) == port) is not held


def test_a_port_that_becomes_free_soon_is_waited_for():
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as server:
        timer = threading.Timer(0.4, server.close)
        timer.start()
        assert free_port(port) == port
        timer.join()
