"""How much of an instruction a policy reads: LeRobot's tokenizer cuts what is longer without a word, "not" included."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Any

from salus_vla.contract.errors import ModelError
from salus_vla.policies.smolvla.loading.member_files import member_folder, resolve_vlm
from salus_vla.policies.smolvla.loading.processors import PREPROCESSOR, tokenizer_step_of

_STEP = "tokenizer_processor"


@dataclass(frozen=True)
class InstructionReader:
    """Counts tokens as the policy's own pre-processor does.

    Attributes:
        tokenizer: of the policy.
        most: tokens that the policy reads.
        cut: accept a longer instruction, of which only the beginning is read.
    """

    tokenizer: Any
    most: int
    cut: bool = False

    @staticmethod
    def of(preprocessor: Any, *, cut: bool = False) -> InstructionReader:
        """Of a loaded pre-processor."""
        step = tokenizer_step_of(preprocessor)
        return InstructionReader(step.input_tokenizer, int(step.max_length), cut)

    @staticmethod
    def of_member(name: str, *, cut: bool = False) -> InstructionReader:
        """Of a member's folder or Hub name; reads no weights.

        Raises:
            ModelError: it is neither, or its files are broken.
        """
        from transformers import AutoTokenizer

        folder = member_folder(name)
        path = folder / PREPROCESSOR
        try:
            steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
            settings = next(step["config"] for step in steps if step.get("registry_name") == _STEP)
            most, tokenizer = int(settings["max_length"]), str(settings["tokenizer_name"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
            raise ModelError(f"{path}: has no step {_STEP} with max_length and tokenizer_name ({error!r})") from error
        try:
            return InstructionReader(AutoTokenizer.from_pretrained(resolve_vlm(tokenizer, folder)), most, cut)
        except Exception as error:  # transformers and its hub client raise their own
            raise ModelError(f"{path}: tokenizer_name '{tokenizer}': {type(error).__name__}: {error}") from error

    def count(self, task: str) -> int:
        """Tokens of an instruction, with the newline that the pre-processor puts behind it."""
        return len(self.tokenizer(task if task.endswith("\n") else f"{task}\n")["input_ids"])

    def check(self, task: str) -> int:
        """Tokens of an instruction.

        Warns:
            RuntimeWarning: it is longer than the policy reads, and `cut` accepts that.

        Raises:
            ModelError: it is longer; says what would be left out.
        """
        tokens = self.count(task)
        if tokens <= self.most:
            return tokens
        lost = self._lost(task)
        told = f"the instruction has {tokens} tokens, the policy reads {self.most}: '{lost}' at its end is not read"
        if not self.cut:
            raise ModelError(f"{told}; shorten it, or accept that with --cut-task (parameter model.cut_task)")
        warnings.warn(told, RuntimeWarning, stacklevel=2)
        return tokens

    def _lost(self, task: str) -> str:
        """The end of the instruction that is left out, in words: whole ones from the first that is not read whole."""
        words = task.split(" ")
        kept = 0
        while kept < len(words) and len(self.tokenizer(" ".join(words[: kept + 1]))["input_ids"]) <= self.most:
            kept += 1
        return " ".join(words[min(kept, len(words) - 1) :])
