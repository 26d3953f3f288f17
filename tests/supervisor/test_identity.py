"""Rights are dropped for good, and names that are nobody's are refused."""

import os
import pwd
from collections.abc import Callable

import pytest

from tricorn_supervisor.identity import Identity, IdentityError, identify

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def test_without_a_name_nothing_changes():
    assert identify("", "") is None


@as_root
def test_user_brings_its_group():
    nobody = pwd.getpwnam("nobody")
    assert identify("nobody", "") == Identity(nobody.pw_uid, nobody.pw_gid)
    assert identify(str(nobody.pw_uid), "12345") == Identity(nobody.pw_uid, 12345)
    assert identify("", "12345") == Identity(0, 12345)


def test_user_without_an_entry_needs_a_group():
    with pytest.raises(IdentityError, match="add --group"):
        identify("54321", "")


@pytest.mark.parametrize(
    ("user", "group", "sentence"),
    [("nosuchuser", "", "no user nosuchuser"), ("0", "nosuchgroup", "no group nosuchgroup")],
)
def test_unknown_names_are_refused(user, group, sentence):
    with pytest.raises(IdentityError, match=sentence):
        identify(user, group)


@as_root
def test_file_that_a_link_leads_to_is_not_given_away(tmp_path):
    (tmp_path / "theirs").touch()
    (tmp_path / "link").symlink_to("theirs")
    Identity(54321, 54322).own(str(tmp_path / "link"))
    assert (tmp_path / "theirs").stat().st_uid == 0
    assert (tmp_path / "link").lstat().st_uid == 54321


def in_child(work: Callable[[], object]) -> str:
    """What a forked process returns, or the exception that ends it, in words."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        try:
            said = str(work())
        except BaseException as error:
            said = str(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


def assume() -> object:
    Identity(54321, 54322).assume()
    try:
        os.setuid(0)
    except PermissionError:
        return [*os.getresuid(), *os.getresgid(), *os.getgroups()]
    return "root is back"


def assume_with_a_way_back() -> object:
    os.setuid = lambda uid: os.setresuid(uid, uid, 0)
    return assume()


def without_rights() -> object:
    os.setgroups([])
    os.setresgid(54321, 54321, 54321)
    os.setresuid(54321, 54321, 54321)
    identify("54321", "54321").assume()
    return identify("54321", "54322")


@as_root
def test_root_is_gone_for_good_with_all_its_groups():  # F33
    assert in_child(assume) == "[54321, 54321, 54321, 54322, 54322, 54322]"


@as_root
def test_identity_that_could_become_root_again_is_no_identity():
    assert "could become root again" in in_child(assume_with_a_way_back)


@as_root
def test_only_root_becomes_somebody_else():
    assert in_child(without_rights) == "only root can become user 54321, group 54322"
