"""The pytest plugin that comes with wfengine (docs/testing.md), as a user's own tests meet it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from wfengine import Layer, TaskContext, TaskFailed, TaskResult
from wfengine.testing import task_context

pytest_plugins = ("pytester",)

JOB = """\
name: {name}
parameters: {{region: eu}}
schedule: {{cron: "0 3 * * *"}}
tasks:
  - {{task_key: bronze, max_retries: 2, shell_task: {{command: ["false"]}}}}
  - {{task_key: silver, depends_on: [bronze], shell_task: {{command: [clean, "{{{{job.parameters.region}}}}"]}}}}
"""


@pytest.fixture
def passes(pytester):
    """Run these lines as the body of a user's test that has a simulation of one job, ``sim``."""
    pytester.makefile(".toml", wfengine="")
    for name in ("one", "two"):
        pytester.makefile(".yml", **{name: JOB.format(name=name)})

    def run(body: str, files: str = "'one.yml'") -> None:
        lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
        pytester.makepyfile(
            "import pytest\nfrom wfengine import UsageError\n"
            f"def test_it(wfengine_virtual, wfengine_engine, tmp_path):\n    sim = wfengine_virtual({files})\n{lines}\n"
        )
        pytester.runpytest_subprocess("-p", "wfengine.testing", "-W", "error").assert_outcomes(passed=1)

    return run


def test_forced_results_durations_and_parameters_reach_the_run(passes):
    passes("""
sim.fail("bronze", attempts=2, message="no disk")
sim.duration("silver", minutes=5, seconds=30)
run = sim.run(parameters={"region": "us"})
assert sim.results(run) == {"bronze": "SUCCESS", "silver": "SUCCESS"}
assert [a.error.message for a in run.attempts if a.error] == ["no disk", "no disk"]
assert run.end_time - run.start_time == (3 * 60 + 5 * 60 + 30) * 1000
assert run.latest()["silver"].resolved == {"command": ["clean", "us"]}
""")


def test_time_goes_on_only_when_it_is_told_to(passes):
    passes("""
assert sim.now.isoformat() == "2026-01-01T00:00:00+00:00"
assert sim.ticks() == []
sim.advance(days=1)
sim.at("2026-01-03T05:00", "Europe/Berlin")
assert sim.now.isoformat() == "2026-01-03T04:00:00+00:00"
assert [sim.results(run) for run in sim.runs()] == [{"bronze": "SUCCESS", "silver": "SUCCESS"}] * 3
assert [str(tick.outcome) for tick in sim.ticks()] == ["RUN"] * 3
""")


def test_failures_of_a_day_are_taken_back_by_a_success(passes):
    passes("""
sim.fail("silver", on="2026-01-02")
sim.advance(days=2)
assert [str(run.result) for run in sim.runs()] == ["SUCCESS", "FAILED"]
sim.succeed("silver", output={"rows": 3})
run = sim.run()
assert run.latest()["silver"].output == {"rows": 3}
""")


def test_several_files_are_one_world_and_their_jobs_are_named(passes):
    passes(
        """
sim.fail("two/bronze")
with pytest.raises(UsageError, match="say which job"):
    sim.run()
assert str(sim.run("one").result) == "SUCCESS"
assert str(sim.run("two").result) == "FAILED"
with pytest.raises(UsageError, match="did you mean 'bronze'"):
    sim.fail("bronce")
with pytest.raises(UsageError, match="did you mean 'two'"):
    sim.runs("tow")
""",
        "'one.yml', 'two.yml'",
    )


def test_two_simulations_know_nothing_of_each_other(passes):
    passes("""
other = wfengine_virtual("one.yml", start="2026-06-01T12:00", timezone="Europe/Berlin")
sim.advance(days=1)
assert other.now.isoformat() == "2026-06-01T10:00:00+00:00"
assert (len(sim.runs()), other.runs()) == (1, [])
""")


def test_the_engine_has_a_home_of_its_own_and_runs_for_real(passes):
    passes("""
run = wfengine_engine.run_once("one.yml")
assert not run.succeeded
assert (tmp_path / "wfengine-home" / "state.db").exists()
assert wfengine_engine.runs() == [run]
""")


def test_the_plugin_costs_a_session_nothing_until_it_is_used():
    code = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import wfengine.testing\n"
        "added = {name for name in set(sys.modules) - before if not name.startswith('wfengine')}\n"
        "assert 'wfengine.app' not in sys.modules and 'wfengine.store' not in sys.modules\n"
        "assert not added & {'msgspec', 'yaml', 'croniter', 'rich', 'click', 'pluggy', 'sqlite3'}, added\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_plugin_may_be_named_besides_being_installed(pytester):
    """Its entry point has the name of its module, so that naming it again is no second registration."""
    pytester.makepyfile("def test_it(wfengine_engine):\n    assert wfengine_engine.runs() == []\n")
    pytester.makeconftest('pytest_plugins = ("wfengine.testing",)\n')
    done = pytester.runpytest_subprocess("-p", "wfengine.testing", "-W", "error")
    done.assert_outcomes(passed=1)


# -- a layer alone --------------------------------------------------------------------------------------------------


class CopyConfig(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    parameters: dict[str, str] = {}


class Copy(Layer[CopyConfig]):
    name = "copy"
    Config = CopyConfig
    parameters_field = "parameters"

    def run(self, context: TaskContext[CopyConfig]) -> TaskResult:
        text = context.path(context.config.source).read_text()
        (context.scratch / "copy").write_text(text)
        return TaskResult(output=[text, dict(context.parameters), dict(context.upstream_values)])


def test_a_layer_alone_is_given_what_a_worker_gives_it(tmp_path):
    (tmp_path / "in.txt").write_text("hello")
    context = task_context(
        Copy,
        {"source": "in.txt", "parameters": {"a": "own", "b": "own"}},
        tmp_path,
        parameters={"b": "job"},
        upstream_values={"bronze": {"rows": 7}},
        due="2026-03-29T01:00",
    )
    assert Copy().run(context).output == ["hello", {"a": "own", "b": "job"}, {"bronze": {"rows": 7}}]
    assert (context.scratch / "copy").read_text() == "hello"
    assert context.identity.trigger_time == 1_774_746_000_000
    assert context.warehouse == tmp_path / "warehouse"


def test_a_layer_alone_may_not_leave_its_folder_either(tmp_path):
    """docs/reliability.md, C12."""
    context = task_context(Copy, {"source": "../elsewhere"}, tmp_path)
    with pytest.raises(TaskFailed, match="outside the project"):
        Copy().run(context)


def test_a_config_that_does_not_fit_is_refused_as_in_a_worker(tmp_path):
    with pytest.raises(TaskFailed, match="sauce"):
        task_context(Copy, {"source": "a", "sauce": "b"}, tmp_path)


def test_without_an_engine_there_is_no_spark(tmp_path):
    context = task_context(Copy, {"source": "a"}, tmp_path)
    with pytest.raises(TaskFailed, match="no Spark session"):
        _ = context.spark
    assert not Path(context.warehouse).exists()
