"""ASGI lifespan: startup before the first request, shutdown after the last."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import traceback
from typing import Any

from tricorn.connection import Application, Message

CANCEL_TIMEOUT = 1.0
"""Seconds that a lifespan which is cancelled has to end."""

log = logging.getLogger(__name__)


class LifespanFailed(Exception):
    """The application did not start (or not stop) as it should; `detail` is its traceback."""

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.detail = detail


class Lifespan:
    """Runs the application's lifespan in a task, whose context variables requests inherit.

    `mode` is auto (an application without lifespan is fine), on (it is not) or off.
    """

    def __init__(self, application: Application, mode: str) -> None:
        self.application = application
        self.mode = mode
        self.state: dict[str, Any] = {}
        self.variables = contextvars.copy_context()
        self.supported = mode != "off"
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self, timeout: float) -> None:
        """Returns when the application is ready; raises LifespanFailed. 0 s waits for ever."""
        if not self.supported:
            return
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), context=self.variables)
        self._inbox.put_nowait({"type": "lifespan.startup"})
        started = False
        try:
            self._judge(await self._answer(timeout), timeout)
            started = True
        finally:
            if not started:  # failed, or told to stop meanwhile: there is nothing to shut down
                self._task.cancel()
                await asyncio.wait([self._task], timeout=CANCEL_TIMEOUT)

    def _judge(self, message: Message | None, timeout: float) -> None:
        """What the answer to lifespan.startup means; raises LifespanFailed."""
        if message is None:
            raise LifespanFailed(
                f"the application's lifespan startup took longer than {timeout:g} seconds "
                "(--startup-timeout)"
            )
        match message.get("type"):
            case "lifespan.startup.complete":
                return
            case "lifespan.startup.failed":
                reason = message.get("message", "")
                raise LifespanFailed(f"the application's lifespan startup failed: {reason}")
            case "raised" if self.mode == "auto" and message["unsupported"]:
                # The spec: an exception for the lifespan scope means that it is not supported.
                log.debug("the application has no lifespan: %r", message["error"])
                self.supported = False
            case "raised":
                error = message["error"]
                # The first frame is ours.
                theirs = error.__traceback__ and error.__traceback__.tb_next
                raise LifespanFailed(
                    f"the application's lifespan startup raised {type(error).__name__}: {error}",
                    "".join(traceback.format_exception(type(error), error, theirs)),
                )
            case "returned" if self.mode == "auto":
                self.supported = False
            case other:
                raise LifespanFailed(
                    f"the application's lifespan ended startup with {other!r} instead of "
                    "'lifespan.startup.complete' (--lifespan off leaves it out)"
                )

    async def shutdown(self, timeout: float) -> None:
        """Lets the application clean up; all that can be done about a failure is to log it."""
        if not self.supported or self._task is None:
            return
        if not self._task.done():
            self._inbox.put_nowait({"type": "lifespan.shutdown"})
        elif self._outbox.empty():
            return
        message = await self._answer(timeout)
        if message is None:
            log.error("the application's lifespan shutdown took longer than %g seconds", timeout)
        elif message.get("type") == "lifespan.shutdown.failed":
            log.error("the application's lifespan shutdown failed: %s", message.get("message", ""))
        elif message.get("type") == "raised":
            log.error("the application's lifespan raised", exc_info=message["error"])
        self._task.cancel()
        await asyncio.wait([self._task], timeout=CANCEL_TIMEOUT)

    async def _answer(self, timeout: float) -> Message | None:
        try:
            return await asyncio.wait_for(self._outbox.get(), timeout or None)
        except TimeoutError:
            return None

    async def _run(self) -> None:
        received = False

        async def receive() -> Message:
            nonlocal received
            message = await self._inbox.get()
            received = True
            return message

        async def send(message: Message) -> None:
            self._outbox.put_nowait(message)

        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self.application(scope, receive, send)
        except (Exception, SystemExit) as error:
            # Who has read the startup message knows lifespan, and has failed.
            self._outbox.put_nowait({"type": "raised", "error": error, "unsupported": not received})
        else:
            self._outbox.put_nowait({"type": "returned"})
