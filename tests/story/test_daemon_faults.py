"""How a daemon ends and dies, and what plugins and disks do to it (docs/reliability.md, D1 to D10, P, T)."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest
from story.daemons import EVERY_SECOND, PATIENCE, QUICK, attempts, go, holding, home, job, run, started, ticks
from story.driver import gone

from wfengine.states import LifeCycle, Result

# -- its end and its death --------------------------------------------------------------------------------------------


def test_told_to_end_it_lets_a_short_task_end_and_the_next_daemon_goes_on_with_the_run(project, serve):
    job(project, "held", holding(project, "  - {task_key: after, depends_on: [hold], shell_task: {command: ['true']}}"))
    daemon = serve()
    run_id = project.json("trigger", "held")["run_id"]
    started(project)
    daemon.signal(signal.SIGTERM)
    daemon.said("stopping")
    go(project)
    daemon.ended()
    assert attempts(project, run_id) == [(0, Result.SUCCESS, "")]
    assert run(project, run_id).latest()["after"].state is LifeCycle.PENDING
    daemon = serve()
    daemon.heard("run_ended", run_id=run_id, result="SUCCESS")
    daemon.stop()
    assert [attempt.attempt_number for attempt in run(project, run_id).attempts] == [0, 0]


@pytest.mark.faults
def test_told_to_end_it_stops_a_long_task_which_is_repeated_without_costing_a_retry(project, serve):
    project.write("wfengine.toml", "drain_seconds = 0.1\ngrace_seconds = 5\n")
    job(project, "held", holding(project))
    daemon = serve()
    run_id = project.json("trigger", "held")["run_id"]
    pid = started(project)
    daemon.stop()
    assert gone(pid)
    assert attempts(project, run_id) == [(0, Result.CANCELED, "Drained"), (1, None, "")]
    daemon = serve()
    started(project)
    go(project)
    daemon.heard("run_ended", run_id=run_id, result="SUCCESS")
    daemon.stop()
    assert attempts(project, run_id) == [(0, Result.CANCELED, "Drained"), (1, Result.SUCCESS, "")]


@pytest.mark.faults
def test_told_twice_to_end_it_waits_for_nothing(project, serve):
    """Even for a task that ignores the polite signal."""
    project.write("wfengine.toml", "drain_seconds = 600\ngrace_seconds = 600\n")
    job(project, "held", holding(project, call="stubborn"))
    daemon = serve()
    run_id = project.json("trigger", "held")["run_id"]
    pid = started(project)
    daemon.signal(signal.SIGTERM)
    daemon.said("stopping")
    daemon.signal(signal.SIGINT)
    daemon.ended()
    assert gone(pid)
    assert attempts(project, run_id) == [(0, Result.CANCELED, "Drained"), (1, None, "")]


@pytest.mark.faults
def test_killed_it_leaves_no_process_and_the_next_one_takes_up_what_waited(project, serve):
    """docs/reliability.md, D1, T3: what ran is marked as lost, what waited runs."""
    job(project, "held", "queue: {enabled: true}", holding(project))
    job(project, "other", QUICK)
    daemon = serve("conf", "--max-tasks", "1")
    lost, queued = (project.json("trigger", "held")["run_id"] for _ in range(2))
    pid = started(project)
    pending = project.json("trigger", "other")["run_id"]
    daemon.kill()
    daemon = serve()
    assert gone(pid)
    daemon.heard("run_ended", run_id=lost, result="FAILED")
    daemon.heard("run_ended", run_id=pending, result="SUCCESS")
    started(project)
    go(project)
    daemon.heard("run_ended", run_id=queued, result="SUCCESS")
    daemon.stop()
    assert attempts(project, lost) == [(0, Result.FAILED, "EngineDied")]


@pytest.mark.faults
def test_a_task_that_takes_the_daemon_down_with_it_is_repeated_as_often_as_allowed(project, serve):
    """docs/reliability.md, T14: attempts == max_retries + 1, over all restarts."""
    job(project, "poison", holding(project, task="max_retries: 1"))
    daemon = serve()
    run_id = project.json("trigger", "poison")["run_id"]
    for _ in range(2):
        started(project)
        daemon.kill()
        daemon = serve()
    daemon.heard("run_ended", run_id=run_id, result="FAILED")
    daemon.stop()
    assert attempts(project, run_id) == [(0, Result.FAILED, "EngineDied"), (1, Result.FAILED, "EngineDied")]


@pytest.mark.faults
def test_the_state_deleted_under_it_ends_it_with_one_sentence(project, serve):
    """docs/reliability.md, D8: SQLite would go on writing into nowhere."""
    job(project, "clock", EVERY_SECOND, QUICK)
    daemon = serve()
    daemon.heard("run_ended", job_name="clock")
    (home(project) / "state.db").unlink()
    said = daemon.ended(3)
    assert said == f"wfengine: the state in {home(project)} was deleted or replaced while the daemon used it\n"


def test_a_home_on_a_network_file_system_is_refused_untouched(project, serve):
    """docs/reliability.md, D9."""
    job(project, "clock", QUICK)
    everything = "import wfengine.home as h\nh.NETWORK = type('All', (), {'__contains__': lambda self, kind: True})()\n"
    said = serve(wait=False, prologue=everything).ended(3)
    assert "lies on a network file system" in said
    assert not home(project).exists()


@pytest.mark.faults
@pytest.mark.spark
def test_a_spark_server_that_dies_fails_its_task_and_the_next_task_gets_a_new_one(project, serve):
    """docs/reliability.md, T16."""
    pytest.importorskip("pysail", reason="needs the extra lakehouse")
    from story.kills import processes

    holding(project)
    text = "from pathlib import Path\nPath('../started').write_text('1')\nPath('../go').read_text()\n"
    project.write(
        "conf/ask.py", f"{text}from pyspark.sql import SparkSession\nprint(SparkSession.builder.getOrCreate())\n"
    )
    job(project, "asks", "tasks: [{task_key: hold, spark_python_task: {python_file: ask.py}}]")
    daemon = serve()
    first = project.json("trigger", "asks")["run_id"]
    started(project)
    servers = [
        pid for pid in processes(home(project)) if b"wfengine.sparkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(servers) == 1
    os.kill(servers[0], signal.SIGKILL)
    daemon.heard("run_ended", run_id=first, result="FAILED")
    assert attempts(project, first) == [(0, Result.FAILED, "SparkServerDied")]
    second = project.json("trigger", "asks")["run_id"]
    started(project)
    go(project)
    daemon.heard("run_ended", run_id=second, result="SUCCESS")
    daemon.stop()


# -- plugins and disks ------------------------------------------------------------------------------------------------

PLUGIN = """\
import threading
from wfengine import Layer, TaskResult, hookimpl
import msgspec

class Odd(Layer):
    '''Does nothing.'''

    name = "odd"
    needs_spark = False

    class Config(msgspec.Struct):
        pass

    def run(self, context):
        return TaskResult()

@hookimpl
def register_layers():
    return [Odd]

class Raises:
    @hookimpl
    def on_event(self, event):
        raise SystemExit("out of order")

class Hangs:
    @hookimpl
    def on_event(self, event):
        threading.Event().wait()

raises, hangs = Raises(), Hangs()
"""


def plugin(project, **entries):
    """Install plugins for the processes that have the folder on their path; return that path."""
    project.write("site/bad_plugin.py", PLUGIN)
    project.write("site/bad_plugin-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: bad-plugin\nVersion: 1\n")
    lines = [f"{name} = bad_plugin{place}" for name, place in entries.items()]
    project.write("site/bad_plugin-1.dist-info/entry_points.txt", "\n".join(("[wfengine]", *lines)))
    return str(project.root / "site")


@pytest.mark.faults
def test_a_plugin_that_raises_and_one_that_hangs_change_no_run(project, serve):
    """docs/reliability.md, P1, P2."""
    job(project, "clock", EVERY_SECOND, QUICK)
    daemon = serve(PYTHONPATH=plugin(project, raises=":raises", hangs=":hangs"))
    failed = daemon.said("delivery failed")
    assert (failed["plugin"], failed["hook"], failed["error"]) == ("raises", "on_event", "SystemExit: out of order")
    daemon.heard("run_ended", 3, job_name="clock", result="SUCCESS")
    daemon.kill()
    assert not [line for line in daemon.lines if line["event"] == "run_ended" and line["result"] == "FAILED"]


@pytest.mark.faults
def test_a_run_whose_plugin_is_gone_after_a_restart_fails_and_the_daemon_goes_on(project, serve):
    """docs/reliability.md, P3: only the jobs that use it are concerned."""
    job(project, "odd", holding(project, "  - {task_key: odd, depends_on: [hold], odd_task: {}}"))
    job(project, "clock", EVERY_SECOND, QUICK)
    project.write("wfengine.toml", "drain_seconds = 600\n")
    site = plugin(project, odd="")
    daemon = serve(PYTHONPATH=site)
    run_id = int(project.run("trigger", "odd", PYTHONPATH=site).stdout.split()[1])
    started(project)
    daemon.signal(signal.SIGTERM)
    daemon.said("stopping")
    go(project)
    daemon.process.wait(PATIENCE)
    daemon = serve()
    daemon.heard("run_ended", run_id=run_id, result="FAILED")
    daemon.heard("run_ended", job_name="clock", result="SUCCESS")
    daemon.stop()
    (failed,) = attempts(project, run_id, "odd")
    assert failed == (0, Result.FAILED, "ConfigError")


@pytest.fixture
def small_disk(project):
    """Lay the home on a file system of 16 MiB; return its folder."""
    import subprocess

    folder = home(project)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes root and its permission")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.faults
def test_a_full_disk_starts_nothing_fails_no_run_and_is_said_once(project, small_disk, serve):
    """docs/reliability.md, D3: running tasks go on; with space again it resumes by itself."""
    job(project, "clock", EVERY_SECOND, "max_concurrent_runs: 9", QUICK)
    job(project, "held", holding(project))
    daemon = serve("conf", "--max-tasks", "4")
    held = project.json("trigger", "held")["run_id"]
    started(project)
    daemon.heard("run_ended", 2, job_name="clock", result="SUCCESS")
    for _ in range(2):
        fill(small_disk / "filler")
        daemon.said("no space", daemon_said(daemon, "no space") + 1)
        (small_disk / "filler").unlink()
        daemon.heard("run_ended", daemon.count("run_ended", job_name="clock") + 2, job_name="clock")
    go(project)
    daemon.heard("run_ended", run_id=held, result="SUCCESS")
    daemon.stop()
    # Once by each that wanted to write: the scheduler, the deliveries, the runs under way.
    assert daemon_said(daemon, "free some space") <= 2 * 4
    results = {line["result"] for line in daemon.lines if line["event"] == "run_ended"}
    assert results <= {"SUCCESS", "MAXIMUM_CONCURRENT_RUNS_REACHED"}
    rows = ticks(project, "clock")
    assert sum(tick.count for tick in rows) == (rows[-1].through - rows[0].due) // 1000 + 1


def daemon_said(daemon, text):
    return sum(text in str(line) for line in daemon.lines)


def fill(path):
    """Write until there is no space left."""
    with open(path, "wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
