"""What vla_ensemble watches: freshness, pictures, rates and latencies of what it takes and gives, as diagnostics."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rclpy.node import Node

from salus_vla.contract import CAMERAS, DECISION_HZ, FRAME_HZ
from salus_vla.control.observations import ObservationMatcher
from salus_vla.frames import FloatArray, ImageArray
from salus_vla.nodes.ensemble_parameters import EnsembleParameters
from salus_vla.watch.meters import LatencyMeter, Level, Part, RateMeter
from salus_vla.watch.pictures import PictureWatch
from salus_vla.watch.watchdog import JOINTS, Watchdog, WatchLimits

_CLOCK, _DECISIONS, _COMMANDS = "clock", "decisions", "commands"


class EnsembleWatch:
    """Feeds the watchdog, the pictures' watch and the meters.

    Attributes:
        dog: latches why the arm has to stop.
        stages: wall time from the first picture of a camera set to the whole observation (receive), of the policy and
            the signals (decide), of a command (publish).
        ignored: messages whose stamp was out of order or far ahead of the clock.
    """

    def __init__(self, node: Node, parameters: EnsembleParameters) -> None:
        """Starts unarmed; a missing clock is waited for from now on."""
        self._node = node
        limits = WatchLimits(
            camera_ns=round(parameters.camera_age_s * 1e9),
            joints_ns=round(parameters.joints_age_s * 1e9),
            chunk_ns=round(parameters.chunk_age_s * 1e9),
            stopped_s=parameters.stopped_s,
            clock_s=parameters.clock_s,
        )
        self.dog = Watchdog(limits, time.monotonic())
        self.stages = {stage: LatencyMeter() for stage in ("receive", "decide", "publish")}
        self.ignored = 0
        self._pictures = PictureWatch()
        self._rates = {camera: RateMeter(DECISION_HZ) for camera in CAMERAS}
        self._rates |= {name: RateMeter(FRAME_HZ) for name in (JOINTS, _CLOCK, _COMMANDS)}
        self._rates[_DECISIONS] = RateMeter(DECISION_HZ)
        self._set_began: float | None = None

    # -- what comes and goes -------------------------------------------------------------------------------------------

    def clock(self, now_ns: int, chunk_age_ns: int | None) -> bool:
        """Judges everything at a new ROS time; whether the clock jumped back."""
        self._rates[_CLOCK].add(now_ns)
        jumped = self.dog.clock(now_ns, time.monotonic(), chunk_age_ns)
        if jumped:
            self._node.get_logger().error("/clock jumped back: everything received so far is forgotten")
            self._set_began = None
        return jumped

    def joints(self, stamp_ns: int, chunk_age_ns: int | None) -> bool:
        """Notes joint states and judges everything at their stamp; False when they must not count."""
        if not self._saw(JOINTS, stamp_ns):
            return False
        self.dog.judge(stamp_ns, chunk_age_ns)
        return True

    def image(self, camera: str, stamp_ns: int, pixels: ImageArray, arm: FloatArray | None) -> bool:
        """Notes a picture and looks at it; False when it must not count."""
        if not self._saw(camera, stamp_ns):
            return False
        if self._set_began is None:
            self._set_began = time.perf_counter()
        before = self._pictures.fault(camera)
        fault = self._pictures.look(camera, stamp_ns, pixels, arm)
        if fault is not before:
            words = f"the pictures are {fault}" if fault else "the pictures are good again"
            self._node.get_logger().warning(f"camera {camera}: {words}, stamp {stamp_ns * 1e-9:.2f} s")
        return True

    def complete(self) -> None:
        """Notes that an observation is complete."""
        if self._set_began is not None:
            self.stages["receive"].add((time.perf_counter() - self._set_began) * 1e3)
        self._set_began = None

    def decided(self, stamp_ns: int, inference_ms: float) -> None:
        """Notes a decision."""
        self._rates[_DECISIONS].add(stamp_ns)
        self.stages["decide"].add(inference_ms)

    def commanded(self, stamp_ns: int, began: float) -> None:
        """Notes a command; `began` is `time.perf_counter()` before it was computed."""
        self._rates[_COMMANDS].add(stamp_ns)
        self.stages["publish"].add((time.perf_counter() - began) * 1e3)

    def _saw(self, source: str, stamp_ns: int) -> bool:
        self._rates[source].add(stamp_ns)
        good = self.dog.saw(source, stamp_ns)
        self.ignored += not good
        return good

    # -- diagnostics ---------------------------------------------------------------------------------------------------

    def parts(
        self,
        now_ns: int,
        running: bool,
        matcher: ObservationMatcher,
        overtaken: int,
        plan_age_ns: int | None,
        commands: Mapping[str, float],
    ) -> list[Part]:
        """Everything to show at ROS time `now_ns`; rates of what only an episode makes are judged when one is running.

        Args:
            now_ns: ROS time [ns].
            running: whether an episode has been running since the last report.
            matcher: counts what did not become an observation.
            overtaken: observations that a newer one replaced before they were decided on.
            plan_age_ns: age of the observation behind the plan in force [ns]; None without a plan.
            commands: further values of that part.
        """
        parts = [self._rates[name].part(name, now_ns) for name in (_CLOCK, JOINTS)]
        parts += [self._camera(camera, now_ns) for camera in CAMERAS]
        decisions: dict[str, float] = {
            "camera_sets_dropped": matcher.dropped,
            "images_repeated": matcher.repeated,
            "decisions_overtaken": overtaken,
        }
        decisions |= {} if plan_age_ns is None else {"plan_age_s": round(plan_age_ns * 1e-9, 4)}
        for name, values in ((_DECISIONS, decisions), (_COMMANDS, commands)):
            part = self._rates[name].part(name, now_ns)
            stages = ("receive", "decide") if name == _DECISIONS else ("publish",)
            latencies = [self.stages[stage].values(stage) for stage in stages]
            shown = {**part.values, **values, **{key: v for stage in latencies for key, v in stage.items()}}
            judged = part if running else Part(name)
            parts.append(Part(name, shown, judged.level, judged.message))
        return [*parts, self._watchdog()]

    def _camera(self, camera: str, now_ns: int) -> Part:
        part = self._rates[camera].part(f"camera {camera}", now_ns)
        fault = self._pictures.fault(camera)
        values = {**part.values, "pictures_faulty": float(fault is not None)}
        if fault is not None and part.level is not Level.WARN:
            return Part(part.name, values, Level.ERROR, f"camera {camera}: the pictures are {fault}")
        return Part(part.name, values, part.level, part.message)

    def _watchdog(self) -> Part:
        dog = self.dog
        values: dict[str, float] = {"clock_jumps_back": dog.jumps, "messages_ignored": self.ignored}
        for source in (JOINTS, *CAMERAS):
            age_ns = dog.age_ns(source)
            if age_ns is not None:
                values[f"age_{source}_s"] = round(age_ns * 1e-9, 4)
        values |= {f"trips_{reason}": count for reason, count in dog.trips.items()}
        if dog.trip is None:
            return Part("watchdog", values)
        return Part("watchdog", values, Level.ERROR, f"{dog.trip.reason}: {dog.trip.detail}")
