"""Gymnasium's Car Racing from pixels, drawn straight at the size that is asked for."""

import os

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # pygame greets on standard output
