"""A node of this process beside a graph: what an interrupt leaves of it, and when others know it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
import rclpy
from rcl_interfaces.srv import GetParameters
from ros_harness import Ros
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from vmail.ros_client import QUESTION_PERIOD_S, RosClient


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


@pytest.mark.parametrize("answers", [True, False])
def test_a_node_is_asked_for_something_once_it_knows_who_asks(ros: Ros, answers: bool) -> None:
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
    assert asked.count("start") == 2
    assert asked[0] == ("known?" if answers else "start")


def found(client: RosClient, service: str) -> None:
    """Wait for a service, before anything has to happen in time."""
    waiting = client.node.create_client(Trigger, service)
    client.wait(waiting.service_is_ready, 60.0, lambda: f"{service} did not appear")


def test_a_node_that_does_not_answer_is_asked_for_nothing(ros: Ros) -> None:
    mute = rclpy.create_node("mute", context=ros.node.context)  # which nobody spins
    asked: list[str] = []
    mute.create_service(Trigger, "~/start", lambda _, response: asked.append("start") or response)
    with RosClient("asks") as client:
        found(client, "mute/start")
        with pytest.raises(TimeoutError, match="node mute did not answer, and was not asked for anything, within 2 s"):
            client.call(Trigger, "mute/start", Trigger.Request(), seconds=2.0)
    ros.spin(mute)
    ros.meet("mute")
    assert asked == []
    mute.destroy_node()


def test_a_node_that_is_slow_is_asked_for_something_once(ros: Ros) -> None:
    """It gives each answer after the next question."""
    slow = rclpy.create_node("slow", context=ros.node.context, start_parameter_services=False)
    asked: list[str] = []

    def answer(what: str) -> Callable:
        def answer_late(_: object, response: object) -> object:
            time.sleep(1.2 * QUESTION_PERIOD_S)
            asked.append(what)
            return response

        return answer_late

    slow.create_service(GetParameters, "~/get_parameters", answer("known?"))
    slow.create_service(Trigger, "~/start", answer("start"))
    ros.spin(slow)
    with RosClient("asks") as client:
        found(client, "slow/start")
        client.call(Trigger, "slow/start", Trigger.Request(), seconds=10.0)
    assert asked.count("start") == 1


def test_an_emergency_stop_waits_for_nobody_and_is_repeated(ros: Ros) -> None:
    busy, other = (rclpy.create_node(name, context=ros.node.context) for name in ("busy", "other"))
    asked: list[str] = []

    def stop(name: str) -> Callable:
        return lambda _, response: asked.append(name) or response

    busy.create_service(Trigger, "~/estop", stop("busy"))  # nobody spins it
    other.create_service(Trigger, "~/estop", stop("other"))
    ros.spin(other)
    with RosClient("asks") as client:
        found(client, "busy/estop")
        found(client, "other/estop")
        assert set(client.stop(["busy/estop", "other/estop"], 10.0, seconds=2.5)) == {"other/estop"}
        began = time.monotonic()
        assert client.stop(["nobody/estop"], 0.5) == {}
        assert time.monotonic() - began < 5.0
        ros.spin(busy)
        assert set(client.stop(["busy/estop"], 10.0)) == {"busy/estop"}
    assert asked.count("busy") >= 3, "what was asked before waits in the node, too"
