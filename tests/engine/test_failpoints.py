"""Every commit, spawn and rename of the product has a named failpoint, and every failpoint a test that dies at it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SOURCES = sorted(path for part in ("engine", "layers", "plugins") for path in (REPO / part).rglob("*.py"))
TESTS = sorted((REPO / "tests").rglob("*.py"))

#: Calls after which the world is another, by the name of what is called.
CALLS = {
    "os.fork", "os.forkpty", "os.posix_spawn", "os.posix_spawnp", "os.rename", "os.renames", "os.replace",
    "shutil.move", "subprocess.Popen", "subprocess.run", "subprocess.call", "subprocess.check_call",
    "subprocess.check_output",
}  # fmt: skip
#: Functions that need none, each with the reason.
ALLOWED = {
    "pulse.py:_write": "the file tells how the daemon is, it is written anew with every turn and nothing is read back",
    "spread.py:_fork": "the process reads job files, changes nothing and dies with the daemon",
    "playing.py:_elsewhere": "a simulation touches no home",
    "sink.py:_widen": "a file of the attempt's own scratch folder, which its end removes",
    "shell.py:_run": "the user's own command inside an attempt, whose process is what attempt.after_fork kills",
}

#: Layers whose failpoints a test puts together itself.
GENERATED = ("bronze.", "silver.")


def changes(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each function of a file that commits, spawns or renames without a failpoint, and what it does."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            own = list(own_nodes(function))
            done = [what for node in own if (what := change(node))]
            if done and not any(isinstance(node, ast.Call) and called(node) == "failpoint" for node in own):
                yield f"{path.name}:{function.name}", done[0]


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Yield what stands in a function and not in one inside it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from own_nodes(node)


def called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def change(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        name = called(node)
        # Path.rename and Path.replace have one argument, str.replace and structs.replace have more.
        path_like = name.endswith((".rename", ".replace")) and len(node.args) == 1 and not node.keywords
        return name if name in CALLS or path_like or name.endswith(".commit_transaction") else ""
    # Statements are told by their first word or, in a script, by the last.
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value.strip()
        return "COMMIT" if text == "COMMIT" or text.endswith("COMMIT;") else ""
    return ""


def names() -> set[str]:
    """Return the names of all failpoints."""
    return {
        node.args[0].value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and called(node) == "failpoint" and isinstance(node.args[0], ast.Constant)
    }


@pytest.mark.faults
def test_no_commit_spawn_or_rename_stands_without_a_failpoint() -> None:
    """docs/reliability.md, D1."""
    bare = {place: what for path in SOURCES for place, what in changes(path)}
    assert {place: what for place, what in bare.items() if place not in ALLOWED} == {}
    assert set(ALLOWED) <= set(bare), "an exception that is not needed any more"


@pytest.mark.faults
def test_every_failpoint_is_named_by_a_test_that_dies_at_it() -> None:
    """docs/reliability.md, D1."""
    text = "".join(path.read_text() for path in TESTS if path != Path(__file__))
    found = names()
    assert len(found) >= 20
    assert {name for name in found if name not in text and not name.startswith(GENERATED)} == set()
    assert all(f"{prefix}after_{{" in text for prefix in GENERATED)


def test_the_walk_sees_what_it_looks_for(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        "def a():\n    os.replace(x, y)\n"
        "def b():\n    path.rename(other)\n"
        "def c():\n    db.execute('COMMIT')\n"
        "def d():\n    subprocess.Popen(command)\n"
        "def e():\n    failpoint('e')\n    os.fork()\n"
        "def f():\n    text.replace('a', 'b')\n"
    )
    assert [place for place, _ in changes(file)] == ["some.py:a", "some.py:b", "some.py:c", "some.py:d"]
