"""How late a hand and its camera are: measured, kept by robot, and noted in its takes."""

from vmail_hardware.latency.figures import (
    WHAT,
    Figure,
    Latencies,
    LatencyError,
    default_path,
    figure,
    find_latencies,
    load_latencies,
)

__all__ = [
    "WHAT",
    "Figure",
    "Latencies",
    "LatencyError",
    "default_path",
    "figure",
    "find_latencies",
    "load_latencies",
]
