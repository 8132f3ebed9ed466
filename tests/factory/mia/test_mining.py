"""Preferences mined on the embedded world with tiny models: the same whatever the batch, and what is kept is what the rules say."""

import pytest
import torch

from mmalign.config.mia import MiaOptions
from mmalign.factory.mia import Miner, mine
from mmalign.factory.mia.mining import cuts_sides
from mmalign.factory.mia.plan import requests
from mmalign.vlm.attention import AttentionProbe, target_share
from mmalign.vlm.encode import PromptEncoder, Response
from mmalign.vlm.multi_image import collage, pic_in_pic, sequence, squared
from tests.factory.mia.asked import questions
from tests.vlm.models import build, picture

KINDS = {"sequence": {2: 1, 3: 1}, "collage": {4: 1}, "pic_in_pic": {2: 1}}
OPEN = {"min_perplexity": None, "max_length_ratio": None, "min_edit_distance": 0.0, "max_new_tokens": 4, "kinds": KINDS}


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl", "smolvlm"])
def vlm(request):
    return build(request.param)


def share_by_points(attention, cells, box):
    """Attention spread evenly over each token's area, which is cut into points."""
    steps = (torch.arange(80) + 0.5) / 80
    total = 0.0
    for weight, (left, top, right, bottom) in zip(attention, cells.tolist(), strict=True):
        x, y = left + (right - left) * steps, top + (bottom - top) * steps
        total += weight * ((x > box[0]) & (x < box[2])).float().mean() * ((y > box[1]) & (y < box[3])).float().mean()
    return (total / attention.sum()).item()


def test_attention_on_what_is_asked_about_is_found_in_a_batch(vlm):
    family, encoder = vlm.policy.family, PromptEncoder(vlm.processor)
    pictures = [picture(seed, 64, 64) for seed in range(4)]
    made = [squared(collage(pictures, 3, "What?")), sequence(pictures[:3], 1, "What?"), pic_in_pic(pictures[0], pictures[1], "What?")]
    asked = encoder.prompts([one.turns() for one in made], [one.images for one in made])
    ids = asked.inputs["input_ids"]
    image = ids == vlm.processor.tokenizer.convert_tokens_to_ids(vlm.processor.image_token)
    for row in (0, 2):
        alone = encoder(made[row].turns(), [Response("no")], made[row].images)
        cells = family.cells(alone, 0, made[row].images[0].size)
        attention = torch.rand(ids.shape[1], generator=torch.Generator().manual_seed(row))
        found = target_share(family, asked, row, made[row], attention)
        assert found == pytest.approx(share_by_points(attention[image[row]], cells, made[row].box), abs=0.02)
    start, stop = asked.spans[1][1]
    attention = torch.zeros(ids.shape[1])
    attention[start:stop] = 3.0
    attention[: asked.spans[1][0][0]] = 50.0  # words do not count
    assert target_share(family, asked, 1, made[1], attention) == pytest.approx(1)
    start, stop = asked.spans[1][0]
    attention[start:stop] = 1.0
    assert target_share(family, asked, 1, made[1], attention) == pytest.approx(0.75)


def test_a_processor_that_cuts_is_found_out(vlm):
    assert cuts_sides(vlm.policy.family, PromptEncoder(vlm.processor), {}) == (vlm.model.config.model_type == "llava")


def test_the_central_box_is_that_of_the_published_script():
    """Of 24 by 24 tokens the published script takes the middle 16 by 16 for the inner picture."""
    from mmalign.vlm.attention import box_share
    from mmalign.vlm.cells import grid_cells

    attention = torch.rand(24, 24, generator=torch.Generator().manual_seed(0))
    expected = attention[4:20, 4:20].sum() / attention.sum()
    share = box_share(attention.flatten(), grid_cells(24, 24), (4 / 24, 4 / 24, 20 / 24, 20 / 24))
    torch.testing.assert_close(share, expected)


def told(found):
    return [(one.request, one.rejected, one.reason, one.made and one.made.text) for one in found]


def test_answers_do_not_depend_on_the_batch_or_where_a_run_begins(vlm):
    rows = questions(5)
    together = mine(vlm.policy.family, rows, MiaOptions(**OPEN, batch_size=5)).all
    alone = mine(vlm.policy.family, rows, MiaOptions(**OPEN, batch_size=1)).all
    assert told(together) == told(alone)
    for one, other in zip(together, alone, strict=True):
        assert one.measures.share == pytest.approx(other.measures.share, abs=1e-4)
        assert one.measures.perplexity == pytest.approx(other.measures.perplexity, rel=1e-3)
    options = MiaOptions(**OPEN, batch_size=2)
    wanted = requests(5, options.kinds, options.seed)
    last = list(Miner(vlm.policy.family, rows, options).mined(wanted[8:12]))
    assert told(last) == told(together)[8:12]


def test_what_is_kept_is_below_its_threshold_and_goes_into_training(vlm):
    rows = questions(4)
    found = mine(vlm.policy.family, rows, MiaOptions(**OPEN))
    assert len(found.all) == 12
    assert found.kept
    assert sum(found.reasons().values()) + len(found.kept) == 12
    for one in found.all:
        assert 0 <= one.measures.share <= 1
        assert (
            one.measures.threshold
            == {"sequence": {2: 0.8, 3: 0.7}, "collage": {4: 0.5}, "pic_in_pic": {2: 0.8}}[one.request.kind][one.request.count]
        )
    for one, example in zip(found.kept, found.examples, strict=True):
        assert example.responses == (one.asked.answer, one.rejected)
        assert one.measures.share <= one.measures.threshold
        encoded = vlm.encoder(example.turns, [Response(text) for text in example.responses], example.images)
        assert len(encoded.spans) == len(example.images)


def test_the_measured_share_is_that_of_the_models_own_attention(vlm):
    """The layer's weights, asked of transformers in one pass over prompt and answer, summed by hand for a sequence."""
    rows = questions(3)
    options = MiaOptions(**{**OPEN, "kinds": {"sequence": {2: 1}}}, layer=1)
    one = mine(vlm.policy.family, rows, options).all[0]
    encoder = PromptEncoder(vlm.processor)
    asked = encoder.prompts([one.made.turns()], [one.made.images])
    attention = vlm.model.config._attn_implementation
    vlm.model.set_attn_implementation("eager")
    try:
        call = {"max_new_tokens": 4, "do_sample": False, "output_attentions": True, "return_dict_in_generate": True}
        told = vlm.model.generate(**asked.inputs, **call)
    finally:
        vlm.model.set_attn_implementation(attention)
    rows = torch.stack(
        [step[1][0, :, 0].mean(0)[: asked.inputs["input_ids"].shape[1]] for step in told.attentions[1 : one.measures.tokens]]
    )
    image = asked.inputs["input_ids"][0] == vlm.processor.tokenizer.convert_tokens_to_ids(vlm.processor.image_token)
    means = [rows.mean(0)[start:stop][image[start:stop]].mean() for start, stop in asked.spans[0]]
    assert one.measures.share == pytest.approx((means[one.made.target] / sum(means)).item(), abs=1e-4)
    assert AttentionProbe(vlm.model, 1).layer == 1
