"""``wfengine schedule preview``."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from wfengine import cli

BERLIN = ["--timezone", "Europe/Berlin"]
JOB = "name: nightly\ntasks: [{task_key: a, shell_task: {command: [echo, a]}}]\n"


@pytest.fixture
def preview(capsys, monkeypatch, tmp_path):
    """Run the command and return its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["schedule", "preview", *arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def test_ticks_are_shown_in_local_time_and_utc(preview):
    code, out, _ = preview("--quartz", "0 15 2 ? * MON-FRI", *BERLIN, "--from", "2026-07-03", "--count", "2")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert out.splitlines()[0] == "at 02:15 on Monday to Friday, Europe/Berlin"
    assert lines[2:] == [
        ["Fri", "2026-07-03", "02:15:00+02:00", "2026-07-03T00:15:00Z"],
        ["Mon", "2026-07-06", "02:15:00+02:00", "2026-07-06T00:15:00Z"],
    ]


def test_json_lists_job_due_and_local(preview, tmp_path):
    (tmp_path / "job.yml").write_text(f"{JOB}schedule: {{cron: 0 6 * * *, timezone_id: Europe/Berlin}}\n")
    code, out, _ = preview("job.yml", "--from", "2026-01-01T00:00:00Z", "--count", "1", "--output", "json")
    assert code == 0
    assert json.loads(out) == [{"job": "nightly", "due": 1_767_243_600_000, "local": "2026-01-01T06:00:00+01:00"}]


def test_the_days_around_changes_of_the_clocks_are_marked(preview):
    """docs/reliability.md, D14, D15."""
    code, out, _ = preview("--cron", "30 2 * * *", *BERLIN, "--from", "2026-01-01", "--around-dst")
    assert code == 0
    assert [line.rstrip().split(None, 4)[1:] for line in out.splitlines() if ":00Z" in line] == [
        ["2026-03-28", "02:30:00+01:00", "2026-03-28T01:30:00Z"],
        ["2026-03-29", "03:00:00+02:00", "2026-03-29T01:00:00Z", "in the gap: moved"],
        ["2026-03-30", "02:30:00+02:00", "2026-03-30T00:30:00Z"],
        ["2026-10-24", "02:30:00+02:00", "2026-10-24T00:30:00Z"],
        ["2026-10-25", "02:30:00+02:00", "2026-10-25T00:30:00Z", "fold: first occurrence"],
        ["2026-10-26", "02:30:00+01:00", "2026-10-26T01:30:00Z"],
    ]


def test_a_zone_without_changes_says_so(preview):
    code, out, err = preview("--cron", "30 2 * * *", "--timezone", "Asia/Tokyo", "--around-dst", "--output", "json")
    assert (code, json.loads(out)) == (0, [])
    assert "Asia/Tokyo does not change its clocks in the next two years" in err


def test_many_ticks_of_some_days_are_counted(preview):
    code, out, err = preview("--cron", "* * * * *", "--days", "2", "--from", "2026-01-01", "--output", "json")
    assert code == 0
    assert len(json.loads(out)) == 1_000
    assert "and 1,880 more in these 2 days" in err


def test_a_periodic_trigger_is_shown_from_now_on(preview, tmp_path):
    (tmp_path / "job.yml").write_text(
        f"{JOB}trigger: {{periodic: {{interval: 6, unit: HOURS}}, pause_status: PAUSED}}\n"
    )
    code, out, _ = preview("job.yml", "--from", "2026-01-01", "--count", "1")
    assert code == 0
    assert "nightly: every 6 hours" in out
    assert "paused" in out
    assert "2026-01-01T06:00:00Z" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quartz", "0 0 6 * * *"], "day of month and day of week are both given, '*' and '*' (write ? for exactly one of them)"),
        (["--quartz", "0 6 * * *"], "'0 6 * * *': should have 6 or 7 fields, has 5 (Unix cron has 5 fields: use schedule.cron)"),
        (["--quartz", "0 15 10 ? * 6L 2002-2005"], "fires only in the past"),
        (["--cron", "0 0 30 2 *"], "names no day that exists, so it never fires"),
        (["--cron", "0 6 * * *", "--timezone", "Europe/Roma"], "'Europe/Roma': is not a time zone of the IANA list (did you mean 'Europe/Rome'?)"),
        (["--cron", "0 6 * * *", "--from", "yesterday"], "--from 'yesterday': write a time as"),
        (["--cron", "0 6 * * *", "--from", "9999-12-31"], "should be between 1970 and 2999"),
        (["--cron", "0 6 * * *", "--count", "1", "--days", "1"], "give one of --count, --days and --around-dst"),
        ([], "give one of FILE, --quartz and --cron"),
        (["plain.yml"], "job 'nightly' has no schedule"),
        (["plain.yml", *BERLIN], "a job file says its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_ends_with_a_sentence_and_exit_code_2(preview, tmp_path, arguments, message):
    """docs/reliability.md, D16."""
    (tmp_path / "plain.yml").write_text(JOB)
    code, out, err = preview(*arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


def test_an_expression_of_past_years_can_be_looked_at_from_then(preview):
    code, out, _ = preview("--quartz", "0 15 10 ? * 6L 2002-2005", "--from", "2005-12-01", "--output", "json")
    assert code == 0
    assert [tick["local"] for tick in json.loads(out)] == ["2005-12-30T10:15:00+00:00"]


def test_help_does_not_import_croniter():
    code = (
        "import sys\nfrom wfengine.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    assert 'croniter' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "schedule" in done.stdout
