"""The shape of a job: order, cycles and selection, all without recursion and in linear time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from wfengine.errors import UsageError, did_you_mean, shown
from wfengine.jobs import Job, Task


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Who waits for whom among the tasks of one job."""

    #: Every task after its upstreams; a job file already written in such an order keeps it.
    order: tuple[str, ...]
    #: Tasks each task waits for, every one once, in the order of ``depends_on``.
    upstream: Mapping[str, tuple[str, ...]]
    #: Tasks that wait for each task, in the order of the job file.
    downstream: Mapping[str, tuple[str, ...]]
    #: Tasks that nothing waits for, in the order of the job file.
    leaves: tuple[str, ...]
    #: Index of each task in ``job.tasks``.
    position: Mapping[str, int]


def build(tasks: Sequence[Task]) -> Graph:
    """Build the graph of checked tasks; ValueError names the cycle when there is one."""
    upstream = {task.task_key: tuple(dict.fromkeys(task.upstreams)) for task in tasks}
    order, cycle = _walk(upstream)
    if cycle:
        raise ValueError(f"the tasks wait for each other: {' -> '.join(cycle)}")
    downstream: dict[str, list[str]] = {key: [] for key in upstream}
    for key, above in upstream.items():
        for other in above:
            downstream[other].append(key)
    return Graph(
        order=tuple(order),
        upstream=upstream,
        downstream={key: tuple(below) for key, below in downstream.items()},
        leaves=tuple(key for key, below in downstream.items() if not below),
        position={key: index for index, key in enumerate(upstream)},
    )


def find_cycle(edges: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """Return the first cycle along ``edges``, its first node repeated at the end; None when there is none.

    Targets that are no key of ``edges`` are passed over.
    """
    return _walk(edges)[1]


def _walk(edges: Mapping[str, Sequence[str]]) -> tuple[list[str], tuple[str, ...] | None]:
    """Walk depth first: every node after its targets, and the cycle that stopped the walk."""
    order: list[str] = []
    done: set[str] = set()
    for start in edges:
        path: dict[str, Iterator[str]] = {} if start in done else {start: iter(edges[start])}
        while path:
            node, targets = next(reversed(path.items()))
            target = next((key for key in targets if key in edges and key not in done), None)
            if target is None:
                path.popitem()
                done.add(node)
                order.append(node)
            elif target in path:
                nodes = list(path)
                return order, (*nodes[nodes.index(target) :], target)
            else:
                path[target] = iter(edges[target])
    return order, None


def select(graph: Graph, patterns: Sequence[str]) -> frozenset[str]:
    """Return the tasks that ``t``, ``+t`` (with all before it), ``t+`` (with all behind it) or ``+t+`` name.

    Raises UsageError for a task that the job does not have.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        key = pattern.removeprefix("+").removesuffix("+")
        if key not in graph.upstream:
            hint = did_you_mean(key, graph.order)
            raise UsageError(f"the job has no task {shown(key)!r}" + (f" ({hint})" if hint else ""))
        chosen.add(key)
        if pattern.startswith("+"):
            chosen |= _reach(graph.upstream, [key])
        if pattern.endswith("+"):
            chosen |= _reach(graph.downstream, [key])
    return frozenset(chosen)


def narrow(job: Job, patterns: Sequence[str]) -> Job:
    """Return the job with the tasks that ``patterns`` select, which it remembers; all of it when there are none."""
    if not patterns:
        return job
    return msgspec.structs.replace(restrict(job, select(build(job.tasks), patterns)), only=tuple(patterns))


def behind(graph: Graph, key: str) -> frozenset[str]:
    """Return every task that waits for ``key``, directly or through others."""
    return frozenset(_reach(graph.downstream, [key]))


def _reach(edges: Mapping[str, Sequence[str]], start: Iterable[str]) -> set[str]:
    reached: set[str] = set()
    stack = list(start)
    while stack:
        for key in edges[stack.pop()]:
            if key not in reached:
                reached.add(key)
                stack.append(key)
    return reached


def restrict(job: Job, keys: Iterable[str]) -> Job:
    """Return the job with the tasks ``keys`` only; they do not wait for tasks that were left out."""
    kept = frozenset(keys)
    tasks = tuple(
        msgspec.structs.replace(
            task, depends_on=tuple(dependency for dependency in task.depends_on if dependency.task_key in kept)
        )
        for task in job.tasks
        if task.task_key in kept
    )
    return msgspec.structs.replace(job, tasks=tasks)
