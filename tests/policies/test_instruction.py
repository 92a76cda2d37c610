"""An instruction that is longer than the policy reads is refused, or said; it used to be cut without a word."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoint_edits import PREPROCESSOR, edit_json, members

from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import Observation
from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy
from salus_vla.policies.smolvla.loading.instruction import InstructionReader

SHORT = "pick up the red cube and place it in the blue bin"
LONG = f"{SHORT}, {', '.join([SHORT] * 6)} NOT"


@pytest.fixture(scope="module")
def reader(model: Path) -> InstructionReader:
    return InstructionReader.of_member(members(model)[0])


def test_tokens_are_counted_as_the_pre_processor_does(model: Path, reader: InstructionReader) -> None:
    policy = EnsemblePolicy(members(model))
    batch = policy._inputs._preprocessor({"task": SHORT, "observation.state": np.zeros(8, dtype=np.float32)})
    assert reader.count(SHORT) == int(batch["observation.language.attention_mask"].sum())
    assert reader.count(f"{SHORT}\n") == reader.count(SHORT)
    assert reader.most == 48
    assert policy.read_task(SHORT) == {"task_tokens": str(reader.count(SHORT)), "task_tokens_read": "48"}


def test_one_token_too_many_is_refused(reader: InstructionReader) -> None:
    exact = InstructionReader(reader.tokenizer, reader.count(SHORT))
    assert exact.check(SHORT) == exact.most
    with pytest.raises(ModelError, match=rf"has {exact.most} tokens, the policy reads {exact.most - 1}: 'bin' at its"):
        InstructionReader(reader.tokenizer, exact.most - 1).check(SHORT)


def test_what_would_be_lost_is_said_and_can_be_accepted(model: Path, reader: InstructionReader) -> None:
    with pytest.raises(ModelError, match="NOT' at its end is not read; shorten it, or accept that with --cut-task"):
        reader.check(LONG)
    with pytest.warns(RuntimeWarning, match="the policy reads 48"):
        assert InstructionReader.of_member(members(model)[0], cut=True).check(LONG) > 48


def test_a_policy_refuses_it_when_it_is_told_and_when_it_decides(
    model: Path, observe: Callable[..., Observation]
) -> None:
    policy = EnsemblePolicy(members(model))
    with pytest.raises(ModelError, match="the policy reads 48"):
        policy.read_task(LONG)
    with pytest.raises(ModelError, match="the policy reads 48"):
        policy.predict(observe(task=LONG), 0)
    lenient = EnsemblePolicy(members(model), cut_task=True)
    with pytest.warns(RuntimeWarning, match="the policy reads 48"):
        assert np.isfinite(lenient.predict(observe(task=LONG), 0).chunks).all()


def test_a_member_without_a_tokenizer_is_named(copied: Path) -> None:
    first = members(copied)[0]
    edit_json(Path(first) / PREPROCESSOR, steps=[])
    with pytest.raises(ModelError, match="has no step tokenizer_processor"):
        InstructionReader.of_member(first)
