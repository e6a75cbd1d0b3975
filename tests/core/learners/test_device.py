"""Replay as tensors gives what replay as arrays gives; the device is chosen or refused by name."""

import numpy as np
import pytest
import torch
from toy_world import demos

from vmail_core.episodes.replay import Arrays, HostArrays, Replay, joint_batch
from vmail_core.learners.config import load_config
from vmail_core.learners.device import DeviceArrays, choose_device, on_host
from vmail_core.learners.vmail import VMAIL


def filled(arrays: Arrays, joint_count: int = 3) -> Replay:
    replay = Replay(6, from_start=0.5, arrays=arrays)
    for demo in demos(joint_count):
        replay.add(demo)
    return replay


@pytest.mark.parametrize("joint_count", [0, 3])
def test_tensors_hold_the_batches_that_arrays_hold(joint_count):
    batches = []
    for arrays in (HostArrays(), DeviceArrays(torch.device("cpu"))):
        pair, rng = (filled(arrays, joint_count), filled(arrays, joint_count)), np.random.default_rng(0)
        batches.append(joint_batch(*pair, 5, 2, rng))
    host, device = batches
    assert isinstance(device.image, torch.Tensor) and (device.joint_positions is None) == (joint_count == 0)
    for wanted, got in zip(host, on_host(device), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_an_update_from_tensors_is_one_from_arrays():
    def reports(arrays: Arrays) -> dict[str, float]:
        torch.manual_seed(0)
        learner, replay = VMAIL(load_config("debug"), action_size=2), filled(arrays)
        chunks = joint_batch(replay, replay, 4, 2, np.random.default_rng(0))
        return {name: float(value) for name, value in learner.update(*chunks[:2], demo_count=2).items()}

    assert reports(HostArrays()) == reports(DeviceArrays(torch.device("cpu")))


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="torch finds no GPU"):
        choose_device("cuda")
