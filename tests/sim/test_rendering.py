"""The choice of a GL backend, and the refusal of pictures that broken drivers return."""

from __future__ import annotations

import ctypes.util

import numpy as np
import pytest

from vmail_sim.rendering import check_plausible, prefer_headless_gl


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ({"EGL", "OpenGL"}, "egl"),
        ({"EGL", "GL", "OSMesa"}, "egl"),
        ({"EGL", "OSMesa"}, "osmesa"),  # EGL alone does not do: PyOpenGL finds its functions in OpenGL or GL
        ({"OSMesa"}, "osmesa"),
        ({"EGL"}, None),
        (set(), None),
    ],
)
def test_backend_follows_what_is_installed(monkeypatch, installed: set[str], chosen: str | None) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: name if name in installed else None)
    if chosen is None:
        with pytest.raises(RuntimeError, match="apt-get install -y libegl1"):
            prefer_headless_gl()
    else:
        assert prefer_headless_gl() == chosen


def test_the_users_choice_stands(monkeypatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert prefer_headless_gl() == "glfw"


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(RuntimeError, match="twin's camera: the renderer returned an empty picture"):
        check_plausible(np.full((64, 64, 3), 17, np.uint8), "the twin's camera")
