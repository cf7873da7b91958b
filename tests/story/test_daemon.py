"""The long-running process as a person meets it (docs/semantics.md, section 7; docs/reliability.md, D1 to D20).

Nothing here sleeps: the daemon's own log and named pipes say when something has happened.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from story.daemons import EVERY_SECOND, LATER, QUICK, TASKS, attempts, go, holding, home, job, run, started, ticks
from story.driver import gone

from wfengine.clock import iso
from wfengine.states import LifeCycle, Result, TickOutcome

# -- schedules --------------------------------------------------------------------------------------------------------


def test_a_schedule_fires_and_its_runs_know_the_instant_they_were_due(project, serve):
    """docs/semantics.md, sections 5 and 7: the due tick is the processing date, whenever the run really starts."""
    (project.root / "conf").mkdir()
    (project.root / "conf/tasks.py").write_text(TASKS)
    job(
        project, "clock", EVERY_SECOND,
        'tasks: [{task_key: t, python_task: {callable: "tasks:say", '
        'parameters: {due: "{{job.trigger.time.iso_datetime}}", kind: "{{job.trigger.type}}"}}}]',
    )  # fmt: skip
    daemon = serve()
    daemon.heard("run_ended", 3, job_name="clock", result="SUCCESS")
    daemon.stop()
    rows = [tick for tick in ticks(project, "clock") if tick.outcome is TickOutcome.RUN]
    assert len(rows) >= 3
    assert len({tick.due for tick in rows}) == len(rows)
    for tick in rows[:3]:
        made = run(project, tick.run_id)
        assert tick.due % 1000 == 0
        assert tick.recorded_at >= tick.due, "before its time"
        assert made.trigger_time == tick.due
        output = made.attempts[0].output
        assert output["kind"] == "periodic"
        assert output["due"][:19] == iso(tick.due)[:19]


def test_a_paused_job_counts_no_instant_and_resume_counts_from_now(project, serve):
    """docs/semantics.md, section 7: what a pause leaves out is no row of the ledger, not even a missed one."""
    for name in ("paused", "witness"):
        job(project, name, EVERY_SECOND, "max_concurrent_runs: 100", QUICK)
    daemon = serve()
    daemon.heard("run_ended", job_name="paused")
    assert project.run("pause", "paused").stdout == "paused is paused\n"
    before = len(ticks(project, "paused"))
    daemon.heard("run_queued", daemon.count("run_queued", job_name="witness") + 3, job_name="witness")
    assert len(ticks(project, "paused")) == before
    assert [row.get("paused", False) for row in project.json("jobs")["jobs"]] == [True, False]
    project.run("resume", "paused")
    daemon.heard("run_queued", before + 1, job_name="paused")
    daemon.stop()
    assert {tick.outcome for tick in ticks(project, "paused")} == {TickOutcome.RUN}
    assert "there is no job" in project.run("pause", "pauseds", code=2).stderr


@pytest.mark.faults
def test_what_a_downtime_missed_is_caught_up_with_by_each_job_s_policy(project, serve):
    """docs/semantics.md, section 7; D11, D18: each instant once, one run, all runs or none, the rest in one row."""
    for policy in ("latest", "all", "none"):
        schedule = f'schedule: {{cron: "* * * * *", catch_up: {policy}}}'
        job(project, policy, schedule, "max_concurrent_runs: 9", QUICK)
    serve().stop()
    daemon = serve(prologue=LATER.format(ms=5 * 60_000))
    daemon.heard("run_ended", 5, job_name="all", result="SUCCESS")
    daemon.heard("run_ended", job_name="latest")
    daemon.heard("tick_missed", job_name="none")
    daemon.stop()
    rows = {policy: ticks(project, policy) for policy in ("latest", "all", "none")}
    assert {tick.outcome for tick in rows["all"]} == {TickOutcome.RUN}
    due = [tick.due for tick in rows["all"]]
    assert due == list(range(due[0], due[-1] + 1, 60_000))
    covered = {policy: [(tick.due, tick.through) for tick in found] for policy, found in rows.items()}
    for policy in ("latest", "none"):
        instants = [at for first, last in covered[policy] for at in range(first, last + 1, 60_000)]
        assert instants == due, policy
        (missed,) = (tick for tick in rows[policy] if tick.outcome is TickOutcome.MISSED)
        assert missed.count >= 4
        assert missed.reason == f"nobody looked in time; catch_up is {policy}"
        runs = {tick.due for tick in rows[policy] if tick.outcome is TickOutcome.RUN}
        # With ``none`` an instant of the last half minute is on time, not missed.
        assert policy == "none" or missed.through + 60_000 in runs


@pytest.mark.faults
def test_jobs_start_by_new_files_changed_tables_intervals_and_their_own_end(project, serve):
    """docs/semantics.md, section 7: file_arrival, table_update, periodic, continuous."""
    deltalake = pytest.importorskip("deltalake", reason="needs the extra lakehouse")
    import pyarrow

    table = project.root / "warehouse/bronze/orders"
    deltalake.write_deltalake(table, pyarrow.table({"n": [1]}))
    (project.root / "drop").mkdir()
    (project.root / "drop/old.csv").touch()
    job(project, "files", "trigger: {file_arrival: {url: ../drop}}", QUICK)
    job(project, "tables", "trigger: {table_update: {table_names: [bronze.orders]}}", QUICK)
    job(project, "interval", "trigger: {periodic: {interval: 1, unit: MINUTES}}", QUICK)
    job(project, "always", "continuous: {pause_status: UNPAUSED}", QUICK)
    quick_look = "import wfengine.arrivals.files as f, wfengine.arrivals.tables as t\nf.LOOK_MS = t.LOOK_MS = 100\n"
    daemon = serve(prologue=quick_look)
    daemon.heard("run_ended", 2, job_name="always", result="SUCCESS")
    (project.root / "drop/new.csv").touch()
    deltalake.write_deltalake(table, pyarrow.table({"n": [2]}), mode="append")
    daemon.heard("run_ended", job_name="files", result="SUCCESS")
    daemon.heard("run_ended", job_name="tables", result="SUCCESS")
    assert not daemon.count("run_queued", job_name="interval")
    daemon.stop()
    daemon = serve(prologue=quick_look + LATER.format(ms=61_000))
    daemon.heard("run_ended", job_name="interval", result="SUCCESS")
    daemon.heard("run_ended", job_name="always", result="SUCCESS")
    daemon.stop()
    assert [tick.reason for tick in ticks(project, "files")] == ["new file new.csv"]
    assert len(ticks(project, "tables")) == 1
    kinds = {name: run(project, ticks(project, name)[0].run_id).trigger for name in ("files", "tables", "always")}
    assert kinds == {"files": "FILE_ARRIVAL", "tables": "TABLE", "always": "CONTINUOUS"}


# -- control ----------------------------------------------------------------------------------------------------------


def test_a_job_is_triggered_by_name_with_parameters(project, serve):
    """docs/semantics.md, sections 5 and 8."""
    (project.root / "conf").mkdir()
    (project.root / "conf/tasks.py").write_text(TASKS)
    job(
        project, "orders", "parameters: {day: today, region: eu}", "max_concurrent_runs: 9",
        'tasks: [{task_key: t, python_task: {callable: "tasks:say", parameters: {day: "", region: ""}}}]',
    )  # fmt: skip
    daemon = serve()
    told = project.json("trigger", "orders", "--param", "day=2024-01-05", "--idempotency-token", "once")
    assert told == {"run_id": told["run_id"], "number_in_job": 1, "daemon": True}
    daemon.heard("run_ended", run_id=told["run_id"], result="SUCCESS")
    assert run(project, told["run_id"]).attempts[0].output == {"day": "2024-01-05", "region": "eu"}
    assert project.json("trigger", "orders", "--idempotency-token", "once")["run_id"] == told["run_id"]
    assert "did you mean 'orders'" in project.run("trigger", "order", code=2).stderr
    assert "did you mean 'day'" in project.run("trigger", "orders", "--param", "dya=1", code=2).stderr
    status = project.json("status")
    assert (status["daemon"], status["running"]) == (daemon.pid, 0)
    daemon.stop()
    assert project.json("status")["daemon"] is None
    waiting = project.run("trigger", "orders")
    assert "no daemon serves this home now" in waiting.stderr
    serve().heard("run_ended", job_name="orders", result="SUCCESS")


def test_runs_are_cancelled_while_they_run_while_they_wait_and_before_they_begin(project, serve):
    """docs/semantics.md, section 2: tasks that handle failure still run."""
    clean = f'"tasks:touch", parameters: {{path: {project.root}/cleaned}}'
    job(
        project, "held", "queue: {enabled: true}",
        holding(
            project,
            "  - {task_key: next, depends_on: [hold], shell_task: {command: ['true']}}",
            f"  - {{task_key: clean, depends_on: [hold], run_if: ALL_DONE, python_task: {{callable: {clean}}}}}",
        ),
    )  # fmt: skip
    job(project, "other", QUICK)
    daemon = serve("conf", "--max-tasks", "1")
    running = project.json("trigger", "held")["run_id"]
    pid = started(project)
    queued, third = (project.json("trigger", "held")["run_id"] for _ in range(2))
    pending = project.json("trigger", "other")["run_id"]
    assert run(project, queued).state is LifeCycle.QUEUED
    daemon.heard("run_started", run_id=pending)
    for run_id in (queued, pending):
        project.run("cancel", str(run_id))
        daemon.heard("run_ended", run_id=run_id, result="CANCELED")
    project.run("cancel", str(running))
    daemon.heard("run_ended", run_id=running, result="CANCELED")
    assert gone(pid)
    assert (project.root / "cleaned").exists()
    assert [attempt.result for attempt in run(project, running).attempts] == [
        "CANCELED",
        "UPSTREAM_CANCELED",
        "SUCCESS",
    ]
    # The place that became free goes to the one that has waited longest.
    started(project)
    go(project)
    daemon.heard("run_ended", run_id=third, result="SUCCESS")
    assert "has ended already" in project.run("cancel", str(running), code=2).stderr
    daemon.stop()


def test_a_job_at_its_limit_skips_its_ticks_or_queues_them(project, serve):
    """docs/semantics.md, section 7: MAXIMUM_CONCURRENT_RUNS_REACHED, or the queue; the tick stays the run's time."""
    tasks = holding(project)
    job(project, "skips", EVERY_SECOND, tasks)
    daemon = serve("conf", "--max-tasks", "4")
    started(project)
    skipped = daemon.heard("run_ended", 2, job_name="skips", result="MAXIMUM_CONCURRENT_RUNS_REACHED")
    job(project, "skips", EVERY_SECOND, "queue: {enabled: true}", tasks)
    queued = daemon.heard("run_queued", daemon.count("run_queued", job_name="skips") + 1, job_name="skips")
    go(project)
    started(project)
    daemon.heard("run_started", run_id=queued["run_id"])
    daemon.kill()
    rows = {tick.run_id: tick for tick in ticks(project, "skips")}
    assert rows[skipped["run_id"]].outcome is TickOutcome.SKIPPED
    assert rows[skipped["run_id"]].reason == "1 of at most 1 runs of this job were active"
    assert run(project, skipped["run_id"]).state is LifeCycle.SKIPPED
    assert rows[queued["run_id"]].outcome is TickOutcome.QUEUED
    assert run(project, queued["run_id"]).trigger_time == rows[queued["run_id"]].due


def test_a_second_daemon_is_told_who_holds_the_home(project, serve):
    """docs/reliability.md, D10."""
    job(project, "idle", QUICK)
    first = serve()
    second = project.run("daemon", "conf", code=4)
    assert f"the daemon with process id {first.pid} holds {home(project)}" in second.stderr
    assert project.json("status")["daemon"] == first.pid
    first.stop()


def test_a_run_by_hand_goes_its_own_way_beside_a_daemon(project, serve):
    """The daemon takes up none of it and it does not wait for the daemon."""
    job(project, "held", holding(project))
    by_hand = project.write("hand.yml", f"name: by-hand\n{QUICK}\n")
    daemon = serve()
    held = project.json("trigger", "held")["run_id"]
    started(project)
    assert project.json("run-once", str(by_hand))["state"]["result_state"] == "SUCCESS"
    assert run(project, held).state is LifeCycle.RUNNING
    go(project)
    daemon.heard("run_ended", run_id=held, result="SUCCESS")
    daemon.stop()


@pytest.mark.faults
def test_a_run_whose_own_process_died_does_not_block_its_job(project, serve):
    """docs/reliability.md, D1: it holds a place among the concurrent runs of its job until somebody ends it."""
    job(project, "held", holding(project))
    daemon = serve(prologue="import wfengine.daemon\nwfengine.daemon.POLL_SECONDS = 0.2\n")
    by_hand = project.start("run-once", "conf/held.yml")
    started(project)
    assert project.run("trigger", "held").stdout.startswith("run 3 of held is SKIPPED")
    by_hand.kill()
    by_hand.communicate()
    daemon.heard("run_ended", run_id=1, result="FAILED")
    assert attempts(project, 1) == [(0, Result.FAILED, "EngineDied")]
    assert "is PENDING" in project.run("trigger", "held").stdout
    started(project)
    go(project)
    daemon.heard("run_ended", job_name="held", result="SUCCESS")
    daemon.stop()


# -- job files --------------------------------------------------------------------------------------------------------


def test_changed_new_removed_and_broken_files_take_effect_while_the_daemon_runs(project, serve):
    """docs/reliability.md, C1 to C3: each file for itself; a broken one keeps its last good version and says its line."""
    job(project, "stays", EVERY_SECOND, QUICK)
    gone_soon = job(project, "goes", QUICK)
    daemon = serve()
    job(project, "comes", QUICK)
    daemon.until(lambda line: line.get("added") == ["comes"])
    gone_soon.unlink()
    daemon.until(lambda line: line.get("removed") == ["goes"])
    job(project, "stays", EVERY_SECOND, "description: changed", QUICK)
    daemon.until(lambda line: line.get("changed") == ["stays"])
    job(project, "stays", EVERY_SECOND, "taks: []", QUICK)
    broken = daemon.said("broken job file")
    assert "stays.yml:3:1" in broken["error"]
    assert "did you mean 'tasks'" in broken["error"]
    daemon.heard("run_queued", daemon.count("run_queued", job_name="stays") + 2, job_name="stays")
    assert [row["name"] for row in project.json("jobs")["jobs"]] == ["comes", "stays"]
    job(project, "stays", EVERY_SECOND, "description: mended", QUICK)
    daemon.until(lambda line: line.get("changed") == ["stays"], 2)
    daemon.stop()


def test_sighup_reads_the_files_again_where_nothing_tells_of_changes(project, serve):
    deaf = (
        "import types, wfengine.daemon\nwfengine.daemon.watch = lambda *_: types.SimpleNamespace(close=lambda: None)\n"
    )
    job(project, "first", QUICK)
    daemon = serve(prologue=deaf)
    job(project, "second", QUICK)
    daemon.signal(signal.SIGHUP)
    daemon.until(lambda line: line.get("added") == ["second"])
    assert {row["name"] for row in project.json("jobs")["jobs"]} == {"first", "second"}
    daemon.stop()


def test_a_run_keeps_the_job_as_it_was_when_the_run_was_made(project, serve):
    """docs/reliability.md, C1."""
    after = "  - {{task_key: after, depends_on: [hold], shell_task: {{command: [echo, {}]}}}}"
    job(project, "edited", holding(project, after.format("old")))
    daemon = serve()
    first = project.json("trigger", "edited")["run_id"]
    started(project)
    job(project, "edited", holding(project, after.format("new")))
    daemon.until(lambda line: line.get("changed") == ["edited"])
    go(project)
    daemon.heard("run_ended", run_id=first, result="SUCCESS")
    second = project.json("trigger", "edited")["run_id"]
    started(project)
    go(project)
    daemon.heard("run_ended", run_id=second, result="SUCCESS")
    daemon.stop()
    logs = [home(project) / f"runs/{run_id}/tasks/after/0/log" for run_id in (first, second)]
    assert [log.read_text() for log in logs] == ["old\n", "new\n"]


def test_a_bad_file_among_good_ones_is_named_and_harms_no_other(project, serve):
    """docs/reliability.md, D16: impossible expressions, unknown zones, what is no YAML; the good one is served."""
    job(project, "good", EVERY_SECOND, QUICK)
    job(project, "never", 'schedule: {quartz_cron_expression: "0 0 0 30 2 ?", timezone_id: UTC}', QUICK)
    job(project, "nowhere", 'schedule: {quartz_cron_expression: "* * * * * ?", timezone_id: Europe/Berln}', QUICK)
    project.write("conf/torn.yml", "name: torn\ntasks: [\n")
    daemon = serve()
    daemon.heard("run_ended", job_name="good", result="SUCCESS")
    errors = {Path(line["file"]).name: line["error"] for line in daemon.lines if "broken job file" in line["event"]}
    daemon.stop()
    assert sorted(errors) == ["never.yml", "nowhere.yml", "torn.yml"]
    assert "never.yml:2" in errors["never.yml"]
    assert "did you mean 'Europe/Berlin'" in errors["nowhere.yml"]
    assert "torn.yml:3" in errors["torn.yml"]
    assert [row["name"] for row in project.json("jobs")["jobs"]] == ["good"]
