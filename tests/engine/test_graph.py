from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wfengine.errors import UsageError
from wfengine.graph import Graph, behind, build, find_cycle, restrict, select
from wfengine.jobs import Dependency, Job, Task

#: A busy machine is no fault of the code.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def tasks(**upstreams: str) -> list[Task]:
    """Build tasks from ``name="upstream upstream"``."""
    return [
        Task(task_key=key, kind="shell", depends_on=tuple(Dependency(task_key=up) for up in above.split()))
        for key, above in upstreams.items()
    ]


def diamond() -> Graph:
    return build(tasks(a="", b="a", c="a", d="b c", alone=""))


def test_a_file_already_in_order_keeps_its_order() -> None:
    """The matrix and the log show tasks as their author wrote them."""
    assert build(tasks(a="", b="a", x="", c="b", y="x")).order == ("a", "b", "x", "c", "y")


def test_a_task_written_before_its_upstream_is_moved_behind_it() -> None:
    assert build(tasks(c="b a", b="a", a="", d="")).order == ("a", "b", "c", "d")


def test_the_graph_names_neighbours_leaves_and_positions() -> None:
    graph = diamond()
    assert graph.upstream["d"] == ("b", "c")
    assert graph.downstream["a"] == ("b", "c")
    assert graph.leaves == ("d", "alone")
    assert graph.position == {"a": 0, "b": 1, "c": 2, "d": 3, "alone": 4}


def test_an_upstream_named_twice_counts_once() -> None:
    assert build(tasks(a="", b="a a")).upstream["b"] == ("a",)


def test_the_graph_of_no_tasks_is_empty() -> None:
    assert build([]).order == ()


@pytest.mark.parametrize(
    ("upstreams", "cycle"),
    [
        ({"a": "b", "b": "a"}, ("a", "b", "a")),
        ({"a": "a"}, ("a", "a")),
        ({"x": "", "a": "x c", "b": "a", "c": "b"}, ("a", "c", "b", "a")),
        ({"in": "a", "a": "b", "b": "c", "c": "a"}, ("a", "b", "c", "a")),
    ],
)
def test_a_cycle_is_named_in_order_with_its_first_task_at_both_ends(
    upstreams: dict[str, str], cycle: tuple[str, ...]
) -> None:
    """docs/reliability.md, C5: the cycle alone is named, not the way into it."""
    assert find_cycle({key: above.split() for key, above in upstreams.items()}) == cycle
    with pytest.raises(ValueError, match=" -> ".join(cycle)):
        build(tasks(**upstreams))


def test_no_cycle_is_found_where_there_is_none_and_unknown_targets_are_passed_over() -> None:
    """docs/reliability.md, C5: a dependency on nothing is another fault, found elsewhere."""
    assert find_cycle({"a": ["b", "nowhere"], "b": ["nowhere"]}) is None


def test_a_chain_of_ten_thousand_tasks_needs_no_recursion() -> None:
    """docs/reliability.md, C5: no recursion limit, and a cycle of that length is found as well."""
    count = 10_000
    backwards = {f"t{i}": f"t{i + 1}" if i + 1 < count else "" for i in range(count)}
    graph = build(tasks(**backwards))
    assert graph.order[0] == f"t{count - 1}"
    assert len(behind(graph, f"t{count - 1}")) == count - 1
    assert select(graph, ["+t0"]) == frozenset(backwards)
    cycle = find_cycle({key: [above or "t0"] for key, above in backwards.items()})
    assert cycle is not None
    assert len(cycle) == count + 1


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["b"], "b"),
        (["+b"], "ab"),
        (["b+"], "bd"),
        (["+b+"], "abd"),
        (["a+"], "abcd"),
        (["+d"], "abcd"),
        (["b", "c"], "bc"),
        ([], ""),
    ],
)
def test_a_selection_takes_the_task_with_what_is_before_or_behind_it(patterns: list[str], expected: str) -> None:
    """``docs/semantics.md``, section 8: partial runs."""
    assert select(diamond(), patterns) == frozenset(expected)


@pytest.mark.parametrize("pattern", ["+bronse", "bronse+", "+bronse+", "bronse"])
def test_a_selection_of_an_unknown_task_is_refused_with_a_suggestion(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"no task 'bronse' \(did you mean 'bronze'\?\)"):
        select(build(tasks(bronze="")), [pattern])


def test_a_plus_alone_selects_nothing_and_is_refused() -> None:
    with pytest.raises(UsageError, match="no task ''"):
        select(diamond(), ["+"])


def test_a_restricted_job_has_no_dependency_on_tasks_left_out() -> None:
    """``docs/semantics.md``, section 8: a partial run does not wait for what it leaves out."""
    job = Job(name="j", tasks=tuple(tasks(a="", b="a", c="a b")), timeout_seconds=7)
    only = restrict(job, {"a", "c"})
    assert [(task.task_key, task.upstreams) for task in only.tasks] == [("a", ()), ("c", ("a",))]
    assert only.timeout_seconds == 7


def test_behind_reaches_through_other_tasks_and_leaves_the_task_itself_out() -> None:
    assert behind(diamond(), "a") == {"b", "c", "d"}
    assert behind(diamond(), "d") == frozenset()


@patient
@given(st.data())
def test_the_order_puts_every_task_after_its_upstreams(data: st.DataObject) -> None:
    """Whatever the order in the file."""
    count = data.draw(st.integers(1, 12))
    above = {
        f"t{i}": " ".join(f"t{j}" for j in sorted(data.draw(st.sets(st.integers(0, i - 1)) if i else st.just(set()))))
        for i in range(count)
    }
    shuffled = data.draw(st.permutations(list(above)))
    graph = build(tasks(**{key: above[key] for key in shuffled}))
    place = {key: index for index, key in enumerate(graph.order)}
    assert sorted(graph.order) == sorted(above)
    assert all(place[up] < place[key] for key in above for up in graph.upstream[key])
