"""The comparison finds each planted difference, and nothing in what is equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaos import check, verify
from chaos.entries import Slot
from chaos.outcome import Outcome
from chaos.plan import VICTIMS
from chaos.table import Total, lines, needed_for_results, percentiles
from streamapp.contracts.streams import ERRORS, INSIGHTS
from streamapp.sinks.readmodels import DETECTED_FACES, MEDIA_SEARCH

MEDIA, POST = (MEDIA_SEARCH, "71"), ("post", "7")
SLOT = Slot("7", "71", "tagging")
CALM = Outcome(
    wanted={SLOT, Slot("8", "81", "tagging")},
    answers={SLOT: {"stream": INSIGHTS, "tags": "[]"}, Slot("8", "81", "tagging"): {"stream": ERRORS}},
    final={"7": {"isSafe": "true"}, "8": {"isSafe": "false"}},
    rows={MEDIA: {"post_id": 7, "ai_tags": []}, POST: {"post_id": 7}, ("post", "8"): {"post_id": 8}},
    documents={MEDIA: {"post_id": 7, "ai_tags": []}},
    dead_letters={"a 404"},
)
# The first of two rounds, whose load the undisturbed run has had as a whole.
GOOD = replace(
    CALM,
    wanted={SLOT},
    answers={SLOT: CALM.answers[SLOT]},
    final={"7": CALM.final["7"]},
    rows={key: row for key, row in CALM.rows.items() if row["post_id"] == 7},
)


def test_nothing_is_found_where_all_is_equal() -> None:
    assert check.findings(GOOD, CALM) == []
    assert check.findings(CALM, CALM) == []


@pytest.mark.parametrize(
    ("kind", "text", "changed"),
    [
        (check.LOST, "7 71 tagging", {"answers": {}}),
        (check.LOST, "final payload of post 7", {"final": {}}),
        (check.DOUBLED, "x 2 times", {"doubled": ["x 2 times"]}),
        (check.PAYLOAD, "post 7 isSafe: 'false', not 'true'", {"final": {"7": {"isSafe": "false"}}}),
        (check.PAYLOAD, "post 7 isSafe: None", {"final": {"7": {}}}),
        (check.PAYLOAD, "post 9 is not in the", {"final": {**GOOD.final, "9": {}}}),
        (check.PAYLOAD, "answer 7 71 tagging stream", {"answers": {SLOT: {"stream": ERRORS, "tags": "[]"}}}),
        (check.ROW, f"row {MEDIA_SEARCH} 71 is missing", {"rows": {POST: {"post_id": 7}}}),
        (
            check.ROW,
            "ai_tags: ['sky'], not []",
            {"rows": {**GOOD.rows, MEDIA: {"post_id": 7, "ai_tags": ["sky"]}}},
        ),
        (check.ROW, "row media 99 is not in the", {"rows": {**GOOD.rows, ("media", "99"): {"post_id": 7}}}),
        (check.DOCUMENT, f"document {MEDIA_SEARCH} 71 is missing", {"documents": {}}),
        (check.DOCUMENT, "ai_tags", {"documents": {MEDIA: {"post_id": 7}}}),
        (check.DEAD_LETTER, "another", {"dead_letters": {"a 404", "another"}}),
    ],
)
def test_each_difference_is_found(kind: str, text: str, changed: dict[str, Any]) -> None:
    (finding,) = check.findings(replace(GOOD, **changed), CALM)
    assert finding.kind == kind
    assert text in finding.text
    assert check.counted([finding])[kind] == 1 == sum(check.counted([finding]).values())


def test_a_face_that_is_missing_is_of_the_post_of_its_media() -> None:
    face = {(DETECTED_FACES, "71", "[0, 0, 9, 9]"): {"media_id": 71}}
    (finding,) = check.findings(GOOD, replace(CALM, rows=CALM.rows | face))
    assert finding.kind == check.ROW
    other = {MEDIA: CALM.rows[MEDIA] | {"post_id": 8}}  # of a later round
    without = replace(GOOD, rows={key: row for key, row in GOOD.rows.items() if key != MEDIA})
    assert check.findings(without, replace(CALM, rows=CALM.rows | face | other)) == []


def test_a_dead_letter_that_did_not_come_is_none() -> None:
    assert check.findings(replace(GOOD, dead_letters=set()), CALM) == []


def test_what_the_product_finds_itself_is_counted_by_where_it_is() -> None:
    places = ("row read_model_media_search", "document media_search", "result ml-insights-results", "state media")
    report = {"differences": [{"kind": "missing", "where": where, "post": "7"} for where in places]}
    report["differences"].append({"kind": "doubled", "where": places[2], "post": "7"})
    found = verify.differences(report)
    kinds = [check.STATE_ROW, check.ROW_DOCUMENT, check.STATE_RESULT, check.STATE_ROW, check.DOUBLED]
    assert [finding.kind for finding in found] == kinds
    assert all('"post": "7"' in finding.text for finding in found)
    assert verify.differences({"differences": []}) == []


def test_the_table_shows_what_was_killed_and_found() -> None:
    total = Total(seed=3, broken=True, rounds=2, posts=20, images=61, next_result=[1.0, 2.0, 9.0])
    total.kills.update({"bridge": 2, "kafka": 1})
    total.found[check.LOST] = 4
    table = list(lines(total))
    assert "| kill -9 | 3: bridge 2, kafka 1 |" in table
    assert "| lost | 4 |" in table
    assert "| doubled | 0 |" in table
    assert "| kill → next result | p50 2.0 s, p95 8.3 s |" in table
    assert any("seed 3, broken on purpose" in line for line in table)
    assert all(line.startswith("|") and line.endswith("|") for line in table)
    figures = total.figures()
    assert figures["found"] == {**dict.fromkeys(check.KINDS, 0), check.LOST: 4}
    assert figures["caught_up_seconds"] is None


def test_percentiles_of_few() -> None:
    assert percentiles([]) is None
    assert percentiles([2.04]) == {"p50": 2.0, "p95": 2.0}


def test_results_wait_for_all_but_the_sinks() -> None:
    assert {victim for victim in VICTIMS if not needed_for_results(victim)} == {"postgres", "elasticsearch"}
