"""Options and output that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wfengine.errors import shown

if TYPE_CHECKING:
    from wfengine.schedule import Zone

F = TypeVar("F", bound=Callable[..., Any])

#: The first second of the year 3000.
LAST_SECOND = 32_503_680_000

#: Folder that the engine keeps its state in.
home = click.option(
    "--home", type=click.Path(path_type=Path), help="Folder of the state. [default: .wfengine in the project]"
)
#: Widens what a job file may refer to.
root = click.option("--root", type=click.Path(path_type=Path), help="Folder that files named by the job must lie in.")
#: Human text or one JSON document.
output = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the output."
)
#: Values for ``${var.x}`` in the job file.
variables = click.option("--var", "variables", multiple=True, metavar="K=V", help="Value for ${var.K} in the job file.")
#: One job of a bundle.
job = click.option("--job", metavar="KEY", help="Which job of a bundle, by its key or name.")
#: The target of a bundle.
target = click.option("-t", "--target", metavar="TARGET", help="Which target of a bundle, if not its default.")
#: The job file itself; its faults are reported by the reader, so that every command says the same.
job_file = click.argument("file", type=click.Path(path_type=Path))


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Split ``k=v`` texts into a mapping; click.UsageError when one has no ``=`` or a name comes twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} {text!r}: write {option} name=value")
        if name in found:
            raise click.UsageError(f"{option} {name!r} is given twice")
        found[name] = value
    return found


def moment(text: str, zone: Zone, option: str) -> int:
    """Return the epoch milliseconds of an ISO time, which is one of ``zone`` when it names no offset.

    Raises click.UsageError, naming the option, when it is none or lies before 1970 or after 2999.
    """
    try:
        second = zone.moment(text)
    except (ValueError, OverflowError):
        raise click.UsageError(f"{option} {shown(text)!r}: write a time as 2026-03-29 or 2026-03-29T02:00") from None
    if not 0 <= second < LAST_SECOND:
        raise click.UsageError(f"{option} {shown(text)!r}: should be between 1970 and 2999")
    return second * 1000


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def seconds(ms: int | None) -> str:
    """Write a duration for people: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``; empty for None."""
    if ms is None:
        return ""
    if ms < 10_000:
        return f"{ms / 1000:.1f} s"
    whole = round(ms / 1000)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {whole} s"
    return f"{minutes // 60} h {minutes % 60} min"


def rows(number: int | None) -> str:
    """Write a number of rows with thin grouping; empty for None."""
    return "" if number is None else f"{number:,}"
