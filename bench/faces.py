"""Known faces: how often the index finds the face that exact search finds, and how fast.

`make bench-faces`, or `python -m bench.faces 20000` for fewer than 100,000; on a PostgreSQL of its own. Enrolled
vectors lie in clusters, as faces of people who resemble each other do, and a query is an enrolled vector with noise:
uniformly random vectors are all equally far from each other and prove nothing. Exact search is a matrix product with
numpy over all vectors in memory, alternating with the index, a face at a time.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import numpy as np
from numpy.typing import NDArray

import stack
from bench import machine
from streamapp.faces.matching import NEIGHBOURS, Thresholds
from streamapp.faces.store import KnownFaces
from streamapp.sinks.awaiting import Awaiting
from streamapp.sinks.database import EF_SEARCH, Pool, open_pool
from streamapp.sinks.known_faces import KnownFaceRows
from streamapp.sinks.migrations import migrate
from streamapp.sinks.readmodels import KNOWN_FACES
from streamapp.sinks.statements import Statements
from streamapp.sinks.users import Users
from streamapp.sinks.vectors import vector_text

Vectors: TypeAlias = NDArray[np.float32]

INSTANCE = "bench-faces"
COUNT = 100_000
WIDTH = 1024
CLUSTER = 100  # people who resemble each other: cosines of about 0.6
APART, NOISE = 0.8, 0.5  # lengths of what is added to the middle of a cluster, and to a query: cosine 0.89 to its own
QUERIES = 1000
TOGETHER = 8  # faces of one image
INDEX = "read_model_known_faces_active"


async def faces(postgres_url: str, count: int) -> dict[str, Any]:
    """All figures for so many known faces."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    server = await asyncpg.connect(postgres_url)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        return await _measure(urlsplit(postgres_url)._replace(path=f"/{name}").geturl(), count)
    finally:
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.close()


async def _measure(url: str, count: int) -> dict[str, Any]:
    random = np.random.default_rng(1)
    known = _known(random, count)
    chosen = random.integers(0, count, QUERIES)
    queries = _unit(known[chosen] + _noise(random, QUERIES) * NOISE)
    seconds = await _load(url, known)
    nearest = [_exact(known, query)[0] for query in queries]
    found: dict[str, Any] = {"known_faces": count, "index_build_seconds": round(seconds), "exact_is_own": 0.0}
    found["exact_is_own"] = round(
        float(np.mean([near[0] == own for near, own in zip(nearest, chosen, strict=True)])), 4
    )
    for ef_search in sorted({40, EF_SEARCH}):
        pool = await open_pool(url, ef_search=ef_search)
        async with pool:
            found[f"ef_search {ef_search}"] = await _index(pool, known, queries, nearest)
    return found


def _known(random: np.random.Generator, count: int) -> Vectors:
    middles = _noise(random, -(-count // CLUSTER))
    return _unit(np.repeat(middles, CLUSTER, axis=0)[:count] + _noise(random, count) * APART)


def _noise(random: np.random.Generator, count: int) -> Vectors:
    """Directions, each of length 1."""
    return _unit(random.normal(size=(count, WIDTH)).astype(np.float32))


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _exact(known: Vectors, query: Vectors) -> tuple[NDArray[np.intp], float]:
    """The nearest, nearest first, and the time it took."""
    begin = time.perf_counter()
    cosines = known @ query
    best = np.argpartition(-cosines, NEIGHBOURS)[:NEIGHBOURS]
    best = best[np.argsort(-cosines[best])]
    return best, time.perf_counter() - begin


async def _load(url: str, known: Vectors) -> float:
    """Fill the table; seconds that its index took. The trigger of single changes is not what is measured."""
    connection = await asyncpg.connect(url)
    await migrate(connection)
    await connection.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status)"
        " SELECT n, 'user' || n, n, '', 'USER', 'ACTIVE' FROM generate_series(0, $1::int - 1) n",
        len(known),
    )
    definition = await connection.fetchval("SELECT pg_get_indexdef($1::regclass)", INDEX)
    await connection.execute(f"DROP INDEX {INDEX}")
    await connection.execute(f"ALTER TABLE {KNOWN_FACES} DISABLE TRIGGER USER")
    await connection.close()
    pool = await open_pool(url)
    async with pool, pool.acquire() as loading:
        records = ((n, f"user{n}", vector, True) for n, vector in enumerate(known))
        columns = ["user_id", "username", "face_embedding", "is_active"]
        await loading.copy_records_to_table(KNOWN_FACES, records=records, columns=columns)
        await loading.execute("SET maintenance_work_mem = '2GB'")
        begin = time.perf_counter()
        await loading.execute(definition, timeout=3600)
        seconds = time.perf_counter() - begin
        await loading.execute(f"ANALYZE {KNOWN_FACES}")
    return seconds


async def _index(pool: Pool, known: Vectors, queries: Vectors, nearest: Sequence[NDArray[np.intp]]) -> dict[str, Any]:
    send = Statements()
    rows = KnownFaceRows(send, Users(send, Awaiting(send)), tables=())
    store = KnownFaces(pool, send=send, rows=rows, thresholds=Thresholds())
    texts = [str(vector_text(query.tobytes(), WIDTH)) for query in queries]
    await store.nearest(texts[:TOGETHER])  # warm
    first = among = 0
    one, exact = list[float](), list[float]()
    for text, query, best in zip(texts, queries, nearest, strict=True):
        begin = time.perf_counter()
        _, (found,) = await store.nearest([text])
        one.append(time.perf_counter() - begin)
        exact.append(_exact(known, query)[1])
        ids = [each.user_id for each in found]
        first += ids[:1] == [best[0]]
        among += len(set(ids) & set(best.tolist()))
    begin = time.perf_counter()
    for start in range(0, QUERIES, TOGETHER):
        await store.nearest(texts[start : start + TOGETHER])
    together = time.perf_counter() - begin
    return {
        "recall_of_the_nearest": round(first / QUERIES, 4),
        f"recall_of_{NEIGHBOURS}": round(among / QUERIES / NEIGHBOURS, 4),
        "lookup_ms": machine.percentiles([1000 * each for each in one]),
        "lookups_per_second": round(1 / statistics.mean(one)),
        f"faces_per_second_{TOGETHER}_at_once": round(QUERIES / together),
        "exact_ms": machine.percentiles([1000 * each for each in exact]),
        "exact_per_second": round(1 / statistics.mean(exact)),
        "faster_than_exact": round(statistics.mean(exact) / statistics.mean(one), 1),
    }


def main() -> int:
    """0 when everything was measured."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    try:
        stack.up(INSTANCE, only=["postgres"])
        try:
            figures = asyncio.run(faces(stack.environment(INSTANCE)["STREAMAPP_POSTGRES_URL"], count))
        finally:
            stack.wipe(INSTANCE)
    except stack.StackError as exc:
        print(f"The bench failed: {exc}", file=sys.stderr)
        return 1
    print(json.dumps({"machine": machine.machine(), **figures}, indent=2))
    print(f"kept in {machine.keep(figures, name='faces')}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
