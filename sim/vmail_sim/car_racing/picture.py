"""The view of Car Racing at any size: gymnasium's camera and colours, without its canvas of 1000 x 800 pixels."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import pygame

from vmail_sim.car_racing.simulator import Simulator, rotation, stock, stock_car

SUBSAMPLES = 4  # a side of each pixel: edges are as smooth as after gymnasium's shrinking
SUBPIXEL_BITS = 4  # of OpenCV's fixed-point coordinates
WIDTH, HEIGHT = stock.WINDOW_W, stock.WINDOW_H  # of the canvas in whose units gymnasium places everything
CAR_PLACE = np.array([0.5 * WIDTH, 0.75 * HEIGHT])
CELL = np.array([WIDTH, HEIGHT]) / 40.0  # of the grid that the indicators lie on
SCORE_CENTRE, SCORE_FONT = np.array([60.0, 37.5 * CELL[1]]), 42
LEAST_SHOWN = 1e-4  # of a quantity with an indicator
STRIPE_ANGLE, STRIPE_COLOUR = 1.2, stock_car.WHEEL_WHITE  # rad of a tyre that are marked, to show that it turns

Colour = tuple[int, ...]


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Its corners, (4, 2)."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


FIELD = rectangle(-stock.PLAYFIELD, -stock.PLAYFIELD, stock.PLAYFIELD, stock.PLAYFIELD)
GRASS = stock.GRASS_DIM * np.array(  # the lighter squares of the ground, (400, 4, 2)
    [rectangle(x, y, x + 1, y + 1) for x in range(-20, 20, 2) for y in range(-20, 20, 2)]
)
LONGEST = stock.GRASS_DIM * 2**0.5  # diagonal of what the ground is made of
WHEEL_SIDE, WHEEL_RADIUS = stock_car.SIZE * stock_car.WHEEL_W, stock_car.SIZE * stock_car.WHEEL_R
WHEEL = rectangle(-WHEEL_SIDE, -WHEEL_RADIUS, WHEEL_SIDE, WHEEL_RADIUS)
HULL = [
    stock_car.SIZE * np.array(part, float)
    for part in (stock_car.HULL_POLY1, stock_car.HULL_POLY2, stock_car.HULL_POLY3, stock_car.HULL_POLY4)
]


class Canvas:
    """A picture drawn in the units of gymnasium's canvas, from the upper left corner, with several samples a pixel."""

    def __init__(self, height: int, width: int) -> None:
        """Black at first."""
        self._size = (width, height)
        self._samples = np.zeros((SUBSAMPLES * height, SUBSAMPLES * width, 3), np.uint8)
        self._scale = np.array([SUBSAMPLES * width / WIDTH, SUBSAMPLES * height / HEIGHT])

    def fill(self, polygons: np.ndarray, colours: Iterable[Colour]) -> None:
        """Fill convex polygons (P, N, 2), one over the other."""
        # OpenCV counts from the centre of the first sample.
        corners = np.rint((polygons * self._scale - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)
        for polygon, paint in zip(corners, colours, strict=False):
            cv2.fillConvexPoly(self._samples, polygon, paint, cv2.LINE_8, SUBPIXEL_BITS)

    def paste(self, picture: np.ndarray, centre: np.ndarray) -> None:
        """Lay a picture (h, w, 3) of gymnasium's canvas over a place (2,) that is not near the edge."""
        height, width = picture.shape[:2]
        columns, rows = np.maximum(np.rint(self._scale * (width, height)), 1).astype(int)
        left, top = np.rint(self._scale * centre - (columns / 2, rows / 2)).astype(int)
        self._samples[top : top + rows, left : left + columns] = cv2.resize(
            picture, (columns, rows), interpolation=cv2.INTER_AREA
        )

    def finished(self) -> np.ndarray:
        """The picture, (height, width, 3) uint8."""
        return cv2.resize(self._samples, self._size, interpolation=cv2.INTER_AREA)


class View:
    """From the world to the canvas: the camera is above the car and turned with it, ahead is up."""

    def __init__(self, simulator: Simulator) -> None:
        """As it is now."""
        hull, passed = simulator.car.hull, min(simulator.t, 1.0)  # it comes near in the first second
        zoom = stock.SCALE * (0.1 * (1.0 - passed) + stock.ZOOM * passed)
        self._position = np.array(hull.position)
        self._turn = zoom * rotation(-hull.angle).T * (1.0, -1.0)
        self._reach = float(np.hypot(WIDTH / 2.0, CAR_PLACE[1])) / zoom + LONGEST

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Places in the world (..., 2) to places on the canvas."""
        return (points - self._position) @ self._turn + CAR_PLACE

    def near(self, polygons: np.ndarray) -> np.ndarray:
        """Indices of all of (P, N, 2) in the world that can be seen, and some more."""
        return np.flatnonzero(np.square(polygons[:, 0] - self._position).sum(1) < self._reach**2)


class Camera:
    """Draws a simulator's scene."""

    def __init__(self, simulator: Simulator, indicators: bool = True) -> None:
        """With `indicators`, what gymnasium shows of the car and the return so far covers the lowest eighth."""
        self._simulator, self._indicators = simulator, indicators

    def picture(self, height: int, width: int) -> np.ndarray:
        """The view now, (height, width, 3) uint8: always all of gymnasium's 5 by 4, squeezed as it does itself."""
        canvas, view = Canvas(height, width), View(self._simulator)
        draw_ground(canvas, view, self._simulator)
        draw_car(canvas, view, self._simulator.car)
        if self._indicators:
            draw_indicators(canvas, self._simulator)
        return canvas.finished()


def draw_ground(canvas: Canvas, view: View, simulator: Simulator) -> None:
    """Field, grass, road and borders."""
    canvas.fill(view(FIELD)[None], [colour(simulator.bg_color)])
    canvas.fill(view(GRASS[view.near(GRASS)]), itertools.repeat(colour(simulator.grass_color)))
    near = view.near(simulator.road_corners)
    # A tile's colour changes when it is visited.
    canvas.fill(view(simulator.road_corners[near]), [colour(simulator.road_poly[index][1]) for index in near])


def draw_car(canvas: Canvas, view: View, car: Any) -> None:
    """Wheels, and the hull over them."""
    for wheel in car.wheels:
        canvas.fill(view(placed(wheel, WHEEL))[None], [wheel.color])
        stripe = tyre_stripe(wheel.phase)
        if stripe is not None:
            canvas.fill(view(placed(wheel, stripe))[None], [STRIPE_COLOUR])
    paint = colour(255 * np.array(car.hull.color))
    for part in HULL:
        canvas.fill(view(placed(car.hull, part))[None], [paint])


def colour(parts: Any) -> Colour:
    """Red, green and blue, of any kind of number, as OpenCV takes them."""
    return tuple(int(part) for part in parts)


def placed(body: Any, points: np.ndarray) -> np.ndarray:
    """Points (N, 2) of a Box2D body to where they are in the world."""
    return points @ rotation(body.angle).T + np.array(body.position)


def tyre_stripe(phase: float) -> np.ndarray | None:
    """The stripe of a tyre that has turned by `phase`: corners (4, 2) in the wheel's frame, None while it is below."""
    ends = np.array([phase, phase + STRIPE_ANGLE])
    below = np.sin(ends) > 0.0
    if below.all():
        return None
    rear, front = WHEEL_RADIUS * np.where(below, np.sign(np.cos(ends)), np.cos(ends))
    return rectangle(-WHEEL_SIDE, rear, WHEEL_SIDE, front)


def draw_indicators(canvas: Canvas, simulator: Simulator) -> None:
    """Return, speed, the wheels' rotation, steering and yaw rate on black, as gymnasium has them."""
    hull, wheels = simulator.car.hull, simulator.car.wheels
    speed = float(np.hypot(*hull.linearVelocity))
    upright = [(5, speed, 0.02, (255, 255, 255))]
    upright += [(7 + i, wheel.omega, 0.01, (0, 0, 255) if i < 2 else (51, 0, 255)) for i, wheel in enumerate(wheels)]
    level = [(20, wheels[0].joint.angle, -10.0, (0, 255, 0)), (30, hull.angularVelocity, -0.8, (255, 0, 0))]
    bars, colours = [rectangle(0, 35, 40, 40)], [(0, 0, 0)]
    for place, value, scale, paint in upright:
        if abs(value) > LEAST_SHOWN:
            bars.append(rectangle(place, 39 - scale * value, place + 1, 39))
            colours.append(paint)
    for place, value, scale, paint in level:
        if abs(value) > LEAST_SHOWN:
            bars.append(rectangle(place, 36, place + scale * value, 38))
            colours.append(paint)
    canvas.fill(np.array(bars) * CELL, colours)
    canvas.paste(written(f"{simulator.reward:04.0f}"), SCORE_CENTRE)


@functools.lru_cache(1024)
def written(text: str) -> np.ndarray:
    """A text in white on black, (h, w, 3) uint8, in gymnasium's font and size."""
    pygame.font.init()
    font = pygame.font.Font(pygame.font.get_default_font(), SCORE_FONT)
    return pygame.surfarray.array3d(font.render(text, True, (255, 255, 255), (0, 0, 0))).swapaxes(0, 1)
