"""`streamapp forget user`: a person's face leaves everything, or the proof that it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamapp.errors import Unavailable
from streamapp.faces.forget import report
from streamapp.faces.forgetting import Forgetting
from streamapp.settings import get_settings
from streamapp.sinks.database import open_pool
from streamapp.sinks.indices import connect
from streamapp.sinks.postgres import read_models
from streamapp.verify.state import State, StateUnavailable


async def forget_user(user_id: int, *, check: bool, wait: float) -> tuple[bool, Any, str]:
    """Forget, and wait until nothing is left, or only look. Bad when something is left, or cannot be looked at."""
    settings = get_settings()
    state = State(settings.web_address, headers=settings.web_headers)

    async def media(user: int) -> Sequence[tuple[str, str]]:
        try:
            return await state.media_with(user)
        except StateUnavailable as error:
            raise Unavailable(str(error)) from error

    pool = await open_pool(settings.postgres_url, max_size=2)
    client = connect(settings.elasticsearch_url)
    models = read_models(pool, settings)
    forgetting = Forgetting(pool, client, models=models, state=media, prefix=settings.index_prefix)
    removed = None
    try:
        if check:
            return report(user_id, None, await forgetting.left(user_id))
        removed = await forgetting.forget(user_id)
        return report(user_id, removed, await forgetting.wait(user_id, wait))
    except Unavailable as error:
        text = f"cannot {'check' if check else 'forget' if removed is None else 'check what is left'}: {error}"
        return False, {"error": text}, f"{text}\nRun it again: what was done stays done."
    finally:
        await client.close()
        await pool.close()
        await state.close()
