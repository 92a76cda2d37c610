"""What vla_ensemble shows of itself in diagnostics: freshness, images, rates and latencies."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rclpy.node import Node

from salus_vla.contract import CAMERAS, DECISION_HZ, FRAME_HZ
from salus_vla.contract.types import FloatArray, ImageArray
from salus_vla.control.authority import Authority
from salus_vla.control.authority_types import Refuse
from salus_vla.control.decision import Decision
from salus_vla.control.watchdog import JOINTS, Refusal
from salus_vla.health.camera_health import CameraHealth
from salus_vla.health.meters import DiagnosticPart, LatencyMeter, Level, RateMeter
from salus_vla.health.refusals import Refusals

_KEPT = 50  # camera sets whose beginning is remembered
_CLOCK, _DECISIONS, _COMMANDS = "clock", "decisions", "commands"


class EnsembleDiagnostics:
    """Feeds the images' watch and the meters, and shows what an authority counts.

    Attributes:
        stages: wall time from the first image of a camera set to the whole observation (receive), of the policy and
            the signals (decide), of publishing a command (publish); and from the first image of a camera set to the
            first command that follows from it (react).
    """

    def __init__(self, node: Node, authority: Authority) -> None:
        """Nothing came yet."""
        self._node, self._authority = node, authority
        self.stages = {stage: LatencyMeter() for stage in ("receive", "decide", "publish", "react")}
        self._pictures = CameraHealth()
        self._rates = {camera: RateMeter(DECISION_HZ) for camera in CAMERAS}
        self._rates |= {name: RateMeter(FRAME_HZ) for name in (JOINTS, _CLOCK, _COMMANDS)}
        self._rates[_DECISIONS] = RateMeter(DECISION_HZ)
        self._refusals = Refusals()
        self._set_began: float | None = None
        self._came: dict[int, float] = {}  # when the first image of a stamp did
        self._answering: float | None = None  # when the observation of the newest decision came, until a command goes
        self._shown_epoch = 0

    # -- what comes and goes -------------------------------------------------------------------------------------------

    def clock(self, now_ns: int, jumped: bool) -> None:
        """Notes a new ROS time, and whether it jumped back."""
        self._rates[_CLOCK].add(now_ns)
        if jumped:
            self._node.get_logger().error("/clock jumped back: everything received so far is forgotten")
            self._set_began = None

    def joints(self, stamp_ns: int) -> None:
        """Notes joint states."""
        self._rates[JOINTS].add(stamp_ns)

    def image(self, camera: str, stamp_ns: int, pixels: ImageArray, arm: FloatArray | None) -> None:
        """Notes an image that counts, and looks at it."""
        self._rates[camera].add(stamp_ns)
        if self._set_began is None:
            self._set_began = time.perf_counter()
        if stamp_ns not in self._came:
            self._came[stamp_ns] = time.perf_counter()
            while len(self._came) > _KEPT:  # not decided on
                del self._came[next(iter(self._came))]
        before = self._pictures.fault(camera)
        fault = self._pictures.look(camera, stamp_ns, pixels, arm)
        if fault is not before:
            words = f"the pictures are {fault}" if fault else "the pictures are good again"
            self._node.get_logger().warning(f"camera {camera}: {words}, stamp {stamp_ns * 1e-9:.2f} s")

    def refused(self, refused: Refuse) -> None:
        """Notes a message whose stamp does not count; what comes before the first clock is no news."""
        if refused.refusal is Refusal.BEFORE_CLOCK:
            return
        words = f"{refused.source}: stamp {refused.stamp_ns * 1e-9:.2f} s is refused, {refused.refusal}"
        if self._refusals.add(refused.source, words, time.monotonic()):
            self._node.get_logger().warning(words)

    def complete(self) -> None:
        """Notes that an observation is complete."""
        if self._set_began is not None:
            self.stages["receive"].add((time.perf_counter() - self._set_began) * 1e3)
        self._set_began = None

    def decided(self, decision: Decision) -> None:
        """Notes a decision."""
        self._rates[_DECISIONS].add(decision.stamp_ns)
        self.stages["decide"].add(decision.inference_ms)
        self._answering = self._came.pop(decision.stamp_ns, None)

    def commanded(self, stamp_ns: int, began: float) -> None:
        """Notes a command; `began` is `time.perf_counter()` before it was published."""
        self._rates[_COMMANDS].add(stamp_ns)
        now = time.perf_counter()
        self.stages["publish"].add((now - began) * 1e3)
        if self._answering is not None:
            self.stages["react"].add((now - self._answering) * 1e3)
            self._answering = None

    # -- diagnostics ---------------------------------------------------------------------------------------------------

    def parts(self, now_ns: int, overtaken: int, holds: Mapping[str, int]) -> list[DiagnosticPart]:
        """Everything to show at ROS time `now_ns` [ns]; rates that only an episode has are judged within one.

        Args:
            now_ns: ROS time [ns].
            overtaken: observations that a newer one replaced before they were decided on.
            holds: times that the node began to hold, by reason.
        """
        authority = self._authority
        judged_now = authority.in_episode and authority.epoch == self._shown_epoch
        self._shown_epoch = authority.epoch
        parts = [self._rates[name].part(name, now_ns) for name in (_CLOCK, JOINTS)]
        parts += [self._camera(camera, now_ns) for camera in CAMERAS]
        age_ns = authority.plan_age_ns(now_ns)
        decisions: dict[str, float] = {
            "camera_sets_dropped": authority.matcher.dropped,
            "images_repeated": authority.matcher.repeated,
            "decisions_overtaken": overtaken,
        }
        decisions |= {} if age_ns is None else {"plan_age_s": round(age_ns * 1e-9, 4)}
        commands: dict[str, float] = {
            "commands_limited": authority.limited,
            "commands_refused": authority.refused,
            "stopped_by_gate": authority.yielded,
            "planned_anew": authority.replanned,
        }
        commands |= {f"holds_{reason}": count for reason, count in holds.items()}
        for name, values in ((_DECISIONS, decisions), (_COMMANDS, commands)):
            part = self._rates[name].part(name, now_ns)
            stages = ("receive", "decide", "react") if name == _DECISIONS else ("publish",)
            latencies = [self.stages[stage].values(stage) for stage in stages]
            shown = {**part.values, **values, **{key: v for stage in latencies for key, v in stage.items()}}
            judged = part if judged_now else DiagnosticPart(name)
            parts.append(DiagnosticPart(name, shown, judged.level, judged.message))
        return [*parts, self._watchdog()]

    def _camera(self, camera: str, now_ns: int) -> DiagnosticPart:
        part = self._rates[camera].part(f"camera {camera}", now_ns)
        fault = self._pictures.fault(camera)
        values = {**part.values, "pictures_faulty": float(fault is not None)}
        if fault is not None and part.level is not Level.WARN:
            return DiagnosticPart(part.name, values, Level.ERROR, f"camera {camera}: the pictures are {fault}")
        return DiagnosticPart(part.name, values, part.level, part.message)

    def _watchdog(self) -> DiagnosticPart:
        dog = self._authority.watchdog
        values: dict[str, float] = {"clock_jumps_back": dog.jumps}
        values |= {f"refused_{reason}": count for reason, count in dog.refused.items()}
        for source in (JOINTS, *CAMERAS):
            age_ns = dog.age_ns(source)
            if age_ns is not None:
                values[f"age_{source}_s"] = round(age_ns * 1e-9, 4)
        values |= {f"trips_{reason}": count for reason, count in dog.trips.items()}
        if dog.trip is None:
            return DiagnosticPart("watchdog", values)
        return DiagnosticPart("watchdog", values, Level.ERROR, f"{dog.trip.reason}: {dog.trip.detail}")
