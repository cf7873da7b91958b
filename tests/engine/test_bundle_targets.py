"""What a target changes in the jobs of a bundle (docs/semantics.md, section 1)."""

from __future__ import annotations

import pytest
from bundled import bundle, faults, job, one

from wfengine.errors import JobFileError


@pytest.fixture(autouse=True)
def user(monkeypatch):
    monkeypatch.setenv("LOGNAME", "ann")


def target_of(folder, targets, wanted=None):
    return bundle(folder, one("{}", targets), wanted).target


def test_the_target_is_the_one_wanted_or_the_default_one_or_the_only_one(tmp_path):
    assert target_of(tmp_path, "") == "default"
    assert target_of(tmp_path, "", "default") == "default"
    assert target_of(tmp_path, "targets: {dev: }\n") == "dev"
    assert target_of(tmp_path, "targets: {dev: {}, prod: {default: true}}\n") == "prod"
    assert target_of(tmp_path, "targets: {dev: {}, prod: {default: true}}\n", "dev") == "dev"


@pytest.mark.parametrize(
    ("targets", "wanted", "message"),
    [
        ("targets: {dev: {}, prod: {}}\n", None, "has several targets and no default (choose one with --target: dev, prod)"),
        ("targets: {a: {default: true}, b: {default: true}}\n", None, "has more than one target with `default: true` (choose one with --target: a, b)"),
        ("targets: {dev: {}, prod: {}}\n", "prd", "there is no target 'prd' (did you mean 'prod'?)"),
        ("targets: {dev: {}, prod: {}}\n", "x", "there is no target 'x' (known are dev, prod)"),
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_told_is_refused_with_the_choices(tmp_path, targets, wanted, message):
    with pytest.raises(JobFileError) as error:
        target_of(tmp_path, targets, wanted)
    assert [str(fault) for fault in error.value.faults] == [f"{tmp_path}/databricks.yml:8:10: targets: {message}"]


def test_a_bundle_without_targets_has_only_its_own(tmp_path):
    with pytest.raises(JobFileError, match="there is no target 'dev'"):
        target_of(tmp_path, "", "dev")


OVERLAID = """\
bundle: {name: shop}
resources:
  jobs:
    a:
      name: nightly
      timeout_seconds: 5
      parameters: [{name: day, default: x}, {name: n, default: "1"}]
      email_notifications: {on_failure: [a@shop.example]}
      tasks:
        - task_key: load
          max_retries: 1
          echo_task: {text: base, number: 1}
        - task_key: report
          depends_on: [{task_key: load}]
          echo_task: {names: [a]}
targets:
  dev: {default: true}
  prod:
    resources:
      jobs:
        a:
          timeout_seconds: 9
          description:
          parameters: [{name: n, default: "2"}, {name: m}]
          email_notifications: {on_failure: [b@shop.example]}
          tasks:
            - task_key: report
              echo_task: {names: [b]}
            - task_key: load
              max_retries: 3
              echo_task: {number: 2}
            - task_key: extra
              echo_task: {}
        b:
          tasks: [{task_key: only, echo_task: {}}]
"""


def test_a_target_is_laid_over_the_jobs_as_the_databricks_cli_does(tmp_path):
    """Mappings and keyed lists merge, other lists are appended, values are replaced, null replaces nothing."""
    found = bundle(tmp_path, OVERLAID, "prod")
    assert found.faults == ()
    laid = found.jobs["a"]
    assert (laid.name, laid.timeout_seconds, laid.description) == ("nightly", 9, "")
    assert [(item.name, item.default) for item in laid.parameters] == [("day", "x"), ("n", "2"), ("m", "")]
    assert laid.email_notifications == {"on_failure": ["a@shop.example", "b@shop.example"]}
    assert [(task.task_key, task.max_retries, task.config) for task in laid.tasks] == [
        ("load", 3, {"text": "base", "number": 2}),
        ("report", 0, {"names": ["a", "b"]}),
        ("extra", 0, {}),
    ]
    assert list(found.jobs) == ["a", "b"]


def test_another_target_is_not_laid_over(tmp_path):
    found = bundle(tmp_path, OVERLAID)
    assert list(found.jobs) == ["a"]
    assert found.jobs["a"].tasks[0].config == {"text": "base", "number": 1}


def test_a_fault_in_what_a_target_says_is_told_at_its_own_place(tmp_path):
    files = {
        "databricks.yml": "bundle: {name: shop}\ninclude: [j.yml]\ntargets:\n  dev:\n    resources:\n      jobs:\n"
        "        a: {tasks: [{task_key: x, max_retries: many, depends_on: [{task_key: z}]}]}\n",
        "j.yml": "resources: {jobs: {a: {tasks: [{task_key: x, echo_task: {number: one}}]}}}\n",
    }
    assert faults(bundle(tmp_path, files), tmp_path) == [
        "databricks.yml:7:48: resources.jobs.a.tasks[0].max_retries: should be a whole number",
        "databricks.yml:7:78: resources.jobs.a.tasks[0].depends_on[0].task_key: there is no task 'z'",
        "j.yml:1:66: resources.jobs.a.tasks[0].echo_task.number: should be a whole number",
    ]


def test_values_of_different_kinds_are_not_merged(tmp_path):
    more = "targets:\n  dev:\n    resources: {jobs: {daily: {tasks: {a: 1}}}}\n"
    assert faults(bundle(tmp_path, one("{}", more)), tmp_path) == [
        "databricks.yml:10:39: resources.jobs.daily.tasks: is a mapping here and a list in "
        f"{tmp_path}/databricks.yml:6, which cannot be merged (write both in the same form)".replace(f"{tmp_path}/", "")
    ]


def test_a_task_that_stands_twice_in_one_file_stays_a_fault(tmp_path):
    """C5."""
    more = "targets: {dev: {resources: {jobs: {daily: {tasks: [{task_key: a, max_retries: 1}]}}}}}\n"
    files = one("{}", more).replace("      tasks:\n", "      tasks:\n        - {task_key: a, echo_task: {}}\n")
    (fault,) = faults(bundle(tmp_path, files), tmp_path)
    assert "the task_key 'a' stands here for the second time, first in line" in fault


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{mode: developement}", "mode: should be one of development, production (did you mean 'development'?)"),
        ("{defualt: true}", "defualt: is not a known field (did you mean 'default'?)"),
        ("x", "should be a mapping"),
        ("{presets: {trigger_pause_status: PAUSD}}", "presets.trigger_pause_status: should be one of PAUSED, UNPAUSED (did you mean 'PAUSED'?)"),
        ("{presets: {prefix: x}}", "presets.prefix: is not a known field (did you mean 'name_prefix'?)"),
    ],
)  # fmt: skip
def test_a_target_that_is_wrong_is_refused(tmp_path, target, message):
    (fault,) = faults(bundle(tmp_path, one("{}", f"targets: {{dev: {target}}}\n")), tmp_path)
    assert fault.startswith("databricks.yml:8:")
    assert fault.endswith(message)


STARTED = "      schedule: {cron: 0 6 * * *}\n"


def started(folder, more, key="daily", extra=STARTED):
    return job(folder, one("{}", more).replace("      tasks:\n", f"{extra}      tasks:\n"), key)


def test_development_mode_names_the_user_pauses_and_lets_runs_overlap(tmp_path):
    found = started(tmp_path, "targets: {dev: {mode: development}}\n")
    assert (found.name, found.max_concurrent_runs, found.schedule.pause_status) == ("[dev ann] daily", 4, "PAUSED")


def test_what_a_job_says_itself_is_stronger_than_the_mode(tmp_path):
    extra = "      max_concurrent_runs: 1\n      schedule: {cron: 0 6 * * *, pause_status: UNPAUSED}\n"
    found = started(tmp_path, "targets: {dev: {mode: development}}\n", extra=extra)
    assert (found.max_concurrent_runs, found.schedule.pause_status) == (1, "UNPAUSED")


@pytest.mark.parametrize(
    "extra", ["      trigger: {periodic: {interval: 1, unit: DAYS}}\n", "      continuous: {task_retry_mode: NEVER}\n"]
)
def test_triggers_are_paused_as_schedules_are(tmp_path, extra):
    found = started(tmp_path, "targets: {dev: {mode: development}}\n", extra=extra)
    assert (found.trigger or found.continuous)["pause_status"] == "PAUSED"


def test_presets_of_the_target_are_stronger_than_the_mode_and_those_of_the_bundle(tmp_path):
    more = """\
presets: {name_prefix: all_, trigger_pause_status: PAUSED, jobs_max_concurrent_runs: 9, tags: {a: b}}
targets:
  dev:
    mode: development
    presets: {name_prefix: "${bundle.target}_${workspace.current_user.short_name}_", trigger_pause_status: UNPAUSED}
"""
    found = started(tmp_path, more)
    assert (found.name, found.max_concurrent_runs, found.schedule.pause_status) == ("dev_ann_daily", 9, "UNPAUSED")


def test_production_mode_changes_nothing(tmp_path):
    found = started(tmp_path, "targets: {prod: {mode: production, git: {branch: main}}}\n")
    assert (found.name, found.max_concurrent_runs, found.schedule.pause_status) == ("daily", 1, "UNPAUSED")


def test_a_path_starts_at_the_file_it_is_written_in(tmp_path):
    """docs/semantics.md, section 1: 65 % of real paths are relative to their YAML file."""
    files = {
        "databricks.yml": """\
bundle: {name: shop}
include: [jobs/*.yml, vars/*.yml]
targets:
  dev:
    resources:
      jobs:
        a:
          tasks:
            - task_key: two
              notebook_task: {notebook_path: src/two}
            - task_key: four
              notebook_task: {notebook_path: /Workspace/four}
""",
        "jobs/a.yml": """\
resources:
  jobs:
    a:
      tasks:
        - {task_key: one, notebook_task: {notebook_path: ../src/one.py}}
        - {task_key: two, notebook_task: {notebook_path: ../src/not}}
        - {task_key: three, notebook_task: {notebook_path: "${var.three}"}}
        - {task_key: five, notebook_task: "${var.five}"}
        - {task_key: four, notebook_task: {notebook_path: here}}
        - {task_key: six, notebook_task: {notebook_path: "${workspace.file_path}/src/six"}}
""",
        "vars/v.yml": "variables:\n  three: {default: ../src/three}\n"
        "  five: {type: complex, default: {notebook_path: five}}\n",
    }
    found = job(tmp_path, files)
    assert found.path == str(tmp_path / "jobs" / "a.yml")
    assert {task.task_key: task.config["notebook_path"] for task in found.tasks} == {
        "one": "../src/one.py",
        "two": "../src/two",
        "three": "../src/three",
        "four": "/Workspace/four",
        "five": "../vars/five",
        "six": f"{tmp_path}/src/six",
    }


def test_a_path_inside_a_for_each_starts_at_its_file_too():
    from wfengine.jobfile import source
    from wfengine.jobfile.bundle.paths import rebased

    node, _ = source.parse("tasks: [{for_each_task: {task: {notebook_task: {notebook_path: n}}}}]", "/b/vars/v.yml")
    (task,) = rebased(node, "/b/jobs").get("tasks").items
    inner = task.get("for_each_task").get("task")
    assert inner.get("notebook_task").get("notebook_path").text == "../vars/n"
