"""The policy on a robot's computer: encode, filter, act, with numpy and onnxruntime alone.

Single-threaded sessions and the mode of every distribution: the same pictures and actions give the same
commands, bit for bit, on the same machine, so a recorded bag replays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from vmail_core.deploy.bundle import Bundle, BundleError, Sizes, load_bundle

Array = np.ndarray


class PolicyRuntime:
    """One recurrent policy: `reset()` at the start of a run, then `step()` once a control period.

    The decoder and the discriminator are opened at the first `preview()` and `likeness()`.
    """

    def __init__(self, bundle: Bundle | str | Path, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        """Open a bundle (a folder is verified first) on the given ONNX Runtime execution providers.

        Raises:
            BundleError: the bundle is damaged, or a graph does not have the sizes that the manifest states.
            ValueError: an execution provider is not installed, or does not start here.
        """
        self.bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        self._providers = _check_providers(providers)
        self._encoder = self._open("encoder")
        self._filter = self._open("filter")
        self._policy = self._open("policy")
        self._decoder: ort.InferenceSession | None = None
        self._discriminator: ort.InferenceSession | None = None
        self.reset()

    def reset(self) -> None:
        """Forget everything seen: the latent goes back to zeros, as at row 0 of an episode."""
        sizes = self.bundle.sizes
        self._deter = np.zeros((1, sizes.deter), np.float32)
        self._stoch = np.zeros((1, sizes.stoch), np.float32)
        self._action = np.zeros((1, sizes.action), np.float32)

    def step(self, image: Array, previous_action: Array, joint_positions: Array | None = None) -> Array:
        """One control period: fold what is observed into the latent and choose an action.

        Args:
            image: uint8 (S, S, 3), RGB.
            previous_action: float32 (A,), the action that led to this picture; zeros at the first step.
            joint_positions: float32 (J,) rad at this picture, in the robot spec's order. Needed where `sizes.joints`
                says so; a policy of pictures alone leaves them aside.

        Returns:
            float32 (A,) in [-1, 1], a fresh array.

        Raises:
            ValueError: wrong shape or dtype, a value that is not finite, or joint positions that are missing.
            FloatingPointError: the policy's own output is not finite.
        """
        observed = {"image": self._check_image(image)}
        if self.bundle.sizes.joints:
            observed["joint_positions"] = self._check_joints(joint_positions)
        taken = self._check_action(previous_action)
        (embed,) = self._encoder.run(None, observed)
        latent = {"deter": self._deter, "stoch": self._stoch}
        deter, stoch = self._filter.run(None, {**latent, "action": taken, "embed": embed})
        (action,) = self._policy.run(None, {"deter": deter, "stoch": stoch})
        if not np.isfinite(action).all():
            raise FloatingPointError("the policy's action is not finite")
        self._deter, self._stoch, self._action = deter, stoch, action
        return action[0].copy()

    @property
    def latent(self) -> tuple[Array, Array]:
        """Copies of the current latent: deter float32 (D,), stoch float32 (Z,)."""
        return self._deter[0].copy(), self._stoch[0].copy()

    def discriminate(self, action: Array | None = None) -> float:
        """The discriminator's logit for the current latent and an action (A,); the last chosen action by default."""
        taken = self._action if action is None else self._check_action(action)
        if self._discriminator is None:
            self._discriminator = self._open("discriminator")
        (logit,) = self._discriminator.run(None, {"deter": self._deter, "stoch": self._stoch, "action": taken})
        return float(logit[0, 0])

    def likeness(self, action: Array | None = None) -> float:
        """D(z, a) = sigmoid(logit) in (0, 1): how much this latent and action look like the demonstrations."""
        return float(0.5 * (1.0 + np.tanh(0.5 * self.discriminate(action))))

    def preview(self) -> Array:
        """What the model believes it sees: uint8 (S, S, 3), decoded from the current latent."""
        if self._decoder is None:
            self._decoder = self._open("decoder")
        (image,) = self._decoder.run(None, {"deter": self._deter, "stoch": self._stoch})
        return image[0]

    def _check_image(self, image: Array) -> Array:
        side = self.bundle.sizes.image
        if image.shape != (side, side, 3) or image.dtype != np.uint8:
            raise ValueError(f"image must be uint8 ({side}, {side}, 3), got {image.dtype} {image.shape}")
        return np.ascontiguousarray(image)[np.newaxis]

    def _check_action(self, action: Array) -> Array:
        return _checked("action", action, self.bundle.sizes.action)

    def _check_joints(self, joints: Array | None) -> Array:
        size = self.bundle.sizes.joints
        if joints is None:
            raise ValueError(
                f"the policy of {self.bundle.path} takes {size} joint positions with every picture: read them from "
                "joint_states, or train one without model.proprioception"
            )
        return _checked("joint_positions", joints, size)

    def _open(self, name: str) -> ort.InferenceSession:
        path = self.bundle.graph(name)
        session = open_session(path, self._providers)
        _check_graph(path, session, graph_shapes(self.bundle.sizes)[name])
        return session


Shapes = dict[str, tuple[int, ...]]


def graph_shapes(sizes: Sizes) -> dict[str, tuple[Shapes, Shapes]]:
    """Input and output shapes of each graph by name: the bundle contract, for the exporter and the runtime."""
    image: Shapes = {"image": (1, sizes.image, sizes.image, 3)}
    embed: Shapes = {"embed": (1, sizes.embed)}
    joints: Shapes = {"joint_positions": (1, sizes.joints)} if sizes.joints else {}
    latent: Shapes = {"deter": (1, sizes.deter), "stoch": (1, sizes.stoch)}
    action: Shapes = {"action": (1, sizes.action)}
    next_latent: Shapes = {"next_deter": (1, sizes.deter), "next_stoch": (1, sizes.stoch)}
    return {
        "encoder": ({**image, **joints}, embed),
        "filter": ({**latent, **action, **embed}, next_latent),
        "policy": (latent, action),
        "decoder": (latent, image),
        "discriminator": ({**latent, **action}, {"logit": (1, 1)}),
    }


def open_session(path: Path, providers: Sequence[str] = ("CPUExecutionProvider",)) -> ort.InferenceSession:
    """Open one ONNX graph single-threaded and deterministic.

    Raises:
        BundleError: names a file that does not load.
        ValueError: an execution provider does not start here, as one for a GPU whose libraries or driver are missing.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime raises its own classes, which share no public base
        raise BundleError(f"{path}: onnxruntime {ort.__version__} cannot open it: {error}") from error
    session.disable_fallback()  # of itself it would go on without the others, on the processor, when one fails
    missing = [provider for provider in providers if provider not in session.get_providers()]
    if missing:
        raise ValueError(
            f"execution provider {missing[0]} does not start here: onnxruntime went on with "
            f"{', '.join(session.get_providers())}. Install the driver and libraries that onnxruntime "
            f"{ort.__version__} wants for it, or ask for CPUExecutionProvider"
        )
    return session


def _checked(name: str, values: Array, size: int) -> Array:
    """Values (size,) float32 as a batch of one."""
    if values.shape != (size,) or values.dtype != np.float32:
        raise ValueError(f"{name} must be float32 ({size},), got {values.dtype} {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {values}")
    return np.ascontiguousarray(values)[np.newaxis]


def _check_providers(providers: Sequence[str]) -> tuple[str, ...]:
    known = ort.get_available_providers()
    for provider in providers:
        if provider not in known:
            raise ValueError(f"execution provider {provider!r} is not installed; installed: {', '.join(known)}")
    return tuple(providers)


def _check_graph(path: Path, session: ort.InferenceSession, expected: tuple[Shapes, Shapes]) -> None:
    for kind, nodes, shapes in zip(
        ("inputs", "outputs"), (session.get_inputs(), session.get_outputs()), expected, strict=True
    ):
        found = {node.name: tuple(node.shape) for node in nodes}
        if found != shapes:
            raise BundleError(f"{path}: {kind} are {found}, but the manifest states {shapes}; export the bundle again")
