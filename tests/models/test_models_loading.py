"""What is wrong with a model's files is told in one line, before anything is served; nothing is served at random."""

from __future__ import annotations

import json
import logging
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import tiny_models
import torch
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import load_file, save_file
from skimage import data
from tiny_models import MEAN, RUNTIME, SIDE, STD, said
from tiny_pictures import picture
from transformers import BlipImageProcessor

from streamapp.engines.blip import Blip
from streamapp.engines.clip import Clip
from streamapp.engines.facenet import FaceNet
from streamapp.engines.labels import vocabulary
from streamapp.engines.tensors import Fit
from streamapp.engines.texts import EmbedsTexts
from streamapp.engines.weights import MODELS, ModelsError
from streamapp.media.image import Picture

pytest_plugins = ["tiny_fixtures"]

CLIP, BLIP, FACES = (MODELS[name].weights for name in ("clip", "blip", "facenet"))


def load(name: str, directory: Path) -> Any:
    if name == "clip":
        return Clip(directory, revision="r", dim=512, vocabulary=said(), runtime=RUNTIME)
    if name == "blip":
        return Blip(directory, revision="r", runtime=RUNTIME)
    return FaceNet(directory, revision="r", dim=1024, max_faces=9, runtime=RUNTIME)


def remove(file: str) -> Callable[[Path], object]:
    return lambda directory: (directory / file).unlink()


def damage(file: str) -> Callable[[Path], object]:
    return lambda directory: (directory / file).write_bytes(b"{not what it was}" * 9)


def cut(file: str) -> Callable[[Path], object]:
    return lambda directory: (directory / file).write_bytes((directory / file).read_bytes()[:-1000])


def weights(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the tensors of a model's file."""

    def act(directory: Path) -> None:
        if directory.name == "facenet":
            tensors = torch.load(directory / FACES, weights_only=True)
            change(tensors)
            torch.save(tensors, directory / FACES)
            return
        file = directory / (CLIP if directory.name == "clip" else BLIP)
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file, metadata={"format": "pt"})

    return act


def spoil(tensors: dict[str, Any]) -> None:
    floating = [values for values in tensors.values() if values.is_floating_point() and values.dim() > 1]
    floating[len(floating) // 2].view(-1)[7] = torch.nan


def lose(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda tensors: tensors.pop(name)


def reshape(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda tensors: tensors.update({name: tensors[name][:-1].clone()})


def configure(file: str, **changes: object) -> Callable[[Path], object]:
    def act(directory: Path) -> None:
        config = json.loads((directory / file).read_text())
        for path, value in changes.items():
            *outer, last = path.split("__")
            inner = config
            for key in outer:
                inner = inner[key]
            inner[last] = value
        (directory / file).write_text(json.dumps(config))

    return act


OPEN_CLIP = "open_clip_config.json"
PROCESSOR = "preprocessor_config.json"
WRONGS = {
    "clip without weights": ("clip", remove(CLIP), "not a CLIP model"),
    "clip without configuration": ("clip", remove(OPEN_CLIP), OPEN_CLIP),
    "clip with a broken configuration": ("clip", damage(OPEN_CLIP), OPEN_CLIP),
    "clip with another configuration": ("clip", configure(OPEN_CLIP, model_cfg={"a": 1}), "vision_cfg|embed_dim"),
    "clip damaged": ("clip", damage(CLIP), "not a CLIP model"),
    "clip cut short": ("clip", cut(CLIP), "not a CLIP model"),
    "clip of another architecture": ("clip", configure(OPEN_CLIP, model_cfg__vision_cfg__layers=3), "not a CLIP model"),
    "clip of another width": ("clip", configure(OPEN_CLIP, model_cfg__embed_dim=256), "STREAMAPP_IMAGE_EMBEDDING_DIM"),
    "clip with a weight missing": ("clip", weights(lose("visual.proj")), "visual.proj"),
    "clip with a weight of another shape": ("clip", weights(reshape("visual.proj")), "visual.proj"),
    "clip with NaN": ("clip", weights(spoil), "not finite"),
    "clip with another fit": ("clip", configure(OPEN_CLIP, preprocess_cfg__resize_mode="longest"), "longest"),
    "clip with another filter": ("clip", configure(OPEN_CLIP, preprocess_cfg__interpolation="random"), "random"),
    "blip without weights": ("blip", remove(BLIP), "not a BLIP model"),
    "blip without configuration": ("blip", remove("config.json"), "not a BLIP model"),
    "blip without tokenizer": ("blip", remove("tokenizer.json"), "BLIP|tokenizer"),
    "blip without preprocessing": ("blip", remove(PROCESSOR), "not a BLIP model"),
    "blip damaged": ("blip", damage(BLIP), "not a BLIP model"),
    "blip cut short": ("blip", cut(BLIP), "not a BLIP model"),
    "blip of another architecture": (
        "blip", configure("config.json", vision_config__num_hidden_layers=3), "weights are missing"
    ),
    "blip with a weight missing": ("blip", weights(lose("vision_model.post_layernorm.weight")), "post_layernorm"),
    "blip with a weight of another shape": (
        "blip", weights(reshape("vision_model.post_layernorm.weight")), "post_layernorm"
    ),
    "blip with NaN": ("blip", weights(spoil), "not finite"),
    "blip with another fit": (
        "blip", configure(PROCESSOR, size={"height": 64, "width": 96}), "96x64"
    ),
    "facenet without weights": ("facenet", remove(FACES), FACES),
    "facenet damaged": ("facenet", damage(FACES), FACES),
    "facenet cut short": ("facenet", cut(FACES), FACES),
    "facenet with a weight missing": ("facenet", weights(lose("last_bn.running_mean")), "last_bn.running_mean"),
    "facenet with a weight of another shape": ("facenet", weights(reshape("last_linear.weight")), "last_linear"),
    "facenet with NaN": ("facenet", weights(spoil), "not finite"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "change", "told"), WRONGS.values(), ids=WRONGS)
def test_wrong_files_are_refused_in_one_line(
    models_dir: Path, tmp_path: Path, name: str, change: Callable[[Path], object], told: str
) -> None:
    directory = tmp_path / name
    shutil.copytree(models_dir / name, directory)
    change(directory)
    with pytest.raises(ModelsError, match=told) as caught:
        load(name, directory)
    assert "\n" not in str(caught.value)
    assert str(directory) in str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_a_directory_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelsError, match=str(tmp_path / name)):
        load(name, tmp_path / name)


def test_what_loads_has_the_weights_of_its_file(models_dir: Path, clip: Clip, blip: Blip, facenet: FaceNet) -> None:
    saved = load_file(models_dir / "clip" / CLIP)
    assert all(torch.equal(values, saved[name]) for name, values in clip._net.state_dict().items())
    saved = load_file(models_dir / "blip" / BLIP)
    assert all(torch.equal(blip._net.state_dict()[name], values) for name, values in saved.items())
    saved = torch.load(models_dir / "facenet" / FACES, weights_only=True)
    assert any(name.startswith("logits.") for name in saved)  # as the published file has them
    # Normalization is folded into these weights: what they answer is what those of the file do.
    plain = InceptionResnetV1(pretrained=None, classify=False).eval()
    faces = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        other = plain(faces)
        plain.load_state_dict({name: values for name, values in saved.items() if not name.startswith("logits.")})
        torch.testing.assert_close(facenet._net(faces), plain(faces), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(facenet._net(faces), other, atol=1e-3)


def test_names_are_of_the_architecture(clip: Clip, blip: Blip, facenet: FaceNet) -> None:
    assert clip.model == "clip-vit-2x64-16@tiny"
    assert blip.model == "blip-2x32@tiny"
    assert facenet.model == "facenet-vggface2-flip-concat@tiny"


def test_the_published_architecture_has_its_published_name() -> None:
    from streamapp.engines.clip import _name

    assert _name(open_clip.get_model_config("ViT-B-32")) == "clip-vit-b-32"


def test_a_model_that_answers_nan_is_not_called_safe(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, photographs: list[Picture]
) -> None:
    clip = load("clip", models_dir / "clip")
    monkeypatch.setattr(clip._net, "encode_image", lambda batch: torch.full((len(batch), 512), torch.nan))
    with pytest.raises(ValueError, match="not a number"):
        clip.see(photographs)
    monkeypatch.setattr(clip._net, "encode_image", lambda batch: torch.zeros(len(batch), 512))
    with pytest.raises(ValueError, match="zeros"):
        clip.see(photographs)
    faces = load("facenet", models_dir / "facenet")
    monkeypatch.setattr(faces, "_net", lambda batch: torch.full((len(batch), 512), torch.nan))
    with pytest.raises(ValueError, match="not a number"):
        faces.faces(photographs)


def test_odd_pictures_hurt_nobody(clip: Clip, blip: Blip, odd: dict[str, Picture]) -> None:
    for name, sight in zip(odd, clip.see(list(odd.values())), strict=True):
        assert np.linalg.norm(np.frombuffer(sight.image_embedding.vector, "<f4")) == pytest.approx(1, abs=1e-6), name
        assert 0 <= sight.moderation.confidence <= 1
        assert sight.scene_recognition.colors
    assert all(isinstance(told.caption, str) for told in blip.caption(list(odd.values())))


def test_texts_are_in_the_space_of_the_words(clip: Clip) -> None:
    assert isinstance(clip, EmbedsTexts)
    for word, label in zip(clip.vocabulary.words, clip.labels, strict=True):
        rows = np.stack([np.frombuffer(raw, "<f4") for raw in clip.embed_texts(word.sentences)])
        assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(rows)), abs=1e-6)
        mean = rows.mean(axis=0)
        assert label.numpy() == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5), word
    assert len(clip.embed_texts(["", "word " * 500, "ünïcødé 🙂"])) == 3


def test_other_words_are_asked_when_the_settings_say_so(models_dir: Path, photographs: list[Picture]) -> None:
    said = vocabulary(tags=["zebra", "lion"], scenes=["zoo"], moderation=["safe:calm", "unsafe:wild"])
    clip = Clip(models_dir / "clip", revision="r", dim=512, vocabulary=said, runtime=RUNTIME, unsafe_least=1e-9)
    for sight in clip.see(photographs):
        assert {label.name for label in sight.tagging.tags} <= {"zebra", "lion"}
        assert [label.name for label in sight.scene_recognition.scenes] == ["zoo"]
        assert sight.moderation.is_safe is False


# --- what models see -----------------------------------------------------------------------------------------------


def test_clip_sees_what_open_clip_would_show_it(clip: Clip, photographs: list[Picture]) -> None:
    transform = open_clip.image_transform(SIDE, is_train=False, mean=MEAN, std=STD, interpolation="bicubic")
    fit = Fit(side=SIDE, squash=False, mean=MEAN, std=STD)
    for each in photographs:
        theirs, ours = transform(each.image()).unsqueeze(0), fit.batch([each], "cpu", torch.float32)
        assert theirs.shape == ours.shape
        # Squares of photographs cut out before scaling instead of after: half a pixel beside, at most.
        assert float((theirs - ours).abs().mean()) < 0.06
        one, other = (torch.nn.functional.normalize(clip._net.encode_image(x)) for x in (theirs, ours))
        assert float((one * other).sum()) > 0.995


def test_blip_sees_what_transformers_would_show_it(models_dir: Path, blip: Blip, photographs: list[Picture]) -> None:
    processor = BlipImageProcessor.from_pretrained(models_dir / "blip")
    for each in photographs:
        theirs = processor(each.image(), return_tensors="pt")["pixel_values"]
        ours = blip._fit.batch([each], "cpu", torch.float32)
        assert float((theirs - ours).abs().max()) < 0.02  # a level of 255 is 0.015


def test_a_picture_is_not_changed(clip: Clip, blip: Blip, facenet: FaceNet) -> None:
    pixels = data.astronaut()
    kept = picture(pixels)
    clip.see([kept]), blip.caption([kept]), facenet.faces([kept])
    assert (kept.pixels == pixels).all()


def test_a_picture_of_one_long_row_takes_little_memory(clip: Clip, blip: Blip) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB
    row = np.zeros((1, 20_000_000, 3), np.uint8)
    row[:, 10_000_000:] = 255
    fitted = blip._fit.batch([picture(row)], "cpu", torch.float32)
    assert float(fitted[0, :, :, 0].max()) < 0 < float(fitted[0, :, :, -1].min())
    clip.see([picture(row[:, :1000])])
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 400_000  # 120 MB of them are the test's own; without care it is 800 MB


def test_a_caption_ends_where_the_settings_say(models_dir: Path, photographs: list[Picture]) -> None:
    short = Blip(models_dir / "blip", revision="r", runtime=RUNTIME, max_tokens=2).caption(photographs)
    assert all(len(told.caption.split()) <= 2 for told in short)
    assert any(told.caption for told in short)


def test_loading_says_nothing(
    models_dir: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for name in MODELS:
        load(name, models_dir / name)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_tiny_clip_of_another_width_can_be_made(tmp_path: Path) -> None:
    tiny_models.clip(tmp_path, dim=256, taught=False)
    clip = Clip(tmp_path, revision="r", dim=256, vocabulary=said(), runtime=RUNTIME)
    assert len(clip.see([picture(data.astronaut())])[0].image_embedding.vector) == 4 * 256
