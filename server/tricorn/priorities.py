"""What peers and applications say of priorities, in the two languages that they have for it.

The Priority field (RFC9218) is parsed here, a dependency (RFC7540§5.3) comes in a frame. What
follows from them is the scheduler's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tricorn.fields import Memory

URGENCIES = 8

REMEMBERED_VALUES = 64
REMEMBERED_VALUE_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Priority:
    """What RFC9218§4 lets a client or an application say of a response."""

    urgency: int = 3
    """From 0, the most urgent, to 7."""
    incremental: bool = False
    """The client can use the response in parts, as they arrive."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """What RFC7540§5.3 lets a client say of a stream; the default is that of §5.3.5."""

    parent: int = 0
    weight: int = 16
    """1 to 256: one more than the octet in the frame."""
    exclusive: bool = False


Preference = Priority | Dependency

DEFAULT = Priority()
UNSTATED = Priority(incremental=True)
"""For the streams of a client that never speaks of priorities.

Taking such a client for one that wants its responses one after another, as the defaults say, lets
one large response hold up everything behind it: many a client is a proxy for many others.
"""

PRIORITIES = {
    (urgency, incremental): Priority(urgency, incremental)
    for urgency in range(URGENCIES)
    for incremental in (False, True)
}


def parse_priority(value: bytes) -> Priority:
    """The Priority field's value, its lines joined by commas, or that of a PRIORITY_UPDATE.

    What RFC9218§4 does not know, or finds out of range, is ignored; so is all of a value that is
    no Dictionary of Structured Fields (RFC9651§3.2). What is ignored or absent has its default.
    """
    return override(DEFAULT, value)


def override(request: Priority, value: bytes) -> Priority:
    """The priority asked for, but for what the response's Priority field names (RFC9218§8)."""
    named = remembered.young.get(value) or remembered.recall(value)
    if named is None:
        named = named_in(value)
        if len(value) <= REMEMBERED_VALUE_LENGTH:
            remembered.keep(value, named)
    urgency, incremental = named
    return PRIORITIES[
        request.urgency if urgency is None else urgency,
        request.incremental if incremental is None else incremental,
    ]


Named = tuple[int | None, bool | None]
"""The urgency and the incremental parameter that a value names; None for one that it does not."""

remembered: Memory[bytes, Named] = Memory(REMEMBERED_VALUES)

BOOLEANS = {b"": True, b"=?1": True, b"=?0": False}


def named_in(value: bytes) -> Named:
    match = dictionary(value)
    if match is None:
        return None, None
    urgency, incremental = match.groups()
    number = int(urgency[1:]) if urgency and integer(urgency) else -1
    return number if 0 <= number < URGENCIES else None, BOOLEANS.get(incremental)


# RFC9651§3. There is one way only to match each member, so the time is in proportion to the length.
# Of two members with the same key the later one counts (§4.2.2), as it does with repeated groups.
# What Byte Sequences and Display Strings decode to is nobody's business here, nor whether they do.
KEY = rb"[a-z*][a-z0-9_\-.*]*+"
BARE_ITEM = (
    rb"(?:-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15})"
    rb"|\?[01]"
    rb"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+"
    rb'|"(?:[ !#-\[\]-~]|\\["\\])*+"'
    rb"|:[A-Za-z0-9+/=]*+:"
    rb"|@-?[0-9]{1,15}"
    rb'|%"(?:[ !#$&-~]|%[0-9a-f]{2})*+")'
)
PARAMETERS = rb"(?:; *+%b(?:=%b)?+)*+" % (KEY, BARE_ITEM)
ITEM = BARE_ITEM + PARAMETERS
INNER_LIST = rb"\( *+(?:%b(?: ++%b)*+ *+)?+\)" % (ITEM, ITEM)
VALUE = rb"(?:=(?:%b|%b))?+" % (BARE_ITEM, INNER_LIST)
KEY_END = rb"(?![a-z0-9_\-.*])"
MEMBER = rb"(?:u%b(%b)|i%b(%b)|(?![ui]%b)%b%b)%b" % (
    *(KEY_END, VALUE),
    *(KEY_END, VALUE),
    *(KEY_END, KEY, VALUE),
    PARAMETERS,
)

dictionary = re.compile(rb" *+(?:%b[ \t]*+(?:,[ \t]*+(?=[a-z*])|\Z))*[ \t]*+" % MEMBER).fullmatch
integer = re.compile(rb"=-?[0-9]++").fullmatch
