"""What a worker has instead of a master when it is alone: `workers 0`."""

import logging
from dataclasses import dataclass, field

from tricorn_supervisor import notify
from tricorn_supervisor.channel import ChildEnd

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class LoneEnd(ChildEnd):
    """Speaks to systemd and to the log where another would speak to its master."""

    systemd: notify.Systemd = field(kw_only=True)

    def status(self, text: str) -> None:
        self.systemd.status(text)

    def send(self, *pairs: notify.Pair) -> None:
        said = dict(pairs)
        if sentence := said.pop(notify.FAILED, ""):
            log.error("cannot serve: %s", f"{sentence}\n{said.pop(notify.DETAIL, '')}".rstrip())
        else:
            self.systemd.send(*pairs)
