"""The clients: wrk for HTTP/1.1, h2load for HTTP/2 and 3, our own for WebSocket, on their core."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.cases import FIELDS, Case
from tests.bench.servers import CLIENT_CORE

Load = Callable[[int], tuple[int, float]]
"""Runs for so many seconds; the number of answers, and the seconds that they took."""

PROGRAMS = {"2": ["h2load"], "3": [*os.environ.get("H2LOAD_H3", "h2load").split(), "--h3"]}
"""Distributions build h2load without HTTP/3: H2LOAD_H3 names one that was built with it."""
PINNED = ("taskset", "-c", str(CLIENT_CORE))


def url_of(case: Case, port: int) -> str:
    return f"{'https' if case.tls else 'http'}://127.0.0.1:{port}{case.path}"


def wrk(case: Case, port: int, folder: Path) -> Load:
    script = folder / f"{case.name}.lua"
    script.write_text(case.script)
    url = url_of(case, port)

    def load(seconds: int) -> tuple[int, float]:
        command = [*PINNED, "wrk", "-t1", f"-c{case.connections}", f"-d{seconds}"]
        output = run([*command, "-s", str(script), url])
        if "Non-2xx" in output:
            raise RuntimeError(f"{url} did not answer 200:\n{output}")
        match = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m),", output)
        if match is None or match[1] == "0":
            raise RuntimeError(f"no answers from {url}:\n{output}")
        unit = {"ms": 0.001, "s": 1.0, "m": 60.0}[match[3]]
        return int(match[1]), float(match[2]) * unit

    return load


def h2load(case: Case, port: int, folder: Path) -> Load:
    url = url_of(case, port)
    command = [*PINNED, *PROGRAMS[case.version], f"-c{case.connections}", f"-m{case.streams}"]
    if case.paths > 1:
        targets = folder / f"{case.name}.txt"
        targets.write_text("".join(f"{url}item/{number}\n" for number in range(case.paths)))
        command += [f"--header={name}: {value}" for name, value in FIELDS]
        command += ["-i", str(targets)]
    if case.octets:
        content = folder / f"{case.name}.body"
        content.write_bytes(b"x" * case.octets)
        command += ["-d", str(content)]

    def load(seconds: int) -> tuple[int, float]:
        output = run([*command, f"-D{seconds}", *[url] * (case.paths == 1)])
        match = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", output)
        # Those in flight when the time is over count as failed, or as errored.
        allowed = case.connections * case.streams
        if match is None or match[2] == "0" or int(match[1]) - int(match[2]) > allowed:
            raise RuntimeError(f"{url} did not answer:\n{output}")
        return int(match[2]), float(seconds)

    return load


def wsload(case: Case, port: int, folder: Path) -> Load:
    command = [*PINNED, sys.executable, "-m", "tests.bench.wsload", str(port)]
    command += ["--connections", str(case.connections), "--size", str(case.octets)]

    def load(seconds: int) -> tuple[int, float]:
        count, elapsed = run([*command, "--seconds", str(seconds)]).split()
        if count == "0":
            raise RuntimeError(f"no messages from port {port}")
        return int(count), float(elapsed)

    return load


LOADS = {"1.1": wrk, "2": h2load, "3": h2load, "ws": wsload}


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
