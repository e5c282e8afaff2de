"""The `.env` file: our lines are replaced, the user's are never touched."""

from __future__ import annotations

import io
import stat
from pathlib import Path

from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from stack import dotenv

keys = st.sampled_from(["STREAMAPP_REDIS_URL", "STREAMAPP_KAFKA_URL", "STREAMAPP_WEB_PORT"])
values = st.from_regex(r"[a-z]+://[a-z0-9.]+:[0-9]+", fullmatch=True)
FOREIGN = ("# a comment", "STREAMAPP_ENGINE=pixel", "export EDITOR=vi", "STREAMAPP_REDIS_URLS=x")
foreign = st.sampled_from(FOREIGN)
ours = st.builds("{}{}={}".format, st.sampled_from(["", "export ", "  "]), keys, values)


def test_values_replace_their_lines_and_the_rest_stays() -> None:
    text = "# mine\nSTREAMAPP_ENGINE=pixel\nexport STREAMAPP_REDIS_URL=redis://old\n\nX=1"
    merged = dotenv.merge(text, {"STREAMAPP_REDIS_URL": "redis://new", "STREAMAPP_WEB_PORT": "1"})
    assert merged == ("# mine\nSTREAMAPP_ENGINE=pixel\nSTREAMAPP_REDIS_URL=redis://new\n\nX=1\nSTREAMAPP_WEB_PORT=1\n")


def test_a_comment_is_no_assignment() -> None:
    assert dotenv.merge("# A=1\n", {"A": "2"}) == "# A=1\nA=2\n"


@given(lines=st.lists(foreign | ours), new=st.dictionaries(keys, values))
def test_every_value_is_there_once_and_every_other_line_stays(lines: list[str], new: dict[str, str]) -> None:
    merged = dotenv.merge("\n".join(lines), new)
    read = dotenv_values(stream=io.StringIO(merged))
    assert {key: read[key] for key in new} == new
    assert all(sum(line.startswith(f"{key}=") for line in merged.splitlines()) == 1 for key in new)
    assert [line for line in lines if line in FOREIGN] == [line for line in merged.splitlines() if line in FOREIGN]
    assert dotenv.merge(merged, new) == merged


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("MINE=1\n")
    path.chmod(0o644)
    dotenv.update(path, {"A": "1"})
    dotenv.update(path, {"A": "2"})
    assert path.read_text() == "MINE=1\nA=2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [".env"]
