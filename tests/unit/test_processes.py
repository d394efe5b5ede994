"""Ports of servers that have to come back to the same address, and logs that stay small."""

import socket
import threading

import pytest

from deployments.processes import free_port, trim_logs


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


def test_a_log_that_grew_is_cut_while_it_is_written_and_its_end_is_kept(tmp_path):
    log = tmp_path / "worker.log"
    (tmp_path / "small.log").write_text("all of it")
    (tmp_path / "other.log").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_bytes(b"x" * 5000)
    with log.open("ab", buffering=0) as writer:
        for number in range(1000):
            writer.write(b"line %4d\n" % number)
        trim_logs(tmp_path, limit=1000)
        assert log.stat().st_size == 0
        writer.write(b"goes on\n")
    assert log.read_text() == "goes on\n"
    kept = (tmp_path / "worker.log.1").read_text()
    assert kept.endswith("line  999\n")
    assert len(kept) == 500
    assert (tmp_path / "small.log").read_text() == "all of it"
    assert (tmp_path / "precious").stat().st_size == 5000
