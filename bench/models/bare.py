"""The bare loop: the libraries called in the plainest way that is fast, and nothing of this application.

    python -m bench.models.bare MODELS IMAGE COUNT [--batch 8] [--threads 1] [--dtype bfloat16] [--stages clip,faces,…]

A process of its own: it loads, says "ready", waits for a line, works through COUNT images, and prints the seconds they
took. `--naive` leaves torch as it is (float32, its own allocator): what one writes first.
"""

from __future__ import annotations

import ctypes
import io
from pathlib import Path
from typing import Any

import open_clip
import torch
from facenet_pytorch import MTCNN, InceptionResnetV1
from facenet_pytorch.models.utils.detect_face import extract_face
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor

from bench.models.loops import arguments, loop

STAGES = ("decode", "clip", "colors", "faces", "captions")
LABELS = 100  # about as many words as the vocabulary has
TOKENS = 20


class Bare:
    """All models, and the stages of the loop."""

    def __init__(self, directory: Path, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.clip, _, self.preprocess = open_clip.create_model_and_transforms(f"local-dir:{directory / 'clip'}")
        self.clip = self.clip.eval().to(dtype)
        self.labels = torch.nn.functional.normalize(torch.randn(512, LABELS), dim=0)
        self.finder = MTCNN(min_face_size=40, keep_all=True, select_largest=False)
        self.embedder = InceptionResnetV1(pretrained=None, classify=False).eval()
        (file,) = (directory / "facenet").glob("*.pt")
        weights = torch.load(file, weights_only=True)
        self.embedder.load_state_dict({k: v for k, v in weights.items() if not k.startswith("logits.")})
        self.embedder = self.embedder.to(memory_format=torch.channels_last)
        self.processor: Any = BlipProcessor.from_pretrained(directory / "blip", local_files_only=True)
        self.blip = BlipForConditionalGeneration.from_pretrained(directory / "blip", local_files_only=True, dtype=dtype)
        self.blip.eval()

    def run(self, raw: bytes, count: int, stages: frozenset[str]) -> None:
        """Look at so many copies of an image together."""
        images = [Image.open(io.BytesIO(raw)).convert("RGB") for _ in range(count)]
        if "clip" in stages:
            seen = self.clip.encode_image(torch.stack([self.preprocess(image) for image in images]).to(self.dtype))
            (100 * torch.nn.functional.normalize(seen.float(), dim=-1) @ self.labels).softmax(dim=-1).tolist()
        if "colors" in stages:
            for image in images:
                image.resize((64, 64), Image.Resampling.BOX).quantize(8).histogram()
        if "faces" in stages:
            self._faces(images)
        if "captions" in stages:
            pixels = self.processor.image_processor(images, return_tensors="pt")["pixel_values"].to(self.dtype)
            tokens = self.blip.generate(pixel_values=pixels, max_new_tokens=TOKENS, do_sample=False)
            self.processor.batch_decode(tokens, skip_special_tokens=True)

    def _faces(self, images: list[Any]) -> None:
        boxes, *_ = self.finder.detect(images, landmarks=True)
        crops = [
            extract_face(image, box, image_size=160, margin=14)
            for image, found in zip(images, boxes, strict=True)
            for box in (found if found is not None else ())
        ]
        if crops:
            faces = (torch.stack(crops) - 127.5) / 128
            both = torch.cat([faces, faces.flip(3)]).contiguous(memory_format=torch.channels_last)
            torch.nn.functional.normalize(torch.cat(self.embedder(both).chunk(2), dim=1), dim=1).tolist()


def main() -> None:
    """See the module's docstring."""
    parser = arguments(",".join(STAGES))
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--naive", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if not asked.naive:
        torch.set_float32_matmul_precision("medium")
        malloc = ctypes.CDLL(None)
        malloc.mallopt(-3, 1 << 30)
        malloc.mallopt(-1, 2**31 - 1)
    bare = Bare(asked.models, getattr(torch, asked.dtype))
    with torch.inference_mode():
        loop(asked, bare.run)


if __name__ == "__main__":
    main()
