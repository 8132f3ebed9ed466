"""Which rows of a batch know the user: what stock pipelines ask of the denoiser under each kind of guidance."""

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInstructPix2PixPipeline, StableDiffusionPAGPipeline
from torch.testing import assert_close

from mmalign.errors import UserError
from mmalign.personalization.embeddings import UserRows
from tests import tiny
from tests.personalization.drawing import FAMILIES, conditioner, denoiser_of, drawn, for_user, users

PROMPTS = ("a red circle", "a photo of a cat")
SIZE = {"height": 16, "width": 16}
SKIP = {"skip_guidance_layers": [0], "skip_layer_guidance_stop": 1.0, "skip_layer_guidance_scale": 2.0}


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def sd3():
    pipe = quiet(tiny.sd3())
    return pipe, conditioner(pipe).attach(pipe)


def one(pipe, place, user, name="sd3", guidance=3.0, **call):
    """The picture of one prompt alone, from the noise that it has in the batch of both."""
    generator = torch.Generator().manual_seed(place)
    given = {"num_inference_steps": 3, "guidance_scale": guidance, "generator": generator, "output_type": "pt", **SIZE, **call}
    return pipe(PROMPTS[place], **given, **for_user(name, user)).images


def test_skip_layer_guidance_asks_about_each_prompt_for_its_user(sd3):
    pipe, _ = sd3
    generators = [torch.Generator().manual_seed(place) for place in range(2)]
    given = {"num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "pt", **SIZE, **SKIP}
    both = pipe(list(PROMPTS), generator=generators, **given, **for_user("sd3", ["ann", None])).images
    assert_close(both[:1], one(pipe, 0, "ann", **SKIP), atol=1e-5, rtol=1e-5)
    alone = pipe(PROMPTS[1], generator=torch.Generator().manual_seed(1), **given).images
    assert_close(both[1:], alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(both[:1], one(pipe, 0, "ann"), atol=1e-3)  # it does guide


def test_the_question_without_layers_is_about_the_users_alone(sd3):
    """A batch of both halves, then one of the prompts, which are for ann and ben."""
    pipe, made = sd3
    asked = []

    def note(_, args, kwargs):
        asked.append((kwargs.get("skip_layers"), kwargs["joint_attention_kwargs"]["ip_hidden_states"][0]))

    pipe.transformer.register_forward_pre_hook(note, with_kwargs=True)
    given = {"num_inference_steps": 2, "guidance_scale": 3.0, "output_type": "latent", **SIZE, **SKIP}
    pipe(list(PROMPTS), **given, **for_user("sd3", ["ann", "ben"]))
    with torch.no_grad():
        rows = made.given(["ann", "ben"])
    assert [skipped for skipped, _ in asked] == [None, None, [0]]
    assert torch.equal(asked[1][1], torch.cat([torch.zeros_like(rows), rows]))
    assert torch.equal(asked[2][1], rows)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_with_their_own_negative_prompts_and_users_are_as_each_alone(name, guidance):
    pipe = quiet(FAMILIES[name]())
    conditioner(pipe).attach(pipe)
    against, asked = ["two green dogs", ""], ["ann", "ben"]
    both = drawn(pipe, name, PROMPTS, guidance, negative_prompt=against, num_images_per_prompt=2, **for_user(name, asked))
    for place in range(2):
        generators = [torch.Generator().manual_seed(seed) for seed in (2 * place, 2 * place + 1)]
        given = {"num_inference_steps": 2, "guidance_scale": guidance, "output_type": "pt", "num_images_per_prompt": 2, **SIZE}
        told = for_user(name, asked[place])
        alone = pipe(PROMPTS[place], negative_prompt=against[place], generator=generators, **given, **told).images
        assert_close(both[2 * place : 2 * place + 2], alone, atol=1e-5, rtol=1e-5)


def guided_rows(user):
    """One prompt under guidance, spelled: nobody, then the user."""
    embedding = users()[user]
    return UserRows(torch.stack([embedding, embedding]), torch.tensor([False, True]))


def test_a_pipeline_that_shares_the_denoiser_says_for_itself_whether_it_is_guided():
    pipe = quiet(tiny.sd())
    other = quiet(StableDiffusionImg2ImgPipeline.from_pipe(pipe, requires_safety_checker=False))
    conditioner(pipe).attach(pipe)
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(9))

    def painted(guidance, user):
        generator = torch.Generator().manual_seed(2)
        given = {"num_inference_steps": 3, "strength": 0.9, "guidance_scale": guidance, "generator": generator, "output_type": "pt"}
        return other(PROMPTS[0], image=picture, **given, cross_attention_kwargs={"user": user}).images

    before = painted(3.0, "ann")
    assert_close(before, painted(3.0, guided_rows("ann")))
    one(pipe, 0, "ann", name="sd", guidance=1.0)  # which leaves the pipeline that it is attached to without guidance
    assert torch.equal(painted(3.0, "ann"), before)
    one(pipe, 0, "ann", name="sd", guidance=3.0)
    assert_close(painted(1.0, "ann"), painted(1.0, UserRows(users()["ann"][None])))


def test_a_conditioner_on_the_denoiser_alone_knows_the_halves_of_who_calls():
    pipe = quiet(tiny.sdxl())
    conditioner(pipe).attach(pipe.unet)
    told = one(pipe, 0, "ann", name="sdxl")
    assert_close(told, one(pipe, 0, guided_rows("ann"), name="sdxl"), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(told, one(pipe, 0, None, name="sdxl"), atol=1e-3)


def test_guidance_of_a_call_that_is_over_says_nothing_of_a_call_by_hand():
    pipe = quiet(tiny.sd())
    conditioner(pipe).attach(pipe)
    one(pipe, 0, "ann", name="sd", guidance=3.0)
    sample, text, times = torch.randn(2, 4, 8, 8), torch.randn(2, 6, tiny.WIDTH), torch.tensor([10, 500])
    with torch.no_grad():
        by_name = denoiser_of(pipe)(sample, times, text, cross_attention_kwargs={"user": "ann"}).sample
        rows = UserRows(torch.stack([users()["ann"]] * 2))
        spelled = denoiser_of(pipe)(sample, times, text, cross_attention_kwargs={"user": rows}).sample
    assert_close(by_name, spelled, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", [StableDiffusionPAGPipeline, StableDiffusionInstructPix2PixPipeline])
def test_pipelines_with_other_batches_are_refused_when_attached_and_when_called(kind):
    pipe = quiet(tiny.sd())
    other = quiet(kind(**pipe.components, requires_safety_checker=False))
    made = conditioner(pipe)
    with pytest.raises(UserError, match=f"{kind.__name__} does not say which half"):
        made.attach(other)
    made.attach(pipe)
    if kind is StableDiffusionPAGPipeline:
        with pytest.raises(UserError, match="choose a pipeline with classifier-free guidance alone"):
            one(other, 0, "ann", name="sd")
