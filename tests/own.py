"""What a file of integration tests has for itself on the servers of the run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from elasticsearch import AsyncElasticsearch
from running import Servers
from sinks_support import database, fresh_pool

from streamapp.sinks import indices
from streamapp.sinks.database import Pool


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(servers: Servers) -> AsyncIterator[str]:
    """A migrated database of the file's own."""
    async with database(servers.postgres_url) as url:
        yield url


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    """A pool on that database, all tables empty."""
    async with fresh_pool(url) as pool:
        yield pool


@pytest.fixture
async def client(servers: Servers) -> AsyncIterator[AsyncElasticsearch]:
    """Elasticsearch; indices of one's own are documents_support.own_indices."""
    async with indices.connect(servers.elasticsearch_url) as client:
        yield client
