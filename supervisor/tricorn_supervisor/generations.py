"""What each generation of workers runs and listens on: the one that serves, and one on trial."""

from collections.abc import Sequence

from tricorn_supervisor.listeners import Listener, close_listeners
from tricorn_supervisor.plan import Plan, listen


class Generations:
    """Numbered from 1, also those that fail. Sockets are shared by all that name their address."""

    def __init__(self, first: Plan) -> None:
        self.newest = 1
        self._plans = {1: first}
        self._listeners: dict[int, list[Listener]] = {}

    def __getitem__(self, generation: int) -> Plan:
        return self._plans[generation]

    def __contains__(self, generation: int) -> bool:
        return generation in self._plans

    @property
    def latest(self) -> int:
        """The one that serves, or that is to serve; none that has failed."""
        return max(self._plans)

    def open(self) -> None:
        """Listen for the first one. Raises ListenError."""
        self._listeners[1] = listen(self._plans[1])

    def add(self, plan: Plan) -> None:
        """Listen for the following one. Raises ListenError, and has changed nothing then."""
        self._listeners[self.newest + 1] = listen(plan, self._all())
        self.newest += 1
        self._plans[self.newest] = plan

    def others(self, generation: int) -> list[int]:
        return [other for other in self._plans if other != generation]

    def forget(self, generations: Sequence[int]) -> None:
        """Close what only these listened on."""
        surplus = [each for number in generations for each in self._listeners.pop(number)]
        used = [each.socket for each in self._all()]
        close_listeners([listener for listener in surplus if listener.socket not in used])
        for number in generations:
            del self._plans[number]

    def mute(self) -> None:
        """Stop listening; the path of a unix socket stays until the workers no longer serve it."""
        for listener in self._all():
            listener.socket.close()

    def close(self) -> None:
        close_listeners(self._all())

    def take(self, generation: int) -> tuple[Listener, ...]:
        """In a child: keep the sockets of that generation, close all others. 0 keeps none."""
        mine = self._listeners.get(generation, [])
        kept = [listener.socket for listener in mine]
        for listener in self._all():
            if listener.socket not in kept:
                listener.socket.close()
        return tuple(mine)

    def _all(self) -> list[Listener]:
        return [each for listeners in self._listeners.values() for each in listeners]
