"""The example notebook of ``conf`` does what it says, three times over."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from wfengine.layer import TaskContext
from wfengine_layers.notebook import NotebookLayer
from wfengine_layers.notebook.layer import NotebookConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

CONF = Path(__file__).parents[2] / "conf"


def test_every_line_is_a_row_or_a_reject_and_the_layers_follow(
    context_for: Callable[..., TaskContext[Any]], connect: Callable[..., SparkSession]
) -> None:
    """docs/semantics.md, section 10: nothing is lost."""
    job = yaml.safe_load((CONF / "notebook-medallion.yml").read_text())
    parameters = {task["task_key"]: task["notebook_task"]["base_parameters"] for task in job["tasks"][1:]}
    outputs: dict[str, Any] = {}
    values: dict[str, dict[str, Any]] = {}
    for key in ("bronze", "silver", "gold", "silver", "gold"):
        own = {**parameters[key], "source_path": "../data/events"}
        context = context_for(
            NotebookConfig(notebook_path="notebooks/medallion", base_parameters=own),
            upstream_values=values,
            session=lambda: connect(warehouse=context.warehouse, base=context.base),  # noqa: B023 - opened in this round
        )
        if not outputs:
            shutil.copytree(CONF / "notebooks", context.base / "notebooks")
            lines = _write_demo(context.root / "data" / "events")
        result = json.loads(NotebookLayer().run(context).output)
        assert outputs.setdefault(key, result) == result
        values[key] = context.values
    assert outputs["bronze"]["rows"] + outputs["bronze"]["rejected"] == lines
    assert outputs["bronze"]["rejected"] > 0
    assert 0 < outputs["silver"]["rows"] == outputs["bronze"]["rows"] - outputs["silver"]["left_out"]
    assert outputs["silver"]["left_out"] > 0
    assert outputs["gold"]["rows"] > 0


def _write_demo(folder: Path) -> int:
    """Write the demo's files and return their number of lines without the headers."""
    spec = importlib.util.spec_from_file_location("demo_data_of_the_example", CONF / "demo_data.py")
    assert spec is not None
    assert spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    demo.generate(folder, rows=4000, days=2, seed=1)
    return sum(path.read_text().count("\n") - 1 for path in folder.glob("*.csv"))
