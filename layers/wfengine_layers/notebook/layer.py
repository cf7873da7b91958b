"""``notebook_task``: run a Databricks or Jupyter notebook."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from wfengine.errors import TaskFailed
from wfengine.layer import Layer, TaskContext, TaskResult
from wfengine.settings import project_root
from wfengine_layers.notebook.dbutils import Dbutils, NotebookExit
from wfengine_layers.notebook.display import display_method
from wfengine_layers.notebook.execution import Execution
from wfengine_layers.notebook.files import SUFFIXES, exists, load
from wfengine_layers.notebook.namespace import Namespace
from wfengine_layers.notebook.source import Notebook
from wfengine_layers.notebook.widgets import Widgets
from wfengine_layers.sharedsession import shared_session
from wfengine_layers.usercode import Scalar, as_text, exit_code, main_module


class NotebookConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which notebook, with which parameters."""

    #: The notebook, relative to the job file's folder; ``.py``, ``.ipynb`` or ``.sql`` may be left out.
    notebook_path: str
    #: Values of widgets; a job parameter of the same name beats the value given here.
    base_parameters: dict[str, Scalar] = {}
    #: Accepted and without effect: the notebook is always read from the project.
    source: Literal["WORKSPACE", "GIT"] = "WORKSPACE"
    #: Accepted and without effect: SQL runs on the engine's own Spark.
    warehouse_id: str = ""


class NotebookLayer(Layer[NotebookConfig]):
    """Run a notebook from its first cell to its last; ``dbutils.notebook.exit(value)`` sets the task's output."""

    name = "notebook"
    Config = NotebookConfig
    needs_spark = True
    parameters_field = "base_parameters"

    def run(self, context: TaskContext[NotebookConfig]) -> TaskResult:
        """Run the notebook; TaskFailed names the file, line and cell that failed."""
        notebook = load(context, context.config.notebook_path, context.base)
        given = {**context.config.base_parameters, **context.parameters}
        widgets = Widgets({name: as_text(value) for name, value in given.items()}, notebook.widgets)
        folders = [notebook.path.parent, context.root.resolve()]
        with (
            shared_session(context) as open_session,
            display_method(),
            main_module(notebook.path, [], folders) as module,
        ):
            namespace = Namespace(vars(module), open_session, Dbutils(context, widgets), notebook.path)
            return _run(Execution(context, namespace, widgets), notebook)

    @classmethod
    def check(cls, config: NotebookConfig, folder: Path) -> list[tuple[str, str]]:
        """Find a notebook that is not there; one outside the project is judged when the task runs."""
        path = config.notebook_path
        if "{{" in path or not (folder / path).resolve().is_relative_to(project_root(folder)) or exists(folder, path):
            return []
        return [("notebook_path", f"there is no notebook {path!r} in {folder} (looked for {', '.join(SUFFIXES)} too)")]

    @classmethod
    def sources(cls, config: Mapping[str, Any], folder: Path) -> list[Path]:
        """Name the notebook's file."""
        files = [Path(f"{folder / str(config.get('notebook_path', ''))}{suffix}") for suffix in ("", *SUFFIXES)]
        return [file for file in files if file.is_file()]


def _run(execution: Execution, notebook: Notebook) -> TaskResult:
    """Run the cells and tell how they ended."""
    try:
        execution.run(notebook)
    except NotebookExit as ended:
        return TaskResult(output=ended.value, message=f"{notebook.name} ended by dbutils.notebook.exit")
    except SystemExit as error:
        if exit_code(error) != 0:
            place = execution.failed(error).where
            raise TaskFailed(f"the notebook called sys.exit({error.code!r})", where=place) from error
        return TaskResult(message=f"{notebook.name} ended by sys.exit")
    except Exception as error:
        raise execution.failed(error) from error
    return TaskResult(message=f"{notebook.name}: {len(notebook.cells)} cells")
