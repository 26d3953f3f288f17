"""The house keeps the order that its design describes."""

import ast
import configparser
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = (ROOT / "server", ROOT / "supervisor")
TESTS = ROOT / "tests"
MOST_LINES = 400

VERSIONS = ("tricorn.http1", "tricorn.http2", "tricorn.http3")
CHILD_SIDE = (
    "tricorn_supervisor.channel",
    "tricorn_supervisor.scoreboard",
    "tricorn_supervisor.steering",
)
"""What a worker may know of its supervisor."""

HOMES = {
    "h11": ("tricorn.http1",),
    "h2": ("tricorn.http2.reference",),
    "hpack": ("tricorn.http2",),
    "aioquic": ("tricorn.http3",),
    "pylsqpack": ("tricorn.http3.shared",),
    "cryptography": ("tricorn.http3", "tricorn.certificates"),
    "wsproto": ("tricorn.asgi.websocket",),
    "priority": ("tricorn.scheduler",),
    "uvloop": ("tricorn.worker",),
    "ssl": ("tricorn.net",),
    "prometheus_client": ("tricorn.observe.exposition",),
    "setproctitle": ("tricorn_supervisor.master", "tricorn_supervisor.alone"),
    "asyncio": (
        "tricorn.asgi",
        "tricorn.connection",
        "tricorn.demo",
        "tricorn.http3.endpoint",
        "tricorn.http3.link",
        "tricorn.leaving",
        "tricorn.net",
        "tricorn.observe.stacks",
        "tricorn.observe.statsd",
        "tricorn.waiters",
        "tricorn.worker",
    ),
}
"""Each library is known to one part of the house, which can be read, and replaced, by itself."""

SPLIT = "split it by what it is responsible for (DESIGN.md, section 2)"


def name_of(file: Path) -> str:
    for source in SOURCES:
        if file.is_relative_to(source):
            parts = file.relative_to(source).with_suffix("").parts
            return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    raise ValueError(file)


MODULES = {
    name_of(file): ast.parse(file.read_text())
    for source in SOURCES
    for file in source.rglob("*.py")
}


def imports(name: str) -> Iterator[str]:
    """Every module that a module imports, wherever in it; `from a import b` is a.b as well."""
    for node in ast.walk(MODULES[name]):
        match node:
            case ast.Import(names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module, names, level):
                assert not level and module, f"{name}: imports are absolute"
                yield module
                yield from (f"{module}.{each.name}" for each in names)
            case _:  # not an import
                pass


def within(name: str, *packages: str) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def strays(of: tuple[str, ...], never: tuple[str, ...]) -> list[str]:
    """Imports of what is `never` to be imported, in the packages `of`."""
    return [
        f"{name} imports {imported}"
        for name in MODULES
        if within(name, *of)
        for imported in imports(name)
        if within(imported, *never)
    ]


def test_supervisor_knows_nothing_of_the_server():
    assert strays(("tricorn_supervisor",), ("tricorn",)) == []


def test_only_the_command_knows_the_whole_supervisor():
    found = [
        f"{name} imports {imported}"
        for name in MODULES
        if within(name, "tricorn") and name != "tricorn.cli"
        for imported in imports(name)
        if within(imported, "tricorn_supervisor") and not within(imported, *CHILD_SIDE)
    ]
    assert found == [], "a worker may use channel, scoreboard and steering"


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_of_http_know_nothing_of_each_other(version):
    others = tuple(each for each in VERSIONS if each != version)
    assert strays((version,), others) == [], "what they share belongs in connection.py or fields.py"


def test_versions_of_http_and_applications_meet_only_in_the_contract():
    assert strays(VERSIONS, ("tricorn.asgi",)) == [], "they meet in connection.py"
    assert strays(("tricorn.asgi",), VERSIONS) == [], "they meet in connection.py"


def test_contract_depends_on_nobody_who_keeps_it():
    keepers = (*VERSIONS, "tricorn.asgi", "tricorn.net", "tricorn.worker", "tricorn.cli")
    assert strays(("tricorn.connection", "tricorn.fields"), keepers) == []


def test_transports_do_not_know_what_is_spoken_over_them():
    assert strays(("tricorn.net",), ("tricorn.asgi",)) == []


def test_pool_decides_without_touching_the_system():
    system = ("os", "signal", "socket", "select", "time", "subprocess")
    assert strays(("tricorn_supervisor.delay", "tricorn_supervisor.pool"), system) == [], (
        "pool.py decides, master.py does"
    )


@pytest.mark.parametrize("library", HOMES)
def test_library_is_used_in_its_home_only(library):
    found = [
        f"{name} imports {imported}"
        for name in MODULES
        if not within(name, *HOMES[library])
        for imported in imports(name)
        if within(imported, library)
    ]
    assert found == [], f"{library} belongs in {' and '.join(HOMES[library])}"


def test_supervisor_needs_no_other_library_than_setproctitle():
    known = {*sys.stdlib_module_names, "tricorn_supervisor", "setproctitle"}
    found = {
        imported.partition(".")[0]
        for name in MODULES
        if within(name, "tricorn_supervisor")
        for imported in imports(name)
    }
    assert found <= known


def test_every_module_says_what_it_is_for():
    silent = [name for name, tree in MODULES.items() if not ast.get_docstring(tree)]
    assert silent == [], "the first line of a module is its purpose in one sentence"


def test_test_modules_say_what_they_are_for():
    silent = [
        str(file.relative_to(ROOT))
        for file in TESTS.rglob("*.py")
        if (text := file.read_text()) and not ast.get_docstring(ast.parse(text))
    ]
    assert silent == [], "the first line of a module is its purpose in one sentence"


def test_no_file_is_longer_than_can_be_read_at_once():
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text().splitlines())
        for source in SOURCES
        for file in source.rglob("*.py")
    }
    long = {file: lines for file, lines in lengths.items() if lines > MOST_LINES}
    assert long == {}, f"over {MOST_LINES} lines: {SPLIT}"


def test_source_roots_are_not_packages():
    for source in SOURCES:
        package = source / "__init__.py"
        assert not package.exists(), f"{package} would shadow a user's own {source.name}.py"


def test_setup_lists_every_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    packages = {name_of(file) for source in SOURCES for file in source.rglob("__init__.py")}
    assert set(listed) == packages, "options.packages in setup.cfg is what we ship"
    assert listed == sorted(listed)


def test_every_directory_with_code_is_a_package():
    for source in SOURCES:
        for file in source.rglob("*.py"):
            assert (file.parent / "__init__.py").exists() or file.parent == source, file
