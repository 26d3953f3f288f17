"""Writes the options down for people: --help, --print-config, docs/options.md.

The page is made by `python -m tricorn.manual > docs/options.md`.
"""

from collections.abc import Iterator
from itertools import groupby
from textwrap import fill

from tricorn.config import DEFAULTS, OPTIONS, Config
from tricorn.forms import Kind, Option
from tricorn.spellings import COMMANDS, IGNORED, SHORTHANDS, SUGAR, Command, flag_of
from tricorn.values import shown, toml

USAGE = "usage: server [OPTIONS] MODULE:ATTRIBUTE"

PREFACE = """\
# Options

This page is generated: `python -m tricorn.manual > docs/options.md`.

    server [OPTIONS] MODULE:ATTRIBUTE

An option has one name and three spellings. `--graceful-timeout 30` on the command line is
`graceful_timeout = 30` in a configuration file and `TRICORN_GRACEFUL_TIMEOUT=30` in the
environment. The command line goes before the environment, the environment before the file, the
file before the default. What is not an option is an error, wherever it is written.

* **Files** are TOML: the one that `--config` or `TRICORN_CONFIG` names, otherwise the table
  `[tool.tricorn]` of `pyproject.toml` in the working directory. The application can be named there,
  too: `application = "module:app"`.
* **Times** are seconds, or have a unit: `30`, `1.5`, `500ms`, `2m`, `24h`, `1d`.
* **Sizes** are bytes, or have a unit, always a power of 1024: `65536`, `64k`, `16MiB`.
* **Modes** are octal digits, in a file in quotes: `umask = "022"`.
* **Switches** are `--factory` and `--no-factory`, `true` and `false` in a file, and one of `1`,
  `true`, `yes`, `on`, `0`, `false`, `no`, `off` in the environment.
* **Lists** are marked with \\*: the flag is repeated, a file has an array, the environment
  separates by commas, and `TRICORN_HEADER` by line ends.

The environment can also set what platforms set for any server. Each counts only where its option
is not given at all.

* `PORT=8080` stands for `--bind 0.0.0.0:8080`, and is the port of `--host`.
* `WEB_CONCURRENCY=4` stands for `--workers 4`.
* `FORWARDED_ALLOW_IPS=10.0.0.0/8` stands for `--forwarded-allow-ips 10.0.0.0/8`.

The variables that Kubernetes makes for a Service called `tricorn` (`TRICORN_SERVICE_HOST`,
`TRICORN_PORT=tcp://…`) are not mistaken for options.
"""


def usage() -> str:
    """The text of --help."""
    lines = [USAGE]
    for group, options in _groups():
        lines += ["", f"{group}:"]
        for name, option in options:
            default = shown(option.form, getattr(DEFAULTS, name))
            lines += _entry(_flags(name, option), f"{option.help} [{default}]")
    lines += ["", "Commands:"]
    for command in COMMANDS:
        lines += _entry(_command_flags(command), command.help)
    return "\n".join(lines) + "\n"


def describe(config: Config) -> str:
    """`config` as a TOML file that load() reads back; only passwords are left out."""
    lines = []
    for group, options in _groups():
        lines += [f"# {group}"]
        for name, option in options:
            value = getattr(config, name)
            if option.form.kind is Kind.SECRET:
                lines += [f"# {name} is {'set, and not shown' if value else 'not set'}"]
            elif value is None:
                lines += [f"# {name} is not set"]
            else:
                lines += [f"{name} = {toml(option.form, value)}"]
        lines += [""]
    return "\n".join(lines)


def reference() -> str:
    """The Markdown page docs/options.md."""
    lines = [PREFACE]
    for group, options in _groups():
        lines += [f"## {group}", "", "| Option | Default | Meaning |", "|---|---|---|"]
        for name, option in options:
            default = shown(option.form, getattr(DEFAULTS, name))
            many = "\\*" if isinstance(getattr(DEFAULTS, name), tuple) else ""
            meaning = _sentence(option.help) + _others(option)
            lines += [_row(f"{_code(_flags(name, option))}{many}", default, meaning)]
        lines += [""]

    lines += ["## Commands", "", "| Option | Meaning |", "|---|---|"]
    lines += [_row(_code(_command_flags(each)), _sentence(each.help)) for each in COMMANDS]
    lines += ["", "## Flags of other servers", "", *_borrowed()]
    return "\n".join(lines) + "\n"


def _borrowed() -> Iterator[str]:
    for name, bind in SUGAR.items():
        yield f"* `{flag_of(name)}` stands for `--bind {bind}`."
    for spelled, flag in SHORTHANDS.items():
        yield f"* `{spelled}` stands for `{flag_of(flag.name)}={flag.text}`."
    for spelled, ignored in IGNORED.items():
        yield f"* `{spelled}` is accepted and changes nothing: {ignored.reason}."


def _groups() -> Iterator[tuple[str, list[tuple[str, Option]]]]:
    # What Config inherits comes last, not first.
    ordered = sorted(OPTIONS.items(), key=lambda item: item[0] not in Config.__annotations__)
    for group, options in groupby(ordered, key=lambda item: item[1].group):
        yield group, list(options)


def _flags(name: str, option: Option) -> str:
    """The flags that people should use."""
    short = f"{option.names.short}, " if option.names.short else ""
    match option.form.kind:
        case Kind.APPLICATION:
            return option.form.metavar
        case Kind.FLAG:
            return f"{short}{flag_of(name)}, {flag_of(f'no_{name}')}"
        case _:
            return f"{short}{flag_of(name)} {option.form.metavar}"


def _command_flags(command: Command) -> str:
    short = f"{command.short}, " if command.short else ""
    return f"{short}{flag_of(command.name)} {command.metavar}".rstrip()


def _entry(flags: str, help: str) -> list[str]:
    return [f"  {flags}", fill(help, 92, initial_indent=" " * 8, subsequent_indent=" " * 8)]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _code(text: str) -> str:
    return f"`{text}`"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _others(option: Option) -> str:
    """What else the option answers to."""
    flags = [_code(each) for each in option.names.aliases]
    keys = [f"{_code(each)} in a file" for each in option.names.keys]
    return f" Also {', '.join(flags + keys)}." if flags or keys else ""


if __name__ == "__main__":
    print(reference(), end="")
