"""Bind specifications become listening sockets, all of them or none."""

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

DEFAULT_PORT = 8000
UNPRIVILEGED = 1024
FIRST_FD = 3  # sd_listen_fds(3)
PROBE_TIMEOUT = 1.0
# A name may stand for an address of a family that this machine has not got.
ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)

Address = tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]


class ListenError(Exception):
    """One sentence that the operator can act on."""


@dataclass(frozen=True, slots=True)
class Bind:
    """`text`: host:port, [v6]:port, :port, host, unix:PATH, fd://N, systemd: or systemd:NAME."""

    text: str
    secure: bool = False
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnedPath:
    """A unix socket that we have put into the file system, and may remove again."""

    path: str
    device: int
    inode: int
    pid: int

    def remove(self) -> None:
        """Unless somebody else has put a socket of their own there, or we are a forked child."""
        with suppress(OSError):
            found = os.lstat(self.path)
            ours = (self.device, self.inode, self.pid) == (found.st_dev, found.st_ino, os.getpid())
            if ours:
                os.unlink(self.path)


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket; a bind whose name has several addresses becomes several."""

    bind: Bind
    socket: socket.socket
    owned: OwnedPath | None = None

    @property
    def address(self) -> str:
        """As a URL, with the real port: http://127.0.0.1:8000, https://[::1]:8443, unix:/path."""
        if self.socket.family == socket.AF_UNIX:
            text = os.fsdecode(self.socket.getsockname())
            return "unix:" + ("@" + text[1:] if text.startswith("\0") else text)
        return url(self.bind, self.socket)


def open_listeners(
    binds: Sequence[Bind],
    *,
    backlog: int,
    kept: Sequence[Listener] = (),
    unix_mode: int | None = None,
) -> list[Listener]:
    """Listen on all of `binds`, or raise ListenError and listen on nothing new.

    A bind with the text of a `kept` listener goes on with its sockets, whatever else differs.
    """
    listeners: list[Listener] = []
    with ExitStack() as undo:
        both = wildcard_ports(binds)
        for position, bind in enumerate(binds):
            if bind in binds[:position]:
                raise ListenError(f"cannot listen on {bind.text}: it is named twice")
            if same := _kept(bind, binds, kept, listeners):
                listeners += [replace(listener, bind=bind) for listener in same]
                continue
            opened = _open(bind, unix_mode, both, [*kept, *listeners])
            undo.callback(close_listeners, opened)
            listeners += opened
        for listener in listeners:
            _listen(listener, backlog)
        undo.pop_all()
    return listeners


def close_listeners(listeners: Sequence[Listener]) -> None:
    """Close the sockets, and remove the unix sockets that this process has made."""
    for listener in listeners:
        if listener.owned is not None:
            listener.owned.remove()
        listener.socket.close()


def url(bind: Bind, sock: socket.socket) -> str:
    """Where a client finds this socket, which has an IP address."""
    host, port = sock.getsockname()[:2]
    host = f"[{host}]" if sock.family == socket.AF_INET6 else host
    return f"{'https' if bind.secure else 'http'}://{host}:{port}"


def _kept(
    bind: Bind, binds: Sequence[Bind], kept: Sequence[Listener], listeners: Sequence[Listener]
) -> list[Listener]:
    """The open listeners to go on with: those of this bind, or else those of its address."""
    used = [listener.socket for listener in listeners]
    free = [listener for listener in kept if listener.socket not in used]
    same = [listener for listener in free if listener.bind == bind]
    same = same or [each for each in free if each.bind.text == bind.text and each.bind not in binds]
    # Two generations may have one socket, each with its own bind.
    return list({listener.socket: listener for listener in same}.values())


def _open(
    bind: Bind, unix_mode: int | None, both: set[int], taken: Sequence[Listener]
) -> list[Listener]:
    text = bind.text
    if text.startswith("unix:"):
        return [_open_unix(bind, text.removeprefix("unix:"), unix_mode)]
    if text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if not number.isdecimal():
            raise ListenError(f"cannot listen on {text}: a descriptor is a number, as in fd://3")
        return _adopt(bind, [int(number)], taken)
    if text.startswith("systemd:"):
        return _adopt(bind, _passed(text), taken)
    return [Listener(bind, sock) for sock in bind_each(text, both, _bind_tcp)]


def _listen(listener: Listener, backlog: int) -> None:
    if listener.owned is None and listener.bind.text.startswith(("fd://", "systemd:")):
        accepting = listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if accepting:  # its backlog is that of whoever opened it
            return
    with _translated(listener.bind.text):
        listener.socket.listen(backlog)


# Addresses


def bind_each(
    text: str, both: set[int], bind_one: Callable[[Address, bool], socket.socket], port: int = 0
) -> list[socket.socket]:
    """`bind_one` for every address of host:port, all or none; `port` is for where the text has 0.

    It is told too whether an IPv6 socket shall take IPv4 as well. Raises ListenError.
    """
    host, wanted = _host_and_port(text)
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    with _translated(text, wanted), ExitStack() as undo:
        for family, found in _resolve(text, host, wanted):
            # All addresses of one name get one port, also where the system chooses it.
            chosen = wanted or port or (sockets[0].getsockname()[1] if sockets else 0)
            dual = found[0] == "::" and host != "" and wanted not in both
            try:
                sock = bind_one((family, (found[0], chosen, *found[2:])), dual)
            except OSError as exc:
                if exc.errno not in ABSENT:
                    raise
                absent = exc
                continue
            undo.callback(sock.close)
            sockets.append(sock)
        if absent is not None and not sockets:
            raise absent
        undo.pop_all()
    return sockets


def wildcard_ports(binds: Sequence[Bind]) -> set[int]:
    """Ports bound on 0.0.0.0 as well: there [::] must leave IPv4 alone."""
    texts = [bind.text for bind in binds if bind.text.startswith("0.0.0.0")]
    return {_host_and_port(text)[1] for text in texts}


def _bind_tcp(address: Address, dual: bool) -> socket.socket:
    family, name = address
    with ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind(name)
        undo.pop_all()
    return sock


def _host_and_port(text: str) -> tuple[str, int]:
    """Split host:port; an unbracketed address with several colons is an IPv6 host."""
    host, separator, port = text.rpartition(":")
    if text.endswith("]") or not separator or (":" in host and not host.startswith("[")):
        host, port = text, str(DEFAULT_PORT)
    if not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise ListenError(f"cannot listen on {text}: the port is not a number from 0 to 65535")
    if host.startswith("[") != host.endswith("]") or host == "[]":
        raise ListenError(f"cannot listen on {text}: an IPv6 address is written [::1]:{port}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _resolve(text: str, host: str, port: int) -> list[Address]:
    # RFC6761§6.3: both loopback addresses, although hosts files often name one only.
    hosts = ("127.0.0.1", "::1") if host == "localhost" else (host or None,)
    known: list[Address] = []
    try:
        for name in hosts:
            for family, _, _, _, address in socket.getaddrinfo(
                name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                known.append((family, address))
    except (socket.gaierror, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else str(exc)
        raise ListenError(f"cannot listen on {text}: the host is unknown: {reason}") from exc
    # IPv4 first, whatever the resolver prefers: it is what the start-up lines should begin with.
    return sorted(dict.fromkeys(known), key=lambda each: each[0] != socket.AF_INET)


# Unix sockets


def _open_unix(bind: Bind, path: str, mode: int | None) -> Listener:
    if not path:
        raise ListenError("cannot listen on unix: the path is missing, as in unix:/run/app.sock")
    path = os.path.abspath(path)
    _remove_stale(path)
    with ExitStack() as undo:
        sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        sock.setblocking(False)
        # Closed to everybody until it has its mode; the umask is the process's own otherwise.
        before = os.umask(0o177) if mode is not None else None
        try:
            with _translated(bind.text):
                sock.bind(path)
        finally:
            if before is not None:
                os.umask(before)
        found = os.lstat(path)
        owned = OwnedPath(path, found.st_dev, found.st_ino, os.getpid())
        undo.callback(owned.remove)
        if mode is not None:
            with _translated(bind.text):
                os.chmod(path, mode)
        undo.pop_all()
    return Listener(bind, sock, owned)


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on; never anything else."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ListenError(f"cannot listen on unix:{path}: {exc.strerror}") from exc
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenError(f"cannot listen on unix:{path}: what is there is no socket")

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with _translated(f"unix:{path}"):
                os.unlink(path)
        except OSError as exc:
            # A full backlog is EAGAIN: somebody is there.
            reason = f"its present user cannot be asked: {exc.strerror or exc}"
            raise ListenError(f"cannot listen on unix:{path}: {reason}") from exc
        else:
            raise ListenError(f"cannot listen on unix:{path}: another program listens there")


# Sockets that were passed to us


def _passed(text: str) -> list[int]:
    """The descriptors that systemd has passed to this process, or those of one name."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise ListenError(f"cannot listen on {text}: systemd has passed no socket to this process")
    count = os.environ.get("LISTEN_FDS", "")
    numbers = range(FIRST_FD, FIRST_FD + int(count if count.isdecimal() else 0))
    name = text.removeprefix("systemd:")
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    chosen = [
        fd for fd in numbers if not name or names[fd - FIRST_FD : fd - FIRST_FD + 1] == [name]
    ]
    # Sockets for datagrams belong to somebody else.
    streams = [fd for fd in chosen if _kind(fd) != socket.SOCK_DGRAM]
    if not streams:
        what = f"named {name} " if name else ""
        raise ListenError(
            f"cannot listen on {text}: systemd has passed no socket {what}to accept on"
        )
    return streams


def _kind(fd: int) -> int | None:
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            return sock.type
    except OSError:
        return None


def _adopt(bind: Bind, numbers: list[int], taken: Sequence[Listener]) -> list[Listener]:
    used = [listener.socket.fileno() for listener in taken]
    for fd in numbers:
        if fd in used:
            raise ListenError(f"cannot listen on {bind.text}: descriptor {fd} is named twice")
        if _kind(fd) != socket.SOCK_STREAM:
            raise ListenError(f"cannot listen on {bind.text}: descriptor {fd} is no stream socket")

    sockets = [socket.socket(fileno=fd) for fd in numbers]  # family and type are the descriptor's
    for sock in sockets:
        sock.setblocking(False)
        sock.set_inheritable(False)
    return [Listener(bind, sock) for sock in sockets]


@contextmanager
def _translated(text: str, port: int = 0) -> Iterator[None]:
    """Turn an OSError into the sentence for the operator."""
    try:
        yield
    except OSError as exc:
        match exc.errno:
            case errno.EADDRINUSE:
                reason = "another program listens there"
            case errno.EADDRNOTAVAIL:
                reason = "this machine has no such address"
            case errno.EACCES if 0 < port < UNPRIVILEGED:
                reason = f"a port below {UNPRIVILEGED} needs CAP_NET_BIND_SERVICE"
            case _:
                reason = exc.strerror or str(exc)
        raise ListenError(f"cannot listen on {text}: {reason}") from exc
