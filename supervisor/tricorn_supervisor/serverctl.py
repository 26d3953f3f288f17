"""The command `serverctl`: asks a running master through its control socket."""

import argparse
import contextlib
import json
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

REFUSED = 1
USAGE = 2
READ_SIZE = 65536

COMMANDS = {
    "status": "say how the server is",
    "workers": "list its worker processes",
    "reload": "reload configuration, certificates and code; wait, and fail if it is given up",
    "scale": "change the number of workers until the configuration's number changes",
    "drain": "stop as on SIGTERM: open requests are finished; wait for the end",
    "stop": "stop as on SIGQUIT: open requests are cancelled; wait for the end",
    "logs-reopen": "write to the files that have the logs' names now, after a rotation",
}
COLUMNS = ("number", "pid", "generation", "state", "age", "connections", "in_flight", "requests")


class Unanswered(Exception):
    """No master could be asked, or none answered; one sentence."""


def main(argv: Sequence[str] | None = None) -> None:
    """Ends the process: 0 if it was done, 1 if the master says no, 2 if it cannot be asked."""
    options = _parser().parse_args(argv)
    question: dict[str, object] = {"command": options.command}
    if options.command == "scale":
        question["workers"] = options.workers
    try:
        answer = ask(options.socket, question, options.timeout)
    except Unanswered as error:
        print(f"serverctl: {error}", file=sys.stderr)
        sys.exit(USAGE)
    if options.json:
        print(json.dumps(answer))
    elif "error" in answer:
        print(f"serverctl: {options.command}: {answer['error']}", file=sys.stderr)
    else:
        print(readable(options.command, answer))
    sys.exit(0 if answer["ok"] else REFUSED)


def ask(path: str, question: dict[str, object], timeout: float | None) -> dict[str, Any]:
    """The master's answer. Raises Unanswered."""
    if not path:
        raise Unanswered("name the control socket: --socket PATH or TRICORN_CONTROL_SOCKET")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        data = b""
        try:
            sock.connect(path)
            sock.sendall(json.dumps(question).encode() + b"\n")
            while not data.endswith(b"\n") and (part := sock.recv(READ_SIZE)):
                data += part
        except TimeoutError:
            raise Unanswered(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise Unanswered(f"cannot ask {path}: {error.strerror or error}") from None
    with contextlib.suppress(ValueError):
        answer = json.loads(data)
        if isinstance(answer, dict) and "ok" in answer:
            return answer
    raise Unanswered("the master ended without an answer")


def readable(command: str, answer: dict[str, Any]) -> str:
    """An answer for a person."""
    match command:
        case "status":
            return _status(answer)
        case "workers":
            return _workers(answer["workers"])
        case "scale":
            return f"{answer['workers']} workers wanted"
        case "reload":
            return f"generation {answer['generation']} serves"
        case "logs-reopen":
            return "logs reopened"
        case _:
            return "the server has stopped"


def _status(answer: dict[str, Any]) -> str:
    lines = [
        f"{answer['state']}: {answer['ready']} of {answer['workers']} workers ready",
        f"generation {answer['generation']}, pid {answer['pid']}, up {answer['uptime']:.0f} s",
    ]
    if endings := [f"{count} {cause}" for cause, count in answer["endings"].items() if count]:
        lines.append(f"workers ended: {', '.join(endings)}")
    if last := answer["last_reload"]:
        outcome = f"failed: {last['error']}" if "error" in last else "complete"
        lines.append(f"reload to generation {last['generation']} {outcome}")
    return "\n".join(lines)


def _workers(workers: list[dict[str, Any]]) -> str:
    rows = [[*COLUMNS, "rss"]]
    for worker in workers:
        rss = worker["rss"]
        memory = "?" if rss is None else f"{rss / 2**20:.1f} MiB"
        rows.append([*(str(worker[column]) for column in COLUMNS), memory])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="serverctl", description="Commands a running server.")
    parser.add_argument(
        "--socket",
        default=os.environ.get("TRICORN_CONTROL_SOCKET", ""),
        metavar="PATH",
        help="what the server's --control-socket says [TRICORN_CONTROL_SOCKET]",
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="wait no longer than this for the answer"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as it came")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help in COMMANDS.items():
        command = commands.add_parser(name, help=help, description=help)
        # After the command, too; SUPPRESS, or its default would undo what is before it.
        command.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        if name == "scale":
            command.add_argument("workers", type=int, metavar="N")
    return parser


if __name__ == "__main__":
    main()
