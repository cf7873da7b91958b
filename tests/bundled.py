"""Write small bundles into a folder and read them, for the tests of bundles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from wfengine.jobfile import read, read_bundle
from wfengine.jobfile.bundle.listing import Bundle
from wfengine.jobs import Job
from wfengine.layer import Layer


class EchoConfig(msgspec.Struct, kw_only=True):
    text: str = ""
    number: int = 0
    names: list[str] = []
    anything: Any = None


class Echo(Layer[EchoConfig]):
    name = "echo"
    Config = EchoConfig

    def run(self, context):
        raise NotImplementedError


class NotebookConfig(msgspec.Struct, kw_only=True):
    notebook_path: str
    base_parameters: dict[str, str] = {}


class Notebook(Layer[NotebookConfig]):
    name = "notebook"
    Config = NotebookConfig

    def run(self, context):
        raise NotImplementedError


LAYERS = {"echo": Echo, "notebook": Notebook}


def written(folder: Path, files: Mapping[str, str] | str) -> Path:
    """Write files by their path below ``folder``; text alone is ``databricks.yml``, whose path is returned."""
    for name, text in ({"databricks.yml": files} if isinstance(files, str) else files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "databricks.yml"


def bundle(folder: Path, files: Mapping[str, str] | str, target: str | None = None, **variables: str) -> Bundle:
    """Read the bundle of these files."""
    return read_bundle(written(folder, files), LAYERS, root=folder, target=target, variables=variables)


def job(folder: Path, files: Mapping[str, str] | str, key: str | None = None, **more: Any) -> Job:
    """Read one job of the bundle of these files."""
    return read(written(folder, files), LAYERS, root=folder, job=key, **more).job


def faults(found: Bundle, folder: Path) -> list[str]:
    """Write the faults of a bundle with their paths below ``folder``."""
    return [str(fault).replace(f"{folder}/", "") for fault in found.faults]


def one(config: str, more: str = "") -> str:
    """Write a bundle of one job with one task, whose echo_task is ``config``."""
    return f"""\
bundle: {{name: shop}}
resources:
  jobs:
    daily:
      tasks:
        - task_key: a
          echo_task: {config}
{more}"""
