"""What the tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Bench

from wfengine.executor import ProcessExecutor


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An executor whose attempts work in the test's folder."""
    with ProcessExecutor(f"{tmp_path}:1") as executor:
        yield Bench(executor, tmp_path)
