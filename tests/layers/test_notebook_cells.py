"""Python cells take what IPython takes."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from wfengine_layers.notebook.cells import Code, compile_code, segments
from wfengine_layers.notebook.magics import refusal, run_arguments, word_of


def parts(text: str) -> list[tuple[bool, str, int]]:
    return [tuple(part) for part in segments(text)]  # type: ignore[misc]


def compiled(text: str, first_line: int = 1, flags: int = 0, show: bool = True) -> Code:
    return compile_code(text, "n.py (cell 1)", first_line, flags, show=show)


def value_of(text: str) -> Any:
    code, variables = compiled(text), {}
    exec(code.body, variables)
    return eval(code.shown, variables) if code.shown else "nothing"


def test_a_magic_line_stands_between_python_lines() -> None:
    assert parts("x = 1\n%run ./other\ny = 2") == [(False, "x = 1", 0), (True, "%run ./other", 1), (False, "y = 2", 2)]


@pytest.mark.parametrize("text", ["x = (5\n%y)", '"""\n%run ./other\n!ls\n"""', "x = [1,\n!2\n]", "x = 5 \\\n%y"])
def test_a_line_within_a_string_or_bracket_is_no_magic(text: str) -> None:
    assert [part.magic for part in segments(text)] == [False]


@pytest.mark.parametrize("line", ["!ls", "%pip install x", "%%time", "?print", "print?", "df.show??"])
def test_shell_escapes_questions_and_magics_are_recognised(line: str) -> None:
    assert [part.magic for part in segments(line)] == [True]


def test_an_indented_first_line_is_dedented() -> None:
    (part,) = segments("\n    x = 1\n    if x:\n        x = 2\n    x")
    assert value_of(part.text) == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 1", 2),
        ("x = 1", "nothing"),
        ("x = 3\nx", 3),
        ("3;", "nothing"),
        ("(3); # no", "nothing"),
        ("'a;'", "a;"),
        ("3 # a;", 3),
        ("", "nothing"),
        ("# only words", "nothing"),
    ],
)
def test_the_last_expression_is_shown_unless_a_semicolon_ends_it(text: str, value: Any) -> None:
    assert value_of(text) == value


def test_a_syntax_error_has_the_line_of_the_file() -> None:
    with pytest.raises(SyntaxError) as caught:
        compiled("x = 1\ny = = 2", first_line=40)
    assert (caught.value.lineno, caught.value.filename) == (41, "n.py (cell 1)")


def test_functions_keep_the_line_and_source_of_the_file() -> None:
    variables: dict[str, Any] = {}
    exec(compiled("\ndef f():\n    return 1\n", first_line=10).body, variables)
    assert variables["f"].__code__.co_firstlineno == 11
    assert inspect.getsource(variables["f"]) == "def f():\n    return 1\n"


def test_names_within_functions_and_classes_are_found() -> None:
    names = compiled("def f():\n  class A:\n    def g(self): return [spark for _ in ()]\n").names()
    assert "spark" in names
    assert "spark" not in compiled("x = 'spark'").names()


@pytest.mark.parametrize(
    ("line", "path", "arguments"),
    [
        ("%run ./other", "./other", {}),
        ('%run "./my other"', "./my other", {}),
        ("%run ../x $a=\"v w\" $b='$c' $d=1", "../x", {"a": "v w", "b": "$c", "d": "1"}),
        ("%run ./other # why", "./other", {}),
        ('%run ./other $empty=""', "./other", {"empty": ""}),
    ],
)
def test_run_takes_a_path_and_arguments(line: str, path: str, arguments: dict[str, str]) -> None:
    assert run_arguments(line) == (path, arguments)


@pytest.mark.parametrize("line", ["%run", "%run ./other a=1", '%run "./other', "%run ./a ./b"])
def test_a_run_line_that_is_not_understood_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"%run|quotation"):
        run_arguments(line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("!ls", "! is not supported: use a shell_task"),
        ("%sh", "%sh is not supported: use a shell_task"),
        ("%fs ls /", "%fs is not supported: use pathlib"),
        ("%pip install x", "%pip is not supported: install the package into the environment"),
        ("%scala", "%scala is not supported: only Python and SQL"),
        ("%r", "%r is not supported: only Python and SQL"),
        ("print?", "? is not supported: help is"),
        ("%%timeit", "%timeit is not supported: leave the line out; %run, %sql"),
    ],
)
def test_a_refused_magic_says_what_to_do(line: str, says: str) -> None:
    assert refusal(word_of(line)).startswith(says)
