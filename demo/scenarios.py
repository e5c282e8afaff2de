"""What the demo shows: two posts end to end, and one that cannot be completed."""

from __future__ import annotations

import time

from demo.backend import Backend, Fields, until

SERVICES = 5  # messages per image on ml-insights-results; faces have a stream of their own


def say(text: str = "") -> None:
    print(text, flush=True)


class Clock:
    """Prints each step with the time it took."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def step(self, text: str) -> None:
        now = time.monotonic()
        say(f"  {now - self._last:6.2f} s  {text}")
        self._last = now


async def one_image(backend: Backend, images: str) -> None:
    """Scenario 1: a post with one image."""
    say("\nScenario 1: a post with one image")
    clock = Clock()
    await backend.add_user(15, "ana")
    await backend.add_post(100, 15, "Quiet morning", {201: f"{images}/forest.jpg"})
    await backend.request_image(100, 201, f"{images}/forest.jpg")
    await _answered(backend, 100, 1)
    clock.step("XADD post-image-processing → one result per service in Redis")
    for result in await backend.results("ml-insights-results", 100):
        say(f"            {result['service']:18} {_gist(result)}")
    await backend.trigger(100, 201)
    result = await _aggregate(backend, 100)
    clock.step("XADD post-aggregation-trigger → post-insights-enriched")
    _show(result)
    await until(lambda: backend.search("forest"), what="the document of the forest")
    clock.step("the image is found by “forest”")


async def three_images(backend: Backend, images: str) -> None:
    """Scenario 2: three images, faces in the second."""
    say("\nScenario 2: a post with three images, faces in the second")
    clock = Clock()
    names = {202: "beach_people", 203: "beach_sunset", 204: "beach"}
    urls = {media_id: f"{images}/{name}.jpg" for media_id, name in names.items()}
    await backend.add_post(101, 15, "Team day", urls)
    for position, (media_id, url) in enumerate(urls.items()):
        await backend.request_image(101, media_id, url, position=position)
    await _answered(backend, 101, len(urls))
    clock.step("three images processed")
    for result in await backend.results("face-detection-results", 101):
        say(f"            media {result['mediaId']}: {result['facesDetected']} faces")
    await backend.trigger(101, *urls)
    result = await _aggregate(backend, 101)
    clock.step("XADD post-aggregation-trigger → post-insights-enriched over all three")
    _show(result)


async def a_missing_image(backend: Backend, images: str) -> None:
    """A post whose second image is not there: given as partial, and it says why."""
    say("\nA post whose second image cannot be fetched")
    clock = Clock()
    urls = {205: f"{images}/street.jpg", 206: f"{images}/gone.jpg"}
    await backend.add_post(102, 15, "On the way", urls)
    for media_id, url in urls.items():
        await backend.request_image(102, media_id, url)
    await backend.trigger(102, *urls)
    result = await _aggregate(backend, 102)
    clock.step("given at once, as partial")
    _show(result)
    story = await backend.story(102)
    say(f"            GET /posts/102: {story['state']}, because")
    for line in story["why"]:
        say(f"              {line}")


async def a_face(backend: Backend, images: str) -> None:
    """Somebody is enrolled, and found on an image that was posted before."""
    say("\nA profile picture, and who is on the images of post 101")
    clock = Clock()
    await backend.add_user(16, "lena")
    await backend.send(
        "profile-picture-processing", userId=16, imageUrl=f"{images}/profile_lena.jpg", correlationId="profile-16"
    )
    (found, *_) = await until(lambda: backend.results("face-recognition-results", 101), what="a face that is known")
    clock.step("XADD profile-picture-processing → face-recognition-results")
    for name in ("mediaId", "suggestedUserId", "matchedUsername", "confidenceScore", "status"):
        say(f"            {name:18} {found[name]}")

    async def named() -> bool:
        return bool(
            await backend.postgres.fetchval(
                "SELECT 16 = ANY(all_detected_user_ids) FROM read_model_post_search WHERE post_id = 101"
            )
        )

    await until(named, what="who is on post 101 in its row")
    clock.step("the rows of the image and of its post name her")


async def search(backend: Backend) -> None:
    """The search of the second scenario: all its images, whichever of them shows the beach or the people."""
    say("\nSearch “beach party”")

    async def hits() -> bool:
        return {hit.media_id for hit in await backend.search("beach party")} >= {202, 203, 204}

    clock = Clock()
    await until(hits, what="all three images of post 101 for “beach party”")
    clock.step("all images of post 101 are found")
    for hit in await backend.search("beach party"):
        say(f"            {hit.score:5.2f}  post {hit.post_id}  media {hit.media_id}  {hit.caption}")


async def rows(backend: Backend) -> None:
    """The read models as the backend's queries see them."""
    say("\nRows in PostgreSQL")
    for row in await backend.postgres.fetch(
        "SELECT post_id, media_id, ai_status, is_safe, ai_tags FROM read_model_media_search ORDER BY media_id"
    ):
        say(f"            {row['post_id']} {row['media_id']}  {row['ai_status']:10} {', '.join(row['ai_tags'] or [])}")


async def _answered(backend: Backend, post_id: int, media: int) -> None:
    async def whole() -> bool:
        insights = await backend.results("ml-insights-results", post_id)
        faces = await backend.results("face-detection-results", post_id)
        return len(insights) == SERVICES * media and len(faces) == media

    await until(whole, what=f"the results of post {post_id}")


async def _aggregate(backend: Backend, post_id: int) -> Fields:
    found = await until(
        lambda: backend.results("post-insights-enriched", post_id), what=f"the aggregate of post {post_id}"
    )
    last: Fields = found[-1]
    return last


def _gist(result: Fields) -> str:
    names = ("isSafe", "tags", "scenes", "caption", "imageEmbedding")
    text = next(result[name] for name in names if name in result)
    return text if len(text) < 60 else f"{text[:48]} … ({text.count(',') + 1} numbers)"


def _show(result: Fields) -> None:
    names = ("completeness", "inferredEventType", "isSafe", "totalFaces", "aggregatedTags", "aggregatedScenes")
    for name in (*names, "combinedCaption"):
        say(f"            {name:18} {result[name]}")
