"""LLaVA: a tower's patches through a projector into a language model (Liu et al. 2023, arXiv:2310.03744).

LLaVA-1.5 has one square of tokens per picture. LLaVA-NeXT, its kin for films, and OneVision (Li et al. 2024, arXiv:2408.03326) look at the
whole picture and at tiles of it.
"""

from mmalign.vlm.family import AnyresFamily


class Llava(AnyresFamily):
    """LLaVA-1.5, LLaVA-NeXT, LLaVA-NeXT-Video and LLaVA-OneVision."""

    model_types = ("llava", "llava_next", "llava_next_video", "llava_onevision")


PLUGIN = Llava
