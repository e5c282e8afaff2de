"""Faces: MTCNN finds them, InceptionResnetV1 makes a vector of each.

The vector is [a, b] / sqrt(2), with a the embedding of the face and b that of its mirror image, 512 numbers each: 1024
in all, and the cosine of two such vectors is the mean of their parts' cosines, so thresholds are those of the embedder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from facenet_pytorch import InceptionResnetV1
from facenet_pytorch.models.inception_resnet_v1 import BasicConv2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from streamapp.engines.face_quality import quality
from streamapp.engines.mtcnn import Finder, Found
from streamapp.engines.tensors import brief, check_finite, scaled, vectors
from streamapp.engines.torch_runtime import Runtime, prepare
from streamapp.engines.weights import MODELS, ModelsError, Weights
from streamapp.insights import Face, FaceDetection
from streamapp.media.image import Picture
from streamapp.settings import Settings

WIDTH = 1024
SIDE = 160  # pixels that the embedder sees
MARGIN = 14  # of those, around the box: as in facenet-pytorch's evaluation on LFW (its examples/lfw_evaluate.ipynb)
MIN_CROP = 20  # pixels of the picture; of fewer there is no vector: a vector of next to nothing resembles anybody
AT_ONCE = 8  # faces, each twice; more together are not faster


class FaceNet:
    """MTCNN, whose weights come with facenet-pytorch, and the embedder whose weights are in `directory`.

    revision: of the weights. dim: width that face vectors must have, 1024. max_faces: kept per picture, the surest.
    min_face_size, search_side: pixels; a picture with a longer side than search_side is searched at that size, and what
    is much smaller than min_face_size there is not found. Everything is float32: bfloat16 changes face vectors too much
    (cosine 0.997 to their own).
    Raises ModelsError, in one line: files missing or wrong, another width.
    """

    def __init__(
        self,
        directory: Path,
        *,
        revision: str,
        dim: int,
        max_faces: int,
        runtime: Runtime,
        min_face_size: int = 40,
        search_side: int = 1280,
    ) -> None:
        if dim != WIDTH:
            raise ModelsError(f"STREAMAPP_FACE_EMBEDDING_DIM is {dim}: vectors of the face model are {WIDTH} wide")
        file = directory / MODELS["facenet"].weights
        self.model = f"facenet-{file.stem.rpartition('-')[2]}-flip-concat@{revision}"
        self._net = _load(file).to(runtime.device, memory_format=torch.channels_last)
        self._finder = Finder(smallest=min_face_size, side=search_side, limit=max_faces, device=runtime.device)
        self._device = runtime.device

    def faces(self, pictures: Sequence[Picture]) -> list[FaceDetection]:
        """See FaceFinder. Raises ValueError where a vector is not a number."""
        every = self._finder.find(pictures)
        crops = [[_crop(picture, each) for each in found] for picture, found in zip(pictures, every, strict=True)]
        embedded = iter(self._embed([crop for some in crops for crop in some if crop is not None]))
        return [
            FaceDetection(
                width=picture.full_width,
                height=picture.full_height,
                faces=tuple(
                    _face(picture, each, crop, None if crop is None else next(embedded))
                    for each, crop in zip(found, some, strict=True)
                ),
            )
            for picture, found, some in zip(pictures, every, crops, strict=True)
        ]

    def _embed(self, crops: Sequence[Any]) -> list[bytes]:
        """The vectors of faces, each (3, SIDE, SIDE) bytes."""
        found: list[bytes] = []
        for start in range(0, len(crops), AT_ONCE):
            some = torch.stack(crops[start : start + AT_ONCE]).to(self._device)
            faces = some.float().sub_(127.5).div_(128)  # as facenet-pytorch's fixed_image_standardization
            both = torch.cat([faces, faces.flip(3)]).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                found += vectors(torch.cat(self._net(both).chunk(2), dim=1), model=self.model)
        return found


def load(settings: Settings, weights: Weights) -> FaceNet:
    """As the settings say. Raises ModelsError."""
    return FaceNet(
        weights.path,
        revision=weights.revision,
        dim=settings.face_embedding_dim,
        max_faces=settings.max_faces,
        min_face_size=settings.face_min_size,
        search_side=settings.face_search_side,
        runtime=prepare(settings),
    )


def _crop(picture: Picture, found: Found) -> Any:
    """What the embedder sees of a face: the box with its margin, (3, SIDE, SIDE) bytes; None where it is too small."""
    left, top, right, bottom = found.box
    across, down = ((size * MARGIN / (SIDE - MARGIN) / 2) for size in (right - left, bottom - top))
    x, to_x = (min(max(int(value), 0), picture.width) for value in (left - across, right + across))
    y, to_y = (min(max(int(value), 0), picture.height) for value in (top - down, bottom + down))
    if min(to_x - x, to_y - y) < MIN_CROP:
        return None
    return scaled(picture.pixels[y:to_y, x:to_x], (SIDE, SIDE), "bilinear")


def _face(picture: Picture, found: Found, crop: Any, vector: bytes | None) -> Face:
    """In pixels of the file's picture. A face that is too small for a vector has no quality."""
    left, top, right, bottom = found.within
    width, height = right - left, bottom - top
    rated = 0.0
    if crop is not None:
        rated = quality(
            confidence=found.confidence,
            side=min(width, height) * picture.scale,
            crop=crop.permute(1, 2, 0).numpy(),
            landmarks=found.landmarks,
        )
    return Face(
        bbox=picture.full_box(left, top, width, height), confidence=found.confidence, quality=rated, embedding=vector
    )


def _load(file: Path) -> Any:
    with torch.device("meta"):  # without memory: every number is the file's
        net = InceptionResnetV1(pretrained=None, classify=False)
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        # The published file has also the classifier it was trained with, on which no vector depends.
        weights = {name: values for name, values in weights.items() if not name.startswith("logits.")}
        net.load_state_dict(weights, assign=True)
    except Exception as error:  # of pickle, zipfile and torch: what the file is wrong with
        raise ModelsError(f"{file}: not the weights of InceptionResnetV1: {brief(error)}") from error
    check_finite(net, file=file)
    net.eval().requires_grad_(False)
    for block in net.modules():
        if isinstance(block, BasicConv2d):  # normalizing in the weights and not in a pass of its own: 6 % less time
            block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), torch.nn.Identity()
    return net
