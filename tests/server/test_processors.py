"""processors.py: how many workers `-w auto` makes."""

import os

import pytest

from tricorn.processors import processors, quota

ALLOWED = len(os.sched_getaffinity(0))
NOWHERE = "no/such/file"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_control_groups_affinity_counts(tmp_path):
    assert processors(tmp_path, tmp_path / NOWHERE) == ALLOWED


def test_without_a_quota_affinity_counts(tmp_path):
    write(tmp_path / "cpu.max", "max 100000\n")
    assert processors(tmp_path, tmp_path / NOWHERE) == ALLOWED


@pytest.mark.parametrize(
    "limit, expected", [("50000 100000", 1), ("100000 100000", 1), ("1000 100000", 1)]
)
def test_small_quota_is_one_processor(tmp_path, limit, expected):
    write(tmp_path / "cpu.max", limit)
    assert processors(tmp_path, tmp_path / NOWHERE) == expected


def test_part_of_a_processor_counts_as_a_whole_one(tmp_path):
    write(tmp_path / "cpu.max", "150000 100000")
    assert quota(tmp_path, tmp_path / NOWHERE) == 1.5
    assert processors(tmp_path, tmp_path / NOWHERE) == min(ALLOWED, 2)


def test_quota_above_the_machine_is_no_reason_for_more(tmp_path):
    write(tmp_path / "cpu.max", "100000000 100000")
    assert processors(tmp_path, tmp_path / NOWHERE) == ALLOWED


def test_tightest_quota_on_the_way_up_counts(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("0::/kube/pod/container\n")
    write(tmp_path / "kube/pod/container/cpu.max", "max 100000")
    write(tmp_path / "kube/pod/cpu.max", "25000 100000")
    write(tmp_path / "kube/cpu.max", "800000 100000")
    assert quota(tmp_path, membership) == 0.25


def test_first_version_of_control_groups(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("5:cpuacct,cpu:/docker/abc\n1:name=systemd:/x\n")
    write(tmp_path / "cpu/docker/abc/cpu.cfs_quota_us", "50000\n")
    write(tmp_path / "cpu/docker/abc/cpu.cfs_period_us", "100000\n")
    assert quota(tmp_path, membership) == 0.5


def test_first_version_without_a_quota(tmp_path):
    write(tmp_path / "cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "cpu/cpu.cfs_period_us", "100000\n")
    assert processors(tmp_path, tmp_path / NOWHERE) == ALLOWED


@pytest.mark.parametrize("text", ["", "x y", "1", "100000 0"])
def test_quota_that_cannot_be_read_does_not_count(tmp_path, text):
    write(tmp_path / "cpu.max", text)
    assert processors(tmp_path, tmp_path / NOWHERE) == ALLOWED


def test_membership_that_cannot_be_read_does_not_count(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("nonsense\n")
    assert processors(tmp_path, membership) == ALLOWED


def test_this_machine():
    assert 1 <= processors() <= ALLOWED
