"""Find the file of a notebook and read it, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wfengine.errors import TaskFailed
from wfengine.layer import TaskContext
from wfengine_layers.notebook.ipynb import read_ipynb
from wfengine_layers.notebook.source import Notebook, read_source
from wfengine_layers.usercode import shown_path

#: Endings that can be left out of a path, in the order they are looked for.
SUFFIXES = (".py", ".ipynb", ".sql")
_OTHERS = {".r": "R", ".scala": "Scala"}


def load(context: TaskContext[Any], text: str, folder: Path) -> Notebook:
    """Read the notebook that ``text`` names from ``folder``; TaskFailed when there is none or it is no notebook."""
    path = find(context, text, folder)
    name = shown_path(path, context)
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TaskFailed(f"{name} cannot be read: {error.strerror}", where=name) from error
    except UnicodeDecodeError as error:
        raise TaskFailed(f"{name} is not UTF-8 text: {error}", where=name) from error
    if path.suffix == ".ipynb":
        return read_ipynb(content, path, name)
    return read_source(content, "sql" if path.suffix == ".sql" else "python", path, name)


def find(context: TaskContext[Any], text: str, folder: Path) -> Path:
    """Return the notebook's file inside the project; every candidate is checked, for a link may lead out of it."""
    whole = str(folder / text)
    # An exact file first: `load.py` must not become `load.py.py`.
    found = [path for path in [context.path(whole)] if path.is_file()]
    found = found or [path for suffix in SUFFIXES if (path := context.path(whole + suffix)).is_file()]
    if len(found) > 1:
        raise TaskFailed(f"{text!r} can be {' or '.join(path.name for path in found)}; write the ending")
    if not found:
        raise TaskFailed(f"there is no notebook {text!r} in {folder} (looked for {', '.join(SUFFIXES)} too)")
    suffix = found[0].suffix
    if suffix not in SUFFIXES:
        language = _OTHERS.get(suffix.lower())
        what = f"a {language} notebook" if language else f"not one of {', '.join(SUFFIXES)}"
        raise TaskFailed(f"{found[0].name} is {what}; only Python and SQL notebooks run here")
    return found[0]


def exists(folder: Path, text: str) -> bool:
    """Whether a file of that name, or with one of the endings, is there."""
    return any(Path(f"{folder / text}{suffix}").is_file() for suffix in ("", *SUFFIXES))
