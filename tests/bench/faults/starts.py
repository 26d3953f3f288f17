"""Starts that cannot be, and places that are poor."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.faults.rig import BEFORE, Result, memory, rigged
from tests.support.process import COMMAND, PATIENCE, clean_environment, run, serve

SOMEBODY = 54321
APPLICATION_STATUS, OPERATOR_STATUS = 3, 2
SLOWEST = 5.0
RACES = 10
POOR_CPU = 0.1
BUDGET, SHARE = 32, 16
"""MiB for the server, and for each of its workers."""


def crash_at_import(directory: Path, workers: int) -> Result:
    result = Result()
    (directory / "main.py").write_text("def app(:\n")
    began = time.monotonic()
    ended = run("-b", "127.0.0.1:0", "-w", str(workers), "main:app", directory=directory)
    result.recovered = time.monotonic() - began
    result.note = f"until exit status {ended.returncode}, with the line that is wrong"
    if ended.returncode != APPLICATION_STATUS or result.recovered > SLOWEST:
        result.wrong.append(f"status {ended.returncode} after {result.recovered:.1f} s")
    if ended.stderr.count("main.py, line 1, is not valid Python") != 1:
        result.wrong.append(f"not said once:\n{ended.stderr}")
    return result


def two_masters(directory: Path, workers: int) -> Result:
    result = Result()
    (directory / "main.py").write_text("async def app(scope, receive, send): ...\n")
    command = [COMMAND, "-b", "127.0.0.1:0", "-w", str(workers), "--pid", "pid", "main:app"]
    for _ in range(RACES):
        both = [
            subprocess.Popen(
                command, cwd=directory, env=clean_environment(), stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        try:
            while all(each.poll() is None for each in both):
                time.sleep(0.01)
            (runs,) = [each for each in both if each.poll() is None] or [None]
            said = [each.stderr.read() for each in both if each is not runs and each.stderr]
            if runs is None or int((directory / "pid").read_text()) != runs.pid:
                result.wrong.append(f"none runs: {said}")
            elif not any(f"another server runs, pid {runs.pid}" in each for each in said):
                result.wrong.append(f"the reason is not said: {said}")
        finally:
            for each in both:
                each.terminate()
                each.communicate(timeout=PATIENCE)
    result.note = f"{RACES} times: one runs, one ends and names it"
    return result


READABLE = """
    mount --make-rprivate / && mount --bind "$1" "$0" || exit 77
    mount -t tmpfs -o mode=755 none "$2" && mkdir -p "$1" && mount --bind "$0" "$1" || exit 77
    shift 2
    exec "$@"
"""
"""Shows only $1 of the directory $2, which is closed to others."""


def interpreter_for_all(directory: Path) -> tuple[str, ...]:
    """What runs the command where Python is in somebody's closed home, as pyenv has it."""
    base = Path(sys.base_prefix).resolve()
    closed = [each for each in base.parents if not each.stat().st_mode & stat.S_IXOTH]
    if not closed:
        return ()
    (directory / "interpreter").mkdir()
    place = (str(directory / "interpreter"), str(base), str(closed[-1]))
    return ("unshare", "--mount", "sh", "-c", READABLE, *place)


def other_user(directory: Path, workers: int) -> Result:
    if os.geteuid():
        return Result(note="not tried: only root can become somebody else")
    directory.chmod(0o755)
    key = directory / "localhost.key"
    with (
        rigged(
            *(directory, workers, "--user", str(SOMEBODY), "--group", str(SOMEBODY)),
            environ={"KEY": str(key)},
            prefix=interpreter_for_all(directory),
        ) as rig,
        rig.victim() as (_, client),
    ):
        tried = client.fetch("/rights").text.split()[3:]
        rig.expect(tried == ["PermissionError", "PermissionError"], f"it could: {tried}")
        for pid in rig.server.workers().values():
            status = Path(f"/proc/{pid}/status").read_text()
            fields = dict(line.split(":\t", 1) for line in status.splitlines())
            ids = {*fields["Uid"].split(), *fields["Gid"].split()}
            rig.expect(ids == {str(SOMEBODY)}, f"users and groups {ids}")
            rig.expect(not fields["Groups"].strip(), f"groups {fields['Groups']}")
            rights = {fields[each] for each in ("CapEff", "CapPrm", "CapAmb")}
            rig.expect(rights == {"0" * 16}, f"capabilities {rights}")
    rig.result.note = "`setuid(0)` and reading the server's key fail; no groups, no capabilities"
    return rig.result


READ_ONLY = """
    mount --make-rprivate / && mount -o bind,ro / / || exit 77
    mount -t tmpfs -o ro none /dev/shm || exit 77
    touch "$0" 2>/dev/null && exit 77
    unset HOME
    exec "$@"
"""


def nothing_to_write(directory: Path, workers: int) -> Result:
    if os.geteuid() or not shutil.which("unshare") or not shutil.which("setpriv"):
        return Result(note="not tried: needs root, unshare and setpriv")
    directory.chmod(0o755)
    ids = ("--reuid", str(SOMEBODY), "--regid", str(SOMEBODY), "--clear-groups")
    prefix = (
        "unshare",
        "--mount",
        "sh",
        "-c",
        READ_ONLY,
        str(directory / "probe"),
        "setpriv",
        *ids,
    )
    with rigged(directory, workers, prefix=prefix, owner=SOMEBODY) as rig:
        rig.canary.go_on(BEFORE)
    return rig.result


def little_to_run_on(directory: Path, workers: int) -> Result:
    """A tenth of a processor, and a budget of memory."""
    result, budget = Result(), BUDGET + SHARE * workers
    with group(Path("/sys/fs/cgroup/cpu")) as cpu, group(memory_group()) as mem:
        if cpu is None or mem is None:
            return Result(note="not tried: control groups cannot be made here")
        (cpu / "cpu.cfs_quota_us").write_text(str(int(100_000 * POOR_CPU)))
        (mem / "memory.limit_in_bytes").write_text(f"{budget}M")
        enter = 'echo $$ > "$0"/cgroup.procs && echo $$ > "$1"/cgroup.procs && shift && exec "$@"'
        prefix = ("sh", "-c", enter, str(cpu), str(mem))
        began = time.monotonic()
        with serve(
            directory, application="tricorn.demo:app", workers=workers, prefix=prefix
        ) as server:
            result.recovered = time.monotonic() - began
            if server.fetch().status != 200:
                result.wrong.append("it does not serve")
            held = int((mem / "memory.max_usage_in_bytes").read_text()) / 2**20
            result.note = (
                f"{POOR_CPU} processors, {budget} MiB: until all workers were ready;"
                f" {memory(server):.0f} MiB, at most {held:.0f} with its files"
            )
            if server.stop():
                result.wrong.append("the exit status is not 0")
    return result


def memory_group() -> Path:
    own = Path("/proc/self/cgroup").read_text()
    path = [line.split(":memory:", 1)[1] for line in own.splitlines() if ":memory:" in line]
    return Path("/sys/fs/cgroup/memory", (path or ["/"])[0].lstrip("/"))


@contextmanager
def group(parent: Path) -> Iterator[Path | None]:
    """A control group of our own; None where that cannot be."""
    try:
        made = Path(tempfile.mkdtemp(prefix="tricorn-", dir=parent))
    except OSError:
        yield None
        return
    try:
        yield made
    finally:
        deadline = time.monotonic() + PATIENCE
        while (made / "cgroup.procs").read_text().strip() and time.monotonic() < deadline:
            time.sleep(0.05)
        made.rmdir()
