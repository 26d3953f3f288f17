"""Programs that are not Python packages; a test that misses one is skipped, and says which."""

import shutil
import sys
from pathlib import Path

import pytest

ELSEWHERE = f"/usr/sbin:/usr/local/sbin:/sbin:{Path(sys.executable).parent}"


def program(name: str) -> str:
    """Where it is installed."""
    found = shutil.which(name) or shutil.which(name, path=ELSEWHERE)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
