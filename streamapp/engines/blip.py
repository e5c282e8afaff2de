"""BLIP: a sentence for every picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessor
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from streamapp.engines.tensors import Fit, brief, check_finite
from streamapp.engines.torch_runtime import Runtime, prepare
from streamapp.engines.weights import ModelsError, Weights
from streamapp.insights import ImageCaptioning
from streamapp.media.image import Picture
from streamapp.settings import Settings

# transformers tells of every load at length, and of what a file lacks in a table; here that is an error of one line.
set_verbosity_error()
disable_progress_bar()

CONFIG = "config.json"
BICUBIC = 3  # Pillow's number of the filter, as it stands in preprocessor_config.json
SIZES = {(768, 12): "base", (1024, 24): "large"}  # of the published models: width and layers of the image tower


class Blip:
    """A model in transformers' published form: a directory with configuration, weights and tokenizer.

    revision: of the weights. max_tokens: longest sentence; each token costs as much as the one before it.
    Sentences are decoded greedily: the same picture gives the same one, and beams would cost as many times more.
    Raises ModelsError, in one line: files missing or wrong.
    """

    def __init__(self, directory: Path, *, revision: str, runtime: Runtime, max_tokens: int = 20) -> None:
        net, self._tokenizer, self._fit = _load(directory)
        check_finite(net, file=directory)
        tower = net.config.vision_config
        size = SIZES.get((tower.hidden_size, tower.num_hidden_layers))
        self.model = f"blip-{size or f'{tower.num_hidden_layers}x{tower.hidden_size}'}@{revision}"
        self._runtime = runtime
        self._max_tokens = max_tokens
        self._net = net.to(runtime.device, runtime.dtype)

    def caption(self, pictures: Sequence[Picture]) -> list[ImageCaptioning]:
        """See Captioner."""
        if not pictures:
            return []
        with torch.inference_mode():
            batch = self._fit.batch(pictures, self._runtime.device, self._runtime.dtype)
            tokens = self._net.generate(
                pixel_values=batch, max_new_tokens=self._max_tokens, do_sample=False, num_beams=1
            )
        texts = self._tokenizer.batch_decode(tokens.cpu(), skip_special_tokens=True)
        return [ImageCaptioning(caption=text.strip()) for text in texts]


def load(settings: Settings, weights: Weights) -> Blip:
    """As the settings say. Raises ModelsError."""
    return Blip(weights.path, revision=weights.revision, max_tokens=settings.caption_tokens, runtime=prepare(settings))


def _load(directory: Path) -> tuple[Any, Any, Fit]:
    if not (directory / CONFIG).is_file():  # transformers would take its defaults for it
        raise ModelsError(f"{directory}: not a BLIP model: no {CONFIG}")
    try:
        net, report = BlipForConditionalGeneration.from_pretrained(
            directory,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # so that they are named below
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        processor = BlipImageProcessor.from_pretrained(directory, local_files_only=True)
        fit = _fit(processor, directory)
    except ModelsError:
        raise
    except Exception as error:  # of json, safetensors, torch and transformers: what the files are wrong with
        raise ModelsError(f"{directory}: not a BLIP model: {brief(error)}") from error
    # What a file lacks transformers fills with random numbers, and only says so.
    if lacking := [*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]:
        raise ModelsError(f"{directory}: {len(lacking)} weights are missing or of another shape, {lacking[0]} first")
    if len(tokenizer) < net.config.text_config.vocab_size:
        words, wanted = len(tokenizer), net.config.text_config.vocab_size
        raise ModelsError(f"{directory}: the tokenizer knows {words} tokens, the model {wanted}")
    return net.eval().requires_grad_(False), tokenizer, fit


def _fit(processor: Any, directory: Path) -> Fit:
    height, width = processor.size["height"], processor.size["width"]
    if height != width or int(processor.resample) != BICUBIC:
        raise ModelsError(f"{directory}: preprocessing {width}x{height}, filter {processor.resample} is not known here")
    return Fit(side=height, squash=True, mean=tuple(processor.image_mean), std=tuple(processor.image_std))
