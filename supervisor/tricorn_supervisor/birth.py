"""What a forked child does around its work: whatever happens, it ends here, not in the master."""

import atexit
import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from tricorn_supervisor.channel import ChildEnd

FAILED = 1
PASSED = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")  # sockets that the master has taken


def live(prepare: Callable[[], ChildEnd], run: Callable[[ChildEnd], int]) -> NoReturn:
    """Work, then end this process with the status that `run` returned."""
    end_with(lambda: _work(prepare(), run))


def end_with(work: Callable[[], int]) -> NoReturn:
    """End this process with the status that `work` returns."""
    status = FAILED
    try:
        status = work()
    except BaseException:  # there is no end to report it through
        traceback.print_exc()
    finally:
        # What the application registered; logging.shutdown is among it.
        atexit._run_exitfuncs()
        flush()
        os._exit(status)


def enter_environment(number: int) -> None:
    """What the application may know about its worker, and no more of the master's."""
    for name in PASSED:
        os.environ.pop(name, None)
    os.environ["SERVER_WORKER_ID"] = str(number)


def flush() -> None:
    """Before a fork, or both processes write what is buffered; before the end, or nobody does."""
    for stream in (sys.stdout, sys.stderr):
        # A closed pipe or a full disk is no reason to change how the process ends.
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()


def _work(end: ChildEnd, run: Callable[[ChildEnd], int]) -> int:
    try:
        return run(end)
    except SystemExit as exc:
        return _status(exc)
    # This is the bottom of the process: what is not caught here nobody reports.
    except BaseException as exc:
        end.failed(f"the worker ended with {type(exc).__name__}: {exc}", traceback.format_exc())
        return FAILED


def _status(exc: SystemExit) -> int:
    """As the interpreter reads it: nothing is success, a text is printed and is failure."""
    if exc.code is None:
        return 0
    if isinstance(exc.code, int):
        return exc.code & 0xFF
    print(exc.code, file=sys.stderr)
    return FAILED
