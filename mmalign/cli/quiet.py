"""Other libraries' remarks, kept off the screen: what goes wrong is told in a sentence of ours, and what takes time has a bar of ours."""

import logging
import warnings


def quiet(*, pipelines: bool = False) -> None:
    """Silences bars of loading and saving, retries of a hub that cannot be reached, and warnings about large pictures.

    Bars of downloads are left, since they may take an hour.

    Args:
        pipelines: diffusers will be loaded, and has bars of its own.
    """
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    # transformers asks when it is imported whether bars are wanted in general
    disable_progress_bars()
    enable_progress_bars("huggingface_hub")
    logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    if pipelines:
        from diffusers.utils import logging as of_diffusers

        of_diffusers.disable_progress_bar()
