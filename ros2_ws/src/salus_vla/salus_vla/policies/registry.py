"""Policies by name: what `--policy` and the `policy` parameter choose from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from salus_vla.config.paths import cache_dir, models_dir
from salus_vla.config.policy_options import BUILTIN_COMPACT, BUILTIN_TINY, MANIFEST, POLICIES
from salus_vla.config.policy_settings import DEFAULTS
from salus_vla.config.scene import Scene
from salus_vla.contract.errors import ModelError
from salus_vla.policies.base import ReferencedPolicy
from salus_vla.policies.hold import HoldPolicy

_TINY_MEMBERS, _TINY_SEED = 5, 0


def make_policy(
    name: str,
    *,
    scene: Scene | None = None,
    members: Sequence[str] = DEFAULTS.members,
    device: str = DEFAULTS.device,
    devices: Sequence[str] = DEFAULTS.devices,
    mode: str = DEFAULTS.mode,
    dtype: str = DEFAULTS.dtype,
    noise_samples: int = DEFAULTS.noise_samples,
    allow_identical_experts: bool = DEFAULTS.allow_identical_experts,
    cut_task: bool = DEFAULTS.cut_task,
    cameras: Sequence[str] = DEFAULTS.cameras,
) -> ReferencedPolicy:
    """Makes a policy.

    Args:
        name: one of `POLICIES`.
        scene: sizes and home pose; the expert's only, which needs it.
        members: see `expand_members`; the ensemble's only.
        device: where the ensemble runs.
        devices: spreads its members over these instead; several may stand in one text, separated by commas.
        mode: how it runs, one of `MODES`.
        dtype: what it computes in, one of `DTYPES`, see `choose_dtype`.
        noise_samples: flow-matching noise samples per member.
        allow_identical_experts: see `load_ensemble`.
        cut_task: accept an instruction of which only the beginning is read.
        cameras: what the ensemble calls this robot's cameras, `front=camera1` and so on.

    Raises:
        ModelError: unknown name, the ensemble cannot be loaded, or the expert has no scene.
        SimulatorError: the expert's model of the arm cannot be built.
    """
    if name == "hold":
        return HoldPolicy()
    if name == "expert":
        if scene is None:
            raise ModelError("policy 'expert' needs the scene: its poses, sizes and rates")
        # A graph with another policy does without mujoco here.
        from salus_vla.policies.scripted.scripted_policy import ScriptedPolicy

        return ScriptedPolicy(scene)
    if name != "ensemble":
        raise ModelError(f"policy '{name}' is not known; expected one of {', '.join(POLICIES)}")
    # torch and lerobot take seconds to import; a graph without the ensemble does without them.
    from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy

    return EnsemblePolicy(
        expand_members(members),
        device=device,
        devices=_parts(devices),
        mode=mode,
        dtype=dtype,
        noise_samples=noise_samples,
        allow_identical_experts=allow_identical_experts,
        cut_task=cut_task,
        cameras=cameras,
        model_folder=model_folder(members),
    )


def model_folder(entries: Sequence[str]) -> Path | None:
    """The model folder that the entries name when it is all they name (see `expand_members`), otherwise None."""
    parts = _parts(entries)
    folder = _folder(parts[0]) if len(parts) == 1 else None
    return folder if folder is not None and (folder / MANIFEST).is_file() else None


def expand_members(entries: Sequence[str]) -> list[str]:
    """Members as folders or Hub names.

    Args:
        entries: a member's folder, a Hub name, a folder made by `salus model init` or `salus train` (all its members),
            `builtin:compact` (the trained ensemble that comes with SALUS) or `builtin:tiny` (an untrained one, made in
            the cache on first use). Several may stand in one text, separated by commas.

    Raises:
        ModelError: the manifest of a model folder is broken.
    """
    names: list[str] = []
    for entry in _parts(entries):
        folder = _folder(entry)
        manifest = folder / MANIFEST
        if not manifest.is_file():
            names.append(entry)
            continue
        try:
            members = json.loads(manifest.read_text(encoding="utf-8"))["members"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelError(f"{manifest}: expected a JSON object with a list 'members' ({error})") from error
        if not isinstance(members, list) or not all(name and isinstance(name, str) for name in members):
            raise ModelError(f"{manifest}: members is {members!r:.80}, expected a list of folders")
        names += [str(folder / name) for name in members]
    return names


def _parts(entries: Sequence[str]) -> list[str]:
    return [part.strip() for text in entries for part in text.split(",") if part.strip()]


def _folder(entry: str) -> Path:
    if entry == BUILTIN_COMPACT:
        return models_dir() / "compact"
    return _builtin_tiny() if entry == BUILTIN_TINY else Path(entry).expanduser()


def _builtin_tiny() -> Path:
    folder = cache_dir() / "models" / f"tiny-{_TINY_MEMBERS}-seed{_TINY_SEED}"
    if not (folder / MANIFEST).is_file():
        from salus_vla.policies.smolvla.init.model_init import init_model

        try:
            init_model(folder, size="tiny", members=_TINY_MEMBERS, seed=_TINY_SEED)
        except ModelError:
            if not (folder / MANIFEST).is_file():  # else another process was faster and made the same
                raise
    return folder
