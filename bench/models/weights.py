"""Models of the published architectures with random weights, written in the published formats: what they say is
nonsense, what they cost is not. BLIP's encoder is made live, so that it does not end its sentences at once.
"""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import save_file
from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

from streamapp.engines.weights import MODELS

ARCHITECTURE = "ViT-B-32"
VOCABULARY = 30524  # tokens of the published BLIP


def write(directory: Path) -> Path:
    """clip/, blip/, facenet/ in a directory, 1.8 GB; those that are there already are left."""
    for name, make in (("clip", clip), ("blip", blip), ("facenet", facenet)):
        if not (directory / name / MODELS[name].weights).exists():
            (directory / name).mkdir(parents=True, exist_ok=True)
            torch.manual_seed(0)
            make(directory / name)
    return directory


def clip(directory: Path) -> None:
    """As laion/CLIP-ViT-B-32-laion2B-s34B-b79K."""
    config = open_clip.get_model_config(ARCHITECTURE)
    preprocess = {
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    (directory / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    net = open_clip.CLIP(**config)
    save_file({name: each.contiguous() for name, each in net.state_dict().items()}, directory / MODELS["clip"].weights)


def blip(directory: Path) -> None:
    """As Salesforce/blip-image-captioning-base: 384 pixels, 12 layers each."""
    _save_blip(directory, {}, {"vocab_size": VOCABULARY, "encoder_hidden_size": 768}, side=384)


def mute(directory: Path) -> None:
    """One layer that sees a pixel or two: a BLIP whose captions cost nothing, to measure all but captions."""
    directory.mkdir(parents=True)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    _save_blip(directory, size, {**size, "vocab_size": VOCABULARY, "encoder_hidden_size": 16}, side=32)


def _save_blip(directory: Path, vision: dict[str, int], text: dict[str, int], *, side: int) -> None:
    config = BlipConfig(
        vision_config={**vision, "image_size": side, "initializer_range": 0.05},
        text_config={**text, "initializer_range": 0.05},
    )
    BlipForConditionalGeneration(config).eval().save_pretrained(directory)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = {word: index for index, word in enumerate([*special, *(f"w{n}" for n in range(VOCABULARY - 5))])}
    BertTokenizerFast(vocab=words).save_pretrained(directory)
    BlipImageProcessor(size={"height": side, "width": side}).save_pretrained(directory)


def facenet(directory: Path) -> None:
    """As published, with the classifier that it was trained with."""
    net = InceptionResnetV1(pretrained=None, classify=True, num_classes=8631)
    torch.save(net.eval().state_dict(), directory / MODELS["facenet"].weights)
