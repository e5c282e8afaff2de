"""The main job with engine `models`, on tiny models. With STREAMAPP_TEST_ENGINE=models the whole suite runs on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import photographs
import pytest
from results import aggregates, answered
from system import ENGINE, System

import samples
from demo.backend import Backend, until

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(ENGINE == "models", reason="the other tests are of engine models in this run"),
]


@pytest.fixture(scope="module", autouse=True)
def worker(system: System, models: dict[str, str]) -> Iterator[None]:
    """The run's worker with the other engine, for the tests of this file."""
    system.replace_worker(**models)
    yield
    system.replace_worker()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("photos")
    for name in samples.NAMES:
        (folder / f"{name}.jpg").write_bytes(samples.path(name).read_bytes())
    photographs.put_faces(folder)
    (folder / "text.jpg").write_text("no picture")
    with samples.serve(folder=folder) as url:
        yield url


async def test_a_post_from_request_to_search(backend: Backend, photos: str, post_id: int) -> None:
    names = ("beach_people", "beach_sunset", "beach")
    urls = {post_id + n: f"{photos}/{name}.jpg" for n, name in enumerate(names, 1)}
    await backend.add_post(post_id, 15, f"Reunion {post_id}", urls)
    for media_id, url in urls.items():
        await backend.request_image(post_id, media_id, url)
    insights, faces = await answered(backend, post_id, 3)
    assert {int(m["mediaId"]): m["facesDetected"] for m in faces} == dict(zip(urls, "020", strict=True))
    models = {m["service"]: m["model"].partition("@")[0] for m in insights}
    assert models == {
        "moderation": "clip-vit-2x64-16",
        "tagging": "clip-vit-2x64-16",
        "scene_recognition": "clip-vit-2x64-16",
        "image_embedding": "clip-vit-2x64-16",
        "image_captioning": "blip-2x32",
    }
    assert {m["model"].partition("@")[0] for m in faces} == {"facenet-vggface2-flip-concat"}
    vectors = {m["mediaId"]: m["imageEmbedding"] for m in insights if m["service"] == "image_embedding"}
    assert len(set(vectors.values())) == 3
    assert {len(json.loads(vector)) for vector in vectors.values()} == {512}
    await backend.trigger(post_id, *urls)
    (enriched,) = await aggregates(backend, post_id)
    assert (enriched["completeness"], enriched["totalFaces"]) == ("complete", "2")

    async def found() -> bool:
        return {hit.media_id for hit in await backend.search(f"reunion {post_id}")} >= set(urls)

    await until(found, what="all three images")
    width = "SELECT DISTINCT vector_dims(face_embedding) FROM read_model_face_search WHERE post_id = $1"
    assert [row[0] for row in await backend.postgres.fetch(width, post_id)] == [1024]


async def test_many_at_once_each_gets_its_own_and_a_bad_one_fails_alone(
    backend: Backend, photos: str, post_id: int
) -> None:
    names = ("beach", "text", "forest", "street", "beach", "forest", "street", "beach")
    for n, name in enumerate(names):
        await backend.request_image(post_id, f"{n:03}", f"{photos}/{name}.jpg")
    await backend.trigger(post_id, *(f"{n:03}" for n in range(len(names))))
    (enriched,) = await aggregates(backend, post_id)
    assert enriched["completeness"] == "partial"
    assert {each["mediaId"] for each in json.loads(enriched["missing"])} == {"001"}
    captions: dict[str, set[str]] = {}
    for message in await backend.results("ml-insights-results", post_id):
        if message["service"] == "image_captioning":
            captions.setdefault(names[int(message["mediaId"])], set()).add(message["caption"])
    assert {name: len(said) for name, said in captions.items()} == {"beach": 1, "forest": 1, "street": 1}
    assert len(set.union(*captions.values())) == 3


async def test_who_is_on_a_photograph(backend: Backend, tmp_path: Path, post_id: int) -> None:
    """Enrolled with a portrait, found on a picture of other size, before and after; the other picture enrols nobody."""
    photographs.portrait().save(tmp_path / "me.jpg", quality=95)
    photographs.portrait(beside=200).save(tmp_path / "post.jpg", quality=95)
    (tmp_path / "nobody.jpg").write_bytes(samples.path("forest").read_bytes())
    user = 6_000_000 + post_id % 1_000_000
    await backend.add_user(user, f"eileen{user}")

    async def named(post: int, *users: int) -> bool:
        query = "SELECT all_detected_user_ids FROM read_model_post_search WHERE post_id = $1"
        return bool(await backend.postgres.fetchval(query, post) == list(users))

    async def refused() -> bool:
        entries: list[tuple[str, dict[str, str]]] = await backend.redis.xrange("ml-error-results")  # type: ignore[assignment]
        return any(found.get("userId") == str(user) and "no face" in found["error"] for _, found in entries)

    with samples.serve(folder=tmp_path) as url:

        async def post(post: int) -> None:
            await backend.add_post(post, 15, "Launch", {post + 1: f"{url}/post.jpg"})
            await backend.request_image(post, post + 1, f"{url}/post.jpg")
            await backend.trigger(post, post + 1)

        await post(post_id)
        await until(lambda: named(post_id), what="a face of nobody")
        await backend.send("profile-picture-processing", userId=user, imageUrl=f"{url}/nobody.jpg", correlationId="n")
        await until(refused, what="the refusal")
        await backend.send("profile-picture-processing", userId=user, imageUrl=f"{url}/me.jpg", correlationId="m")
        await until(lambda: named(post_id, user), what="who it is, found afterwards")
        await post(post_id + 5)
        await until(lambda: named(post_id + 5, user), what="who it is, found at once")
    await backend.postgres.execute("DELETE FROM read_model_known_faces WHERE user_id = $1", user)
    await until(lambda: named(post_id), what="nobody again")
