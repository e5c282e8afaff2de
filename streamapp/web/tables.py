"""GET /tables, /tables/{name}?limit=&after=, /tables/{name}/{key}: what is in the state, over all workers."""

from __future__ import annotations

import heapq
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from streamapp import tables as state
from streamapp.web.cluster import ask, is_local, unreachable
from streamapp.web.middleware import respond

MOST = 1000  # rows a page
tables = web.RouteTableDef()


@tables.get("/tables")
async def names(request: web.Request) -> web.Response:
    """The tables with their number of rows in each worker."""
    rows: dict[str, int] = {name: table.count() for name, table in state.ALL.items()}
    if is_local(request):
        if missing := unreachable([]):
            return _unknown(missing)
        return respond({"tables": [{"name": name, "rows": count} for name, count in rows.items()]})
    answers = await ask("/tables", {})
    for _, status, body in answers:
        for table in body["tables"] if status == 200 else ():
            rows[table["name"]] += table["rows"]
    listed = [{"name": name, "rows": count} for name, count in rows.items()]
    return respond({"tables": listed, "unreachable": unreachable(answers)})


@tables.get("/tables/{name}")
async def page(request: web.Request) -> web.Response:
    """Rows in the order of their keys, `limit` at most, after the key `after`; `next` is the key to go on from."""
    table = _table(request)
    limit = _limit(request.query.get("limit", "100"))
    after = request.query.get("after", "")
    rows: list[dict[str, Any]] = [
        {"key": key, "value": msgspec.to_builtins(row)} for key, row in table.page(after=after, limit=limit)
    ]
    if is_local(request):
        return _unknown(missing) if (missing := unreachable([])) else respond({"rows": rows})
    answers = await ask(request.path, {"limit": str(limit), "after": after})
    for _, status, body in answers:
        rows += body["rows"] if status == 200 else ()
    rows = heapq.nsmallest(limit, rows, key=lambda row: str(row["key"]).encode())
    following = rows[-1]["key"] if len(rows) == limit else None
    return respond({"table": table.name, "rows": rows, "next": following, "unreachable": unreachable(answers)})


@tables.get("/tables/{name}/{key:.+}")
async def row(request: web.Request) -> web.Response:
    """One row."""
    table, key = _table(request), request.match_info["key"]
    found = table.get(key)
    if found is not None:
        return respond({"key": key, "value": msgspec.to_builtins(found)})
    answers = [] if is_local(request) else await ask(f"/tables/{table.name}/{quote(key, safe='')}", {})
    for _, status, body in answers:
        if status == 200:
            return respond(body)
    if missing := unreachable(answers):
        return _unknown(missing)
    raise web.HTTPNotFound(text=f"no row {key} in table {table.name}")


def _unknown(missing: dict[str, str]) -> web.Response:
    return respond({"error": "workers that may have rows cannot answer", "workers": missing}, status=503)


def _table(request: web.Request) -> state.State[Any]:
    name = request.match_info["name"]
    if name not in state.ALL:
        raise web.HTTPNotFound(text=f"no table {name}; there are {', '.join(state.ALL)}")
    return state.ALL[name]


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise web.HTTPBadRequest(text=f"limit is a number from 1 to {MOST}, not {text!r}")
    return int(text)
