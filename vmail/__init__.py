"""The command line `vmail`, and what composes learning, simulation, hardware and nodes: graphs and the demo."""

__version__ = "0.1.0"
