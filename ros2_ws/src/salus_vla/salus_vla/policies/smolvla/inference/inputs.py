"""From an observation to what the engines take; what did not change since the decision before is not embedded again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import Observation
from salus_vla.policies.smolvla.features import STATE_KEY, image_key
from salus_vla.policies.smolvla.inference.engine_group import EngineGroup
from salus_vla.policies.smolvla.inference.ensemble_engine import Embedded
from salus_vla.policies.smolvla.loading.checkpoint import LoadedEnsemble
from salus_vla.policies.smolvla.loading.instruction import InstructionReader
from salus_vla.policies.smolvla.loading.processors import without_language

_TOKENS, _TOKEN_MASK = "observation.language.tokens", "observation.language.attention_mask"
_TASKS = 16  # instructions that are kept


class ObservationInputs:
    """The members' pre-processor and the embeddings of the last images and instructions.

    All values go through LeRobot's own pipeline. An instruction that is known skips its two steps about language;
    images are compared by their pixels, because a simulator or a driver may write new ones into the same array.

    Attributes:
        cameras: names of the robot's cameras that the policy sees, in its order.
        instructions: what of them is read.
    """

    def __init__(self, ensemble: LoadedEnsemble, engines: EngineGroup, *, cut_task: bool = False) -> None:
        """Takes the pipeline and the cameras of the first ensemble; `engines` embed; see `InstructionReader`."""
        self._preprocessor = ensemble.preprocessor
        self.instructions = InstructionReader.of(self._preprocessor, cut=cut_task)
        self._known_task = without_language(self._preprocessor)
        self.cameras = ensemble.cameras.seen
        self._device = ensemble.device
        self._engines = engines
        self._language: dict[str, list[Embedded]] = {}
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        self._images: list[Embedded] = []

    def embed(self, observation: Observation) -> tuple[list[Embedded], list[Embedded], dict[str, Tensor]]:
        """Embedded images and language for each engine, and the batch with the normalised state.

        Raises:
            ModelError: the observation lacks a camera, an image is not uint8 RGB, or the instruction is too long.
        """
        pixels = {camera: self._checked(observation, camera) for camera in self.cameras}
        batch: dict[str, Any] = {STATE_KEY: torch.from_numpy(observation.state).float(), "task": observation.task}
        known = all(
            camera in self._pixels and np.array_equal(pixels[camera], self._pixels[camera]) for camera in pixels
        )
        if not known:
            batch |= {image_key(camera): self._as_float(image) for camera, image in pixels.items()}
        language = self._language.get(observation.task)
        if language is None:
            self.instructions.check(observation.task)
        batch = (self._preprocessor if language is None else self._known_task)(batch)
        if language is None:
            if len(self._language) >= _TASKS:
                self._language.clear()
            language = self._engines.embed_language(batch[_TOKENS], batch[_TOKEN_MASK])
            self._language[observation.task] = language
        if not known:
            self._pixels = {}  # if encoding fails, nothing is known
            self._images = self._engines.encode_images(batch)
            self._pixels = {camera: image.copy() for camera, image in pixels.items()}
        return self._images, language, batch

    def _checked(self, observation: Observation, camera: str) -> NDArray[np.uint8]:
        image = observation.images.get(camera)
        if image is None:
            raise ModelError(f"observation has no camera '{camera}', it has {sorted(observation.images)}")
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ModelError(f"camera '{camera}' gives {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
        return image

    def _as_float(self, image: NDArray[np.uint8]) -> Tensor:
        """The one place where pixels become floats in [0, 1]; on the device, a quarter of the bytes to copy."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device).permute(2, 0, 1)
        return pixels.to(torch.float32).div_(255.0)
