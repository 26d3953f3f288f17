"""What routes datagrams is chosen once, and says why it cannot."""

import errno
import os

import pytest

from tricorn_supervisor import routers, steering
from tricorn_supervisor.listeners import ListenError
from tricorn_supervisor.routers import choose

LAYOUT = steering.Layout(1)


def no_fork(run: object) -> int:
    raise AssertionError("nothing to fork for yet")


@pytest.fixture
def refusing(monkeypatch):
    """A kernel without classic BPF for reuseport groups."""

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))

    monkeypatch.setattr(routers.steering, "attach", refuse)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("auto", "kernel"), ("kernel", "kernel"), ("dispatcher", "dispatcher"), ("hash", "hash")],
)
def test_kernel_routes_where_it_can(wanted, chosen):
    assert choose(wanted, LAYOUT, no_fork).name == chosen


@pytest.mark.parametrize("wanted", ["auto", "dispatcher"])
def test_dispatcher_routes_where_the_kernel_does_not(refusing, wanted):
    assert choose(wanted, LAYOUT, no_fork).name == "dispatcher"


def test_kernel_that_refuses_is_the_operators_affair(refusing):
    with pytest.raises(ListenError, match=r"refuses a program .*: Protocol not available; leave"):
        choose("kernel", LAYOUT, no_fork)


def test_dispatcher_is_not_forked_for_nothing():
    router = choose("dispatcher", LAYOUT, no_fork)
    router.route({})
    assert router.deadline is None
    router.close()
