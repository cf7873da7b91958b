"""Read one plain text: every line is a row."""

from __future__ import annotations

import pyarrow as pa

from wfengine_layers.raw.decode import Member
from wfengine_layers.raw.lines import chunks, fault
from wfengine_layers.raw.sink import Sink


def read_plain(member: Member, sink: Sink) -> None:
    """Read a text into the sink: one column ``value``, blank lines included."""
    sink.columns(["value"])
    first = 1
    for data, _ in chunks(member.blocks, member.name):
        lines = data.splitlines()
        faults = {i: why for i, line in enumerate(lines) if (why := fault(line))} if fault(data) else {}
        good = [i for i in range(len(lines)) if i not in faults]
        if good:
            values = pa.array([lines[i] for i in good], pa.binary()).cast(pa.string())
            sink.rows(pa.table({"value": values}), member.name, [first + i for i in good])
        sink.rejects([(first + i, member.show(lines[i]), why) for i, why in faults.items()], member.name)
        first += len(lines)
        sink.lines += len(lines)
