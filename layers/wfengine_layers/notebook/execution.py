"""Run the cells of a notebook, and of those that it runs, in one namespace."""

from __future__ import annotations
import __future__

import sys
from typing import Any

from wfengine.errors import TaskFailed
from wfengine.layer import TaskContext
from wfengine_layers.notebook import magics, sqlcells
from wfengine_layers.notebook.cells import Code, Segment, compile_code, segments
from wfengine_layers.notebook.display import display, show
from wfengine_layers.notebook.files import load
from wfengine_layers.notebook.namespace import Namespace
from wfengine_layers.notebook.source import Cell, Notebook
from wfengine_layers.notebook.widgets import Widgets, lent
from wfengine_layers.usercode import failure, place_in, sentence


class Execution:
    """One task's walk through its notebook."""

    def __init__(self, context: TaskContext[Any], namespace: Namespace, widgets: Widgets) -> None:
        self._context = context
        self._namespace = namespace
        self._widgets = widgets
        #: The notebooks being run: the task's own, then each ``%run`` in the one before.
        self._chain: list[Notebook] = []
        self._cells: dict[str, tuple[Notebook, Cell]] = {}
        self._place_in_file = place_in(context)
        self._flags = 0

    def run(self, notebook: Notebook) -> None:
        """Run every cell in order; the first that fails ends the walk."""
        outermost = not self._chain
        self._chain.append(notebook)
        for done, cell in enumerate(notebook.cells):
            if outermost:
                self._context.progress(done, len(notebook.cells), f"cell {cell.number}")
            self._run_cell(notebook, cell)
        self._chain.pop()

    def failed(self, error: BaseException) -> TaskFailed:
        """Turn what a cell raised into TaskFailed at the notebook's line."""
        return error if isinstance(error, TaskFailed) and error.where else failure(error, self._place)

    def _place(self, file: str, line: int) -> str:
        if file in self._cells:
            notebook, cell = self._cells[file]
            return notebook.place(cell, line or cell.line)
        return self._place_in_file(file, line)

    def _run_cell(self, notebook: Notebook, cell: Cell) -> None:
        if cell.language == "python":
            self._run_python(notebook, cell)
        elif cell.language == "sql":
            self._run_sql(notebook, cell)
        elif cell.language not in magics.TEXT:
            raise TaskFailed(magics.refusal(cell.language), where=notebook.place(cell, cell.line))

    def _run_python(self, notebook: Notebook, cell: Cell) -> None:
        name = f"{notebook.name} (cell {cell.number})"
        self._cells[name] = (notebook, cell)
        parts = segments(cell.text)
        # All of the cell is compiled first: a syntax error at its end must not leave its beginning done.
        for part, code in [(part, self._compile(part, name, cell, show=part is parts[-1])) for part in parts]:
            if code is None:
                self._run_magic(part, notebook, cell)
            elif (value := self._namespace.execute(code)) is not None:
                show(repr(value))
        if "parameters" in cell.tags:
            self._namespace.override(self._widgets.getAll())

    def _compile(self, part: Segment, name: str, cell: Cell, *, show: bool) -> Code | None:
        if part.magic:
            return None
        code = compile_code(part.text, name, cell.line + part.offset, self._flags, show=show)
        self._flags |= code.body.co_flags & __future__.annotations.compiler_flag
        return code

    def _run_magic(self, part: Segment, notebook: Notebook, cell: Cell) -> None:
        word = magics.word_of(part.text)
        where = notebook.place(cell, cell.line + part.offset)
        if word in magics.WITHOUT_EFFECT:
            sys.stderr.write(f"{where}: %{word} has no effect in a task\n")
        elif word != "run":
            raise TaskFailed(magics.refusal(word), where=where)
        else:
            self._run_other(part.text, notebook, where)

    def _run_other(self, line: str, notebook: Notebook, where: str) -> None:
        """Run another notebook in this one's namespace."""
        try:
            path, arguments = magics.run_arguments(line)
            other = load(self._context, path, notebook.path.parent)
        except ValueError as error:
            raise TaskFailed(str(error), where=where) from error
        except TaskFailed as error:
            raise TaskFailed(str(error), where=error.where or where) from error
        if other.path in [running.path for running in self._chain]:
            chain = " -> ".join([*(running.name for running in self._chain), other.name])
            raise TaskFailed(f"%run goes round in a circle: {chain}", where=where)
        variables = self._namespace.variables
        before = variables.get("__file__")
        variables["__file__"] = str(other.path)
        with lent(self._widgets, arguments, other.widgets):
            self.run(other)
        variables["__file__"] = before

    def _run_sql(self, notebook: Notebook, cell: Cell) -> None:
        """Run each statement of the cell, display the last result and leave it as ``_sqldf``."""
        where = notebook.place(cell, cell.line)
        try:
            statement, result = "", None
            for offset, statement in sqlcells.statements(cell.text):
                where = notebook.place(cell, cell.line + offset)
                result = self._namespace.open_session().sql(sqlcells.fill(statement, self._widgets.getAll()))
            if result is not None:
                self._namespace.variables["_sqldf"] = result
            if sqlcells.is_query(statement):
                display(result)
        except Exception as error:
            raise TaskFailed(sentence(error), where=where) from error
