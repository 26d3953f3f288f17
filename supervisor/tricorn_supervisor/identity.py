"""Whose rights the processes have that meet clients: assumed for good, and seen to be so."""

import grp
import os
import pwd
from contextlib import suppress
from dataclasses import dataclass

ROOT = 0


class IdentityError(Exception):
    """Nobody can be that; one sentence."""


@dataclass(frozen=True, slots=True)
class Identity:
    uid: int
    gid: int

    @property
    def present(self) -> bool:
        return (os.geteuid(), os.getegid()) == (os.getuid(), os.getgid()) == (self.uid, self.gid)

    def own(self, path: str) -> None:
        """Give a file away, and not what a link in its place leads to. Raises OSError."""
        if not self.present:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def assume(self) -> None:
        """Be it for the rest of this process's life. Raises IdentityError, and then end it."""
        if self.present and self.uid != ROOT:
            return
        try:
            # In this order: whoever is no longer root cannot change the others.
            os.setgroups([])
            os.setgid(self.gid)
            os.setuid(self.uid)
        except OSError as error:
            raise IdentityError(f"cannot become {self}: {error.strerror}") from None
        if not self.present or os.getgroups():
            raise IdentityError(f"has not become {self}")
        # A saved ID or a capability would let the application, or whoever breaks it, go back.
        if self.uid != ROOT:
            with suppress(PermissionError):
                os.setuid(ROOT)
                raise IdentityError(f"could become root again after becoming {self}")

    def __str__(self) -> str:
        return f"user {self.uid}, group {self.gid}"


def identify(user: str, group: str) -> Identity | None:
    """Names or numbers, "" for what is to stay as it is. Raises IdentityError."""
    if not user and not group:
        return None
    uid, gid = os.geteuid(), os.getegid()
    if user:
        uid, primary = _user(user)
        if primary is None and not group:
            # The group that we have would be root's.
            raise IdentityError(f"user {user} has no entry that names a group: add --group")
        gid = gid if primary is None else primary
    if group:
        gid = _group(group)
    identity = Identity(uid, gid)
    if os.geteuid() != ROOT and not identity.present:
        raise IdentityError(f"only root can become {identity}")
    return identity


def _user(text: str) -> tuple[int, int | None]:
    try:
        found = pwd.getpwuid(int(text)) if text.isdecimal() else pwd.getpwnam(text)
    except KeyError:
        if text.isdecimal():
            return int(text), None
        raise IdentityError(f"there is no user {text}") from None
    return found.pw_uid, found.pw_gid


def _group(text: str) -> int:
    if text.isdecimal():
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise IdentityError(f"there is no group {text}") from None
