"""The table names in a SQL text, found without understanding the rest of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

_NAME = r"(?:`[^`]+`|[^\W\d]\w*)"
_CHAIN = rf"{_NAME}(?:\s*\.\s*(?:`[^`]+`|\w+))*"
#: Everything that may hold something that looks like a name and is none, then names.
_TOKEN = re.compile(
    rf"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|(?P<chain>{_CHAIN})",
    re.DOTALL,
)
_SPACE = r"(?:\s|--[^\n]*\n|/\*.*?\*/)"
_TARGET = re.compile(
    rf"""{_SPACE}*(?P<verb>
        CREATE\s+(?:OR\s+REPLACE\s+)?(?:EXTERNAL\s+)?TABLE(?:\s+IF\s+NOT\s+EXISTS)?
      | REPLACE\s+TABLE
      | INSERT\s+(?:INTO|OVERWRITE)(?:\s+TABLE(?!\s*\.))?
      | MERGE(?:\s+WITH\s+SCHEMA\s+EVOLUTION)?\s+INTO
      | DROP\s+TABLE(?:\s+IF\s+EXISTS)?
      | UPDATE | DELETE\s+FROM | (?:ALTER|TRUNCATE)\s+TABLE
      )\s+(?P<target>{_CHAIN})""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_SCHEMA = re.compile(
    rf"""\s*(?P<verb>CREATE\s+(?:SCHEMA|DATABASE)(?:\s+IF\s+NOT\s+EXISTS)?
            | USE(?:\s+(?:SCHEMA|DATABASE|NAMESPACE))?(?!\s+CATALOG\b)
        )\s+(?P<name>{_CHAIN})(?P<rest>.*)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
#: What stands between the table and the query of an INSERT that goes by names.
BY_NAME = re.compile(r"\s*BY\s+NAME\b", re.IGNORECASE)
_BEFORE_TABLE = re.compile(r"\b(?:FROM|JOIN|USING|TABLE)\s+$", re.IGNORECASE)
_LIST = re.compile(r"\s*SHOW\s+(TABLES|SCHEMAS|DATABASES)\b", re.IGNORECASE)


class Target(NamedTuple):
    """The table that a statement writes to, creates or drops."""

    #: The statement's first words in upper case and single spaces, as in ``INSERT INTO``.
    verb: str
    name: str
    #: The text behind the name.
    rest: str


def parts(chain: str) -> list[str]:
    """Split a dotted name, backticks removed; a backticked part with dots in it is split too."""
    return [part for piece in re.findall(r"`[^`]+`|[^.`\s]+", chain) for part in piece.strip("`").split(".")]


def replace_names(text: str, replace: Callable[[str, bool], str | None]) -> str:
    """Give every dotted name outside strings and comments to ``replace``; None leaves it as it is.

    With the name goes whether it stands where only a table can stand.
    """

    def one(match: re.Match[str]) -> str:
        chain = match["chain"]
        if chain is None:
            return match[0]
        return replace(chain, bool(_BEFORE_TABLE.search(text, max(0, match.start() - 20), match.start()))) or chain

    return _TOKEN.sub(one, text)


def target(text: str) -> Target | None:
    """Return the table that the statement changes, if it is one that changes a table."""
    match = _TARGET.match(text)
    return match and Target(" ".join(match["verb"].upper().split()), match["target"], text[match.end() :])


def schema_statement(text: str) -> Target | None:
    """Return verb, name and rest of a statement that creates a schema or makes it the current one."""
    match = _SCHEMA.match(text)
    return match and Target(" ".join(match["verb"].upper().split()), match["name"], match["rest"])


def lists_catalog(text: str) -> bool:
    """Say whether the statement lists tables or schemas."""
    return bool(_LIST.match(text))
