"""Files of variables for --env-file: NAME=VALUE lines, as shells and other tools write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tricorn.config import ConfigError

LINE = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
    (?:'(?P<literal>[^']*)'|"(?P<escaped>(?:[^"\\]|\\.)*)"|(?P<bare>[^'"\s#](?:\S|\s+(?!\#|\s))*)?)
    \s*(?:\#.*)?""",
    re.VERBOSE,
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
OURS = ("TRICORN_CONFIG", "TRICORN_ENV_FILE")
"""They say which files there are."""


def read(paths: Iterable[str]) -> dict[str, str]:
    """The variables of all files, later ones over earlier ones. Raises ConfigError."""
    variables: dict[str, str] = {}
    for path in paths:
        try:
            text = Path(path).read_text("utf-8")
        except OSError as error:
            raise ConfigError(f"--env-file {path}: {error.strerror}") from None
        except ValueError:
            raise ConfigError(f"--env-file {path}: the file is not UTF-8") from None
        variables |= parse(text, path)
    return variables


def parse(text: str, path: str) -> dict[str, str]:
    """Raises ConfigError, with the number of the line that is none, and not with what is in it."""
    variables: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if found is None:
            raise ConfigError(f"--env-file {path}: line {number} is not NAME=VALUE")
        if found["name"] in OURS:
            raise ConfigError(f"--env-file {path}: {found['name']} cannot be set in here")
        variables[found["name"]] = _value(found)
    return variables


def _value(found: re.Match[str]) -> str:
    if found["escaped"] is not None:
        return re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), found["escaped"])
    return found["literal"] or found["bare"] or ""
