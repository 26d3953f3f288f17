"""Rolling restarts as Kubernetes does them: a new pod is ready, the old one gets TERM at once, and
whoever sends requests there hears of it only later. `python -m tests.bench.rolling` does more.
"""

import pytest

from tests.bench.rolling import REMOVAL, SPARE, roll

pytestmark = pytest.mark.slow


def test_restarts_lose_nothing_where_the_delay_is_longer_than_the_removal(tmp_path):
    canary = roll(tmp_path, restarts=1, workers=2, delay=REMOVAL + SPARE)
    assert canary.complaints() == []
    assert all(each.answered > 50 and not each.lost for each in canary.tally().values())
