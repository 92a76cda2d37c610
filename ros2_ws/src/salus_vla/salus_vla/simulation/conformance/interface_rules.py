"""Rules of names, types, QoS, rates and stamps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from salus_vla import contract
from salus_vla.contract import CAMERAS, SIMULATOR_TOPICS, Service, Topic
from salus_vla.simulation.conformance.causes import silence, stand_still
from salus_vla.simulation.conformance.observed import Endpoint, Observed
from salus_vla.simulation.conformance.verdict import Verdict

STAMP_TOLERANCE_NS = 1_000  # times are floats in some simulators
MIN_STAMPS = 3
NOTHING = "nothing came"


def interface_verdicts(seen: Observed) -> Iterator[Verdict]:
    """Every topic and service: who publishes, reads and offers it, and how."""
    for topic in SIMULATOR_TOPICS:
        yield _published(seen, topic)
    command = contract.JOINT_COMMAND
    yield Verdict(
        f"reads {command.name}",
        _endpoint_text(Endpoint(command.type, True, False, "")),
        ", ".join(map(_endpoint_text, seen.command_readers)) or "no subscriber",
        any(_fits(endpoint, command) for endpoint in seen.command_readers),
    )
    for service in (contract.SIM_RESET, contract.SIM_SET_PARAMETERS):
        yield _offered(seen, service)


def rate_verdicts(seen: Observed) -> Iterator[Verdict]:
    """Every topic with a rate, in sim time and never in wall time."""
    for topic in SIMULATOR_TOPICS:
        if topic.rate_hz is not None and not topic.optional:
            yield _rate(seen, topic)


def stamp_verdicts(seen: Observed) -> Iterator[Verdict]:
    """Stamps of one topic against those of another, and over resets."""
    for camera in CAMERAS:
        pair = (contract.image_topic(camera), contract.camera_info_topic(camera))
        images, infos = (set(seen.stamps.get(topic.name, ())) for topic in pair)
        # At each end one of the two may have come alone.
        inner = {stamp for stamp in images if infos and min(infos) <= stamp <= max(infos)}
        without = len(inner - infos)
        yield Verdict(
            f"image and camera_info {camera}",
            "the same stamps",
            f"{without} of {len(inner)} images without" if inner else NOTHING,
            bool(inner) and without == 0,
        ).behind(silence(seen, *pair))
    yield _matched_joints(seen)
    yield _clock(seen)
    topics = {topic.name: topic for topic in SIMULATOR_TOPICS}
    for name, stamps in sorted(seen.all_stamps.items()):
        steps = np.diff(np.asarray(stamps, dtype=np.int64))
        back = int((steps < 0).sum())
        repeated = int((steps == 0).sum())
        # An image that is sent again is for its reader to drop; every other stamp advances.
        may_repeat = name.startswith("/camera_") or name == contract.CONTACT.name
        found = f"{len(stamps)} stamps, {back} jump back, {repeated} repeated" if len(stamps) else NOTHING
        kept = len(stamps) > 1 and not back and (may_repeat or not repeated)
        cause = silence(seen, topics[name]) if topics[name].rate_hz is not None else "contact after a reset"
        if len(seen.publishers.get(name, ())) > 1 and not back:  # each stamp of each of them
            cause = f"topic {name}"
        verdict = Verdict(f"monotonic {name}", "no stamp jumps back, also at a reset", found, kept)
        yield verdict.behind(cause if not back or not len(stamps) else "")


def _published(seen: Observed, topic: Topic) -> Verdict:
    found = seen.publishers.get(topic.name, ())
    expected = _endpoint_text(Endpoint(topic.type, True, topic.qos.latched, ""))
    if topic.optional and not found:
        return Verdict(f"topic {topic.name}", f"{expected}, where installed", "no publisher", None)
    text = ", ".join(map(_endpoint_text, found)) or "no publisher"
    return Verdict(f"topic {topic.name}", expected, text, len(found) == 1 and _fits(found[0], topic))


def _fits(endpoint: Endpoint, topic: Topic) -> bool:
    return (endpoint.type, endpoint.reliable, endpoint.latched) == (topic.type, True, topic.qos.latched)


def _endpoint_text(endpoint: Endpoint) -> str:
    reliability = "reliable" if endpoint.reliable else "best effort"
    return f"{endpoint.type}, {reliability}, {'transient local' if endpoint.latched else 'volatile'}"


def _offered(seen: Observed, service: Service) -> Verdict:
    types = seen.services.get(service.name, ())
    return Verdict(f"service {service.name}", service.type, ", ".join(types) or "not offered", types == (service.type,))


def _rate(seen: Observed, topic: Topic) -> Verdict:
    rule, period_ns = f"rate {topic.name}", round(1e9 / (topic.rate_hz or 1.0))
    expected = f"{topic.rate_hz:g} Hz: stamps {period_ns / 1e6:g} ms apart"
    stamps = _advancing(seen.stamps.get(topic.name, ()))
    published = seen.publishers.get(topic.name, ())
    nobody = "" if published else f"topic {topic.name}"
    if stand_still(came := seen.stamps.get(topic.name, ())):
        text = f"{len(came)} messages, all stamped {came[0] * 1e-9:g} s: the stamps stand still"
        return Verdict(rule, expected, text, False)
    if len(stamps) < MIN_STAMPS:
        return Verdict(rule, expected, f"{len(stamps)} stamps" if stamps else NOTHING, False).behind(nobody)
    steps = np.diff(np.asarray(stamps, dtype=np.int64))
    kept = bool((np.abs(steps - period_ns) <= STAMP_TOLERANCE_NS).all())
    low, high = steps.min() / 1e6, steps.max() / 1e6
    text = f"{low:g} ms" if np.isclose(low, high, atol=STAMP_TOLERANCE_NS / 1e6) else f"{low:g} to {high:g} ms"
    verdict = Verdict(rule, expected, f"{len(stamps)} stamps, {text} apart", kept)
    # What is published best effort may be lost on the way: holes in it are not the simulator's.
    holes = bool((np.abs(steps - np.round(steps / period_ns) * period_ns) <= STAMP_TOLERANCE_NS).all())
    lossy = holes and bool(published) and not any(endpoint.reliable for endpoint in published)
    return verdict.behind(f"topic {topic.name}" if lossy else nobody)


def _advancing(stamps: Sequence[int]) -> list[int]:
    """Without stamps that were sent again."""
    return [stamp for i, stamp in enumerate(stamps) if i == 0 or stamp != stamps[i - 1]]


def _matched_joints(seen: Observed) -> Verdict:
    half_ns = round(0.5e9 / contract.FRAME_HZ)
    joints = np.asarray(seen.stamps.get(contract.JOINT_STATES.name, ()), dtype=np.int64)
    images = {stamp for camera in CAMERAS for stamp in seen.stamps.get(contract.image_topic(camera).name, ())}
    inner = [stamp for stamp in images if len(joints) and joints[0] <= stamp <= joints[-1]]
    without = sum(int(np.abs(joints - stamp).min()) >= half_ns for stamp in inner)
    verdict = Verdict(
        "joints of each image",
        f"/joint_states within {half_ns / 1e6:g} ms of it",
        f"{without} of {len(inner)} images without" if inner else NOTHING,
        bool(inner) and without == 0,
    )
    causes = [silence(seen, contract.image_topic(camera)) for camera in CAMERAS]
    return verdict.behind(silence(seen, contract.JOINT_STATES) or next(filter(None, causes), ""))


def _clock(seen: Observed) -> Verdict:
    frame_ns = round(1e9 / contract.FRAME_HZ)
    newest = [max(seen.stamps.get(topic.name, ()), default=None) for topic in (contract.CLOCK, contract.JOINT_STATES)]
    expected = f"within {2 * frame_ns / 1e6:g} ms of /clock"
    cause = silence(seen, contract.CLOCK, contract.JOINT_STATES)
    if newest[0] is None or newest[1] is None:
        return Verdict("stamps are sim time", expected, NOTHING, False).behind(cause)
    apart_ns = abs(newest[0] - newest[1])
    kept = apart_ns <= 2 * frame_ns
    return Verdict("stamps are sim time", expected, f"{apart_ns / 1e6:g} ms apart", kept).behind(cause)
