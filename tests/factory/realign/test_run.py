"""`mmalign data realign`: the nearest pictures by what the model itself sees, never the same one, as training reads them."""

import json

import pytest
import torch
from PIL import Image

from mmalign.cli import main
from mmalign.config import RealignConfig, from_mapping
from mmalign.data.cache import TensorCache
from mmalign.data.responses import load_responses
from mmalign.errors import UserError
from mmalign.factory.realign.features import Features, features_of, thumbnail
from mmalign.factory.realign.run import run
from mmalign.images import open_image
from mmalign.resumable.shard_folder import ShardFolder
from tests import tiny_vlms
from tests.factory.conftest import contents
from tests.factory.mia.asked import questions
from tests.forked import shared
from tests.pages import Page
from tests.vlm.models import build, picture


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl", "smolvlm"])
def vlm(request):
    return build(request.param)


def test_features_are_the_mean_of_what_the_language_model_gets(vlm):
    """Against the tokens that transformers puts in the places of a picture, read at the decoder's door."""
    family, pictures = vlm.policy.family, [picture(0), picture(1, 90, 30), picture(2, 50, 50)]
    features = Features(family, TensorCache(), "tiny", batch_size=2)
    features.make(pictures)
    found, _ = features_of(features._cache, [features.key(image) for image in pictures])
    image = vlm.processor.tokenizer.convert_tokens_to_ids(vlm.processor.image_token)
    seen = []
    hook = family.decoder.register_forward_pre_hook(lambda _, __, given: seen.append(given["inputs_embeds"]), with_kwargs=True)
    for one in pictures:
        chat = vlm.processor.apply_chat_template([{"role": "user", "content": [{"type": "image"}]}], add_generation_prompt=True)
        inputs = vlm.processor(text=[chat], images=[[one]], return_tensors="pt")
        with torch.no_grad():
            vlm.model(**inputs)
        tokens = seen.pop()[0][inputs["input_ids"][0] == image]
        torch.testing.assert_close(found[pictures.index(one)], tokens.mean(0) / tokens.mean(0).norm(), rtol=0, atol=1e-5)
    hook.remove()


def test_features_are_kept_by_pixels_and_model(tmp_path):
    vlm, cache = build("llava"), TensorCache(tmp_path)
    features = Features(vlm.policy.family, cache, "one")
    features.make([picture(0), picture(0), picture(1)])
    again = TensorCache(tmp_path)
    assert features.key(picture(0)) in again
    assert Features(vlm.policy.family, again, "other").key(picture(0)) not in again
    assert Features(vlm.policy.family, again, "one", {"size": {"height": 8}}).key(picture(0)) not in again


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Eight preferences, of which the last two are about the first one's picture, a copy and one with other levels; one is about none."""
    folder, rows = tmp_path_factory.mktemp("given"), questions(6)
    images = [row.images[0] for row in rows]
    images += [images[0].copy(), images[0].point(lambda level: min(255, level + 3))]
    lines = []
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
        lines.append({"prompt": "<image>\nWhat?", "chosen": "a", "rejected": f"b{number}", "images": [f"{number}.png"]})
    lines.append({"prompt": "What?", "chosen": "a", "rejected": "b", "images": []})
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    model = tiny_vlms.make("llava", folder / "model")
    return {"vlm": {"pretrained": str(model)}, "data": {"source": str(folder / "rows.jsonl")}, "shard_size": 4, "max_similarity": 1.0}


@pytest.fixture(scope="module")
def whole(given, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "realign"
    run(from_mapping({**given, "out": str(out)}, RealignConfig))
    return out


def test_each_row_has_the_nearest_picture_that_is_not_its_own(whole, given):
    examples, source = load_responses("auto", str(whole)), load_responses("auto", given["data"]["source"])
    assert type(examples.reader).__name__ == "Trl"
    assert len(examples) == 8
    images = [open_image(example.images[0]) for example in source[:8]]
    vlm = build("llava")
    features = Features(vlm.policy.family, TensorCache(), "")
    features.make(images)
    found, _ = features_of(features._cache, [features.key(image) for image in images])
    small = torch.stack([thumbnail(image) for image in images]).double()
    for own, example in enumerate(examples):
        assert example.turns == source[own].turns
        assert example.responses == source[own].responses
        others = [place for place in range(8) if (small[place] - small[own]).square().mean().sqrt() > 8]
        assert len(others) == (5 if own in (0, 6, 7) else 7)
        nearest = max(found[place] @ found[own] for place in others)
        wanted = [images[place].tobytes() for place in others if found[place] @ found[own] >= nearest - 1e-6]
        assert open_image(example.negatives[0]).tobytes() in wanted


def test_the_report_shows_both_pictures_and_what_was_left_out(whole):
    page, facts = Page(whole.with_name("realign.html").read_text()), json.loads(whole.with_name("realign.json").read_text())
    assert "8 of 9 rows have a picture to compare with" in page.text
    assert facts["left_out"] == {"not about one picture that can be opened": 1}
    assert sum(tag == "img" for tag, _ in page.tags) == 8


def test_a_stopped_run_goes_on_to_the_same_files_and_looks_at_nothing_twice(given, whole, tmp_path, monkeypatch):
    config, write = from_mapping({**given, "out": str(tmp_path / "realign")}, RealignConfig), ShardFolder.write

    def stop(self, number, table):
        if number == 1:
            raise KeyboardInterrupt
        write(self, number, table)

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "write", stop)
        with pytest.raises(KeyboardInterrupt, match="4 of 9 rows are compared and saved"):
            run(config)
    monkeypatch.setattr(Features, "make", lambda self, images: pytest.fail("looked again"))
    run(config)
    found = [{name: content for name, content in contents(out).items() if "settings" not in name} for out in (config.out, whole)]
    assert found[0] == found[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["realign", "realign.features", "realign.html", "realign.json"]


def test_two_processes_make_the_files_that_one_makes(given, whole, tmp_path):
    config = from_mapping({**given, "out": str(tmp_path / "realign")}, RealignConfig)
    shared(lambda rank: run(config))
    found = [{name: content for name, content in contents(out).items() if "settings" not in name} for out in (config.out, whole)]
    assert found[0] == found[1]


def test_a_folder_of_pictures_can_be_searched(given, tmp_path, capsys):
    pool = tmp_path / "pool"
    (pool / "inner").mkdir(parents=True)
    Image.new("RGB", (20, 20), "purple").save(pool / "inner" / "a.png")
    words = ["--vlm.pretrained", given["vlm"]["pretrained"], "--data.source", given["data"]["source"], "--pool", str(pool)]
    assert main(["data", "realign", *words, "--out", str(tmp_path / "out")]) == 0
    assert "8 of 9 rows" in capsys.readouterr().out
    negatives = {open_image(example.negatives[0]).getpixel((0, 0)) for example in load_responses("auto", str(tmp_path / "out"))}
    assert negatives == {(128, 0, 128)}


def test_a_limit_that_nothing_meets_is_said(given, tmp_path):
    with pytest.raises(UserError, match=r"none of 9 rows is kept: no picture is near \(8\)"):
        run(from_mapping({**given, "out": str(tmp_path / "out"), "min_similarity": 1.0, "max_similarity": 0.9999}, RealignConfig))
