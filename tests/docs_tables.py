"""Writes the tables of docs/ that are generated from the code: ``python tests/docs_tables.py``; a test compares."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from wfengine import events, hooks
from wfengine_layers.bronze_config import BronzeConfig
from wfengine_layers.gold import GoldConfig
from wfengine_layers.silver_config import Column, Deduplicate, Rule, SilverConfig

DOCS = Path(__file__).parents[1] / "docs"


def hook_table() -> str:
    """Return one row per hook with the sentence of its docstring."""
    rows = ["| hook | what it does |", "|---|---|"]
    for name, function in sorted(vars(hooks).items()):
        if hasattr(function, f"{hooks.PROJECT}_spec"):
            arguments = ", ".join(inspect.signature(function).parameters)
            rows.append(f"| `{name}({arguments})` | {inspect.getdoc(function)} |")
    return "\n".join(rows)


def event_table() -> str:
    """Return one row per kind of event with its own fields."""
    common = set(events.Event.__struct_fields__)
    rows = ["| kind | when | fields |", "|---|---|---|"]
    for kind in events.KINDS:
        fields = [f"`{name}`" for name in kind.__struct_fields__ if name not in common]
        first = (inspect.getdoc(kind) or "").split("\n")[0]
        rows.append(f"| `{kind.__struct_config__.tag}` | {first} | {' '.join(fields)} |")
    return "\n".join(rows)


def config_table(struct: type[msgspec.Struct]) -> str:
    """Return one row per field of a layer's config with its type, its default and the comment above it."""
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    comments = _comments(struct)
    for field in msgspec.structs.fields(struct):
        kind = _kind(struct.__annotations__[field.name])
        default = "required" if field.required else _plain(field)
        rows.append(f"| `{field.encode_name}` | {kind} | {default} | {comments[field.name]} |")
    return "\n".join(rows)


def _comments(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the ``#:`` lines above each field."""
    found: dict[str, str] = {}
    waiting: list[str] = []
    for line in inspect.getsource(struct).splitlines():
        if match := re.match(r"    #: ?(.*)", line):
            waiting.append(match[1])
        elif match := re.match(r"    (\w+): ", line):
            found[match[1]], waiting = " ".join(waiting), []
    return found


#: How a job file's author calls the types of Python.
_WORDS = {
    "str": "text",
    "int": "number",
    "bool": "true or false",
    "list[str]": "list of text",
    "Deduplicate": "mapping",
}


def _kind(annotation: str) -> str:
    """Write the type of a field as a job file's author would say it."""
    if choices := re.fullmatch(r"Literal\[(.*)\]", annotation):
        return ", ".join(f"`{word}`" for word in re.findall(r"\w+", choices[1]))
    parts = [part for part in re.split(r" \| (?![^\[]*\])", annotation) if part != "None"]
    words = [_WORDS.get(part, "mapping" if part.startswith("dict") else "list of mappings") for part in parts]
    return " or ".join(words)


def _plain(field: msgspec.structs.FieldInfo) -> str:
    """Write a default as a job file would."""
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, msgspec.Struct):
        return "`{}`"
    return "empty" if value in ("", None, [], {}) else f"`{value}`"


def floor_table() -> str:
    """Return one row per module, from the ground up, with the first sentence of its docstring."""
    contracts = msgspec.toml.decode((DOCS.parent / "pyproject.toml").read_bytes())["tool"]["importlinter"]["contracts"]
    rows = ["| floor | module | what it is for |", "|---|---|---|"]
    for number, floor in enumerate(reversed(contracts[0]["layers"]), 1):
        for module in floor.split(" : "):
            first = (inspect.getdoc(importlib.import_module(module)) or "").split("\n\n")[0].replace("\n", " ")
            rows.append(f"| {number} | `{module.removeprefix('wfengine.')}` | {first} |")
    return "\n".join(rows)


def proof_table() -> str:
    """Return one row per fault with the test files that cite it."""
    cited: dict[str, set[str]] = {}
    for test in sorted(DOCS.parent.joinpath("tests").rglob("test_*.py")):
        for faults in re.findall(r"docs/reliability\.md, ((?:[A-Z]\d+(?:, | and )?)+)", test.read_text()):
            for fault in re.findall(r"[A-Z]\d+", faults):
                cited.setdefault(fault, set()).add(str(test.relative_to(DOCS.parent)))
    rows = ["| id | proved in |", "|---|---|"]
    ordered = sorted(cited, key=lambda fault: (fault[0], int(fault[1:])))
    rows += [f"| {fault} | {' '.join(f'`{name}`' for name in sorted(cited[fault]))} |" for fault in ordered]
    return "\n".join(rows)


#: Page and name of each generated table.
TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("plugins.md", "hooks"): hook_table,
    ("plugins.md", "events"): event_table,
    ("reliability.md", "proofs"): proof_table,
    ("architecture.md", "floors"): floor_table,
    ("layers.md", "bronze"): partial(config_table, BronzeConfig),
    ("layers.md", "silver"): partial(config_table, SilverConfig),
    ("layers.md", "column"): partial(config_table, Column),
    ("layers.md", "rule"): partial(config_table, Rule),
    ("layers.md", "deduplicate"): partial(config_table, Deduplicate),
    ("layers.md", "gold"): partial(config_table, GoldConfig),
}


def placed(page: str, name: str, table: str) -> str:
    """Return the page's text with the table between its two marks."""
    text = (DOCS / page).read_text()
    return re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{table}\n{m[2]}", text, flags=re.S)


if __name__ == "__main__":
    for (page, name), make in TABLES.items():
        (DOCS / page).write_text(placed(page, name, make()))
