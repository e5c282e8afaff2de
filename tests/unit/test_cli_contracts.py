from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from streamapp.cli import main

GOOD = '1) "postId"\n2) "90001"\n3) "mediaId"\n4) "70001"\n5) "imageUrl"\n6) "http://x/y.jpg"\n7) "color"\n8) "red"\n'


def run(*arguments: str, text: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments, input=text)
    return result.exit_code, result.output


def test_explains_what_redis_cli_printed() -> None:
    code, output = run("contracts", "explain", "-", text=GOOD)
    assert code == 0
    assert "post-image-processing (guessed)" in output
    assert "url = 'http://x/y.jpg'" in output
    assert "color" in output
    assert "ignored" in output
    assert output.rstrip().endswith("accepted")


def test_says_why_a_message_is_refused() -> None:
    code, output = run(
        "contracts",
        "explain",
        "-",
        "--stream",
        "post-aggregation-trigger",
        text='{"postId": "1", "allMediaIds": "[1,"}',
    )
    assert code == 1
    assert "refused: post-aggregation-trigger: allMediaIds: found '[1,'" in output


def test_gives_json(tmp_path: Path) -> None:
    file = tmp_path / "message.txt"
    file.write_text(GOOD)
    code, output = run("contracts", "explain", "--json", str(file))
    assert code == 0
    (report,) = json.loads(output)
    assert report["record"]["post_id"] == "90001"


@pytest.mark.parametrize("text", ["", "no message at all"])
def test_nothing_to_explain(text: str) -> None:
    assert run("contracts", "explain", "-", text=text)[0] == 1


def test_the_documentation_is_current_or_made_so(tmp_path: Path) -> None:
    file = tmp_path / "contracts.md"
    assert run("contracts", "--check", "--file", str(file))[0] == 1
    assert run("contracts", "--write", "--file", str(file))[0] == 0
    assert run("contracts", "--check", "--file", str(file)) == (0, f"{file} is current\n")
    file.write_text("old")
    code, output = run("contracts", "--check", "--json", "--file", str(file))
    assert (code, json.loads(output)["current"]) == (1, False)


@pytest.mark.parametrize("arguments", [(), ("explain",), ("nonsense",), ("explain", "/no/such/file")])
def test_usage_errors_are_2(arguments: tuple[str, ...]) -> None:
    assert run("contracts", *arguments)[0] == 2
