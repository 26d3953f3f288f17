"""Reads the value of one option from text or TOML, or writes it down again.

Every reader raises ValueError with the half of a sentence that says what is wrong and what is
accepted; the caller puts in front of it where the value came from.
"""

import re
from typing import TypeVar

from tricorn.forms import PEER, Form, Kind

Value = bool | int | float | str | tuple[str, ...] | None
Number = TypeVar("Number", int, float)

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
SECONDS_IN = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
BYTES_IN = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

# Patterns are compiled where they are used: a start needs few of them, and each takes 0.3 ms.
WHOLE_NUMBER = r"-?[0-9]{1,18}"
DURATION = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?(ms|s|m|h|d|)"
SIZE = r"(?i:([0-9]{1,18}) ?([kmg]?)(?:i?b)?)"
OCTAL_DIGITS = r"(?:0o)?([0-7]{1,6})"
FIELD_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC9110§5.6.2
FIELD_VALUE = r"[\t\x20-\x7e]*"  # RFC9110§5.5, without the obsolete octets
HOST_PORT = r"(\[[0-9A-Fa-f:.]+(?:%[^]\s]+)?\]|[^][:/\s]*)(?::([0-9]{1,5}))?"

# The connection itself says what frames a response (RFC9112§6): a second, fixed statement
# would let a client read the next response out of step.
FRAMING = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
ESCAPED = {each: f"\\u{each:04x}" for each in (*range(32), 127)} | {34: '\\"', 92: "\\\\"}
ADDRESSES = "HOST:PORT, [V6]:PORT, :PORT, HOST, unix:PATH, fd://N, systemd: or systemd:NAME"


def read_text(form: Form, text: str) -> Value:
    """The value that a flag or a variable spells."""
    for word, value in form.words:
        if text.lower() == word:
            return value

    match form.kind:
        case Kind.FLAG:
            return _flag(text)
        case Kind.CHOICE:
            return _choice(form, text)
        case Kind.COUNT:
            return _count(form, text)
        case Kind.SECONDS:
            return _seconds(form, text)
        case Kind.BYTES:
            return _size(form, text)
        case Kind.OCTAL:
            return _octal(form, text)
        case Kind.ADDRESS:
            return _address(text)
        case Kind.FIELD_LINE:
            return _field_line(text)
        case Kind.APPLICATION:
            return _application(text)
        case Kind.PREFIX:
            return _prefix(text)
        case Kind.PEER:
            return _peer(text)
        case Kind.TEXT | Kind.SECRET:
            return _plain(text)


def read_toml(form: Form, raw: object) -> Value:
    """The value that a TOML value spells; numbers and booleans need not be text there."""
    match form.kind, raw:
        case Kind.FLAG, bool():
            return raw
        case Kind.FLAG, _:
            pass  # A quoted "no" is a mistake to point out, not to guess at.
        case _, str():
            return read_text(form, raw)
        case _, bool():
            pass  # Python takes it for an int.
        case Kind.COUNT | Kind.BYTES, int():
            return _within(form, raw, str(raw))
        case Kind.SECONDS, int() | float():
            return _within(form, float(raw), str(raw))
        case Kind.CHOICE, int() | float():
            return read_text(form, str(raw))
        case _:
            pass  # 0o22 arrives as 18, and so would a forgotten 0o: octal digits must be text.

    numeric = form.kind in (Kind.FLAG, Kind.COUNT, Kind.SECONDS, Kind.BYTES)
    found = "this value" if form.kind is Kind.SECRET else repr(raw)
    raise ValueError(f"{found} is not {accepted(form)}" + ("" if numeric else ", in quotes"))


def toml(form: Form, value: Value) -> str:
    """`value` as a TOML literal that read_toml() reads back. TOML cannot spell None."""
    match value:
        case tuple():
            return f"[{', '.join(quoted(each) for each in value)}]"
        case bool():
            return str(value).lower()
        case int() if form.kind is Kind.OCTAL:
            return quoted(f"{value:03o}")
        case int():
            words = [word for word, meant in form.words if meant == value]
            return quoted(words[0]) if words else str(value)
        case float():
            return repr(value)
        case _:
            return quoted(value or "")


def quoted(text: str) -> str:
    """`text` as a TOML basic string."""
    return f'"{text.translate(ESCAPED)}"'


def shown(form: Form, value: Value) -> str:
    """`value` as a person reads it, with its unit."""
    match value:
        case None | "" | ():
            return "not set"
        case tuple():
            return ", ".join(value)
        case bool():
            return "on" if value else "off"
        case int() | float() if form.kind in (Kind.SECONDS, Kind.BYTES):
            return _amount(form, value)
        case int() if form.kind is Kind.OCTAL:
            return f"{value:03o}"
        case _:
            return str(value)


def accepted(form: Form) -> str:
    """What may be written, for an error to say."""
    match form.kind:
        case Kind.FLAG:
            return "true or false"
        case Kind.CHOICE:
            return f"one of {', '.join(form.choices)}"
        case Kind.COUNT:
            words = "".join(f", or {word}" for word, _ in form.words)
            return f"a whole number {_range(form)}{words}"
        case Kind.SECONDS:
            return f"a time such as 30, 1.5, 500ms, 2m or 24h, {_range(form)}"
        case Kind.BYTES:
            return f"a size such as 65536, 64k or 16MiB, {_range(form)}"
        case Kind.OCTAL:
            return f"octal digits such as 022, at most {int(form.maximum):o}"
        case Kind.ADDRESS:
            return f"an address ({ADDRESSES})"
        case Kind.FIELD_LINE:
            return "a field such as X-Frame-Options: DENY"
        case Kind.APPLICATION:
            return "an application such as module:app"
        case Kind.PREFIX:
            return "a path that starts with /"
        case Kind.PEER:
            return "an address, a network such as 10.0.0.0/8, unix or *"
        case Kind.TEXT | Kind.SECRET:
            return "text"


def _range(form: Form) -> str:
    if form.maximum == float("inf"):
        return f"of {_amount(form, form.minimum)} or more"
    return f"from {_amount(form, form.minimum)} to {_amount(form, form.maximum)}"


def _amount(form: Form, number: float) -> str:
    if form.kind is Kind.SECONDS:
        return f"{number:.12g} s"
    if form.kind is Kind.BYTES:
        for unit, name in ((1024**2, "MiB"), (1024, "KiB")):
            if number and number % unit == 0:
                return f"{number // unit:.0f} {name}"
        return f"{number:.0f} bytes" if number else "0"
    return f"{number:.0f}"


def _within(form: Form, number: Number, text: str) -> Number:
    if form.minimum <= number <= form.maximum:
        return number
    raise _refusal(form, text)


def _refusal(form: Form, text: str) -> ValueError:
    return ValueError(f"{text!r} is not {accepted(form)}")


def _flag(text: str) -> bool:
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise ValueError(f"{text!r} is not one of 1, true, yes, on, 0, false, no, off")


def _choice(form: Form, text: str) -> str:
    for choice in form.choices:
        if text.lower() == choice.lower():
            return choice
    raise _refusal(form, text)


def _count(form: Form, text: str) -> int:
    if not re.fullmatch(WHOLE_NUMBER, text):
        raise _refusal(form, text)
    return _within(form, int(text), text)


def _seconds(form: Form, text: str) -> float:
    parts = re.fullmatch(DURATION, text)
    if not parts:
        raise _refusal(form, text)
    return _within(form, float(parts[1]) * SECONDS_IN[parts[2]], text)


def _size(form: Form, text: str) -> int:
    parts = re.fullmatch(SIZE, text)
    if not parts:
        raise _refusal(form, text)
    return _within(form, int(parts[1]) * BYTES_IN[parts[2].lower()], text)


def _octal(form: Form, text: str) -> int:
    parts = re.fullmatch(OCTAL_DIGITS, text)
    if not parts:
        raise _refusal(form, text)
    return _within(form, int(parts[1], 8), text)


def _plain(text: str) -> str:
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("the value contains a NUL or is not valid UTF-8")
    return text


def _address(text: str) -> str:
    """Says no to what cannot be an address; whether one can listen there shows when it is tried."""
    if text.startswith(("unix:", "systemd:")) and text != "unix:":
        return _plain(text)
    if text.startswith("fd://") and text[5:].isdecimal():
        return text
    if text.isdecimal():
        raise ValueError(f"{text!r} is not an address; for a port on every interface write :{text}")

    parts = re.fullmatch(HOST_PORT, text)
    if not text or not parts or int(parts[2] or 0) > 65535:
        raise ValueError(f"{text!r} is not an address ({ADDRESSES})")
    return text


def _field_line(text: str) -> str:
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(FIELD_NAME, name) or not re.fullmatch(FIELD_VALUE, value):
        raise ValueError(
            f"{text!r} is not a field: a name, a colon and a value of printable ASCII characters, "
            "such as X-Frame-Options: DENY"
        )
    if name.lower() in FRAMING:
        raise ValueError(f"{name} cannot be added to responses: the server itself decides it")
    return f"{name}: {value.strip()}"


def _application(text: str) -> str:
    """module:attribute, without Hypercorn's prefix."""
    prefix, _, rest = text.partition(":")
    if prefix in ("asgi", "wsgi") and ":" in rest:  # One colon: a module of that name.
        if prefix == "wsgi":
            raise ValueError(f"{text!r}: WSGI applications are not yet offered, only ASGI ones")
        text = rest

    module, colon, attribute = text.partition(":")
    if module.endswith(".py") or "/" in module:
        directory, _, file = module.rpartition("/")
        named = f"{file.removesuffix('.py')}:{attribute or 'app'}"
        where = f", with --app-dir {directory}" if directory else ""
        raise ValueError(f"{text!r} names a file, not a module; write {named}{where}")
    if attribute.endswith("()"):
        raise ValueError(f"{text!r}: for a factory leave out the parentheses and add --factory")

    names = module.split(".") + (attribute.split(".") if colon else [])
    if text and not all(each.isidentifier() for each in names):
        raise ValueError(f"{text!r} is not an application such as module:app")
    return text


def _prefix(text: str) -> str:
    if text and (not text.startswith("/") or any(each in text for each in "?#")):
        raise ValueError(f"{text!r} is not a path that starts with /")
    return _plain(text).rstrip("/")


def _peer(text: str) -> str:
    if text in ("unix", "*"):
        return text
    from ipaddress import ip_network  # 2 ms of a start that may not need it

    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}; accepted is {accepted(PEER)}") from None
    return text
