"""What a training run is made with; kept beside its checkpoints, so that it can only be continued as it was begun."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from salus_vla.contract import RESERVED_FROM
from salus_vla.contract.errors import TrainingError

STAGES = ("vlm", "experts")
PRECISIONS = ("auto", "fp32", "bf16")


class TrainSettings(BaseModel):
    """Settings of one stage.

    Attributes:
        stage: `vlm` trains a policy end to end, `experts` K action experts on its frozen VLM.
        steps: optimizer steps in all.
        batch: observations in a step, over all devices.
        draws: noise draws for each observation.
        rate: learning rate after the warm-up.
        warm_up: steps until then.
        decay: share of the steps, at the end, over which the rate goes down to zero.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        average: decay of the running average of the weights, which is what is kept as the policy.
        auxiliary: weight of the loss that asks the image features where the cube is; used by `vlm` where the data set
            has ground truth, the head is thrown away.
        shift: largest random displacement of an image [px].
        state_noise: standard deviation of the noise on the measured joints [rad]; a hundredth of it, in metres, on the
            gripper.
        held_out: share of the episodes that are only used to measure the loss.
        seed: of weights, order, noise and bootstrap.
        members: K, of `experts`.
        fresh: `experts` begin from new weights; otherwise from the policy's own expert with a little noise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    stage: str = Field(pattern="^(vlm|experts)$")
    steps: int = Field(default=6000, ge=1)
    batch: int = Field(default=128, ge=1)
    draws: int = Field(default=4, ge=1)
    rate: float = Field(default=5e-4, gt=0)
    warm_up: int = Field(default=100, ge=0)
    decay: float = Field(default=0.3, ge=0, le=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip: float = Field(default=1.0, gt=0)
    average: float = Field(default=0.998, ge=0, lt=1)
    auxiliary: float = Field(default=0.3, ge=0)
    shift: int = Field(default=3, ge=0)
    state_noise: float = Field(default=0.01, ge=0)
    held_out: float = Field(default=0.04, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=RESERVED_FROM)
    members: int = Field(default=5, ge=1)
    fresh: bool = True

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: up, constant, down. The constant part lets a run be continued with more steps."""
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        down = self.decay * self.steps
        return self.rate * min(1.0, (self.steps - step) / down) if down > 0 else self.rate


def make_settings(**values: object) -> TrainSettings:
    """Settings from the command line.

    Raises:
        TrainingError: a value is out of its range; names it.
    """
    try:
        return TrainSettings.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise TrainingError(f"--{name} {first['input']}: {first['msg']}") from error
