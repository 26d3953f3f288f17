"""Reads the configuration: command line over environment over file over default."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tricorn import envfile
from tricorn.config import DEFAULTS, LOG_PRESETS, OPTIONS, Config, ConfigError
from tricorn.forms import Form, Kind
from tricorn.spellings import (
    FLAGS,
    IGNORED,
    KEYS,
    NEAR,
    SUGAR,
    flag_of,
    injected,
    unknown,
    variable_of,
)
from tricorn.values import Value, read_text, read_toml

Action = Literal["serve", "check", "print", "help", "version"]
Given = Mapping[str, Sequence[tuple[str, str]]]  # option → each (flag as spelled, its text)
Values = dict[str, Any]  # option → value, of the type that Config declares
SERVER_ID = r"(0x)?([0-9a-f]{2}){1,12}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, where it came from, and what the operator wants done with it.

    `source` is the file that was read. `notes` are sentences to log, about flags that change
    nothing; `variables` are those of --env-file, for the application. For "help" and "version"
    nothing is read and `config` holds the defaults.
    """

    config: Config
    notes: tuple[str, ...] = ()
    source: Path | None = None
    action: Action = "serve"
    variables: Mapping[str, str] = field(default_factory=dict)


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Loaded:
    """What `argv` (without the program's name) and `environ` ask for; raises ConfigError.

    Nothing is remembered: a second call reads the file again.
    """
    given = _command_line(argv)
    action = _action(given)
    if action in ("help", "version"):
        return Loaded(DEFAULTS, action=action)

    source, table = _file(given, environ)
    values = _collect(given, table, source, environ)
    variables = envfile.read(values.get("env_file", ()))
    if variables:
        values = _collect(given, table, source, {**variables, **environ})

    config = replace(DEFAULTS, **values)
    if not config.application and action != "print":
        raise ConfigError("no application is named; write for example: server module:app")
    for mistake in _mistakes(config):
        raise ConfigError(mistake)
    return Loaded(config, tuple(_notes(given)), source, action, variables)


def _collect(
    given: Given, table: Mapping[str, Any], source: Path | None, environ: Mapping[str, str]
) -> Values:
    values = _from_table(table, source)
    values |= _from_environment(environ)
    values |= _from_flags(given)
    return values | _from_platform(given, environ, values)


def _command_line(argv: Sequence[str]) -> Given:
    """What was given for each option, the positional argument as "application"."""
    given: dict[str, list[tuple[str, str]]] = {}
    words = list(reversed(argv))
    while words:
        word = words.pop()
        if word == "--":
            continue  # No application begins with a dash, so nothing needs its protection.
        if not word.startswith("-") or word == "-":
            given.setdefault("application", []).append(("the application", word))
            continue

        spelled, text = _split(word)
        flag = FLAGS.get(spelled)
        if not flag:
            raise unknown(spelled, spelled, {each: each for each in FLAGS})
        if flag.name in ("help", "version"):
            return {flag.name: [(spelled, "on")]}
        if flag.text is not None:
            if text is not None:
                raise ConfigError(f"{spelled} takes no value")
            text = flag.text
        elif text is None and _may_stand_alone(flag.name, words):
            text = "on"
        elif text is None:
            if not words or _split(words[-1])[0] in FLAGS:
                raise ConfigError(f"{spelled} needs a value")
            text = words.pop()
        given.setdefault(flag.name, []).append((spelled, text))
    return given


def _may_stand_alone(name: str, words: Sequence[str]) -> bool:
    """Whether it is a choice that other servers have as a flag, and no choice follows."""
    form = OPTIONS[name].form if name in OPTIONS else None
    if form is None or form.kind is not Kind.CHOICE or "on" not in dict(form.words):
        return False
    return not words or words[-1] not in form.choices


def _split(word: str) -> tuple[str, str | None]:
    """The flag and the value that is joined to it, as in --workers=4 and -w4."""
    if not word.startswith("--"):
        return word[:2], word[2:] or None
    spelled, equals, text = word.partition("=")
    return spelled, text if equals else None


def _action(given: Given) -> Action:
    if "help" in given:
        return "help"
    if "version" in given:
        return "version"
    if "print_config" in given:
        return "print"
    return "check" if "check_config" in given else "serve"


def _file(given: Given, environ: Mapping[str, str]) -> tuple[Path | None, Mapping[str, Any]]:
    """The file that is named, or a pyproject.toml that has a table for us, and its options."""
    project = Path("pyproject.toml")
    named = given["config"][-1][1] if "config" in given else environ.get(variable_of("config"))
    if not named and _absent(project):
        return None, {}

    path = Path(named or project)
    table = _toml(path)
    if path.name != project.name:
        return path, table
    tools = table.get("tool")
    if isinstance(tools, dict) and isinstance(tools.get("tricorn"), dict):
        return path, tools["tricorn"]
    if named:
        raise ConfigError(f"{path}: there is no table [tool.tricorn]")
    return None, {}


def _absent(path: Path) -> bool:
    """Whether there is surely no such file; if that cannot be known, reading it says why."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _toml(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".py" or str(path).startswith(("file:", "python:")):
        raise ConfigError(f"{path}: a configuration is a TOML file; Python is not read")
    import tomllib  # 3 ms of a start that may not need it

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the file cannot be read: {error.strerror}") from None
    except ValueError as error:  # Not TOML, or not UTF-8.
        raise ConfigError(f"{path}: the file is not valid TOML: {error}") from None


def _from_table(table: Mapping[str, Any], path: Path | None) -> Values:
    values: Values = {}
    for key, raw in table.items():
        name = KEYS.get(key)
        if not name:
            raise unknown(key, key, NEAR, where=f"{path}: ")
        if name in values:
            raise ConfigError(f"{path}: {key} sets {name} a second time; remove one of them")
        parts = raw if _many(name) and isinstance(raw, list) else [raw]
        values[name] = _read(name, parts, f"{path}: {key}", read_toml)
    return values


def _from_environment(environ: Mapping[str, str]) -> Values:
    values: Values = {}
    for variable, text in environ.items():
        bare = variable.removeprefix("TRICORN_").lower()
        if not variable.startswith("TRICORN_") or bare == "config" or injected(variable, text):
            continue
        if variable != variable_of(bare) or bare not in OPTIONS:
            raise unknown(variable, bare, {each: variable_of(name) for each, name in NEAR.items()})

        separator = "\n" if OPTIONS[bare].form.kind is Kind.FIELD_LINE else ","
        parts = [part.strip() for part in text.split(separator)] if _many(bare) else [text]
        values[bare] = _read(bare, [part for part in parts if part or not _many(bare)], variable)
    return values


def _from_flags(given: Given) -> Values:
    if len(named := given.get("application", ())) > 1:
        raise ConfigError(f"{named[1][1]!r} is one argument too many: there is one application")
    values: Values = {}
    for name, each in given.items():
        if name in OPTIONS:
            texts = [text for _, text in each]
            if _many(name) and OPTIONS[name].form.kind in (Kind.CHOICE, Kind.PEER):
                texts = [part.strip() for text in texts for part in text.split(",")]
            values[name] = _read(name, texts, each[-1][0])
    return values


def _from_platform(given: Given, environ: Mapping[str, str], explicit: Values) -> Values:
    """The address that other servers' flags or $PORT name, and what other platforms set."""
    values: Values = {}
    port = environ.get("PORT")
    if any(name in given for name in SUGAR):
        values["bind"] = _address(given, port or "8000")
    elif port and "bind" not in explicit:
        values["bind"] = _read("bind", [f"0.0.0.0:{port}"], "PORT")
    if "forwarded_allow_ips" not in explicit and (peers := environ.get("FORWARDED_ALLOW_IPS")):
        parts = [part.strip() for part in peers.split(",")]
        values["forwarded_allow_ips"] = _read("forwarded_allow_ips", parts, "FORWARDED_ALLOW_IPS")
    if "workers" not in explicit and (workers := environ.get("WEB_CONCURRENCY")):
        values["workers"] = _read("workers", [workers], "WEB_CONCURRENCY")
    return values


def _address(given: Given, port: str) -> Value:
    """The one address that --host and --port, --uds or --fd stand for."""
    flags = {name: given[name][-1] for name in SUGAR if name in given}
    named, (flag, text) = next(reversed(flags.items()))
    if "bind" in given:
        raise ConfigError(f"{flag} and --bind exclude each other; write --bind {SUGAR[named]}")
    if len(flags) > 1 and named in ("uds", "fd"):
        both = " and ".join(flag_of(each) for each in flags)
        raise ConfigError(f"{both} exclude each other; for two addresses write --bind twice")

    _, host = flags.get("host", ("", "127.0.0.1"))
    _, port = flags.get("port", ("", port))
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    address = {"uds": f"unix:{text}", "fd": f"fd://{text}"}.get(named, f"{host}:{port}")
    return _read("bind", [address], flag)


def _read(
    name: str, texts: Sequence[Any], source: str, read: Callable[[Form, Any], Value] = read_text
) -> Value:
    """The value of option `name`; `source` begins the error."""
    try:
        values = [read(OPTIONS[name].form, text) for text in texts]
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
    return tuple(str(value) for value in values) if _many(name) else values[-1]


def _many(name: str) -> bool:
    return isinstance(getattr(DEFAULTS, name), tuple)


def _mistakes(config: Config) -> Iterator[str]:
    """What is wrong with options together, each valid alone."""
    if not config.certfile:
        for name in ("keyfile", "keyfile_password", "ca_certs", "insecure_bind", "quic_bind"):
            if getattr(config, name):
                yield f"{name} is set without certfile: add --certfile, or leave {name} out"
    verified = config.verify_mode != "CERT_NONE"
    if verified and not config.ca_certs:
        yield f"verify_mode {config.verify_mode} needs authorities to check against: add --ca-certs"
    if config.ca_certs and not verified:
        yield "ca_certs is set, but no client is asked: add --verify-mode CERT_REQUIRED"

    if config.quic_server_id and not re.fullmatch(SERVER_ID, config.quic_server_id):
        yield (
            f"quic_server_id {config.quic_server_id!r} is no server ID: write 1 to 12 octets in "
            "lower-case hexadecimal digits, as in 0x0123456789abcdef"
        )
    if config.quic_bind and verified:
        # aioquic can ask for a certificate, but does not refuse a client without one.
        yield "verify_mode does not hold over QUIC: leave out --quic-bind, or --verify-mode"

    addresses = config.bind + config.insecure_bind
    if not addresses:
        yield "there is no address to listen on: add --bind"
    for address in {each for each in addresses if addresses.count(each) > 1}:
        yield f"the address {address} is given twice: leave one out"

    if not config.workers:
        for name in ("health_bind", "statsd_host", "drain_delay", "control_socket"):
            if getattr(config, name):
                yield f"{name} needs a master: add --workers 1, or leave {name} out"

    if not config.alpn:
        yield "alpn names no version of HTTP: leave it out, or name http/1.1"
    for name in config.server_name:
        if not _host(name):
            yield f"server_name {name!r} is no host name: write it without scheme, port and path"

    if config.limit_request_line > config.limit_request_head:
        yield "limit_request_line is larger than limit_request_head: raise --limit-request-head"
    if 0 < config.heartbeat_timeout < 2:
        yield "heartbeat_timeout is less than 2 s: workers beat once a second; raise it, or 0 = off"
    if not config.workers:
        for name in ("max_requests", "workers_lifetime", "workers_max_rss"):
            if getattr(config, name):
                yield f"{name} needs a master that replaces workers: leave out --workers 0"
    if config.max_requests_jitter and not config.max_requests:
        yield "max_requests_jitter is set without max_requests: add --max-requests"
    if config.daemon:
        for name in ("error_logfile", "access_logfile"):
            if getattr(config, name) == "-":
                yield f"{name} - is the terminal, which --daemon leaves: name a file"
    if config.access_logformat not in LOG_PRESETS and "%(" not in config.access_logformat:
        presets = ", ".join(LOG_PRESETS)
        yield f"access_logformat has no atom such as %(s)s, and is none of {presets}"


def _host(name: str) -> bool:
    """Whether it can be what is before the port of an authority."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    address = name[:1] == "[" and name[-1:] == "]"
    return name != "" and not set(name) & set(" /@" if address else " /@:[]")


def _notes(given: Given) -> Iterator[str]:
    for flag, text in given.get("ignored", ()):
        ignored = IGNORED[flag]
        if ignored.values and text not in ignored.values:
            raise ConfigError(
                f"{flag} {text} is not offered; accepted is one of {', '.join(ignored.values)}"
            )
        yield f"{flag} changes nothing here: {ignored.reason}"
