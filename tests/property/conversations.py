"""What clients of HTTP/2 may say, and what they may not, as bytes: from a source of randomness."""

from __future__ import annotations

from random import Random

from hpack import Encoder

from tests.support import frames
from tests.support.frames import GET, POST, PREFACE

FIELDS = [
    (b"x-a", b"1"),
    (b"x-a", b"2"),
    (b"cookie", b"a=b"),
    (b"priority", b"u=1, i"),
    (b"te", b"trailers"),
    (b"x-long", b"y" * 300),
    (b"accept", b"*/*"),
]
WRONG = [
    (b"X-A", b"1"),
    (b"connection", b"close"),
    (b"x-a", b"\0"),
    (b":late", b"1"),
    (b"content-length", b"7"),
    (b"content-length", b"x"),
    (b"expect", b"magic"),
    (b"host", b"y"),
    (b"", b""),
]
IDS = [1, 1, 1, 3, 3, 5, 7, 9, 11]
ODD_IDS = [0, 2, 4, 2**31 - 1]


class Conversation:
    """A client that keeps, more or less, to the order of things."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.encoder = Encoder()
        self.next = 1
        self.open: list[int] = []

    def once(self, chance: float) -> bool:
        return self.random.random() < chance

    def some_id(self) -> int:
        if self.once(0.01):
            return self.random.choice(ODD_IDS)
        return self.random.choice(self.open or [1]) if self.once(0.97) else self.random.choice(IDS)

    def padding(self) -> int | None:
        return self.random.choice([None, None, None, 0, 1, 40])

    def head(self) -> bytes:
        choice = self.random
        id = self.next if self.once(0.99) else self.some_id()
        self.next = max(self.next, id + 2 + 2 * (id + 1) % 2)
        end = self.once(0.5)
        fields = [*(GET if end else POST), *choice.sample(FIELDS, choice.randint(0, 4))]
        if self.once(0.15):
            fields.insert(choice.randint(0, len(fields)), choice.choice(WRONG))
        if self.once(0.05):
            fields.remove(choice.choice(fields))
        if not end:
            self.open.append(id)
        return self.section(id, fields, end=end)

    def section(self, id: int, fields: list, *, end: bool) -> bytes:
        block = frames.block(fields, self.encoder)
        priority = (self.random.choice(IDS), 9, self.once(0.5)) if self.once(0.1) else None
        if self.once(0.01):
            block = self.random.randbytes(9)
        if self.once(0.7):
            padding = self.padding()
            return frames.headers(id, block, end=end, padding=padding, priority=priority)
        cuts = sorted(self.random.randint(0, len(block)) for _ in range(self.random.randint(1, 3)))
        parts = [block[a:b] for a, b in zip([0, *cuts], [*cuts, len(block)], strict=True)]
        data = frames.headers(id, parts[0], end=end, whole=False, priority=priority)
        for part in parts[1:-1]:
            data += frames.continuation(id, part, whole=False)
        if self.once(0.02):
            data += frames.ping()
        return data + frames.continuation(id, parts[-1])

    def data(self) -> bytes:
        if not self.open and self.once(0.98):
            return self.head()
        id = self.some_id()
        end = self.once(0.4)
        if end and id in self.open:
            self.open.remove(id)
        content = b"x" * self.random.choice([0, 1, 3, 50])
        return frames.data(id, content, end=end, padding=self.padding())

    def trailers(self) -> bytes:
        if not self.open and self.once(0.98):
            return self.head()
        id = self.some_id()
        if id in self.open:
            self.open.remove(id)
        return self.section(id, self.random.sample(FIELDS, 2), end=self.once(0.9))

    def control(self) -> bytes:
        choice = self.random.choice
        id = self.some_id()
        increment = choice([1, 100, 0, 2**30, 2**31 - 1]) if self.once(0.1) else 7
        payload = self.random.randbytes(choice([0, 4, 5, 8, 9]))
        return choice(
            [
                frames.ping(self.random.randbytes(8)),
                frames.ping(ack=True),
                frames.settings({choice([1, 3, 6, 9, 77]): choice([0, 1, 100, 4096])}),
                frames.settings({4: choice([65_535, 100_000])}),
                frames.settings({2: 0, 5: choice([16_384] * 9 + [20_000, 5])}),
                frames.settings(ack=True),
                frames.window_update(id, increment),
                frames.window_update(0, 5),
                frames.priority(id, choice(IDS), 9, self.once(0.3)),
                frames.priority_update(choice(IDS), choice([b"u=1", b"i", b"\xff"])),
                frames.frame(0x77, payload, flags=0xFF, stream=id),
                frames.rst(id) if self.once(0.5) else b"",
                frames.goaway(0, 0, b"bye") if self.once(0.2) else b"",
                frames.frame(choice(range(12)), payload, flags=choice([0, 1, 4, 8, 32]), stream=id)
                if self.once(0.1)
                else b"",
            ]
        )

    def say(self, length: int) -> bytes:
        said = PREFACE + frames.settings({3: 10} if self.once(0.5) else {})
        if self.once(0.02):
            said = said.replace(b"2.0", b"2.1")
        ways = [self.head, self.head, self.data, self.data, self.trailers, self.control]
        return said + b"".join(self.random.choice(ways)() for _ in range(length))


def conversation(random: Random) -> bytes:
    return Conversation(random).say(random.randint(1, 25))


def mutated(random: Random, data: bytes) -> bytes:
    """With a few octets changed, left out or put in."""
    octets = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(octets))
        match random.randrange(3):
            case 0:
                octets[at] = random.randrange(256)
            case 1:
                del octets[at : at + random.randint(1, 12)]
            case _:
                octets[at:at] = random.randbytes(random.randint(1, 12))
        if not octets:
            break
    return bytes(octets)
