"""Whatever stands in the files of a bundle, reading it gives a bundle or faults, and never anything else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml
from bundled import LAYERS, written
from hypothesis import given, settings
from hypothesis import strategies as st

from wfengine.errors import JobFileError
from wfengine.jobfile import read_bundle

ROOT = """\
bundle: {name: shop}
include: [j.yml]
variables:
  x: {default: "${var.y}"}
  y: {type: complex, default: {a: [1, "${bundle.target}"], b: "${resources.jobs.a.id}"}}
targets:
  dev:
    default: true
    mode: development
    presets: {name_prefix: "${var.z}", trigger_pause_status: PAUSED}
    variables: {z: p_}
    resources: {jobs: {a: {tasks: [{task_key: t, echo_task: {names: [b]}}], schedule: {cron: 0 6 * * *}}}}
"""
JOBS = """\
variables: {z: {description: d}}
resources:
  pipelines: {p: {}}
  jobs:
    a:
      tasks:
      - {task_key: t, <<: &more {max_retries: 1}, echo_task: {anything: "${var.x}", text: "a ${var.z}", names: [a]}}
      - {<<: *more, task_key: u, depends_on: [t], notebook_task: {notebook_path: "${workspace.file_path}/n"}}
"""
PIECES = ["${", "}", "${var.", "${var.x}", "${var.y.a[1]}", "${resources.jobs.a}", "${bundle}", "{{", "&a ", "*a", "<<: ", "- ", ": ", "\n", "'", '"', "[", "{", "~", "null", "dev", "tasks", "../*", "**", "\\u202e"]  # fmt: skip


def judged(files):
    """Return the bundle, or the faults; anything else that is raised fails the test."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), {})
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        try:
            found = read_bundle(path, LAYERS, root=Path(folder), variables={"x": "${var.y}"})
            faults = found.faults
        except JobFileError as error:
            found, faults = None, error.faults
            assert faults
    assert [fault for fault in faults if not fault.message or not str(fault).isprintable()] == []
    return found


def test_the_bundle_that_is_mutated_is_good():
    found = judged({"databricks.yml": ROOT.encode(), "j.yml": JOBS.encode()})
    assert (found.faults, found.jobs["a"].name, len(found.jobs["a"].tasks)) == ((), "p_a", 2)


@pytest.mark.faults
@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(ROOT + JOBS)), st.integers(0, 12), st.sampled_from(["", *PIECES]) | st.text(max_size=3)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_good_bundle_with_pieces_cut_out_and_put_in_gives_a_bundle_or_faults(edits):
    """C6 to C13."""
    text = ROOT + JOBS
    for at, cut, piece in edits:
        text = text[:at] + piece + text[at + cut :]
    halves = {"databricks.yml": text[: len(ROOT)], "j.yml": text[len(ROOT) :]}
    judged({name: half.encode("utf-8", "surrogatepass") for name, half in halves.items()})


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["${var.x}", "${var.y}", "a${var.x}", "${var.y.k}", "${resources.jobs.a.tasks}", "${resources}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "default", "type", "jobs", "tasks", "task_key", "k", "dev"]), inner)
    ),
    max_leaves=8,
)
PLACES = ["bundle", "include", "variables", "targets", "resources", "presets", "workspace", "sync"]


@pytest.mark.faults
@settings(deadline=None, max_examples=400)
@given(
    st.dictionaries(st.sampled_from(PLACES), VALUES, max_size=4),
    st.dictionaries(st.sampled_from(["a", "b"]), VALUES, max_size=2),
    st.dictionaries(st.sampled_from(["x", "y", "z"]), VALUES, max_size=3),
)
def test_any_value_in_any_field_gives_a_bundle_or_faults(top, jobs, variables):
    document = {
        "bundle": {"name": "shop"},
        "resources": {"jobs": jobs},
        "variables": {name: {"type": "complex", "default": value} for name, value in variables.items()},
        **top,
    }
    judged({"databricks.yml": yaml.safe_dump(document, allow_unicode=True).encode()})


def test_fifty_jobs_in_fifty_files_come_out_in_the_order_of_the_files(tmp_path):
    files = {"databricks.yml": "bundle: {name: shop}\ninclude: [jobs/*.yml]\nvariables: {n: {default: 3}}\n"}
    for number in range(50):
        tasks = "".join(
            f"        - {{task_key: t{task}, max_retries: '${{var.n}}', echo_task: {{text: '${{bundle.target}}'}}}}\n"
            for task in range(20)
        )
        files[f"jobs/{number:02}.yml"] = f"resources:\n  jobs:\n    job_{number:02}:\n      tasks:\n{tasks}"
    found = read_bundle(written(tmp_path, files), LAYERS, root=tmp_path)
    assert list(found.jobs) == [f"job_{number:02}" for number in range(50)]
    assert {task.max_retries for job in found.jobs.values() for task in job.tasks} == {3}
