"""``spark_python_task``: run a Python script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from wfengine.errors import TaskFailed
from wfengine.layer import Layer, TaskContext, TaskResult
from wfengine.settings import project_root
from wfengine_layers.sharedsession import shared_session
from wfengine_layers.usercode import exit_code, failure, main_module, place_in, shown_path


class SparkPythonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which script, with which arguments."""

    #: The script, relative to the job file's folder.
    python_file: str
    #: What the script finds in ``sys.argv[1:]``.
    parameters: list[str] = []
    #: Accepted and without effect: the script is always read from the project.
    source: Literal["WORKSPACE", "GIT"] = "WORKSPACE"


class SparkPythonLayer(Layer[SparkPythonConfig]):
    """Run a Python script as ``__main__``; it succeeds when it ends, or calls ``sys.exit()`` with 0 or nothing.

    ``SparkSession.builder.getOrCreate()`` gives the attempt's session. The working directory is the script's folder;
    that folder and the project's root are on the import path.
    """

    name = "spark_python"
    Config = SparkPythonConfig
    needs_spark = True

    def run(self, context: TaskContext[SparkPythonConfig]) -> TaskResult:
        """Compile and run the script; TaskFailed names the line of it that failed."""
        file = context.path(context.config.python_file)
        try:
            source = file.read_bytes()
        except OSError as error:
            raise TaskFailed(f"python_file {file} cannot be read: {error.strerror}") from error
        place = place_in(context)
        with (
            shared_session(context),
            main_module(file, context.config.parameters, [file.parent, context.root]) as module,
        ):
            try:
                exec(compile(source, str(file), "exec", dont_inherit=True), vars(module))  # noqa: S102 - the task's code
            except SystemExit as error:
                if exit_code(error) != 0:
                    detail = f": {error.code}" if isinstance(error.code, str) else ""
                    fault = failure(error, place)
                    raise TaskFailed(
                        f"{file.name} ended with exit code {exit_code(error)}{detail}", where=fault.where
                    ) from error
            except Exception as error:
                raise failure(error, place) from error
        return TaskResult(message=f"{shown_path(file, context)} ran to its end")

    @classmethod
    def check(cls, config: SparkPythonConfig, folder: Path) -> list[tuple[str, str]]:
        """Find a script that is not there; one outside the project is judged when the task runs."""
        file = (folder / config.python_file).resolve()
        if "{{" in config.python_file or file.is_file() or not file.is_relative_to(project_root(folder)):
            return []
        return [("python_file", f"there is no file {file}")]

    @classmethod
    def sources(cls, config: Mapping[str, Any], folder: Path) -> list[Path]:
        """Name the script."""
        file = str(config.get("python_file", ""))
        return [] if "{{" in file else [folder / file]
