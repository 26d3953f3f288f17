"""Which lane a worker has, and what is routed where."""

import pytest

from tricorn_supervisor.child import Child, Limits, Stage
from tricorn_supervisor.leases import Leases, Table

LIMITS = Limits(1.0, 1.0, 1.0, 1.0, 1.0, 0.0)


class Fleet:
    """Leases, and the children that hold them; `now` tells older ones from newer ones."""

    def __init__(self, workers: int) -> None:
        self.leases = Leases()
        self.workers = workers
        self.now = 0.0

    def fork(self, number: int, generation: int = 1) -> tuple[Child, int]:
        self.now += 1
        child = Child(number, int(self.now), generation, LIMITS, self.now)
        return child, self.leases.claim(child)

    def serve(self, number: int, generation: int = 1) -> tuple[Child, int]:
        child, lane = self.fork(number, generation)
        child.stage = Stage.READY
        return child, lane

    def drain(self, child: Child) -> None:
        child.stage = Stage.LEAVING

    def exit(self, child: Child) -> None:
        self.leases.release(child)
        self.leases.settle(self.workers)

    def table(self, *generations: int) -> Table:
        self.leases.settle(self.workers)
        return self.leases.table(self.workers, generations or (1, 2, 3))


def serving(workers: int) -> tuple[Fleet, list[Child]]:
    fleet = Fleet(workers)
    return fleet, [fleet.serve(number)[0] for number in range(1, workers + 1)]


def test_first_workers_have_the_first_lanes():
    fleet, _ = serving(3)
    assert fleet.table() == Table((0, 1, 2), (0, 1, 2))


def test_nobody_holds_a_lane_of_another():
    fleet = Fleet(256)
    assert [fleet.fork(number)[1] for number in range(1, 257)] == list(range(256))
    with pytest.raises(OSError, match="all 256 lanes are taken"):
        fleet.fork(257)


def test_datagrams_wait_for_the_first_worker_that_starts():
    fleet = Fleet(2)
    first, second = fleet.fork(1)[0], fleet.fork(2)[0]
    assert fleet.table() == Table((0, 1), (0, 1))
    second.stage = Stage.READY
    assert fleet.table() == Table((1, 1), (1,))
    first.stage = Stage.READY
    assert fleet.table() == Table((0, 1), (0, 1))


def test_replacement_after_a_crash_has_the_same_lane():
    fleet, children = serving(3)
    fleet.exit(children[1])
    assert fleet.serve(2)[1] == 1
    assert fleet.table() == Table((0, 1, 2), (0, 1, 2))


def test_share_of_a_dead_worker_goes_to_a_sibling_and_moves_no_other():
    fleet, children = serving(3)
    fleet.exit(children[1])
    table = fleet.table()
    assert table.owned == (0, 2), "its siblings tell its clients at once that it is gone"
    assert table.live[0] == 0 and table.live[2] == 2 and table.live[1] in (0, 2)
    fleet.fork(2)
    assert fleet.table() == table


def test_only_worker_that_dies_keeps_everything_for_its_replacement():
    fleet, children = serving(1)
    fleet.exit(children[0])
    assert fleet.table() == Table((0,), (0,))
    assert fleet.fork(1)[1] == 0
    assert fleet.table() == Table((0,), (0,))


def test_replacement_that_dies_too_leaves_the_lane_for_the_next():
    fleet, children = serving(2)
    fleet.exit(children[0])
    for _ in range(3):
        starting, lane = fleet.fork(1)
        assert lane == 0
        fleet.exit(starting)
    assert fleet.table() == Table((1, 1), (1,))


def test_successor_takes_the_share_when_it_is_ready():
    fleet, children = serving(2)
    new, lane = fleet.fork(1, generation=2)
    assert lane == 2
    assert fleet.table() == Table((0, 1), (0, 1)), "nobody can have connections there yet"
    new.stage = Stage.READY
    assert fleet.table() == Table((2, 1), (0, 1, 2))
    fleet.drain(children[0])
    assert fleet.table() == Table((2, 1), (0, 1, 2))


def test_lane_of_a_drained_worker_is_free_when_it_has_exited():
    fleet, children = serving(2)
    fleet.serve(1, generation=2)
    fleet.drain(children[0])
    fleet.exit(children[0])
    assert fleet.table() == Table((2, 1), (1, 2))
    assert fleet.fork(2, generation=2)[1] == 0


def test_canary_that_dies_gives_its_share_back():
    fleet, _ = serving(2)
    canary, lane = fleet.serve(1, generation=2)
    assert fleet.table().live == (lane, 1)
    fleet.exit(canary)
    assert fleet.table() == Table((0, 1), (0, 1))


def test_worker_that_hangs_gets_no_new_connections():
    fleet, children = serving(2)
    children[0].condemn(99.0, "no heartbeat")
    assert fleet.table() == Table((1, 1), (0, 1))


def test_worker_that_does_not_answer_gets_no_new_connections_until_it_does():
    fleet, children = serving(3)
    children[1].dumped = True
    assert fleet.table() == Table((0, 0, 2), (0, 1, 2))
    children[1].dumped = False
    assert fleet.table() == Table((0, 1, 2), (0, 1, 2))


def test_if_no_worker_answers_nothing_is_moved():
    fleet, children = serving(2)
    for child in children:
        child.dumped = True
    assert fleet.table() == Table((0, 1), (0, 1))


def test_hung_worker_that_is_killed_leaves_its_lane_to_nobody_if_it_has_a_successor():
    fleet, children = serving(2)
    children[0].condemn(99.0, "no heartbeat")
    _, lane = fleet.fork(1)
    fleet.exit(children[0])
    assert lane == 2
    assert fleet.table() == Table((1, 1), (1,))


def test_worker_that_drains_by_its_own_decision_gets_no_new_connections():
    fleet, children = serving(2)
    fleet.drain(children[0])
    assert fleet.table() == Table((1, 1), (0, 1))
    assert fleet.serve(1)[1] == 2
    assert fleet.table() == Table((2, 1), (0, 1, 2))


def test_more_workers_and_fewer():
    fleet, _ = serving(2)
    fleet.workers = 3
    third, lane = fleet.serve(3)
    assert fleet.table() == Table((0, 1, lane), (0, 1, lane))
    fleet.workers = 2
    fleet.drain(third)
    assert fleet.table() == Table((0, 1), (0, 1, 2))
    fleet.exit(third)
    assert fleet.table() == Table((0, 1), (0, 1))


def test_vacant_lane_of_a_number_that_is_given_up_is_free():
    fleet, children = serving(3)
    fleet.exit(children[2])
    fleet.workers = 2
    assert fleet.table() == Table((0, 1), (0, 1))


def test_stopping_workers_keep_their_connections():
    fleet, children = serving(2)
    for child in children:
        fleet.drain(child)
    assert fleet.table() == Table((0, 1), (0, 1))
    fleet.exit(children[0])
    assert fleet.table() == Table((1,), (1,))
    fleet.exit(children[1])
    assert fleet.table() == Table((0,), (0,))


def test_address_is_routed_to_the_generations_that_serve_it():
    fleet, children = serving(2)
    new, lane = fleet.serve(1, generation=2)
    assert fleet.table(2) == Table((lane, lane), (lane,))
    assert fleet.table(1) == Table((0, 1), (0, 1))
    fleet.drain(children[0])
    assert fleet.table(1) == Table((1, 1), (0, 1))
    fleet.exit(new)
    assert fleet.table(2).live


def test_overlapping_reloads_use_lanes_again():
    fleet, children = serving(4)
    draining: list[Child] = []
    lanes = set()
    for generation in range(2, 12):
        for position in range(4):
            child, lane = fleet.serve(position + 1, generation)
            lanes.add(lane)
            fleet.drain(children[position])
            draining.append(children[position])
            children[position] = child
            table = fleet.table(*range(1, 12))
            assert len(set(table.live)) == 4
            assert set(table.live) <= set(table.owned)
        while len(draining) > 6:
            fleet.exit(draining.pop(0))
    assert max(lanes) < 4 + 6 + 4, "who serves, who drains, who is new"
