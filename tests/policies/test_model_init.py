"""`salus model init`: real LeRobot checkpoints, the same for the same seed, whole or not there."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file

from salus_vla.contract.errors import ModelError
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.init import model_init
from salus_vla.policies.smolvla.init.model_init import init_model
from salus_vla.policies.smolvla.loading.checkpoint import VLM_PREFIX, load_ensemble


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _weights(folder: Path, member: int) -> dict[str, torch.Tensor]:
    return load_file(folder / f"member_{member}" / "model.safetensors")


def test_same_seed_gives_the_same_bytes_and_leaves_the_callers_random_numbers(model: Path, tmp_path: Path) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    init_model(tmp_path / "again", size="tiny", members=2, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert _digests(tmp_path / "again") == _digests(model)


def test_another_seed_gives_other_weights_for_every_member(model: Path, tmp_path: Path) -> None:
    init_model(tmp_path / "other", size="tiny", members=2, seed=4)
    hashes = [load_ensemble(expand_members([str(folder)])).hashes for folder in (model, tmp_path / "other")]
    assert len({*hashes[0], *hashes[1]}) == 4  # also not the members of the next seed, shifted by one
    key = f"{VLM_PREFIX}model.text_model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(_weights(model, 0)[key], _weights(tmp_path / "other", 0)[key])


def test_a_member_is_the_same_in_a_smaller_ensemble(model: Path, tmp_path: Path) -> None:
    init_model(tmp_path / "one", size="tiny", members=1, seed=3)
    assert _digests(tmp_path / "one" / "member_0") == _digests(model / "member_0")


def test_members_differ_in_the_expert_and_share_the_vlm_bit_for_bit(model: Path) -> None:
    one, two = _weights(model, 0), _weights(model, 1)
    assert one.keys() == two.keys()
    for key in one:
        if key.startswith(VLM_PREFIX) or "norm" in key:  # norms start at one
            assert torch.equal(one[key], two[key]), key
        else:
            assert not torch.equal(one[key], two[key]), key


def test_lerobot_itself_loads_a_member_offline(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = model / "member_1"
    monkeypatch.chdir(member)  # LeRobot resolves the stored ../vlm against the working directory
    policy = SmolVLAPolicy.from_pretrained(member, strict=True)
    preprocessor, postprocessor = make_pre_post_processors(policy.config, str(member))
    batch = preprocessor(
        {
            "observation.state": torch.zeros(8),
            "task": "pick up the red cube",
            **{f"observation.images.{camera}": torch.rand(3, 64, 64) for camera in ("front", "side", "top")},
        }
    )
    chunk = postprocessor(policy.predict_action_chunk(batch))
    assert chunk.shape == (1, 16, 8)
    assert bool(chunk.isfinite().all())


def test_a_moved_model_still_loads_to_the_same_weights(model: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(model, moved)
    before, after = (load_ensemble(expand_members([str(folder)])) for folder in (model, moved))
    assert after.hashes == before.hashes
    assert after.vlm_hashes == before.vlm_hashes
    assert str(tmp_path / "elsewhere") in after.config.vlm_model_name


def test_no_file_contains_a_path_of_this_machine(model: Path) -> None:
    for path in model.rglob("*.json"):
        assert str(model.parent) not in path.read_text(encoding="utf-8"), path


def test_init_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    init_model(tmp_path / "model", size="tiny", members=1, seed=0)
    assert capfd.readouterr().out == ""


def test_manifest_names_the_members(model: Path) -> None:
    manifest = json.loads((model / "salus_model.json").read_text(encoding="utf-8"))
    assert manifest == {"size": "tiny", "members": ["member_0", "member_1"], "seed": 3, "trained": False}
    assert expand_members([str(model)]) == [str(model / "member_0"), str(model / "member_1")]


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "used"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ModelError, match="not an empty folder"):
        init_model(folder, size="tiny", members=1, seed=0)
    with pytest.raises(ModelError, match="not an empty folder"):
        init_model(folder / "notes.txt", size="tiny", members=1, seed=0)
    assert _digests(tmp_path).keys() == {"used/notes.txt"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    members = init_model(tmp_path / "empty", size="tiny", members=1, seed=0)
    assert members == [tmp_path / "empty" / "member_0"]
    assert (members[0] / "model.safetensors").is_file()


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_init, "save_member", full_disk)
    with pytest.raises(ModelError, match="No space left"):
        init_model(tmp_path / "model", size="tiny", members=1, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_a_slower_process_does_not_replace_the_model_of_a_faster_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    save = model_init.save_member

    def faster_one(*arguments: object) -> None:
        save(*arguments)
        folder.mkdir()
        (folder / "salus_model.json").write_text("{}", encoding="utf-8")

    monkeypatch.setattr(model_init, "save_member", faster_one)
    with pytest.raises(ModelError, match="cannot be written"):
        init_model(folder, size="tiny", members=1, seed=0)
    assert _digests(tmp_path).keys() == {"model/salus_model.json"}


@pytest.mark.parametrize(
    ("size", "members", "named"), [("huge", 1, "huge.*tiny, compact, full"), ("tiny", 0, "members 0")]
)
def test_wrong_arguments_are_named(tmp_path: Path, size: str, members: int, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        init_model(tmp_path / "model", size=size, members=members, seed=0)
