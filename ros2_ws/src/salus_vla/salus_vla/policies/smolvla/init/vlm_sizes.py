"""Dimensions of the SmolVLMs that `salus model init` can build."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VlmSize:
    """Dimensions of a SmolVLM; the rules that tie them together are in `check`.

    Attributes:
        image_side: side of the square image the vision tower reads [px].
        patch: side of a patch [px].
        scale_factor: pixel shuffle of the connector; tokens per camera = (image_side / patch / scale_factor)^2.
        vision_width, vision_layers, vision_heads: SigLIP tower.
        text_width, text_layers, text_heads, text_kv_heads, text_intermediate, vocabulary: Llama decoder.
    """

    image_side: int
    patch: int
    scale_factor: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    text_width: int
    text_layers: int
    text_heads: int
    text_kv_heads: int
    text_intermediate: int
    vocabulary: int

    @property
    def head_dim(self) -> int:
        """Width of one attention head of the text model."""
        return self.text_width // self.text_heads

    def check(self) -> None:
        """Raises ValueError where SmolVLA would fail later with a message about tensor shapes."""
        rules = {
            "image_side must be a multiple of patch": self.image_side % self.patch == 0,
            "image_side / patch must be a multiple of scale_factor": (self.image_side // self.patch) % self.scale_factor
            == 0,
            "vision_width must be a multiple of vision_heads": self.vision_width % self.vision_heads == 0,
            "text_width must be a multiple of text_heads": self.text_width % self.text_heads == 0,
            "text_heads must be a multiple of text_kv_heads": self.text_heads % self.text_kv_heads == 0,
            "the expert's width (3/4 of text_width) must be even": int(self.text_width * 0.75) % 2 == 0,
            "vocabulary must be at least 512": self.vocabulary >= 512,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ValueError("; ".join(broken))


SIZES = {
    "tiny": VlmSize(64, 16, 2, 48, 2, 3, 64, 2, 4, 2, 128, 512),
    # Learns the task: 4 tokens a camera; what it costs is vision, so its patches are large and its layers few.
    "compact": VlmSize(128, 16, 4, 192, 3, 3, 256, 4, 4, 2, 512, 512),
    # SmolVLM2-500M, the backbone of lerobot/smolvla_base (its 32 text layers are cut to 16 by SmolVLA).
    "full": VlmSize(512, 16, 4, 768, 12, 12, 960, 16, 15, 5, 2560, 49280),
}
