"""Every prompt by every model and seed: which picture a row has follows from the row alone."""

import json
from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mmalign.cli import main
from mmalign.data.sources import open_source
from mmalign.errors import UserError
from mmalign.factory.generate import run
from mmalign.factory.models import Models
from mmalign.factory.requests import prompt_id
from mmalign.personalization import UserConditioner, UserEmbeddings
from mmalign.pipelines import load
from tests.factory import pipes
from tests.factory.conftest import PROMPTS, contents


def rows_of(folder):
    return pq.read_table(folder).to_pylist()


def pixels(row):
    return np.asarray(Image.open(BytesIO(row["image"]["bytes"]))).astype(int)


def keyed(folder):
    """Pixels by (prompt, model, seed)."""
    return {(row["prompt"], row["model"], row["seed"]): pixels(row) for row in rows_of(folder)}


def test_every_prompt_by_every_model_and_seed_once_model_by_model(drawn):
    rows = rows_of(drawn)
    wanted = [(model, prompt, seed) for model in ("base", "other") for prompt in PROMPTS for seed in (0, 1)]
    assert [(row["model"], row["prompt"], row["seed"]) for row in rows] == wanted
    assert [row["row"] for row in rows] == list(range(20))
    assert {row["prompt_id"] for row in rows} == {prompt_id(prompt) for prompt in PROMPTS}
    assert len({row["image"]["bytes"] for row in rows}) == 20
    assert {(row["width"], row["height"], row["error"]) for row in rows} == {(16, 16, None)}
    guided = {"base": 7.5, "other": 5.0}  # nobody says it: the pipelines' own
    assert all(json.loads(row["call"]) == {"guidance_scale": guided[row["model"]], "num_inference_steps": 2} for row in rows)


def test_the_noise_seed_is_all_that_diffusers_needs_to_draw_the_picture_again(generate, base):
    row = rows_of(generate(batch_size=1))[7]
    again = load(base).pipe(
        row["prompt"], generator=torch.Generator().manual_seed(row["noise_seed"]), output_type="np", **json.loads(row["call"])
    )
    assert np.array_equal(pixels(row), (again.images[0] * 255).round())


def test_prompts_draw_other_noise_and_models_the_same(drawn):
    seeds = {(row["model"], row["prompt"], row["seed"]): row["noise_seed"] for row in rows_of(drawn)}
    assert len(set(seeds.values())) == len(seeds) / 2
    assert all(seed == seeds["other", *key[1:]] for key, seed in seeds.items())


def test_shards_hold_whole_batches_of_one_model(drawn):
    shards = [[row["row"] for row in pq.read_table(drawn / name).to_pylist()] for name in contents(drawn)]
    # of 4 pictures that are whole batches of 3, there are 6; batches of 2 fit as they are
    assert shards == [[*range(6)], [*range(6, 10)], [*range(10, 14)], [*range(14, 18)], [18, 19]]


def test_sizes_of_batches_and_shards_change_no_picture_by_more_than_rounding(drawn, generate):
    first, second = keyed(drawn), keyed(generate(batch_size=10, shard_size=3))
    assert first.keys() == second.keys()
    assert max(abs(first[key] - second[key]).max() for key in first) <= 1


def test_other_prompts_seeds_and_order_change_no_picture(drawn, generate, settings, prompts):
    alone = [{**model, "batch_size": 1} for model in settings["models"]]
    first = keyed(generate(models=alone, limit=3))
    prompts.write_text("\n".join(["a table", *reversed(PROMPTS[:3]), PROMPTS[0]]))  # what is there twice is drawn once
    second = keyed(generate(models=alone[::-1], seed=1, overwrite=True))
    shared = first.keys() & second.keys()
    assert shared == {(prompt, model, 1) for prompt in PROMPTS[:3] for model in ("base", "other")}
    assert len(second) == 4 * 2 * 2
    assert all(np.array_equal(first[key], second[key]) for key in shared)


def test_one_model_is_loaded_at_a_time_and_each_once(configured, monkeypatch):
    opened = []
    open_model = Models.draw.__globals__["open_model"]
    monkeypatch.setattr("mmalign.factory.models.open_model", lambda model: opened.append(model.title) or open_model(model))
    run(configured())
    assert opened == ["base", "other"]


@pytest.mark.parametrize(("form", "quality", "exact"), [("webp", None, True), ("webp", 90, False), ("jpeg", None, False)])
def test_formats(drawn, generate, settings, form, quality, exact):
    png = [row for row in rows_of(drawn) if row["model"] == "base"]
    others = rows_of(generate(models=settings["models"][:1], image_format=form, quality=quality))
    for first, second in zip(png, others, strict=True):
        assert Image.open(BytesIO(second["image"]["bytes"])).format == form.upper()
        assert np.array_equal(pixels(first), pixels(second)) == exact


def test_a_pipeline_of_any_class_draws_by_its_own_call(generate, tmp_path):
    pipes.pixart().save_pretrained(tmp_path / "pixart")
    pipes.cascade().save_pretrained(tmp_path / "cascade")
    index = tmp_path / "cascade" / "model_index.json"
    published = json.loads(index.read_text()) | {"vqgan": ["wuerstchen", "PaellaVQModel"]}
    index.write_text(json.dumps(published))
    small = {"max_sequence_length": 16, "use_resolution_binning": False, "clean_caption": False}
    size = {"prior_num_inference_steps": 2, "height": 128, "width": 128}
    models = [
        {"pretrained": str(tmp_path / "pixart"), "call": small},
        {"pretrained": str(tmp_path / "cascade"), "pipeline": "StableCascadeCombinedPipeline", "call": size},
    ]
    rows = rows_of(generate(models=models, limit=2, seeds_per_prompt=1))
    assert [(row["model"], row["width"]) for row in rows] == [("pixart", 16)] * 2 + [("cascade", 128)] * 2
    assert json.loads(rows[2]["call"]) == {"num_inference_steps": 2, **size}


def test_a_lora_changes_the_pictures_by_its_scale(generate, base, tmp_path):
    family = load(base)
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    family.denoiser.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights="gaussian"))
    for name, weight in family.denoiser.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(generator=torch.Generator().manual_seed(1))
    family.pipe.save_lora_weights(tmp_path / "lora", unet_lora_layers=get_peft_model_state_dict(family.denoiser))
    tuned = {"pretrained": str(base), "adapter_path": str(tmp_path / "lora")}
    models = [str(base), tuned, {**tuned, "adapter_scale": 0.0, "label": "off"}]
    drawn = keyed(generate(models=models, limit=2, seeds_per_prompt=1))
    for prompt in PROMPTS[:2]:
        plain, aligned, off = (drawn[prompt, title, 0] for title in ("base", "base+lora", "off"))
        assert np.array_equal(plain, off)
        assert not np.array_equal(plain, aligned)


def test_a_conditioner_draws_for_the_user_that_is_named(generate, base, tmp_path):
    family, users = load(base), {"ann": torch.ones(1, 2), "ben": torch.tensor([[2.0, -1.0]])}
    made = UserConditioner.fitting(family.denoiser, 1, 2, dim=8, users=UserEmbeddings(users))
    for value in made.values.values():
        torch.nn.init.normal_(value.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    made.save(tmp_path / "run")
    run = {"pretrained": str(base), "adapter_path": str(tmp_path / "run")}
    mixture = {"ann": 0.25, "ben": 0.75}
    models = [str(base), {**run, "user": "ann"}, {**run, "user": mixture}, {**run, "user": "ann", "adapter_scale": 0.0, "label": "off"}]
    drawn = keyed(generate(models=models, limit=2, seeds_per_prompt=1))
    made.attach(family.pipe)
    for prompt in PROMPTS[:2]:
        plain, ann, both, off = (drawn[prompt, t, 0] for t in ("base", "base+run for ann", "base+run for 0.25 ann and 0.75 ben", "off"))
        assert np.array_equal(plain, off)
        assert not np.array_equal(plain, ann)
        assert not np.array_equal(ann, both)
    for user, words in (("anne", "no user 'anne'.*'ann'"), (None, "holds a conditioner alone")):
        with pytest.raises(UserError, match=words):
            generate(models=[{**run, "user": user}], overwrite=True)
    with pytest.raises(UserError, match="user is known to the run in adapter_path"):
        generate(models=[{"pretrained": str(base), "user": "ann"}], overwrite=True)


def test_a_whole_model_takes_the_denoiser_s_place(generate, base, tmp_path):
    denoiser = load(base).denoiser
    with torch.no_grad():
        denoiser.conv_out.weight.mul_(2)
    denoiser.save_pretrained(tmp_path / "full" / "unet")
    models = [str(base), {"pretrained": str(base), "adapter_path": str(tmp_path / "full")}]
    drawn = keyed(generate(models=models, limit=1, seeds_per_prompt=1))
    assert not np.array_equal(drawn[PROMPTS[0], "base", 0], drawn[PROMPTS[0], "base+full", 0])


def test_pictures_that_the_model_blocked_or_that_are_no_numbers_say_so(generate, monkeypatch):
    from mmalign.factory import models

    draw = models.draw

    def spoilt(*args, **call):
        drawn = draw(*args, **call)
        drawn.pictures[0] = torch.nan
        return type(drawn)(drawn.pictures, tuple(place == 1 for place in range(len(drawn.blocked))))

    monkeypatch.setattr(models, "draw", spoilt)
    rows = rows_of(generate(limit=2, batch_size=4))
    assert [row["error"] for row in rows[:3]] == ["the model gave no numbers", "replaced by the model's safety checker", None]


def test_a_model_that_gives_no_numbers_at_all_ends_the_run(generate, monkeypatch):
    from mmalign.factory import models

    draw = models.draw

    def broken(*args, **call):
        drawn = draw(*args, **call)
        return type(drawn)(drawn.pictures * torch.nan, drawn.blocked)

    monkeypatch.setattr(models, "draw", broken)
    with pytest.raises(UserError, match="base gives no numbers in float32; choose another dtype"):
        generate()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": ["/nowhere"]}, "cannot load a pipeline from /nowhere: there is no such folder"),
        ({"models": ["shapes/sdxI"]}, "no embedded model is called 'sdxI'; did you mean 'sdxl'?"),
        ({"call": {"num_inference_step": 3}}, r"base \(StableDiffusionPipeline\) takes no 'num_inference_step'; did you mean 'num_inf"),
        ({"prompts": "missing.txt"}, "cannot read prompts from missing.txt: No such file"),
    ],
)
def test_what_is_not_there_is_said_before_anything_is_drawn(generate, tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        generate(**changes)
    assert not (tmp_path / "pictures").exists()
    assert not (tmp_path / "pictures.parts").exists()


def test_the_second_model_is_looked_at_before_the_first_draws(generate, base, tmp_path):
    for wrong, said in [
        ({"pipeline": "StableCascadePipelin"}, "no class 'StableCascadePipelin'; did you mean 'StableCascade"),
        ({"adapter_path": "./nowhere"}, "adapter_path of .*: there is no ./nowhere"),
    ]:
        with pytest.raises(UserError, match=said):
            generate(models=[str(base), {"pretrained": str(base), "label": "second", **wrong}])
    assert not (tmp_path / "pictures.parts").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": ["a/x", "b/x"]}, "models has 'x' twice; give each a label"),
        ({"call": {"prompt": "x"}}, "call has 'prompt', which generate sets itself"),
        ({"quality": 90}, "quality has no effect on png"),
    ],
)
def test_settings_that_make_no_sense_are_refused(configured, changes, said):
    with pytest.raises(UserError, match=said):
        configured(**changes)


def test_the_shards_are_a_table_for_every_reader(drawn):
    table = open_source(drawn)
    assert len(table) == 20
    assert table.row(3).text("prompt") == PROMPTS[1]
    import datasets

    rows = datasets.load_dataset(str(drawn), split="train", cache_dir=str(drawn.parent / "cache"))
    assert rows[3]["image"].size == (16, 16)


def test_the_command(base, prompts, tmp_path, capsys):
    words = ["generate", "--models", str(base), f"{{pretrained: {base}, label: second}}", "--prompts", str(prompts), "--limit", "2"]
    words += ["--num-inference-steps", "1", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["model", "pictures", "prompts", "pixels", "without", "use"]
    assert [line.split() for line in shown[2:4]] == [["base", "2", "2", "16x16", "0"], ["second", "2", "2", "16x16", "0"]]
    assert shown[-2].startswith("4 pictures in 2 files, ")
    assert shown[-1] == str(tmp_path / "out")
    assert main(words) == 2
    assert "out is there already; give another --out, or --overwrite to draw anew" in capsys.readouterr().err
