"""Prompts and responses as tokens: exact masks, by the text that the tokens stand for."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlavaProcessor, PreTrainedTokenizerFast

from mmalign.errors import UserError
from mmalign.vlm.encode import PromptEncoder, Response
from tests.vlm.models import chat, picture, turns


def scored(encoder, row, k):
    """The text of the scored tokens of a response."""
    return encoder.tokenizer.decode(row.responses[k][row.masks[k]])


def test_prefix_and_response_are_the_tokens_of_the_whole_chat(vlm):
    question, said, images = turns("Which is red?", 2), ["the red circle", "no"], [picture(0), picture(1, 90, 30)]
    row = vlm.encoder(question, [Response(answer) for answer in said], images)
    for k, answer in enumerate(said):
        text = chat(vlm.processor, question, answer)
        start = vlm.processor.tokenizer.bos_token
        options = {"add_special_tokens": False} if start and text.startswith(start) else {}
        whole = vlm.processor(text=[text], images=[images], return_tensors="pt", **options)["input_ids"][0]
        assert [*row.prefix.tolist(), *row.responses[k].tolist()] == whole.tolist()


def test_what_is_scored_is_the_response_and_the_end_of_its_turn(vlm):
    row = vlm.encoder(turns("Which is red?", 1), [Response("the red circle")], [picture(0)])
    text = scored(vlm.encoder, row, 0).strip()
    assert text.startswith("the red circle")
    ends = vlm.processor.tokenizer.all_special_tokens
    assert text.removeprefix("the red circle") in ends


def test_what_the_template_writes_after_the_turn_is_scored_on_request_only(qwen):
    both = [PromptEncoder(qwen.processor, through_template=wanted) for wanted in (False, True)]
    short, long = (scored(encoder, encoder(turns("Which is red?"), [Response("no")]), 0) for encoder in both)
    assert (short, long) == ("no<|im_end|>", "no<|im_end|>\n")


def test_the_places_of_pictures_are_their_tokens_alone(vlm):
    images = [picture(0), picture(1, 90, 30)]
    row = vlm.encoder(turns("Which is red?", 2), [Response("no")], images)
    image = vlm.processor.tokenizer.convert_tokens_to_ids(vlm.processor.image_token)
    inside = [(row.prefix[start:stop] == image).sum().item() for start, stop in row.spans]
    assert len(row.spans) == 2
    assert sum(inside) == (row.prefix == image).sum()
    # of two alike each has half: a family may cut a picture that stands alone into tiles, and others not
    twice = [vlm.processor(text=[2 * vlm.processor.image_token], images=[[one, one]], return_tensors="pt")["input_ids"] for one in images]
    assert inside == [(ids == image).sum().item() / 2 for ids in twice]


def test_phrases_are_the_tokens_that_touch_them(qwen):
    text = "a large red circle at the left"
    spans = [(text.index(phrase), text.index(phrase) + len(phrase)) for phrase in ("red circle", "left")]
    row = qwen.encoder(turns("What?"), [Response(text, tuple(spans)), Response("no")])
    decode = qwen.processor.tokenizer.decode
    assert [decode(row.responses[0][row.phrases[0] == number]).strip() for number in (1, 2)] == ["red circle", "left"]
    assert row.phrases[1].eq(0).all()


def test_a_phrase_after_a_control_token_is_found_though_it_moved(qwen):
    text = "<|im_end|> is a red circle"
    row = qwen.encoder(turns("What?"), [Response(text, ((text.index("red"), len(text)),))])
    assert qwen.processor.tokenizer.decode(row.responses[0][row.phrases[0] == 1]).strip() == "red circle"


def test_control_tokens_in_a_text_are_words(vlm):
    said = f"{vlm.processor.image_token} is nice {vlm.processor.tokenizer.eos_token}"
    row = vlm.encoder(turns("Which is red?", 1), [Response(said)], [picture(0)])
    image = vlm.processor.tokenizer.convert_tokens_to_ids(vlm.processor.image_token)
    assert not row.responses[0].eq(image).any()
    assert row.responses[0][row.masks[0]].eq(vlm.processor.tokenizer.eos_token_id).sum() == 1


def melting():
    """A processor whose template ends in a colon, and whose tokenizer has a token of the colon and a blank with the first letter."""
    from tests import tiny_vlms

    _, processor = tiny_vlms.build("llava")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*tiny_vlms.LLAVA_TOKENS, *letters, "Ġy", ":Ġy"]
    bpe = models.BPE({word: i for i, word in enumerate(words)}, [("Ġ", "y"), (":", "Ġy")])
    raw = Tokenizer(bpe)
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    specials = tiny_vlms.LLAVA_TOKENS
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="</s>", pad_token="<pad>", bos_token="<s>", extra_special_tokens=specials
    )
    layout = {"patch_size": 7, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return LlavaProcessor(processor.image_processor, tokenizer, chat_template=tiny_vlms.LLAVA_CHAT, **layout)


def test_a_token_across_the_border_is_scored_and_not_shared():
    encoder = PromptEncoder(melting())
    row = encoder(turns("Red?", 1), [Response("yes"), Response("no")], [picture(0)])
    decode = encoder.tokenizer.decode
    assert decode(row.prefix).endswith("ASSISTANT")
    assert decode(row.responses[0]) == ": yes</s>"
    assert row.masks[0].all()  # the colon has melted with the first letter
    assert [decode(row.responses[1]), decode(row.responses[1][row.masks[1]])] == [": no</s>", " no</s>"]


@pytest.mark.parametrize("said", ["", "  \n"])
def test_an_empty_response_is_refused(qwen, said):
    with pytest.raises(UserError, match="a response is empty"):
        qwen.encoder(turns("What?"), [Response(said)])


def test_a_missing_picture_is_refused(qwen):
    with pytest.raises(UserError, match="refuses 1 pictures"):
        qwen.encoder(turns("What?", 2), [Response("no")], [picture(0)])


def test_a_processor_without_a_template_is_refused(qwen):
    from copy import copy

    bare = copy(qwen.processor)
    bare.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        PromptEncoder(bare)
