"""A node of this process beside a graph: what an interrupt leaves of it."""

from __future__ import annotations

import signal

import pytest
from ros_harness import Ros
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from vmail.ros_client import RosClient


def test_an_interrupt_waits_for_the_message_in_hand_and_calls_still_work(ros: Ros) -> None:
    handled: list[str] = []

    def interrupted(_: Empty) -> None:
        signal.raise_signal(signal.SIGINT)
        handled.append("whole")

    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = True, "stopped"
        return response

    publisher = ros.node.create_publisher(Empty, "ping", 1)
    ros.node.create_service(Trigger, "~/stop", answer)
    with RosClient("interrupted") as client:
        client.node.create_subscription(Empty, "ping", interrupted, 1)
        client.wait(lambda: publisher.get_subscription_count() > 0, 20.0, lambda: "the subscription is not known")
        publisher.publish(Empty())
        with pytest.raises(KeyboardInterrupt):
            client.wait(lambda: False, 20.0, lambda: "no interrupt came")
        assert handled == ["whole"]
        assert client.trigger("test_probe/stop") == "stopped"
