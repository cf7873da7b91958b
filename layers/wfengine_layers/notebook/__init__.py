"""Databricks and Jupyter notebooks as tasks."""

from __future__ import annotations

from wfengine_layers.notebook.layer import NotebookLayer

__all__ = ["NotebookLayer"]
