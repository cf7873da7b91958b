"""The examples of docs/layers.md are job files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wfengine import jobfile
from wfengine.errors import JobFileError
from wfengine_layers.bronze import Bronze
from wfengine_layers.gold import Gold
from wfengine_layers.silver import Silver

PAGE = Path(__file__).parents[2] / "docs" / "layers.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_job_file_without_fault(example, tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(example)
    read = jobfile.read(path, {"bronze": Bronze, "silver": Silver, "gold": Gold}, root=tmp_path)
    assert [task.kind for task in read.job.tasks] == ["bronze", "silver", "gold"]


def test_a_fault_of_a_layers_own_check_has_its_line(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(EXAMPLES[0].replace("decimal(10,2)", "decimall").replace("max_rejected: 5%", "max_rejected: some"))
    with pytest.raises(JobFileError) as raised:
        jobfile.read(path, {"bronze": Bronze, "silver": Silver, "gold": Gold}, root=tmp_path)
    assert "job.yml:16:" in str(raised.value)
    assert "tasks[1].silver_task.max_rejected: 'some' is neither a number of rows" in str(raised.value)
