"""A SmolVLM configuration and tokenizer that need no network: what `SmolVLAPolicy` reads from `vlm_model_name`.

LeRobot's constructor always resolves `vlm_model_name` with AutoConfig and AutoProcessor, also when the VLM's weights
come from the policy's own checkpoint. A folder with these files serves it offline.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # type: ignore[import-untyped]

from salus_vla.policies.smolvla.init.vlm_sizes import VlmSize

SPECIAL_TOKENS = {
    "pad_token": "<|pad|>",
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "unk_token": "<|unk|>",
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}
_EXTRA_TOKENS = ("image_token", "fake_image_token", "global_image_token", "end_of_utterance_token")

# The tokenizer is trained on instructions of the kind the robot gets; byte level, so any other text still tokenizes.
_CORPUS = tuple(
    f"{verb} the {colour} {thing} and {put} it {where} the {other} {place}"
    for verb in ("pick up", "grasp", "take", "lift")
    for colour in ("red", "blue", "green", "yellow")
    for thing in ("cube", "block", "box", "bottle")
    for put in ("place", "put", "drop")
    for where in ("in", "on", "next to")
    for other in ("blue", "red", "white")
    for place in ("bin", "tray", "table", "basket")
)


def train_tokenizer(vocabulary: int) -> Tokenizer:
    """A byte-level BPE tokenizer trained on the instruction corpus; at most `vocabulary` tokens, deterministic."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocabulary, 512),
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def write_vlm_folder(folder: Path, size: VlmSize) -> None:
    """Writes config, tokenizer and image processor settings of a SmolVLM of the given size into `folder`.

    Raises:
        ValueError: the dimensions do not fit together.
    """
    size.check()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(size.vocabulary)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {name: tokenizer.token_to_id(token) for name, token in SPECIAL_TOKENS.items()}
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 8192,
            "clean_up_tokenization_spaces": False,
            "extra_special_tokens": {name: SPECIAL_TOKENS[name] for name in _EXTRA_TOKENS},
            **{name: token for name, token in SPECIAL_TOKENS.items() if name not in _EXTRA_TOKENS},
        },
    )
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "SmolVLMImageProcessor",
            "processor_class": "SmolVLMProcessor",
            "do_resize": True,
            "size": {"longest_edge": size.image_side},
            "max_image_size": {"longest_edge": size.image_side},
            "do_image_splitting": False,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "do_convert_rgb": True,
            "do_pad": True,
        },
    )
    _write_json(
        folder / "processor_config.json",
        {
            "processor_class": "SmolVLMProcessor",
            "image_seq_len": (size.image_side // size.patch // size.scale_factor) ** 2,
        },
    )
    _write_json(folder / "config.json", _model_config(size, ids))


def _model_config(size: VlmSize, ids: dict[str, int]) -> dict[str, object]:
    return {
        "model_type": "smolvlm",
        "architectures": ["SmolVLMForConditionalGeneration"],
        "image_token_id": ids["image_token"],
        "pad_token_id": ids["pad_token"],
        "scale_factor": size.scale_factor,
        "tie_word_embeddings": False,
        "use_cache": True,
        "text_config": {
            "model_type": "llama",
            "hidden_size": size.text_width,
            "intermediate_size": size.text_intermediate,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.text_heads,
            "num_key_value_heads": size.text_kv_heads,
            "head_dim": size.head_dim,
            "vocab_size": size.vocabulary,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_theta": 100000.0,
            "pad_token_id": ids["pad_token"],
            "bos_token_id": ids["bos_token"],
            "eos_token_id": ids["eos_token"],
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "model_type": "smolvlm_vision",
            "hidden_size": size.vision_width,
            "intermediate_size": 4 * size.vision_width,
            "num_hidden_layers": size.vision_layers,
            "num_attention_heads": size.vision_heads,
            "image_size": size.image_side,
            "patch_size": size.patch,
            "num_channels": 3,
        },
    }


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
