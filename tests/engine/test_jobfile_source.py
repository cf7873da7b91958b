"""How job files are read into nodes: strictly, with positions, within bounds (docs/reliability.md, C6 to C11)."""

from __future__ import annotations

import json
import resource

import pytest
import yaml

from wfengine.errors import JobFileError
from wfengine.jobfile import source
from wfengine.jobfile.nodes import Map, Scalar, Seq, natural


def parsed(text):
    node, faults = source.parse(text, "job.yml")
    assert faults == []
    return node


def refused(text):
    """Return the faults of a text, whether they stopped the reading or not."""
    try:
        return source.parse(text, "job.yml")[1]
    except JobFileError as error:
        return error.faults


def plain(node):
    if isinstance(node, Map):
        return {key: plain(value) for key, (_, value) in node.entries.items()}
    return [plain(item) for item in node.items] if isinstance(node, Seq) else natural(node)


def test_every_value_knows_its_line_and_column():
    node = parsed("name: x\ntasks:\n  - task_key: a\n")
    assert (node.line, node.column) == (1, 1)
    key, tasks = node.entries["tasks"]
    assert (key.line, key.column) == (2, 1)
    value = tasks.items[0].get("task_key")
    assert (value.line, value.column, value.text) == (3, 15, "a")


def test_a_duplicate_key_is_refused_with_both_lines():
    """C6."""
    (fault,) = refused("a: 1\nb: 2\na: 3\n")
    assert (fault.line, fault.column, fault.value) == (3, 1, "a")
    assert "first in line 1" in fault.message


def test_a_duplicate_key_is_refused_in_json_and_at_any_depth():
    """C6."""
    (fault,) = refused('{"a": [{"b": 1,\n "b": 1}]}')
    assert fault.line == 2
    assert "first in line 1" in fault.message


def test_all_faults_that_do_not_stop_the_reading_are_found():
    faults = refused('a: !!int 1\nb: 1\nb: 2\n<<: 3\nc: "\\0"\n')
    assert [fault.line for fault in faults] == [1, 3, 4, 5]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
DEEP_BY_ALIAS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases stand for more than 250000 values"),
        ("- &a\n" + "  - x\n" * 1000 + "- *a\n" * 1000, "aliases stand for more than 250000 values"),
        ("[" * 20_000, "nested more than 100 levels deep"),
        ("{a: " * 20_000, "nested more than 100 levels deep"),
        ("- " * 20_000, "nested more than 100 levels deep"),
        ('{"a":' * 20_000, "nested more than 100 levels deep"),
        (DEEP_BY_ALIAS, "nested more than 100 levels deep"),
        ("a: &a [*a]\n", "names no anchor that is complete"),
        ("a: *nothing\n", "names no anchor that is complete"),
        ("a: !!python/object:os.system x\n", "the tag tag:yaml.org,2002:python/object:os.system is not allowed"),
        ("a: !local {b: 1}\n", "the tag !local is not allowed"),
        ("a: ! x\n", "the tag ! is not allowed"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("a: [1\n", "is not valid YAML"),
        ("a: b: c\n", "is not valid YAML"),
        ("? [a]\n: 1\n", "cannot be a key"),
        ("a: \x1b[31m\n", "control character \\x1b"),
        ("a: \x00\n", "control character \\x00"),
        ('a: "\\0"\n', "cannot be stored"),
        ("a: 1\n<<: [x]\n", "<< merges mappings only"),
        ('{"a": "\\ud83d"}', "is not valid YAML"),
    ],
)
def test_what_is_not_plain_data_is_refused_within_100_ms_of_cpu(text, message):
    """C7, C8, C9, C11."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    faults = refused(text)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    assert message in faults[0].message
    assert used < 0.1


def test_a_reference_without_quotes_gets_a_hint():
    faults = refused("day: {{job.parameters.day}}\n") + refused("day: {{job.id}}/x\n")
    assert {fault.hint for fault in faults} == {"put quotes around a value that begins with {{"}


def test_a_tab_that_indents_gets_a_hint():
    (fault,) = refused("a:\n\tb: 1\n")
    assert (fault.line, fault.hint) == (2, "indent with spaces; a tab is not allowed there")


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "1:30", "2024-01-05", "007", "0x1F", "0o7", "1_000", ".inf", "=", "1.2.3"]
)
def test_words_that_other_readers_guess_about_stay_text(word):
    """C10."""
    assert plain(parsed(f"a: {word}\n")) == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("~", None),
        ("", None),
        ("null", None),
    ],
)
def test_json_numbers_truth_values_and_null_are_read(word, value):
    found = plain(parsed(f"a: {word}\n"))["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("word", ["9" * 5000, "1e999", "-" + "9" * 19])
def test_numbers_that_are_too_large_stay_text(word):
    """C10."""
    assert plain(parsed(f"a: {word}\n")) == {"a": word}


def test_anchors_aliases_and_merge_keys_load():
    """C7: plain anchors are used by real files. What a mapping says itself beats what it merges."""
    text = "base: &base {a: 1, b: 2}\nlist: [*base, &x 5, *x]\nmerged:\n  <<: *base\n  b: 3\nboth: {<<: [{c: 1}, {c: 2, d: 3}]}\n"
    assert plain(parsed(text)) == {
        "base": {"a": 1, "b": 2},
        "list": [{"a": 1, "b": 2}, 5, 5],
        "merged": {"b": 3, "a": 1},
        "both": {"c": 1, "d": 3},
    }


def test_what_json_writes_is_read_as_json_does():
    value = {
        "tabs": "a\tb",
        "smile": "😀",
        "slash": "a/b",
        "quote": '"',
        "n": [1, 2.5, -3e-2, None, True],
        "e": {},
        "l": [],
    }
    text = json.dumps(value, indent="\t", ensure_ascii=True).replace("/", "\\/")
    assert plain(parsed(f"\t\n{text}")) == value
    assert plain(parsed(json.dumps(value, separators=(",", ":"), ensure_ascii=False))) == value


def test_a_backslash_before_a_pair_of_json_escapes_stays():
    value = {"a": "\\ud83d\\ude00", "b": "\\😀", "c": "\\\\😀😀"}
    assert plain(parsed(json.dumps(value))) == value


def written(tmp_path, data):
    path = tmp_path / "job.yml"
    path.write_bytes(data)
    return path


def test_a_byte_order_mark_is_passed_over(tmp_path):
    node, _ = source.load(written(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n"))
    assert plain(node) == {"a": 1, "b": 2}
    assert isinstance(node.get("a"), Scalar)


@pytest.mark.parametrize("data", [b"a: 1\nb: \xff\n", "a: 1\n".encode("utf-16")])
def test_a_file_that_is_not_utf_8_is_refused(tmp_path, data):
    with pytest.raises(JobFileError, match="is not UTF-8 text"):
        source.load(written(tmp_path, data))


def test_a_file_that_is_too_large_is_refused(tmp_path):
    with pytest.raises(JobFileError, match="larger than 32 MiB"):
        source.load(written(tmp_path, b"#" * (source.MAX_BYTES + 1)))


def test_a_missing_file_a_folder_and_a_device_are_refused_with_their_path(tmp_path):
    for path, message in [(tmp_path / "no.yml", "no such file"), (tmp_path, "not a regular file")]:
        with pytest.raises(JobFileError, match=message) as caught:
            source.load(path)
        assert caught.value.faults[0].path == str(path)
    with pytest.raises(JobFileError, match="not a regular file"):
        source.load(type(tmp_path)("/dev/zero"))


def test_a_file_that_may_not_be_read_is_refused_in_words(tmp_path, monkeypatch):
    def denied(*_args, **_more):
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, b"a: 1\n")
    monkeypatch.setattr(type(path), "open", denied)
    with pytest.raises(JobFileError, match="cannot be read: Permission denied"):
        source.load(path)


def test_the_pure_python_loader_reads_the_same(monkeypatch):
    """PyYAML without libyaml is a fallback: slower, with the same nodes and faults."""
    texts = [
        "a: [1, 'x', {b: ~}]\nc: &c yes\nd: *c\n",
        '{"a": "\\ud83d\\ude00", "b": 1}',
        "a: 1\na: 2\n",
        "[" * 300,
        "a: !x 1\n",
    ]
    fast = [(refused(text), plain(source.parse(text, "job.yml")[0]) if "[[" not in text else None) for text in texts]
    monkeypatch.setattr(source, "_LOADER", yaml.SafeLoader)
    slow = [(refused(text), plain(source.parse(text, "job.yml")[0]) if "[[" not in text else None) for text in texts]
    assert slow == fast
    assert fast[1][1] == {"a": "😀", "b": 1}
