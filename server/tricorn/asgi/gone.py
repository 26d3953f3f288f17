"""Whether an application failed because its client has gone, which is no failure."""

from __future__ import annotations

from tricorn.connection import Gone


def comes_of_gone(error: BaseException) -> bool:
    """Whether Gone is at the root of it: frameworks turn it into exceptions of their own."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if isinstance(each, Gone):
            return True
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            left += (each.__cause__, each.__context__)
            if isinstance(each, BaseExceptionGroup):
                left += each.exceptions
    return False
