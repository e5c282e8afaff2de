"""The worker's web server: the tables, why a post is not complete, what a search finds, and how the worker is."""

from streamapp.app import app
from streamapp.web.faces import faces
from streamapp.web.health import health
from streamapp.web.middleware import errors, token
from streamapp.web.posts import posts
from streamapp.web.search import search
from streamapp.web.tables import tables

__all__ = ["faces", "health", "posts", "search", "tables"]

application = app.web.web_app  # type: ignore[attr-defined]  # the aiohttp application of Faust's web driver
application.middlewares.extend([errors, token])
for routes in (faces, health, posts, search, tables):
    application.router.add_routes(routes)
