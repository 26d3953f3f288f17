"""Into the background: without a terminal, and with an exit status for whoever has started us."""

import os
from collections.abc import Callable

READY = b"."
STANDARD = (0, 1, 2)


def detach() -> Callable[[], None]:
    """Go on in another process, of a session of its own; the one that was started waits.

    It exits with status 0 when what is returned is called, or with ours, should we end before;
    until then our standard streams are still its own.
    """
    if pid := os.fork():
        os._exit(_status(pid))
    os.setsid()
    reader, writer = os.pipe()
    # Once more: the first process of a session gets a terminal that it opens.
    if pid := os.fork():
        os.close(writer)
        os._exit(0 if os.read(reader, 1) else _status(pid))
    os.close(reader)
    ends = [writer]

    def leave() -> None:
        for end in ends:
            _to_nowhere()
            os.close(end)
        ends.clear()

    def ready() -> None:
        for end in ends:
            _to_nowhere()
            os.write(end, READY)
        leave()

    # Children outlive the wait; whoever reads our standard streams would wait for their end.
    os.register_at_fork(after_in_child=leave)
    return ready


def _to_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in STANDARD:
        os.dup2(nowhere, number)
    os.close(nowhere)


def _status(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code  # as shells have it
