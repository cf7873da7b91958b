"""Finds plugins through entry points and calls each alone, so that a broken one harms no other."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec
import pluggy

from wfengine import hooks, log
from wfengine.errors import PluginError
from wfengine.events import AnyEvent
from wfengine.jobs import CONTROL
from wfengine.layer import Layer

#: Files whose frames say nothing about a plugin's own fault.
_MACHINERY = (*importlib.__path__, *pluggy.__path__, __file__)


class PluginReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one plugin; shown by ``wfengine plugins``."""

    name: str
    #: Distribution and module, as in ``wfengine 0.1.0 (wfengine_layers.plugin)``.
    origin: str
    #: Hooks it implements, sorted.
    hooks: tuple[str, ...] = ()
    #: Names of its layers that can be used, sorted.
    layers: tuple[str, ...] = ()
    #: Why it, or some of its layers, cannot be used; empty when all is well.
    error: str = ""


class Plugins:
    """The plugins that could be loaded, and what is wrong with the others."""

    def __init__(
        self,
        managers: Mapping[str, pluggy.PluginManager],
        reports: Sequence[PluginReport],
        layers: Mapping[str, type[Layer[Any]]],
    ) -> None:
        self._managers = managers
        #: One for each plugin found, sorted by name.
        self.reports = tuple(reports)
        #: Layer classes by the name used in job files.
        self.layers = layers
        #: What is wrong, by plugin name.
        self.broken: Mapping[str, str] = {report.name: report.error for report in reports if report.error}
        #: Names of the plugins that take events.
        self.subscribers = tuple(report.name for report in reports if "on_event" in report.hooks)

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that define the layers; importing them again in another process is harmless."""
        return tuple(sorted({layer.__module__ for layer in self.layers.values()}))

    def deliver(self, subscriber: str, event: AnyEvent, delivery_id: str) -> None:
        """Give an event to one plugin; whatever its hook raises is raised."""
        self._managers[subscriber].hook.on_event(event=event, delivery_id=delivery_id)

    def commands(self) -> list[object]:
        """Return the click commands of all plugins; a plugin that raises is logged and left out."""
        return [command for name in self._managers for command in self._commands_of(name)]

    def _commands_of(self, name: str) -> list[object]:
        try:
            return [command for given in self._managers[name].hook.register_commands() for command in given]
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything and must harm no other
            log.get(plugin=name, hook="register_commands").error("plugin failed", error=_told(error))
            return []


class _Found:
    """A plugin on its way to a report."""

    def __init__(self, name: str, origin: str) -> None:
        self.name = name
        self.origin = origin
        self.manager: pluggy.PluginManager | None = None
        self.hooks: tuple[str, ...] = ()
        self.layers: list[type[Layer[Any]]] = []
        self.faults: list[str] = []

    def report(self) -> PluginReport:
        return PluginReport(
            name=self.name,
            origin=self.origin,
            hooks=self.hooks,
            layers=tuple(sorted(layer.name for layer in self.layers)),
            error="; ".join(self.faults),
        )


def load(extra: Sequence[object] = ()) -> Plugins:
    """Load every plugin of the entry point group ``wfengine`` and the plugin objects of ``extra``, each alone.

    Nothing is raised for a broken plugin; its report says what is wrong. Of two plugins or two layers with one name
    both are refused, so that the order in which they are installed decides nothing.
    """
    found = [_found(entry_point) for entry_point in entry_points(group=hooks.PROJECT)]
    for plugin in extra:
        if any(one.manager is not None and one.manager.is_registered(plugin) for one in found):
            # Installed as well as given: the same object is one plugin.
            continue
        name = getattr(plugin, "__name__", type(plugin).__name__)
        given = _Found(name, "given by the program")
        _register(given, plugin)
        found.append(given)
    found = sorted(_refuse_namesakes(found), key=lambda one: one.name)
    for one in found:
        if one.manager is not None and "register_layers" in one.hooks:
            _take_layers(one, one.manager)
    _refuse_double_layers(found)
    return Plugins(
        {one.name: one.manager for one in found if one.manager is not None},
        [one.report() for one in found],
        {layer.name: layer for one in found for layer in one.layers},
    )


def _found(entry_point: EntryPoint) -> _Found:
    owner = entry_point.dist
    origin = f"{owner.name} {owner.version} ({entry_point.value})" if owner else entry_point.value
    found = _Found(entry_point.name, origin)
    try:
        _register(found, entry_point.load())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything while it is imported
        found.faults.append(f"plugin {found.name!r} from {origin} cannot be imported: {_told(error)}")
    return found


def _register(found: _Found, plugin: object) -> None:
    """Give the plugin a manager of its own: in a shared one, the first plugin that raises silences the rest."""
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    implemented = [name for name in dir(plugin) if manager.parse_hookimpl_opts(plugin, name) is not None]
    faults = [fault for name in implemented for fault in _hook_faults(plugin, name)]
    if not implemented:
        faults.append("implements no hook: mark its functions with @wfengine.hookimpl")
    if not faults:
        try:
            manager.register(plugin, found.name)
            manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            faults.append(str(error))
    if faults:
        found.faults.extend(f"plugin {found.name!r} from {found.origin} {fault}" for fault in faults)
        return
    found.manager = manager
    found.hooks = tuple(sorted(implemented))


def _hook_faults(plugin: object, name: str) -> Iterator[str]:
    """Say what pluggy would find as well, but with the plugin, the hook and the argument named."""
    known = [spec for spec in vars(hooks) if hasattr(getattr(hooks, spec), f"{hooks.PROJECT}_spec")]
    if name not in known:
        yield f"implements unknown hook {name!r}" + _did_you_mean(name, known)
        return
    offered = list(inspect.signature(getattr(hooks, name)).parameters)
    for argument in inspect.signature(getattr(plugin, name)).parameters.values():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            yield f"hook {name!r} takes *{argument.name}: name the arguments instead"
        elif argument.name not in offered and argument.default is argument.empty:
            given = ", ".join(offered) or "no arguments"
            hint = _did_you_mean(argument.name, offered)
            yield f"hook {name!r} has the argument {argument.name!r}, but is given {given}{hint}"


def _refuse_namesakes(found: Sequence[_Found]) -> list[_Found]:
    """Put plugins of one name together as one that is refused."""
    by_name: dict[str, list[_Found]] = defaultdict(list)
    for one in found:
        by_name[one.name].append(one)
    kept = []
    for name, namesakes in by_name.items():
        if len(namesakes) == 1:
            kept.append(namesakes[0])
            continue
        origins = " and ".join(sorted(one.origin for one in namesakes))
        refused = _Found(name, origins)
        refused.faults.append(f"two plugins are named {name!r}: {origins}; uninstall one of them")
        kept.append(refused)
    return kept


def _take_layers(found: _Found, manager: pluggy.PluginManager) -> None:
    try:
        classes = [layer for layers in manager.hook.register_layers() for layer in layers]
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything and must harm no other
        found.faults.append(
            f"plugin {found.name!r} from {found.origin} failed in hook 'register_layers': {_told(error)}"
        )
        return
    for layer in classes:
        try:
            _check_layer(layer)
        except PluginError as error:
            found.faults.append(f"plugin {found.name!r} from {found.origin}: {error}")
            continue
        found.layers.append(layer)


def _check_layer(layer: Any) -> None:
    """Raise PluginError unless ``layer`` is a class that jobs can use."""
    if not (isinstance(layer, type) and issubclass(layer, Layer)):
        raise PluginError(f"{layer!r} is not a subclass of wfengine.Layer")
    what = f"layer {layer.__module__}.{layer.__qualname__}"
    name = getattr(layer, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise PluginError(f"{what} needs a 'name' of small letters, digits and _, not {name!r}")
    if name in CONTROL:
        raise PluginError(f"{what} cannot be named {name!r}: the engine itself gives {name}_task its meaning")
    config = getattr(layer, "Config", None)
    if not (isinstance(config, type) and issubclass(config, msgspec.Struct)):
        raise PluginError(f"{what} needs a 'Config' that is a subclass of msgspec.Struct")
    if inspect.isabstract(layer):
        raise PluginError(f"{what} needs a method 'run'")


def _refuse_double_layers(found: Sequence[_Found]) -> None:
    owners: dict[str, list[_Found]] = defaultdict(list)
    for one in found:
        for layer in one.layers:
            owners[layer.name].append(one)
    for name, plugins in owners.items():
        if len(plugins) > 1:
            origins = " and ".join(f"plugin {one.name!r} from {one.origin}" for one in plugins)
            for one in dict.fromkeys(plugins):
                one.layers = [layer for layer in one.layers if layer.name != name]
                one.faults.append(f"two layers are named {name!r}: {origins}; remove one of them")


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _told(error: BaseException) -> str:
    """Name an error and the line of the plugin's own file where it arose."""
    where = ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({error.filename}:{error.lineno})"
    else:
        machinery = ("<frozen", *_MACHINERY)
        for frame in traceback.extract_tb(error.__traceback__):
            if not frame.filename.startswith(machinery):
                where = f" ({frame.filename}:{frame.lineno})"
                break
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}{where}"
