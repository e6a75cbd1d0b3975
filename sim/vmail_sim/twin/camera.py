"""The twin's camera: pictures of the plant at a fixed rate, rendered beside the running physics."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable

import numpy as np

from vmail_sim.dclaw.physics import ValvePhysics
from vmail_sim.rendering import check_plausible
from vmail_sim.twin.plant import ClawPlant, Snapshot


@dataclasses.dataclass(frozen=True)
class Frame:
    """A picture (H, W, 3) uint8 of the plant, and the plant as it was at that instant."""

    image: np.ndarray
    snapshot: Snapshot


class CameraLoop:
    """Renders in one thread, which alone owns the GL context, and hands each frame to `on_frame` there.

    The plant is held only while its positions are copied; rendering takes none of its time.
    """

    def __init__(
        self, plant: ClawPlant, rate_hz: float, width: int, height: int, on_frame: Callable[[Frame], None]
    ) -> None:
        """Prepare pictures of width x height pixels at `rate_hz`; `start` begins."""
        self._plant, self._period, self._size, self._on_frame = plant, 1.0 / rate_hz, (height, width), on_frame
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    @property
    def error(self) -> Exception | None:
        """What ended the thread, if anything did."""
        return self._error

    def start(self) -> None:
        """Make the GL context and begin.

        Raises:
            RuntimeError: no picture can be rendered, with the reason.
        """
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise RuntimeError(f"the twin's camera cannot render: {self._error}") from self._error

    def stop(self) -> None:
        """End the thread and free its GL context. Safe to call twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            physics = self._plant.renderable_copy()
            try:
                check_plausible(self._render(physics, self._plant.snapshot()), "the twin's camera")
                self._ready.set()
                self._loop(physics)
            finally:
                physics.free()
        except Exception as error:
            self._error = error  # for the owner to read: a thread has nobody to raise to
        finally:
            self._ready.set()

    def _loop(self, physics: ValvePhysics) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            snapshot = self._plant.snapshot()
            self._on_frame(Frame(self._render(physics, snapshot), snapshot))
            due += self._period
            # A late camera skips frames, as a real one does; it does not send them in a burst.
            missed = (time.monotonic() - due) // self._period
            due += max(0.0, missed) * self._period

    def _render(self, physics: ValvePhysics, snapshot: Snapshot) -> np.ndarray:
        physics.data.qpos[:] = snapshot.qpos
        physics.forward()
        return physics.picture(*self._size)
