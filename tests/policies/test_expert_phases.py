"""The expert's field: what it does where, and that following it brings the cube into the bin from anywhere."""

import math
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from salus_vla.config.scene import load_scene
from salus_vla.policies.scripted.phases import CLOSED, OPEN, Layout, Motion, Phase, World, act, advance, nearest_yaw

MOTION, LAYOUT = Motion(), Layout.of(load_scene())
EDGE, REST = LAYOUT.edge, LAYOUT.edge / 2.0
DEGREE = math.pi / 180.0
HOME = World(0.307, 0.0, 0.487, 0.0, OPEN, (0.5, 0.1, REST), 0.3, (0.45, -0.3))

tools = st.tuples(st.floats(0.25, 0.7), st.floats(-0.45, 0.4), st.floats(0.015, 0.55))
cubes = st.tuples(st.floats(0.35, 0.65), st.floats(-0.08, 0.35), st.just(REST))
yaws = st.floats(-math.pi, math.pi)


def world(**changes: object) -> World:
    return replace(HOME, **changes)


def at_cube(height: float = 0.0, aside: float = 0.0, **changes: object) -> World:
    """The tool over the cube, turned as it is; `aside` along the fingers' opening [m]."""
    x, y, z = HOME.cube
    yaw = HOME.cube_yaw
    place = {"x": x - aside * math.sin(yaw), "y": y + aside * math.cos(yaw), "z": z + height, "yaw": yaw}
    return world(**(place | changes))


def decide(state: World) -> tuple[Phase, float]:
    doing = act(state, LAYOUT, MOTION)
    return doing.phase, doing.grip


@pytest.mark.parametrize(
    ("state", "phase", "grip"),
    [
        pytest.param(HOME, Phase.REACH, OPEN, id="home"),
        pytest.param(at_cube(0.1), Phase.REACH, OPEN, id="above"),
        pytest.param(at_cube(), Phase.CLOSE, CLOSED, id="at the cube"),
        pytest.param(at_cube(yaw=HOME.cube_yaw + 0.1), Phase.REACH, OPEN, id="fingers turned"),
        pytest.param(at_cube(aside=0.01), Phase.REACH, OPEN, id="beside the middle"),
        pytest.param(at_cube(aside=0.01, width=0.065), Phase.CLOSE, CLOSED, id="closing goes on beside the middle"),
        pytest.param(at_cube(aside=0.02, width=0.065), Phase.REACH, OPEN, id="the cube slipped aside while closing"),
        pytest.param(at_cube(width=EDGE), Phase.CARRY, CLOSED, id="gripped"),
        pytest.param(at_cube(0.06, width=EDGE), Phase.REACH, OPEN, id="half open, the cube below"),
        pytest.param(at_cube(width=0.058), Phase.CLOSE, CLOSED, id="crooked on the table: it may still turn straight"),
        pytest.param(
            at_cube(width=0.058, z=0.08, cube=(*HOME.cube[:2], 0.08)), Phase.LOWER, CLOSED, id="crooked in the air"
        ),
        pytest.param(at_cube(width=0.02), Phase.REACH, OPEN, id="closed without the cube"),
        pytest.param(
            world(x=0.45, y=-0.3, z=0.07, width=EDGE, cube=(0.45, -0.3, 0.07)), Phase.RELEASE, OPEN, id="low over bin"
        ),
        pytest.param(
            world(x=0.45, y=-0.25, z=0.12, width=EDGE, cube=(0.45, -0.25, 0.12)), Phase.CARRY, CLOSED, id="above it"
        ),
        pytest.param(world(x=0.45, y=-0.3, z=0.07, cube=(0.45, -0.3, 0.033)), Phase.RETREAT, OPEN, id="let go"),
        pytest.param(world(cube=(0.4, -0.25, 0.033)), Phase.RETREAT, OPEN, id="done, wherever the arm is"),
    ],
)
def test_the_phase_follows_from_the_state(state: World, phase: Phase, grip: float) -> None:
    assert decide(state) == (phase, grip)


def test_a_failed_grasp_opens_and_goes_up_before_it_goes_sideways() -> None:
    doing = act(at_cube(aside=0.04, width=0.0), LAYOUT, MOTION)
    assert doing.phase is Phase.REACH
    assert doing.grip == OPEN
    assert doing.velocity[2] > 0.0
    assert math.hypot(*doing.velocity[:2]) < 1e-9


def test_fingers_that_are_not_open_stay_above_the_cube() -> None:
    assert act(at_cube(EDGE, width=EDGE), LAYOUT, MOTION).velocity[2] >= 0.0
    assert act(at_cube(EDGE), LAYOUT, MOTION).velocity[2] < -0.1


def test_a_gripped_cube_goes_up_before_it_goes_sideways_or_turns() -> None:
    doing = act(at_cube(width=EDGE), LAYOUT, MOTION)
    assert doing.velocity[:2] == (0.0, 0.0)
    assert doing.velocity[2] == pytest.approx(MOTION.contact_speed)
    assert doing.yaw_rate == 0.0


def test_the_arm_waits_until_the_fingers_let_go() -> None:
    over = world(x=0.45, y=-0.3, z=MOTION.release, cube=(0.45, -0.3, 0.033), width=EDGE + 0.001)
    assert act(over, LAYOUT, MOTION).velocity == (0.0, 0.0, 0.0)
    assert act(replace(over, width=EDGE + 0.01), LAYOUT, MOTION).velocity[2] > 0.0


@given(cube_yaw=yaws, tool_yaw=st.floats(-1.5, 1.5))
@settings(max_examples=200, deadline=None)
def test_the_wrist_takes_the_nearest_side_of_the_cube(cube_yaw: float, tool_yaw: float) -> None:
    yaw = nearest_yaw(cube_yaw, tool_yaw)
    assert abs(yaw) <= 60.0 * DEGREE + 1e-9
    quarters = (yaw - cube_yaw) / (90.0 * DEGREE)
    assert quarters == pytest.approx(round(quarters), abs=1e-6)
    others = [yaw - 90.0 * DEGREE, yaw + 90.0 * DEGREE]
    allowed = [other for other in others if abs(other) <= 60.0 * DEGREE - 1e-9]
    assert all(abs(yaw - tool_yaw) <= abs(other - tool_yaw) + 1e-9 for other in allowed)


def test_the_wrist_keeps_its_side_when_the_cube_turns_a_little_past_45_degrees() -> None:
    assert nearest_yaw(46.0 * DEGREE, 44.0 * DEGREE) == pytest.approx(46.0 * DEGREE)
    assert nearest_yaw(46.0 * DEGREE, 0.0) == pytest.approx(-44.0 * DEGREE)


@given(place=tools, yaw=yaws, width=st.floats(0.0, OPEN), cube=cubes, cube_yaw=yaws)
@settings(max_examples=200, deadline=None)
def test_no_state_is_faster_than_the_limits(
    place: tuple[float, float, float],
    yaw: float,
    width: float,
    cube: tuple[float, float, float],
    cube_yaw: float,
) -> None:
    doing = act(World(*place, yaw, width, cube, cube_yaw, HOME.bin), LAYOUT, MOTION)
    assert math.hypot(*doing.velocity) <= MOTION.speed + 1e-9
    assert abs(doing.yaw_rate) <= MOTION.yaw_speed
    assert doing.grip in (OPEN, CLOSED)


@given(place=tools, yaw=st.floats(-1.0, 1.0), width=st.floats(0.0, OPEN), cube=cubes, cube_yaw=yaws)
@example(place=(0.5, 0.0, 0.0125), yaw=0.0, width=0.0625, cube=(0.5, 0.0, REST), cube_yaw=0.0)  # gripped low
@settings(max_examples=40, deadline=None)
def test_following_the_field_puts_the_cube_into_the_bin_from_anywhere(
    place: tuple[float, float, float],
    yaw: float,
    width: float,
    cube: tuple[float, float, float],
    cube_yaw: float,
) -> None:
    state = World(*place, yaw, width, cube, cube_yaw, HOME.bin)
    phases = []
    for _ in range(int(15.0 / 0.02)):
        doing = act(state, LAYOUT, MOTION)
        advance(state, doing, LAYOUT, 0.02)
        phases.append(doing.phase)
        if doing.phase is Phase.RETREAT and state.z > 0.2:
            break
    assert phases[-1] is Phase.RETREAT
    assert state.cube[2] == pytest.approx(LAYOUT.floor + REST)
    order = [phase for i, phase in enumerate(phases) if i == 0 or phase is not phases[i - 1]]
    assert order[-3:] == [Phase.CARRY, Phase.RELEASE, Phase.RETREAT]


def test_a_crooked_cube_is_put_down_with_closed_fingers_and_let_go_on_the_table() -> None:
    state = at_cube(width=0.058, z=0.1, cube=(*HOME.cube[:2], 0.1), yaw=HOME.cube_yaw + 0.3)
    heights = []
    for _ in range(200):
        doing = act(state, LAYOUT, MOTION)
        if doing.phase is not Phase.LOWER:
            break
        heights.append(state.cube[2])
        assert doing.grip == CLOSED
        assert doing.velocity[2] < 0.0
        assert doing.velocity[:2] == (0.0, 0.0)
        advance(state, doing, LAYOUT, 0.02)
    assert heights == sorted(heights, reverse=True)
    assert state.cube[2] <= REST + MOTION.lifted
    assert act(state, LAYOUT, MOTION).grip == OPEN
