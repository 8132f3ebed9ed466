"""The SD3-type base: a flow-matching transformer over image and caption tokens together.

Its third text encoder is a T5 that gives zeros, because a plain load insists on one. The stock pipeline does the same where it has
none, so that both give equal pictures. The 256 tokens of zeros stay equal to each other in every layer: in training, one of them
stands for m when log m is added to its attention logits; m varies, and the model learns not to mind how many there are.
"""

import math
import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmalign.shapes.captions import prompts
from mmalign.shapes.recipes.denoise import Conditions, Latents, Round, flow_noising, train
from mmalign.shapes.recipes.loop import Fit
from mmalign.shapes.recipes.text import WIDTH, tokenize
from mmalign.shapes.recipes.vae import LATENT_CHANNELS

SHIFT = 3.0
REPEATS = (16, 77, 256)  # how many tokens of zeros one stands for


def scheduler():
    """Euler steps on rectified flow."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=SHIFT)


def build(layers: int = 4, heads: int = 4, head_width: int = 32, patch: int = 2) -> nn.Module:
    """An untrained ``SD3Transformer2DModel`` whose blocks begin as the identity (AdaLN-zero), which diffusers leaves to the caller."""
    from diffusers import SD3Transformer2DModel

    model = SD3Transformer2DModel(
        sample_size=16,
        patch_size=patch,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=layers,
        num_attention_heads=heads,
        attention_head_dim=head_width,
        caption_projection_dim=heads * head_width,
        joint_attention_dim=2 * WIDTH,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=16 // patch,
        qk_norm="rms_norm",
    )
    for name, parameter in model.named_parameters():
        if ("norm1" in name and "linear" in name) or name.startswith(("norm_out", "proj_out")):
            nn.init.zeros_(parameter)
    return model


@torch.no_grad()
def conditions(words, encoders: tuple[nn.Module, nn.Module]) -> Conditions:
    """What the pipeline's ``encode_prompt`` gives, with one token of zeros; ``encoders`` both have a projection."""
    ids = tokenize(words, [*prompts("seen"), ""])
    first, second = (encoder(ids, output_hidden_states=True) for encoder in encoders)
    embeds = F.pad(torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), (0, 0, 0, 1))
    pooled = torch.cat([first.text_embeds, second.text_embeds], dim=-1)
    return Conditions(*(torch.cat([x, torch.zeros_like(x[:1])]) for x in (embeds, pooled)))


def train_base(latents: Latents, given: Conditions, rounds: Sequence[Round], seed: int = 0, **shape: int) -> Fit:
    """Train the transformer to predict the flow."""
    torch.manual_seed(seed)
    repeats = random.Random(seed)
    transformer = build(**shape)
    stock = transformer.attn_processors
    counted = CountedZeros()
    transformer.set_attn_processor(counted)

    def predict(noisy: Tensor, timesteps: Tensor, embeds: Tensor, pooled: Tensor | None) -> Tensor:
        counted.repeats = repeats.choice(REPEATS)
        return transformer(noisy, embeds, pooled, timesteps).sample

    done = train(transformer, predict, flow_noising(SHIFT), latents, given, rounds, seed, name="sd3 flow")
    transformer.set_attn_processor(stock)
    return done


class CountedZeros:
    """Joint attention in which the last caption token counts as ``repeats`` equal ones."""

    repeats = 1

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states: Tensor, *_, **__) -> tuple[Tensor, Tensor]:
        image, caption = hidden_states.shape[1], encoder_hidden_states.shape[1]
        own = ((attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k), (attn.to_v, None))
        added = ((attn.add_q_proj, attn.norm_added_q), (attn.add_k_proj, attn.norm_added_k), (attn.add_v_proj, None))
        query, key, value = (
            torch.cat([_heads(attn, hidden_states, *one), _heads(attn, encoder_hidden_states, *two)], dim=2)
            for one, two in zip(own, added, strict=True)
        )
        bias = torch.zeros(image + caption, dtype=query.dtype)
        bias[-1] = math.log(self.repeats)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.expand(image + caption, -1))
        of_image, of_caption = mixed.transpose(1, 2).flatten(2).split([image, caption], dim=1)
        return attn.to_out[0](of_image), of_caption if attn.context_pre_only else attn.to_add_out(of_caption)


def _heads(attn, states: Tensor, projection: nn.Module, norm: nn.Module | None) -> Tensor:
    split = projection(states).unflatten(2, (attn.heads, -1)).transpose(1, 2)
    return split if norm is None else norm(split)


def pipeline(vae: nn.Module, words, encoders: tuple[nn.Module, nn.Module], transformer: nn.Module):
    """A ``StableDiffusion3Pipeline`` of the parts, with two encoders that have a projection, and the third that gives zeros."""
    from diffusers import StableDiffusion3Pipeline

    third_words, third = silent_encoder(words)
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=scheduler(),
        vae=vae,
        text_encoder=encoders[0],
        tokenizer=words,
        text_encoder_2=encoders[1],
        tokenizer_2=words,
        text_encoder_3=third,
        tokenizer_3=third_words,
    )


def silent_encoder(words) -> tuple:
    """A ``T5Tokenizer`` of the same whole words, and a ``T5EncoderModel`` that gives zeros for any text."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    known = sorted(word.removesuffix("</w>") for word in words.get_vocab() if word.endswith("</w>") and len(word) > len("x</w>"))
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary = [*special, *((f"\u2581{word}", -1.0) for word in ["a", *known])]
    config = T5Config(vocab_size=len(vocabulary), d_model=2 * WIDTH, d_kv=8, d_ff=8, num_layers=1, num_heads=1)
    encoder = T5EncoderModel(config)
    nn.init.zeros_(encoder.encoder.final_layer_norm.weight)
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=16), encoder.eval().requires_grad_(False)
