"""The VLA ensemble as a policy: observation in, chunks of all members in radians out."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import lerobot
import numpy as np
import torch

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import FloatArray, Observation, PolicyOutput
from salus_vla.policies.smolvla.cameras import parse_cameras
from salus_vla.policies.smolvla.inference.acceleration import candidates
from salus_vla.policies.smolvla.inference.engine_group import EngineGroup
from salus_vla.policies.smolvla.inference.ensemble_engine import EnsembleEngine
from salus_vla.policies.smolvla.inference.inputs import ObservationInputs
from salus_vla.policies.smolvla.loading.checkpoint import LoadedEnsemble, load_placed
from salus_vla.policies.smolvla.loading.devices import parse_device
from salus_vla.signals.novelty import find_reference


class EnsemblePolicy:
    """K SmolVLA members evaluated on the same observation and the same noise.

    The noise of a decision depends on the episode's seed and the decision's number only, so that an episode can be
    computed again, in process or through the graph, with the same result.
    """

    source = "ensemble"
    needs_images = True
    needs_poses = False

    def __init__(
        self,
        members: Sequence[str],
        *,
        device: str = "cpu",
        devices: Sequence[str] = (),
        mode: str = "auto",
        dtype: str = "auto",
        noise_samples: int = 2,
        allow_identical_experts: bool = False,
        cut_task: bool = False,
        cameras: Sequence[str] = (),
        model_folder: Path | None = None,
    ) -> None:
        """Loads the members, and the reference for `activation_novelty` if `model_folder` has one.

        Args:
            members: folders or Hub names.
            device: where everything goes, for example `cpu` or `cuda:0`; asserted after loading.
            devices: spreads the members over these instead, see `place_members`.
            mode: one of `MODES`.
            dtype: one of `DTYPES`, see `choose_dtype`.
            noise_samples: flow-matching noise samples per member.
            allow_identical_experts: see `load_placed`.
            cut_task: accept an instruction of which only the beginning is read.
            cameras: what the policy calls this robot's cameras, see `parse_cameras`; empty for what its pre-processor
                says.
            model_folder: where the reference is, if it is known.

        Raises:
            ModelError: a checkpoint is missing or does not fit, see `load_placed`; or the reference, see
                `find_reference`.
        """
        if noise_samples < 1:
            raise ModelError(f"model.noise_samples is {noise_samples}, expected at least 1")
        began = time.perf_counter()
        places = [parse_device(name, "model.devices") for name in devices] or [parse_device(device)]
        for place in places:
            candidates(mode, place)  # a mode that cannot be is said before the members are read
        loaded = load_placed(
            members,
            places,
            dtype=dtype,
            allow_identical_experts=allow_identical_experts,
            rename=parse_cameras(cameras),
        )
        load_s = time.perf_counter() - began
        first = loaded[0]
        # The ensembles themselves are not kept: the engines took over the experts.
        self._engines = EngineGroup([EnsembleEngine(part, mode=mode, samples=noise_samples) for part in loaded])
        self._inputs = ObservationInputs(first, self._engines, cut_task=cut_task)
        self._postprocessor = first.postprocessor
        self._samples = noise_samples
        self._facts = _facts_of(loaded, noise_samples) | {"load_s": f"{load_s:.2f}"} | self._engines.provenance()
        self.reference, found = find_reference(model_folder, self._facts, self._engines.expert_width)
        self._facts |= found
        self._seed = 0

    def start_episode(self, seed: int) -> None:
        """Sets the seed of the episode's noise; nothing else passes from one decision to the next."""
        self._seed = seed

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        """Chunks of all members for one observation.

        Raises:
            ModelError: the observation lacks a camera, an image is not uint8 RGB, or the instruction is too long.
        """
        images, language, batch = self._inputs.embed(observation)
        output = self._engines.decide(images, language, batch, self._noise(decision))
        actions = output.actions.float().cpu()
        members, samples, horizon, dimension = actions.shape
        # The un-normaliser works on (batch, H, A); members and samples are its batch.
        radians = self._postprocessor(actions.reshape(-1, horizon, dimension))
        chunks = radians.reshape(members, samples, horizon, dimension).numpy().astype(np.float64)
        return PolicyOutput(
            chunks=chunks,
            prefix_state=output.prefix_state.float().cpu().numpy().astype(np.float64),
            prefix_parts=self._in_contract_order(output.prefix_parts.float().cpu().numpy().astype(np.float64)),
            expert_state=output.expert_state.float().cpu().numpy().astype(np.float64),
        )

    def read_task(self, task: str) -> dict[str, str]:
        """Number of its tokens, and how many the members read.

        Raises:
            ModelError: the instruction is longer than that.
        """
        reader = self._inputs.instructions
        return {"task_tokens": str(reader.check(task)), "task_tokens_read": str(reader.most)}

    def provenance(self) -> dict[str, str]:
        """Names and hashes of the members, device, sizes and versions."""
        return dict(self._facts)

    def _in_contract_order(self, parts: FloatArray) -> FloatArray:
        """Rows of the contract's cameras, NaN for one that the policy does not see, and that of the rest."""
        seen = self._inputs.cameras
        missing = np.full(parts.shape[1], np.nan)
        rows = [parts[seen.index(camera)] if camera in seen else missing for camera in CAMERAS]
        return np.stack([*rows, parts[-1]])

    def _noise(self, decision: int) -> torch.Tensor:
        # numpy's generator: the same numbers on every device and torch version.
        generator = np.random.default_rng([abs(self._seed), int(self._seed < 0), decision])
        shape = self._engines.noise_shape(self._samples)
        return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


def _facts_of(loaded: Sequence[LoadedEnsemble], noise_samples: int) -> dict[str, str]:
    names = [name for part in loaded for name in part.names]
    hashes = [digest for part in loaded for digest in part.hashes]
    vlm_hashes = list(dict.fromkeys(digest for part in loaded for digest in part.vlm_hashes))
    if len(vlm_hashes) > 1:
        warnings.warn(
            f"the {len(names)} members have {len(vlm_hashes)} different VLMs: each runs by itself and stays in "
            "memory; members trained from one base with train_expert_only share one",
            RuntimeWarning,
            stacklevel=2,
        )
    facts = {
        "policy": EnsemblePolicy.source,
        "members": str(len(names)),
        "noise_samples": str(noise_samples),
        "device": ", ".join(str(part.device) for part in loaded),
        "dtype": ", ".join(part.dtype for part in loaded),
        "shared_vlm": str(len(vlm_hashes) == 1).lower(),
        "chunk_size": str(loaded[0].config.chunk_size),
        "torch": torch.__version__,
        "lerobot": lerobot.__version__,
        "python": platform.python_version(),
    }
    if told := loaded[0].cameras.told:
        facts["cameras"] = told
    for k, (name, digest) in enumerate(zip(names, hashes, strict=True)):
        facts[f"member_{k}"] = name
        facts[f"member_{k}_hash"] = digest
    for k, digest in enumerate(vlm_hashes):
        facts[f"vlm_{k}_hash"] = digest
    return facts
