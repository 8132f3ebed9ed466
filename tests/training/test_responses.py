"""Alignment of vision-language models: runs on tiny models in the published formats, from files to an adapter that stock libraries read."""

import json
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from PIL import Image
from transformers import AutoModelForImageTextToText

from mmalign.config import ResponseRunConfig, from_mapping, load_training
from mmalign.data.responses import ResponseExample
from mmalign.data.responses.schema import spoken
from mmalign.errors import UserError
from mmalign.objectives.kto import KTO
from mmalign.objectives.mdpo import MDPO
from mmalign.objectives.symmpo import SymMPO
from mmalign.pipelines import load_vlm
from mmalign.training.log import read_metrics
from mmalign.training.response_rows import ResponseRows, collate
from mmalign.training.response_views import Singles, mismatched
from mmalign.training.run import train
from mmalign.vlm.encode import PromptEncoder
from mmalign.vlm.negatives import MADE
from mmalign.vlm.policy import VlmPolicy
from tests import tiny_vlms
from tests.vlm.models import picture

ANSWERS = [("the red circle", "a blue square"), ("yes", "no"), ("at the left", "at the top"), ("a large red circle", "both are good")]


def examples():
    return [
        ResponseExample(
            (spoken("user", "<image>" * (1 + i % 2) + f"Which is red? {i}"),),
            answers,
            tuple(picture(10 * i + k) for k in range(1 + i % 2)),
            origin=f"row {i}",
        )
        for i, answers in enumerate(ANSWERS)
    ]


def rows_file(folder):
    """The same rows as a JSONL file with pictures beside it."""
    lines = []
    for i, example in enumerate(examples()):
        names = []
        for k, image in enumerate(example.images):
            names.append(f"{i}_{k}.png")
            image.save(folder / names[-1])
        asked = "<image>" * len(names) + f"Which is red? {i}"
        lines.append(json.dumps({"prompt": asked, "chosen": example.responses[0], "rejected": example.responses[1], "images": names}))
    file = folder / "rows.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


def config(base, source, out, adapter="lora", **train_section):
    values = {
        "vlm": {"pretrained": str(base)},
        "adapter": {"name": adapter},
        "data": {"source": str(source)},
        "method": {"name": "dpo", "beta": 0.5},
        "train": {"max_train_steps": 6, "train_batch_size": 2, "learning_rate": 2e-3, "logging_steps": 1, "report_to": "none"}
        | train_section,
        "output_dir": str(out),
    }
    return from_mapping(values, ResponseRunConfig)


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl", "smolvlm"])
def base(request, tmp_path_factory):
    return tiny_vlms.make(request.param, tmp_path_factory.mktemp(request.param))


def test_a_run_starts_at_the_reference_and_learns_the_preferences(base, tmp_path):
    out = train(config(base, rows_file(tmp_path), tmp_path / "out", max_train_steps=12))
    metrics = read_metrics(out / "metrics.jsonl")
    assert metrics[0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert metrics[0]["rewards/margins"] == pytest.approx(0.0, abs=1e-4)
    assert sum(line["rewards/margins"] for line in metrics[-3:]) / 3 > 0.1


def test_the_adapter_is_read_by_peft_and_by_transformers(base, tmp_path):
    out = train(config(base, rows_file(tmp_path), tmp_path / "out"))
    plain = AutoModelForImageTextToText.from_pretrained(base)
    by_peft = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), out)
    by_transformers = AutoModelForImageTextToText.from_pretrained(base)
    by_transformers.load_adapter(str(out))
    ids = torch.arange(40, 60)[None]
    with torch.no_grad():
        logits = [model.eval()(input_ids=ids).logits for model in (plain, by_peft, by_transformers)]
    assert (logits[0] - logits[1]).abs().max() > 1e-3
    torch.testing.assert_close(logits[1], logits[2])
    assert not any("vision" in name or "visual" in name for name, _ in by_peft.named_parameters() if "lora" in name)


def test_a_run_goes_on_bit_for_bit(base, tmp_path):
    source = rows_file(tmp_path)
    whole = train(config(base, source, tmp_path / "whole"))
    train(config(base, source, tmp_path / "parts", max_train_steps=3, checkpointing_steps=3))
    resumed = train(config(base, source, tmp_path / "parts", resume_from_checkpoint="latest"))
    assert (resumed / "adapter_model.safetensors").read_bytes() == (whole / "adapter_model.safetensors").read_bytes()


def test_recomputed_activations_and_accumulation_change_nothing(base, tmp_path):
    source = rows_file(tmp_path)
    plain = train(config(base, source, tmp_path / "plain", max_train_steps=2))
    spared = {"train_batch_size": 1, "gradient_accumulation_steps": 2, "gradient_checkpointing": True}
    other = train(config(base, source, tmp_path / "other", max_train_steps=2, **spared))
    losses = [[line["loss"] for line in read_metrics(out / "metrics.jsonl")] for out in (plain, other)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_all_of_the_language_model_can_be_trained(base, tmp_path):
    out = train(config(base, rows_file(tmp_path), tmp_path / "out", adapter="full", learning_rate=1e-4))
    before = AutoModelForImageTextToText.from_pretrained(base).state_dict()
    after = AutoModelForImageTextToText.from_pretrained(out).state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any(word in name for name in moved for word in ("vision", "visual", "projector", "connector"))
    assert read_metrics(out / "metrics.jsonl")[0]["loss"] == pytest.approx(0.693147, abs=1e-5)


def counted(monkeypatch):
    """How often each of the two models was asked."""
    asked = {True: 0, False: 0}
    plain = VlmPolicy.states

    def states(policy, inputs):
        asked[torch.is_grad_enabled()] += 1
        return plain(policy, inputs)

    monkeypatch.setattr(VlmPolicy, "states", states)
    return asked


def test_a_reference_that_is_remembered_is_the_reference(base, tmp_path, monkeypatch):
    source = rows_file(tmp_path)
    live = train(config(base, source, tmp_path / "live"))
    cached = config(base, source, tmp_path / "cached")
    cached = cached.model_copy(update={"data": cached.data.model_copy(update={"reference_cache": tmp_path / "cache"})})
    asked = counted(monkeypatch)
    first = train(cached)
    assert asked == {True: 6, False: 2}  # four rows in batches of two: all are known after one epoch
    asked.update({True: 0, False: 0})
    again = train(cached.model_copy(update={"output_dir": tmp_path / "again"}))
    assert asked == {True: 6, False: 0}
    losses = [[line["loss"] for line in read_metrics(out / "metrics.jsonl")] for out in (live, first, again)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert losses[1] == pytest.approx(losses[2], abs=1e-5)


def test_what_is_remembered_of_one_model_is_not_that_of_another(tmp_path, monkeypatch):
    source, bases = rows_file(tmp_path), [tiny_vlms.make("llava", tmp_path / f"base{seed}", seed=seed) for seed in (0, 1)]
    asked = counted(monkeypatch)
    for number, base in enumerate(bases):
        made = config(base, source, tmp_path / f"out{number}", max_train_steps=2)
        train(made.model_copy(update={"data": made.data.model_copy(update={"reference_cache": tmp_path / "cache"})}))
    assert asked == {True: 4, False: 4}


def test_a_configuration_with_vlm_is_one_of_a_vision_language_model(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("vlm: {pretrained: x}\ndata: {source: y}\nmethod: dpo\noutput_dir: z\n")
    assert isinstance(load_training(file), ResponseRunConfig)


def test_a_method_for_pictures_is_refused(base, tmp_path):
    made = config(base, rows_file(tmp_path), tmp_path / "out")
    made = made.model_copy(update={"method": from_mapping({**made.model_dump(), "method": "mapo"}, ResponseRunConfig).method})
    with pytest.raises(UserError, match="MaPO works on image generators"):
        train(made)


def method(made, **changes):
    return from_mapping(made.model_dump(mode="json") | changes, ResponseRunConfig)


def test_a_method_that_compares_pictures_learns_to_tell_them_apart(base, tmp_path):
    made = config(base, rows_file(tmp_path), tmp_path / "out", max_train_steps=12)
    data = made.data.model_dump(mode="json") | {"negatives": "cropped"}
    out = train(method(made, data=data, method={"name": "mdpo", "beta": 0.5}))
    metrics = read_metrics(out / "metrics.jsonl")
    assert metrics[0]["loss"] == pytest.approx(3 * 0.693147, abs=1e-4)
    assert metrics[-1]["loss"] < metrics[0]["loss"]


def test_negatives_are_drawn_once_and_lie_beside_the_rows_own_pictures():
    rows = ResponseRows(examples(), encoder(), candidates=MDPO.candidates_of, negatives=MADE["cropped"], seed=3)
    first, again = rows[1, 1], rows[1, 9]
    assert [len(prompt.responses) for prompt in first.prompts] == [2, 1]
    assert torch.equal(first.prompts[0].responses[0], first.prompts[1].responses[0])
    seen = [prompt.vision["pixel_values"] for row in (first, again) for prompt in row.prompts]
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])
    assert collate([first]).shape[:2] == (1, 3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mdpo", "has no negative pictures, which MDPO compares; give them, or set data.negatives cropped"),
        ("rrpo", "has responses without marked phrases, which RRPO looks at"),
        ("symmpo", "has no negative pictures, which SymMPO compares; give them, or choose another method"),
    ],
)
def test_a_method_that_asks_for_what_rows_do_not_have_is_refused(tmp_path, name, said):
    made = config(tmp_path, rows_file(tmp_path), tmp_path / "out")
    with pytest.raises(UserError, match=said):
        train(method(made, method=name))


def contrasted():
    """Rows with other pictures and what would be right under them."""
    pictures = [tuple(picture(500 + 10 * i + k) for k in range(len(one.images))) for i, one in enumerate(examples())]
    return [replace(one, negatives=seen, contrast="a small square") for one, seen in zip(examples(), pictures, strict=True)]


def test_contrasting_pictures_have_a_response_of_their_own(tmp_path):
    rows = ResponseRows(contrasted(), encoder(), candidates=SymMPO.candidates_of)
    own, other = rows[1, 0].prompts
    assert [len(prompt.responses) for prompt in (own, other)] == [3, 2]
    assert torch.equal(own.responses[2], other.responses[0])
    assert torch.equal(own.responses[0], other.responses[1])
    assert not torch.equal(own.vision["pixel_values"], other.vision["pixel_values"])
    base = tiny_vlms.make("qwen2_vl", tmp_path / "base")
    made = config(base, "not read", tmp_path / "out", max_train_steps=2, train_batch_size=1)
    out = train(method(made, method={"name": "symmpo", "beta": 0.5}), examples=contrasted())
    # three pairs and two anchors at zero, of which the two pairs between pictures have half the weight
    assert read_metrics(out / "metrics.jsonl")[0]["loss"] == pytest.approx(4 * 0.693147, abs=1e-3)


def test_pairs_are_taken_apart_and_compared_with_a_response_to_another_prompt(tmp_path):
    rows = Singles(examples())
    assert [rows[i].responses for i in (2, 3)] == [("yes",), ("no",)]
    assert [rows[i].scores for i in (2, 3)] == [(1.0,), (0.0,)]
    assert [mismatched(rows, i).responses for i in (0, 1, 6, 7)] == [("yes",), ("no",), ("the red circle",), ("a blue square",)]
    singles = ResponseRows(rows, encoder(), candidates=KTO().candidates_of)
    batch = collate([singles[i, i] for i in (0, 1)])
    assert batch.shape[:2] == (2, 2)
    assert batch.labels.scores[:, 0].tolist() == [1.0, 0.0]
    base = tiny_vlms.make("qwen2_vl", tmp_path / "base")
    out = train(method(config(base, "not read", tmp_path / "out", max_train_steps=8), method="kto"), examples=examples())
    metrics = read_metrics(out / "metrics.jsonl")
    assert metrics[0]["loss"] == pytest.approx(0.5, abs=1e-4)
    assert metrics[-1]["loss"] < metrics[0]["loss"]


def test_rows_about_one_thing_have_no_other_prompt():
    with pytest.raises(UserError, match="no row has another prompt than row 0"):
        mismatched([examples()[0]] * 3, 0)


@pytest.mark.parametrize(("name", "seen"), [("qwen2_vl", "pixel_values_videos"), ("llava", "pixel_values")])
def test_films_are_read_as_the_model_takes_them(name, seen):
    model, processor = tiny_vlms.build(name)
    frames = tuple(picture(i, 56, 56) for i in range(6))
    example = ResponseExample((spoken("user", "<video>Which is red?"),), ("yes", "no"), videos=(frames,), origin="row 5")
    reader = load_vlm(model, processor).films(count=4)
    rows = ResponseRows([example], PromptEncoder(processor), films=reader, keyed=True)
    (prompt,) = rows[0, 0].prompts
    assert seen in prompt.vision
    assert len(prompt.spans) == (1 if name == "qwen2_vl" else 4)
    fewer = ResponseRows([example], PromptEncoder(processor), films=replace(reader, count=2), keyed=True)
    assert rows.digest() != fewer.digest()
    assert rows[0, 0].key != fewer[0, 0].key
    assert rows[0, 0].key == rows[0, 3].key


def encoder():
    _, processor = tiny_vlms.build("qwen2_vl")
    return PromptEncoder(processor)


def test_pictures_of_a_long_row_are_made_smaller_and_a_text_is_never_cut():
    big = Image.new("RGB", (112, 112), "red")
    example = ResponseExample((spoken("user", "<image>What?"),), ("yes", "no"), (big,), origin="row 7")
    whole = ResponseRows([example], encoder())[0, 0].prompts[0]
    (fitted,) = ResponseRows([example], encoder(), max_length=len(whole) - 4)[0, 0].prompts
    assert len(fitted) <= len(whole) - 4
    assert [r.tolist() for r in fitted.responses] == [r.tolist() for r in whole.responses]
    image = fitted.prefix == 5
    assert image.sum() == fitted.vision["image_grid_thw"].prod() // 4


def test_a_row_that_does_not_fit_takes_part_without_weight():
    example = ResponseExample((spoken("user", "<image>What?"),), ("yes " * 50, "no " * 50), (picture(0),), origin="row 7")
    rows = ResponseRows([example, examples()[0]], encoder(), max_length=90)
    batch = collate([rows[0, 0], rows[1, 1]])
    assert batch.weights.tolist() == [0.0, 1.0]
    assert batch.ids.shape[1] <= 90


def test_rows_with_other_numbers_of_responses_cannot_share_a_batch():
    three = ResponseExample((spoken("user", "What?"),), ("a", "b", "c"), origin="row 8")
    rows = ResponseRows([examples()[0], three], encoder())
    with pytest.raises(UserError, match="row 8 has 3 responses, row 0 2"):
        collate([rows[0, 0], rows[1, 1]])


def test_control_tokens_in_a_question_are_words():
    said = ResponseExample((spoken("user", "Is <|image_pad|> a word?"),), ("yes", "no"), origin="row 9")
    (prompt,) = ResponseRows([said], encoder())[0, 0].prompts
    assert not (prompt.prefix == 5).any()
