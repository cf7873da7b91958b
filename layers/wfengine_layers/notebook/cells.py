"""Python cells: IPython's conveniences without IPython."""

from __future__ import annotations

import ast
import io
import linecache
import re
import tokenize
from collections.abc import Iterator
from types import CodeType
from typing import NamedTuple

#: A line that is a magic or a shell escape, not Python; only where a statement could start.
_MAGIC = re.compile(r"%%?[A-Za-z][\w-]*.*|!.*|\?.*|[\w.]+\?{1,2}\s*")


class Segment(NamedTuple):
    """A run of Python lines, or one line that is a magic."""

    magic: bool
    text: str
    #: Lines of the cell before it.
    offset: int


class Code(NamedTuple):
    """Compiled Python: all but the last expression, and that expression when its value is to be displayed."""

    body: CodeType
    shown: CodeType | None

    def names(self) -> set[str]:
        """Return every name the code reads or writes, in functions and classes within too."""
        found: set[str] = set()
        pending = [self.body, *([self.shown] if self.shown else [])]
        while pending:
            code = pending.pop()
            found.update(code.co_names)
            pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        return found


def segments(text: str) -> list[Segment]:
    """Split a cell at its magic lines; a line within a string or an open bracket is no magic."""
    lines = dedent(text).split("\n")
    found: list[Segment] = []
    start = 0
    for at, line in enumerate(lines):
        if _MAGIC.fullmatch(line) and _complete("\n".join(lines[start:at])):
            found += _python(lines, start, at)
            found.append(Segment(True, line.strip(), at))
            start = at + 1
    return [*found, *_python(lines, start, len(lines))]


def compile_code(text: str, name: str, first_line: int, flags: int, *, show: bool) -> Code:
    """Compile Python that starts at ``first_line`` of the file; SyntaxError points at the file's line.

    ``flags`` are those of the ``__future__`` imports of earlier cells; ``show`` is for the end of a cell.
    """
    lines = [*[""] * (first_line - 1), *text.split("\n")]
    padded = "\n".join(lines)
    tree = compile(padded, name, "exec", ast.PyCF_ONLY_AST | flags, dont_inherit=True)
    assert isinstance(tree, ast.Module)  # noqa: S101 - what the flag asks for
    last = tree.body[-1] if tree.body else None
    shown = None
    if show and isinstance(last, ast.Expr) and not _ends_with_semicolon(padded):
        tree.body.pop()
        shown = compile(ast.Expression(last.value), name, "eval", flags, dont_inherit=True)
    body = compile(tree, name, "exec", flags, dont_inherit=True)
    # Tracebacks and inspect.getsource find the cell's lines here.
    linecache.cache[name] = (len(padded), None, [line + "\n" for line in lines], name)
    return Code(body, shown)


def dedent(text: str) -> str:
    """Take the indentation of the first line off every line that has it, as IPython does."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    indentation = first[: len(first) - len(first.lstrip())]
    return "\n".join(line.removeprefix(indentation) for line in lines)


def _python(lines: list[str], start: int, end: int) -> Iterator[Segment]:
    if any(line.strip() for line in lines[start:end]):
        yield Segment(False, "\n".join(lines[start:end]), start)


def _complete(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _ends_with_semicolon(text: str) -> bool:
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    last = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            last = token.string
    return last == ";"
