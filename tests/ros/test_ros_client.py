"""A node of this process beside a graph: what an interrupt leaves of it, and when others know it."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
import rclpy
from rcl_interfaces.srv import GetParameters
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


@pytest.mark.parametrize(("answers", "expected"), [(True, ["known?", "start", "start"]), (False, ["start", "start"])])
def test_a_node_is_asked_for_something_once_it_knows_who_asks(ros: Ros, answers: bool, expected: list[str]) -> None:
    """By its answer of parameters; one that has none is asked at once."""
    asked: list[str] = []

    def note(what: str) -> Callable:
        def answer(_: object, response: Trigger.Response | GetParameters.Response) -> object:
            asked.append(what)
            if isinstance(response, Trigger.Response):
                response.success = True
            return response

        return answer

    stranger = rclpy.create_node("stranger", context=ros.node.context, start_parameter_services=False)
    ros.spin(stranger)
    if answers:
        stranger.create_service(GetParameters, "~/get_parameters", note("known?"))
    stranger.create_service(Trigger, "~/start", note("start"))
    with RosClient("asks") as client:
        client.trigger("stranger/start")
        client.trigger("stranger/start")
    assert asked == expected


def test_a_node_that_does_not_answer_is_asked_for_nothing(ros: Ros) -> None:
    mute = rclpy.create_node("mute", context=ros.node.context)  # which nobody spins
    asked: list[str] = []
    mute.create_service(Trigger, "~/start", lambda _, response: asked.append("start") or response)
    with RosClient("asks") as client, pytest.raises(TimeoutError, match="node mute did not answer within 1 s"):
        client.call(Trigger, "mute/start", Trigger.Request(), seconds=1.0)
    ros.spin(mute)
    ros.meet("mute")
    assert asked == []
    mute.destroy_node()
