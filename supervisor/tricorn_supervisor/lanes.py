"""The master's UDP sockets: opened for a plan, leased to workers, routed by what the leases say."""

import hashlib
import hmac
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from tricorn_supervisor.child import Child
from tricorn_supervisor.datagrams import DatagramSocket
from tricorn_supervisor.groups import Group, bind_alone
from tricorn_supervisor.leases import Leases
from tricorn_supervisor.listeners import Address, Bind, ListenError, bind_each, url, wildcard_ports
from tricorn_supervisor.plan import Plan, PlanError
from tricorn_supervisor.routers import Fork, Router, choose
from tricorn_supervisor.steering import MOST_LANES, SECRET_SIZE, Layout

MOST_WORKERS = MOST_LANES // 2  # a reload needs a second lane for each at worst
ELSEWHERE = ("unix:", "fd://", "systemd:")

log = logging.getLogger(__name__)


class Lanes:
    """Says nothing, leases nothing and forks nothing until a plan with HTTP/3 is opened."""

    def __init__(self, fork: Fork) -> None:
        self.secret = b""
        self.server_id = b""
        self._fork = fork
        self._first: Plan | None = None  # the one that the secret and the router are of
        self._router: Router | None = None
        self._leases = Leases()
        self._size = 0  # how many lanes each group has
        self._groups: dict[int, list[Group]] = {}  # by generation
        self._forgotten: set[int] = set()  # generations that may still have processes

    @property
    def deadline(self) -> float | None:
        """Settle again at that time."""
        return self._router.deadline if self._router else None

    def open(self, generation: int, plan: Plan) -> None:
        """Bind what is not bound yet, all or none, and say so. Raises ListenError, PlanError."""
        if not plan.quic_binds:
            self._groups[generation] = []
            return
        if plan.workers > MOST_WORKERS:
            raise PlanError(f"with HTTP/3 workers must be {MOST_WORKERS} at most")
        self._forgotten.discard(generation)
        router = self._start(plan)
        old = self._all()
        new: list[Group] = []
        with ExitStack() as undo:
            for bind, sock in bind_all(plan.quic_binds, router.bind_one, old):
                new.append(router.group(bind, sock))
                undo.callback(new[-1].close)
            try:
                for group in new:
                    group.grow(max(self._size, plan.workers))
            except OSError as exc:
                raise ListenError(f"cannot listen over UDP: {exc.strerror}") from exc
            undo.pop_all()
        self._size = max(self._size, plan.workers)
        texts = [bind.text for bind in plan.quic_binds]
        self._groups[generation] = [each for each in [*old, *new] if each.bind.text in texts]
        _announce([(group.bind, group.first) for group in new])

    def claim(self, child: Child) -> int:
        """Before a fork: the lane of this process; -1 without HTTP/3. Raises OSError."""
        if not self._groups.get(child.generation):
            return -1
        inherited = child.number in self._leases.vacant
        lane = self._leases.claim(child)
        self._size = max(self._size, lane + 1)
        for group in self._all():
            group.grow(self._size)
            if not inherited:
                group.drain(lane)
        return lane

    def take(self, child: Child) -> tuple[DatagramSocket, ...]:
        """In the forked process: its sockets. Those of others are closed."""
        lane = self._leases.lane_of(child)
        mine = self._groups.get(child.generation, []) if lane is not None else []
        self.leave(mine)
        return tuple(group.take(lane) for group in mine if lane is not None)

    def leave(self, kept: Sequence[Group] = ()) -> None:
        """In a forked process: close what it does not keep."""
        for group in self._all():
            if group not in kept:
                group.close()
        if self._router:
            self._router.leave()

    def release(self, child: Child) -> None:
        """The process is gone, or was not forked."""
        self._leases.release(child)

    def forget(self, generations: Sequence[int]) -> None:
        """No process of these will be started any more."""
        self._forgotten.update(generations)

    def settle(self, workers: int) -> None:
        """Route by the leases and the stages of their holders, with so many workers wanted."""
        if self._router is None:
            return
        self._leases.settle(workers)
        self._close_forgotten()
        self._router.route(
            {
                group: self._leases.table(workers, self._generations_of(group))
                for group in self._all()
            }
        )

    def reaped(self, pid: int, status: int) -> bool:
        """Whether that was a process of ours."""
        return self._router is not None and self._router.reaped(pid, status)

    def close(self) -> None:
        """Every worker is gone."""
        if self._router:
            self._router.close()
        for group in self._all():
            group.close()

    def _start(self, plan: Plan) -> Router:
        """Choose how to route once: what is bound and who is connected depends on it."""
        if self._router is None or self._first is None:
            self.secret = derive_secret(plan.quic_secret)
            self.server_id = plan.quic_server_id
            self._first = plan
            layout = Layout.of(self.secret, self.server_id)
            self._router = choose(plan.steering, layout, self._fork)
            log.info("steering=%s finds the worker of a QUIC datagram", self._router.name)
        for name in ("steering", "quic_secret", "quic_server_id"):
            if getattr(plan, name) != getattr(self._first, name):
                log.warning("%s has changed; it counts from the next start", name)
        return self._router

    def _all(self) -> list[Group]:
        return list(dict.fromkeys(group for groups in self._groups.values() for group in groups))

    def _generations_of(self, group: Group) -> list[int]:
        return [generation for generation, groups in self._groups.items() if group in groups]

    def _close_forgotten(self) -> None:
        """Close what only past generations were reached at, once their last process is gone."""
        held = {child.generation for child in self._leases.holders.values()}
        for generation in self._forgotten - held:
            surplus = self._groups.pop(generation, [])
            used = self._all()
            for group in surplus:
                if group not in used:
                    group.close()
        self._forgotten &= held


def open_alone(plan: Plan) -> tuple[DatagramSocket, ...]:
    """The sockets of a worker without siblings. Raises ListenError."""
    opened = bind_all(plan.quic_binds, bind_alone, [])
    _announce(opened)
    return tuple(DatagramSocket(bind, sock) for bind, sock in opened)


def close_alone(datagrams: Sequence[DatagramSocket]) -> None:
    for each in datagrams:
        each.socket.close()


def derive_secret(given: bytes) -> bytes:
    """What a fleet derives all its keys from: 32 octets, new ones if the operator gives none."""
    if not given:
        return os.urandom(SECRET_SIZE)
    return hmac.digest(given, b"tricorn quic", hashlib.sha256)


def bind_all(
    binds: Sequence[Bind],
    bind_one: Callable[[Address, bool], socket.socket],
    kept: Sequence[Group],
) -> list[tuple[Bind, socket.socket]]:
    """A socket for each address that is not among `kept`, all or none. Raises ListenError."""
    opened: list[tuple[Bind, socket.socket]] = []
    known = [group.bind.text for group in kept]
    ports = [group.first.getsockname()[1] for group in kept]
    both = wildcard_ports(binds)
    with ExitStack() as undo:
        for position, bind in enumerate(binds):
            if bind in binds[:position]:
                raise ListenError(f"cannot listen on {bind.text} over UDP: it is named twice")
            if bind.text.startswith(ELSEWHERE):
                raise ListenError(f"cannot listen on {bind.text} over UDP: it takes HOST:PORT")
            if bind.text in known:
                continue
            # Where the system chooses, it chooses one port for all: Alt-Svc names one.
            for sock in bind_each(bind.text, both, bind_one, ports[0] if ports else 0):
                undo.callback(sock.close)
                opened.append((bind, sock))
                ports.append(sock.getsockname()[1])
        undo.pop_all()
    return opened


def _announce(opened: Sequence[tuple[Bind, socket.socket]]) -> None:
    for bind, sock in opened:
        log.info("listening on %s (%s)", url(bind, sock), ", ".join(bind.protocols))
