"""The names that a notebook finds without having defined them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfengine_layers.notebook.cells import Code
from wfengine_layers.notebook.dbutils import Dbutils
from wfengine_layers.notebook.display import display, display_html

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Namespace:
    """The variables of a notebook. The Spark session among them is opened by the first cell that names it."""

    def __init__(
        self, variables: dict[str, Any], open_session: Callable[[], SparkSession], dbutils: Dbutils, file: Path
    ) -> None:
        self.variables = variables
        self.open_session = open_session

        def udf(*arguments: Any, **named: Any) -> Any:
            from pyspark.sql.functions import udf

            return udf(*arguments, **named)

        variables.update(
            __file__=str(file),
            dbutils=dbutils,
            display=display,
            displayHTML=display_html,
            getArgument=dbutils.widgets.getArgument,
            sql=lambda *arguments, **named: open_session().sql(*arguments, **named),
            table=lambda name: open_session().table(name),
            udf=udf,
        )

    def execute(self, code: Code) -> Any:
        """Run a cell's code; return the value of its last expression when that is to be displayed, else None."""
        # A look at the names, and no dictionary of our own: variables stay a plain dict, as fast as any module's.
        if "spark" not in self.variables and "spark" in code.names():
            self.variables["spark"] = self.open_session()
        exec(code.body, self.variables)  # noqa: S102 - the notebook is the task's code
        return eval(code.shown, self.variables) if code.shown else None  # noqa: S307 - the same

    def override(self, parameters: Mapping[str, str]) -> None:
        """Give parameters to variables of their name, as papermill does, each as the type that its variable has.

        Raises ValueError for text that is not of that type.
        """
        for name, text in parameters.items():
            default = self.variables.get(name)
            if isinstance(default, bool | int | float | str) and not name.startswith("__"):
                self.variables[name] = _converted(name, text, type(default))


def _converted(name: str, text: str, kind: type[Any]) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"parameter {name!r} must be true or false, not {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"parameter {name!r} must be {kind.__name__} like its default, not {text!r}") from error
