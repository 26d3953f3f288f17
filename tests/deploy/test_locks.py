"""What goes into the image is pinned, by version and by content."""

import configparser
import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "deploy" / "image"
PYTHONS = ("3.11", "3.12", "3.13")


def pinned(name: str) -> dict[str, Requirement]:
    """Every requirement of a lock file."""
    text = (LOCKS / name).read_text()
    lines = re.findall(r"^([a-z].*?) \\$", text, re.MULTILINE)
    return {str(canonicalize_name(each.name)): each for each in map(Requirement, lines)}


def needed() -> list[Requirement]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return [Requirement(each) for each in setup["options"]["install_requires"].split("\n") if each]


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_every_entry_names_its_contents(name):
    entries = re.split(r"^(?=[a-z])", (LOCKS / name).read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) == len(pinned(name)) > 0
    for each in entries:
        assert re.match(r"\S+==\S+ ", each) and re.search(r" --hash=sha256:[0-9a-f]{64}\b", each)


@pytest.mark.parametrize("python", PYTHONS)
def test_everything_that_is_needed_is_pinned_to_a_version_that_is_allowed(python):
    lock = pinned("requirements.lock")
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    seen: set[str] = set()
    waiting = needed()
    while waiting:
        wanted = waiting.pop()
        if wanted.marker and not wanted.marker.evaluate(environment):
            continue
        name = str(canonicalize_name(wanted.name))
        pin = lock[name]
        (version,) = (each.version for each in pin.specifier)
        assert wanted.specifier.contains(version), f"{wanted} is pinned to {version}"
        assert not pin.marker or pin.marker.evaluate(environment), pin
        if name not in seen:
            seen.add(name)
            waiting += map(Requirement, distribution(name).requires or ())


def test_nothing_else_is_pinned():
    own = {str(canonicalize_name(each.name)) for each in needed()}
    others = {
        str(canonicalize_name(Requirement(each).name))
        for name in pinned("requirements.lock")
        for each in (distribution(name).requires or () if name not in ABSENT else ())
    }
    assert set(pinned("requirements.lock")) <= own | others


ABSENT = {"typing-extensions"}
"""Not needed, so not installed, with every Python that runs this."""
