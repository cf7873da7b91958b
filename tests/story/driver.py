"""Drives the real command in a project of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]


class Project:
    """A folder with a job file, and the command run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        # Marks the root, so that nothing above the temporary folder is taken for the project.
        (root / "wfengine.toml").write_text("grace_seconds = 2\n")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def arguments(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from wfengine.cli import main; main()", *arguments]

    def environ(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("WFENGINE_", "SPARK_"))}
        return {**kept, "COLUMNS": "200", "PYTHONWARNINGS": "error::ResourceWarning"}

    def run(self, *arguments: str, code: int | None = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end; ``code`` is the exit code that must come."""
        done = subprocess.run(
            self.arguments(*arguments),
            cwd=self.root,
            env={**self.environ(), **environ},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, code: int | None = 0) -> dict:
        """Run the command with ``--output json`` and return its document."""
        done = self.run(*arguments, "--output", "json", code=code)
        return json.loads(done.stdout)

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.arguments(*arguments),
            cwd=self.root,
            env={**self.environ(), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def results(run: dict) -> dict[str, str]:
    """Return the result of each task's last attempt."""
    return {
        task["task_key"]: task["state"].get("result_state", task["state"]["life_cycle_state"]) for task in run["tasks"]
    }


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie counts as ended)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
