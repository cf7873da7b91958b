"""Plugins are found, checked and called each alone (docs/reliability.md, P3)."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from pathlib import Path

import pytest
import structlog.testing

from wfengine import registry
from wfengine.events import RunStarted
from wfengine.registry import PluginReport, Plugins

GOOD = """
import msgspec
from wfengine import Layer, TaskContext, TaskResult, hookimpl

class Config(msgspec.Struct):
    whom: str = "world"

class Greet(Layer[Config]):
    name = "greet"
    Config = Config
    def run(self, context):
        return TaskResult(output=context.config.whom)

seen = []

@hookimpl
def register_layers():
    return [Greet]

@hookimpl
def on_event(event, delivery_id):
    seen.append((event, delivery_id))
"""

NOTIFIER = """
from wfengine import hookimpl

@hookimpl
def on_event(event):
    pass
"""

numbers = itertools.count()


class Site:
    """A folder on sys.path into which real distributions are put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, plugin: str, source: str, *, dist: str = "") -> str:
        """Install a module as plugin, return the module's name."""
        module = f"plugin_of_test_{next(numbers)}"
        dist = dist or f"dist-{module.replace('_', '-')}"
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.folder / f"{dist.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[wfengine]\n{plugin} = {module}\n")
        return module


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(tmp_path)
    return Site(tmp_path)


def report(plugins: Plugins, name: str) -> PluginReport:
    (found,) = [one for one in plugins.reports if one.name == name]
    return found


def test_an_installed_plugin_gives_its_layers_and_takes_events(site: Site) -> None:
    module = site.install("hello", GOOD, dist="hello-dist")
    plugins = registry.load()
    found = report(plugins, "hello")
    assert found.origin == f"hello-dist 1.2 ({module})"
    assert (found.hooks, found.layers, found.error) == (("on_event", "register_layers"), ("greet",), "")
    assert plugins.layers["greet"].name == "greet"
    assert "hello" in plugins.subscribers
    event = RunStarted(time=1, run_id=1, job_id=1, job_name="j")
    plugins.deliver("hello", event, "1-1-hello")
    assert sys.modules[module].seen == [(event, "1-1-hello")]


def test_a_plugin_may_take_fewer_arguments_than_the_hook_gives(site: Site) -> None:
    site.install("short", NOTIFIER)
    plugins = registry.load()
    assert report(plugins, "short").error == ""
    plugins.deliver("short", RunStarted(time=1, run_id=1, job_id=1, job_name="j"), "1")
    assert "short" in plugins.subscribers


@pytest.mark.parametrize(
    ("source", "line", "error"),
    [
        (
            "x = 1\nimport there_is_no_such_module\n",
            2,
            "ModuleNotFoundError: No module named 'there_is_no_such_module'",
        ),
        ("def f():\n    return 1 / 0\n\nf()\n", 4, "ZeroDivisionError: division by zero"),
        ("x = 1\ny = = 2\n", 2, "SyntaxError: invalid syntax"),
        ("raise SystemExit('bye')\n", 1, "SystemExit: bye"),
    ],
    ids=["missing module", "raises", "syntax", "exits"],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_its_line(
    site: Site, source: str, line: int, error: str
) -> None:
    module = site.install("broken", source, dist="broken-dist")
    site.install("hello", GOOD)
    plugins = registry.load()
    expected = (
        f"plugin 'broken' from broken-dist 1.2 ({module}) cannot be imported: {error} "
        f"({site.folder / module}.py:{line})"
    )
    assert report(plugins, "broken").error == plugins.broken["broken"] == expected
    assert "greet" in plugins.layers


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (
            "from wfengine import hookimpl\n@hookimpl\ndef register_layer(): return []\n",
            "implements unknown hook 'register_layer'; did you mean 'register_layers'?",
        ),
        (
            "from wfengine import hookimpl\n@hookimpl\ndef on_event(evnt): pass\n",
            "hook 'on_event' has the argument 'evnt', but is given event, delivery_id; did you mean 'event'?",
        ),
        (
            "from wfengine import hookimpl\n@hookimpl\ndef register_layers(config): return []\n",
            "hook 'register_layers' has the argument 'config', but is given no arguments",
        ),
        (
            "from wfengine import hookimpl\n@hookimpl\ndef on_event(**all): pass\n",
            "hook 'on_event' takes *all: name the arguments instead",
        ),
        ("def on_event(event): pass\n", "implements no hook: mark its functions with @wfengine.hookimpl"),
    ],
    ids=["misspelt hook", "misspelt argument", "argument too many", "any arguments", "mark forgotten"],
)
def test_a_hook_that_does_not_fit_is_named_with_plugin_hook_and_argument(site: Site, source: str, error: str) -> None:
    module = site.install("wrong", source, dist="wrong-dist")
    site.install("hello", GOOD)
    plugins = registry.load()
    assert plugins.broken["wrong"] == f"plugin 'wrong' from wrong-dist 1.2 ({module}) {error}"
    assert "wrong" not in plugins.subscribers
    assert "greet" in plugins.layers


def test_of_two_plugins_with_one_name_both_are_refused(site: Site) -> None:
    modules = [site.install("hello", source, dist=dist) for source, dist in ((GOOD, "one"), (NOTIFIER, "two"))]
    site.install("other", NOTIFIER)
    plugins = registry.load()
    assert plugins.broken["hello"] == (
        f"two plugins are named 'hello': one 1.2 ({modules[0]}) and two 1.2 ({modules[1]}); uninstall one of them"
    )
    assert "greet" not in plugins.layers
    assert "hello" not in plugins.subscribers
    assert "other" in plugins.subscribers


def test_of_two_layers_with_one_name_both_are_refused_with_both_origins(site: Site) -> None:
    first = site.install("first", GOOD, dist="one")
    second = site.install("second", GOOD, dist="two")
    plugins = registry.load()
    expected = (
        f"two layers are named 'greet': plugin 'first' from one 1.2 ({first}) and plugin 'second' from two 1.2 ({second})"
        "; remove one of them"
    )
    assert (plugins.broken["first"], plugins.broken["second"]) == (expected, expected)
    assert "greet" not in plugins.layers
    assert {"first", "second"} <= set(plugins.subscribers)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("class Odd: pass", "is not a subclass of wfengine.Layer"),
        ("class Odd(Greet): name = 'Not a name'", "needs a 'name' of small letters, digits and _, not 'Not a name'"),
        (
            "class Odd(Layer):\n    Config = Config\n    def run(self, context): ...",
            "needs a 'name' of small letters, digits and _, not None",
        ),
        ("class Odd(Greet): name = 'condition'", "cannot be named 'condition': the engine itself gives condition_task"),
        (
            "class Odd(Greet):\n    name = 'odd'\n    Config = dict",
            "needs a 'Config' that is a subclass of msgspec.Struct",
        ),
        (
            "class Odd(Layer):\n    name = 'odd'\n    def run(self, context): ...",
            "needs a 'Config' that is a subclass of msgspec.Struct",
        ),
        ("class Odd(Layer):\n    name = 'odd'\n    Config = Config", "needs a method 'run'"),
    ],
    ids=["no layer", "bad name", "no name", "reserved name", "other config", "no config", "no run"],
)
def test_a_layer_that_cannot_be_used_is_named_and_the_others_load(site: Site, body: str, error: str) -> None:
    source = GOOD.replace("seen = []", f"{body}\n").replace("[Greet]", "[Odd, Greet]")
    module = site.install("mixed", source, dist="mixed-dist")
    plugins = registry.load()
    assert plugins.broken["mixed"].startswith(f"plugin 'mixed' from mixed-dist 1.2 ({module}): ")
    assert "Odd" in plugins.broken["mixed"]
    assert error in plugins.broken["mixed"]
    assert report(plugins, "mixed").layers == ("greet",)
    assert "odd" not in plugins.layers


def test_a_hook_that_raises_harms_only_its_own_plugin(site: Site) -> None:
    raising = (
        "from wfengine import hookimpl\n"
        "@hookimpl\ndef register_layers(): raise KeyError('x')\n"
        "@hookimpl\ndef register_commands(): raise KeyError('y')\n"
    )
    module = site.install("raising", raising)
    site.install("hello", GOOD + "\n@hookimpl\ndef register_commands(): return ['a command']\n")
    plugins = registry.load()
    assert f"failed in hook 'register_layers': KeyError: 'x' ({site.folder / module}.py:3)" in plugins.broken["raising"]
    assert "greet" in plugins.layers
    with structlog.testing.capture_logs() as lines:
        assert "a command" in plugins.commands()
    assert [(line["plugin"], line["hook"]) for line in lines] == [("raising", "register_commands")]


def test_plugin_objects_can_be_given_by_the_program(site: Site) -> None:
    (site.folder / "given_plugin_of_test.py").write_text(GOOD)
    plugins = registry.load(extra=[importlib.import_module("given_plugin_of_test"), object()])
    assert report(plugins, "given_plugin_of_test").origin == "given by the program"
    assert "greet" in plugins.layers
    assert "implements no hook" in plugins.broken["object"]


def test_a_plugin_that_is_installed_and_given_is_one_plugin(site: Site) -> None:
    module = site.install("hello", GOOD)
    plugins = registry.load(extra=[importlib.import_module(module)])
    assert [one.name for one in plugins.reports if "greet" in one.layers] == ["hello"]
    assert "greet" in plugins.layers


def test_what_comes_with_wfengine_uses_the_same_door() -> None:
    plugins = registry.load()
    assert report(plugins, "wfengine-plugins").hooks == ("on_event",)
    assert report(plugins, "wfengine-plugins").error == ""
