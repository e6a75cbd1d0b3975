"""Gymnasium's Car Racing from pixels, drawn straight at the size that is asked for."""
