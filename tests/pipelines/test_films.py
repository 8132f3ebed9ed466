"""The whole way of a model of films: clips drawn, scored, ranked, looked at, trained on, compared; on a tiny Wan with random weights."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmalign import pairs, pipelines
from mmalign.config import EvaluateConfig, GenerateConfig, PairsConfig, RankConfig, ScoreConfig, SynthConfig, from_mapping, load_config
from mmalign.data import load
from mmalign.data.apng import apng
from mmalign.data.clips import read_clip
from mmalign.data.films import measure
from mmalign.data.inspection import inspect
from mmalign.errors import UserError
from mmalign.evaluation.run import run as evaluate
from mmalign.factory import estimate, generate, rank
from mmalign.factory.encode import encoded
from mmalign.scoring.run import run as score
from mmalign.training.run import train
from tests import tiny_families
from tests.clips import SHADES, shade

SHIPPED = Path(__file__).parents[2] / "configs" / "wan_diffusion_dpo_lora.yaml"
PROMPTS = ["a red circle", "a photo of a cat", "two green dogs"]
SIZE = {"height": 16, "width": 16, "frames": 5}
DRAWN = {"num_inference_steps": 2, "guidance_scale": 1.0}


def colorfulness(picture):
    """Hasler and Suesstrunk's M3, restated."""
    r, g, b = np.asarray(picture, dtype=np.float64).reshape(-1, 3).T
    rg, yb = r - g, (r + g) / 2 - b
    return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and prompts, and what later steps make of them."""
    folder = tmp_path_factory.mktemp("films")
    tiny_families.wan().save_pretrained(folder / "wan")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    return folder


def drawing(place, out="clips", **changes):
    values = {"models": [str(place / "wan")], "prompts": str(place / "prompts.txt"), "out": str(place / out), "seeds_per_prompt": 2}
    return from_mapping({**values, **SIZE, **DRAWN, "fps": 8, "batch_size": 1, "shard_size": 2, **changes}, GenerateConfig)


@pytest.fixture(scope="module")
def clips(place):
    config = drawing(place)
    assert "clips" in generate.run(config)
    return config.out


def scoring(place, images, out, **changes):
    return from_mapping({"images": [str(images)], "rewards": ["colorfulness"], "out": str(place / out), **changes}, ScoreConfig)


@pytest.fixture(scope="module")
def ranked(place, clips):
    """Pairs of the clips by their colorfulness."""
    score(scoring(place, clips, "scores.parquet"))
    values = {"pictures": str(clips), "scores": [str(place / "scores.parquet")], "keep": "best_worst", "out": str(place / "pairs")}
    rank.run(from_mapping(values, RankConfig))
    return place / "pairs"


def training(place, source, out, **sections):
    return from_mapping(
        {
            "model": {"pretrained": str(place / "wan")},
            "adapter": {"rank": 2},
            "data": {"source": str(source), "resolution": 16, "frames": 5, "fps": 8, "cache_dir": str(place / "cache")},
            "method": {"name": "diffusion_dpo", "beta": 500},
            "train": {"max_train_steps": 2, "learning_rate": 1e-2, "report_to": "none", "logging_steps": 1},
            "output_dir": str(place / out),
            **sections,
        }
    )


@pytest.fixture(scope="module")
def trained(place, ranked):
    shown = {"prompts": PROMPTS[:1], "steps": 2, "height": 16, "width": 32, **DRAWN}
    return train(training(place, ranked, "run", validation=shown))


def test_clips_have_the_frames_and_the_pixels_that_the_pipeline_draws(place, clips):
    rows = pq.read_table(clips).to_pylist()
    assert [(row["frames"], row["fps"], row["width"], row["height"], row["error"]) for row in rows] == [(5, 8.0, 16, 16, None)] * 6
    row = rows[3]
    call = json.loads(row["call"])
    assert call == {"num_frames": 5, "height": 16, "width": 16, **DRAWN}
    pipe = pipelines.load(place / "wan").pipe
    again = pipe(row["prompt"], generator=torch.Generator().manual_seed(row["noise_seed"]), output_type="np", **call).frames[0]
    found = np.stack([np.asarray(frame) for frame in read_clip(row["image"]["bytes"], 5)])
    assert np.array_equal(found, (again * 255).round())
    assert measure(row["image"]["bytes"]).seconds == pytest.approx(5 / 8)


def test_a_stopped_run_goes_on_and_leaves_the_same_bytes(place, clips, monkeypatch):
    drawn, whole = generate.Models.draw, {path.name: path.read_bytes() for path in sorted(clips.iterdir())}
    calls = []

    def until_the_fourth(self, *given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return drawn(self, *given)

    monkeypatch.setattr(generate.Models, "draw", until_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        generate.run(drawing(place, "again"))
    generate.run(drawing(place, "again"))
    assert len(calls) == 4 + 4  # the first shard of two is kept, the second begun anew
    assert {path.name: path.read_bytes() for path in sorted((place / "again").iterdir())} == whole


def test_films_as_mp4_are_read_back(place):
    pytest.importorskip("av")
    config = drawing(place, "films", image_format="mp4", limit=1, seeds_per_prompt=1)
    generate.run(config)
    (row,) = pq.read_table(config.out).to_pylist()
    found = measure(row["image"]["bytes"])
    assert (found.frames, found.size) == (5, (16, 16))
    assert len(read_clip(row["image"]["bytes"], 5, fps=8)) == 5


def test_an_mp4_keeps_what_is_seen_and_has_the_same_bytes_again():
    pytest.importorskip("av")
    clip = torch.stack([torch.full((3, 16, 32), value, dtype=torch.uint8) for value in SHADES])
    content = encoded(clip, "mp4", fps=24)
    assert encoded(clip, "mp4", fps=24) == content
    assert [shade(frame) for frame in read_clip(content, 8, fps=24)] == pytest.approx(SHADES, abs=3)
    with pytest.raises(UserError, match="clips are 31x16 pixels, and mp4 holds even sides alone; choose png as image_format"):
        encoded(clip[..., :31], "mp4")


def test_what_is_for_clips_or_for_pictures_alone_is_told_before_anything_is_drawn(place):
    tiny_families.sana().save_pretrained(place / "sana")
    with pytest.raises(UserError, match="frames is for models of films, which sana .* is not"):
        generate.run(drawing(place, "none", models=[str(place / "sana")], fps=None))
    with pytest.raises(UserError, match="image_format is jpeg, but wan .* draws films; choose png"):
        generate.run(drawing(place, "none", image_format="jpeg"))


def test_the_score_of_a_clip_is_the_mean_over_evenly_spaced_frames(place, clips):
    """Of five frames in two parts the second and the fourth."""
    shown = score(scoring(place, clips, "two.parquet", judged_frames=2))
    assert "a clip's score is the mean over 2 evenly spaced frames" in shown
    found = pq.read_table(place / "two.parquet").to_pydict()
    rows = pq.read_table(clips).to_pylist()
    expected = [[colorfulness(read_clip(row["image"]["bytes"], 5)[k]) for k in (1, 3)] for row in rows]
    np.testing.assert_allclose(found["colorfulness"], np.mean(expected, axis=1), rtol=1e-4)
    assert pq.read_schema(place / "two.parquet").metadata[b"mmalign.judged_frames"] == b"2"


def test_a_clip_that_stands_still_has_the_score_of_its_frame(place):
    folder = place / "still"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "frame.png")
    (folder / "clip.png").write_bytes(apng([Image.fromarray(pixels)] * 7, 8))
    score(scoring(place, folder, "still.csv", captions="none"))
    (clip, frame) = load_scores(place / "still.csv")
    assert clip == frame == pytest.approx(colorfulness(pixels), rel=1e-5)


def load_scores(path):
    return [float(line.split(",")[3]) for line in path.read_text().splitlines()[1:]]


def test_pairs_prefer_the_clip_with_the_higher_score_and_keep_its_bytes(ranked, clips):
    rows = pq.read_table(clips).to_pylist()
    scores = {row["image"]["bytes"]: np.mean([colorfulness(frame) for frame in read_clip(row["image"]["bytes"], 5)]) for row in rows}
    examples = load("auto", ranked)
    assert [example.prompt for example in examples] == PROMPTS
    for example in examples:
        own = [row["image"]["bytes"] for row in rows if row["prompt"] == example.prompt]
        assert example.images == (max(own, key=scores.get), min(own, key=scores.get))


def test_pairs_are_looked_at(ranked):
    found, _ = inspect("auto", ranked)
    assert (found.images.clips.frames, found.images.sizes, found.images.broken) == ({5: 6}, {(16, 16): 6}, [])


def test_training_starts_at_log_2_and_shows_clips_of_the_trained_length(trained):
    first = json.loads((trained / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(np.log(2), rel=1e-5)
    with Image.open(trained / "samples" / "step-000002.png") as grid:
        scale = 256 // (4 * 32)  # a strip of four frames of 32 x 16, enlarged to 256 pixels
        assert grid.size == (4 * 32 * scale, 16 * scale)


def comparison(place, adapter, out, **changes):
    values = {"pretrained": str(place / "wan"), "adapter_path": str(adapter), "prompts": str(place / "prompts.txt")}
    values |= {"rewards": ["colorfulness"], "aligned_to": "colorfulness", "output_dir": str(place / out), "fps": 8}
    return from_mapping({**values, **SIZE, **DRAWN, **changes}, EvaluateConfig)


def test_base_and_aligned_are_compared_and_shown_moving(place, trained, capsys):
    page = evaluate(comparison(place, trained, "report"))
    report = json.loads((page.parent / "report.json").read_text())
    (row,) = report["comparisons"]
    assert row["n"] == 3
    assert 0 <= row["low"] <= row["win_rate"] <= row["high"] <= 1
    assert report["clips"] == {"frames": 5, "fps": 8.0, "judged": 5}
    assert "Clips of 5 frames, 8 a second; a clip's score is the mean over 5 evenly spaced frames." in capsys.readouterr().out
    assert page.read_text().count("data:image/webp;base64,") >= 6


def test_a_model_against_itself_wins_exactly_half(place, trained):
    pipelines.load(place / "wan").pipe.transformer.save_pretrained(place / "same" / "transformer")
    page = evaluate(comparison(place, place / "same", "even"))
    (row,) = json.loads((page.parent / "report.json").read_text())["comparisons"]
    assert (row["win_rate"], row["low"], row["high"], row["ties"]) == (0.5, 0.5, 0.5, 3)


def test_sizes_that_cannot_be_drawn_are_told(place, trained):
    with pytest.raises(UserError, match="frames is 7, but clips for wan have a multiple of 4 frames and one; set 5"):
        evaluate(comparison(place, trained, "none", frames=7))
    with pytest.raises(UserError, match="height is 12, but sides of clips for wan are multiples of 8"):
        evaluate(comparison(place, trained, "none", height=12))


def test_pairs_in_one_go(place, capsys):
    values = {"model": {"pretrained": str(place / "wan")}, "prompts": str(place / "prompts.txt"), "rewards": ["colorfulness"]}
    values |= {"per_prompt": 2, "limit": 2, "output": str(place / "pairs.parquet"), **SIZE, **DRAWN}
    pairs.run(from_mapping(values, PairsConfig))
    assert "a clip's score is the mean over 8 evenly spaced frames" in capsys.readouterr().err
    examples = load("auto", place / "pairs.parquet")
    assert [len(read_clip(source, 5)) for example in examples for source in example.images] == [5] * 4
    for example in examples:
        best, worst = (np.mean([colorfulness(frame) for frame in read_clip(source, 5)]) for source in example.images)
        assert example.scores == pytest.approx((best, worst), rel=1e-4)
        assert best > worst


def test_a_whole_set_is_estimated(place):
    values = {"prompts": str(place / "prompts.txt"), "output_dir": str(place / "set")}
    values["generate"] = {"models": [str(place / "wan")], **SIZE, **DRAWN, "batch_size": 1, "seeds_per_prompt": 2}
    shown = estimate.estimate(from_mapping({**values, "score": {"rewards": ["colorfulness"]}}, SynthConfig))
    assert "colorfulness" in shown


def test_the_commands_of_the_configurations_header_are_understood():
    """The whole way is said there; each command is read by the configuration that it is for."""
    head = "\n".join(line[2:].strip() for line in SHIPPED.read_text().splitlines() if line.startswith("#"))
    lines = re.sub(r"(?m)^(Command|Before|After): *", "", head).replace("\n--", " --").splitlines()
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("mmalign ")]
    kinds = {"generate": GenerateConfig, "score": ScoreConfig, "rank": RankConfig, "evaluate": EvaluateConfig}
    assert [command[0] for command in commands] == ["train", "generate", "score", "rank", "data", "evaluate"]
    for name, *words in commands:
        if name in kinds:
            load_config(None, ["--images", *words] if name == "score" else words, kinds[name], prog="mmalign")


def test_clips_are_drawn_during_the_run_and_the_same_on_resume(place):
    (place / "prompts.csv").write_text("\n".join(["prompt", *PROMPTS]))
    online = {"refresh_steps": 2, "rewards": ["colorfulness"], "per_prompt": 2, **DRAWN}

    def run(out, steps, **more):
        config = training(place, place / "prompts.csv", out, online=online)
        data = config.data.model_copy(update={"name": "prompts"})
        settings = config.train.model_copy(update={"max_train_steps": steps, "checkpointing_steps": 1, **more})
        return train(config.model_copy(update={"data": data, "train": settings}))

    first = run("online", 2)
    assert "clips of 5 frames every 2 steps" in (first / "README.md").read_text()
    assert "a clip's score is the mean over 8 evenly spaced frames" in (first / "README.md").read_text()
    whole = load_file(first / "pytorch_lora_weights.safetensors")
    run("parted", 1)
    again = load_file(run("parted", 2, resume_from_checkpoint="latest") / "pytorch_lora_weights.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert any(tensor.abs().max() > 0 for name, tensor in whole.items() if "lora_B" in name)
