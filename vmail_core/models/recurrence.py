"""The RSSM's recurrences with their backward passes written out.

Autograd would record some thirty small operations a step, and add up the gradient of every weight step by step. Here a
step is one operation for autograd, and a weight's gradient is one matrix product over all steps of a chunk. Products
here are in float32 whatever the precision of others: errors of a recurrence add up. The plain
loops that these stand for are `RSSM.filter_step` and `RSSM.remember` with `RSSM.prior`; tests hold the two together.

Notation: h memory (D), s sample (Z), x the memory's input before and e after its activation (H), r, u, n the GRU's
reset gate, update gate and candidate (D each), q the hidden layer behind mean and std (H).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Weights(NamedTuple):
    """What a recurrence multiplies with: stoch to input, GRU, memory to q, q to mean and std."""

    stoch_in: Tensor  # (H, Z)
    input: Tensor  # (3 D, H), in torch's order r, u, n
    input_bias: Tensor
    memory: Tensor  # (3 D, D)
    memory_bias: Tensor
    hidden: Tensor  # (H, D)
    hidden_bias: Tensor
    out: Tensor  # (2 Z, H)
    out_bias: Tensor


class _Step(NamedTuple):
    """A step's values, those of `forward` that `backward` needs."""

    deter: Tensor
    stoch: Tensor
    e: Tensor
    gates: Tensor  # (B, 2 D): r and u
    memory_part: Tensor  # (B, D): the memory's share of the candidate
    candidate: Tensor
    q: Tensor
    mean: Tensor
    raw_std: Tensor
    std: Tensor


def _forward(
    deter: Tensor, stoch: Tensor, into: Tensor, shift: Tensor, noise: Tensor, w: Weights, least: float
) -> _Step:
    """One step: `into` (B, H) is the action's share of x, `shift` the picture's share of q (or a zero)."""
    size = deter.shape[-1]
    e = F.elu_(torch.addmm(into, stoch, w.stoch_in.t()))
    from_input = torch.addmm(w.input_bias, e, w.input.t())
    from_memory = torch.addmm(w.memory_bias, deter, w.memory.t())
    gates = (from_input[:, : 2 * size] + from_memory[:, : 2 * size]).sigmoid_()
    memory_part = from_memory[:, 2 * size :]
    candidate = torch.addcmul(from_input[:, 2 * size :], gates[:, :size], memory_part).tanh_()
    deter = torch.lerp(candidate, deter, gates[:, size:])
    q = F.elu_(torch.addmm(w.hidden_bias, deter, w.hidden.t()).add_(shift))
    mean, raw_std = torch.addmm(w.out_bias, q, w.out.t()).chunk(2, -1)
    std = F.softplus(raw_std).add_(least)
    return _Step(deter, torch.addcmul(mean, std, noise), e, gates, memory_part, candidate, q, mean, raw_std, std)


class _Gradients(NamedTuple):
    """Gradients of a step's matrix products' results, and of what came in."""

    x: Tensor  # (B, H)
    from_input: Tensor  # (B, 3 D)
    from_memory: Tensor  # (B, 3 D)
    q: Tensor  # (B, H), before the activation
    out: Tensor  # (B, 2 Z)
    deter: Tensor  # of the memory before the step
    stoch: Tensor  # of the sample before the step


def _backward(
    step: _Step, before: Tensor, noise: Tensor, w: Weights, deter: Tensor, stoch: Tensor, mean: Tensor, std: Tensor
) -> _Gradients:
    """Gradients of one step from those of its four results; `before` is the memory that it began with."""
    size = before.shape[-1]
    out = torch.cat([mean + stoch, torch.addcmul(std, stoch, noise) * step.raw_std.sigmoid()], -1)
    q = _elu_backward(out @ w.out, step.q)
    deter = torch.addmm(deter, q, w.hidden)
    reset, update = step.gates[:, :size], step.gates[:, size:]
    candidate = deter * (1.0 - update) * (1.0 - step.candidate.square())
    gates = torch.cat([candidate * step.memory_part, deter * (before - step.candidate)], -1)
    gates *= step.gates * (1.0 - step.gates)
    from_input = torch.cat([gates, candidate], -1)
    from_memory = torch.cat([gates, candidate * reset], -1)
    x = _elu_backward(from_input @ w.input, step.e)
    before_deter = torch.addmm(deter * update, from_memory, w.memory)
    return _Gradients(x, from_input, from_memory, q, out, before_deter, x @ w.stoch_in)


def _elu_backward(gradient: Tensor, result: Tensor) -> Tensor:
    return torch.ops.aten.elu_backward(gradient, 1.0, 1.0, 1.0, True, result)


class FilterChunk(torch.autograd.Function):
    """Beliefs of a chunk from zeros: a loop over `RSSM.filter_step`."""

    @staticmethod
    def forward(ctx: Any, into: Tensor, shift: Tensor, noise: Tensor, least: float, *weights: Tensor) -> Any:
        """Filter.

        Args:
            ctx: autograd's.
            into: (L, B, H), the actions' share of the memory's input, with its bias.
            shift: (L, B, H), the pictures' share of q.
            noise: (L, B, Z) standard normal.
            least: smallest std.
            weights: `Weights`, one by one.

        Returns:
            deter (L, B, D), stoch, mean and std (L, B, Z).
        """
        w = Weights(*weights)
        deter = into.new_zeros(into.shape[1], w.memory.shape[1])
        stoch = into.new_zeros(into.shape[1], w.stoch_in.shape[1])
        steps = []
        for t in range(len(into)):
            steps.append(_forward(deter, stoch, into[t], shift[t], noise[t], w, least))
            deter, stoch = steps[-1].deter, steps[-1].stoch
        ctx.steps, ctx.noise, ctx.weights = steps, noise, w
        return tuple(torch.stack([getattr(step, name) for step in steps]) for name in ("deter", "stoch", "mean", "std"))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, deter: Tensor, stoch: Tensor, mean: Tensor, std: Tensor) -> Any:
        """Backpropagation through time; weights once at the end, over all steps."""
        w, steps, noise = ctx.weights, ctx.steps, ctx.noise
        zeros = torch.zeros_like(deter[0])
        carried_deter, carried_stoch = zeros, torch.zeros_like(stoch[0])
        found = []
        for t in reversed(range(len(steps))):
            before = steps[t - 1].deter if t else zeros
            into_deter, into_stoch = deter[t] + carried_deter, stoch[t] + carried_stoch
            found.append(_backward(steps[t], before, noise[t], w, into_deter, into_stoch, mean[t], std[t]))
            carried_deter, carried_stoch = found[-1].deter, found[-1].stoch
        ctx.steps = None
        x, from_input, from_memory, q, out = (
            torch.stack(parts[::-1]) for parts in zip(*(f[:5] for f in found), strict=True)
        )
        rows = {
            name: torch.stack([getattr(s, name) for s in steps]).flatten(0, 1) for name in ("deter", "stoch", "e", "q")
        }
        batch = len(zeros)

        def gradient(after: Tensor, ahead: Tensor) -> tuple[Tensor, Tensor]:
            """Of a weight and its bias. What goes in at a chunk's first step is zero and may be left out."""
            flat = after.flatten(0, 1)
            return flat[len(flat) - len(ahead) :].t() @ ahead, flat.sum(0)

        stoch_in, _ = gradient(x, rows["stoch"][:-batch])
        memory = gradient(from_memory, rows["deter"][:-batch])
        hidden, into = gradient(q, rows["deter"]), gradient(from_input, rows["e"])
        return (x, q, None, None, stoch_in, *into, *memory, *hidden, *gradient(out, rows["q"]))


class ImagineStep(torch.autograd.Function):
    """One step of the forward model with frozen weights: `RSSM.remember`, then `RSSM.prior` and a sample."""

    @staticmethod
    def forward(
        ctx: Any, deter: Tensor, stoch: Tensor, into: Tensor, noise: Tensor, least: float, *weights: Tensor
    ) -> Any:
        """deter (B, D), stoch (B, Z), the action's share of the input (B, H), noise (B, Z) to the next four of each."""
        step = _forward(deter, stoch, into, into.new_zeros(()), noise, Weights(*weights), least)
        ctx.save_for_backward(deter, noise, *step, *weights)
        return step.deter, step.stoch, step.mean, step.std

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, deter: Tensor, stoch: Tensor, mean: Tensor, std: Tensor) -> Any:
        """Gradients of the state before and of the action's share; the weights are frozen and get none."""
        before, noise, *kept = ctx.saved_tensors
        step, w = _Step(*kept[: len(_Step._fields)]), Weights(*kept[len(_Step._fields) :])
        found = _backward(step, before, noise, w, deter, stoch, mean, std)
        return (found.deter, found.stoch, found.x, *[None] * (2 + len(Weights._fields)))
