"""The runtime: recurrent, deterministic, strict about its inputs, and free of torch, ROS and simulator."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import vmail_core
from vmail_core.deploy.bundle import BundleError
from vmail_core.deploy.runtime import PolicyRuntime

from .conftest import SIZE

# All that a robot's computer installs for the runtime.
ALLOWED = ("numpy", "onnxruntime", "yaml")
STEPS_IN_A_CLEAN_PROCESS = """
import sys
import numpy as np
from vmail_core.deploy.runtime import PolicyRuntime

policy = PolicyRuntime(sys.argv[1])
image = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
action = np.zeros(9, np.float32)
for _ in range(5):
    action = policy.step(image, action)
policy.preview(), policy.likeness()
foreign = {name.partition(".")[0] for name in sys.modules} & {"torch", "onnx", "mujoco", "rclpy", "rosbags", "cv2"}
assert not foreign, foreign
print(action.tobytes().hex())
"""


@pytest.fixture
def runtime(bundle_folder: Path) -> PolicyRuntime:
    return PolicyRuntime(bundle_folder)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def play(runtime: PolicyRuntime, count: int = 20) -> np.ndarray:
    action, actions = np.zeros(9, np.float32), []
    for image in pictures(count):
        action = runtime.step(image, action)
        actions.append(action)
    return np.stack(actions)


def test_actions_are_normalised_and_differ_with_the_picture(runtime):
    actions = play(runtime)
    assert actions.dtype == np.float32
    assert np.all(np.abs(actions) <= 1.0)
    assert np.ptp(actions, axis=0).max() > 1e-3


def test_reset_plays_the_same_bytes_again_and_no_reset_does_not(runtime):
    first = play(runtime)
    assert not np.array_equal(play(runtime), first)
    runtime.reset()
    assert np.array_equal(play(runtime), first)


def test_two_runtimes_give_the_same_bytes(runtime, bundle_folder):
    assert play(runtime).tobytes() == play(PolicyRuntime(bundle_folder)).tobytes()


def test_the_previous_action_matters(runtime):
    (image,) = pictures(1)
    runtime.step(image, np.zeros(9, np.float32))
    still = runtime.latent[0]
    runtime.reset()
    runtime.step(image, np.ones(9, np.float32))
    assert not np.array_equal(runtime.latent[0], still)


def test_returned_arrays_are_the_callers_own(runtime):
    (image,) = pictures(1)
    runtime.step(image, np.zeros(9, np.float32))[:] = 7.0
    runtime.latent[0][:] = np.nan
    assert np.isfinite(runtime.step(image, np.zeros(9, np.float32))).all()
    assert -1.0 < runtime.likeness() < 2.0


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((SIZE, SIZE, 3), np.float32),
        np.zeros((SIZE + 1, SIZE, 3), np.uint8),
        np.zeros((3, SIZE, SIZE), np.uint8),
    ],
)
def test_a_wrong_picture_is_refused(runtime, image):
    with pytest.raises(ValueError, match=f"uint8 \\({SIZE}, {SIZE}, 3\\)"):
        runtime.step(image, np.zeros(9, np.float32))


@pytest.mark.parametrize("action", [np.zeros(8, np.float32), np.zeros(9), np.full(9, np.nan, np.float32)])
def test_a_wrong_previous_action_is_refused_and_leaves_the_memory_alone(runtime, action):
    before = runtime.latent[0]
    with pytest.raises(ValueError, match="action must be"):
        runtime.step(pictures(1)[0], action)
    assert np.array_equal(runtime.latent[0], before)


def test_an_unknown_provider_is_named(bundle_folder):
    with pytest.raises(ValueError, match="CPUExecutionProvider"):
        PolicyRuntime(bundle_folder, providers=["NoSuchExecutionProvider"])


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_named_and_not_replaced_in_silence(bundle_folder, monkeypatch):
    # It is installed, as far as anyone can see, and then onnxruntime goes on without it.
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(ValueError, match="CUDAExecutionProvider does not start here.*CPUExecutionProvider"):
        PolicyRuntime(bundle_folder, providers=["CUDAExecutionProvider"])


def test_a_file_that_is_no_graph_is_named(bundle_folder, tmp_path):
    copy = Path(shutil.copytree(bundle_folder, tmp_path / "copy"))
    runtime = PolicyRuntime(copy)
    (copy / "decoder.onnx").write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=r"decoder\.onnx"):
        runtime.preview()


def test_likeness_is_the_sigmoid_of_the_logit(runtime):
    play(runtime, 3)
    action = np.full(9, 0.5, np.float32)
    logit = runtime.discriminate(action)
    assert runtime.likeness(action) == pytest.approx(1.0 / (1.0 + np.exp(-logit)))
    assert runtime.discriminate(-action) != logit


def test_preview_is_a_picture_of_the_latent(runtime):
    before = runtime.preview()
    play(runtime, 3)
    assert before.shape == (SIZE, SIZE, 3)
    assert before.dtype == np.uint8
    assert not np.array_equal(runtime.preview(), before)


def test_runs_with_nothing_but_numpy_onnxruntime_and_yaml(bundle_folder, tmp_path):
    """A process that sees the standard library, three packages and vmail_core, and nothing else."""
    (tmp_path / "vmail_core").symlink_to(Path(vmail_core.__file__).parent)
    for name in ALLOWED:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.submodule_search_locations
        package = Path(next(iter(spec.submodule_search_locations)))
        for entry in (package, package.with_name(f"{name}.libs"), package.with_name(f"_{name}")):
            if entry.is_dir():
                (tmp_path / entry.name).symlink_to(entry)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(tmp_path)
    command = [sys.executable, "-S", "-c", STEPS_IN_A_CLEAN_PROCESS, str(bundle_folder)]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    missing = subprocess.run([sys.executable, "-S", "-c", "import torch"], env=environment, capture_output=True)
    assert missing.returncode != 0, "the clean process sees torch: this test proves nothing"
    runtime, action = PolicyRuntime(bundle_folder), np.zeros(9, np.float32)
    image = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    for _ in range(5):
        action = runtime.step(image, action)
    assert result.stdout.strip() == action.tobytes().hex()
