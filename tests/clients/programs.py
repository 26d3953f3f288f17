"""Programs that are not Python packages: a test that misses one is skipped, and says which."""

import shutil

import pytest


def program(name: str) -> str:
    """Where it is installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
