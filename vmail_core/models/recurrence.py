"""The RSSM's recurrences with their backward passes written out.

Autograd would record some thirty small operations a step, and add up the gradient of every weight step by step. Here a
chunk is one operation for autograd, what does not depend on the steps behind is computed for all steps at once, and a
weight's gradient is one matrix product over them. Products here are in float32 (TF32 on a GPU) whatever the precision
of others: errors of a recurrence add up. The plain loops that these stand for are `RSSM.filter_step` and
`RSSM.remember` with `RSSM.prior`; tests hold the two together.

Notation: h memory (D), s sample (Z), e the memory's input after its activation (H), r, u, n the GRU's reset gate,
update gate and candidate (D each), q the hidden layer behind mean and std (H) after its activation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import elu_


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


class _Steps(NamedTuple):
    """Values of L steps, or of one without the leading L; results and what `backward` needs."""

    deter: Tensor  # (L, B, D): h after the step
    stoch: Tensor  # (L, B, Z)
    std: Tensor  # (L, B, Z)
    e: Tensor  # (L, B, H)
    gates: Tensor  # (L, B, 2 D): r and u
    from_memory: Tensor  # (L, B, 3 D)
    candidate: Tensor  # (L, B, D)
    q: Tensor  # (L, B, H)
    out: Tensor  # (L, B, 2 Z): mean and std before its softplus

    @classmethod
    def empty(cls, length: int, noise: Tensor, w: Weights) -> _Steps:
        """Not filled yet; batch, precision and device are those of `noise` (..., B, Z)."""
        d, h, z = w.memory.shape[1], w.hidden.shape[0], w.stoch_in.shape[1]
        return cls(*(noise.new_empty(length, noise.shape[-2], n) for n in (d, z, z, h, 2 * d, 3 * d, d, h, 2 * z)))

    def one_by_one(self) -> Iterator[_Steps]:
        """Views of each step."""
        return map(_Steps, *(part.unbind() for part in self))


def _forward(
    step: _Steps, deter: Tensor, stoch: Tensor, into: Tensor, shift: Tensor, noise: Tensor, w: Weights, least: float
) -> None:
    """Fill one step: `into` (B, H) is the action's share of the memory's input, `shift` all of q but the memory's."""
    size = deter.shape[-1]
    elu_(torch.addmm(into, stoch, w.stoch_in.t(), out=step.e))
    from_input = torch.addmm(w.input_bias, step.e, w.input.t())
    torch.addmm(w.memory_bias, deter, w.memory.t(), out=step.from_memory)
    torch.add(from_input[:, : 2 * size], step.from_memory[:, : 2 * size], out=step.gates).sigmoid_()
    reset, update = step.gates.chunk(2, -1)
    torch.addcmul(from_input[:, 2 * size :], reset, step.from_memory[:, 2 * size :], out=step.candidate).tanh_()
    torch.lerp(step.candidate, deter, update, out=step.deter)
    elu_(torch.addmm(shift, step.deter, w.hidden.t(), out=step.q))
    mean, raw_std = torch.addmm(w.out_bias, step.q, w.out.t(), out=step.out).chunk(2, -1)
    torch.ops.aten.softplus.out(raw_std, out=step.std).add_(least)
    torch.addcmul(mean, step.std, noise, out=step.stoch)


class _Slopes(NamedTuple):
    """What gradients are multiplied with on their way back through L steps, or one."""

    mean: Tensor  # (L, B, Z), not a factor but what arrives at the mean from outside
    raw_std: Tensor  # (L, B, Z), the same for the std before its softplus
    noise: Tensor  # (L, B, Z), of the std before its softplus by the sample
    q: Tensor  # (L, B, H)
    candidate: Tensor  # (L, B, D), of the candidate before its tanh by h
    reset: Tensor  # (L, B, D), of r before its sigmoid by that candidate
    update: Tensor  # (L, B, D), of u before its sigmoid by h
    memory: Tensor  # (L, B, D), of the memory's share of the candidate by that candidate: r
    kept: Tensor  # (L, B, D), of the memory before the step by h: u
    e: Tensor  # (L, B, H)

    @classmethod
    def of(cls, steps: _Steps, before: Tensor, noise: Tensor, stoch: Tensor, mean: Tensor, std: Tensor) -> _Slopes:
        """From the steps' values, the memories before them and the gradients of their results from outside."""
        reset, update = steps.gates.chunk(2, -1)
        d_reset, d_update = (steps.gates * (1.0 - steps.gates)).chunk(2, -1)
        d_std = steps.out.chunk(2, -1)[1].sigmoid()
        d_noise = d_std * noise
        return cls(
            mean + stoch,
            torch.addcmul(std * d_std, stoch, d_noise),
            d_noise,
            _elu_slope(steps.q),
            (1.0 - update) * (1.0 - steps.candidate.square()),
            steps.from_memory.chunk(3, -1)[2] * d_reset,
            (before - steps.candidate) * d_update,
            reset,
            update,
            _elu_slope(steps.e),
        )

    def one_by_one(self) -> Iterator[_Slopes]:
        """Views of each step."""
        return map(_Slopes, *(part.unbind() for part in self))


def _elu_slope(result: Tensor) -> Tensor:
    return result.clamp(max=0.0).add_(1.0)


class _Gradients(NamedTuple):
    """Gradients of the results of the matrix products of L steps, or of one."""

    x: Tensor  # (L, B, H), e before its activation
    from_input: Tensor  # (L, B, 3 D)
    from_memory: Tensor  # (L, B, 3 D)
    q: Tensor  # (L, B, H), before its activation
    out: Tensor  # (L, B, 2 Z)

    @classmethod
    def empty(cls, length: int, noise: Tensor, w: Weights) -> _Gradients:
        """Not filled yet; batch, precision and device are those of `noise` (..., B, Z)."""
        d, h, z = w.memory.shape[1], w.hidden.shape[0], w.stoch_in.shape[1]
        return cls(*(noise.new_empty(length, noise.shape[-2], n) for n in (h, 3 * d, 3 * d, h, 2 * z)))

    def one_by_one(self) -> Iterator[_Gradients]:
        """Views of each step."""
        return map(_Gradients, *(part.unbind() for part in self))


def _backward(
    found: _Gradients, slopes: _Slopes, w: Weights, deter: Tensor, stoch: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Fill one step's gradients; returns those of the memory and of the sample before the step.

    `deter` is all that arrives at h, `stoch` what arrives at s from the step behind.
    """
    size = deter.shape[-1]
    mean, raw_std = found.out.chunk(2, -1)
    if stoch is None:
        mean.copy_(slopes.mean)
        raw_std.copy_(slopes.raw_std)
    else:
        torch.add(slopes.mean, stoch, out=mean)
        torch.addcmul(slopes.raw_std, stoch, slopes.noise, out=raw_std)
    torch.mm(found.out, w.out, out=found.q).mul_(slopes.q)
    deter = torch.addmm(deter, found.q, w.hidden)
    reset, update, candidate = found.from_input.chunk(3, -1)
    torch.mul(deter, slopes.candidate, out=candidate)
    torch.mul(candidate, slopes.reset, out=reset)
    torch.mul(deter, slopes.update, out=update)
    found.from_memory[:, : 2 * size].copy_(found.from_input[:, : 2 * size])
    torch.mul(candidate, slopes.memory, out=found.from_memory[:, 2 * size :])
    torch.mm(found.from_input, w.input, out=found.x).mul_(slopes.e)
    return torch.addmm(deter.mul_(slopes.kept), found.from_memory, w.memory), found.x @ w.stoch_in


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
        steps = _Steps.empty(len(into), noise, w)
        deter, stoch = torch.zeros_like(steps.deter[0]), torch.zeros_like(steps.stoch[0])
        given = (into, shift + w.hidden_bias, noise)
        for step, into_t, shift_t, noise_t in zip(steps.one_by_one(), *(part.unbind() for part in given), strict=True):
            _forward(step, deter, stoch, into_t, shift_t, noise_t, w, least)
            deter, stoch = step.deter, step.stoch
        ctx.steps, ctx.noise, ctx.weights = steps, noise, w
        return steps.deter, steps.stoch, steps.out.chunk(2, -1)[0], steps.std

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, deter: Tensor, stoch: Tensor, mean: Tensor, std: Tensor) -> Any:
        """Backpropagation through time; weights once at the end, over all steps."""
        w, steps, noise = ctx.weights, ctx.steps, ctx.noise
        ctx.steps = None
        before = torch.cat([torch.zeros_like(deter[:1]), steps.deter[:-1]])
        found = _Gradients.empty(len(deter), noise, w)
        slopes = _Slopes.of(steps, before, noise, stoch, mean, std)
        carried, into_stoch = torch.zeros_like(deter[0]), None
        last_first = (tuple(parts)[::-1] for parts in (found.one_by_one(), slopes.one_by_one(), deter.unbind()))
        for gradients, factors, arriving in zip(*last_first, strict=True):
            carried, into_stoch = _backward(gradients, factors, w, carried.add_(arriving), into_stoch)

        def gradient(after: Tensor, ahead: Tensor) -> tuple[Tensor, Tensor]:
            """Of a weight and its bias. What goes in at a chunk's first step is zero and may be left out."""
            flat, ahead = after.flatten(0, 1), ahead.flatten(0, 1)
            return flat[len(flat) - len(ahead) :].t() @ ahead, flat.sum(0)

        stoch_in, _ = gradient(found.x, steps.stoch[:-1])
        memory, into = gradient(found.from_memory, steps.deter[:-1]), gradient(found.from_input, steps.e)
        hidden, out = gradient(found.q, steps.deter), gradient(found.out, steps.q)
        return (found.x, found.q, None, None, stoch_in, *into, *memory, *hidden, *out)


class ImagineStep(torch.autograd.Function):
    """One step of the forward model with frozen weights: `RSSM.remember`, then `RSSM.prior` and a sample."""

    @staticmethod
    def forward(
        ctx: Any, deter: Tensor, stoch: Tensor, into: Tensor, noise: Tensor, least: float, *weights: Tensor
    ) -> Any:
        """deter (B, D), stoch (B, Z), the action's share of the input (B, H), noise (B, Z) to the next four of each."""
        w = Weights(*weights)
        (step,) = _Steps.empty(1, noise, w).one_by_one()
        _forward(step, deter, stoch, into, w.hidden_bias, noise, w, least)
        ctx.save_for_backward(deter, noise, *step, *weights)
        return step.deter, step.stoch, step.out.chunk(2, -1)[0], step.std

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, deter: Tensor, stoch: Tensor, mean: Tensor, std: Tensor) -> Any:
        """Gradients of the state before and of the action's share; the weights are frozen and get none."""
        before, noise, *kept = ctx.saved_tensors
        step, w = _Steps(*kept[: len(_Steps._fields)]), Weights(*kept[len(_Steps._fields) :])
        (found,) = _Gradients.empty(1, noise, w).one_by_one()
        slopes = _Slopes.of(step, before, noise, stoch, mean, std)
        before_deter, before_stoch = _backward(found, slopes, w, deter, None)
        return (before_deter, before_stoch, found.x, *[None] * (2 + len(Weights._fields)))
