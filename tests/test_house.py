"""The house rules that tools can check: floors, types, style, sizes, and what no module may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("engine", "layers", "plugins")
    for path in (ROOT / folder).rglob("*.py")
    if "template" not in path.parts
)


#: Ways to ask the wall clock.
CLOCKS = ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today")


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_style_and_types_are_clean(arguments):
    done = tool(sys.executable, "-m", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_point_down_only():
    """docs/architecture.md, floors."""
    done = tool(str(Path(sys.executable).parent / "lint-imports"))
    assert done.returncode == 0, done.stdout


def test_no_module_is_longer_than_500_lines():
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > 500} == {}


def test_no_function_is_longer_than_60_lines():
    long = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno > 60
    ]
    assert long == []


def test_only_clock_asks_the_time():
    """docs/architecture.md, never."""
    asked = [
        f"{path.name}:{node.lineno} {ast.unparse(node)}"
        for path in SOURCES
        if path.name != "clock.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCKS
    ]
    assert asked == []


def test_only_the_store_imports_sqlite3():
    found = [str(path.relative_to(ROOT)) for path in SOURCES if "import sqlite3" in path.read_text()]
    assert all(Path(name).name.startswith("store") or "/store/" in name for name in found), found
    assert found


@pytest.mark.parametrize("command", [["--help"], ["runs"], ["plugins"], ["schema"], ["validate", "conf/medallion.yml"]])
def test_the_command_line_never_imports_spark(command, tmp_path):
    """Only workers and layers touch Spark; the command line stays light."""
    code = (
        "import sys\n"
        "from wfengine.cli import main\n"
        f"try:\n    main({command!r})\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = [m for m in ('pyspark', 'pyarrow', 'pandas', 'deltalake', 'pysail', 'grpc') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "WFENGINE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
