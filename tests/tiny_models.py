"""A directory of tiny models with random weights in the published formats, for tests of the real loading code.

`python -m tests.tiny_models DIRECTORY [SEED]` writes one; the same seed gives the same files. Random models can be
dead: they give one answer to every picture, and tests of them then say nothing. So BLIP has larger random weights here
than by default, the norms of the face embedder are set from pictures, and test_models_alive.py asserts that all live.

CLIP is more than random: its image tower is trained for some seconds, so that the samples get about the tags, scenes
and verdicts that engine `pixel` gives them. What looks like none of the samples gets words that mean nothing.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from facenet_pytorch import InceptionResnetV1
from PIL import Image
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, normalize
from transformers import (
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipTextConfig,
    BlipVisionConfig,
)

import samples
from streamapp.engines.clip import Clip
from streamapp.engines.labels import PHRASES, Vocabulary, Word, vocabulary
from streamapp.engines.pixel import Pixel
from streamapp.engines.tensors import Fit
from streamapp.engines.torch_runtime import Runtime
from streamapp.engines.weights import MODELS
from streamapp.insights import Label
from streamapp.media.image import Picture
from streamapp.settings import Settings

DIM = 512  # the width that settings have by default
SIDE = 64  # pixels that CLIP sees
STEPS = 150
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
RUNTIME = Runtime(device=torch.device("cpu"), dtype=torch.float32)
WORDS = ("a", "the", "of", "with", "at", "under", "and", *PHRASES)  # of captions


def write(directory: Path, *, seed: int = 0) -> Path:
    """Write clip/, blip/ and facenet/ into the directory, and give it back. 120 MB, most of it faces."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)  # of such small products more threads make nothing but waits, and other rounding
    try:
        for name, make in (("clip", clip), ("blip", blip), ("facenet", facenet)):
            (directory / name).mkdir(parents=True, exist_ok=True)
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                make(directory / name)
    finally:
        torch.set_num_threads(count)
    return directory


def clip(directory: Path, *, dim: int = DIM, taught: bool = True) -> None:
    """Two layers of 64; two thirds of its 13 MB are the vocabulary of the tokenizer, which is the real one."""
    config: dict[str, Any] = {
        "model_cfg": {
            "embed_dim": dim,
            "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
        },
        "preprocess_cfg": {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"},
    }
    (directory / "open_clip_config.json").write_text(json.dumps(config, indent=2))
    net = open_clip.CLIP(**config["model_cfg"])
    with torch.no_grad():
        net.logit_scale.fill_(math.log(100))  # where published models have ended; that of a new one is 14
    _save(net, directory)
    if taught:
        _teach(net, Clip(directory, revision="", dim=dim, vocabulary=said(), runtime=RUNTIME))
        _save(net, directory)


def blip(directory: Path) -> None:
    """Two layers of 32 and a hundred words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", *WORDS]
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BlipConfig(
        # As transformers makes them, encoder and decoder give every picture the same words.
        vision_config=BlipVisionConfig(**size, image_size=64, patch_size=16, initializer_range=1.0).to_dict(),
        text_config=BlipTextConfig(
            **size,
            vocab_size=len(words),
            encoder_hidden_size=32,
            initializer_range=0.5,
            bos_token_id=words.index("[DEC]"),
            pad_token_id=0,
            eos_token_id=words.index("[SEP]"),
            sep_token_id=words.index("[SEP]"),
        ).to_dict(),
    )
    BlipForConditionalGeneration(config).eval().save_pretrained(directory)
    tokenizer = BertTokenizerFast(
        vocab={word: index for index, word in enumerate(words)}, additional_special_tokens=["[DEC]", "[ENC]"]
    )
    tokenizer.save_pretrained(directory)
    BlipImageProcessor(size={"height": 64, "width": 64}).save_pretrained(directory)


def facenet(directory: Path) -> None:
    """The real architecture: there is only one. Its norms are set from pictures; as made, two faces have cosine 1."""
    net = InceptionResnetV1(pretrained=None, classify=True, num_classes=8)
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = None  # the mean of all batches
    net.dropout.p = 0.0
    with torch.no_grad():
        for _ in range(3):
            net.train()(torch.nn.functional.interpolate(torch.randn(6, 3, 10, 10), size=(160, 160), mode="bicubic"))
    # With the classifier, as the published file has it.
    torch.save(net.eval().state_dict(), directory / MODELS["facenet"].weights)


def said() -> Vocabulary:
    """The words of the default settings."""
    settings = Settings(_env_file=None)
    return vocabulary(tags=settings.tag_labels, scenes=settings.scene_labels, moderation=settings.moderation_labels)


def _save(net: Any, directory: Path) -> None:
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, directory / MODELS["clip"].weights)


def _teach(net: Any, untaught: Clip) -> None:
    """Train the image tower until the samples, and pieces of them, get the words that engine `pixel` has for them."""
    said, labels = untaught.vocabulary, untaught.labels
    images = [Image.open(samples.path(name)) for name in samples.NAMES]
    sights = Pixel(image_dim=8, face_dim=8, max_faces=9).see([_picture(image) for image in images])
    small = [_picture(image.reduce(3)) for image in images]
    harmless = [float(s.moderation.is_safe) / len(said.safe) for s in sights]
    harmful = [float(not s.moderation.is_safe) / len(said.unsafe) for s in sights]
    ends = (len(said.tags), len(said.tags) + len(said.scenes))
    wanted = (
        _spread([sight.tagging.tags for sight in sights], said.tags),
        _spread([sight.scene_recognition.scenes for sight in sights], said.scenes),
        torch.tensor([[a] * len(said.safe) + [b] * len(said.unsafe) for a, b in zip(harmless, harmful, strict=True)]),
    )
    fit = Fit(side=SIDE, squash=False, mean=MEAN, std=STD)
    random = np.random.default_rng(0)
    training = torch.optim.Adam(net.visual.parameters(), lr=2e-3)
    for _ in range(STEPS):
        batch = fit.batch([_piece(picture, random) for picture in small * 2], "cpu", torch.float32)
        logits = 100 * normalize(net.encode_image(batch), dim=-1) @ labels.T
        sets = (logits[:, : ends[0]], logits[:, ends[0] : ends[1]], logits[:, ends[1] :])
        loss = sum(cross_entropy(have, want.repeat(2, 1)) for have, want in zip(sets, wanted, strict=True))
        training.zero_grad()
        loss.backward()
        training.step()


def _spread(found: Sequence[Sequence[Label]], words: Sequence[Word]) -> Any:
    """(pictures, words) probabilities in proportion to scores; evenly over all words where there are none."""
    scores = [{label.name: label.score for label in labels} for labels in found]
    rows = torch.tensor([[each.get(word.name, 0.0) for word in words] for each in scores])
    rows[rows.sum(dim=1) == 0] = 1.0
    return rows / rows.sum(dim=1, keepdim=True)


def _picture(image: Image.Image) -> Picture:
    return Picture(pixels=np.asarray(image), digest="")


def _piece(picture: Picture, random: np.random.Generator) -> Picture:
    """Most of a picture, brighter or darker."""
    left, top, right, bottom = (random.uniform(0, 0.12, 4) * picture.width).astype(int)
    piece = picture.pixels[top : picture.height - bottom, left : picture.width - right]
    return Picture(pixels=(piece * random.uniform(0.85, 1.0)).astype(np.uint8), digest="")


def main() -> None:
    directory, *seed = sys.argv[1:]
    print(write(Path(directory), seed=int(seed[0] if seed else 0)))


if __name__ == "__main__":
    main()
