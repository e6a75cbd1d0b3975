"""Every choice of the learner, by name. Presets are YAML files in vmail_core/configs.

Where paper and published code differ, the choice is a field here: reward, bootstrap, penalty, prefill.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, Literal

import yaml

PRESETS = Path(__file__).parent.parent / "configs"


@dataclasses.dataclass(frozen=True)
class Model:
    """The world model (Eq. 7)."""

    vision: Literal["dreamer", "patch"] = "dreamer"
    image_size: int = 64
    depth: int = 32
    deter: int = 200
    stoch: int = 30
    hidden: int = 200
    classes: int | None = None  # of each of `stoch` categorical variables (DreamerV2 has 32 of 32); None: Gaussians
    min_std: float = 0.1
    norm: bool = False
    free_nats: float = 3.0
    kl_scale: float = 1.0
    kl_balance: float | None = None  # share of the KL's gradient that trains the prior; None: plain KL
    pixel_scale: float = 1.0  # weight of the summed squared pixel error; 1 is a unit-variance Gaussian
    joint_scale: float = 0.0  # weight of reconstructing joint angles too; 1 is a unit-variance Gaussian
    proprioception: bool = False  # joint angles are observed beside pictures, also when acting
    decode_fraction: float = 1.0  # of a batch's frames that are reconstructed at each update, chosen at random
    learning_rate: float = 6e-4

    def __post_init__(self) -> None:
        """Refuse weights that contradict what is observed."""
        if self.joint_scale < 0.0:
            raise ValueError(f"model.joint_scale is the weight of an error and cannot be {self.joint_scale}")
        if self.proprioception and not self.joint_scale:
            raise ValueError(
                "model.proprioception makes joint angles an observation, and Eq. 7 reconstructs what is observed: set "
                "model.joint_scale above 0 (1 is a unit-variance Gaussian)"
            )


@dataclasses.dataclass(frozen=True)
class Discriminator:
    """The discriminator (Eq. 6)."""

    units: int = 400
    layers: int = 2
    norm: bool = False
    learning_rate: float = 8e-5
    penalty: Literal["none", "parameters", "input"] = "parameters"
    penalty_weight: float = 1.0
    input_noise: float = 0.0  # std of noise on actions seen by D


@dataclasses.dataclass(frozen=True)
class Policy:
    """Actor and critic (Eq. 8)."""

    units: int = 400
    actor_layers: int = 4
    critic_layers: int = 3
    norm: bool = False
    init_std: float = 5.0
    min_std: float = 1e-4
    learning_rate: float = 8e-5
    horizon: int = 15
    discount: float = 0.99
    trace: float = 0.95  # lambda
    reward: Literal["log_d", "d", "logit"] = "log_d"
    bootstrap: bool = True
    imagine_from: int | None = None  # start states per update; None: every posterior state
    imitation: float = 1.0  # weight of Eq. 8; 0 leaves cloning on latents, a control
    entropy: float = 0.0  # weight of the policy's entropy (GAIL), which also keeps actions off their limits
    cloning: float = 0.0  # weight of the cloning term on expert latents
    cloning_noise: float = 0.0  # std of noise on the latents that are cloned from, in standard deviations of each
    warm_start: int = 0  # updates of cloning alone before Eq. 6 and Eq. 8 begin
    ramp: int = 0  # updates after that over which Eq. 8's weight grows to `imitation`: D and critic come first
    normalise: bool = False  # divide Eq. 8's returns by their range (DreamerV3): `imitation` then suits any task
    self_imitation: float = 0.0  # weight of copying own practice where it went better than expected (by D)
    self_imitation_temperature: float = 0.5  # of the advantage, in standard deviations
    exploration: float = 0.3  # std of noise added to actions in practice
    lost_exploration: float = 0.0  # more of it where D is sure that the expert never is: this std times (1 - D)^4

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.self_imitation and not self.bootstrap:
            raise ValueError(
                "policy.self_imitation weighs practice by the critic, which policy.bootstrap=false leaves untrained: "
                "set policy.self_imitation=0"
            )


@dataclasses.dataclass(frozen=True)
class Train:
    """The loop of Algorithm 1."""

    batch: int = 128
    length: int = 50
    demo_fraction: float | None = None  # of each batch; None: uniform over all episodes
    from_start: float = 0.0  # share of chunks that begin where their episode does; the others begin anywhere
    pretrain_updates: int = 100
    updates: int = 100_000
    updates_per_episode: int = 100
    prefill_episodes: int = 0  # of the untrained policy, before the first update
    workers: int = 0  # processes that collect practice while the learner learns; 0: it collects in between, itself
    capacity: int | None = None  # rows of practice kept
    gradient_clip: float = 100.0
    average: float = 0.0  # decay of the running mean of weights that is scored and deployed; 0: the last weights
    cooldown: float = 0.0  # last share of the run over which all learning rates fall to zero
    minutes: float | None = None  # stop after this much wall time, whichever comes first
    checkpoint_minutes: float = 5.0
    eval_every: int = 1000
    eval_episodes: int = 10
    precision: Literal["float32", "bfloat16", "auto"] = "float32"  # of products, but for recurrences
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one
    threads: int | None = None  # of the processor; None: torch's own choice

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if not 0.0 <= self.cooldown <= 1.0:
            raise ValueError(f"train.cooldown is a share of the run, 0 to 1, and cannot be {self.cooldown}")
        if self.minutes is not None and self.minutes <= 0.0:
            raise ValueError(f"train.minutes cannot be {self.minutes}: leave it out for a run without a time limit")
        if self.updates < 1:
            raise ValueError(f"train.updates cannot be {self.updates}: a run makes at least one")


@dataclasses.dataclass(frozen=True)
class Config:
    """All of a run's choices."""

    task: str = "dclaw_valve3_ccw"
    task_options: dict[str, Any] = dataclasses.field(default_factory=dict)  # of the simulated task: look, starts, ...
    model: Model = dataclasses.field(default_factory=Model)
    discriminator: Discriminator = dataclasses.field(default_factory=Discriminator)
    policy: Policy = dataclasses.field(default_factory=Policy)
    train: Train = dataclasses.field(default_factory=Train)


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
    plain = yaml.safe_load(path.read_text()) or {}
    for dotted, value in (overrides or {}).items():
        node = plain
        *sections, leaf = dotted.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    return config_from_dict(plain)


def config_from_dict(plain: dict[str, Any]) -> Config:
    """Inverse of `dataclasses.asdict`; missing fields take defaults. Raises ValueError naming a bad field."""
    return _build(Config, plain, "")


def _build(cls: type, plain: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(cls)
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
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(option, type) and type(value) is option:
            return value
        if typing.get_origin(option) is dict and isinstance(value, dict):
            return value
    raise ValueError(f"setting {where} cannot be {value!r}; it wants {hint}")
