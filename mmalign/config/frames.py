"""Which frames of a film are looked at."""

from typing import Annotated

from pydantic import Field

from mmalign.config.section import Section

JUDGED = 8
"""Frames of a clip that are scored, unless said."""
JudgedFrames = Annotated[int, Field(ge=1, description="of a clip, frames that are scored, evenly spaced; their mean is its score")]


class FramesConfig(Section):
    """Which frames of a film are looked at: those in the middle of equal parts of it, the same always."""

    count: int = Field(8, ge=1, description="most frames of a film; a model that takes fewer gets fewer")
    fps: float | None = Field(
        None,
        gt=0,
        description="frames per second of a film, up to count; None = count frames of every film. Frames given as pictures are taken to be "
        "so many a second, 2 where this is None",
    )
    as_pictures: bool | None = Field(None, description="give frames as several pictures; None = to models that take no films")
