"""CUDA graphs: thousands of small operations of fixed shape, recorded once and launched as one.

An update of a Dreamer-like learner is bound by launches, not by arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

WARM_UP = 3
"""Calls before the capture, which torch wants on a side stream: real calls, with real effects."""
Function = Callable[..., dict[str, Tensor]]


class Graphs:
    """A function of tensors with fixed shapes, captured at its fourth call and replayed from then on.

    Only the newest function is kept: a graph holds on to all the memory that it works in.
    """

    def __init__(self, device: torch.device) -> None:
        """Nothing is captured yet."""
        self._key: Hashable = None
        self._calls = 0
        self._captured: _Captured | None = None
        self._side = torch.cuda.Stream(device)

    def __call__(self, key: Hashable, function: Function, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """`function(*inputs)`.

        Args:
            key: names the function and everything in it that is no tensor; also the shapes must be the same for a key.
            function: reads no result on the host, and takes all tensors that change from outside as inputs.
            inputs: tensors on the device.

        Returns:
            What the function returns; once captured, the same tensors with new values each time.
        """
        if key != self._key:
            self._key, self._calls, self._captured = key, 0, None
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._beside(function, inputs)
        if self._captured is None:
            self._captured = _Captured(function, inputs)
        return self._captured.replay(inputs)

    def _beside(self, function: Function, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            result = function(*inputs)
        torch.cuda.current_stream().wait_stream(self._side)
        return result


class _Captured:
    """A graph with the tensors that it reads and writes."""

    def __init__(self, function: Function, inputs: Sequence[Tensor]) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function(*self._inputs)

    def replay(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        for kept, new in zip(self._inputs, inputs, strict=True):
            kept.copy_(new, non_blocking=True)
        self._graph.replay()
        return self._outputs
