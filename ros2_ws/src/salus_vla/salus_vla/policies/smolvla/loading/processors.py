"""LeRobot's pre- and post-processor pipelines of a member: loaded by path, then checked.

LeRobot imports and calls any class that a pipeline's JSON names, and leaves a feature as it is when the normaliser has
no statistics for it. Here only the steps of SmolVLA are accepted, and missing statistics are an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from lerobot.configs import FeatureType, NormalizationMode
from lerobot.processor import PolicyProcessorPipeline
from lerobot.processor.converters import (
    batch_to_transition,
    policy_action_to_transition,
    transition_to_batch,
    transition_to_policy_action,
)
from torch import Tensor

from salus_vla.contract.errors import ModelError
from salus_vla.policies.smolvla.features import ACTION_KEY, STATE_DIM, STATE_KEY, check_statistics

PREPROCESSOR = "policy_preprocessor.json"
POSTPROCESSOR = "policy_postprocessor.json"

_RENAME = "rename_observations_processor"
_NORMALIZER, _UNNORMALIZER = "normalizer_processor", "unnormalizer_processor"
_STEPS = {
    PREPROCESSOR: (
        _RENAME,
        "to_batch_processor",
        "smolvla_new_line_processor",
        "tokenizer_processor",
        "device_processor",
        _NORMALIZER,
    ),
    POSTPROCESSOR: (_UNNORMALIZER, "device_processor"),
}
# Differ between members without a difference in what the pipeline does: the tokenizer is compared by its vocabulary, of
# the features only state and action are normalised.
_FREE = ("tokenizer_name", "features", "device")

Pipelines = tuple[Any, Any]


def load_processors(
    folder: Path, vlm: str, device: str, *, tokenizer: Any = None, rename: Mapping[str, str] | None = None
) -> Pipelines:
    """Loads a member's pre- and post-processor.

    Args:
        folder: the member's folder.
        vlm: folder or Hub name of the VLM, which has the tokenizer.
        device: where the pre-processor puts the batch.
        tokenizer: of this VLM, if it is loaded already; reading one takes a good part of a second.
        rename: replaces the stored `rename_map`.

    Raises:
        ModelError: a file is broken, a step is not SmolVLA's, or statistics are missing, wrong or not the same in both.
    """
    for file in (PREPROCESSOR, POSTPROCESSOR):
        _check_steps(folder / file)
    overrides: dict[str, dict[str, Any]] = {
        "tokenizer_processor": {"tokenizer_name": vlm},
        "device_processor": {"device": device},
    }
    if rename is not None:
        overrides[_RENAME] = {"rename_map": dict(rename)}
    if tokenizer is not None:
        overrides["tokenizer_processor"]["tokenizer"] = tokenizer
    try:
        # As `make_pre_post_processors` of LeRobot's factory does for SmolVLA, which imports every other policy for it.
        pre: Any = PolicyProcessorPipeline.from_pretrained(
            str(folder),
            config_filename=PREPROCESSOR,
            overrides=overrides,
            to_transition=batch_to_transition,
            to_output=transition_to_batch,
        )
        post: Any = PolicyProcessorPipeline.from_pretrained(
            str(folder),
            config_filename=POSTPROCESSOR,
            overrides={},
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        )
    except Exception as error:  # the pipelines raise whatever their steps raise
        raise ModelError(f"{folder / PREPROCESSOR}, {POSTPROCESSOR}: {type(error).__name__}: {error}") from error
    _check_normalizer(pre, _NORMALIZER, STATE_KEY, FeatureType.STATE, folder / PREPROCESSOR)
    _check_normalizer(post, _UNNORMALIZER, ACTION_KEY, FeatureType.ACTION, folder / POSTPROCESSOR)
    _check_agree(pre, post, folder)
    return pre, post


def check_same_processors(first: Pipelines, first_folder: Path, other: Pipelines, folder: Path) -> None:
    """Checks that two members' pipelines do the same, because one batch goes through the first member's.

    Raises:
        ModelError: they differ; the message has both files and both values.
    """
    for one, two, file in zip(first, other, (PREPROCESSOR, POSTPROCESSOR), strict=True):
        left, right = _behaviour(one), _behaviour(two)
        for key in sorted(left.keys() | right.keys()):
            a, b = left.get(key), right.get(key)
            if a != b:
                raise ModelError(f"members differ in '{key}': {a} in {first_folder / file}, {b} in {folder / file}")
    one_tokenizer, other_tokenizer = tokenizer_of(first), tokenizer_of(other)
    if one_tokenizer is not other_tokenizer and one_tokenizer.get_vocab() != other_tokenizer.get_vocab():
        names = [pipelines[0].steps[_index("tokenizer_processor")].tokenizer_name for pipelines in (first, other)]
        raise ModelError(f"members differ in the tokenizer's vocabulary: {names[0]} and {names[1]}")


def _check_steps(path: Path) -> None:
    """Raises ModelError unless the pipeline has exactly SmolVLA's steps in their order."""
    try:
        steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
        names = [step.get("registry_name", f"class {step.get('class')}") for step in steps]
        states = [str(step.get("state_file", "")) for step in steps]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: expected a JSON object with a list 'steps' ({error})") from error
    expected = _STEPS[path.name]
    if tuple(names) != expected:
        raise ModelError(f"{path}: steps are {names}, expected {list(expected)}")
    for state in states:
        if state and not (path.parent / state).is_file():
            raise ModelError(f"{path.parent / state} is missing, 'state_file' in {path} names it")


def stored_rename_map(folder: Path) -> dict[str, str]:
    """How a member's own pre-processor renames what it observes: LeRobot's `rename_map`.

    Raises:
        ModelError: the file is broken, or the map is not one of texts.
    """
    path = folder / PREPROCESSOR
    _check_steps(path)
    steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
    found = (steps[_index(_RENAME)].get("config") or {}).get("rename_map", {})
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ModelError(f"{path}: rename_map of {_RENAME} is {found!r:.80}, expected an object of texts")
    return found


def _index(step: str) -> int:
    return _STEPS[PREPROCESSOR].index(step)


def tokenizer_of(pipelines: Pipelines) -> Any:
    """The tokenizer of loaded pipelines."""
    return tokenizer_step_of(pipelines[0]).input_tokenizer


def tokenizer_step_of(preprocessor: Any) -> Any:
    """The step of a loaded pre-processor that makes tokens of the instruction."""
    return preprocessor.steps[_index("tokenizer_processor")]


def normalisation(pipeline: Any) -> dict[str, dict[str, Tensor]]:
    """Statistics of a loaded pipeline's normaliser, feature -> name -> tensor."""
    names = (_NORMALIZER, _UNNORMALIZER)
    step = next(step for step in pipeline.steps if getattr(step, "_registry_name", "") in names)
    return _statistics(step)


def without_language(preprocessor: Any) -> Any:
    """The pre-processor for an instruction whose tokens are known: the same steps, but for the two about language."""
    left_out = (_index("smolvla_new_line_processor"), _index("tokenizer_processor"))
    steps = [step for index, step in enumerate(preprocessor.steps) if index not in left_out]
    return replace(preprocessor, steps=steps)


def _check_normalizer(pipeline: Any, name: str, key: str, kind: FeatureType, path: Path) -> None:
    step = pipeline.steps[_STEPS[path.name].index(name)]
    feature = step.features.get(key)
    if feature is None or feature.type is not kind:
        raise ModelError(f"{path}: features of {name} have no {kind.value} '{key}': {step.features}")
    if step.normalize_observation_keys is not None:
        raise ModelError(f"{path}: normalize_observation_keys of {name} is not supported; remove it")
    if step.norm_map.get(FeatureType.VISUAL, NormalizationMode.IDENTITY) is not NormalizationMode.IDENTITY:
        raise ModelError(f"{path}: norm_map VISUAL is {step.norm_map[FeatureType.VISUAL].value}, expected IDENTITY")
    mode = step.norm_map.get(kind, NormalizationMode.IDENTITY)
    check_statistics(_statistics(step), key, STATE_DIM, mode.value, str(path))


def _check_agree(pre: Any, post: Any, folder: Path) -> None:
    """Raises ModelError where a member's pipelines normalise differently: actions would not be those learned."""
    one = pre.steps[_STEPS[PREPROCESSOR].index(_NORMALIZER)]
    two = post.steps[_STEPS[POSTPROCESSOR].index(_UNNORMALIZER)]
    for kind in (FeatureType.STATE, FeatureType.ACTION):
        left, right = one.norm_map.get(kind), two.norm_map.get(kind)
        if left is not None and right is not None and left is not right:
            _refuse(folder, f"norm_map {kind.value}", left.value, right.value)
    first, second = _statistics(one), _statistics(two)
    for key in (STATE_KEY, ACTION_KEY):
        for name in sorted(first.get(key, {}).keys() & second.get(key, {}).keys()):
            here, there = (found[key][name].double().flatten() for found in (first, second))
            if here.shape != there.shape or not torch.allclose(here, there, rtol=1e-5, atol=1e-8, equal_nan=True):
                _refuse(folder, f"'{key}.{name}'", _rounded(here), _rounded(there))


def _refuse(folder: Path, what: str, left: object, right: object) -> NoReturn:
    raise ModelError(
        f"{folder}: {what} is {left} in {PREPROCESSOR} and {right} in {POSTPROCESSOR}: "
        "the two files are not of one training"
    )


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]


def _statistics(step: Any) -> dict[str, dict[str, Tensor]]:
    """Statistics of a normaliser, feature -> name -> tensor."""
    statistics: dict[str, dict[str, Tensor]] = {}
    for flat, tensor in step.state_dict().items():
        key, name = flat.rsplit(".", 1)
        statistics.setdefault(key, {})[name] = tensor
    return statistics


def _behaviour(pipeline: Any) -> dict[str, Any]:
    """What decides on a pipeline's output, as plain values: settings of its steps, statistics of state and action."""
    values: dict[str, Any] = {}
    for step in pipeline.steps:
        name = type(step).__name__
        values |= {f"{name}.{key}": value for key, value in step.get_config().items() if key not in _FREE}
        for key, tensor in step.state_dict().items():
            if key.rsplit(".", 1)[0] in (STATE_KEY, ACTION_KEY):
                values[key] = tensor.to(torch.float64).tolist()
    return values
