"""``wfengine doctor``: is this machine fit, and if not, what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from wfengine.cli import options
from wfengine.errors import WfengineError

#: Free bytes below which a run is likely to meet a full disk.
ENOUGH_DISK = 1024**3


class Finding(NamedTuple):
    """One thing that was looked at."""

    subject: str
    good: bool
    detail: str


@click.command()
@options.home
@options.output
def doctor(home: Path | None, output: str) -> int:
    """Check this machine, the project and its home; exit code 1 when something needs mending."""
    from wfengine.app import Engine

    engine = Engine(home)
    findings = [finding for check in (_python, _packages, _home, _plugins, _spark) for finding in check(engine)]
    if output == "json":
        options.print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            mark = click.style("ok  ", "green") if finding.good else click.style("MEND", "red")
            click.echo(f"{mark} {finding.subject}: {finding.detail}")
    return 0 if all(finding.good for finding in findings) else 1


def _python(engine: object) -> Iterator[Finding]:
    fine = sys.version_info >= (3, 10) and os.name == "posix"
    yield Finding("python", fine, f"{platform.python_version()} on {platform.system()}, {os.cpu_count()} cores")


def _packages(engine: object) -> Iterator[Finding]:
    missing = [name for name in ("pyspark", "pysail", "pyarrow", "deltalake") if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding("lakehouse extra", False, f"{', '.join(missing)} missing: pip install 'wfengine[lakehouse]'")
    else:
        from importlib.metadata import version

        names = ("pyspark", "pysail", "pyarrow", "deltalake")
        yield Finding("lakehouse extra", True, ", ".join(f"{name} {version(name)}" for name in names))


def _home(engine: object) -> Iterator[Finding]:
    from wfengine.app import Engine

    assert isinstance(engine, Engine)  # noqa: S101 - one signature for all checks
    found = engine.settings()
    yield _finding("home", lambda: _state(engine, found.home))
    for name, folder in (("warehouse", found.warehouse), ("home", found.home)):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        writable = os.access(there, os.W_OK)
        detail = f"{folder}, {free / 1024**3:.1f} GiB free" + ("" if writable else f"; {there} is not writable")
        yield Finding(f"{name} folder", writable and free > ENOUGH_DISK, detail)


def _state(engine: object, home: Path) -> str:
    from wfengine.app import Engine

    assert isinstance(engine, Engine)  # noqa: S101 - narrowed above
    runs = engine.runs(limit=1)
    return f"{home}: " + (f"newest run is {runs[0].run_id}" if runs else "no runs yet")


def _plugins(engine: object) -> Iterator[Finding]:
    from wfengine.app import Engine

    assert isinstance(engine, Engine)  # noqa: S101 - one signature for all checks
    for report in engine.plugins.reports:
        yield Finding(
            f"plugin {report.name}", not report.error, report.error or ", ".join(report.layers or report.hooks)
        )


def _spark(engine: object) -> Iterator[Finding]:
    import tempfile

    if importlib.util.find_spec("pysail") is None:
        return

    def start() -> str:
        from wfengine.sparkserver import SparkServer

        with tempfile.TemporaryDirectory() as folder:
            server = SparkServer.start(Path(folder) / "log", Path(folder) / "warehouse")
            try:
                return f"the default engine answers at {server.url}"
            finally:
                server.stop()

    yield _finding("spark", start)


def _finding(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, look())
    except WfengineError as error:
        return Finding(subject, False, str(error))
