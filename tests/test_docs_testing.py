"""Every block of docs/testing.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

PAGE = (Path(__file__).parents[1] / "docs" / "testing.md").read_text()
JOBS = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r"def (test_\w+)", block)[0])
def test_a_block_passes_as_a_test_of_a_user(block, pytester):
    (job,) = JOBS
    pytester.mkdir("conf").joinpath("nightly.yml").write_text(job)
    pytester.makefile(".toml", wfengine="")
    pytester.makepyfile(block)
    done = pytester.runpytest_subprocess("-p", "wfengine.testing", "-W", "error")
    done.assert_outcomes(passed=block.count("def test_"))


def test_every_call_of_the_table_is_there():
    from wfengine.testing import Virtual

    calls = re.findall(r"^\| (`.*?`) \|", PAGE, re.M)
    names = [name for cell in calls for name in re.findall(r"`(\w+)", cell)]
    assert names
    assert [name for name in names if not hasattr(Virtual, name)] == []


def test_every_method_is_in_the_table():
    from wfengine.testing import Virtual

    assert [name for name in vars(Virtual) if not name.startswith("_") and f"`{name}" not in PAGE] == []
