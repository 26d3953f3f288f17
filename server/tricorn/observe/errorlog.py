"""The server's own log: the loggers of both packages, as text or JSON, into a LogFile."""

from __future__ import annotations

import json
import logging
import time

from tricorn.config import Config
from tricorn.observe.logfile import LogFile

LOGGERS = ("tricorn", "tricorn_supervisor")
"""Not the root logger: that one is the application's."""


class TextFormatter(logging.Formatter):
    """One line, what follows it (a traceback) below."""

    def __init__(self) -> None:
        super().__init__("[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s")
        self.default_time_format = "%Y-%m-%d %H:%M:%S %z"
        self.default_msec_format = ""


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created)),
            "level": record.levelname.lower(),
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class LogFileHandler(logging.Handler):
    """Hands records to a LogFile."""

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self.file = file

    def emit(self, record: logging.LogRecord) -> None:
        self.file.write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")


def configure(config: Config, owner: tuple[int, int] | None = None) -> LogFile:
    """Sends both packages' logs to where the configuration says. Raises OSError."""
    file = LogFile(config.error_logfile, 2, owner)
    handler = LogFileHandler(file)
    handler.setFormatter(JsonFormatter() if config.log_format == "json" else TextFormatter())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(config.log_level.upper())
        logger.propagate = False
    return file
