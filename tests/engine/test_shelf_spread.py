"""Many files are read by all cores, with the same outcome as by one."""

from __future__ import annotations

import os
import signal

import pytest

from wfengine.shelf import spread as module
from wfengine.shelf.spread import WORTHWHILE, spread

MANY = range(WORTHWHILE + 1)


@pytest.fixture(autouse=True)
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(module, "_alone", lambda: True)


def processes(numbers: range) -> int:
    return len(set(spread(numbers, lambda number: os.getpid(), int)))


def test_the_work_of_each_item_comes_back_in_order() -> None:
    assert spread(MANY, lambda number: number * 2, int) == [number * 2 for number in MANY]
    assert spread((), str, str) == []


def test_many_items_are_shared_out_and_few_are_not() -> None:
    assert processes(MANY) == 3
    assert processes(range(WORTHWHILE - 1)) == 1


def test_beside_a_thread_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_alone", lambda: False)
    assert processes(MANY) == 1


def test_the_share_of_a_process_that_dies_is_done_all_the_same() -> None:
    this = os.getpid()

    def work(number: int) -> int:
        if os.getpid() != this:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert spread(MANY, work, int) == list(MANY)
