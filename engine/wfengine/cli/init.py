"""``wfengine init``: a small project that runs."""

from __future__ import annotations

from pathlib import Path

import click

from wfengine.errors import UsageError

#: Files of a new project, copied as they are; ``gitignore`` gets its dot.
TEMPLATE = Path(__file__).parent / "template"


@click.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default=".")
def init(folder: Path) -> int:
    """Write a small project into DIR: a job file, a notebook, raw data and settings. Nothing is overwritten."""
    files = sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    targets = {path: folder / _name(path.relative_to(TEMPLATE)) for path in files}
    there = [str(target) for target in targets.values() if target.exists()]
    if there:
        raise UsageError(f"{', '.join(there)} exists already; choose an empty folder")
    for source, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        click.echo(f"wrote {target}")
    where = "" if folder == Path() else f"cd {folder} && "
    click.echo(f"next: {where}wfengine run-once pipeline.yml")
    return 0


def _name(path: Path) -> Path:
    return path.with_name(".gitignore") if path.name == "gitignore" else path
