"""Adds to pyproject.toml what ROS 2 needs: `colcon build` and `pip install .` both place launch files and nodes."""

from pathlib import Path

from setuptools import setup

launch = Path("launch")
folders = [launch, *(path for path in sorted(launch.rglob("*")) if path.is_dir() and path.name != "__pycache__")]
launch_files = [
    (f"share/vmail/{folder}", [str(path) for path in sorted(folder.iterdir()) if path.is_file()]) for folder in folders
]
nodes = [str(path) for path in sorted(Path("ros2_ws/bin").iterdir()) if path.name != "run_node"]

setup(
    license="Apache-2.0",
    python_requires=">=3.11",
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vmail"]),
        # colcon --symlink-install builds in a folder with links to what is listed here, so the last two must be, too.
        ("share/vmail", ["package.xml", "README.md", "pyproject.toml"]),
        ("lib/vmail", nodes),
        *launch_files,
    ],
)
