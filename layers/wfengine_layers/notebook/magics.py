"""Magics that are not run: what to do instead, and how ``%run`` is written."""

from __future__ import annotations

import re
import shlex

#: Settings of an interactive session; they change nothing in a task.
WITHOUT_EFFECT = frozenset({"matplotlib", "load_ext", "reload_ext", "autoreload", "config", "precision", "pprint"})
#: Languages of cells that hold no code.
TEXT = frozenset({"md", "md-sandbox", "html"})

_SHELL = "use a shell_task for the command, or subprocess.run([...]) in Python"
_TRANSLATE = "only Python and SQL run here; translate the cell, or leave it out"
_OTHERWISE = "leave the line out; %run, %sql, %python and %md are supported"
_ADVICE = {
    "!": _SHELL,
    "?": "help is for interactive use; leave the line out",
    "bash": _SHELL,
    "fs": "use pathlib and shutil in Python",
    "javascript": _TRANSLATE,
    "pip": "install the package into the environment that wfengine runs in, and leave the line out",
    "r": _TRANSLATE,
    "restart_python": "every task has a process of its own; leave the line out",
    "scala": _TRANSLATE,
    "sh": _SHELL,
}
_ARGUMENT = re.compile(r"\$([\w.-]+)=(.*)", re.DOTALL)


def word_of(line: str) -> str:
    """Return the word of a magic line; ``!`` and ``?`` for a shell escape and a question."""
    found = re.match(r"%%?([A-Za-z][\w-]*)", line)
    if found:
        return found[1].lower()
    return "!" if line.startswith("!") else "?"


def refusal(word: str) -> str:
    """Say that a magic is not supported, and what to do."""
    name = word if word in "!?" else f"%{word}"
    return f"{name} is not supported: {_ADVICE.get(word, _OTHERWISE)}"


def run_arguments(line: str) -> tuple[str, dict[str, str]]:
    """Read ``%run ./other $name="value"``: the path and the arguments; ValueError says what is not understood."""
    words = shlex.split(line, comments=True)[1:]
    if not words:
        raise ValueError("%run needs the path of a notebook")
    arguments: dict[str, str] = {}
    for word in words[1:]:
        found = _ARGUMENT.fullmatch(word)
        if found is None:
            raise ValueError(f'{word!r} is no argument of %run; write $name="value"')
        arguments[found[1]] = found[2]
    return words[0], arguments
