"""RFC 9001: the keys of a QUIC connection, how they change, and who is told of them."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace

import pytest
from aioquic.tls import Epoch

from tests.support import apps
from tests.support.h3peer import H3Peer
from tricorn.certificates import identity
from tricorn.config import Config, ConfigError
from tricorn.http3 import outbound
from tricorn.http3.opening import configuration_of


def phases(peer):
    """Those of the keys that the client receives, and sends, with."""
    keys = peer.quic._cryptos[Epoch.ONE_RTT]
    return keys.recv.key_phase, keys.send.key_phase


# §6 Key Update


def test_a_client_may_change_the_keys_as_often_as_it_likes():  # §6.1
    peer = H3Peer(apps.echo)
    for number in range(1, 9):
        peer.quic.request_key_update()
        assert peer.fetch("/", "POST", body=b"%d" % number).body == b"%d" % number
        assert phases(peer) == (number % 2, number % 2)


def test_keys_may_change_within_an_upload():
    peer = H3Peer(apps.echo)
    id = peer.begin()
    for number in range(10):
        peer.part(id, b"%d" % number * 10_000)
        peer.quic.request_key_update()
    peer.part(id, end=True)
    assert peer.streams[id].body == b"".join(b"%d" % number * 10_000 for number in range(10))


def test_the_server_changes_them_before_they_have_served_too_long(monkeypatch):  # §6.6
    monkeypatch.setattr(outbound, "KEY_PACKETS", 20)
    peer = H3Peer(apps.hello)
    seen = []
    for _ in range(100):
        assert peer.fetch().status == 200
        seen.append(phases(peer))
    changes = sum(before != after for before, after in pairwise(seen))
    assert 2 <= changes <= 10 and set(seen) == {(0, 0), (1, 1)}


def test_keys_serve_for_fewer_packets_than_their_cipher_allows():  # §6.6
    assert outbound.KEY_PACKETS < 2**23


def test_the_server_does_not_change_them_before_the_handshake_is_confirmed(monkeypatch):  # §6
    monkeypatch.setattr(outbound, "KEY_PACKETS", 0)
    peer = H3Peer(apps.hello, polite=False)
    assert phases(peer)[0] == 0
    peer.mute = False
    assert peer.fetch().status == 200


# Who is told of them


def test_secrets_are_logged_for_whoever_may_look_inside(monkeypatch, tmp_path):
    path, heard = tmp_path / "keys", []
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    ours = SimpleNamespace(write=heard.append, flush=lambda: None)
    peer = H3Peer(apps.hello, client={"secrets_log_file": ours})
    assert peer.fetch().status == 200
    peer.endpoint.terms.configuration.secrets_log_file.close()
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(line.rstrip() for line in heard)
    assert {line.split()[0] for line in lines} == {
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_TRAFFIC_SECRET_0",
    }


def test_secrets_are_kept_otherwise(monkeypatch):
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    peer = H3Peer(apps.hello)
    assert peer.endpoint.terms.configuration.secrets_log_file is None


# qlog: the same without secrets


def test_every_connection_leaves_its_trace(tmp_path):
    peer = H3Peer(apps.hello, Config(qlog_dir=str(tmp_path)))
    other = H3Peer(beside=peer)
    for each in (peer, other):
        assert each.fetch().status == 200
        each.close()
    peer.advance(10)
    traces = [json.loads(path.read_text()) for path in tmp_path.glob("*.qlog")]
    assert len(traces) == 2
    for trace in traces:
        (found,) = trace["traces"]
        names = {event["name"] for event in found["events"]}
        assert {"transport:packet_received", "transport:packet_sent"} <= names
        assert found["vantage_point"]["type"] == "server"


def test_no_trace_is_left_unless_that_is_asked_for():
    peer = H3Peer(apps.hello)
    assert peer.endpoint.terms.configuration.quic_logger is None


def test_a_directory_that_is_not_there_ends_the_start(tmp_path):
    peer = H3Peer(apps.hello)
    shown = identity(peer.endpoint.context.config)
    with pytest.raises(ConfigError, match="--qlog-dir"):
        configuration_of(Config(qlog_dir=str(tmp_path / "gone")), shown)
