"""Whole runs for people: what they learn, what they leave, and that it draws what it drew."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmalign import pipelines
from mmalign.data.schema import Example
from mmalign.data.write import write_pickapic
from mmalign.errors import UserError
from mmalign.personalization import UserConditioner
from mmalign.training.fill import fill
from mmalign.training.run import train
from mmalign.users.personal import Personal
from tests import tiny, tiny_families
from tests.training.conftest import PROMPTS, picture
from tests.training.personal import disagreeing, samples

CONDITIONER, LORA = "user_conditioner.safetensors", "pytorch_lora_weights.safetensors"
NAMES = ("ann", "ben", "cyd")


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    """A Parquet file of 4 pairs, judged by three users; ben likes what the others do not."""
    path = tmp_path_factory.mktemp("votes") / "votes.parquet"
    write_pickapic(disagreeing(4, NAMES), path)
    return path


@pytest.fixture
def for_people(configured, votes, tmp_path):
    """Makes a configuration with a file of embeddings and cyd held out."""
    place = tmp_path / "users.safetensors"
    samples(NAMES).save(place)

    def make(out="out", users=None, **changes):
        section = {"embeddings": str(place), "held_out": ["cyd"], "dim": 8, **(users or {})}
        return configured(out, users=section, **{"data": {"source": str(votes)}} | changes)

    return make


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_table_learns_whose_taste_is_whose_which_one_taste_for_all_cannot(configured):
    """Of each pair one user likes the bright and another the dark picture: who knows no user is right of half, with a loss of log 2."""
    generator, rows = np.random.default_rng(0), []
    for i in range(4):
        bright, dark = picture(generator, 235), picture(generator, 20)
        rows += [Example(PROMPTS[i % 2], (bright, dark), user_id="ann"), Example(PROMPTS[i % 2], (dark, bright), user_id="ben")]
    config = configured(
        users={"dropout": 0.0, "tokens": 1, "width": 8},
        adapter={"name": "none"},
        method={"name": "diffusion_dpo", "beta": 50},
        train={"max_train_steps": 40, "train_batch_size": 8, "checkpointing_steps": 40},
    )
    out = train(config, pipe=tiny.sd3(), examples=rows)
    last = [line for line in metrics(out) if "loss" in line][20:]
    assert np.mean([line["implicit_acc"] for line in last]) > 0.65
    assert np.mean([line["loss"] for line in last]) < 0.6
    assert list(UserConditioner.load(out).users) == ["ann", "ben"]
    assert not (out / LORA).exists()


def test_a_run_draws_in_a_new_pipeline_what_it_drew_for_its_users(for_people, base, tmp_path):
    prompts = {"prompts": PROMPTS, "steps": 3, "num_inference_steps": 2, "guidance_scale": 3.0, "seed": 5}
    out = train(for_people(train={"max_train_steps": 3, "learning_rate": 1e-2, "checkpointing_steps": 3}, validation=prompts))
    assert {path.name for path in out.iterdir()} >= {LORA, CONDITIONER, "users.json", "README.md", "config.yaml"}
    call = {"num_inference_steps": 2, "guidance_scale": 3.0}
    family = pipelines.load(str(base))
    before = family.sample(PROMPTS, [5, 6], **call)
    personal = Personal(family, out, **call)
    assert torch.equal(personal.base(PROMPTS, [5, 6]), before)
    columns = [personal.personal(PROMPTS, [5, 6], [user] * 2) for user in (None, "ann", "ben")]
    grid = np.asarray(Image.open(out / "samples" / "step-000003.png"))
    for row in range(2):
        for column, pictures in enumerate(columns):
            drawn = grid[8 + row * 264 : 264 + row * 264, 8 + column * 264 : 264 + column * 264][::16, ::16]
            shown = (pictures[row].permute(1, 2, 0) * 255).round().byte().numpy()
            assert abs(drawn.astype(int) - shown.astype(int)).max() <= 1
    assert not torch.allclose(columns[1], columns[2])
    # an embedding, a mixture and a list of several are what their names are
    mixed = personal.personal(PROMPTS, [5, 6], [samples(NAMES).first()["ann"], {"ben": 1.0}])
    torch.testing.assert_close(mixed, torch.stack([columns[1][0], columns[2][1]]), atol=1e-5, rtol=1e-5)
    personal.close()
    assert torch.equal(family.sample(PROMPTS, [5, 6], **call), before)
    said = json.loads((out / "users.json").read_text())
    assert (said["trained"], said["held_out"]) == ({"ann": 4, "ben": 4}, {"cyd": 4})


def test_the_lines_of_the_card_draw_for_a_user(for_people, base):
    out = train(for_people(train={"max_train_steps": 1, "checkpointing_steps": 1}))
    card = (out / "README.md").read_text()
    assert "| Users | 2 with 8 rows trained on; 1 with 4 rows held out: cyd; nobody in 10% of the draws |" in card
    assert '{"user": "ann"}' in card
    code = card.partition("```python")[2].partition("```")[0].replace("THIS_FOLDER", str(out))
    names = {}
    exec(code.replace('"a prompt"', '"a prompt", num_inference_steps=1, height=16, width=16'), names)
    assert names["image"].size == (16, 16)


@pytest.mark.parametrize("adapter", ["lora", "full", "none"])
def test_a_pipeline_is_given_back_as_it_was(for_people, adapter):
    pipe = tiny.sd()
    pipe.set_progress_bar_config(disable=True)
    processors, hooks = dict(pipe.unet.attn_processors), dict(pipe.unet._forward_pre_hooks)
    grads, keys = [parameter.requires_grad for parameter in pipe.unet.parameters()], list(pipe.unet.state_dict())
    weights = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    out = train(for_people(adapter={"name": adapter}, train={"max_train_steps": 2, "checkpointing_steps": 2}), pipe=pipe)
    assert dict(pipe.unet.attn_processors) == processors
    assert dict(pipe.unet._forward_pre_hooks) == hooks
    assert list(pipe.unet.state_dict()) == keys
    assert [parameter.requires_grad for parameter in pipe.unet.parameters()] == grads
    assert all(torch.equal(weights[name], tensor) for name, tensor in pipe.unet.state_dict().items())
    trained = load_file(out / CONDITIONER)
    assert max(tensor.abs().max() for name, tensor in trained.items() if ".values." in name) > 0
    personal = Personal(pipelines.load(pipe), out, num_inference_steps=1)
    pictures = personal.personal(PROMPTS, [0, 1], ["ann", None])
    assert torch.equal(pictures[1], personal.base(PROMPTS, [0, 1])[1]) == (adapter == "none")
    personal.close()
    assert dict(pipe.unet.attn_processors) == processors


def test_the_encoder_goes_with_the_result(for_people, tmp_path):
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "encoder.json").write_text('{"kind": "set", "tokens": 3, "width": 5}')
    (encoder / "encoder.safetensors").write_bytes(b"weights")
    out = train(for_people(users={"encoder": str(encoder)}, train={"max_train_steps": 1, "checkpointing_steps": 1}))
    assert (out / "user_encoder" / "encoder.safetensors").read_bytes() == b"weights"
    assert 'load_encoder("THIS_FOLDER/user_encoder").embed(choices)' in (out / "README.md").read_text()


def test_embeddings_of_many_numbers_stay_in_their_file(for_people, monkeypatch):
    from mmalign.training import personal

    monkeypatch.setattr(personal, "KEPT", 2 * 3 * 5 - 1)
    out = train(for_people(train={"max_train_steps": 1, "checkpointing_steps": 1}))
    assert not UserConditioner.load(out).users
    assert "UserSamples.load(" in (out / "README.md").read_text()


def test_a_dry_run_tells_users_and_conditioner_and_writes_nothing(for_people, capsys):
    config = for_people(validation={"prompts": PROMPTS, "steps": 2}, users={"shown": ["cyd"]})
    train(config, dry_run=True)
    lines = {line[:14].strip(): line[15:] for line in capsys.readouterr().out.splitlines()}
    assert lines["users"].startswith("2 with 8 rows trained on; 1 with 4 rows held out: cyd")
    assert lines["embeddings"].endswith("users.safetensors; 3 x 5 numbers a user")
    # two attentions of each of the middle, the way down and the way up; widths 16: Linear, LayerNorm, keys and values without bias
    attentions = int(lines["conditioner"].rpartition("beside ")[2].split()[0])
    assert lines["conditioner"].startswith(f"{5 * 8 + 8 + 2 * 8 + attentions * 2 * 8 * 16:,} parameters,")
    assert lines["samples"] == "a column each for nobody, cyd"
    assert "user_conditioner.safetensors, users.json, samples/ every 2 steps (50 denoising steps each" in lines["would write"]
    assert not config.output_dir.exists()


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_half_precision_and_recomputed_activations_go_with_users(for_people, base, precision):
    """Recomputing changes no number; autocast leaves what is trained in float32."""
    steps = {"max_train_steps": 2, "checkpointing_steps": 2, "mixed_precision": precision}
    runs = [train(for_people(f"{again}", train=steps | {"gradient_checkpointing": again})) for again in (False, True)]
    kept, recomputed = (load_file(out / CONDITIONER) for out in runs)
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}
    assert max((kept[name] - recomputed[name]).abs().max() for name in kept) < (1e-6 if precision == "no" else 1e-4)


@pytest.mark.parametrize("adapter", ["none", "full"])
def test_kept_errors_of_the_reference_give_the_same_run(for_people, votes, tmp_path, adapter, capsys):
    """Filled by a command that trains nothing, computed by a run for people, and found by the next."""
    steps = {"max_train_steps": 4, "checkpointing_steps": 4}
    data = {"source": str(votes), "cache_dir": str(tmp_path / "cache"), "reference_draws": 2}
    runs = [train(for_people(name, train=steps, data=data, adapter={"name": adapter})) for name in ("first", "second")]
    assert "all there" in capsys.readouterr().out
    assert runs[0].joinpath("metrics.jsonl").read_text() == runs[1].joinpath("metrics.jsonl").read_text()
    filled = data | {"cache_dir": str(tmp_path / "filled")}
    fill(for_people("third", train=steps, data=filled, adapter={"name": adapter}))
    third = train(for_people("third", train=steps, data=filled, adapter={"name": adapter}))
    assert third.joinpath("metrics.jsonl").read_text() == runs[0].joinpath("metrics.jsonl").read_text()


@pytest.mark.parametrize("name", ["flux", "pixart", "sana"])
def test_families_that_cannot_be_told_of_a_user_are_refused_before_anything_is_encoded(for_people, name, monkeypatch):
    monkeypatch.setattr("mmalign.training.prepared.encode", None)
    with pytest.raises(UserError, match="choose a pipeline of SD, SDXL or SD3"):
        train(for_people(), pipe=getattr(tiny_families, name)())


def test_a_folder_without_a_conditioner_is_told(base, tmp_path):
    with pytest.raises(UserError, match=r"holds no user_conditioner\.safetensors"):
        Personal(pipelines.load(str(base)), tmp_path)
