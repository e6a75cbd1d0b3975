"""The repository itself: versions agree, imports keep their direction, lock and wheel have everything."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAX_BYTES = 5_000_000
# In two parts, so that this file does not hold them.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
# ONNX Runtime for a GPU excludes the one for a CPU; no machine that runs the tests needs a cluster.
NOT_LOCKED = {"gpu", "cluster"}
PACKAGE_FOLDERS = {
    "vmail": "vmail",
    "vmail_core": "vmail_core",
    "vmail_sim": "sim/vmail_sim",
    "vmail_hardware": "hardware/vmail_hardware",
    "vmail_nodes": "ros2_ws/src/vmail_nodes",
}


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Every file that is, or is about to be, in the repository."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    content = path.read_bytes()
    return "" if b"\0" in content[:8192] else content.decode(errors="replace")


def test_import_rules_hold() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_versions_agree() -> None:
    version = PYPROJECT["project"]["version"]
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.findtext("name") == PYPROJECT["project"]["name"] == "vmail"
    assert package.findtext("version") == version
    assert importlib.import_module("vmail").__version__ == version
    assert re.search(rf"^{re.escape(version)} \(", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)


def test_package_xml_builds_as_a_python_package_of_ros() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.get("format") == "3"
    assert package.findtext("export/build_type") == "ament_python"
    assert package.findtext("license") == "Apache-2.0" and "Apache License" in (ROOT / "LICENSE").read_text()


def test_console_entries_resolve() -> None:
    for target in PYPROJECT["project"]["scripts"].values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_node_executables_resolve() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
    links = [path for path in (ROOT / "ros2_ws" / "bin").iterdir() if path.name != "run_node"]
    assert links
    for link in links:
        assert os.access(link, os.X_OK), link
        assert callable(importlib.import_module(f"vmail_nodes.{link.name}").main)


def test_every_node_has_an_executable() -> None:
    source = ROOT / PACKAGE_FOLDERS["vmail_nodes"]
    nodes = {path.stem for path in source.glob("*.py") if re.search(r"^def main\(", path.read_text(), re.MULTILINE)}
    assert nodes == {path.name for path in (ROOT / "ros2_ws" / "bin").iterdir()} - {"run_node"}


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (
            ["vmail_core.robot", "vmail_core.episodes", "vmail_core.deploy.bundle", "vmail_core.deploy.runtime"],
            ["torch", "rclpy", "mujoco", "dm_control", "serial", "rosbags"],
        ),
        (
            ["vmail_hardware.bus", "vmail_hardware.guard", "vmail_hardware.cameras", "vmail_hardware.emulator"],
            ["torch", "rclpy", "mujoco", "dm_control", "rosbags"],
        ),
        (
            ["vmail.cli", "vmail_nodes.policy_runner", "vmail_nodes.dynamixel_driver", "vmail_nodes.camera"],
            ["torch", "mujoco", "dm_control", "robel"],
        ),
        (["vmail_nodes.teleop", "vmail_nodes.demo_recorder", "vmail_nodes.twin"], ["torch"]),
    ],
    ids=["learning without its libraries", "hardware", "robot's computer", "all nodes without torch"],
)
def test_imports_without(modules: list[str], absent: list[str]) -> None:
    """In a fresh interpreter in which the absent libraries cannot be imported."""
    if any(module.startswith("vmail_nodes") for module in modules):
        pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
    block = f"import sys; sys.modules.update(dict.fromkeys({absent!r}))"
    program = "; ".join([block, *(f"import {module}" for module in modules)])
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def locked() -> dict[str, str]:
    """Name to version of everything pinned for this interpreter."""
    pins = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text:
            pin = Requirement(text)
            (specifier,) = pin.specifier
            assert specifier.operator == "==", f"{line!r} pins no version"
            pins[canonicalize_name(pin.name)] = specifier.version
    return pins


def test_lock_fulfils_every_requirement() -> None:
    project = PYPROJECT["project"]
    extras = [project["optional-dependencies"][name] for name in project["optional-dependencies"].keys() - NOT_LOCKED]
    pins = locked()
    for text in sum(extras, project["dependencies"]):
        needed = Requirement(text)
        pinned = pins.get(canonicalize_name(needed.name))
        assert pinned is not None, f"{needed.name} is not in requirements.lock"
        assert needed.specifier.contains(pinned, prereleases=True), f"requirements.lock has {needed.name} {pinned}"


def test_lock_is_closed() -> None:
    """Set-up installs the lock without a resolver, so everything that the pinned packages need must be pinned too."""
    pins = locked()
    missing = []
    for name in pins:
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # pinned for another version of Python
        for text in requirements:
            needed = Requirement(text)
            applies = needed.marker is None or needed.marker.evaluate({**default_environment(), "extra": ""})
            pinned = pins.get(canonicalize_name(needed.name))
            if applies and (pinned is None or not needed.specifier.contains(pinned, prereleases=True)):
                missing.append(f"{name} needs {needed}, the lock has {pinned}")
    assert not missing


def test_wheel_has_data_launch_files_and_nodes(files: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "source"
    for path in files:
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target, follow_symlinks=False)
    options = ["-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(copy)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("vmail-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    data = f"vmail-{PYPROJECT['project']['version']}.data/data/"
    wanted = {data + "share/ament_index/resource_index/packages/vmail", data + "share/vmail/package.xml"}
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("launch/"):
            wanted.add(f"{data}share/vmail/{name}")
        if name.startswith("ros2_ws/bin/") and path.name != "run_node":
            wanted.add(f"{data}lib/vmail/{path.name}")
            assert modes.get(f"{data}lib/vmail/{path.name}", 0) & 0o111, f"{path.name} is not executable"
        for package, folder in PACKAGE_FOLDERS.items():
            if path.is_relative_to(ROOT / folder) and path.suffix != ".md":
                wanted.add(f"{package}/{path.relative_to(ROOT / folder).as_posix()}")
    assert not wanted - set(modes)


def test_files_are_small(files: list[Path]) -> None:
    assert not [path for path in files if path.stat().st_size > MAX_BYTES]


def test_nothing_is_left_unfinished(files: list[Path]) -> None:
    assert not [path for path in files if UNFINISHED.search(text_of(path))]


def test_no_file_names_this_checkout(files: list[Path]) -> None:
    assert not [path for path in files if f"{ROOT}/" in text_of(path)]
