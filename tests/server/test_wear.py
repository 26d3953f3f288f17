"""wear.py: when a worker has served long enough."""

from tricorn.config import Config
from tricorn.wear import Wear

MIB = 2**20


def none() -> int:
    raise AssertionError("nobody wants to know")


def test_by_default_nothing_wears():
    wear = Wear(Config(), 1.0, 0.0)
    assert wear.reason(1e9, 10**9, none) == ""


def test_requests_are_counted_with_a_worker_s_own_jitter():
    config = Config(max_requests=100, max_requests_jitter=50)
    assert Wear(config, 0.0, 0.0).reason(1, 99, none) == ""
    assert Wear(config, 0.0, 0.0).reason(1, 100, none) == "100 requests"
    assert Wear(config, 1.0, 0.0).reason(1, 149, none) == ""
    assert Wear(config, 1.0, 0.0).reason(1, 150, none) == "150 requests"


def test_age_counts_from_the_start_of_the_worker():
    config = Config(workers_lifetime=3600)
    assert Wear(config, 0.0, 500.0).reason(4099, 0, none) == ""
    assert Wear(config, 0.0, 500.0).reason(4100, 0, none) == "3600 s old"
    assert Wear(config, 1.0, 500.0).reason(4100, 0, none) == ""
    assert Wear(config, 1.0, 500.0).reason(4461, 0, none) == "3961 s old"


def test_memory_counts_when_it_stays():
    wear = Wear(Config(workers_max_rss=100 * MIB), 0.5, 0.0)
    sizes = [101, 102, 99, 101, 102, 103]
    found = [wear.reason(n, 0, lambda size=size: size * MIB) for n, size in enumerate(sizes)]
    assert found == [""] * 5 + ["103.0 MiB of memory"]


def test_wear_is_told_once():
    wear = Wear(Config(max_requests=1), 0.0, 0.0)
    assert wear.reason(1, 5, none)
    assert wear.reason(2, 9, none) == ""
