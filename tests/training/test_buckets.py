"""Runs on pictures of several shapes: whole rows in one window, batches of one window, every row once an epoch, exact resumes."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmalign.config import from_mapping
from mmalign.data.schema import Example
from mmalign.data.write import write_pickapic
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.training.diffusion import building
from mmalign.training.run import batches, make_accelerator, train
from tests import tiny

SIZES = [(16, 16)] * 4 + [(24, 40)] * 5 + [(30, 20)] * 3
"""Height and width; of 256 pixels or fewer in steps of 4, the windows are 16x16, 12x20 and 20x12 (height x width)."""
WINDOWS = {(16, 16): (16, 16), (24, 40): (12, 20), (30, 20): (20, 12)}
BUCKETS = {"buckets": True, "bucket_min_rows": 1}
LORA = "pytorch_lora_weights.safetensors"


def picture(size, seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def rows():
    """Pairs, of which each third one has a loser of twice the size."""
    return [
        Example("a red circle", (picture(size, i), picture(size if i % 3 else (2 * size[0], 2 * size[1]), 100 + i)), origin=f"row {i}")
        for i, size in enumerate(SIZES)
    ]


@pytest.fixture
def shaped(configured, rows, tmp_path):
    """Makes a configuration over the pairs, with buckets."""
    write_pickapic(rows, tmp_path / "shaped.parquet")

    def make(out="out", data=None, **changes):
        return configured(out, data={"source": str(tmp_path / "shaped.parquet"), **BUCKETS, **(data or {})}, **changes)

    return make


def parts_of(config, pipe, rows, dry=None):
    return building(config, make_accelerator(config.train, config.output_dir), config.output_dir, dry, pipe=pipe, examples=rows)


def stretched(image, window):
    """What of a picture a window in the middle shows, by PIL: the picture scaled until it covers the window."""
    height, width = window
    scale = max(height / image.height, width / image.width)
    size = round(image.width * scale), round(image.height * scale)
    scaled = image.resize(size, Image.Resampling.BICUBIC) if size != image.size else image
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return scaled.crop((left, top, left + width, top + height)), (top, left)


def test_batches_are_of_one_window_and_an_epoch_has_every_row(shaped, rows):
    config = shaped(train={"max_train_steps": 6, "train_batch_size": 2})
    with parts_of(config, tiny.sd(), rows) as parts:
        seen = Counter()
        for batch in batches(parts, 0):
            [window] = {WINDOWS[SIZES[int(origin.split()[1])]] for origin in batch.origins}
            assert batch.latent_mean.shape == (2, 2, 4, window[0] // 2, window[1] // 2)
            seen.update(batch.origins)
        # 4 rows and 5 and 3 in twos: five batches an epoch, and the sixth has a row that waited
        assert set(seen.values()) <= {1, 2}
        assert len(seen) >= 10


def test_latents_are_of_the_picture_as_it_is_cut(shaped, rows):
    pipe = tiny.sd()
    with parts_of(shaped(), pipe, rows) as parts:
        for index in (0, 5, 10):
            views = [stretched(image, WINDOWS[SIZES[index]])[0] for image in rows[index].images]
            pixels = torch.from_numpy(np.stack(views).astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1
            with torch.no_grad():
                mean = pipe.vae.encode(pixels).latent_dist.mean * pipe.vae.config.scaling_factor
            torch.testing.assert_close(parts.dataset[index, 0].latent_mean[0], mean, rtol=1e-4, atol=1e-5)


def test_sdxl_is_told_of_each_picture_its_own_size_its_cut_and_the_window(shaped, rows):
    with parts_of(shaped(), tiny.sdxl(), rows) as parts:
        for index in (0, 3, 4, 6, 9, 10):
            window = WINDOWS[SIZES[index]]
            expected = [[image.height, image.width, *stretched(image, window)[1], *window] for image in rows[index].images]
            assert parts.dataset[index, 0].image_conditioning["time_ids"][0].tolist() == expected


def test_a_random_cut_and_a_mirror_are_shared_by_candidates_of_one_picture(configured):
    image = picture((24, 40), 0)
    data = {**BUCKETS, "bucket_sizes": [[16, 16]], "center_crop": False, "random_flip": True}
    with parts_of(configured(data=data), tiny.sdxl(), [Example("a", (image, image), origin="row 0")] * 2) as parts:
        flips = set()
        for position in range(20):
            batch = parts.dataset[0, position]
            assert torch.equal(batch.latent_mean[:, 0], batch.latent_mean[:, 1])
            assert torch.equal(batch.image_conditioning["time_ids"][:, 0], batch.image_conditioning["time_ids"][:, 1])
            flips.add(batch.latent_mean.sum().item())
        assert len(flips) == 2


def test_the_pictures_of_sd3_have_positions_up_to_its_longest_side(configured, rows):
    pipe = tiny.sd3()
    longest = pipe.transformer.config.pos_embed_max_size * 2
    with parts_of(configured(data=BUCKETS, train={"max_train_steps": 3}), pipe, rows) as parts:
        assert all(max(window) <= longest for window in parts.dataset.buckets.windows)
        for batch in batches(parts, 0):
            inputs = parts.run.policy.prepare(batch, [torch.Generator().manual_seed(p) for p in batch.positions])
            with torch.no_grad():
                assert parts.run.policy.errors(inputs).isfinite().all()


def test_a_run_with_buckets_resumes_exactly(shaped):
    settings = {"max_train_steps": 8, "checkpointing_steps": 4}
    expected = train(shaped("whole", train=settings))
    train(shaped("part", train=settings | {"max_train_steps": 4}))
    out = train(shaped("part", train=settings | {"resume_from_checkpoint": "latest"}))
    assert (out / "metrics.jsonl").read_text() == (expected / "metrics.jsonl").read_text()
    left, right = load_file(out / LORA), load_file(expected / LORA)
    assert all(torch.equal(left[name], right[name]) for name in left)
    again = {"train_batch_size": 1, "gradient_accumulation_steps": 2, "resume_from_checkpoint": "latest"}
    with pytest.raises(UserError, match="rows_together = 2"):
        train(shaped("part", train=settings | again))


def test_a_cache_serves_runs_with_buckets_and_without(shaped, configured, tmp_path, monkeypatch):
    encoded, original = [], DiffusionFamily.encode_images
    monkeypatch.setattr(DiffusionFamily, "encode_images", lambda self, pixels: encoded.extend(pixels) or original(self, pixels))
    cache, short = {"cache_dir": str(tmp_path / "cache")}, {"max_train_steps": 1}
    train(shaped("a", data=cache, train=short))
    assert Counter(tuple(pixels.shape[1:]) for pixels in encoded) == {(16, 16): 8, (12, 20): 10, (20, 12): 6}
    train(shaped("b", data=cache, train=short))
    assert len(encoded) == 24
    square = {key: value for key, value in shaped("c", data=cache, train=short).data.model_dump(mode="json").items() if "bucket" not in key}
    train(configured("c", data=square, train=short))
    assert Counter(tuple(pixels.shape[1:]) for pixels in encoded[24:]) == {(16, 16): 16}  # those that were squares are there already


def test_a_dry_run_shows_the_buckets(shaped, capsys):
    out = train(shaped(), dry_run=True)
    said = capsys.readouterr().out
    # wide: 24 by 40 is the window's own shape; tall: 30 by 20 in 20 by 12 keeps 1.5 of 5/3
    cut = 3 / 12 * (1 - 1.5 / (20 / 12))
    squares = (5 * (1 - 24 / 40) + 3 * (1 - 20 / 30)) / 12
    assert f"buckets        3 sizes, {cut:.1%} of the pixels cut away; squares would cut {squares:.1%}\n" in said
    assert [line.split() for line in said.splitlines() if line.endswith(" rows")][:3] == [
        ["20x12", "5", "rows"],
        ["16x16", "4", "rows"],
        ["12x20", "3", "rows"],
    ]
    assert "2 rows of the first epoch come in the next, to fill batches of 2" in said
    assert not out.exists()


def test_small_buckets_are_merged_and_it_is_told(shaped, capsys):
    train(shaped(data={"bucket_min_rows": 4}, train={"max_train_steps": 1}))
    assert "12x20 has too few: 3 rows to 16x16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"bucket_step": 6}, "data.bucket_step is 6, which is no multiple of 4 pixels, as sides for sd are; give one"),
        ({"bucket_sizes": [[16, 18]]}, "data.bucket_sizes has 16 x 18, but sides for sd are multiples of 4 pixels"),
    ],
)
def test_sides_that_the_model_cannot_take_are_refused(shaped, data, said):
    with pytest.raises(UserError, match=said):
        train(shaped(data=data))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"source": "x", "bucket_step": 64}}, "bucket_step has no effect without buckets; set buckets to true"),
        (
            {"data": {"source": "x", "buckets": True, "bucket_sizes": [[8, 8]], "bucket_step": 8}},
            "bucket_step has no effect with bucket_sizes",
        ),
        (
            {"data": {"source": "x", "buckets": True}, "online": {"keep": "opponent", "reference": "member"}},
            "data.buckets does not go with online",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, said):
    values = {"model": {"pretrained": "shapes/sd"}, "method": "sft" if "online" not in changes else "seppo", "output_dir": "out"}
    with pytest.raises(UserError, match=said):
        from_mapping({**values, **changes})


def test_the_log_counts_epochs_by_rows(shaped):
    out = train(shaped(train={"max_train_steps": 6}))
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["epoch"] == 1.0
