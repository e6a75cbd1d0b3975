import dataclasses
import re
from pathlib import Path

import pytest

from vmail_core.learners import config as config_module
from vmail_core.learners.config import (
    PRESETS,
    Discriminator,
    Model,
    Policy,
    Train,
    config_from_dict,
    load_config,
)


@pytest.mark.parametrize("path", sorted(PRESETS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_loads(path):
    assert load_config(path).train.updates > 0


def test_overrides_reach_their_field():
    config = load_config("debug", {"train.seed": 7, "policy.discount": 1})
    assert config.train.seed == 7
    assert config.policy.discount == 1.0 and isinstance(config.policy.discount, float)


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(FileNotFoundError, match="fast/dclaw_cpu"):
        load_config("fast/nothing")


def test_an_unknown_setting_is_named():
    with pytest.raises(ValueError, match="model.dpeth"):
        config_from_dict({"model": {"dpeth": 3}})


def test_a_value_of_the_wrong_type_is_named():
    with pytest.raises(ValueError, match="train.batch"):
        config_from_dict({"train": {"batch": "many"}})
    with pytest.raises(ValueError, match="policy.reward"):
        config_from_dict({"policy": {"reward": "money"}})


def test_proprioception_without_reconstruction_is_refused():
    with pytest.raises(ValueError, match=r"model\.proprioception .*set model\.joint_scale above 0"):
        load_config("debug", {"model.proprioception": True})
    with pytest.raises(ValueError, match=r"model\.joint_scale .*cannot be -1"):
        load_config("debug", {"model.joint_scale": -1.0})
    assert load_config("fast/dclaw_cpu", {"model.proprioception": True}).model.joint_scale == 500.0


def test_proprioception_is_asked_for():
    presets = {path.stem: load_config(path).model.proprioception for path in PRESETS.rglob("*.yaml")}
    assert {name for name, wanted in presets.items() if wanted} == {"baoding", "baoding_cpu"}
    assert config_from_dict({"model": {"depth": 3}}).model.proprioception is False, "as in the run folders of before"


@pytest.mark.parametrize("section", [Model, Discriminator, Policy, Train])
def test_every_choice_is_read_somewhere(section):
    """A choice that nothing reads changes nothing, and looks as if it did."""
    folder = Path(config_module.__file__).parent
    code = "".join(path.read_text() for path in folder.glob("*.py") if path.name != "config.py")
    unread = [f.name for f in dataclasses.fields(section) if not re.search(rf"\.{f.name}\b", code)]
    assert not unread


def test_options_of_the_task_are_free():
    config = load_config("debug", {"task_options.look": "classic"})
    assert config.task_options == {"look": "classic"}
    with pytest.raises(ValueError, match="task_options"):
        config_from_dict({"task_options": "classic"})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("train.eval_every", 0),
        ("train.updates_per_episode", 0),
        ("train.demo_fraction", 2.0),
        ("train.length", 1),
        ("train.seed", -1),
        ("policy.init_std", 0.0),
        ("policy.horizon", 0),
        ("policy.imagine_from", 0),
        ("policy.discount", float("nan")),
        ("model.learning_rate", -1e-4),
    ],
)
def test_a_value_out_of_its_range_is_named(setting, value):
    with pytest.raises(ValueError, match=f"{setting} cannot be {value}: it is "):
        load_config("debug", {setting: value})


def test_a_learning_rate_may_be_written_as_people_write_it():
    assert load_config("debug", {"model.learning_rate": "1e-4"}).model.learning_rate == 1e-4


@pytest.mark.parametrize("setting", ["train", "model.depth.x", "task_options.image_size"])
def test_a_setting_in_the_wrong_place_is_named(setting):
    with pytest.raises(ValueError, match=setting.rpartition(".")[0] or setting):
        load_config("debug", {setting: 5})


@pytest.mark.parametrize("text", ["model:\n", "model: [1\n"])
def test_a_preset_that_is_none_is_named(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"model cannot be None|mine\.yaml is not YAML"):
        load_config(path)
