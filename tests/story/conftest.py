"""Stories drive the real command as a person would, in a project of their own."""

from __future__ import annotations

import contextlib
import shutil

import pytest
from story.daemons import TASKS, Daemon
from story.driver import REPO, Project

from wfengine.app import Engine
from wfengine.errors import StateError


@pytest.fixture
def project(tmp_path):
    """A project; after every test its home and tables have to pass the audit."""
    made = Project(tmp_path / "project")
    yield made
    if (made.root / ".wfengine" / "state.db").exists():
        # Some tests leave a state that cannot be used at all.
        with contextlib.suppress(StateError):
            assert [str(each) for each in Engine(project=made.root).audit().breaks] == []


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
