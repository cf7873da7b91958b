"""How job files are found, read again and kept (docs/triggers.md, Job files of a daemon; docs/reliability.md, C1, C2, C3)."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from wfengine import jobfile
from wfengine.errors import JobFileError
from wfengine.jobs import Job, Schedule
from wfengine.layer import Layer
from wfengine.shelf import Changes, Content, Shelf, timing_fingerprint, watch
from wfengine.shelf.files import looks_like_job


class NothingConfig(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Nothing(Layer[NothingConfig]):
    name = "nothing"
    Config = NothingConfig

    def run(self, context):
        raise NotImplementedError


class Reads:
    """Reads job files as the engine does and notes which."""

    def __init__(self):
        self.paths: list[Path] = []
        self.meanwhile = lambda path: None

    def __call__(self, path: Path) -> Content:
        self.paths.append(path)
        self.meanwhile(path)
        return Content((jobfile.read(path, {"nothing": Nothing}, root=path.parent).job,))


@pytest.fixture
def reads() -> Reads:
    return Reads()


def text(name: str, cron: str = "0 6 * * *", kind: str = "nothing") -> str:
    return f"name: {name}\nschedule:\n  cron: {cron}\ntasks:\n- task_key: a\n  {kind}_task: {{}}\n"


def put(path: Path, content: str) -> Path:
    """Write a file as an editor does: beside it, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(content)
    return beside.replace(path)


# -- which files ------------------------------------------------------------------------------------------------------


def test_a_folder_gives_the_job_files_below_it_and_nothing_else(tmp_path, reads):
    put(tmp_path / "a.yml", text("a"))
    put(tmp_path / "deep" / "er" / "b.YAML", text("b"))
    put(tmp_path / "c.json", json.dumps({"settings": {"name": "c", "tasks": [{"task_key": "x", "nothing_task": {}}]}}))
    for name in (".hidden.yml", ".git/d.yml", "e.yml~", "f.yml.swp", "g.yml.tmp", ".#h.yml", "notes.txt"):
        put(tmp_path / name, text(Path(name).name.strip(".").replace(".", "_")))
    put(tmp_path / "compose.yml", "services:\n  web:\n    tasks: none\n")
    put(tmp_path / "broken-but-foreign.yml", "services: [\n")
    put(tmp_path / "data.json", '[{"name": "x"}]')
    os.mkfifo(tmp_path / "pipe.yml")
    (tmp_path / "nowhere.yml").symlink_to(tmp_path / "missing.yml")
    shelf = Shelf([tmp_path], reads)
    assert shelf.refresh() == Changes(added=("a", "b", "c"))
    assert sorted(shelf.jobs) == ["a", "b", "c"]
    assert shelf.errors == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("name: a\ntasks: []\n", True),
        ("\ufeffname: a\n'tasks' : []\n", True),
        ("bundle: {name: b}\n", True),
        ("resources:\n  jobs: {}\n", True),
        ("name: half written\ntasks:\n - task_key: [", True),
        ("job_id: 1\nsettings:\n  name: a\n  tasks: []\n", True),
        ("{name: a, tasks: []}", True),
        ('{"name": "a", "tasks": []}', True),
        ("- hosts: all\n  tasks: []\n", False),
        ("settings:\n  colour: red\n", False),
        ("name: a\n", False),
        ("", False),
    ],
)
def test_a_job_file_is_known_by_its_keys_even_when_it_is_broken(content, expected):
    assert looks_like_job(content.encode()) is expected


def test_a_file_that_was_named_must_be_a_job_file(tmp_path, reads):
    other = put(tmp_path / "compose.yml", "services: {}\n")
    missing = tmp_path / "missing.yml"
    shelf = Shelf([other, missing], reads)
    assert shelf.refresh().broken == (other, missing)
    assert "tasks" in shelf.errors[other]
    assert shelf.errors[missing] == f"{missing}: there is no such file or folder"


def test_a_glob_is_looked_at_again_and_complains_when_it_matches_nothing(tmp_path, reads):
    pattern = tmp_path / "**" / "*.yml"
    shelf = Shelf([pattern], reads)
    shelf.refresh()
    assert shelf.errors == {pattern: f"{pattern}: matches no file"}
    put(tmp_path / "x" / "a.yml", text("a"))
    put(tmp_path / "x" / "other.yml", "services: {}\n")
    assert shelf.refresh() == Changes(added=("a",))
    assert shelf.errors == {}


def test_a_file_reached_by_two_sources_is_one_file(tmp_path, reads, monkeypatch):
    path = put(tmp_path / "a.yml", text("a"))
    monkeypatch.chdir(tmp_path)
    shelf = Shelf([tmp_path, path, Path("a.yml"), Path("*.yml")], reads)
    assert shelf.refresh() == Changes(added=("a",))
    assert reads.paths == [path]
    assert shelf.errors == {}


def test_links_to_folders_are_not_followed_and_links_to_files_are(tmp_path, reads):
    put(tmp_path / "conf" / "..data" / "a.yml", text("a"))
    (tmp_path / "conf" / "a.yml").symlink_to("..data/a.yml")
    (tmp_path / "conf" / "loop").symlink_to(tmp_path / "conf")
    shelf = Shelf([tmp_path / "conf"], reads)
    assert shelf.refresh() == Changes(added=("a",))
    put(tmp_path / "conf" / "..data" / "a.yml", text("a", "0 7 * * *"))
    assert shelf.refresh() == Changes(changed=("a",))


# -- what is read again -----------------------------------------------------------------------------------------------


def test_a_file_is_only_read_again_when_its_content_changed(tmp_path, reads):
    path = put(tmp_path / "a.yml", text("a"))
    shelf = Shelf([tmp_path], reads)
    shelf.refresh()
    assert not shelf.refresh()
    os.utime(path, ns=(1, 1))
    assert not shelf.refresh()
    assert len(reads.paths) == 1
    put(path, text("a") + "# a comment\n")
    assert not shelf.refresh()
    put(path, text("a", "0 7 * * *"))
    assert shelf.refresh() == Changes(changed=("a",))
    assert shelf.jobs["a"].schedule == Schedule(cron="0 7 * * *")
    assert len(reads.paths) == 3


def test_a_replaced_file_of_the_same_size_and_time_is_seen_by_its_inode(tmp_path, reads):
    path = put(tmp_path / "a.yml", text("a", "0 6 * * *"))
    os.utime(path, ns=(1, 1))
    shelf = Shelf([tmp_path], reads)
    shelf.refresh()
    beside = put(tmp_path / "beside", text("a", "0 7 * * *"))
    os.utime(beside, ns=(1, 1))
    beside.replace(path)
    assert shelf.refresh() == Changes(changed=("a",))


def test_with_force_everything_is_read_again(tmp_path, reads):
    path = put(tmp_path / "a.yml", text("a"))
    shelf = Shelf([tmp_path], reads)
    shelf.refresh()
    os.utime(path, ns=(1, 1))
    shelf.refresh(force=True)
    shelf.refresh(force=True)
    assert len(reads.paths) == 3


def test_a_removed_file_removes_its_job_and_a_new_name_is_a_new_job(tmp_path, reads):
    path = put(tmp_path / "a.yml", text("a"))
    shelf = Shelf([tmp_path], reads)
    shelf.refresh()
    put(path, text("b"))
    assert shelf.refresh() == Changes(added=("b",), removed=("a",))
    path.unlink()
    assert shelf.refresh() == Changes(removed=("b",))
    assert shelf.jobs == {}


def test_a_file_that_moves_is_the_same_job_elsewhere(tmp_path, reads):
    path = put(tmp_path / "a.yml", text("a"))
    shelf = Shelf([tmp_path], reads)
    shelf.refresh()
    path.rename(tmp_path / "z.yml")
    assert shelf.refresh() == Changes(changed=("a",))
    assert shelf.jobs["a"].path == str(tmp_path / "z.yml")


def test_a_folder_that_vanishes_takes_its_jobs_along_and_brings_them_back(tmp_path, reads):
    put(tmp_path / "conf" / "a.yml", text("a"))
    shelf = Shelf([tmp_path / "conf"], reads)
    shelf.refresh()
    (tmp_path / "conf").rename(tmp_path / "away")
    assert shelf.refresh() == Changes(removed=("a",), broken=(tmp_path / "conf",))
    (tmp_path / "away").rename(tmp_path / "conf")
    assert shelf.refresh() == Changes(added=("a",))
    assert shelf.errors == {}


# -- what is broken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "name: a\n", "name: a\ntasks: [", "\0", text("a", "0 25 * * *")])
def test_a_broken_file_keeps_its_last_good_version(tmp_path, reads, content):
    """docs/reliability.md, C3"""
    path = put(tmp_path / "a.yml", text("a"))
    shelf = Shelf([tmp_path], reads)
    shelf.refresh()
    put(path, content)
    assert shelf.refresh() == Changes(broken=(path,))
    assert shelf.jobs["a"].schedule == Schedule(cron="0 6 * * *")
    assert str(path) in shelf.errors[path]
    assert not shelf.refresh()
    put(path, text("a", "0 7 * * *"))
    assert shelf.refresh() == Changes(changed=("a",))
    assert shelf.errors == {}


def test_a_broken_file_harms_no_other(tmp_path, reads):
    bad = put(tmp_path / "a.yml", text("a", kind="missing"))
    put(tmp_path / "b.yml", text("b"))
    shelf = Shelf([tmp_path], reads)
    assert shelf.refresh() == Changes(added=("b",), broken=(bad,))
    assert f"{bad}:6:3: tasks[0].missing_task: no layer plugin named 'missing' is loaded" in shelf.errors[bad]


def test_a_reader_that_stumbles_is_an_error_of_that_file(tmp_path):
    def stumble(path):
        if path.name == "a.yml":
            raise RecursionError("too deep")
        return Content((Job(name="b", tasks=()),))

    bad = put(tmp_path / "a.yml", text("a"))
    put(tmp_path / "b.yml", text("b"))
    shelf = Shelf([tmp_path], stumble)
    assert shelf.refresh().added == ("b",)
    assert shelf.errors == {bad: f"{bad}: reading it failed: RecursionError: too deep"}


def test_two_files_with_one_job_name_the_first_stays(tmp_path, reads):
    first, second = put(tmp_path / "a.yml", text("same")), put(tmp_path / "b.yml", text("same", "0 7 * * *"))
    shelf = Shelf([second, first], reads)
    assert shelf.refresh() == Changes(added=("same",), broken=(second,))
    assert shelf.jobs["same"].path == str(first)
    assert shelf.errors[second] == (
        f"{second}: name: the job 'same' is already in {first} (give one of them another name)"
    )
    put(first, text("other"))
    assert shelf.refresh() == Changes(added=("other",), changed=("same",))
    assert shelf.errors == {}


def test_a_file_that_changes_while_it_is_read_is_read_again_next_time(tmp_path, reads):
    path = put(tmp_path / "a.yml", text("a"))
    shelf = Shelf([tmp_path], reads)
    shelf.refresh()
    reads.meanwhile = lambda path: put(path, text("a", "0 8 * * *"))
    put(path, text("a", "0 7 * * *"))
    assert not shelf.refresh()
    assert shelf.jobs["a"].schedule == Schedule(cron="0 6 * * *")
    reads.meanwhile = lambda path: None
    assert shelf.refresh() == Changes(changed=("a",))
    assert shelf.jobs["a"].schedule == Schedule(cron="0 8 * * *")


def test_a_file_that_vanishes_while_it_is_read_keeps_its_job_until_the_next_look(tmp_path, reads):
    path = put(tmp_path / "a.yml", text("a"))
    shelf = Shelf([tmp_path], reads)
    shelf.refresh()
    reads.meanwhile = Path.unlink
    put(path, text("a", "0 7 * * *"))
    shelf.refresh()
    assert sorted(shelf.jobs) == ["a"]
    assert shelf.refresh().removed == ("a",)


def test_a_folder_that_cannot_be_listed_keeps_its_jobs(tmp_path, reads, monkeypatch):
    put(tmp_path / "in" / "a.yml", text("a"))
    put(tmp_path / "b.yml", text("b"))
    shelf = Shelf([tmp_path], reads)
    shelf.refresh()
    listing = os.scandir

    def refuse(path):
        if str(path).endswith("in"):
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert shelf.refresh() == Changes(broken=(tmp_path / "in",))
    assert sorted(shelf.jobs) == ["a", "b"]
    assert shelf.errors == {tmp_path / "in": f"{tmp_path / 'in'}: cannot be read: Permission denied"}
    monkeypatch.undo()
    assert not shelf.refresh()
    assert shelf.errors == {}


# -- bundles ----------------------------------------------------------------------------------------------------------


def read_bundle(path: Path) -> Content:
    """A bundle as small as can be: each included file holds the name of a job; an empty one is broken."""
    if path.name != "databricks.yml":
        raise JobFileError([])
    parts = sorted(path.parent.glob("resources/*.yml"))
    names = [part.read_text().removeprefix("resources: ") for part in parts]
    return Content(
        tuple(Job(name=name, tasks=()) for name in names if name),
        error="" if all(names) else "one is empty",
        includes=(str(path.parent / "resources" / "*.yml"),),
    )


@pytest.mark.parametrize("source", [".", "databricks.yml"])
def test_the_files_that_a_bundle_includes_are_watched_with_it(tmp_path, source):
    put(tmp_path / "databricks.yml", "bundle: {}")
    part = put(tmp_path / "resources" / "a.yml", "resources: a")
    shelf = Shelf([tmp_path / source], read_bundle)
    assert shelf.refresh() == Changes(added=("a",))
    assert not shelf.refresh()
    other = put(tmp_path / "resources" / "b.yml", "resources: b")
    assert shelf.refresh() == Changes(added=("b",))
    put(part, "resources: c")
    assert shelf.refresh() == Changes(added=("c",), removed=("a",))
    other.unlink()
    assert shelf.refresh() == Changes(removed=("b",))
    assert shelf.errors == {}


def test_a_broken_job_of_a_bundle_keeps_its_last_good_version(tmp_path):
    bundle = put(tmp_path / "databricks.yml", "bundle: {}")
    part = put(tmp_path / "resources" / "a.yml", "resources: a")
    put(tmp_path / "resources" / "b.yml", "resources: b")
    shelf = Shelf([bundle], read_bundle)
    shelf.refresh()
    put(part, "")
    assert shelf.refresh() == Changes(broken=(bundle,))
    assert sorted(shelf.jobs) == ["a", "b"]
    put(part, "resources: c")
    assert shelf.refresh() == Changes(added=("c",), removed=("a",))


def test_two_jobs_of_one_name_in_one_file_are_refused(tmp_path):
    path = put(tmp_path / "a.yml", text("a"))
    job = Job(name="a", tasks=())
    shelf = Shelf([path], lambda path: Content((job, job)))
    assert shelf.refresh() == Changes(added=("a",), broken=(path,))


# -- the fingerprint --------------------------------------------------------------------------------------------------

BASE = Job(name="a", tasks=(), schedule=Schedule(cron="0 6 * * *"), path="/p/a.yml")
ARRIVAL = Job(name="a", tasks=(), path="/p/a.yml", trigger={"file_arrival": {"url": "in"}})


@pytest.mark.parametrize(
    ("job", "changes"),
    [
        (BASE, {"description": "new words"}),
        (BASE, {"max_concurrent_runs": 5, "timeout_seconds": 9}),
        (BASE, {"path": "/q/a.yml"}),
        (BASE, {"schedule": Schedule(cron="0 6 * * *", pause_status="PAUSED", catch_up="all")}),
        (ARRIVAL, {"path": "/p/b.yml"}),
        (ARRIVAL, {"trigger": {"file_arrival": {"url": "in", "wait_after_last_change_seconds": 9}}}),
        (ARRIVAL, {"trigger": {"pause_status": "PAUSED", "file_arrival": {"url": "in"}}}),
    ],
)
def test_an_edit_of_something_else_keeps_the_fingerprint(job, changes):
    """docs/reliability.md, D17"""
    assert timing_fingerprint(msgspec.structs.replace(job, **changes)) == timing_fingerprint(job)


@pytest.mark.parametrize(
    ("job", "changes"),
    [
        (BASE, {"schedule": Schedule(cron="0 7 * * *")}),
        (BASE, {"schedule": Schedule(quartz_cron_expression="0 6 * * *")}),
        (BASE, {"schedule": Schedule(cron="0 6 * * *", timezone_id="Europe/Rome")}),
        (BASE, {"schedule": None}),
        (BASE, {"schedule": None, "continuous": {"pause_status": "UNPAUSED"}}),
        (ARRIVAL, {"path": "/q/a.yml"}),
        (ARRIVAL, {"trigger": {"file_arrival": {"url": "out"}}}),
        (ARRIVAL, {"trigger": {"table_update": {"url": "in"}}}),
    ],
)
def test_an_edit_of_the_timing_changes_the_fingerprint(job, changes):
    """docs/reliability.md, D17"""
    assert timing_fingerprint(msgspec.structs.replace(job, **changes)) != timing_fingerprint(job)


# -- the watcher ------------------------------------------------------------------------------------------------------

#: Seconds after which a test gives up on an event that must come.
PATIENCE = 60


@pytest.fixture
def woken():
    return threading.Event()


def test_the_watcher_wakes_soon_after_a_change(tmp_path, woken):
    pytest.importorskip("watchfiles", reason="needs the extra watch")
    watcher = watch([tmp_path], woken.set, seconds=PATIENCE * 10)
    try:
        # The thread may not watch yet, so the file is written until it is seen.
        for number in range(PATIENCE * 2):
            put(tmp_path / "a.yml", text(f"a{number}"))
            if woken.wait(0.5):
                break
        assert woken.is_set()
    finally:
        watcher.close()


def test_without_watchfiles_the_watcher_wakes_by_the_clock(tmp_path, woken, monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    watcher = watch([tmp_path], woken.set, seconds=0.01)
    assert woken.wait(PATIENCE)
    watcher.close()
    watcher.close()
    assert "wfengine-watcher" not in [thread.name for thread in threading.enumerate()]


def test_a_folder_that_comes_back_is_watched_again(tmp_path, woken):
    pytest.importorskip("watchfiles", reason="needs the extra watch")
    folder = tmp_path / "conf"
    put(folder / "a.yml", text("a"))
    watcher = watch([folder], woken.set, seconds=0.2)
    try:
        for _ in range(3):
            folder.rename(tmp_path / "away")
            woken.clear()
            assert woken.wait(PATIENCE)
            (tmp_path / "away").rename(folder)
            woken.clear()
            assert woken.wait(PATIENCE)
    finally:
        watcher.close()


def test_whatever_goes_wrong_the_watcher_goes_on(tmp_path, monkeypatch):
    """Neither a failing notification service nor a failing callback ends it."""
    module = type(sys)("watchfiles")

    def fail(*folders, **options):
        raise OSError("out of inotify watches")

    module.watch = fail
    monkeypatch.setitem(sys.modules, "watchfiles", module)
    calls, enough = [], threading.Event()

    def wake():
        calls.append(1)
        if len(calls) > 3:
            enough.set()
        raise RuntimeError("the daemon is in trouble")

    watcher = watch([tmp_path], wake, seconds=0.01)
    assert enough.wait(PATIENCE)
    watcher.close()


def test_a_job_file_error_is_kept_with_its_line(tmp_path, reads):
    """docs/reliability.md, C3: the error is shown with its line."""
    path = put(tmp_path / "a.yml", "name: a\ntasks:\n- task_key: a\n  nothing_task: {x: 1}\n")
    shelf = Shelf([tmp_path], reads)
    shelf.refresh()
    with pytest.raises(JobFileError) as refused:
        jobfile.read(path, {"nothing": Nothing}, root=tmp_path)
    assert shelf.errors[path] == str(refused.value)
    assert ":4:" in shelf.errors[path]
