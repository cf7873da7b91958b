"""The same runs from Python: as data, without global state, two engines side by side."""

from __future__ import annotations

import threading

import pytest

from wfengine import Engine, JobFileError, Result

JOB = "name: hello\nparameters: {whom: world}\ntasks: [{task_key: t, shell_task: {command: [echo, '{{job.parameters.whom}}']}}]\n"


def test_a_run_comes_back_as_data(project):
    engine = Engine(project.root / "home")
    job = project.write("job.yml", JOB)
    run = engine.run_once(job, parameters={"whom": "you"})
    assert run.result is Result.SUCCESS
    assert run.parameters == {"whom": "you"}
    assert engine.log_path(run.run_id, "t", 0).read_text() == "you\n"
    assert engine.run(run.run_id)[0] == run
    assert [r.run_id for r in engine.runs()] == [run.run_id]


def test_two_engines_run_side_by_side(project):
    job = project.write("job.yml", JOB)
    engines = [Engine(project.root / name) for name in ("one", "two")]
    found: dict[int, object] = {}

    def work(number: int) -> None:
        found[number] = engines[number].run_once(job, parameters={"whom": str(number)})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {number: run.result for number, run in found.items()} == {0: Result.SUCCESS, 1: Result.SUCCESS}
    assert [engine.log_path(1, "t", 0).read_text() for engine in engines] == ["0\n", "1\n"]


def test_a_bad_file_raises_with_every_fault(project):
    job = project.write("job.yml", "name: j\ntasks: [{task_key: a, shel_task: {}}]\n")
    with pytest.raises(JobFileError) as caught:
        Engine(project.root / "home").run_once(job)
    assert caught.value.faults[0].line == 2
