"""An engine without a model: statistics of colour and layout."""

from __future__ import annotations

from collections.abc import Sequence

from streamapp.engines.base import Sight
from streamapp.engines.pixel_colors import dominant_colors, image_vector
from streamapp.engines.pixel_faces import find_faces
from streamapp.engines.pixel_view import view
from streamapp.engines.pixel_words import moderation, sentence, words
from streamapp.insights import FaceDetection, ImageCaptioning, ImageEmbedding, SceneRecognition, Tagging
from streamapp.media.image import Picture


class Pixel:
    """Looks at colours, edges and simple shapes: enough for drawings and plain photographs of beaches, forests and
    streets, for demonstrations and tests. It has learned nothing and recognizes no objects: a blue wall above a yellow
    floor can be a beach to it. The only faces it sees are drawn ones (marker.py), the only unsafe thing is a magenta
    checker (pixel_words.moderation). Deterministic: equal files give equal bytes.

    image_dim, face_dim: widths of the vectors. max_faces: per picture, the surest are kept.
    """

    model = "pixel-1"

    def __init__(self, *, image_dim: int, face_dim: int, max_faces: int) -> None:
        self._image_dim = image_dim
        self._face_dim = face_dim
        self._max_faces = max_faces

    def see(self, pictures: Sequence[Picture]) -> list[Sight]:
        """See Engine."""
        return [self._see(picture) for picture in pictures]

    def caption(self, pictures: Sequence[Picture]) -> list[ImageCaptioning]:
        """See Engine."""
        return [ImageCaptioning(caption=self._caption(picture)) for picture in pictures]

    def faces(self, pictures: Sequence[Picture]) -> list[FaceDetection]:
        """See Engine."""
        return [
            FaceDetection(
                width=picture.full_width,
                height=picture.full_height,
                faces=find_faces(picture, dim=self._face_dim, limit=self._max_faces),
            )
            for picture in pictures
        ]

    def _see(self, picture: Picture) -> Sight:
        seen = view(picture)
        found = words(seen, faces=self._count_faces(picture))
        return Sight(
            moderation=moderation(seen),
            tagging=Tagging(tags=found.tags),
            scene_recognition=SceneRecognition(scenes=found.scenes, colors=dominant_colors(picture)),
            image_embedding=ImageEmbedding(vector=image_vector(picture, self._image_dim)),
        )

    def _caption(self, picture: Picture) -> str:
        faces = self._count_faces(picture)
        return sentence(words(view(picture), faces=faces), faces=faces, colors=dominant_colors(picture))

    def _count_faces(self, picture: Picture) -> int:
        return len(find_faces(picture, dim=self._face_dim, limit=self._max_faces))
