"""Which programs read which form of a LoRA, by the class of the base's pipeline.

Read out of ComfyUI's key maps (``comfy/lora.py``), of kohya's sd-scripts and musubi-tuner (``networks/``) and of diffusers' converters, and
run: ``benchmarks/comfyui_loads.py``, ``tests/delivery``.
"""

from collections.abc import Mapping

from mmalign.errors import UserError

ALL = "sd-scripts, ComfyUI, the web UIs and diffusers"
READERS: Mapping[str, Mapping[str, str]] = {
    "kohya": {
        "StableDiffusionPipeline": ALL,
        "StableDiffusionXLPipeline": ALL,
        "StableDiffusion3Pipeline": "sd-scripts and ComfyUI; NOT diffusers, which loads it without an error and changes nothing: "
        "export comfyui, or take the run's own folder",
        "FluxPipeline": "sd-scripts, ComfyUI and diffusers",
        "QwenImagePipeline": "musubi-tuner, ComfyUI and diffusers",
        "WanPipeline": "musubi-tuner and ComfyUI; diffusers only if every block's feed-forward layers have a LoRA, too: export comfyui",
    },
    "comfyui": {
        "StableDiffusionPipeline": ALL,
        "StableDiffusionXLPipeline": ALL,
        "StableDiffusion3Pipeline": "ComfyUI and diffusers",
        "FluxPipeline": "sd-scripts, ComfyUI and diffusers",
        "QwenImagePipeline": "ComfyUI, diffusers and musubi-tuner",
        "WanPipeline": "ComfyUI and diffusers",
        "PixArtSigmaPipeline": "ComfyUI",
    },
}
PROGRAMS = {"kohya": "kohya's sd-scripts and musubi-tuner have", "comfyui": "ComfyUI has"}
READ_BY = "mmalign_read_by"
"""Key of a file's header that says what reads it."""

OF_DIFFERENCES = "ComfyUI and the web UIs"
"""What reads whole differences of weights."""


def readers_of(form: str, pipeline: str) -> str:
    """What reads a file of this form. Raises UserError where nothing does; the message names the forms that are read."""
    if pipeline not in READERS[form]:
        others = [other for other, known in READERS.items() if pipeline in known]
        remedy = " or ".join([*(others or ["diffusers"]), "merged"])
        raise UserError(f"{PROGRAMS[form]} no model of {pipeline}'s kind, so that nothing would read the file; export {remedy}")
    return READERS[form][pipeline]
