"""`docs/personalization.md` done as it says, in its order of need: many people's choices to a run, one person's choices to pictures.

The base is a tiny SDXL in the published format, the vision-language model and the scorer are tiny ones in theirs; commands and Python are
those of the page, with names of models and data in place of what nobody has here.
"""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmalign import cli, data
from mmalign.config import VlmConfig
from mmalign.data.schema import Example
from mmalign.data.write import write_pickapic
from mmalign.personalization import UserConditioner, UserSamples
from mmalign.users.encoder import load_encoder
from mmalign.users.samples import chunks
from mmalign.users.vlm_encoder import VlmEncoder
from mmalign.votes import Contender, Votes
from tests import tiny
from tests.rewards.tiny.pickscore import fields
from tests.tiny_vlms import make

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "personalization.md").read_text(encoding="utf-8")
PEOPLE = ("ada", "bo", "cai", "dov", "eli", "fay")  # of the embedded world, where everybody's taste is known to the judge
HELD_OUT = "fay"
CHOICES = 8
TINY = {
    "train": "--model.pretrained base --model.variant null --model.vae null --model.dtype float32 --data.source choices.parquet "
    "--data.resolution 16 --train.max_train_steps 2 --train.train_batch_size 4 --train.gradient_accumulation_steps 1 "
    "--train.learning_rate 0.05 --train.mixed_precision no --train.checkpointing_steps 2 --validation.steps 2 "
    f"--validation.num_inference_steps 1 --users.held_out {HELD_OUT}",
    "users fit": f"--latent 4 --dim 8 --steps 20 --held-out {HELD_OUT}",
    "users evaluate": "--num-inference-steps 1 --prompts prompts.txt --seen 1 --unseen 1 --interpolations 1 --resamples 100 "
    "--batch-size 16",
}
"""What is added to a command, so that two cores do it in seconds."""


def blocks(language):
    return [text for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if kind == language]


def commands():
    """The commands of the page, without the demo, by their words."""
    lines = [line.split("  #")[0].strip() for block in blocks("") for line in block.splitlines()]
    inline = re.findall(r"`(mmalign users (?:list|mix) people[^`]*)`", PAGE)
    return [line for line in [*lines, *inline] if line.startswith("mmalign ") and " demo " not in line]


def one(words):
    (found,) = [line for line in commands() if line.startswith(f"mmalign {words}")]
    return found


def do(line, *more):
    """Runs a command of the page as a person would, with what there is here in place of what it names."""
    here = {"stabilityai/stable-diffusion-xl-base-1.0": "base", "llava-hf/llava-onevision-qwen2-7b-ov-chat-hf": "vlm"}
    here |= {
        "BASE": "base",
        "REWARD": "taste",
        "configs/sdxl_ppd_conditioner.yaml": str(Path(__file__).parents[1] / "configs/sdxl_ppd_conditioner.yaml"),
    }
    words = [here.get(word, word) for word in shlex.split(line)[1:]]
    small = next((given.split() for name, given in TINY.items() if words[: len(name.split())] == name.split()), [])
    assert cli.main([*words, *small, *more]) == 0, line


def picture(draws, red):
    """A noisy red or blue picture."""
    color = torch.tensor([200.0, 40, 40] if red else [40.0, 40, 200])[:, None, None]
    noisy = (color + 30 * torch.randn(3, 16, 16, generator=draws)).clamp(0, 255).byte()
    return Image.fromarray(noisy.permute(1, 2, 0).numpy())


def choices_of(name, liking_red, seed):
    draws = torch.Generator().manual_seed(seed)
    return [
        Example(f"a picture {number}", (picture(draws, liking_red), picture(draws, not liking_red)), user_id=name)
        for number in range(CHOICES)
    ]


def as_folder(choices, place):
    for side in ("w", "l"):
        (place / side).mkdir(parents=True)
    for number, example in enumerate(choices):
        for side, image in zip(("w", "l"), example.images, strict=True):
            image.save(place / side / f"{number}.png")
        (place / "w" / f"{number}.txt").write_text(example.prompt)


def as_votes(choices, place):
    votes = Votes(place)
    for number, example in enumerate(choices):
        sides = Contender("base", example.images[0]), Contender("other", example.images[1])
        turned = number % 2 == 1
        shown = votes.open_round("s", example.prompt, sides, turned, voter="a random name")
        votes.vote(shown.id, "s", "right" if turned else "left")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with all that the page presupposes, in which everybody's commands were run."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        tiny.sdxl().save_pretrained("base")
        make("llava_onevision", folder / "vlm")
        (folder / "prompts.txt").write_text("a red circle\n")
        everybody = [example for place, name in enumerate(PEOPLE) for example in choices_of(name, place % 2 == 0, place)]
        write_pickapic(everybody, "choices.parquet")
        ann = choices_of("ann", True, 77)
        as_folder(ann, folder / "my_choices")
        write_pickapic(ann, "my_choices.parquet")
        as_votes(ann, folder / "votes.sqlite")
        scorer = fields(folder / "scorer")
        do(one("users fit"), *(f"--scorer.{key}={value}" for key, value in scorer.items()))
        do(one("users embed --data.source choices.parquet"))
        do(one("train"))
        yield folder, ann


def test_the_commands_are_those_that_are_tested():
    assert len(commands()) == 9


@pytest.fixture
def at(world, monkeypatch):
    folder, ann = world
    monkeypatch.chdir(folder)
    return folder, ann


@pytest.mark.parametrize("source", ["my_choices/", "my_choices.parquet", "votes.sqlite"])
def test_choices_in_each_of_the_three_formats_are_looked_at_and_embedded(at, source, tmp_path):
    _, ann = at
    do(one("data inspect").replace("my_choices/", source).replace("choices.png", str(tmp_path / "choices.png")))
    assert Image.open(tmp_path / "choices.png").width > 100
    do(
        one("users embed --data.source my_choices/ --encoder")
        .replace("my_choices/", source)
        .replace("people.safe", f"{tmp_path}/people.safe")
    )
    found = UserSamples.load(tmp_path / "people.safetensors")
    wanted = load_encoder("runs/sdxl_ppd_conditioner/user_encoder").embed(ann)
    assert list(found) == ["ann"]
    torch.testing.assert_close(found["ann"], wanted[None], atol=1e-5, rtol=1e-4)


def test_a_vision_language_model_embeds_in_its_place(at, tmp_path, capsys):
    line = one("users embed --data.source my_choices/ --vlm").replace("people.safe", f"{tmp_path}/people.safe")
    do(line, "--max-new-tokens", "3")
    assert "people.encoder (for users.encoder of a training run)" in capsys.readouterr().out
    found = UserSamples.load(tmp_path / "people.safetensors")["ann"]
    (drawn,) = chunks(list(data.load("auto", "my_choices")), CHOICES, name="ann")  # all choices in one embedding, in an order of the name's
    wanted = VlmEncoder(VlmConfig(pretrained="vlm"), max_new_tokens=3).embed(drawn)
    torch.testing.assert_close(found, wanted[None])
    torch.testing.assert_close(load_encoder(tmp_path / "people.encoder").embed(drawn), wanted)


def test_pictures_are_drawn_mixed_and_kept_as_the_python_says(at):
    line = one("users embed --data.source my_choices/ --encoder")
    do(line)
    do(line.replace("--name ann", "--name ben"))
    do(one("users mix"))
    do(one("users list"))
    draw, mix = blocks("python")
    names = {"prompt": "a lighthouse at dusk"}
    exec(draw.replace("stabilityai/stable-diffusion-xl-base-1.0", "base").replace('.to("cuda")', ""), names)
    assert names["picture"].size == (16, 16)
    exec(mix, names)
    assert {"ann", "ben", "us"} <= set(names["conditioner"].users)
    kept = UserConditioner.load("mine")
    pipe, prompt = names["pipe"], names["prompt"]

    def drawn(user):
        said = {"generator": torch.Generator().manual_seed(3), "output_type": "pt", "num_inference_steps": 2}
        return pipe(prompt, cross_attention_kwargs={"user": user}, **said).images

    ann, base = drawn("ann"), drawn(None)
    assert not torch.allclose(ann, base, atol=1e-4)
    names["conditioner"].detach()
    kept.attach(pipe)
    assert torch.equal(drawn("ann"), ann)
    kept.detach()
    said = {"generator": torch.Generator().manual_seed(3), "output_type": "pt", "num_inference_steps": 2}
    assert torch.equal(pipe(prompt, **said).images, base)


def test_the_evaluation_says_who_was_seen_and_who_was_not(at):
    do(one("users evaluate"))
    said = (Path("people") / "report.json").read_text()
    assert '"unseen"' in said
    assert '"seen"' in said
    config = json.loads(said)["config"]
    assert (config["num_inference_steps"], config["guidance_scale"]) == (1, 5.0)  # the guidance, which nobody says, is SDXL's pipeline's
