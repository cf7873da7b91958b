"""Which files a bundle is made of, and what each may say (docs/semantics.md, section 1)."""

from __future__ import annotations

import pytest
from bundled import LAYERS, bundle, faults, job, one, written

from wfengine.errors import JobFileError
from wfengine.jobfile import inspect, read, read_bundle

ECHO = "tasks: [{task_key: a, echo_task: {text: x}}]"


def test_jobs_of_included_files_are_jobs_of_the_bundle(tmp_path):
    found = bundle(
        tmp_path,
        {
            "databricks.yml": "bundle: {name: shop}\ninclude: [jobs/*.yml, more/**/*.json]\n",
            "jobs/b.yml": f"resources: {{jobs: {{b: {{{ECHO}}}}}}}",
            "jobs/a.yml": f"resources: {{jobs: {{a: {{name: first, {ECHO}}}}}}}",
            "jobs/not.txt": "{",
            "more/deep/c.json": '{"resources": {"jobs": {"c": {"tasks": [{"task_key": "x", "echo_task": {}}]}}}}',
        },
    )
    assert [(entry.key, entry.name) for entry in found.listed] == [("a", "first"), ("b", "b"), ("c", "c")]
    assert list(found.jobs) == ["a", "b", "c"]
    assert found.jobs["c"].path == str((tmp_path / "more/deep/c.json").resolve())
    assert (found.name, found.target, found.faults) == ("shop", "default", ())


def test_faults_of_all_files_are_told_at_once_each_with_its_own_path(tmp_path):
    """C5 to C9 hold in each file."""
    found = bundle(
        tmp_path,
        {
            "databricks.yml": "bundle: {nam: shop}\ninclude: [jobs/*]\nvarables: {}\n",
            "jobs/a.yml": "resources:\n  jobs:\n    a:\n      taks: []\n      tasks: [{task_key: a, echo_task: {txt: x}}]\n",
            "jobs/b.yml": "resources:\n  jobs:\n    b: {tasks: [}\n",
            "jobs/c.yml": "- x\n",
            "jobs/d.yml": "a: 1\na: 2\n",
        },
    )
    assert faults(found, tmp_path) == [
        "databricks.yml:1:9: bundle.name: is missing",
        "databricks.yml:1:10: bundle.nam: is not a known field (did you mean 'name'?)",
        "databricks.yml:3:1: varables: is not a known field (did you mean 'variables'?)",
        "jobs/a.yml:4:7: resources.jobs.a.taks: is not a known field (did you mean 'tasks'?)",
        "jobs/a.yml:5:41: resources.jobs.a.tasks[0].echo_task.txt: is not a known field (did you mean 'text'?)",
        "jobs/b.yml:3:17: is not valid YAML: while parsing a flow node, did not find expected node content",
        "jobs/c.yml:1:1: should be a mapping, as every file of a bundle",
        "jobs/d.yml:1:1: a: is not a known field (known are bundle, include, presets, resources, targets, variables, workspace)",
        "jobs/d.yml:2:1: the key 'a' stands here for the second time, first in line 1",
    ]
    assert found.jobs == {}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("../*.yml", "should be a pattern of paths below the bundle's folder"),
        ("/etc/*.yml", "should be a pattern of paths below the bundle's folder"),
        ("~/x.yml", "should be a pattern of paths below the bundle's folder"),
        ("jobs/../../x.yml", "should be a pattern of paths below the bundle's folder"),
        ("missing.yml", "there is no such file"),
        ("link/*.yml", "link/x.yml leads outside the bundle's folder"),
        ("notes.txt", "notes.txt is no .yml, .yaml, .json file (write a pattern that matches only the bundle's files)"),
        ("''", "should be a pattern of paths below the bundle's folder"),
    ],
)
def test_an_include_reads_files_below_the_bundle_only(tmp_path, pattern, message):
    """C12."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.yml").write_text(f"resources: {{jobs: {{x: {{{ECHO}}}}}}}")
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "notes.txt").write_text("resources: {}")
    (folder / "link").symlink_to(tmp_path / "outside")
    found = bundle(folder, f"bundle: {{name: shop}}\ninclude:\n  - {pattern}\n")
    assert faults(found, folder) == [f"databricks.yml:3:5: include[0]: {message}"]
    assert found.listed == ()


def test_a_bundle_may_not_include_without_bound(tmp_path, monkeypatch):
    monkeypatch.setattr("wfengine.jobfile.bundle.files.MAX_FILES", 2)
    files = {f"jobs/{name}.yml": "resources: {}\n" for name in "abc"}
    found = bundle(tmp_path, {"databricks.yml": "bundle: {name: shop}\ninclude: [jobs/*]\n", **files})
    assert faults(found, tmp_path) == ["databricks.yml:2:11: include[0]: matches more than 2 files"]


def test_a_file_that_several_patterns_match_is_read_once_and_the_bundle_never_includes_itself(tmp_path):
    found = bundle(
        tmp_path,
        {
            "databricks.yml": "bundle: {name: shop}\ninclude: ['*.yml', job.yml, 'j*']\n",
            "job.yml": f"include: [databricks.yml]\nresources: {{jobs: {{a: {{{ECHO}}}}}}}",
        },
    )
    assert (list(found.jobs), found.faults) == (["a"], ())
    assert "have no effect here: include" in found.warnings[0].message


def test_a_job_defined_in_two_files_is_refused_with_both_places(tmp_path):
    found = bundle(
        tmp_path,
        {
            "databricks.yml": f"bundle: {{name: shop}}\ninclude: ['j.yml']\nresources: {{jobs: {{a: {{{ECHO}}}}}}}",
            "j.yml": "resources: {jobs: {a: {name: b}}}",
        },
    )
    (fault,) = faults(found, tmp_path)
    expected = "j.yml:1:20: resources.jobs.a: defines the job 'a' again, first in databricks.yml:3"
    assert fault == f"{expected} (give one of them another key)"


def test_what_has_no_effect_is_told_once_for_all_files_and_jobs(tmp_path):
    found = bundle(
        tmp_path,
        {
            "databricks.yml": "bundle: {name: shop, databricks_cli_version: '1'}\ninclude: [j.yml]\nsync: {}\n"
            "artifacts: {a: {type: whl}}\npermissions: []\nworkspace: {host: h}\n",
            "j.yml": "resources:\n  pipelines: {p: {}}\n  jobs:\n"
            f"    a: {{tags: {{x: y}}, {ECHO}}}\n    b: {{tags: {{x: y}}, {ECHO}}}\n",
        },
    )
    (warning,) = found.warnings
    assert warning.message == (
        "these fields of Databricks have no effect here: "
        "sync, artifacts, permissions, databricks_cli_version, pipelines, tags (2 times)"
    )
    assert (warning.line, warning.field) == (3, "sync")


def test_a_kind_of_resource_that_looks_like_jobs_is_no_other_kind(tmp_path):
    found = bundle(tmp_path, "bundle: {name: shop}\nresources: {job: {}}\n")
    assert faults(found, tmp_path) == [
        "databricks.yml:2:13: resources.job: is not a known kind of resource (did you mean 'jobs'?)"
    ]


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ("[a]", "databricks.yml:2:19: resources.jobs: should be a mapping of jobs by key"),
        ("{a: x}", "databricks.yml:2:23: should be a mapping, the fields of the job"),
        ("{a: }", "databricks.yml:2:23: should be a mapping, the fields of the job"),
        ("{a: {}}", "databricks.yml:2:23: resources.jobs.a.tasks: is missing"),
        ("{a: {tasks: [{}]}}", "databricks.yml:2:32: resources.jobs.a.tasks[0].task_key: is missing"),
    ],
)
def test_what_is_no_job_is_refused(tmp_path, jobs, message):
    found = bundle(tmp_path, f"bundle: {{name: shop}}\nresources: {{jobs: {jobs}}}\n")
    assert faults(found, tmp_path)[0] == message


def test_an_included_file_given_alone_says_what_to_give_instead(tmp_path):
    path = written(tmp_path, {"databricks.yml": f"resources: {{jobs: {{a: {{{ECHO}}}}}}}"})
    with pytest.raises(JobFileError, match=r"is only a part of a bundle \(give the bundle's databricks.yml, and the"):
        read(path, LAYERS, root=tmp_path)


def test_a_bundle_of_one_job_needs_no_choice(tmp_path):
    assert job(tmp_path, one("{text: x}")).name == "daily"


def test_one_of_several_jobs_is_chosen_by_key_or_name(tmp_path):
    text = f"bundle: {{name: shop}}\nresources: {{jobs: {{a: {{name: first, {ECHO}}}, first: {{{ECHO}}}, c: {{name: c c, {ECHO}}}}}}}\n"
    assert job(tmp_path, text, "a").name == "first"
    assert job(tmp_path, text, "first").name == "first"
    assert job(tmp_path, text, "c c").name == "c c"
    with pytest.raises(JobFileError, match=r"holds 3 jobs \(choose one with --job: a, first, c\)"):
        job(tmp_path, text)
    with pytest.raises(JobFileError, match=r"has no job 'frist' \(did you mean 'first'\?\)"):
        job(tmp_path, text, "frist")


def test_two_jobs_of_one_name_are_chosen_by_key_only(tmp_path):
    text = f"bundle: {{name: shop}}\nresources: {{jobs: {{a: {{name: n, {ECHO}}}, b: {{name: n, {ECHO}}}}}}}\n"
    with pytest.raises(JobFileError, match=r"has 2 jobs 'n' \(known are a, b\)"):
        job(tmp_path, text, "n")


def test_a_bundle_without_jobs_has_none_to_choose(tmp_path):
    with pytest.raises(JobFileError, match=r"holds no job \(write it below resources.jobs\)"):
        job(tmp_path, "bundle: {name: shop}\n")


def test_faults_of_another_job_do_not_stop_this_one(tmp_path):
    text = f"bundle: {{name: shop}}\nresources: {{jobs: {{a: {{{ECHO}}}, b: {{tasks: []}}}}}}\n"
    assert job(tmp_path, text, "a").name == "a"
    with pytest.raises(JobFileError, match=r"resources\.jobs\.b\.tasks: should not be empty"):
        job(tmp_path, text, "b")


def test_what_cannot_run_here_is_no_fault_of_the_bundle_and_stops_a_run(tmp_path):
    text = (
        "bundle: {name: shop}\nresources: {jobs: {a: {tasks: [{task_key: p, pipeline_task: {pipeline_id: "
        "'${resources.pipelines.p.id}'}}, {task_key: b, echo_task: {}}]}}}\n"
    )
    found = bundle(tmp_path, text)
    (entry,) = found.listed
    assert (found.faults, found.jobs, entry.runs) == ((), {}, False)
    assert [(task.task_key, task.kind, task.line) for task in entry.tasks] == [("p", "pipeline", 2), ("b", "echo", 2)]
    assert [(fault.line, fault.column) for fault in entry.unsupported] == [(2, 46)]
    with pytest.raises(JobFileError, match=r"resources\.jobs\.a\.tasks\[0\]\.pipeline_task: pipeline_task is not"):
        job(tmp_path, text, "a")


def test_the_file_of_one_job_has_no_targets_and_no_other_job(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(f"name: x\n{ECHO}\n")
    assert read(path, LAYERS, root=tmp_path, job="x").job.name == "x"
    with pytest.raises(JobFileError, match="holds the job 'x', not 'y'"):
        read(path, LAYERS, root=tmp_path, job="y")
    with pytest.raises(JobFileError, match=r"has no targets \(leave --target out\)"):
        inspect(path, LAYERS, root=tmp_path, target="dev")
    with pytest.raises(JobFileError, match="is the file of one job, not a bundle"):
        read_bundle(path, LAYERS, root=tmp_path)


def test_a_bundle_outside_the_project_gets_a_warning(tmp_path):
    path = written(tmp_path / "shop", one("{}"))
    found = read_bundle(path, LAYERS, root=tmp_path / "other")
    assert "lies outside the project" in found.warnings[0].message


def test_a_job_of_a_file_that_lists_only_ignored_fields_of_databricks_is_valid(tmp_path):
    """What `databricks jobs get` prints loads as it is."""
    path = tmp_path / "job.json"
    path.write_text(
        """{
  "created_time": 1718000000000, "creator_user_name": "a@b.c", "job_id": 123456789012345, "run_as_owner": true,
  "run_as_user_name": "a@b.c",
  "settings": {
    "email_notifications": {"no_alert_for_skipped_runs": false}, "format": "MULTI_TASK", "max_concurrent_runs": 1,
    "job_clusters": [{"job_cluster_key": "main", "new_cluster": {"num_workers": 1, "spark_version": "15.4.x"}}],
    "name": "nightly", "queue": {"enabled": true}, "run_as": {"user_name": "a@b.c"}, "tags": {"team": "x"},
    "parameters": [{"default": "2024-01-01", "name": "day"}],
    "schedule": {"pause_status": "PAUSED", "quartz_cron_expression": "0 0 6 * * ?", "timezone_id": "UTC"},
    "tasks": [
      {"email_notifications": {}, "job_cluster_key": "main", "max_retries": -1, "min_retry_interval_millis": 900000,
       "notebook_task": {"base_parameters": {"day": "{{job.parameters.day}}"}, "notebook_path": "/Workspace/nightly",
                         "source": "WORKSPACE"},
       "retry_on_timeout": false, "run_if": "ALL_SUCCESS", "task_key": "load", "timeout_seconds": 0,
       "webhook_notifications": {}},
      {"depends_on": [{"task_key": "load"}], "disable_auto_optimization": true, "environment_key": "Default",
       "libraries": [{"pypi": {"package": "x"}}], "notebook_task": {"notebook_path": "/Workspace/report",
       "source": "WORKSPACE", "warehouse_id": "abc"}, "notification_settings": {"alert_on_last_attempt": true},
       "run_if": "ALL_DONE", "task_key": "report", "timeout_seconds": 600}
    ],
    "timeout_seconds": 0, "webhook_notifications": {}
  }
}"""
    )
    found = read(path, LAYERS, root=tmp_path).job
    assert (found.name, [task.task_key for task in found.tasks]) == ("nightly", ["load", "report"])
    assert (found.tasks[0].max_retries, found.tasks[1].timeout_seconds, found.queue_enabled) == (-1, 600, True)
