"""The floor under an update: its convolutions and matrix products alone.

Records every such operation that a call makes, forwards and backwards, with shapes and memory layouts, and repeats them
on random numbers without anything in between. What lay in different places still does: with one tensor for all of the
same shape, weights would come from caches that they do not fit into (5 % less time for the claw on an AMD EPYC).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vmail_core.learners.cuda_graph import Graphs

PEAKS = {"H100": (989e12, 495e12, 3.35e12), "H200": (989e12, 495e12, 4.8e12)}
"""Data sheets of GPUs (SXM): bfloat16 and TF32 operations a second without sparsity, bytes a second."""
HEAVY = {"mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward"}
Operation = tuple[Any, tuple[Any, ...], dict[str, Any]]


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._like: dict[tuple[Any, ...], Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in HEAVY:
            self.operations.append((func, tuple(map(self._stand_in, args)), dict(kwargs or {})))
        return func(*args, **(kwargs or {}))

    def _stand_in(self, argument: Any) -> Any:
        """Random numbers as the tensor lies in memory; where it is met again, the same ones."""
        if not isinstance(argument, Tensor):
            return argument
        key = (argument.data_ptr(), tuple(argument.shape), argument.stride(), argument.dtype, str(argument.device))
        if key not in self._like:
            # A dimension of stride 0 is one that was expanded: one row of numbers, shown many times.
            stored = [1 if step == 0 else size for size, step in zip(argument.shape, argument.stride(), strict=True)]
            numbers = torch.empty_strided(stored, argument.stride(), dtype=argument.dtype, device=argument.device)
            self._like[key] = numbers.normal_().expand(argument.shape)
        return self._like[key]


def heavy_operations(call: Callable[[], object]) -> list[Operation]:
    """Every convolution and matrix product of a call, ready to be repeated."""
    recorder = _Recorder()
    with recorder:
        call()
    return recorder.operations


def launched_as_one(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """On a GPU the call's operations captured as one graph, as the learner's are; elsewhere the call itself."""
    if device.type != "cuda":
        return call
    graphs = Graphs(device)

    def function() -> dict[str, Tensor]:
        call()
        return {}

    return lambda: graphs("call", function, [])


@torch.no_grad()
def repeat(operations: list[Operation]) -> None:
    """Do them again, in order."""
    for func, args, kwargs in operations:
        func(*args, **kwargs)


def floating_point_operations(operations: list[Operation]) -> float:
    """Of all of them together, a multiplication and an addition counted as two."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        repeat(operations)
    return float(counter.get_total_flops())


@torch.no_grad()
def bytes_moved(operations: list[Operation]) -> int:
    """What the operations read and write at least, each tensor once an operation."""
    total = 0
    for func, args, kwargs in operations:
        result = func(*args, **kwargs)
        results = result if isinstance(result, tuple | list) else (result,)
        total += sum(t.numel() * t.element_size() for t in (*args, *results) if isinstance(t, Tensor))
    return total


def seconds(call: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
    """Wall time of each call, the device's queue emptied around it."""
    found = []
    for _ in range(repeats):
        _wait(device)
        began = time.perf_counter()
        call()
        _wait(device)
        found.append(time.perf_counter() - began)
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
