"""dbutils: widgets, task values, exit and help, as notebooks use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wfengine.errors import TaskFailed
from wfengine.layer import TaskContext
from wfengine_layers.notebook.dbutils import Dbutils, NotebookExit
from wfengine_layers.notebook.widgets import InputWidgetNotDefined, Widgets, lent

ContextFor = Callable[..., TaskContext[Any]]


@pytest.fixture
def dbutils(context_for: ContextFor) -> Dbutils:
    upstream = {"load": {"rows": 3, "nothing": None}}
    return Dbutils(context_for(None, upstream_values=upstream), Widgets({"given": "g"}, {}))


def test_every_form_of_declaration_works() -> None:
    widgets = Widgets({}, {})
    widgets.text("a", "1")
    widgets.text("b", "2", "Label")
    widgets.text(name="c", defaultValue="3", label="Label")
    widgets.dropdown("d", "x", ["x", "y"])
    widgets.dropdown(name="e", defaultValue="y", choices=["x", "y"], label="Label")
    widgets.combobox("f", "other", ["x"], "Label")
    widgets.multiselect("g", "x", ["x", "y"])
    expected = {"a": "1", "b": "2", "c": "3", "d": "x", "e": "y", "f": "other", "g": "x"}
    assert widgets.getAll() == expected
    assert {name: widgets.get(name) for name in expected} == expected


@pytest.mark.parametrize("form", ["dropdown", "multiselect"])
def test_a_default_outside_the_choices_is_an_error(form: str) -> None:
    with pytest.raises(ValueError, match=r"'z' is not among the choices \['x', 'y'\]"):
        getattr(Widgets({}, {}), form)("d", "z", ["x", "y"])


def test_a_parameter_beats_the_default_and_needs_no_declaration() -> None:
    widgets = Widgets({"a": "run", "undeclared": "u"}, {"a": "stored"})
    widgets.text("a", "default")
    assert (widgets.get("a"), widgets.get("undeclared")) == ("run", "u")


def test_a_widget_that_is_there_keeps_its_value_when_declared_again() -> None:
    widgets = Widgets({}, {"stored": "s"})
    widgets.text("stored", "other")
    widgets.text("a", "1")
    widgets.text("a", "2")
    assert widgets.getAll() == {"stored": "s", "a": "1"}


@pytest.mark.parametrize(("default", "text"), [(5, "5"), (None, ""), (1.5, "1.5")])
def test_values_are_always_text(default: Any, text: str) -> None:
    widgets = Widgets({}, {})
    widgets.text("a", default)
    assert widgets.get("a") == text


def test_a_missing_widget_raises_and_names_those_there_are() -> None:
    with pytest.raises(InputWidgetNotDefined, match=r"No input widget named 'x' is defined; there are a, b$"):
        Widgets({"b": ""}, {"a": ""}).get("x")
    with pytest.raises(InputWidgetNotDefined, match="there are none"):
        Widgets({}, {}).get("x")


def test_get_argument_has_a_default() -> None:
    widgets = Widgets({"a": "1"}, {})
    assert (widgets.getArgument("a", "d"), widgets.getArgument("x", "d")) == ("1", "d")
    with pytest.raises(InputWidgetNotDefined):
        widgets.getArgument("x")


def test_removing_forgets_declarations_but_no_parameter() -> None:
    widgets = Widgets({"given": "g"}, {})
    widgets.text("a", "1")
    widgets.text("b", "2")
    widgets.remove("a")
    assert widgets.getAll() == {"given": "g", "b": "2"}
    widgets.removeAll()
    assert widgets.getAll() == {"given": "g"}
    with pytest.raises(InputWidgetNotDefined):
        widgets.remove("a")


def test_arguments_of_a_run_beat_everything_while_it_runs() -> None:
    widgets = Widgets({"a": "run"}, {})
    with lent(widgets, {"a": "argument"}, {"stored": "s"}):
        assert widgets.getAll() == {"a": "argument", "stored": "s"}
        with lent(widgets, {"b": "inner"}, {}):
            assert widgets.getAll()["a"] == "argument"
    assert widgets.getAll() == {"a": "run", "stored": "s"}


@pytest.mark.parametrize(("value", "text"), [("done", "done"), (5, "5"), (None, ""), ({"a": 1}, "{'a': 1}")])
def test_exit_carries_its_value_as_text_past_except_exception(dbutils: Dbutils, value: Any, text: str) -> None:
    with pytest.raises(NotebookExit) as caught:
        dbutils.notebook.exit(value)
    assert caught.value.value == text
    assert not isinstance(caught.value, Exception)


def test_task_values_are_read_from_upstream(dbutils: Dbutils) -> None:
    """docs/semantics.md, section 5."""
    get = dbutils.jobs.taskValues.get
    assert get("load", "rows") == 3
    assert get(taskKey="load", key="nothing", default=1) is None
    assert get("load", "missing", default=0) == 0
    assert get("nowhere", "rows", "default", debugValue="debug") == "default"
    with pytest.raises(ValueError, match="'load' has set no value 'missing'; it has set: nothing, rows"):
        get("load", "missing", debugValue=1)
    with pytest.raises(ValueError, match=r"no upstream task 'nowhere'.*: load"):
        get("nowhere", "rows")


def test_task_values_are_set_as_json(context_for: ContextFor) -> None:
    context = context_for(None)
    values = Dbutils(context, Widgets({}, {})).jobs.taskValues
    values.set(key="a", value={"b": [1]})
    assert context.values == {"a": {"b": [1]}}
    with pytest.raises(TaskFailed, match="is not JSON"):
        values.set("c", object())
    with pytest.raises(TypeError, match="is text, not int"):
        values.set(1, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("fs", "dbutils.fs is not supported; dbutils has jobs, notebook, widgets, help"),
        ("secrets", "dbutils.secrets is not supported"),
        ("library", "dbutils.library is not supported"),
        ("notebook.run", "dbutils.notebook.run is not supported; dbutils.notebook has exit, help"),
        ("notebook.entry_point", "dbutils.notebook.entry_point is not supported"),
        ("widgets.slider", "dbutils.widgets has combobox, dropdown, get, getAll"),
        ("jobs.taskValues.list", "dbutils.jobs.taskValues has get, set, help"),
    ],
)
def test_what_is_not_there_says_what_is(dbutils: Dbutils, path: str, says: str) -> None:
    found: Any = dbutils
    *parents, last = path.split(".")
    for name in parents:
        found = getattr(found, name)
    with pytest.raises(AttributeError, match=says):
        getattr(found, last)


def test_help_lists_what_there_is(dbutils: Dbutils, capsys: pytest.CaptureFixture[str]) -> None:
    dbutils.help()
    dbutils.widgets.help()
    text = capsys.readouterr().out
    assert "notebook: End the notebook." in text
    assert "getAll: Return every value by name." in text
