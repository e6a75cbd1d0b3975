"""The command line: `vmail COMMAND ...`. Commands are in `vmail.commands` and import what they need when they run."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Sequence
from types import TracebackType

from vmail import __version__
from vmail.commands import (
    bags,
    calibrate,
    calibrate_camera,
    demo,
    deploy,
    doctor,
    latency,
    learn,
    services,
    simulate,
    takes,
    trust,
)

PIPE_CLOSED = 141  # as of a program that SIGPIPE ended
PACKAGES = ("vmail", "vmail_core", "vmail_sim", "vmail_hardware", "vmail_nodes")
# What may be missing, and how to get it.
INSTALL = {
    "Box2D": "pip install 'vmail[sim]'",
    "av": "pip install 'vmail[train]'",
    "dm_control": "pip install 'vmail[sim]'",
    "gymnasium": "pip install 'vmail[sim]'",
    "h5py": "pip install 'vmail[train]'",
    "imageio": "pip install 'vmail[train]'",
    "mujoco": "pip install 'vmail[sim]'",
    "onnx": "pip install 'vmail[train]'",
    "onnxruntime": "pip install 'vmail[cpu]', or 'vmail[gpu]' for a GPU",
    "pyarrow": "pip install 'vmail[train]'",
    "pygame": "pip install 'vmail[sim]'",
    "rclpy": "source the setup file of your ROS installation, or pip install 'vmail[ros]'",
    "safetensors": "pip install 'vmail[sim]'",
    "stable_baselines3": "pip install 'vmail[train]'",
    "tensorboard": "pip install 'vmail[train]'",
    "torch": "pip install 'vmail[train]'",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 1 done in part, 2 an error that the user can act on, 130 Ctrl-C."""
    # Before torch is loaded: beside other work, threads that wait by spinning made cloning ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    if "run" not in parsed:
        parser.print_help()
        return 0
    try:
        code = int(parsed.run(parsed))
        sys.stdout.flush()  # here, where a reader that has gone is noticed
        return code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return PIPE_CLOSED
        message = explain(error)
        if parsed.debug or message is None:
            raise
        print(f"vmail: error: {message}", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    """The parser with every command, in the order in which they are used."""
    parser = argparse.ArgumentParser(
        prog="vmail",
        description="Teach a robot hand by demonstration, from camera images, and run the learned policy on it.",
        epilog="vmail COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"vmail {__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    preparing = (demo, doctor, calibrate, calibrate_camera, latency)
    for module in (*preparing, simulate, takes, bags, learn, trust, deploy, services):
        module.register(commands)
    return parser


def explain(error: Exception) -> str | None:
    """One line for trouble that the user can act on; None for what can only be a mistake in the program."""
    if isinstance(error, ModuleNotFoundError):
        missing = (error.name or "").partition(".")[0]
        return f"{missing} is not installed: {INSTALL[missing]}" if missing in INSTALL else None
    ours = isinstance(error, ValueError | RuntimeError | FloatingPointError) and _raised_here(error)
    if isinstance(error, OSError):
        return _in_words(error)
    return (str(error) or type(error).__name__) if ours else None


def _in_words(error: OSError) -> str:
    """What the system itself says of a file, as one says it; other errors have words of their own."""
    if error.errno is None or error.filename is None:
        return str(error) or type(error).__name__
    if isinstance(error, FileExistsError) and os.path.isdir(error.filename):
        return f"{error.filename} exists already; choose another place"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{error.filename} is a file, and a folder is needed there; choose another place"
    if isinstance(error, FileNotFoundError):
        return f"there is no {error.filename}; check the path"
    if isinstance(error, IsADirectoryError):
        return f"{error.filename} is a folder, and a file is needed"
    reason = (error.strerror or "").lower()
    return f"{error.filename}: {reason}{'; choose another place' if isinstance(error, PermissionError) else ''}"


def _reader_is_gone() -> bool:
    """Whether what was printed went to a program that has ended, as `head` does; then nothing more is printed."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own flush at the end
    return True


def _raised_here(error: Exception) -> bool:
    """Whether vmail itself raised the error. One that comes out of a library was not foreseen."""
    last: TracebackType | None = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_globals.get("__name__", "").partition(".")[0] in PACKAGES


if __name__ == "__main__":
    sys.exit(main())
