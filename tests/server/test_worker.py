"""worker.py: what can be seen of it without a process; the rest is in tests/process."""

import asyncio
import logging
import sys

import pytest
import uvloop

from tricorn.worker import new_loop


@pytest.fixture
def warned(caplog, monkeypatch):
    """The warnings of the worker, whatever the rest of the tests did to its logger."""
    logger = logging.getLogger("tricorn.worker")
    monkeypatch.setattr(logging.getLogger("tricorn"), "propagate", True)
    caplog.set_level(logging.WARNING, logger.name)
    return caplog


@pytest.mark.parametrize(
    "name, kind", [("uvloop", uvloop.Loop), ("asyncio", asyncio.SelectorEventLoop)]
)
def test_loop_is_the_one_asked_for(name, kind):
    loop = new_loop(name)
    try:
        assert isinstance(loop, kind)
    finally:
        loop.close()


def test_without_uvloop_there_is_asyncio_and_a_warning(monkeypatch, warned):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_loop("uvloop")
    try:
        assert isinstance(loop, asyncio.SelectorEventLoop)
    finally:
        loop.close()
    assert "uvloop is not installed" in warned.text
