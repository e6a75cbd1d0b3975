"""Graphs of nodes from launch/config/graphs.yaml, resolved with arguments. Without ROS: `vmail up` reads it too."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

MANAGER = "manager"
REFERENCE = re.compile(r"\$\{(\w+)\}")


class GraphError(ValueError):
    """An argument is unknown, missing or of the wrong type; the message says what to write."""


@dataclasses.dataclass(frozen=True)
class Argument:
    """A choice of a deployment.

    Attributes:
        name, help: what to write and what it means.
        default: also its type. With `sim:=true`, `sim_default` takes its place if there is one.
        needed: whether an empty value is an error.
        choices: the values that there are; empty for any.
        span: least and most of a number.
        only_with: name and value of the other argument without which this one means nothing.
    """

    name: str
    default: Any
    help: str
    sim_default: Any = None
    needed: bool = False
    choices: tuple[str, ...] = ()
    span: tuple[int, int] | None = None
    only_with: tuple[str, Any] | None = None

    @property
    def meaning(self) -> str:
        """What it means, its values if they are few, and its default; for people."""
        choices = f": {', '.join(self.choices)}" if self.choices else ""
        if self.default == "":
            return f"{self.help}{choices}"
        with_sim = "" if self.sim_default is None else f"; with sim:=true {self.sim_default}"
        return f"{self.help}{choices} [{_text(self.default)}{with_sim}]"


@dataclasses.dataclass(frozen=True)
class GraphNode:
    """One node to start as `python -m MODULE`.

    Attributes:
        name: node name, also the name of its module in `vmail_nodes`.
        namespace: ROS namespace, "" for none.
        parameter_files: tuning that comes first.
        parameters: values from the graph's arguments; they win.
        terminal: whether it may read keys from standard input.
        stage: nodes of one stage stop at once, those of the highest first.
        lingers: whether the next stage need not wait for its end.
    """

    name: str
    namespace: str
    parameter_files: tuple[Path, ...]
    parameters: dict[str, Any]
    terminal: bool
    stage: int
    lingers: bool

    @property
    def module(self) -> str:
        """Python module that is the node."""
        return f"vmail_nodes.{self.name}"


def config_dir() -> Path:
    """Folder of graphs.yaml: beside the source tree, or where the package was installed.

    Raises:
        FileNotFoundError: in none of the places; the message lists them.
    """
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    places = [Path(__file__).resolve().parents[1] / "launch" / "config"]
    places += [Path(prefix) / "share" / "vmail" / "launch" / "config" for prefix in prefixes]
    for place in places:
        if (place / "graphs.yaml").is_file():
            return place
    raise FileNotFoundError(f"graphs.yaml is in none of {', '.join(map(str, places))}; reinstall vmail")


def fastdds_profile() -> Path:
    """The Fast DDS profile that ships: shared memory large enough for camera pictures."""
    return config_dir() / "fastdds.xml"


def graph_names() -> dict[str, str]:
    """Name to one line of help, for every graph."""
    return {name: graph["help"] for name, graph in _description()["graphs"].items()}


def graph_arguments(graph: str) -> list[Argument]:
    """The arguments of a graph, in order. Raises GraphError for an unknown graph."""
    raw = _description()
    if graph not in raw["graphs"]:
        raise GraphError(f"no graph {graph!r}; known graphs: {', '.join(raw['graphs'])}")
    defaults = raw["graphs"][graph].get("defaults", {})
    arguments = []
    for name in raw["graphs"][graph]["arguments"]:
        fields = dict(raw["arguments"][name])
        if name in defaults:
            fields |= {"default": defaults[name], "sim_default": None}
        fields |= {key: tuple(fields[key]) for key in ("choices", "span", "only_with") if key in fields}
        arguments.append(Argument(name, **fields))
    return arguments


def parse_assignments(words: Iterable[str]) -> dict[str, str]:
    """`["sim:=true", ...]` to a dict. Raises GraphError for a word of another form, or a name that comes twice."""
    given: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition(":=")
        if not separator or not name:
            raise GraphError(f"{word!r} is no argument; write name:=value, for example sim:=true")
        if name in given:
            raise GraphError(f"{name}:= is given twice, as {given[name]} and as {value}; leave one out")
        given[name] = value
    return given


def resolve_arguments(graph: str, given: dict[str, str], run_dir: Path) -> dict[str, Any]:
    """Typed values of every argument of a graph.

    Args:
        graph: name of a graph.
        given: what the user wrote, as text; an empty text counts as not given.
        run_dir: folder for the sockets of a simulated run.

    Raises:
        GraphError: unknown name, wrong type or value, a needed argument is empty, or one is given that means nothing.
    """
    arguments = graph_arguments(graph)
    known = [argument.name for argument in arguments]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise GraphError(f"{graph} has no argument {', '.join(unknown)}; it has: {', '.join(known)}")
    values: dict[str, Any] = {"run_dir": str(run_dir)}
    values |= {a.name: _typed(a, given[a.name]) if given.get(a.name) else a.default for a in arguments}
    for argument in arguments:
        if values.get("sim") and not given.get(argument.name) and argument.sim_default is not None:
            values[argument.name] = _substitute(argument.sim_default, values)
        if argument.needed and values[argument.name] == "":
            hint = ", or sim:=true for the simulated twin" if argument.sim_default is not None else ""
            raise GraphError(f"{graph} needs {argument.name}:=... ({argument.help}){hint}")
    for argument in arguments:
        if argument.only_with is not None and given.get(argument.name):
            other, wanted = argument.only_with
            if values[other] != wanted:
                raise GraphError(f"{argument.name}:= means nothing without {other}:={_text(wanted)}: leave it out")
    return values


def load_graph(graph: str, given: dict[str, str], run_dir: Path) -> list[GraphNode]:
    """The nodes of a graph, in the order in which they start; they stop by stages. See `resolve_arguments`."""
    values = resolve_arguments(graph, given, run_dir)
    raw = _description()
    nodes = []
    for stage, names in enumerate(raw["graphs"][graph]["nodes"]):
        for name in names:
            description = raw["nodes"][name]
            condition = values[description["when"]] if "when" in description else True
            if condition and condition != "none":
                nodes.append(_node(name, description, values, stage))
    return _managed(nodes) if values.get("managed") else nodes


def _managed(nodes: list[GraphNode]) -> list[GraphNode]:
    """Nodes that wait for their manager, which knows their names."""
    names = [node.name for node in nodes if node.name != MANAGER]
    own = [{"nodes": names} if node.name == MANAGER else {"autostart": False} for node in nodes]
    return [
        dataclasses.replace(node, parameters=node.parameters | added) for node, added in zip(nodes, own, strict=True)
    ]


def _node(name: str, description: dict[str, Any], values: dict[str, Any], stage: int) -> GraphNode:
    parameters = dict(description.get("parameters", {}))
    if values["sim"]:
        parameters |= description.get("sim_parameters", {})
    optional = {key: _substitute(value, values) for key, value in description.get("optional", {}).items()}
    parameters |= {key: value for key, value in optional.items() if value != ""}
    tuning = config_dir() / "nodes" / f"{name}.yaml"
    return GraphNode(
        name=name,
        namespace=values["namespace"].strip("/"),
        parameter_files=(tuning,) if tuning.is_file() else (),
        parameters={key: _substitute(value, values) for key, value in parameters.items()},
        terminal=values.get("teleop", "none") in description.get("terminal", ()),
        stage=stage,
        lingers=description.get("lingers", False),
    )


def _description() -> dict[str, Any]:
    return yaml.safe_load((config_dir() / "graphs.yaml").read_text())


def _typed(argument: Argument, text: str) -> Any:
    kind, given = type(argument.default), f"{argument.name}:={text}"
    try:
        value = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        names = {bool: "true or false", int: "a whole number", float: "a number"}
        raise GraphError(f"{given} is not {names[kind]} ({argument.help})") from None
    if argument.choices and value not in argument.choices:
        raise GraphError(f"{given} is none of {', '.join(argument.choices)} ({argument.help})")
    if argument.span is not None and not argument.span[0] <= value <= argument.span[1]:
        raise GraphError(f"{given} is not between {argument.span[0]} and {argument.span[1]} ({argument.help})")
    return value


def _text(value: Any) -> str:
    """A value as one writes it on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _substitute(value: Any, values: dict[str, Any]) -> Any:
    """Replace ${name}. A value that is one reference and nothing else keeps the argument's type."""
    if not isinstance(value, str):
        return value
    whole = REFERENCE.fullmatch(value)
    if whole:
        return values[whole[1]]
    return REFERENCE.sub(lambda match: str(values[match[1]]), value)
