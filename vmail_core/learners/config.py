"""Every choice of the learner, by name. Presets are YAML files in vmail_core/configs.

Where paper and published code differ, the choice is a field here: reward, bootstrap, penalty, prefill.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal

import yaml

from vmail_core.yaml_errors import in_one_line

PRESETS = Path(__file__).parent.parent / "configs"


def within(default: Any, least: float = 0.0, most: float = math.inf, above: bool = False) -> Any:
    """A field with this default that lies between `least` and `most`; with `above`, not on `least` itself."""
    return dataclasses.field(default=default, metadata={"range": (least, most, above)})


class Section:
    """Settings of one part; those outside their range are refused."""

    def __post_init__(self) -> None:
        """Raise ValueError that names the setting."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value, allowed = getattr(self, field.name), field.metadata.get("range")
            if allowed is None or value is None:
                continue
            least, most, above = allowed
            if not least <= value <= most or (above and value == least):
                text = f"above {least:g}" if above else f"at least {least:g}"
                text += f" and at most {most:g}" if most < math.inf else ""
                raise ValueError(f"{type(self).__name__.lower()}.{field.name} cannot be {value}: it is {text}")


@dataclasses.dataclass(frozen=True)
class Model(Section):
    """The world model (Eq. 7)."""

    vision: Literal["dreamer", "patch"] = "dreamer"
    image_size: int = 64
    depth: int = within(32, 1)
    deter: int = within(200, 1)
    stoch: int = within(30, 1)
    hidden: int = within(200, 1)
    classes: int | None = within(
        None, 2
    )  # of each of `stoch` categorical variables (DreamerV2 has 32 of 32); None: Gaussians
    min_std: float = within(0.1)
    norm: bool = False
    free_nats: float = within(3.0)
    kl_scale: float = within(1.0)
    kl_balance: float | None = within(
        None, 0.0, 1.0
    )  # share of the KL's gradient that trains the prior; None: plain KL
    pixel_scale: float = within(1.0)  # weight of the summed squared pixel error; 1 is a unit-variance Gaussian
    joint_scale: float = within(0.0)  # weight of reconstructing joint angles too; 1 is a unit-variance Gaussian
    proprioception: bool = False  # joint angles are observed beside pictures, also when acting
    decode_fraction: float = within(
        1.0, 0.0, 1.0, above=True
    )  # of a batch's frames that are reconstructed at each update, chosen at random
    learning_rate: float = within(6e-4, above=True)

    def __post_init__(self) -> None:
        """Refuse weights that contradict what is observed."""
        super().__post_init__()
        if self.proprioception and not self.joint_scale:
            raise ValueError(
                "model.proprioception makes joint angles an observation, and Eq. 7 reconstructs what is observed: set "
                "model.joint_scale above 0 (1 is a unit-variance Gaussian)"
            )


@dataclasses.dataclass(frozen=True)
class Discriminator(Section):
    """The discriminator (Eq. 6)."""

    units: int = within(400, 1)
    layers: int = within(2)
    norm: bool = False
    learning_rate: float = within(8e-5, above=True)
    penalty: Literal["none", "parameters", "input"] = "parameters"
    penalty_weight: float = within(1.0)
    input_noise: float = within(0.0)  # std of noise on actions seen by D


@dataclasses.dataclass(frozen=True)
class Policy(Section):
    """Actor and critic (Eq. 8)."""

    units: int = within(400, 1)
    actor_layers: int = within(4)
    critic_layers: int = within(3)
    norm: bool = False
    init_std: float = within(5.0, above=True)
    min_std: float = within(1e-4)
    learning_rate: float = within(8e-5, above=True)
    horizon: int = within(15, 1)
    discount: float = within(0.99, 0.0, 1.0)
    trace: float = within(0.95, 0.0, 1.0)  # lambda
    # To raise: those of where imagination starts (Eq. 8), or of all its steps, each alike or a step t counted gamma^t.
    returns: Literal["first", "all", "discounted"] = "all"
    reward: Literal["log_d", "d", "logit"] = "log_d"
    bootstrap: bool = True
    imagine_from: int | None = within(None, 1)  # start states per update; None: every belief but a chunk's last
    imitation: float = within(1.0)  # weight of Eq. 8; 0 leaves cloning on latents: no D or critic
    entropy: float = within(0.0)  # weight of the policy's entropy (GAIL), which also keeps actions off their limits
    cloning: float = within(0.0)  # weight of the cloning term on expert latents
    cloning_noise: float = within(
        0.0
    )  # std of noise on the latents that are cloned from, in standard deviations of each
    warm_start: int = within(0)  # updates of cloning alone before Eq. 6 and Eq. 8 begin
    ramp: int = within(0)  # updates after that over which Eq. 8's weight grows to `imitation`: D and critic come first
    normalise: bool = False  # divide Eq. 8's returns by their range (DreamerV3): `imitation` then suits any task
    self_imitation: float = within(0.0)  # weight of copying own practice where it went better than expected (by D)
    self_imitation_temperature: float = within(0.5, above=True)  # of the advantage, in standard deviations
    exploration: float = within(0.3)  # std of noise added to actions in practice
    lost_exploration: float = within(0.0)  # more of it where D is sure that the expert never is: this times (1 - D)^4

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        super().__post_init__()
        if self.self_imitation and not self.bootstrap:
            raise ValueError(
                "policy.self_imitation weighs practice by the critic, which policy.bootstrap=false leaves untrained: "
                "set policy.self_imitation=0"
            )


@dataclasses.dataclass(frozen=True)
class Train(Section):
    """The loop of Algorithm 1."""

    batch: int = within(128, 1)
    length: int = within(50, 2)
    demo_fraction: float | None = within(None, 0.0, 1.0)  # of each batch; None: uniform over all episodes
    expert_batch: int = within(0)  # chunks of demonstrations for D alone (Alg. 1, line 15); 0: it takes the batch's
    from_start: float = within(0.0, 0.0, 1.0)  # of chunks that begin where their episode does
    pretrain_updates: int = within(100)
    updates: int = within(100_000, 1)
    updates_per_episode: int = within(100, 1)
    episode_steps: int | None = within(None, 1)  # a shorter episode counts by its share of these; None: each is one
    prefill_episodes: int = within(0)  # of the untrained policy, before the first update
    workers: int = within(0)  # processes that practise while the learner learns; 0: it does, in between
    capacity: int | None = within(None, 1)  # rows of practice kept
    gradient_clip: float = within(100.0, above=True)
    average: float = within(0.0, 0.0, 1.0)  # decay of the running mean of weights that is deployed; 0: the last
    cooldown: float = within(0.0, 0.0, 1.0)  # last share of the run over which all learning rates fall to zero
    minutes: float | None = within(None, above=True)  # of practice and learning, if they end before the updates do
    checkpoint_minutes: float = within(5.0)
    eval_every: int = within(1000, 1)
    eval_episodes: int = within(10, 1)
    precision: Literal["float32", "bfloat16", "auto"] = (
        "float32"  # of products, but in most recurrences; on a GPU, float32 is TF32
    )
    seed: int = within(0)
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one
    threads: int | None = within(None, 1)  # of the processor; None: torch's own choice
    overlap: bool = False  # on a processor: policy and D learn in a thread beside the model, which is an update ahead


@dataclasses.dataclass(frozen=True)
class Config:
    """All of a run's choices."""

    task: str = "dclaw_valve3_ccw"
    task_options: dict[str, Any] = dataclasses.field(default_factory=dict)  # of the simulated task: look, starts, ...
    model: Model = dataclasses.field(default_factory=Model)
    discriminator: Discriminator = dataclasses.field(default_factory=Discriminator)
    policy: Policy = dataclasses.field(default_factory=Policy)
    train: Train = dataclasses.field(default_factory=Train)

    def __post_init__(self) -> None:
        """Refuse what would be set twice."""
        if "image_size" in self.task_options:
            raise ValueError("task_options.image_size: the pictures' size is model.image_size")


def load_config(preset: str | Path, overrides: dict[str, Any] | None = None) -> Config:
    """A preset by name ("fast/dclaw_cpu") or YAML file, with dotted overrides ({"train.seed": 1}).

    Raises:
        FileNotFoundError: unknown preset; the message lists the known ones.
        ValueError: unknown field or a value of the wrong type; the message names it.
    """
    path = Path(preset)
    if path.suffix not in (".yaml", ".yml"):
        path = PRESETS / f"{preset}.yaml"
    if not path.is_file():
        known = sorted(p.relative_to(PRESETS).with_suffix("").as_posix() for p in PRESETS.rglob("*.yaml"))
        raise FileNotFoundError(f"no preset {str(preset)!r}; known presets: {', '.join(known)}")
    try:
        plain = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {in_one_line(error)}") from error
    if not isinstance(plain, dict):
        raise ValueError(f"{path} holds no settings, such as task and model: compare it with a preset in {PRESETS}")
    for dotted, value in (overrides or {}).items():
        node = plain
        *sections, leaf = dotted.split(".")
        for section in sections:
            node = node.setdefault(section, {}) if isinstance(node, dict) else node
        if not isinstance(node, dict):
            raise ValueError(f"unknown setting {dotted}: {dotted.rpartition('.')[0]} has no settings of its own")
        node[leaf] = value
    return config_from_dict(plain)


def config_from_dict(plain: dict[str, Any]) -> Config:
    """Inverse of `dataclasses.asdict`; missing fields take defaults. Raises ValueError naming a bad field."""
    return _build(Config, plain, "")


def _build(cls: type, plain: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(cls)
    if not isinstance(plain, dict):
        raise ValueError(f"{where.rstrip('.') or 'the preset'} cannot be {plain!r}: it has settings of its own")
    unknown = set(plain) - set(hints)
    if unknown:
        raise ValueError(f"unknown setting {where}{sorted(unknown)[0]}; known: {', '.join(where + h for h in hints)}")
    values = {}
    for name, value in plain.items():
        if dataclasses.is_dataclass(hints[name]):
            values[name] = _build(hints[name], value, f"{where}{name}.")
        else:
            values[name] = _checked(hints[name], value, where + name)
    return cls(**values)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """`value` if it fits the field's type; whole numbers pass as floats."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if typing.get_origin(option) is Literal and value in typing.get_args(option):
            return value
        if option is float and not isinstance(value, bool):
            try:
                return float(value)  # YAML takes 1e-4 for a word
            except (TypeError, ValueError):
                continue
        if isinstance(option, type) and type(value) is option:
            return value
        if typing.get_origin(option) is dict and isinstance(value, dict):
            return value
    raise ValueError(f"setting {where} cannot be {value!r}; it wants {hint}")
