import json

import pytest

from mmalign.errors import UserError
from mmalign.evaluation.prompts import load_prompts
from mmalign.shapes import captions


def test_text_and_json_lines(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffa red circle\r\n\n  a blue square  \n", encoding="utf-8")
    assert load_prompts(tmp_path / "a.txt") == ["a red circle", "a blue square"]
    odd = "a\u2028b"
    (tmp_path / "b.jsonl").write_text(
        f'{{"prompt": "one", "x": 1}}\n\n"two"\n{json.dumps({"prompt": odd}, ensure_ascii=False)}\n', encoding="utf-8"
    )
    assert load_prompts(str(tmp_path / "b.jsonl")) == ["one", "two", odd]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"\n \n", "a.txt holds no prompt"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8 text"),
        ("a.jsonl", b'{"prompt": "x"}\n{"prompt"', "a.jsonl, line 2 is not JSON"),
        ("a.jsonl", b'{"text": "x"}', "a.jsonl, line 1 has no prompt"),
        ("a.jsonl", b'{"prompt": " "}', "line 1 has no prompt"),
        ("a.csv", b"x", "give a .txt file"),
    ],
)
def test_bad_files_are_sentences(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        load_prompts(tmp_path / name)


def test_the_embedded_world():
    assert load_prompts("shapes/final") == captions.prompts("final")


def test_missing_sources_are_sentences(tmp_path):
    with pytest.raises(UserError, match="cannot read prompts from .*nowhere.txt: No such file"):
        load_prompts(tmp_path / "nowhere.txt")
    with pytest.raises(UserError, match="unknown prompts 'shapes/finale'; did you mean 'final'"):
        load_prompts("shapes/finale")
