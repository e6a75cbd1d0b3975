"""Node `camera`: pictures from a device, a video file or the twin, with the time at which they were taken.

Publishes: `camera/image_raw` (Image rgb8), `camera/camera_info`, both stamped by the source.
A calibration of another size than the pictures ends the node. It is not scaled: pictures of another size may be cut out
of the sensor as well as shrunk, also where their sides have the same ratio, and nothing tells which. So do pictures
that become larger or smaller: whoever looks would see something else than they learned from.
A camera that is lost or frozen is an error on /diagnostics; the node tries to open it again, and says so. Another
camera that goes by the lost one's device file meanwhile is not taken for it.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from sensor_msgs.msg import CameraInfo, Image

from vmail_hardware.cameras import Camera, CameraError, CameraTimeoutError, Frame, FreezeDetector, open_camera
from vmail_hardware.cameras.identity import AUTO, NO_NAME, calibration_file, camera_name, has_lasting_name
from vmail_nodes import diagnostics
from vmail_nodes.camera_info import load_camera_info
from vmail_nodes.lifecycle import REALTIME_PRIORITY, ManagedNode, NodeError, run
from vmail_nodes.messages import image_from_array, time_from_ns
from vmail_nodes.qos import SENSOR_PUBLISHER

READ_TIMEOUT_S = 0.1  # also how often a silent camera's age is judged


class CameraNode(ManagedNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("camera", REALTIME_PRIORITY)
        self._diagnostics = diagnostics.Diagnostics(self)
        self._image_publisher = self.create_publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
        self._info_publisher = self.create_publisher(CameraInfo, "camera/camera_info", SENSOR_PUBLISHER)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._camera: Camera | None = None

    def configure(self) -> None:
        """Open the source, so that a wrong one is an error at once and not later."""
        self.require_wall_time()
        self._source = self.parameter(
            "source", "", "/dev/video* or its index, a video file, or twin:///path of a twin's frame socket."
        )
        if not self._source:
            raise NodeError("parameter source is empty: give a device (/dev/video0), a file or twin:///path.sock")
        self._options = {
            "width": self.parameter("width", 0, "Pixels to ask a device for; 0 takes its default.", 0, 8192) or None,
            "height": self.parameter("height", 0, "Pixels to ask a device for; 0 takes its default.", 0, 8192) or None,
            "fps": self.parameter("fps", 0.0, "Pictures a second; 0 takes the device's default.", 0.0, 240.0) or None,
            "loop": self.parameter("loop", False, "Start a video file again at its end."),
        }
        self._frame_id = self.parameter("frame_id", "camera", "frame_id of the pictures.")
        self._stamp_limit = self.parameter("stamp_limit_s", 0.5, "Frozen when no newer picture comes.", 0.05, 60.0)
        self._identical_limit = self.parameter(
            "identical_limit_s", 2.0, "Frozen when a physical sensor's pictures stay identical; 0 never.", 0.0, 60.0
        )
        self._reopen_period = self.parameter("reopen_period_s", 1.0, "Seconds between attempts.", 0.05, 60.0)
        wait = self.parameter("wait_s", 0.0, "Seconds to wait for the source to appear.", 0.0, 600.0)
        self.retry(self._open, wait, self._source)
        self._name = camera_name(self._source)  # known as soon as it is there
        self._load_calibration()

    def _load_calibration(self) -> None:
        choice = self.parameter(
            "camera_info_file", "auto", "Calibration YAML; auto: this user's of the camera, if there is one; none."
        )
        self._calibration = calibration_file(self._source, choice)
        self._info = load_camera_info(self._calibration)
        self._size = (self._info.width, self._info.height)  # of pictures; zeros until it is known
        uncalibrated = f"not calibrated (camera_info_file={choice})"
        if choice == AUTO and not has_lasting_name(self._source):
            uncalibrated += f": {NO_NAME}; name a calibration as camera_info_file"
        self.get_logger().info(f"calibrated by {self._calibration}" if self._calibration else uncalibrated)

    def activate(self) -> None:
        """Begin to publish."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        """Stop publishing; the source stays open."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def cleanup(self) -> None:
        """Close the source."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _open(self) -> None:
        try:
            self._camera = open_camera(self._source, **self._options)
        except CameraError as error:
            raise NodeError(str(error)) from error
        self._heard = time.monotonic()
        noisy = self._camera.has_sensor_noise and self._identical_limit > 0.0
        self._freeze = FreezeDetector(self._stamp_limit, self._identical_limit if noisy else None)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if self._camera is None and Path(self._source).is_file():
                    self._stop.wait()  # a video file that ended stays so: it does not begin again by itself
                elif self._camera is None:
                    self._reopen()
                else:
                    self._read(self._camera)
        except Exception as error:
            self.fail(f"camera thread stopped: {error!r}")

    def _read(self, camera: Camera) -> None:
        frame = None
        try:
            frame = camera.read(READ_TIMEOUT_S)
        except CameraTimeoutError:
            pass  # the freeze detector judges how long is too long
        except CameraError as error:
            self._lose(camera, "camera_lost", str(error))
            return
        if frame is not None:
            self._freeze.update(frame, time.monotonic())
            if not self._fits(frame):
                return
            self._publish(frame)
            self._heard = time.monotonic()
        frozen = self._freeze.frozen(time.monotonic())
        if frozen:
            self._diagnostics.report(diagnostics.ERROR, "camera_frozen", frozen, source=self._source)
        elif frame is not None:
            self._diagnostics.report(diagnostics.OK, "ok", source=self._source)
        if time.monotonic() - self._heard > self._stamp_limit + self._reopen_period:
            self._lose(camera, "camera_frozen", "no picture for too long")

    def _lose(self, camera: Camera, reason: str, why: str) -> None:
        self._diagnostics.report(diagnostics.ERROR, reason, why, source=self._source)
        camera.close()
        self._camera = None

    def _reopen(self) -> None:
        if self._stop.wait(self._reopen_period):
            return
        try:
            self._open()
        except NodeError as error:
            self._diagnostics.report(diagnostics.ERROR, "camera_lost", f"{error}; trying again")
            return
        found = camera_name(self._source)
        if found != self._name and self._camera is not None:
            advice = "plug that one in again, or start the node anew for the other"
            self._lose(self._camera, "camera_is_another", f"{self._source} is {found} and was {self._name}: {advice}")
        else:
            self.get_logger().info(f"opened {self._source} again")

    def _fits(self, frame: Frame) -> bool:
        """Whether the picture has the calibration's size, or without one the first picture's; if not, the node ends."""
        height, width = frame.image.shape[:2]
        if self._size == (0, 0):
            self._size = (width, height)
        if self._size == (width, height):
            return True
        expected = f"{self._size[0]}x{self._size[1]}"
        if self._calibration is None:
            self.fail(
                f"{self._source} gave pictures of {expected} and gives {width}x{height} now: set the parameters width "
                "and height, and start the node again"
            )
        else:
            self.fail(
                f"{self._calibration} is of pictures of {expected}, {self._source} gives {width}x{height}: set width "
                "and height to the calibration's, run `vmail calibrate-camera` at this size, or set camera_info_file "
                "to none"
            )
        self._stop.set()
        return False

    def _publish(self, frame: Frame) -> None:
        self._image_publisher.publish(image_from_array(frame.image, frame.stamp_ns, self._frame_id))
        self._info.header.stamp = time_from_ns(frame.stamp_ns)
        self._info.header.frame_id = self._frame_id
        if self._calibration is None:  # the size is all that is known
            self._info.height, self._info.width = frame.image.shape[:2]
        self._info_publisher.publish(self._info)


def main() -> int:
    """Run the node; returns the exit code."""
    return run(CameraNode)


if __name__ == "__main__":
    sys.exit(main())
