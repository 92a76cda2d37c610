"""The VLA ensemble as a policy: observation in, chunks of all members in radians out."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lerobot
import numpy as np
import torch

from salus_vla.errors import ModelError
from salus_vla.frames import Observation
from salus_vla.policy.base import Prediction
from salus_vla.policy.checkpoint import LoadedEnsemble, load_ensemble
from salus_vla.policy.engine import EnsembleEngine
from salus_vla.policy.features import STATE_KEY, image_key
from salus_vla.policy.novelty import find_reference


class EnsemblePolicy:
    """K SmolVLA members evaluated on the same observation and the same noise.

    The noise of a decision depends on the episode's seed and the decision's number only, so that an episode can be
    computed again, in process or through the graph, with the same result.
    """

    source = "ensemble"

    def __init__(
        self,
        members: Sequence[str],
        *,
        device: str = "cpu",
        noise_samples: int = 2,
        allow_identical_experts: bool = False,
        model_folder: Path | None = None,
    ) -> None:
        """Loads the members, and the reference for `activation_novelty` if `model_folder` has one.

        Raises:
            ModelError: a checkpoint is missing or does not fit, see `load_ensemble`; or the reference, see
                `find_reference`.
        """
        if noise_samples < 1:
            raise ModelError(f"model.noise_samples is {noise_samples}, expected at least 1")
        ensemble = load_ensemble(members, device=device, allow_identical_experts=allow_identical_experts)
        # The ensemble itself is not kept: the engine has its own copy of the experts.
        self._engine = EnsembleEngine(ensemble)
        self._preprocessor, self._postprocessor = ensemble.preprocessor, ensemble.postprocessor
        self._cameras = tuple(key.removeprefix(image_key("")) for key in ensemble.config.image_features)
        self._samples = noise_samples
        self._facts = _facts_of(ensemble, noise_samples)
        width = ensemble.experts[0]["model.action_out_proj.weight"].shape[1]
        self.reference, found = find_reference(model_folder, self._facts, width)
        self._facts |= found
        self._seed = 0

    def start_episode(self, seed: int) -> None:
        """Sets the seed of the episode's noise; nothing else passes from one decision to the next."""
        self._seed = seed

    def predict(self, observation: Observation, decision: int) -> Prediction:
        """Chunks of all members for one observation.

        Raises:
            ModelError: the observation lacks a camera, or an image is not uint8 RGB.
        """
        batch = self._preprocessor(self._batch(observation))
        noise = self._noise(decision)
        output = self._engine.forward(batch, noise)
        actions = output.actions.float().cpu()
        members, samples, horizon, dimension = actions.shape
        # The un-normaliser works on (batch, H, A); members and samples are its batch.
        radians = self._postprocessor(actions.reshape(-1, horizon, dimension))
        chunks = radians.reshape(members, samples, horizon, dimension).numpy().astype(np.float64)
        return Prediction(
            chunks=chunks,
            prefix_state=output.prefix_state.float().cpu().numpy().astype(np.float64),
            expert_state=output.expert_state.float().cpu().numpy().astype(np.float64),
        )

    def facts(self) -> dict[str, str]:
        """Names and hashes of the members, device, sizes and versions."""
        return dict(self._facts)

    def _batch(self, observation: Observation) -> dict[str, Any]:
        batch: dict[str, Any] = {
            STATE_KEY: torch.from_numpy(observation.state).float(),
            "task": observation.task,
        }
        for camera in self._cameras:
            image = observation.images.get(camera)
            if image is None:
                raise ModelError(f"observation has no camera '{camera}', it has {sorted(observation.images)}")
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ModelError(f"camera '{camera}' gives {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
            # The one place where pixels become floats in [0, 1].
            pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
            batch[image_key(camera)] = pixels.to(torch.float32).div_(255.0)
        return batch

    def _noise(self, decision: int) -> torch.Tensor:
        # numpy's generator: the same numbers on every device and torch version.
        generator = np.random.default_rng([abs(self._seed), int(self._seed < 0), decision])
        shape = self._engine.noise_shape(self._samples)
        return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


def _facts_of(ensemble: LoadedEnsemble, noise_samples: int) -> dict[str, str]:
    facts = {
        "policy": EnsemblePolicy.source,
        "members": str(len(ensemble.names)),
        "noise_samples": str(noise_samples),
        "device": str(ensemble.device),
        "shared_vlm": str(len(ensemble.vlms) == 1).lower(),
        "chunk_size": str(ensemble.config.chunk_size),
        "torch": torch.__version__,
        "lerobot": lerobot.__version__,
        "python": platform.python_version(),
    }
    for k, (name, digest) in enumerate(zip(ensemble.names, ensemble.hashes, strict=True)):
        facts[f"member_{k}"] = name
        facts[f"member_{k}_hash"] = digest
    for k, digest in enumerate(ensemble.vlm_hashes):
        facts[f"vlm_{k}_hash"] = digest
    return facts
