"""Daemons that are killed, stalled or started many at once; ``tests/bench`` does the same for longer."""

from __future__ import annotations

import signal

import pytest
from story import daemonkills
from story.daemons import Daemon, home


@pytest.mark.faults
def test_every_instant_has_one_run_however_often_the_daemon_is_killed(project):
    """docs/reliability.md, D1, T3."""
    tally = daemonkills.run(project, kills=5, seed=7, jobs=20)
    zeros = daemonkills.Tally(tally.kills, tally.due, lost=0, doubled=0, stuck=0, unexplained=0, survivors=0)
    assert tally == zeros
    assert tally.due >= 20


@pytest.mark.faults
def test_of_many_daemons_started_at_once_one_serves_and_the_others_name_it(project):
    """docs/reliability.md, D10."""
    winner, refused = daemonkills.crowd(project, 20)
    winner.stop()
    assert [code for code, _ in refused] == [4] * 19
    expected = (
        f"wfengine: the daemon with process id {winner.pid} holds {home(project)}: stop it, or name another home\n"
    )
    assert {message for _, message in refused} == {expected}


@pytest.mark.faults
def test_a_stalled_daemon_keeps_its_place_and_goes_on_where_it_was(project):
    """docs/reliability.md, D10: nobody can take over from a daemon that lives; its place is free when it is dead.

    That a leader writes nothing once another has taken the lead is shown at the store, see ``tests/engine``.
    """
    project.write(
        "conf/clock.yml",
        'name: clock\nschedule: {quartz_cron_expression: "* * * * * ?", timezone_id: UTC}\n'
        "tasks: [{task_key: t, shell_task: {command: ['true']}}]\n",
    )
    stalled = Daemon(project, "conf").serving()
    stalled.heard("run_ended", job_name="clock")
    stalled.signal(signal.SIGSTOP)
    assert f"the daemon with process id {stalled.pid} holds" in project.run("daemon", "conf", code=4).stderr
    stalled.signal(signal.SIGCONT)
    stalled.heard("run_ended", stalled.count("run_ended") + 1, job_name="clock")
    stalled.signal(signal.SIGSTOP)
    stalled.kill()
    successor = Daemon(project, "conf").serving()
    successor.heard("run_ended", job_name="clock", result="SUCCESS")
    successor.stop()
