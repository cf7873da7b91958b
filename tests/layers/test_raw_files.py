"""Finding files, telling their formats, and what unpacking them can meet (docs/semantics.md, section 10)."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from wfengine.errors import TaskFailed
from wfengine_layers.raw import RawSource, discover, fingerprint, read_file

CSV = b"a,b\n1,2\n3,4\n"
ROWS = [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.csv",
        "a.csv.gz",
        "sub/c.tsv",
        "d.jsonl",
        "e.txt",
        "noext",
        "g.md",
        ".hidden.csv",
        "_tmp/x.csv",
        "_SUCCESS",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "in"


def names(folder, files):
    return [(str(file.path.relative_to(folder)), file.format) for file in files]


def test_a_folder_gives_its_visible_files_sorted_with_the_format_of_their_names(folder):
    skipped = []
    files = discover(folder, None, warn=skipped.append)
    assert names(folder, files) == [
        ("a.csv.gz", "csv"), ("b.csv", "csv"), ("d.jsonl", "jsonl"), ("e.txt", "text"), ("sub/c.tsv", "tsv"),
    ]  # fmt: skip
    assert [line.rsplit("/", 1)[1] for line in skipped] == [
        "g.md skipped: its name does not tell a format",
        "noext skipped: its name does not tell a format",
    ]


def test_a_declared_format_reads_what_does_not_tell_of_another(folder):
    skipped = []
    files = discover(folder, "csv", warn=skipped.append)
    assert names(folder, files) == [
        ("a.csv.gz", "csv"), ("b.csv", "csv"), ("e.txt", "csv"), ("g.md", "csv"), ("noext", "csv"), ("sub/c.tsv", "tsv"),
    ]  # fmt: skip
    assert len(skipped) == 1
    assert skipped[0].endswith("d.jsonl skipped: it is not csv by its name")


def test_patterns_find_visible_files_and_a_declared_format_reads_them_all(folder):
    assert names(folder, discover(f"{folder}/**/*.?sv", None)) == [("b.csv", "csv"), ("sub/c.tsv", "tsv")]
    assert names(folder, discover(f"{folder}/*.jsonl", "text")) == [("d.jsonl", "text")]
    assert discover(f"{folder}/*.parquet", None) == []


def test_a_file_whose_name_holds_a_bracket_is_a_file(tmp_path):
    (tmp_path / "a[1].csv").write_bytes(CSV)
    assert [file.size for file in discover(tmp_path / "a[1].csv", None)] == [len(CSV)]


def test_a_missing_source_fails_with_its_absolute_path(tmp_path, monkeypatch):
    """The default engine reads it as empty (docs/reliability.md, E8)."""
    monkeypatch.chdir(tmp_path)
    for source in ("none.csv", "none/*.csv"):
        with pytest.raises(TaskFailed, match=re.escape(str(tmp_path / source))):
            discover(source, None)


def test_a_folder_without_files_is_an_empty_list(tmp_path):
    assert discover(tmp_path, None) == []


def test_a_file_whose_name_tells_nothing_needs_a_format(folder):
    with pytest.raises(TaskFailed, match="noext: its name does not tell the format"):
        discover(folder / "noext", None)
    assert names(folder, discover(folder / "noext", "json")) == [("noext", "json")]


def test_a_delta_table_is_not_read_as_its_files(tmp_path):
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(TaskFailed, match="is a Delta table"):
        discover(tmp_path, "parquet")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.csv")
    with pytest.raises(TaskFailed, match="neither a file nor a folder"):
        discover(tmp_path / "p.csv", None)
    assert discover(tmp_path, None) == []


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(TaskFailed, match="format 'xlsx' is not known"):
        discover(tmp_path, "xlsx")


def test_the_same_content_has_the_same_fingerprint_under_any_name(tmp_path):
    """docs/reliability.md, E3."""
    for name, content in (("a", CSV), ("b", CSV), ("c", CSV + b"\n")):
        (tmp_path / name).write_bytes(content)
    prints = [fingerprint(tmp_path / name) for name in "abc"]
    assert prints[0] == prints[1] != prints[2]
    with pytest.raises(TaskFailed, match="cannot be read"):
        fingerprint(tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "pack"), [("a.csv.gz", gzip.compress), ("a.csv.bz2", bz2.compress), ("a.csv.xz", lzma.compress)]
)
@pytest.mark.parametrize("block_size", [1, 1 << 20])
def test_packed_files_are_unpacked(read_raw, name, pack, block_size):
    assert read_raw(name, pack(CSV), block_size=block_size).rows == ROWS


@pytest.mark.parametrize(
    ("name", "pack"), [("a.csv.gz", gzip.compress), ("a.csv.bz2", bz2.compress), ("a.csv.xz", lzma.compress)]
)
def test_a_truncated_packed_file_fails_with_its_name(read_raw, name, pack):
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(50_000))
    with pytest.raises(TaskFailed, match=rf"{re.escape(name)} is damaged or cut short after \d+ good lines") as error:
        read_raw(name, pack(content)[:-100])
    if name == "a.csv.gz":
        assert int(re.findall(r"after (\d+) good", str(error.value))[0]) > 40_000


def test_a_packed_file_that_is_none_or_whose_checksum_is_wrong_fails(read_raw):
    with pytest.raises(TaskFailed, match="damaged"):
        read_raw("a.csv.gz", CSV)
    packed = bytearray(gzip.compress(CSV))
    packed[-6] ^= 1
    with pytest.raises(TaskFailed, match=r"after \d good lines"):
        read_raw("a.csv.gz", bytes(packed))


def test_a_zip_of_one_member_is_read(read_raw):
    result = read_raw("a.csv.zip", zipped({"x.csv": CSV}))
    assert (result.rows, result.numbers) == (ROWS, [2, 3])


def test_each_member_of_a_zip_is_read_with_its_own_header_and_named(tmp_path):
    path = tmp_path / "all.zip"
    path.write_bytes(zipped({"x.csv": CSV, "sub/y.csv": b"b,c\n5,6\nbad\n", "__MACOSX/x.csv": b"junk"}))
    outcome = read_file(discover(path, None)[0], RawSource(), sink=tmp_path)
    import pyarrow.parquet as pq

    rows = pq.read_table(outcome.rows_files).to_pylist()
    assert [(row["a"], row["b"], row["c"], row["_line"]) for row in rows] == [
        ("1", "2", None, 2), ("3", "4", None, 3), (None, "5", "6", 2),
    ]  # fmt: skip
    assert [row["_source_file"] for row in rows] == [f"{path}!x.csv"] * 2 + [f"{path}!sub/y.csv"]
    assert pq.read_table(outcome.rejects_files).to_pylist()[0]["_line"] == 3
    assert (outcome.columns, outcome.header_lines, outcome.lines) == (("a", "b", "c"), 2, 6)


def test_a_damaged_zip_fails_with_its_name(read_raw):
    with pytest.raises(TaskFailed, match=r"a\.csv\.zip is damaged"):
        read_raw("a.csv.zip", zipped({"x.csv": CSV})[:-30])


def test_the_members_of_a_zip_tell_its_format(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"./x.jsonl": b"{}", ".DS_Store": b""}))
    (tmp_path / "b.zip").write_bytes(zipped({"x.jsonl": b"{}", "y.csv": b""}))
    assert names(tmp_path, discover(tmp_path, None)) == [("a.zip", "jsonl")]
    with pytest.raises(TaskFailed, match=r"b\.zip: its name does not tell the format"):
        discover(tmp_path / "b.zip", None)
    (tmp_path / "c.zip").write_bytes(b"junk")
    with pytest.raises(TaskFailed, match=r"c\.zip is damaged or no zip"):
        discover(tmp_path / "c.zip", None)


def test_a_folder_that_may_not_be_read_is_not_passed_over(folder, monkeypatch):
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(TaskFailed, match="sub cannot be read: Permission denied"):
        discover(folder, None)


def test_a_name_that_is_not_utf8_is_shown_escaped(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.csv")
    path.write_bytes(CSV)
    outcome = read_file(discover(path, None)[0], RawSource(), sink=tmp_path)
    import pyarrow.parquet as pq

    assert pq.read_table(outcome.rows_files).to_pylist()[0]["_source_file"] == f"{tmp_path}/caf\\xe9.csv"


def test_many_threads_can_share_one_sink(tmp_path):
    sink = tmp_path / "sink"
    sink.mkdir()
    for i in range(16):
        (tmp_path / f"{i}.csv").write_bytes(b"a,b\n" + b'%d,"x"\n' % i * (i + 1))
    with ThreadPoolExecutor(4) as pool:
        files = discover(tmp_path / "*.csv", None)
        outcomes = list(pool.map(lambda file: read_file(file, RawSource(), sink=sink, block_size=7), files))
    assert {file.path.stem: outcome.rows for file, outcome in zip(files, outcomes, strict=True)} == {
        str(i): i + 1 for i in range(16)
    }
    assert len({piece for outcome in outcomes for piece in outcome.rows_files}) == 16


def test_a_file_that_grows_while_it_is_read_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_bytes(CSV)
    file = discover(path, None)[0]
    path.write_bytes(CSV)
    from wfengine_layers.raw import delimited

    read = delimited.read_delimited

    def slow(*args):
        read(*args)
        path.write_bytes(CSV + b"5,6\n")

    monkeypatch.setattr(delimited, "read_delimited", slow)
    with pytest.raises(TaskFailed, match="changed while it was read"):
        read_file(file, RawSource(), sink=tmp_path)


def test_a_file_that_is_gone_fails_with_its_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(CSV)
    file = discover(path, None)[0]
    path.unlink()
    with pytest.raises(TaskFailed, match=r"a\.csv cannot be read"):
        read_file(file, RawSource(), sink=tmp_path)


def test_plain_text_is_a_row_a_line(read_raw):
    result = read_raw("a.txt", "x\n\nü\r\nbad \xff".encode("latin-1").replace(b"\xfc", "ü".encode()), block_size=3)
    assert result.rows == [{"value": "x"}, {"value": ""}, {"value": "ü"}]
    assert result.rejects == [(4, "bad \\xff", "holds bytes that the encoding does not allow")]
    assert result.outcome.lines == 4
