"""What people see of runs, plugins and explanations: tables drawn with rich, and the words around them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wfengine.cli import options
from wfengine.cli.live import first_line, styled
from wfengine.clock import iso
from wfengine.runs import Attempt, JobRow, JobRun, TableFact
from wfengine.states import Result

if TYPE_CHECKING:
    from wfengine.app import ActiveRun
    from wfengine.explain import Explanation
    from wfengine.jobs import Job
    from wfengine.registry import Plugins
    from wfengine.repair import RepairPlan

_WRONG = (Result.FAILED, Result.TIMEDOUT)
#: Iterations that went wrong and are named.
MOST_ITERATIONS = 20


def console() -> Console:
    """Return a console as wide as the terminal, and wide enough for pipes."""
    return Console(width=max(shutil.get_terminal_size((120, 25)).columns, 80), highlight=False, soft_wrap=False)


def task_table(title: str = "") -> Table:
    """Start the table of tasks that the live view and the summary share."""
    table = Table(title=escape(title) if title else None, title_justify="left", box=None, pad_edge=False)
    table.add_column("task", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("duration", "rows in", "rows out", "rejected"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def run_summary(run: JobRun, active: ActiveRun) -> None:
    """Print how a run came out, where its tables are, and what to do next."""
    out = console()
    if not active.created:
        out.print(f"run {run.run_id} was started with this idempotency token before; nothing was started now")
    _attempts(out, run)
    _result_line(out, run)
    _failures(out, run)
    outputs = _outputs(run)
    if outputs:
        out.print(f"tables in {escape(str(active.settings.warehouse))}:")
        for fact in outputs:
            rows = f"{options.rows(fact.rows)} rows written" if fact.rows is not None else ""
            told = "unchanged" if fact.version_before == fact.version_after else rows
            out.print(f"  {escape(fact.table):<28} version {fact.version_after:<4} {told}")
    out.print("next:")
    there = "" if active.here else f" --home {active.settings.home}"
    out.print(f"  wfengine show {run.run_id}{escape(there)}", soft_wrap=True)
    if not run.succeeded:
        for attempt in _wrong(run)[:3]:
            out.print(f"  wfengine logs {run.run_id} {escape(attempt.task_key + there)}", soft_wrap=True)
    elif outputs:
        path = outputs[-1].path or str(active.settings.warehouse)
        out.print(f'  python -c "import deltalake; print(deltalake.DeltaTable({path!r}).to_pandas())"', soft_wrap=True)


def run_detail(run: JobRun, job: Job) -> None:
    """Print everything that is known of a run."""
    out = console()
    out.print(f"[bold]run {run.run_id}[/] of {escape(run.job_name)} (number {run.number_in_job}), {escape(job.path)}")
    if run.start_time:
        ended = f", ended {iso(run.end_time)}" if run.end_time else ""
        out.print(f"started {iso(run.start_time)}{ended}, {run.trigger}")
    for number, repair in enumerate(run.repairs, 1):
        before = first_line(repair.message) or str(repair.state)
        out.print(f"repair {number} at {iso(repair.asked_at)}, before it {repair.result or ''}: {escape(before)}")
    for name, value in run.parameters.items():
        out.print(f"  {escape(name)} = {escape(repr(value))}")
    _result_line(out, run)
    _failures(out, run)
    _attempts(out, run)
    _iterations(out, run)
    for attempt in run.attempts:
        _facts(out, attempt)


def _attempts(out: Console, run: JobRun) -> None:
    table = task_table()
    for attempt in run.attempts:
        state = str(attempt.result or attempt.state)
        again = f" (attempt {attempt.attempt_number + 1})" if attempt.attempt_number else ""
        took = (attempt.end_time or 0) - attempt.start_time if attempt.start_time and attempt.end_time else None
        facts = attempt.facts
        table.add_row(
            escape(attempt.task_key) + again,
            styled(state + _counted(run, attempt)),
            options.seconds(took),
            options.rows(facts.rows_read),
            options.rows(facts.rows_written),
            options.rows(facts.rows_rejected),
        )
    out.print(table)


def _counted(run: JobRun, attempt: Attempt) -> str:
    """Write how many iterations of a for_each succeeded, or have ended while it goes on: `` 3 of 10``."""
    iterations = run.iterated(attempt.task_key) if run.latest()[attempt.task_key] is attempt else []
    if not iterations:
        return ""
    good = sum(1 for each in iterations if (each.result is Result.SUCCESS or (each.state.ended and not attempt.result)))
    return f" {good:,} of {len(iterations):,}"


def _iterations(out: Console, run: JobRun) -> None:
    """Print the iterations that went wrong, and of each for_each how many that were."""
    for key in dict.fromkeys(attempt.task_key for attempt in run.iterations):
        found = run.iterated(key)
        bad = [each for each in found if each.state.ended and each.result is not Result.SUCCESS]
        bad.sort(key=lambda each: (each.result not in _WRONG, each.iteration))
        if not bad:
            continue
        out.print(f"{escape(key)}: {len(bad):,} of {len(found):,} iterations did not succeed")
        for each in bad[:MOST_ITERATIONS]:
            text = escape(first_line(printable(each.error.message if each.error else each.message)))
            out.print(f"  {escape(each.title)} {styled(str(each.result))}: {text}", soft_wrap=True)
        if len(bad) > MOST_ITERATIONS:
            out.print(f"  and {len(bad) - MOST_ITERATIONS:,} more")


def _result_line(out: Console, run: JobRun) -> None:
    took = options.seconds(run.end_time - run.start_time) if run.end_time and run.start_time else ""
    message = f": {escape(first_line(run.message))}" if run.message else ""
    out.print(
        f"run {run.run_id} {styled(str(run.result or run.state))}{' in ' + took if took else ''}{message}",
        soft_wrap=True,
    )


def _wrong(run: JobRun) -> list[Attempt]:
    return [attempt for attempt in run.latest().values() if attempt.result in _WRONG]


def _failures(out: Console, run: JobRun) -> None:
    """Say of each task that went wrong why, where, and what it blocked."""
    for attempt in _wrong(run):
        error = attempt.error
        where = f" at {escape(error.where)}" if error and error.where else ""
        text = escape(printable(error.message if error else attempt.message))
        out.print(f"[bold red]{escape(attempt.task_key)} {attempt.result}[/]{where}: {text}", soft_wrap=True)
    skipped = [
        a.task_key for a in run.latest().values() if a.result in (Result.UPSTREAM_FAILED, Result.UPSTREAM_CANCELED)
    ]
    if skipped:
        out.print(f"not run because of that: {escape(', '.join(skipped))}")


def _facts(out: Console, attempt: Attempt) -> None:
    facts = attempt.facts
    lines = [line for fact in facts.tables for line in (_table_line(fact), *(f"  {c}" for c in fact.schema_changes))]
    if facts.undo:
        lines.append(facts.undo)
    if facts.rows_duplicate:
        lines.append(f"{options.rows(facts.rows_duplicate)} duplicate rows left out")
    for fact in facts.expectations:
        outcome = "holds" if fact.passed else f"does not hold ({options.rows(fact.failed_rows)} rows)"
        lines.append(f"expectation {fact.name} {outcome} {fact.message}".rstrip())
    lines += [f"{name} = {value:g}" for name, value in facts.metrics.items()]
    lines += [f"warning: {warning}" for warning in facts.warnings]
    if attempt.output is not None:
        lines.append(f"output: {attempt.output}")
    if lines:
        out.print(f"{escape(attempt.task_key)}, attempt {attempt.attempt_number}")
        for line in lines:
            out.print("  " + escape(printable(line)), soft_wrap=True)


def _table_line(fact: TableFact) -> str:
    versions = "" if fact.version_after is None else f" version {fact.version_after}"
    if fact.version_before is not None and fact.version_before != fact.version_after:
        versions = f" version {fact.version_before} -> {fact.version_after}"
    rows = f", {options.rows(fact.rows)} rows" if fact.rows is not None else ""
    size = f", {fact.bytes:,} bytes" if fact.bytes else ""
    operation = f", {fact.operation}" if fact.operation else ""
    return f"{fact.role} {fact.table}{versions}{rows}{size}{operation}"


def _outputs(run: JobRun) -> list[TableFact]:
    found: dict[str, TableFact] = {}
    for attempt in run.latest().values():
        for fact in attempt.facts.tables:
            if fact.role in ("output", "quarantine") and fact.version_after is not None and fact.version_after >= 0:
                found[fact.table] = fact
    return list(found.values())


def run_list(runs: list[JobRun]) -> None:
    """Print runs, one a line."""
    table = Table(box=None, pad_edge=False)
    for name in ("run", "job", "result", "started", "duration", "message"):
        table.add_column(name, no_wrap=name != "message", overflow="ellipsis")
    for run in runs:
        took = run.end_time - run.start_time if run.end_time and run.start_time else None
        table.add_row(
            str(run.run_id),
            escape(run.job_name),
            styled(str(run.result or run.state)),
            iso(run.start_time)[:19] + "Z" if run.start_time else "",
            options.seconds(took),
            escape(first_line(run.message, 70)),
        )
    console().print(table)


def job_list(rows: list[JobRow], due: dict[str, int]) -> None:
    """Print the jobs a daemon looks after; ``due`` are their next ticks."""
    table = Table(box=None, pad_edge=False)
    for name in ("job", "next tick", "last runs", "active", "queued", "remark"):
        table.add_column(name, no_wrap=name != "remark")
    for row in rows:
        last = " ".join(styled(str(run.result or run.state)) for run in row.recent[:3])
        remark = "paused" if row.paused else first_line(row.error, 80)
        upcoming = iso(due[row.name])[:19] + "Z" if row.name in due else ""
        table.add_row(escape(row.name), upcoming, last, str(row.active), str(row.queued), escape(remark))
    console().print(table)


def explanation(found: Explanation) -> None:
    """Print what each task would do and by which rule."""
    table = Table(box=None, pad_edge=False)
    for name in ("task", "runs", "result", "rule"):
        table.add_column(name, no_wrap=name != "rule")
    for task in found.tasks:
        table.add_row(escape(task.task_key), "yes" if task.runs else "no", styled(str(task.result)), escape(task.rule))
    out = console()
    out.print(table)
    out.print(f"the run ends as {styled(str(found.result))}: {escape(found.message)}")


def repair_plan(found: RepairPlan) -> None:
    """Print which tasks a repair runs, which stay, and why."""
    table = Table(box=None, pad_edge=False)
    for name in ("task", "runs", "why"):
        table.add_column(name, no_wrap=name != "why")
    for task in found.tasks:
        table.add_row(escape(task.task_key), "yes" if task.runs else "no", escape(first_line(task.reason)))
    out = console()
    out.print(table)
    out.print(f"{len(found.task_keys)} of {len(found.tasks)} tasks run")


def plugin_list(found: Plugins) -> None:
    """Print each plugin with what it offers or what is wrong with it."""
    out = console()
    for report in found.reports:
        out.print(f"[bold]{escape(report.name)}[/] from {escape(report.origin)}", soft_wrap=True)
        _words(out, "hooks", report.hooks)
        _words(out, "layers", report.layers)
        if report.error:
            out.print(f"  [bold red]refused[/]: {escape(report.error)}", soft_wrap=True)


def _words(out: Console, title: str, words: Any) -> None:
    if words:
        out.print(f"  {title}: {escape(', '.join(words))}", soft_wrap=True)


def printable(text: str) -> str:
    """Escape what would steer a terminal, keeping lines apart."""
    return "\n".join("".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in text.split("\n"))
