"""Whatever stands in a file, reading it gives a job or faults, and never anything else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wfengine.errors import JobFileError
from wfengine.jobfile import read
from wfengine.layer import Layer


class AnyConfig(msgspec.Struct, kw_only=True):
    text: str
    number: int = 1
    nested: dict[str, list[int | str]] = {}
    anything: Any = None


class AnyLayer(Layer[AnyConfig]):
    name = "any"
    Config = AnyConfig

    def run(self, context):
        raise NotImplementedError


LAYERS = {"any": AnyLayer}
FILE = """\
name: nightly
parameters: {day: 2024-01-05, n: 5}
schedule: {cron: 0 6 * * *, timezone_id: Europe/Rome}
health: {rules: [{metric: RUN_DURATION_SECONDS, op: GREATER_THAN, value: 600}]}
base: &base {max_retries: 1}
tasks:
- task_key: a
  <<: *base
  any_task: {text: "{{job.parameters.day}}", number: 2, nested: {x: [1, a]}, anything: [1.5, no, {y: ~}]}
- task_key: b
  depends_on: [a]
  any_task: {text: '${var.x}'}
  expect: [{name: e, table: t, where: n > 0}]
"""
PIECES = ["{{", "}}", "&a ", "*a", "<<: ", "- ", ": ", "\t", "\n", "!!str ", "'", '"', "[", "{", "}", "]", "|", "? ", "---\n", "9" * 40, "\\ud83d", "#", "${var.", "null"]  # fmt: skip


def judged(data: bytes):
    """Return the job or the faults; anything else that is raised fails the test."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.yml"
        path.write_bytes(data)
        try:
            return read(path, LAYERS, root=Path(folder), variables={"x": "y"}).job
        except JobFileError as error:
            faults = error.faults
    assert faults
    assert [fault for fault in faults if not fault.message or not str(fault).isprintable()] == []
    return faults


def test_the_file_that_is_mutated_is_good_but_for_its_anchor():
    (fault,) = judged(FILE.encode())
    assert fault.field == "base"


@pytest.mark.faults
@settings(deadline=None, max_examples=300)
@given(st.text() | st.text(alphabet="{}[]:,-&*!|>'\"#?%@`\n\t abn0~<") | st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_gives_a_job_or_faults(text):
    """C6 to C11."""
    assert judged(text.encode("utf-8", "surrogatepass")) is not None


@pytest.mark.faults
@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_job_or_faults(data):
    assert judged(data) is not None


@pytest.mark.faults
@settings(deadline=None, max_examples=400)
@given(
    st.lists(
        st.tuples(st.integers(0, len(FILE)), st.integers(0, 12), st.sampled_from(["", *PIECES]) | st.text(max_size=3)),
        min_size=1,
        max_size=4,
    )
)
def test_a_good_file_with_pieces_cut_out_and_put_in_gives_a_job_or_faults(edits):
    text = FILE
    for at, cut, piece in edits:
        text = text[:at] + piece + text[at + cut :]
    assert judged(text.encode("utf-8", "surrogatepass")) is not None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["{{job.id}}", "a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["task_key", "name", "text", "rules", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = [
    "name",
    "parameters",
    "schedule",
    "health",
    "tasks",
    "queue",
    "trigger",
    "task_key",
    "depends_on",
    "any_task",
    "expect",
    "run_if",
]


@pytest.mark.faults
@settings(deadline=None, max_examples=400)
@given(st.sampled_from(PLACES), VALUES)
def test_any_value_in_any_field_gives_a_job_or_faults(place, value):
    job = {"name": "j", "tasks": [{"task_key": "a", "any_task": {"text": "x"}}]}
    target = job["tasks"][0] if place in PLACES[7:] else job
    target[place] = value
    assert judged(yaml.safe_dump(job, allow_unicode=True).encode()) is not None
