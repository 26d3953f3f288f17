"""How an option is declared: what it accepts, how it is spelled, what its help says."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

T = TypeVar("T")


class Kind(Enum):
    """How a value is written; values.py reads and writes each."""

    FLAG = "flag"
    TEXT = "text"
    SECRET = "secret"
    CHOICE = "choice"
    COUNT = "count"
    SECONDS = "seconds"
    BYTES = "bytes"
    OCTAL = "octal"
    ADDRESS = "address"
    FIELD_LINE = "field line"
    APPLICATION = "application"
    PREFIX = "prefix"
    PEER = "peer"


@dataclass(frozen=True, slots=True)
class Form:
    """What an option accepts. `words` are further spellings, each with the value it stands for."""

    kind: Kind
    metavar: str = ""
    minimum: float = 0
    maximum: float = float("inf")
    choices: tuple[str, ...] = ()
    words: tuple[tuple[str, int | str], ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """How else an option is spelled; aliases are other servers' flags, which --help leaves out."""

    short: str = ""
    aliases: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """What a field of Config carries beside its type and its default."""

    help: str
    form: Form
    names: Names
    group: str


@dataclass(frozen=True, slots=True)
class Group:
    """A section of --help and of the reference."""

    title: str

    def option(self, default: T, help: str, form: Form, names: Names | None = None) -> T:
        """A dataclass field, typed as its default so that Config reads as what it holds."""
        option = Option(help, form, names or Names(), self.title)
        shown = form.kind is not Kind.SECRET
        return field(default=default, repr=shown, metadata={"option": option})


def choice(*choices: str, words: tuple[tuple[str, str], ...] = ()) -> Form:
    return Form(Kind.CHOICE, "|".join(choices), choices=choices, words=words)


FLAG = Form(Kind.FLAG)
TEXT = Form(Kind.TEXT, "TEXT")
PATH = Form(Kind.TEXT, "PATH")
COUNT = Form(Kind.COUNT, "N")
# poll(2) takes milliseconds in a C int: no deadline may be further away than 24 days.
SECONDS = Form(Kind.SECONDS, "SECONDS", maximum=2_000_000)
SOME_SECONDS = Form(Kind.SECONDS, "SECONDS", minimum=0.1, maximum=2_000_000)
BYTES = Form(Kind.BYTES, "SIZE")
OCTAL = Form(Kind.OCTAL, "MODE", maximum=0o777)
ADDRESS = Form(Kind.ADDRESS, "ADDRESS")
PEER = Form(Kind.PEER, "ADDRESS,…")
