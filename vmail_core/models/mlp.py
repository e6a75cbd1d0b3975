"""Plain fully connected stacks."""

from __future__ import annotations

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU}


def mlp(
    inputs: int, units: int, layers: int, outputs: int, activation: str = "elu", norm: bool = False
) -> nn.Sequential:
    """`layers` hidden layers of `units` and a linear output; with `norm`, LayerNorm before each activation."""
    stack: list[nn.Module] = []
    for _ in range(layers):
        stack.append(nn.Linear(inputs, units))
        if norm:
            stack.append(nn.LayerNorm(units))
        stack.append(ACTIVATIONS[activation]())
        inputs = units
    stack.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*stack)
