"""Bind specifications become sockets, all or none."""

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tricorn_supervisor.listeners import (
    Bind,
    Listener,
    ListenError,
    close_listeners,
    open_listeners,
)


@contextlib.contextmanager
def listening(*texts: str, **options: object) -> Iterator[list[Listener]]:
    listeners = open_listeners([Bind(text) for text in texts], backlog=16, **options)
    yield listeners
    close_listeners(listeners)


def addresses(listeners: Sequence[Listener]) -> list[str]:
    return [listener.address.rpartition(":")[0] for listener in listeners]


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# TCP


def test_address_shows_the_port_that_the_system_chose():
    with listening("127.0.0.1:0") as (listener,):
        port = listener.socket.getsockname()[1]
        assert port and listener.address == f"http://127.0.0.1:{port}"


def test_secure_address_is_https():
    listeners = open_listeners([Bind("[::1]:0", secure=True)], backlog=16)
    assert addresses(listeners) == ["https://[::1]"]
    close_listeners(listeners)


def test_clients_can_connect():
    with (
        listening("127.0.0.1:0") as (listener,),
        socket.create_connection(listener.socket.getsockname()),
    ):
        listener.socket.settimeout(5)
        listener.socket.accept()[0].close()


def test_sockets_block_nobody_and_are_not_inherited():
    with listening("127.0.0.1:0") as (listener,):
        assert not listener.socket.getblocking()
        assert not listener.socket.get_inheritable()
        assert listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_localhost_is_both_loopback_addresses_with_one_port():
    with listening("localhost:0") as listeners:
        assert addresses(listeners) == ["http://127.0.0.1", "http://[::1]"]
        assert len({listener.socket.getsockname()[1] for listener in listeners}) == 1


def test_port_alone_is_every_address_of_both_families():
    with listening(":0") as listeners:
        assert addresses(listeners) == ["http://0.0.0.0", "http://[::]"]


def v6only(listener: Listener) -> int:
    return listener.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_any_ipv6_address_takes_ipv4_as_well():
    with listening("[::]:0") as (listener,):
        assert not v6only(listener)


def test_any_ipv6_address_leaves_ipv4_to_a_bind_of_its_own():
    with listening("0.0.0.0:0", "[::]:0") as (_, listener):
        assert v6only(listener)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("127.0.0.1:http", "the port is not a number"),
        ("127.0.0.1:65536", "the port is not a number"),
        ("127.0.0.1:-1", "the port is not a number"),
        ("127.0.0.1:²", "the port is not a number"),
        ("[::1", "is written [::1]"),
        ("nowhere.invalid:0", "the host is unknown"),
        ("192.0.2.1:0", "this machine has no such address"),
        ("fd://x", "a descriptor is a number"),
        ("fd://9999", "no stream socket"),
        ("systemd:", "systemd has passed no socket"),
        ("unix:", "the path is missing"),
        ("unix:/nowhere/at/all", "No such file or directory"),
        ("unix:/tmp/" + "x" * 200, "too long"),
    ],
)
def test_refuses_with_a_sentence(text, reason):
    with pytest.raises(ListenError, match=r"^cannot listen on .*") as caught:
        open_listeners([Bind(text)], backlog=16)
    assert reason in str(caught.value)


def test_taken_port_is_said_to_be_taken():
    with listening("127.0.0.1:0") as (listener,):
        port = listener.socket.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1:{port}: another program listens there"):
            open_listeners([Bind(f"127.0.0.1:{port}")], backlog=16)


def test_bind_named_twice_is_refused():
    with pytest.raises(ListenError, match="named twice"):
        open_listeners([Bind("127.0.0.1:0"), Bind("127.0.0.1:0")], backlog=16)


def test_what_was_opened_is_closed_when_a_later_one_fails(tmp_path):
    before = open_descriptors()
    path = tmp_path / "app.sock"
    with pytest.raises(ListenError):
        open_listeners([Bind("localhost:0"), Bind(f"unix:{path}"), Bind("192.0.2.1:0")], backlog=16)
    assert open_descriptors() == before
    assert not path.exists()


# Kept listeners


def test_kept_bind_goes_on_with_its_socket():
    with listening("localhost:0") as kept:
        with pytest.raises(ListenError):
            open_listeners([Bind("localhost:0"), Bind("192.0.2.1:0")], backlog=16, kept=kept)
        again = open_listeners([Bind("localhost:0")], backlog=16, kept=kept)
        assert again == kept


def test_kept_address_goes_on_with_its_socket_when_tls_is_switched_on():
    with listening("127.0.0.1:0") as (kept,):
        (again,) = open_listeners([Bind("127.0.0.1:0", secure=True)], backlog=16, kept=[kept])
        assert again.socket is kept.socket and again.address.startswith("https")


def test_kept_socket_of_two_generations_is_used_once():
    with listening("127.0.0.1:0") as (kept,):
        secure = replace(kept, bind=Bind("127.0.0.1:0", secure=True))
        bind = Bind("127.0.0.1:0", protocols=("HTTP/2",))
        assert len(open_listeners([bind], backlog=16, kept=[kept, secure])) == 1


def test_kept_binds_of_one_text_stay_apart():
    binds = [Bind("127.0.0.1:0"), Bind("127.0.0.1:0", secure=True)]
    kept = open_listeners(binds, backlog=16)
    assert open_listeners(binds, backlog=16, kept=kept) == kept
    close_listeners(kept)


# Unix sockets


def test_unix_socket_is_removed_when_it_is_closed(tmp_path):
    with listening(f"unix:{tmp_path}/app.sock") as (listener,):
        assert listener.address == f"unix:{tmp_path}/app.sock"
        assert (tmp_path / "app.sock").is_socket()
    assert not (tmp_path / "app.sock").exists()


def test_unix_socket_has_the_mode_that_was_asked_for(tmp_path):
    with listening(f"unix:{tmp_path}/app.sock", unix_mode=0o660):
        assert stat.S_IMODE((tmp_path / "app.sock").stat().st_mode) == 0o660


def test_stale_unix_socket_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "app.sock"))
    with listening(f"unix:{tmp_path}/app.sock"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "app.sock"))


def test_unix_socket_in_use_is_not_touched(tmp_path):
    with listening(f"unix:{tmp_path}/app.sock"):
        with pytest.raises(ListenError, match="another program listens there"):
            open_listeners([Bind(f"unix:{tmp_path}/app.sock")], backlog=16)
        assert (tmp_path / "app.sock").is_socket()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_nothing_but_a_socket_is_ever_removed(tmp_path: Path, kind: str):
    path, target = tmp_path / "app.sock", tmp_path / "target"
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("precious")
    else:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(target))
        path.symlink_to(target)
    with pytest.raises(ListenError, match="no socket"):
        open_listeners([Bind(f"unix:{path}")], backlog=16)
    assert path.exists()


def test_socket_that_somebody_else_put_there_is_left_alone(tmp_path):
    path = tmp_path / "app.sock"
    with listening(f"unix:{path}"):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.is_socket()


@pytest.mark.slow
def test_forked_child_leaves_the_path_alone(tmp_path):
    with listening(f"unix:{tmp_path}/app.sock") as listeners:
        if not (pid := os.fork()):
            close_listeners(listeners)
            os._exit(0)
        os.waitpid(pid, 0)
        assert (tmp_path / "app.sock").is_socket()


# Sockets that were passed to us


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_descriptor_brings_its_own_family(family):
    with socket.socket(family) as passed:
        if family == socket.AF_UNIX:
            passed.bind("")
        fd = passed.detach()
        with listening(f"fd://{fd}") as (listener,):
            assert listener.socket.family == family
            assert listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            assert not listener.socket.get_inheritable()


def test_descriptor_of_a_datagram_socket_is_refused():
    with socket.socket(type=socket.SOCK_DGRAM) as passed:
        bind = Bind(f"fd://{passed.fileno()}")
        with pytest.raises(ListenError, match="no stream socket"):
            open_listeners([bind], backlog=16)


@pytest.fixture
def systemd(monkeypatch) -> Iterator[list[int]]:
    """Three sockets where systemd passes them; the second is for datagrams."""
    first = 200
    monkeypatch.setattr("tricorn_supervisor.listeners.FIRST_FD", first)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("LISTEN_FDNAMES", "web:quic:admin")
    for offset, kind in enumerate([socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_STREAM]):
        with socket.socket(type=kind) as passed:
            passed.bind(("127.0.0.1", 0))
            os.dup2(passed.fileno(), first + offset)
    yield [first, first + 1, first + 2]
    for fd in range(first, first + 3):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_every_stream_socket_of_systemd_is_taken(systemd):
    with listening("systemd:") as listeners:
        assert [each.socket.fileno() for each in listeners] == [systemd[0], systemd[2]]


def test_sockets_of_systemd_are_taken_by_name(systemd):
    with listening("systemd:admin", "systemd:web") as listeners:
        assert [each.socket.fileno() for each in listeners] == [systemd[2], systemd[0]]


def test_unknown_name_is_refused(systemd):
    with pytest.raises(ListenError, match="no socket named api"):
        open_listeners([Bind("systemd:api")], backlog=16)


def test_sockets_for_another_process_are_refused(systemd, monkeypatch):
    monkeypatch.setenv("LISTEN_PID", "1")
    with pytest.raises(ListenError, match="passed no socket"):
        open_listeners([Bind("systemd:")], backlog=16)


def test_descriptor_cannot_be_taken_twice(systemd):
    with pytest.raises(ListenError, match="named twice"):
        open_listeners([Bind("systemd:"), Bind("systemd:web")], backlog=16)


def test_opening_starts_no_thread():
    before = threading.active_count()
    with listening("localhost:0"):
        assert threading.active_count() == before
