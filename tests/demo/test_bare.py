"""Policies of the bare simulator: the bundle as it was trained, and controls that do what their names say."""

from __future__ import annotations

import numpy as np

from vmail.demo.bare import BundlePolicy, blind_controls, score_policies
from vmail.demo.settings import TASK
from vmail_core.learners.collect import rollout
from vmail_core.robot import RobotSpec
from vmail_sim.visual import VisualTask

PICTURE = np.zeros((32, 32, 3), np.uint8)


def test_holding_holds_and_zero_and_random_do_not(environment: VisualTask, robot: RobotSpec) -> None:
    away = {}
    for name, policy in blind_controls(robot).items():
        rollout(policy, environment, 5)
        away[name] = np.abs(environment.joint_positions - robot.rest).max()
    assert away["hold pose"] < 0.1 < away["zero action"]
    assert away["random"] > 0.1


def test_random_differs_between_episodes_and_not_between_runs(robot: RobotSpec) -> None:
    first, second = (blind_controls(robot, seed=4)["random"] for _ in range(2))
    action = first.act(PICTURE, np.zeros(9, np.float32))
    np.testing.assert_array_equal(action, second.act(PICTURE, action))
    first.reset()
    assert not np.array_equal(action, first.act(PICTURE, action))


def test_bundle_forgets_between_episodes_and_hands_actions_and_joints_on() -> None:
    class Runtime:
        calls: list[object] = []

        def reset(self) -> None:
            self.calls.append("reset")

        def step(self, image: np.ndarray, previous_action: np.ndarray, joints: np.ndarray | None) -> np.ndarray:
            self.calls.append((image, previous_action, joints))
            return previous_action + 1.0

    policy, taken = BundlePolicy(Runtime()), np.zeros(9, np.float32)  # type: ignore[arg-type]
    policy.reset()
    np.testing.assert_array_equal(policy.act(PICTURE, taken, taken), np.ones(9))
    assert Runtime.calls[0] == "reset" and Runtime.calls[1] == (PICTURE, taken, taken)


def test_every_policy_meets_the_same_starts(robot: RobotSpec) -> None:
    hold = blind_controls(robot)["hold pose"]
    scores = score_policies(TASK, [("a", hold, 32), ("b", hold, 32)], first_seed=11, episodes=1)
    assert scores["a"] == scores["b"] and set(scores["a"]) == {"radians", "return"}
    kicked = score_policies(TASK, [("a", hold, 32)], first_seed=11, episodes=1, kick="both")
    assert abs(kicked["a"]["radians"][0] - scores["a"]["radians"][0]) > 0.1
