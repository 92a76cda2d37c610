"""Writes a LeRobotDataset v3: LeRobot's own metadata, the data as LeRobot's recorder lays them out.

    meta/info.json                    features, rates, counts
    meta/stats.json                   over all frames
    meta/tasks.parquet                task texts
    meta/episodes/chunk-*/file-*      one row per episode: frames, files, statistics, and salus/* (see EPISODE_COLUMNS)
    data/chunk-*/file-*.parquet       one row per frame, one row group per episode; PNGs inside
    videos/CAMERA/chunk-*/file-*.mp4  with video only, one file per episode

The files depend on the episodes alone: no times, paths or host names are in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lerobot.configs import rgb_encoder_defaults
from lerobot.datasets import LeRobotDatasetMetadata
from lerobot.datasets.feature_utils import get_hf_features_from_features
from lerobot.datasets.io_utils import write_stats
from lerobot.datasets.utils import update_chunk_file_indices
from numpy.typing import NDArray

from salus_vla.data.lerobot.dataset_images import FPS
from salus_vla.data.lerobot.dataset_info import CUBE_KEY, EPISODE_COLUMNS, POSE_NAMES, ROBOT_TYPE, VECTOR_NAMES
from salus_vla.data.lerobot.prepare import Prepared
from salus_vla.data.lerobot.statistics import column_statistics, image_statistics
from salus_vla.policies.smolvla.features import ACTION_KEY, STATE_DIM, STATE_KEY, image_key

_MIB = 2**20


class DatasetWriter:
    """Writes prepared episodes one after the other."""

    def __init__(
        self,
        root: Path,
        repo_id: str,
        stored: dict[str, tuple[int, int]],
        *,
        video: bool,
        ground_truth: bool = False,
        states: Mapping[str, int] | None = None,
    ) -> None:
        """Creates the folder.

        Args:
            root: must not exist.
            repo_id: name that LeRobot's classes ask for; not in any file.
            stored: camera -> height and width of its images [px].
            video: whether images come as video.
            ground_truth: whether episodes come with the cube's pose.
            states: hidden states that episodes come with, and their sizes.
        """
        vector = {"dtype": "float32", "shape": (STATE_DIM,), "names": list(VECTOR_NAMES)}
        features: dict[str, Any] = {STATE_KEY: dict(vector), ACTION_KEY: dict(vector)}
        if ground_truth:
            features[CUBE_KEY] = {"dtype": "float32", "shape": (len(POSE_NAMES),), "names": list(POSE_NAMES)}
        for key, size in (states or {}).items():
            features[key] = {"dtype": "float32", "shape": (size,), "names": None}
        for camera, shape in stored.items():
            features[image_key(camera)] = {
                "dtype": "video" if video else "image",
                "shape": (*shape, 3),
                "names": ["height", "width", "channels"],
            }
        self._meta = LeRobotDatasetMetadata.create(
            repo_id, FPS, features, robot_type=ROBOT_TYPE, root=root, use_videos=video
        )
        self._root = root
        self._video = video
        self._schema: pa.Schema = get_hf_features_from_features(self._meta.features).arrow_schema
        self._file: pq.ParquetWriter | None = None
        self._file_bytes = 0
        self._place = (0, 0)  # chunk and file of the data

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return int(self._meta.total_frames)

    @property
    def episodes(self) -> int:
        """Episodes written so far."""
        return int(self._meta.total_episodes)

    def add(self, episode: Prepared, weight: float = 1.0) -> None:
        """Appends an episode, whose frames have this weight when they are learned from."""
        meta, source, summary = self._meta, episode.source, episode.source.summary
        index, first, count = meta.total_episodes, meta.total_frames, len(episode.state)
        meta.save_episode_tasks([summary.task])
        columns = _columns(episode, index, first, int(meta.get_task_index(summary.task)))
        statistics = column_statistics(columns, meta.features)
        for camera, values in episode.values.items():
            statistics[image_key(camera)] = image_statistics(values, count)
        where = self._write_videos(episode, index) if self._video else {}
        chunk, file = self._write_data(columns, {} if self._video else episode.pictures)
        where_from = (summary.outcome.name, summary.seed, summary.profile, episode.policy, source.run, source.name)
        facts = (*where_from, episode.recovery, weight)
        row = {
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": first,
            "dataset_to_index": first + count,
            **where,
            **dict(zip(EPISODE_COLUMNS, facts, strict=True)),
        }
        meta.save_episode(index, count, [summary.task], statistics, row)

    def close(self) -> None:
        """Completes the files."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._meta.finalize()
        # LeRobot keeps them in the order of a set, another in each process.
        write_stats(dict(sorted((self._meta.stats or {}).items())), self._root)

    def abandon(self) -> None:
        """Lets go of the files of an export that failed: LeRobot would make them again when it is collected."""
        with suppress(Exception):  # the folder is thrown away, and the reason for that is being raised
            if self._file is not None:
                self._file.close()
            self._meta.finalize()

    def _write_data(self, columns: dict[str, NDArray[Any]], pictures: dict[str, list[bytes]]) -> tuple[int, int]:
        """Writes the frames of an episode as one row group; gives chunk and file."""
        rows: dict[str, Any] = {name: column.tolist() for name, column in columns.items()}
        for camera, encoded in pictures.items():
            rows[image_key(camera)] = [{"bytes": data, "path": None} for data in encoded]
        table = pa.Table.from_pydict(rows, schema=self._schema)
        if self._file is not None and self._file_bytes + table.nbytes > self._meta.data_files_size_in_mb * _MIB:
            self._file.close()
            self._file, self._file_bytes = None, 0
            self._place = update_chunk_file_indices(*self._place, self._meta.chunks_size)
        if self._file is None:
            path = self._root / self._meta.data_path.format(chunk_index=self._place[0], file_index=self._place[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(path, self._schema, compression="snappy", use_dictionary=list(columns))
        self._file.write_table(table)
        self._file_bytes += table.nbytes
        return self._place

    def _write_videos(self, episode: Prepared, index: int) -> dict[str, Any]:
        """Writes a file per camera; gives the columns that say where."""
        chunk, file = divmod(index, self._meta.chunks_size)
        where: dict[str, Any] = {}
        for camera, (data,) in episode.pictures.items():
            key = image_key(camera)
            path = self._root / str(self._meta.video_path).format(video_key=key, chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if index == 0:
                self._meta.update_video_info(key, video_encoder=rgb_encoder_defaults())
            where |= {
                f"videos/{key}/chunk_index": chunk,
                f"videos/{key}/file_index": file,
                f"videos/{key}/from_timestamp": 0.0,
                f"videos/{key}/to_timestamp": len(episode.state) / FPS,
            }
        return where


def _columns(episode: Prepared, index: int, first: int, task: int) -> dict[str, NDArray[Any]]:
    """The columns of numbers of an episode's frames, as stored."""
    number = np.arange(len(episode.state))
    return {
        STATE_KEY: episode.state,
        ACTION_KEY: episode.action,
        **({} if episode.cube is None else {CUBE_KEY: episode.cube}),
        **episode.states,
        "timestamp": (number / FPS).astype(np.float32),
        "frame_index": number,
        "episode_index": np.full_like(number, index),
        "index": first + number,
        "task_index": np.full_like(number, task),
    }
