"""The product's own comparison of state, rows, documents and results, asked as an operator would."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from chaos.check import DOUBLED, ROW_DOCUMENT, STATE_RESULT, STATE_ROW, Finding

# By the first word of a difference's `where`; what is said of the state itself is told with its rows.
KINDS = {"document": ROW_DOCUMENT, "result": STATE_RESULT}


class VerifyError(Exception):
    """`streamapp verify` gave no report."""


async def verify(environment: Mapping[str, str]) -> list[Finding]:
    """Its differences. Raises VerifyError when it cannot say any."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamapp.cli", "verify", "--json"),
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    try:
        return differences(json.loads(out))
    except (ValueError, KeyError, TypeError) as error:
        told = (err or out).decode(errors="replace")[-1000:]
        raise VerifyError(f"streamapp verify, exit code {process.returncode}: {error!r}\n{told}") from error


def differences(report: Mapping[str, Any]) -> list[Finding]:
    """The findings of a report."""
    return [Finding(_kind(found), json.dumps(found, ensure_ascii=False)) for found in report["differences"]]


def _kind(found: Mapping[str, Any]) -> str:
    return DOUBLED if found["kind"] == "doubled" else KINDS.get(found["where"].partition(" ")[0], STATE_ROW)
