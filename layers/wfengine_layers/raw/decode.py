"""Turn a file on disk into blocks of UTF-8 bytes: unpack, take off the byte order mark, recode.

Bytes that the encoding does not allow never become replacement characters: they stay in the block as a sequence that
is not valid UTF-8, so that the record they stand in can be rejected.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple, cast

from wfengine_layers.raw.source import printable

#: Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Name under which codecs knows the error handler ``_keep``.
_KEEP = "wfengine-keep"
#: What the standard library raises for packed files that are cut or damaged.
_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)


class DamagedError(Exception):
    """The bytes of a file end early or cannot be unpacked; says how."""


class Member(NamedTuple):
    """One text of a file: the file itself, or a member of a zip."""

    #: What rows and rejects call it: the path, with ``!member`` for a member of a zip.
    name: str
    blocks: Iterator[bytes]
    #: Shows a line as text, bytes that are not allowed as ``\\xNN``.
    show: Callable[[bytes], str]
    #: A sentence when the byte order mark and the declared encoding differ, else empty.
    warning: str


def members(path: Path, encoding: str, block_size: int) -> Iterator[Member]:
    """Open a file for reading in blocks of about ``block_size`` bytes; a zip is opened member by member.

    Each member must be read before the next is asked for. Raises DamagedError, also while blocks are read.
    """
    if path.suffix.lower() == ".zip":
        yield from _zip_members(path, encoding, block_size)
        return
    try:
        stream = _open(path)
    except OSError as error:
        raise DamagedError(error.strerror or str(error)) from error
    with closing(stream):
        yield _member(printable(path), stream, encoding, block_size)


def texts_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members of a zip that are files and not hidden."""

    def visible(info: zipfile.ZipInfo) -> bool:
        parts = [part for part in info.filename.split("/") if part != "."]
        return not info.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in parts)

    return list(filter(visible, archive.infolist()))


def _zip_members(path: Path, encoding: str, block_size: int) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in texts_of(archive):
                with archive.open(info) as stream:
                    yield _member(f"{printable(path)}!{info.filename}", stream, encoding, block_size)
    except _DAMAGE as error:
        raise DamagedError(str(error)) from error


def _open(path: Path) -> IO[bytes]:
    match path.suffix.lower():
        case ".gz":
            return cast("IO[bytes]", gzip.open(path, "rb"))
        case ".bz2":
            return bz2.open(path, "rb")
        case ".xz":
            return lzma.open(path, "rb")
    return path.open("rb", buffering=0)


def _member(name: str, stream: IO[bytes], encoding: str, block_size: int) -> Member:
    blocks = _blocks(stream, block_size)
    declared = codecs.lookup(encoding).name.removesuffix("-sig")
    head = b""
    while len(head) < 4 and (block := next(blocks, b"")):
        head += block
    mark, actual = next(((mark, kind) for mark, kind in _MARKS if head.startswith(mark)), (b"", declared))
    warning = ""
    if mark and not actual.startswith(declared) and declared != "utf-8":
        warning = f"{name} is declared {encoding} but begins with the byte order mark of {actual}; read as {actual}"
    rest = _chain(head[len(mark) :], blocks)
    if actual == "utf-8":
        return Member(name, rest, _show, warning)
    return Member(name, _recode(rest, actual), _show_recoded, warning)


def _chain(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from blocks


def _blocks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """Blocks of ``size`` bytes; when the stream breaks, what came before is given out first."""
    read = getattr(stream, "read1", stream.read)  # read1 hands out what it has before it meets the damage
    parts: list[bytes] = []
    missing = size
    damage: Exception | None = None
    while damage is None:
        try:
            part = read(missing)
        except _DAMAGE as error:
            damage, part = error, b""
        parts.append(part)
        missing -= len(part)
        if missing == 0 or not part:
            if block := b"".join(parts):
                yield block
            parts, missing = [], size
        if damage is None and not part:
            return
    raise DamagedError(str(damage)) from damage


def _recode(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    codecs.register_error(_KEEP, _keep)
    decoder = codecs.getincrementaldecoder(encoding)(errors=_KEEP)
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


def _keep(error: UnicodeError) -> tuple[str, int]:
    """Error handler of codecs: each byte that cannot be decoded becomes a lone surrogate, which no text contains."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


def _show(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")


def _show_recoded(line: bytes) -> str:
    text = line.decode("utf-8", "surrogatepass")
    return "".join(f"\\x{ord(c) - 0xDC00:02x}" if "\udc00" <= c <= "\udcff" else c for c in text)
