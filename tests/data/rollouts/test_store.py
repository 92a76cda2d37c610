"""Files of episodes: everything comes back, any damage is found, other tools can look into them."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from stored import stored

from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.rollouts.checksummed import pack, unpack
from salus_vla.data.rollouts.image_codec import ImageCompressor
from salus_vla.data.rollouts.rollout_store import (
    StoredEpisode,
    decode,
    encode,
    episode_file,
    is_rollout_run,
    read_episode,
    read_run,
    read_summary,
)
from written import write_episode

ARRAYS = [item.name for item in fields(StoredEpisode) if item.name not in {"images"}]
DATA = encode(stored(), "here")


def assert_equal(one: StoredEpisode, two: StoredEpisode) -> None:
    assert one.summary == two.summary
    for name in ARRAYS:
        first, second = getattr(one, name), getattr(two, name)
        if isinstance(first, np.ndarray):
            assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second, err_msg=name)
    assert one.images.keys() == two.images.keys()
    for camera, pictures in one.images.items():
        np.testing.assert_array_equal(np.array(list(pictures)), np.array(list(two.images[camera])))


@pytest.mark.parametrize("observations", [1, 2, 5])
@pytest.mark.parametrize("size", [(6, 8), (1, 1), None])
def test_everything_comes_back(tmp_path: Path, observations: int, size: tuple[int, int] | None) -> None:
    episode = stored(observations=observations, size=size)
    file = tmp_path / episode_file(episode.seed)
    write_episode(file, episode)
    assert [path.name for path in tmp_path.iterdir()] == ["seed_000007.safetensors"]
    assert_equal(episode, read_episode(file))
    assert read_summary(file) == episode.summary


def test_reading_and_writing_again_gives_the_same_bytes() -> None:
    assert encode(decode(DATA, "here"), "there") == DATA


def test_what_is_read_can_be_changed() -> None:
    episode = decode(DATA, "here")
    episode.joint_position[0, 0] = 1.0
    picture = episode.images["top"][0]
    picture[:] = 0
    assert episode.images["top"][0].any()


TAKEN = {
    "taken_over": np.array([0, 0, 1, 1], dtype=np.uint8),
    "taken_over_ns": 200_000_000,
    "taken_over_by": "expert",
    "taken_over_when": "stuck",
}


def test_who_acted_comes_back(tmp_path: Path) -> None:
    episode = replace(stored(), **TAKEN)
    write_episode(tmp_path / "x.safetensors", episode)
    read = read_episode(tmp_path / "x.safetensors")
    assert_equal(episode, read)
    assert (read.taken_over_ns, read.taken_over_by, read.taken_over_when) == (200_000_000, "expert", "stuck")
    assert read.frames_taken_over.tolist() == [False] * 10 + [True] * 5
    assert not stored().frames_taken_over.any()


def test_who_acted_must_be_said_of_every_decision() -> None:
    with pytest.raises(RecordingError, match=r"here: taken_over is uint8 \(3,\), expected uint8 \(4,\)"):
        encode(replace(stored(), **{**TAKEN, "taken_over": np.zeros(3, dtype=np.uint8)}), "here")


def test_derived_values() -> None:
    episode = stored()
    assert episode.state.shape == (4, 8)
    np.testing.assert_array_equal(episode.state[:, :7], episode.joint_position[:, :7])
    np.testing.assert_allclose(episode.state[:, 7], episode.joint_position[:, 7] + episode.joint_position[:, 8])
    assert np.diff(episode.frame_stamps_ns).tolist() == [20_000_000] * 15


def test_other_tools_read_the_arrays(tmp_path: Path) -> None:
    episode = stored()
    write_episode(tmp_path / "x.safetensors", episode)
    tensors = load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(tensors["signals"], episode.signals)
    np.testing.assert_array_equal(tensors["valid"], episode.valid)
    assert tensors["images.front.ends"][-1] == len(tensors["images.front.zstd"])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_is_found(place: int, change: int) -> None:
    damaged = bytearray(DATA)
    damaged[place] ^= change
    with pytest.raises(RecordingError, match="here"):
        decode(bytes(damaged), "here")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.binary(max_size=40))
def test_a_cut_or_replaced_end_is_found(place: int, tail: bytes) -> None:
    damaged = DATA[:place] + tail
    if damaged != DATA:
        with pytest.raises(RecordingError, match="here"):
            decode(damaged, "here")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_no_episode(data: bytes) -> None:
    with pytest.raises(RecordingError, match="here"):
        decode(data, "here")


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(["summary", "pictures", "format"]),
)
def test_a_whole_file_with_other_facts_is_no_episode(value: object, key: str) -> None:
    assume((key, value) != ("pictures", {}))  # an episode without images
    facts, arrays = unpack(DATA, "here")
    with pytest.raises(RecordingError, match="here"):
        decode(pack({**facts, key: value}, arrays), "here")


@pytest.mark.parametrize("name", ["signals", "stamps_ns", "member_actions", "images.front.ends", "images.front.zstd"])
def test_a_whole_file_without_an_array_is_no_episode(name: str) -> None:
    facts, arrays = unpack(DATA, "here")
    del arrays[name]
    with pytest.raises(RecordingError, match="here"):
        decode(pack(facts, arrays), "here")


def test_a_whole_file_with_wrong_pictures_fails_where_they_are_read() -> None:
    facts, arrays = unpack(DATA, "here")
    arrays["images.top.zstd"] = np.zeros_like(arrays["images.top.zstd"])
    episode = decode(pack(facts, arrays), "here")
    with pytest.raises(RecordingError, match=r"here: camera 'top': picture 1 is damaged|picture 0 is damaged"):
        _ = episode.images["top"][1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("signals", np.zeros((4, 11), np.float32)),
        ("signals", np.zeros((4, 12), np.float64)),
        ("commands", np.zeros((14, 9))),
        ("frame_position", np.zeros((15, 9))),
        ("planned", np.zeros((3, 8))),
        ("member_actions", np.zeros((4, 7), np.float32)),
        ("stamps_ns", np.zeros(0, np.int64)),
    ],
)
def test_a_wrong_array_is_not_written(tmp_path: Path, name: str, value: np.ndarray) -> None:
    with pytest.raises(RecordingError, match=r"x\.safetensors: \w+ is"):
        write_episode(tmp_path / "x.safetensors", replace(stored(), **{name: value}))
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_number_of_pictures_is_not_written(tmp_path: Path) -> None:
    episode = stored()
    episode.images["top"].pop()  # type: ignore[attr-defined]
    with pytest.raises(RecordingError, match="camera 'top' has 3 pictures, expected 4"):
        write_episode(tmp_path / "x.safetensors", episode)


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 5, 3), np.uint8)]
)
def test_pictures_of_other_shapes_or_types_are_refused(picture: np.ndarray) -> None:
    compressor = ImageCompressor()
    compressor.add(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(RecordingError, match="a picture"):
        compressor.add(picture)
    with pytest.raises(RecordingError, match="without any picture"):
        ImageCompressor().finish()


def test_pictures_are_a_sequence() -> None:
    pictures = decode(DATA, "here").images["side"]
    expected = stored().images["side"]
    np.testing.assert_array_equal(pictures[-1], expected[-1])
    np.testing.assert_array_equal(np.array(pictures[1:3]), np.array(expected[1:3]))
    with pytest.raises(IndexError):
        _ = pictures[4]


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    for read in (read_episode, read_summary):
        with pytest.raises(RecordingError, match="missing"):
            read(tmp_path / "missing.safetensors")
    with pytest.raises(RecordingError, match="nowhere"):
        write_episode(tmp_path / "nowhere" / "x.safetensors", stored())


def test_a_summary_needs_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA[:-1])
    with pytest.raises(RecordingError, match="expected"):
        read_summary(tmp_path / "x")


def test_only_runs_of_rollouts_are_read(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "bags", provenance={}, arguments={}).close()
    assert not is_rollout_run(tmp_path / "bags")
    with pytest.raises(RecordingError, match="bags: is not a run of `salus rollout`"):
        read_run(tmp_path / "bags")
