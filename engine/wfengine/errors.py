"""Every error of wfengine; each class says what its reader should do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec


class WfengineError(Exception):
    """Something the user can mend; the message is the whole story and is shown without a traceback."""

    #: Exit code of the command line when this error ends it.
    exit_code = 2


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of an input file: what is wrong, where, and what to do."""

    path: str
    #: 1-based position of the value or key at fault; 0 when the whole file is at fault.
    line: int = 0
    column: int = 0
    #: Dotted path of the field, as in ``tasks[2].depends_on[0].task_key``.
    field: str = ""
    #: The bad value as written, shortened and made printable; empty when there is none.
    value: str = ""
    message: str
    #: What to do about it, as in ``did you mean 'bronze'?``; empty when the message says it.
    hint: str = ""

    def __str__(self) -> str:
        where = self.path + (f":{self.line}:{self.column}" if self.line else "")
        field = f" {self.field}:" if self.field else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}:{field} {self.message}{hint}"


class JobFileError(WfengineError):
    """Mend the job file at each place listed; all faults that could be found are listed at once."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class UsageError(WfengineError):
    """Call the command or the function differently, as the message says."""


class ScheduleError(WfengineError):
    """Mend the field of the schedule that the message names.

    ``value`` is the field's value, for the command line; empty when the message quotes the part that is wrong.
    """

    def __init__(self, field: str, message: str, hint: str = "", *, value: str = "") -> None:
        self.field, self.message, self.hint = field, message, hint
        super().__init__(f"{field}{f' {value!r}' if value else ''}: {message}" + (f" ({hint})" if hint else ""))


class BadReferenceError(WfengineError):
    """Mend the ``{{...}}`` reference that the message quotes (docs/semantics.md, section 5)."""


class PluginError(WfengineError):
    """Mend or remove the plugin named; jobs that do not use it are not concerned."""


class MissingExtraError(WfengineError):
    """Install the extra that the message names, for example ``pip install 'wfengine[lakehouse]'``."""


class StateError(WfengineError):
    """The home folder cannot be used as it is; its bytes were not touched. Do what the message says."""

    exit_code = 3


class DiskFullError(StateError):
    """Free some disk space; the change was not stored and can be tried again as it was."""


class FencedError(StateError):
    """Another process took this run over, so nothing more of it may be written from here."""


class LockedError(WfengineError):
    """Another daemon holds this home; stop it or use another home."""

    exit_code = 4


class TaskFailed(WfengineError):  # noqa: N818 - reads as a statement where layers raise it
    """Raise this in a layer to fail the attempt with a message and no traceback: the user's data or code is wrong."""

    exit_code = 1

    def __init__(self, message: str, *, where: str = "") -> None:
        super().__init__(message)
        #: Place in the user's own file, as in ``notebooks/load.py:12 (cell 3)``.
        self.where = where


def missing_extra(extra: str, need: str, cause: Exception | None = None) -> MissingExtraError:
    """Build the error that names the extra to install for ``need``."""
    detail = f" ({cause})" if cause else ""
    return MissingExtraError(f"{need} needs the extra {extra!r}: pip install 'wfengine[{extra}]'{detail}")


def shown(value: object, limit: int = 80) -> str:
    """Make a value from a file printable: control and bidirectional characters escaped, shortened to ``limit``."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def listed(names: Sequence[str], limit: int = 3) -> str:
    """Name at most ``limit`` of ``names``: ``a, b, c and 2 more``."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Write ``did you mean 'bronze'?`` when one of ``known`` looks like ``word`` in any case, else nothing."""
    from difflib import get_close_matches  # only needed once something is wrong

    folded = {name.casefold(): name for name in known}
    close = get_close_matches(word[:200].casefold(), folded, n=1)
    return f"did you mean {shown(folded[close[0]])!r}?" if close else ""


def relative(path: Path, base: Path) -> str:
    """Name ``path`` relative to ``base`` when it lies below, else in full."""
    try:
        return str(path.relative_to(base))
    except ValueError:
        return str(path)
