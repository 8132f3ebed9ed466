"""The section of a run that says how a denoiser is computed, which changes its numbers by rounding alone."""

from typing import Literal

from pydantic import Field

from mmalign.config.section import Section

Attention = Literal["auto", "math", "efficient", "flash", "cudnn", "xformers"]
Compiler = Literal["none", "inductor", "aot_eager", "eager"]


class SpeedConfig(Section):
    """How the denoiser is computed. A resume may change all of it."""

    compile: Compiler = Field(
        "none", description="compile the denoiser's repeated blocks with this backend of torch.compile; none = run them as they are"
    )
    attention: Attention = Field("auto", description="kernel of the attention: one of torch's, or xformers; auto = torch chooses")
    channels_last: bool = Field(False, description="UNets only: the channels of a place lie together in memory, which convolutions like")
    recompute: float = Field(
        1.0, gt=0, le=1, description="share of the blocks whose activations are recomputed, where train.gradient_checkpointing is on"
    )
    shard: bool | Literal["node"] = Field(
        False,
        description="several processes: split weights, gradients and optimizer state among all of them (FSDP2), or, node, among those of "
        "a machine, each of which has all (HSDP); false = each process has all",
    )
