"""Stories drive the real command as a person would, in a project of their own."""

from __future__ import annotations

import shutil

import pytest
from story.daemons import TASKS, Daemon
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


@pytest.fixture
def serve(project):
    """Start daemons that are killed at the end of the test should they still be there."""
    project.write("tasks.py", TASKS)
    started: list[Daemon] = []

    def start(*arguments, wait=True, **options):
        started.append(Daemon(project, *(arguments or ("conf",)), **options))
        return started[-1].serving() if wait else started[-1]

    yield start
    for daemon in started:
        daemon.kill()
