"""CLIP: moderation, tags, scenes and the image's vector, from one pass of a picture through one model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from streamapp.engines.base import Sight
from streamapp.engines.labels import Vocabulary, Word, vocabulary
from streamapp.engines.pixel_colors import dominant_colors
from streamapp.engines.tensors import Fit, brief, check_finite, numbers, vectors
from streamapp.engines.torch_runtime import Runtime, prepare
from streamapp.engines.weights import ModelsError, Weights
from streamapp.engines.zero_shot import SCENE_LEAST, TAG_LEAST, UNSAFE_LEAST, moderation, words
from streamapp.insights import ImageEmbedding, SceneRecognition, Tagging
from streamapp.media.image import Picture
from streamapp.settings import Settings

CONFIG = "open_clip_config.json"
SENTENCES = 32  # of labels, in one pass


class Clip:
    """A model in open_clip's published form: `open_clip_config.json` and weights in one directory.

    revision: of the weights. dim: width that image vectors must have. vocabulary: the words it may say; their vectors
    are computed here, once. unsafe_least: see zero_shot.moderation.
    Raises ModelsError, in one line: files missing or wrong, another width.
    labels: the vectors (words, dim) of vocabulary.words, of length 1.
    """

    def __init__(
        self,
        directory: Path,
        *,
        revision: str,
        dim: int,
        vocabulary: Vocabulary,
        runtime: Runtime,
        unsafe_least: float = UNSAFE_LEAST,
    ) -> None:
        config = _config(directory)
        if config["embed_dim"] != dim:
            wide = config["embed_dim"]
            raise ModelsError(f"{directory}: vectors are {wide} wide, STREAMAPP_IMAGE_EMBEDDING_DIM is {dim}")
        self._net = _load(directory)
        check_finite(self._net, file=directory)
        self.model = f"{_name(config)}@{revision}"
        self._fit = _fit(self._net.visual.preprocess_cfg, directory)
        self._scale = float(self._net.logit_scale.exp())  # before bfloat16, which would round it by a percent
        self._runtime = runtime
        self._net.to(runtime.device, runtime.dtype)
        self._tokenizer = open_clip.get_tokenizer(f"local-dir:{directory}")
        self._tokenizing = threading.Lock()  # tokenizers keep state while they work
        self.vocabulary = vocabulary
        self._unsafe_least = unsafe_least
        self.labels = self._embed_words(vocabulary.words)

    def see(self, pictures: Sequence[Picture]) -> list[Sight]:
        """See Vision. Raises ValueError where the model's answer is not a number: that is not called safe."""
        if not pictures:
            return []
        with torch.inference_mode():
            batch = self._fit.batch(pictures, self._runtime.device, self._runtime.dtype)
            seen = normalize(self._net.encode_image(batch).float(), dim=-1)
            logits = numbers(self._scale * seen @ self.labels.T, model=self.model)
        embedded = vectors(seen, model=self.model)
        return [self._sight(*each) for each in zip(pictures, logits, embedded, strict=True)]

    def embed_texts(self, texts: Sequence[str]) -> list[bytes]:
        """See EmbedsTexts. Of a text longer than the model's context (77 tokens) the beginning counts."""
        return vectors(self._embed(texts), model=self.model) if texts else []

    def _sight(self, picture: Picture, logits: NDArray[np.float64], vector: bytes) -> Sight:
        said = self.vocabulary
        names = [word.name for word in said.words]
        to_scenes, to_moderation = len(said.tags), len(said.tags) + len(said.scenes)
        return Sight(
            moderation=moderation(
                names[to_moderation:], logits[to_moderation:], safe=len(said.safe), least=self._unsafe_least
            ),
            tagging=Tagging(tags=words(names[:to_scenes], logits[:to_scenes], least=TAG_LEAST)),
            scene_recognition=SceneRecognition(
                scenes=words(names[to_scenes:to_moderation], logits[to_scenes:to_moderation], least=SCENE_LEAST),
                colors=dominant_colors(picture),
            ),
            image_embedding=ImageEmbedding(vector=vector),
        )

    def _embed_words(self, words: Sequence[Word]) -> Any:
        """(words, dim) of length 1: the mean of each word's sentences."""
        sentences = dict.fromkeys(sentence for word in words for sentence in word.sentences)
        rows = dict(zip(sentences, self._embed(list(sentences), encode=partial(_encode_short, self._net)), strict=True))
        means = torch.stack([torch.stack([rows[each] for each in word.sentences]).mean(0) for word in words])
        numbers(means, model=self.model)
        return normalize(means, dim=-1)

    def _embed(self, texts: Sequence[str], encode: Callable[[Any], Any] | None = None) -> Any:
        """(texts, dim) of length 1. encode: from tokens (texts, context) to vectors."""
        encode = encode or self._net.encode_text
        with self._tokenizing:
            tokens = self._tokenizer(list(texts)).to(self._runtime.device)
        with torch.inference_mode():
            return torch.cat([normalize(encode(some).float(), dim=-1) for some in tokens.split(SENTENCES)])


def load(settings: Settings, weights: Weights) -> Clip:
    """As the settings say. Raises ModelsError."""
    return Clip(
        weights.path,
        revision=weights.revision,
        dim=settings.image_embedding_dim,
        vocabulary=vocabulary(
            tags=settings.tag_labels, scenes=settings.scene_labels, moderation=settings.moderation_labels
        ),
        unsafe_least=settings.moderation_unsafe,
        runtime=prepare(settings),
    )


def _encode_short(net: Any, tokens: Any) -> Any:
    """As encode_text, for sentences far shorter than the context, in a fifth of the time.

    A token sees only those before it, and the last one is the vector: what comes after need not be computed. Not while
    another thread uses the model.
    """
    if getattr(net, "attn_mask", None) is None or net.text_pool_type != "argmax":
        return net.encode_text(tokens)
    length = int(tokens.argmax(dim=1).max()) + 1  # the end has the highest number
    shorter = {
        "positional_embedding": net.positional_embedding[:length],
        "attn_mask": net.attn_mask[:length, :length],
    }
    return torch.func.functional_call(net, shorter, (None, tokens[:, :length]))[1]


def _config(directory: Path) -> dict[str, Any]:
    file = directory / CONFIG
    try:
        config: dict[str, Any] = json.loads(file.read_text())["model_cfg"]
        config["embed_dim"], config["vision_cfg"], config["text_cfg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelsError(f"{file}: not the configuration of a CLIP model: {brief(error)}") from error
    return config


def _load(directory: Path) -> Any:
    try:
        # Without weights open_clip would only warn and serve random numbers.
        net = open_clip.create_model(f"local-dir:{directory}", require_pretrained=True, pretrained_text=False)
    except Exception as error:  # of json, safetensors, pickle, torch and open_clip: what the files are wrong with
        raise ModelsError(f"{directory}: not a CLIP model: {brief(error)}") from error
    return net.eval().requires_grad_(False)


def _fit(config: dict[str, Any], directory: Path) -> Fit:
    side = config["size"] if isinstance(config["size"], int) else config["size"][0]
    if config["size"] not in (side, (side, side), [side, side]) or config["interpolation"] != "bicubic":
        raise ModelsError(f"{directory}: preprocessing {config['size']}, {config['interpolation']} is not known here")
    if config["resize_mode"] not in ("shortest", "squash"):
        raise ModelsError(f"{directory}: preprocessing {config['resize_mode']!r} is not known here")
    return Fit(
        side=side,
        squash=config["resize_mode"] == "squash",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _name(config: dict[str, Any]) -> str:
    """clip- and open_clip's name of the architecture; where it has none, the measures of the image tower."""
    for name in open_clip.list_models():
        if open_clip.get_model_config(name) == config:
            return f"clip-{name.lower()}"
    tower = config["vision_cfg"]
    return f"clip-vit-{tower['layers']}x{tower['width']}-{tower['patch_size']}"
