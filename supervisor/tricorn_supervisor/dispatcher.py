"""Routes datagrams where the kernel cannot: one process reads them, and sorts them by lane.

It is a child of the master with no life of its own. Its descriptors are those of its fork, so that
a further lane makes another dispatcher; the tables come up to date by a line on its channel, whose
end is its end. What it has not read waits in the sockets, which are the master's, for another.
"""

import json
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tricorn_supervisor.datagrams import Address, is_located, pack_address, receive_located
from tricorn_supervisor.groups import RelayedGroup
from tricorn_supervisor.leases import Table
from tricorn_supervisor.steering import Layout, route

BATCH = 64  # datagrams of one socket before the others, and the channel, have their turn
LARGEST = 64 * 1024
DONE = b"."  # the answer to a line: from now on every datagram goes by it


def encode(tables: Sequence[Table]) -> bytes:
    """A line for the channel: one table for each group, in order."""
    return json.dumps([(table.live, table.owned) for table in tables]).encode() + b"\n"


def dispatch(
    channel: socket.socket, layout: Layout, groups: Sequence[RelayedGroup], tables: Sequence[Table]
) -> int:
    """Until the master closes the channel. Blocks in one wait."""
    relays = [
        Relay(layout, group.first, tuple(group.outboxes), table.live, frozenset(table.owned))
        for group, table in zip(groups, tables, strict=True)
    ]
    sorting = {relay.source.fileno(): relay for relay in relays}
    lines = Lines(channel)
    poll = select.poll()
    for each in (channel, *(relay.source for relay in relays)):
        poll.register(each, select.POLLIN)
    while not lines.ended:
        for number, _ in poll.poll():
            if relay := sorting.get(number):
                relay.work()
                continue
            for line in lines.read():
                for relay, (live, owned) in zip(relays, json.loads(line), strict=True):
                    relay.live, relay.owned = tuple(live), frozenset(owned)
                with suppress(OSError):  # a master that is gone is noticed by the next read
                    channel.send(DONE)
    return 0


@dataclass(slots=True, eq=False)
class Relay:
    """One address: from its socket to the lanes."""

    layout: Layout
    source: socket.socket
    outboxes: tuple[socket.socket, ...]
    live: tuple[int, ...]
    owned: frozenset[int]
    receive: Callable[[int], tuple[bytes, Address]] = field(init=False)

    def __post_init__(self) -> None:
        source = self.source
        self.receive = partial(receive_located, source) if is_located(source) else source.recvfrom

    def work(self) -> None:
        for _ in range(BATCH):
            try:
                data, address = self.receive(LARGEST)
            except BlockingIOError:
                return
            except ConnectionError:  # some systems tell of an ICMP message, about an answer, here
                continue
            lane = route(self.layout, self.live, self.owned, data)
            # A worker that does not keep up loses datagrams, as it would at a socket of its own.
            with suppress(OSError):
                self.outboxes[lane].send(pack_address(address) + data)


class Lines:
    """Whole lines from a channel that does not block."""

    def __init__(self, channel: socket.socket) -> None:
        self.ended = False
        self._channel = channel
        self._rest = b""

    def read(self) -> list[bytes]:
        try:
            data = self._channel.recv(LARGEST)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines
