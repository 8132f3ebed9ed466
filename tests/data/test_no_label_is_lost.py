"""Every reader over every kind of source, on random rows: no label is dropped, swapped or doubled.

The images of a row are named after their place in it, so that an example tells which row it came from and how it was ordered; what
should come out is said once more below, row by row, without the readers' code.
"""

import json
import random
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmalign import plugins
from mmalign.data import load
from mmalign.data.detect import PACKAGE
from mmalign.errors import UserError

COUNT = 14


@dataclass(frozen=True)
class Truth:
    """A row: its images as stored, and the probability that the first of two is better, or a score for each; None = no label."""

    prompt: str
    images: tuple[str, ...]
    label: float | None = None
    scores: tuple[int, ...] | None = None


def pairs(draw, labels):
    return [Truth(f"prompt {i // 3}", (f"{i}-0.png", f"{i}-1.png"), draw.choice(labels)) for i in range(COUNT)]


def rankings(draw, low=1, high=4):
    counts = [draw.randint(2, 4) for _ in range(COUNT)]
    return [
        Truth(f"prompt {i}", tuple(f"{i}-{k}.png" for k in range(count)), scores=tuple(draw.randint(low, high) for _ in range(count)))
        for i, count in enumerate(counts)
    ]


def pickapic(truth):
    for row in truth:
        label = {"label_0": row.label, "label_1": None if row.label is None else 1 - row.label}
        yield {"caption": row.prompt, "jpg_0": row.images[0], "jpg_1": row.images[1]} | label


def named(prompt, first, second):
    """Columns of pairs whose preferred image is told by its column; the row is stored in the order that its label says."""

    def rows(truth):
        for row in truth:
            better, worse = row.images if row.label else row.images[::-1]
            yield {prompt: row.prompt, first: better, second: worse}

    return rows


def invoke(truth):
    for row in truth:
        marks = (None, None) if row.label is None else (row.label >= 0.5, row.label <= 0.5)
        yield {"prompt": row.prompt, "image_0": row.images[0], "image_1": row.images[1], "prefer_0": marks[0], "prefer_1": marks[1]}


def lists(images, numbers, sign):
    return lambda truth: ({"prompt": r.prompt, images: list(r.images), numbers: [sign * s for s in r.scores]} for r in truth)


def image_reward_db(truth):
    cells = [
        {"image_path": image, "prompt_id": f"id {i}", "prompt": row.prompt, "rank": -score}
        for i, row in enumerate(truth)
        for image, score in zip(row.images, row.scores, strict=True)
    ]
    # rows of a prompt need not be neighbors: all first images come first
    return sorted(cells, key=lambda cell: cell["image_path"].partition("-")[2])


CERTAIN, TIED = [1, 0], [1, 0, 0.5]
FORMATS = {
    "pickapic": (lambda draw: pairs(draw, [*TIED, 0.25, 0.8, None]), pickapic),
    "prompt_chosen_rejected": (lambda draw: pairs(draw, CERTAIN), named("prompt", "chosen", "rejected")),
    "folder": (lambda draw: pairs(draw, CERTAIN), named("prompt", "w", "l")),
    "hpdv3": (lambda draw: pairs(draw, CERTAIN), named("prompt", "path1", "path2")),
    "invoke": (lambda draw: pairs(draw, [*TIED, None]), invoke),
    "ranked": (lambda draw: rankings(draw, -2, 2), lists("images", "scores", 1)),
    "hpdv2": (rankings, lists("image_path", "rank", -1)),
    "hpdv2_train": (lambda draw: rankings(draw, 0, 1), lists("file_path", "human_preference", 1)),
    "image_reward": (rankings, lists("generations", "ranking", -1)),
    "image_reward_db": (rankings, image_reward_db),
}


def as_list(rows, folder):
    return rows


def as_jsonl(rows, folder):
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "rows.jsonl"


def as_json(rows, folder):
    (folder / "rows.json").write_text(json.dumps(rows))
    return folder / "rows.json"


def as_parquet(rows, folder):
    schema = pa.Table.from_pylist(rows).schema
    for number, part in enumerate((rows[:5], rows[5:])):
        (folder / "parquet").mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(part, schema), folder / "parquet" / f"{number}.parquet", row_group_size=3)
    return folder / "parquet"


def as_dataset(rows, folder):
    return datasets.Dataset.from_list(rows)


def as_saved(rows, folder):
    datasets.Dataset.from_list(rows).save_to_disk(folder / "saved", num_shards=2)
    return folder / "saved"


def as_stream(rows, folder):
    return datasets.Dataset.from_list(rows).to_iterable_dataset(num_shards=2)


def as_shard(rows, folder):
    with tarfile.open(folder / "rows.tar", "w") as tar:
        for number, row in enumerate(rows):
            content = json.dumps(row).encode()
            member = tarfile.TarInfo(f"{number:04d}.json")
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return folder / "rows.tar"


SOURCES = [as_list, as_jsonl, as_json, as_parquet, as_dataset, as_saved, as_stream, as_shard]


def expected(truth, ties):
    """Images in order, weight and preference of the examples of a row."""
    if truth.scores is not None:
        images = tuple(image for _, image in sorted(zip(truth.scores, truth.images, strict=True), key=lambda pair: -pair[0]))
        label = 0.5 if len(set(truth.scores)) == 1 else 1.0
    elif truth.label is None:
        return []
    else:
        images, label = (truth.images, truth.label) if truth.label >= 0.5 else (truth.images[::-1], 1 - truth.label)
    if label != 0.5:
        return [(images, 1.0, label)]
    return {"drop": [], "soft": [(images, 1.0, 0.5)], "half": [(images, 0.5, 1.0), (images[::-1], 0.5, 1.0)]}[ties]


def absolute(cell, folder):
    """A cell with its images as paths from the root, so that sources may lie anywhere."""
    if isinstance(cell, list):
        return [absolute(one, folder) for one in cell]
    return str(folder / cell) if isinstance(cell, str) and cell.endswith(".png") else cell


def shown(example):
    return tuple(Path(image).name for image in example.images), example.weight, example.preference


@pytest.fixture(scope="module", autouse=True)
def in_a_folder_with_every_image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for row in range(COUNT):
        for place in range(4):
            (folder / f"{row}-{place}.png").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def test_every_reader_is_tried():
    assert set(FORMATS) == set(plugins.names(PACKAGE))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", FORMATS)
def test_no_label_is_dropped_swapped_or_doubled(name, source, in_a_folder_with_every_image, tmp_path):
    for seed, ties in enumerate(("drop", "soft", "half")):
        draw = random.Random(f"{name} {seed}")
        make, write = FORMATS[name]
        truth = make(draw)
        place = tmp_path / str(seed)
        place.mkdir()
        rows = [{column: absolute(cell, in_a_folder_with_every_image) for column, cell in row.items()} for row in write(truth)]
        examples = load("auto", source(rows, place), ties=ties)
        wanted = [example for row in truth for example in expected(row, ties)]
        assert [shown(example) for example in examples] == wanted
        assert type(examples.reader).__module__.endswith(f".{name}")
        prompts = [row.prompt for row in truth for _ in expected(row, ties)]
        assert [example.prompt for example in examples] == prompts
        skipped = sum(not expected(row, ties) for row in truth)
        assert sum(examples.dropped.values()) == skipped


@pytest.mark.parametrize("source", SOURCES)
def test_every_annotator_s_ranks_are_an_example(source, in_a_folder_with_every_image, tmp_path):
    draw = random.Random(0)
    folder = in_a_folder_with_every_image
    rows, wanted = [], []
    for row in range(COUNT):
        names = [f"{row}-{place}.png" for place in range(3)]
        said = [{"rank": draw.sample([1, 2, 3], 3), "user_hash": f"user {draw.randrange(5)}"} for _ in range(draw.randint(1, 3))]
        rows.append(
            {"prompt": f"prompt {row}", "image_path": [str(folder / name) for name in names], "rank": [9, 8, 7], "raw_annotations": said}
        )
        for one in said:
            ordered = tuple(names[one["rank"].index(rank)] for rank in (1, 2, 3))
            wanted.append((f"prompt {row}", one["user_hash"], ordered, (-1.0, -2.0, -3.0)))
    examples = load("hpdv2", source(rows, tmp_path), each_annotator=True)
    assert [(e.prompt, e.user_id, tuple(Path(image).name for image in e.images), e.scores) for e in examples] == wanted


@pytest.mark.parametrize("source", [*SOURCES])
def test_a_broken_row_is_named_by_file_and_row(source, in_a_folder_with_every_image, tmp_path):
    image = str(in_a_folder_with_every_image / "0-0.png")
    rows = [{"prompt": "a", "chosen": image, "rejected": image} for _ in range(8)]
    rows[6]["rejected"] = None
    made = source(rows, tmp_path)
    examples = load("auto", made)
    with pytest.raises(UserError, match="column 'rejected' holds nothing instead of an image") as caught:
        list(examples)
    where = {
        "as_jsonl": f"{made}, line 7:",
        "as_json": f"{made}, row 6:",
        "as_parquet": f"{tmp_path}/parquet/1.parquet, row 1:",
        "as_shard": f"{made}, sample '0006':",
        "as_saved": f"{made}, row 6:",
    }
    assert where.get(source.__name__, "row 6:" if source is not as_stream else "rows-000000000.parquet, row 6:") in str(caught.value)


BREAKS = {
    "pickapic": ("jpg_1", "caption"),
    "prompt_chosen_rejected": ("rejected", "prompt"),
    "folder": ("l", "prompt"),
    "hpdv3": ("path2", "prompt"),
    "invoke": ("image_1", "prompt"),
    "ranked": ("images", "prompt"),
    "hpdv2": ("image_path", "prompt"),
    "hpdv2_train": ("file_path", "prompt"),
    "image_reward": ("generations", "prompt"),
    "image_reward_db": ("image_path",),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_broken_cell_of_each_format_names_its_row_and_the_other_rows_stay(name, in_a_folder_with_every_image):
    draw = random.Random(name)
    make, write = FORMATS[name]
    truth = [row for row in make(draw) if expected(row, "drop")]
    assert len(truth) > 4
    for column in BREAKS[name]:
        rows = [{key: absolute(cell, in_a_folder_with_every_image) for key, cell in row.items()} for row in write(truth)]
        last = rows[-1]
        last[column] = None if isinstance(last[column], str) else [None, *last[column][1:]]
        bad = []
        for _, example in load(name, rows).rows():
            if isinstance(example, UserError):
                bad.append(str(example))
        assert len(bad) == 1
        # where an example is spread over rows, the first of them names it
        row = next(i for i, one in enumerate(rows) if one.get("prompt_id", i) == last.get("prompt_id", len(rows) - 1))
        assert bad[0].startswith(f"the list, row {row}: column {column!r} holds nothing instead of")
