"""`docs/data.md`: every reader and every set of prompts is in it, its rows are read as it says, and its output is that of the program."""

import json
import re
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from mmalign import data, plugins
from mmalign.config.sections import DataConfig
from mmalign.data.buckets import bucketed, shape_of, windows_of
from mmalign.data.detect import PACKAGE
from mmalign.data.inspection import inspect
from mmalign.data.inspection.text import told
from mmalign.data.prompt_sets import SETS
from mmalign.training import bucketing

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_reader_is_in_the_page():
    assert set(SECTIONS) == set(plugins.names(PACKAGE))


@pytest.mark.parametrize("name", SECTIONS)
def test_the_rows_of_a_reader_are_read_by_it(name, tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"{number}.jpg").touch()
    (lines,) = re.findall(r"```json\n(.*?)```", SECTIONS[name], re.DOTALL)
    (tmp_path / "rows.jsonl").write_text(lines)
    examples = data.load("auto", tmp_path / "rows.jsonl")
    assert type(examples.reader).__module__ == f"{PACKAGE}.{name}"
    assert examples[0].prompt == "a red fox"
    assert examples[0].images[0].name == "1.jpg"  # in all of them it is the preferred one


@pytest.mark.parametrize("name", SECTIONS)
def test_options_and_other_names_are_known(name):
    reader = plugins.load(PACKAGE, name)
    options = re.findall(r"`(\w+): [\w.]+`", SECTIONS[name])
    assert set(options) <= set(reader.__dataclass_fields__)
    said = re.search(r"Also: (.*?)(?:\n\n|,\nwith|, with)", SECTIONS[name], re.DOTALL)
    also = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", said[1])))) if said else set()
    assert also == {other for names in reader.ALSO.values() for other in names}


def test_the_configurations_are_accepted():
    read, shaped = (DataConfig(**yaml.safe_load(block)["data"]) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    assert read.ties == "soft"
    assert shaped == DataConfig(source="votes.parquet", resolution=1024, buckets=True, bucket_step=64)  # the rest is as it is by itself


def test_what_is_said_of_buckets_is_what_a_run_says():
    """A thousand pairs of pictures of one size, of SDXL's sizes, 16:9 and the longest that it was trained on."""
    sizes = {(1024, 1024): 610, (832, 1216): 240, (1216, 832): 95, (1365, 768): 50, (512, 2048): 5}
    shapes = [[shape_of((height, width))] * 2 for (width, height), count in sizes.items() for _ in range(count)]
    said = bucketing.told(bucketed(shapes, windows_of(1024, 64, 2.0), 32), 8, 1000)
    assert f"```\nbuckets        {said}\n```\n" in PAGE


def test_every_set_of_prompts_is_in_the_page_with_its_number():
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \|", PAGE, re.MULTILINE)
    assert {name: int(count.replace(",", "")) for name, count in rows} == {name: known.count for name, known in SETS.items()}


def png(red: int, green: int, wide: bool) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (96 if wide else 64, 64), (red, green, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_output_of_inspect_is_what_it_prints(tmp_path, monkeypatch):
    """240 votes of 7 users on 80 prompts: every sixth a tie, every sixth soft, one without label, one broken, one a repetition."""
    labels = [1.0, 0.0, 1.0, 0.0, 0.5, 0.75]
    rows = []
    for i in range(240):
        label = labels[i % 6]
        images = {f"jpg_{side}": png(i, side, wide=i % 5 == 0) for side in range(2)}
        rows.append({"caption": f"fox {i // 3}", **images, "label_0": label, "label_1": 1 - label, "user_id": i % 7, "has_label": i != 11})
    rows[20]["jpg_1"] = rows[20]["jpg_1"][:60]
    rows[32] |= {"jpg_0": rows[31]["jpg_0"], "jpg_1": rows[31]["jpg_1"]}
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.Table.from_pylist(rows), "votes.parquet", row_group_size=32)
    printed = told(inspect("auto", "votes.parquet")[0], 80)
    assert f"```\n{printed}\n```\n" in PAGE, printed


def test_the_first_example_of_python_runs(tmp_path):
    rows = [{"text": "a", "jpg_0": "0.jpg", "jpg_1": "0.jpg", "label_0": label, "label_1": 1} for label in (0, None)]
    (tmp_path / "0.jpg").touch()
    (tmp_path / "votes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    examples = data.load("auto", tmp_path / "votes.jsonl", ties="soft", caption="text")
    assert (examples[0].prompt, examples.dropped) == ("a", {"no label": 1})
