"""The layers that come with wfengine; they are registered as any other plugin's."""

from __future__ import annotations

from typing import Any

from wfengine.hooks import hookimpl
from wfengine.layer import Layer


@hookimpl
def register_layers() -> list[type[Layer[Any]]]:
    """Return the built-in layers."""
    from wfengine_layers.bronze import Bronze
    from wfengine_layers.gold import Gold
    from wfengine_layers.notebook import NotebookLayer
    from wfengine_layers.python import PythonLayer
    from wfengine_layers.shell import ShellLayer
    from wfengine_layers.silver import Silver
    from wfengine_layers.spark_python import SparkPythonLayer

    return [Bronze, Silver, Gold, NotebookLayer, SparkPythonLayer, PythonLayer, ShellLayer]
