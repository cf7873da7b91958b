"""Stories drive the real command as a person would, in a project of their own."""

from __future__ import annotations

import shutil

import pytest
from story.driver import REPO, Project


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project")


@pytest.fixture(scope="session")
def examples(tmp_path_factory):
    """A copy of conf/ as a user has it after cloning, so that runs leave nothing in the repository."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(REPO / "conf", root / "conf", ignore=shutil.ignore_patterns("__pycache__"))
    return Project(root)
