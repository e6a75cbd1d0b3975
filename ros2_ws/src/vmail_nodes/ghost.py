"""Node `ghost`: the first picture of the first take over the live one, to set up the scene again as it was.

Subscribes: `camera/image_raw`, only while somebody subscribes to the ghost. Publishes: `camera/ghost` (Image rgb8),
half live and half ghost, or the difference of the two, which is black where nothing has moved.

A process of its own, with the lowest priority: reading a bag and mixing pictures keep no recorder waiting.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from vmail_core.episodes.bag_reading import IMAGE, Bag, BagError
from vmail_core.robot import load_robot
from vmail_nodes import diagnostics
from vmail_nodes.lifecycle import ManagedNode, run
from vmail_nodes.messages import array_from_image, image_from_array, ns_from_time
from vmail_nodes.qos import SENSOR_PUBLISHER, SENSOR_SUBSCRIBER
from vmail_nodes.take import first_take

BLEND, DIFFERENCE = "blend", "difference"
LOOK_PERIOD_S = 0.5  # between looks at who subscribes and at the takes
LOWEST = 19


class Ghost(ManagedNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("ghost")
        self._diagnostics = diagnostics.Diagnostics(self)
        self._publisher = self.create_publisher(Image, "camera/ghost", SENSOR_PUBLISHER)
        self._camera: Subscription | None = None
        self._endpoints: list[Any] = []
        self._shown: tuple[Path, int] | None = None  # the take of the ghost, and when it was written
        self._ghost: np.ndarray | None = None
        self.add_on_set_parameters_callback(self._on_parameters)

    def configure(self) -> None:
        """Read the parameters; no take needs to be there yet."""
        takes = self.parameter("takes", "demos", "Folder of the takes, the recorder's `output`.")
        self._takes = Path(takes).expanduser()
        self._robot = load_robot(self.parameter("robot", "dclaw", "Robot: a name or a path to a .yaml file."))
        self._period = 1.0 / self.parameter("rate_hz", 5.0, "Pictures a second, at most.", 0.1, 30.0)
        self.parameter("mode", BLEND, "blend: half live, half ghost; difference: what differs is bright.")
        os.nice(LOWEST - os.nice(0))

    def activate(self) -> None:
        """Wait for somebody who looks."""
        self._published = 0.0
        self._endpoints = [self.create_timer(LOOK_PERIOD_S, self._look)]
        self._look()

    def deactivate(self) -> None:
        """Look and listen no more."""
        self._forget()
        self.destroy_endpoints(self._endpoints)

    def _look(self) -> None:
        """Listen to the camera while there is something to show and somebody to see it."""
        watched = self._publisher.get_subscription_count() > 0
        take = first_take(self._takes) if watched else None
        if take is None:
            self._forget()
        if not watched:
            self._diagnostics.report(diagnostics.OK, "unwatched", f"nobody subscribes to {self._publisher.topic_name}")
        elif take is None:
            detail = f"{self._takes} holds no finished take yet; the first one's first picture will be the ghost"
            self._diagnostics.report(diagnostics.OK, "no_take_yet", detail)
        else:
            self._show(take)

    def _show(self, take: Path) -> None:
        """Read the take's first picture, unless it was read already; listen to the camera."""
        try:
            written = (take, (take / "metadata.yaml").stat().st_mtime_ns)
            if written == self._shown:
                return
            self._forget()
            self._shown = written
            with Bag(take, self._robot) as bag:
                self._ghost = next(event.value for event in bag.events() if event.topic == IMAGE)
        except (BagError, OSError) as error:  # it may have been deleted at this moment
            self._diagnostics.report(diagnostics.WARN, "take_unreadable", str(error))
            return
        # Undecoded: of most pictures nothing else is wanted than that they pass.
        self._camera = self.create_subscription(
            Image, "camera/image_raw", self._on_picture, SENSOR_SUBSCRIBER, raw=True
        )
        self._showing = f"the first picture of {take}"
        self._diagnostics.report(diagnostics.OK, "showing", self._showing, take=take.name)

    def _forget(self) -> None:
        """Leave the camera alone."""
        self._shown = self._ghost = None
        if self._camera is not None:
            self.destroy_subscription(self._camera)
            self._camera = None

    def _on_picture(self, data: bytes) -> None:
        now = time.monotonic()
        if self._ghost is None or now - self._published < self._period:
            return
        self._published = now
        message = deserialize_message(data, Image)
        try:
            live = array_from_image(message)
        except ValueError as error:
            self._diagnostics.report(diagnostics.WARN, "image_invalid", str(error))
            return
        if live.shape != self._ghost.shape:
            (height, width), (was_high, was_wide) = live.shape[:2], self._ghost.shape[:2]
            detail = f"the first take's pictures are {was_wide}x{was_high}, the camera's {width}x{height}; set its size"
            self._diagnostics.report(diagnostics.WARN, "size_differs", detail)
            return
        mixed = mix(live, self._ghost, self.get_parameter("mode").value)
        stamp_ns = ns_from_time(message.header.stamp)
        self._publisher.publish(image_from_array(mixed, stamp_ns, message.header.frame_id))
        self._diagnostics.report(diagnostics.OK, "showing", self._showing)

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        wrong = [p.value for p in parameters if p.name == "mode" and p.value not in (BLEND, DIFFERENCE)]
        return SetParametersResult(
            successful=not wrong, reason=f"mode {wrong[0]!r}: give {BLEND} or {DIFFERENCE}" if wrong else ""
        )


def mix(live: np.ndarray, ghost: np.ndarray, mode: str) -> np.ndarray:
    """Both pictures (H, W, 3) uint8 in one: their mean, or for the mode `difference` how far they are apart."""
    if mode == DIFFERENCE:
        return cv2.absdiff(live, ghost)
    return cv2.addWeighted(live, 0.5, ghost, 0.5, 0.0)


def main() -> int:
    """Run the node; returns the exit code."""
    return run(Ghost)


if __name__ == "__main__":
    sys.exit(main())
