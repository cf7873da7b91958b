"""Real files of an online shop come out cell by cell as the standard library reads them."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from wfengine_layers.raw import RawSource, discover, read_file

DAYS = Path(__file__).parents[2].parent / "shared" / "data" / "online-retail" / "by-day"


@pytest.mark.skipif(not DAYS.is_dir(), reason="the online-retail files are not beside the repository")
def test_45_days_of_an_online_shop_are_read_exactly(tmp_path):
    total = 0
    for file in discover(DAYS, None):
        outcome = read_file(file, RawSource(), sink=tmp_path, block_size=64 * 1024)
        with file.path.open(newline="", encoding="utf-8") as stream:
            header, *expected = csv.reader(stream)
        table = pq.read_table(outcome.rows_files)
        cells = zip(*(table.column(name).to_pylist() for name in outcome.columns), strict=True)
        assert list(outcome.columns) == header
        assert [[cell or "" for cell in row] for row in cells] == expected
        assert outcome.rejects == 0
        total += outcome.rows
    assert total == 79_202
