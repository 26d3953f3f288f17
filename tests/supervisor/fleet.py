"""Runs a real master over tiny workers: python fleet.py DIRECTORY [alone], plan in plan.json there.

A worker answers one command per connection with one line of JSON; see `Worker.answer`. It answers
each datagram with a line of JSON too, in which there is a connection ID that leads to it.
"""

import contextlib
import errno
import json
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tricorn_supervisor.channel import ChildEnd, DatagramSocket
from tricorn_supervisor.listeners import Bind, ListenError
from tricorn_supervisor.master import Master, Plan, PlanError, run_alone
from tricorn_supervisor.steering import Layout

DEFAULTS = {
    "mode": "serve",
    "refused_forks": [],
    "version": 1,
    "binds": ["127.0.0.1:0"],
    "workers": 2,
    "startup_timeout": 10.0,
    "heartbeat_timeout": 0.0,
    "graceful_timeout": 5.0,
    "shutdown_timeout": 2.0,
    "respawn_backoff_max": 0.2,
    "reload_settle": 0.0,
    "quic_binds": [],
    "steering": "auto",
    "control": "",
}


class Worker:
    def __init__(self, end: ChildEnd, settings: dict) -> None:
        self.end = end
        self.settings = settings
        self.stubborn = False
        self.wakeup, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, lambda number, frame: None)

    def run(self) -> int:
        self.end.ready()
        poll = select.poll()
        listeners = [each.socket for each in self.end.listeners]
        for each in (self.end, self.wakeup, *listeners, *self.end.datagrams):
            poll.register(each, select.POLLIN)
        datagrams = {each.fileno(): each for each in self.end.datagrams}
        accept = {each.socket.fileno(): each.socket for each in self.end.listeners}
        interval = self.settings["heartbeat_timeout"] * 1000 / 8 or None
        while True:
            self.end.row.beat(time.monotonic_ns())
            for fd, _ in poll.poll(interval):
                if fd in accept:
                    self.serve(accept[fd])
                elif fd in datagrams:
                    self.echo(datagrams[fd])
                elif fd == self.end.fileno():
                    return 0
                elif {signal.SIGTERM, signal.SIGQUIT} & set(os.read(fd, 100)):
                    self.end.stopping()
                    if not self.stubborn:
                        for each in self.end.datagrams:
                            self.echo(each)
                        return 0

    def echo(self, sock: DatagramSocket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, address = sock.receive_from(1500)
                answer = {
                    "id": Layout.of(self.end.secret)
                    .connection_id(self.end.lane, os.urandom(6))
                    .hex(),
                    "lane": self.end.lane,
                    "owned": [lane for lane in range(256) if self.end.board.owns_lane(lane)],
                    "secret": self.end.secret.hex(),
                    "generation": self.end.generation,
                    "pid": os.getpid(),
                    "datagram": data[-8:].hex(),
                }
                sock.socket.sendto(json.dumps(answer).encode(), address)

    def serve(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:  # a sibling was faster
            return
        with connection:
            connection.setblocking(True)
            command = connection.makefile().readline().strip()
            connection.sendall(json.dumps(self.answer(command)).encode() + b"\n")
        if command == "hang":
            while True:
                signal.pause()

    def answer(self, command: str) -> dict:
        if command == "stubborn":
            self.stubborn = True
        if command == "reload":
            self.end.reload("it was told to")
        return {
            "number": self.end.number,
            "slot": self.end.slot,
            "generation": self.end.generation,
            "pid": os.getpid(),
            "version": self.settings["version"],
            "title": Path("/proc/self/cmdline").read_bytes().strip(b"\0").decode(),
            "environ": dict(os.environ),
            "descriptors": sorted(describe_descriptors()),
        }


def describe_descriptors() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        # The one that listed the directory is gone.
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{name}").partition(":")[0])
    return found


def run(end: ChildEnd, settings: dict) -> int:
    match settings["mode"]:
        case "fail":
            end.failed("no module named app", "Traceback: it is not there")
            return 3
        case "raise":
            raise RuntimeError("broken worker")
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "never ready":
            signal.pause()
        case "exit":
            sys.exit(7)
    return Worker(end, settings).run()


def refuse_forks(refused: list[int], fork: Callable[[], int] = os.fork) -> None:
    """Let the system refuse the first, second … fork of this process."""
    attempts = count(1)

    def maybe() -> int:
        if next(attempts) in refused:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    os.fork = maybe


def load() -> Plan:
    settings = DEFAULTS | json.loads(Path(sys.argv[1], "plan.json").read_text())
    if settings["refused_forks"]:
        refuse_forks(settings["refused_forks"])
    if settings["mode"] == "bad plan":
        raise PlanError("the plan is bad")
    if settings["mode"] == "surprise":
        raise ZeroDivisionError
    if settings["mode"] == "orphan":
        if not (pid := os.fork()):
            os._exit(3)
        print(f"orphan pid={pid}", file=sys.stderr, flush=True)
        raise PlanError("there is an orphan now")
    return Plan(
        run=lambda end: run(end, settings),
        application="app:app",
        binds=tuple(Bind(text, protocols=("HTTP/1.1",)) for text in settings["binds"]),
        backlog=64,
        unix_mode=None,
        workers=settings["workers"],
        startup_timeout=settings["startup_timeout"],
        heartbeat_timeout=settings["heartbeat_timeout"],
        graceful_timeout=settings["graceful_timeout"],
        shutdown_timeout=settings["shutdown_timeout"],
        respawn_backoff_max=settings["respawn_backoff_max"],
        reload_settle=settings["reload_settle"],
        quic_binds=tuple(Bind(text, True, ("HTTP/3",)) for text in settings["quic_binds"]),
        steering=settings["steering"],
        control=settings["control"],
    )


def main() -> int:
    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(message)s")
    try:
        return run_alone(load()) if "alone" in sys.argv else Master(load).run()
    except (PlanError, ListenError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
