"""Every spelling of every option: flags, file keys, variables, and what to say of any other."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tricorn.config import OPTIONS, ConfigError
from tricorn.forms import Kind


@dataclass(frozen=True, slots=True)
class Flag:
    """What a flag means: it sets `name` to the text that follows it, or to `text` if it has one."""

    name: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A flag that says what to do with the configuration, and is no part of it."""

    name: str
    help: str
    short: str = ""
    metavar: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A flag of other servers that changes nothing here; `values` are those that it may have."""

    reason: str
    values: tuple[str, ...] | None = None


ANY: tuple[str, ...] = ()

COMMANDS = (
    Command(
        "config",
        "read options from this TOML file; otherwise from [tool.tricorn] in ./pyproject.toml, if "
        "there is such a table",
        "-c",
        "PATH",
    ),
    Command("check_config", "say whether the configuration can be used, and exit"),
    Command("print_config", "print the configuration as a TOML file, and exit"),
    Command("version", "print the version, and exit"),
    Command("help", "print this, and exit", "-h"),
)

# Uvicorn's flags for an address: each stands for a --bind.
SUGAR = {
    "host": "HOST:PORT",
    "port": "HOST:PORT",
    "uds": "unix:PATH",
    "fd": "fd://N",
}

SHORTHANDS = {
    "--access-log": Flag("access_logfile", "-"),
    "--no-access-log": Flag("access_logfile", ""),
    "--no-proxy-headers": Flag("proxy_headers", "off"),
    "--ws-per-message-deflate": Flag("websocket_per_message_deflate"),  # Uvicorn's takes a value
}

IGNORED = {
    "--http": Ignored("the server has its own HTTP/1.1", ANY),
    "--ws": Ignored("the server has its own choice of WebSocket library", ANY),
    "--ws-max-queue": Ignored("what an application does not take holds back its client", ANY),
    "--interface": Ignored("the server sees for itself", ("auto", "asgi3", "asgi2")),
    "--use-colors": Ignored("the log has no colours"),
    "--no-use-colors": Ignored("the log has no colours anyway"),
    "--reset-contextvars": Ignored("every request has a context of its own anyway"),
    "--worker-tmp-dir": Ignored("workers need no temporary files", ANY),
}

# Hypercorn's names for what later versions will do: better said so than sent to a near miss.
LATER = (
    r"alt_svc_headers|debug"
    r"|limit_concurrency|log_?config(_dict)?|max_app_queue_size|preload"
    r"|verify_flags|wsgi_max_body_size"
    r"|(use_)?reload(er)?|reload_(dir|include|exclude|delay)"
)

# What Kubernetes sets in every pod of a namespace that has a Service called tricorn.
INJECTED = r"TRICORN_(SERVICE_(HOST|PORT(_\w+)?)|PORT_[0-9]+_[A-Z]+(_(PROTO|PORT|ADDR))?)"


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    return "TRICORN_" + name.upper()


def injected(variable: str, text: str) -> bool:
    """Whether the operator cannot help this variable."""
    return bool(re.fullmatch(INJECTED, variable)) or (variable == "TRICORN_PORT" and "://" in text)


def unknown(spelled: str, bare: str, near: Mapping[str, str], where: str = "") -> ConfigError:
    """The error for a spelling that is none; `near` says what to suggest for what."""
    if re.fullmatch(LATER, bare) or re.fullmatch(LATER, bare.lstrip("-").replace("-", "_")):
        return ConfigError(f"{where}{spelled} is not offered by this version; leave it out")
    from difflib import get_close_matches  # Only a mistake needs it.

    found = get_close_matches(bare, near, n=1, cutoff=0.7)
    advice = f"did you mean {near[found[0]]}?" if found else "server --help lists the options"
    return ConfigError(f"{where}{spelled} is not an option; {advice}")


def _flags() -> Iterator[tuple[str, Flag]]:
    for name, option in OPTIONS.items():
        if option.form.kind is Kind.FLAG:
            for spelled in (flag_of(name), option.names.short):
                yield spelled, Flag(name, "on")
            yield flag_of(f"no_{name}"), Flag(name, "off")
        elif option.form.kind is not Kind.APPLICATION:
            for spelled in (flag_of(name), option.names.short, *option.names.aliases):
                yield spelled, Flag(name)

    for command in COMMANDS:
        for spelled in (flag_of(command.name), command.short):
            yield spelled, Flag(command.name, None if command.metavar else "on")
    for name in SUGAR:
        yield flag_of(name), Flag(name)
    for spelled, ignored in IGNORED.items():
        yield spelled, Flag("ignored", "" if ignored.values is None else None)
    yield from SHORTHANDS.items()


def _keys() -> Iterator[tuple[str, str]]:
    for name, option in OPTIONS.items():
        yield name, name
        for key in option.names.keys:
            yield key, name


def _near() -> Iterator[tuple[str, str]]:
    """What people write in a file or a variable, beside the keys: flags of other servers."""
    yield from KEYS.items()
    for spelled, flag in FLAGS.items():
        if flag.name in OPTIONS and spelled.startswith("--"):
            yield spelled[2:].replace("-", "_"), flag.name
    for name in SUGAR:
        yield name, "bind"


FLAGS: Mapping[str, Flag] = {spelled: flag for spelled, flag in _flags() if spelled}
KEYS: Mapping[str, str] = dict(_keys())
NEAR: Mapping[str, str] = dict(_near())
