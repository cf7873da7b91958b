"""Cut blocks of bytes into chunks of whole physical lines, whatever the size of the blocks."""

from __future__ import annotations

from collections.abc import Iterator

from wfengine.errors import TaskFailed

#: Longest physical line, in bytes; a longer one is the sign of a file that is not what it is taken for.
LINE_LIMIT = 64 * 1024 * 1024


def chunks(blocks: Iterator[bytes], name: str) -> Iterator[tuple[bytes, bool]]:
    r"""Yield pairs of bytes that end with a line end (``\n``, ``\r\n`` or ``\r``) and whether they are the last.

    The last pair holds what is left, which may be nothing or a line without an end. Raises TaskFailed for a line
    longer than LINE_LIMIT.
    """
    pending: list[bytes] = []
    held = 0
    for block in filter(None, blocks):
        if pending and pending[-1].endswith(b"\r") and not block.startswith(b"\n"):
            yield b"".join(pending), False
            pending, held = [], 0
        # a carriage return at the end may be half of a line end, so it waits for the next block
        cut = max(block.rfind(b"\n"), block.rfind(b"\r", 0, len(block) - 1)) + 1
        if cut:
            yield b"".join((*pending, block[:cut])), False
            pending, held = [], 0
        if rest := block[cut:]:
            pending.append(rest)
            held += len(rest)
        if held > LINE_LIMIT:
            raise TaskFailed(
                f"{name} has a line of more than {LINE_LIMIT >> 20} MiB; check its format, encoding and line ends"
            )
    yield b"".join(pending), True


def ended(line: bytes) -> bool:
    """Whether a physical line has its line end."""
    return line.endswith((b"\n", b"\r"))


def bare(line: bytes) -> bytes:
    """A physical line without its line end."""
    return line.rstrip(b"\r\n")


def fault(line: bytes) -> str:
    """Say why the bytes of a line cannot be text of a table; empty when they can."""
    if b"\0" in line:
        return "holds a NUL byte"
    try:
        line.decode()
    except UnicodeDecodeError:
        return "holds bytes that the encoding does not allow"
    return ""
