"""The ledger of batches (docs/reliability.md, E1 and E2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from wfengine.errors import StateError
from wfengine.spark.ledger import Ledger


class Hand:
    """A clock that is set by hand."""

    def __init__(self, ms: int = 1_767_323_045_678) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def ledger(tmp_path: Path, clock: Hand) -> Ledger:
    return Ledger(tmp_path / "table" / "_wfengine" / "ledger.jsonl", clock)


def test_a_batch_id_tells_the_time_in_utc(ledger: Ledger) -> None:
    assert ledger.plan("a").batch_id == "20260102T030405.678000Z-0000"


def test_batch_ids_grow_while_the_clock_stands_goes_on_and_goes_back(ledger: Ledger, clock: Hand) -> None:
    ids = []
    for step in (0, 0, 5, 0, -7_200_000, 0, 8_000_000):
        clock.ms += step
        ids.append(ledger.plan("a").batch_id)
    assert ids == sorted(set(ids))


def test_batch_ids_grow_beyond_the_four_digits_of_their_counter(ledger: Ledger, clock: Hand) -> None:
    ledger.path.parent.mkdir(parents=True)
    ledger.path.write_text('{"batch_id":"20260102T030405.678000Z-9998","at":"","key":"a"}\n')
    clock.ms = 0
    ids = [ledger.plan("a").batch_id for _ in range(3)]
    assert ids == sorted(set(ids))
    assert ids[0].endswith("-9999")


def test_a_plan_stays_open_until_it_is_confirmed(ledger: Ledger) -> None:
    first = ledger.plan("a", files=["x.csv"])
    second = ledger.plan("b")
    ledger.done(first.batch_id, rows=3)
    assert [batch.batch_id for batch in ledger.open_plans()] == [second.batch_id]
    known = ledger.batches()[first.batch_id]
    assert (known.done, known.data, known.result) == (True, {"files": ["x.csv"]}, {"rows": 3})


def test_the_last_batch_of_a_key_is_found(ledger: Ledger) -> None:
    ledger.plan("a")
    latest = ledger.plan("a")
    ledger.plan("b")
    assert ledger.find("a") == latest
    assert ledger.find("c") is None


def test_another_reader_sees_what_was_planned(ledger: Ledger) -> None:
    planned = ledger.plan("a", n=1)
    assert Ledger(ledger.path).batches() == {planned.batch_id: planned}


@pytest.mark.parametrize("torn", ['{"batch_id":"2026', '{"batch_id":"x","at":"","key":"a"}', '{"batch_id":"\\ud8'])
def test_a_line_cut_off_by_a_crash_is_passed_over_and_removed_by_the_next_write(ledger: Ledger, torn: str) -> None:
    """docs/reliability.md, E1: such a line was never answered for."""
    first = ledger.plan("a")
    whole = ledger.path.read_text()
    ledger.path.write_text(whole + torn)
    assert list(ledger.batches()) == [first.batch_id]
    second = ledger.plan("b")
    assert list(ledger.batches()) == [first.batch_id, second.batch_id]
    assert len(ledger.path.read_text().splitlines()) == 2


def test_a_broken_line_in_the_middle_is_an_error_that_names_the_line(ledger: Ledger) -> None:
    ledger.plan("a")
    ledger.path.write_text("not json\n" + ledger.path.read_text())
    with pytest.raises(StateError, match=r"ledger\.jsonl:1: not a line of a batch ledger"):
        ledger.batches()


def test_an_unknown_batch_cannot_be_confirmed(ledger: Ledger) -> None:
    with pytest.raises(KeyError):
        ledger.done("20260102T030405.678000Z-0000")
    assert not ledger.path.exists()


def test_the_file_belongs_to_its_user_alone(ledger: Ledger) -> None:
    ledger.plan("a")
    assert ledger.path.stat().st_mode & 0o777 == 0o600
