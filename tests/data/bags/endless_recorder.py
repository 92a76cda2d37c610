"""Records an episode that never ends, and says after each message how many there are: to be killed by a test.

Arguments: folder of a new run.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import count
from pathlib import Path

from salus_vla.contract import CLOCK, EPISODE, JOINT_STATES, SAFETY_SIGNALS
from salus_vla.data.bags.episode_recorder import EpisodeRecorder
from salus_vla.data.bags.open_episode import EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.run_folder import RunFolder
from samples import FRAME_NS, IMAGE, clock, episode, image, joints, message_types, signals

START = 1_000_000_000
TOPICS = (CLOCK, JOINT_STATES, IMAGE, SAFETY_SIGNALS, EPISODE)


def main() -> None:
    types = message_types()
    path = Path(sys.argv[1])
    run = RunFolder.create(path.parent, path.name, provenance={"git": "abc"}, arguments={})
    recorder = EpisodeRecorder(run, TOPICS, types, partial(open_writer, backend="mcap", types=types))
    recorder.start(EpisodeMeta(42, 7, "lift", "hold"), {"git": "abc"})
    recorder.on_message(EPISODE.name, episode(START, 0, 42), 1)
    recorder.begin(START)
    written = 1
    for frame in count():
        now = START + frame * FRAME_NS
        messages = [(CLOCK.name, clock(now)), (JOINT_STATES.name, joints(now))]
        if frame % 5 == 0:
            messages += [
                (IMAGE.name, image(now, 128)),
                (SAFETY_SIGNALS.name, signals(now)),
            ]
        for name, data in messages:
            recorder.on_message(name, data, frame)
            written += 1
            print(written, flush=True)


if __name__ == "__main__":
    main()
