"""Tells whoever started this process, `vmail up` or systemd, that it is ready. Source: sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket


def notify_ready() -> None:
    """Send READY=1 to the socket in NOTIFY_SOCKET, if there is one; whether somebody listens does not matter."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
        notifier.setblocking(False)
        notifier.sendto(b"READY=1", f"\0{address[1:]}" if address.startswith("@") else address)
