"""Starts fleet.py and waits for what its log says."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("fleet.py")
PATIENCE = 10.0  # seconds that anything may take on a busy machine


class Server:
    """A running master whose log is read line by line."""

    def __init__(self, directory: Path, *arguments: str, **plan: object) -> None:
        self.directory = directory
        self.write_plan(**plan)
        self.log = ""
        self._read = 0  # how much of the log has been waited for
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(directory), *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def write_plan(self, **plan: object) -> None:
        (self.directory / "plan.json").write_text(json.dumps(plan))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """The last of `count` matches of the pattern in the log since the last wait."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = list(re.compile(pattern, re.MULTILINE).finditer(self.log, self._read))
            if len(found) >= count:
                self._read = found[count - 1].end()
                return found[count - 1]
            if not self._more(deadline):
                raise AssertionError(f"no {pattern!r} in:\n{self.log}")

    def find(self, pattern: str) -> str:
        """The group of the last match so far in the log; what was waited for is in it."""
        return re.findall(pattern, self.log, re.MULTILINE)[-1]

    def wait_until(self, count: int, pattern: str) -> None:
        """Until the whole log has so many matches, what was waited for included."""
        deadline = time.monotonic() + PATIENCE
        while len(re.findall(pattern, self.log, re.MULTILINE)) < count:
            assert self._more(deadline), f"no {count} of {pattern!r} in:\n{self.log}"

    def wait(self) -> int:
        """Until every process that writes to the log has ended; the master's exit status."""
        deadline = time.monotonic() + PATIENCE
        while self._more(deadline):
            pass
        return self.process.wait(PATIENCE)

    def read(self) -> None:
        """What the log has by now."""
        while self._more(0.0):
            pass

    def _more(self, deadline: float) -> bool:
        stream = self.process.stderr
        assert stream is not None
        readable, _, _ = select.select([stream], [], [], max(0, deadline - time.monotonic()))
        data = os.read(stream.fileno(), 65536) if readable else b""
        self.log += data.decode()
        return bool(data)

    def start(self, workers: int = 2) -> "Server":
        self.port = int(self.wait_for(r"listening on http://127.0.0.1:(\d+) \(HTTP/1.1\)$")[1])
        self.wait_for(r" ready$", workers)
        return self

    def ask(self, command: str = "who") -> dict:
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(command.encode() + b"\n")
            return json.loads(connection.makefile().readline())

    def pids(self) -> set[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(pid) for pid in found.split()}

    def end(self) -> None:
        """Whatever the test has left: the processes of its session that it has named in the log."""
        pids = {self.process.pid, *(int(pid) for pid in re.findall(r"pid=(\d+)", self.log))}
        if self.process.poll() is None:
            pids |= self.pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.process.stderr.close()
