"""Turns a graph of graphs.yaml into a description for ROS's launch tools, which this module alone imports."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from vmail.graph import GraphNode, fastdds_profile, graph_arguments
from vmail.neighbours import Neighbours
from vmail.preflight import checked_graph
from vmail.signals import SignalNote


def describe(graph: str) -> LaunchDescription:
    """The launch description of a graph: its arguments, and one `python -m` process a node."""
    declared = [
        # An empty text is "not given": the default may depend on sim.
        DeclareLaunchArgument(a.name, default_value="", description=a.meaning)
        for a in graph_arguments(graph)
    ]
    profile = "FASTDDS_DEFAULT_PROFILES_FILE"
    chosen = EnvironmentVariable(profile, default_value=str(fastdds_profile()))
    return LaunchDescription(
        [*declared, SetEnvironmentVariable(profile, chosen), OpaqueFunction(function=_start, args=[graph])]
    )


def _start(context: LaunchContext, graph: str) -> list:
    given = {a.name: LaunchConfiguration(a.name).perform(context) for a in graph_arguments(graph)}
    run_dir = Path(tempfile.mkdtemp(prefix="vmail-"))
    atexit.register(shutil.rmtree, run_dir, ignore_errors=True)
    actions: list = []
    # ROS's launch gives its nodes no terminal. What is raised here ends it with one line, before anything starts.
    with Neighbours() as neighbours:
        nodes = checked_graph(graph, given, run_dir, terminal=False)
        neighbours.require_none_of(nodes, stopping=SignalNote())
    for node in nodes:
        process = _process(node)
        ended = OnProcessExit(target_action=process, on_exit=[EmitEvent(event=Shutdown(reason=f"{node.name} ended"))])
        actions += [process, RegisterEventHandler(ended)]
    return actions


def _process(node: GraphNode) -> Node:
    return Node(
        package="vmail",
        executable=node.name,
        name=node.name,
        namespace=node.namespace,
        parameters=[*map(str, node.parameter_files), node.parameters],
        output="screen",
        emulate_tty=False,
    )
