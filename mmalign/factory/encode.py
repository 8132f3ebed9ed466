"""Pictures and clips as bytes of a file."""

from io import BytesIO
from typing import Any

from PIL import Image
from torch import Tensor

from mmalign.config.generate import FPS
from mmalign.data.apng import apng
from mmalign.diffusion.draw import to_image
from mmalign.errors import UserError

JPEG_QUALITY = 95
CRF = "17"
"""H.264's constant rate factor of clips, at which the eye sees no loss."""


def encoded(picture: Tensor, image_format: str = "png", quality: int | None = None, fps: float = FPS) -> bytes:
    """A picture (3, H, W) or a clip (F, 3, H, W), uint8, as a file; the same bytes for the same pixels, by one version of the libraries.

    Args:
        image_format: png, jpeg or webp; of a clip png, which is then animated, or mp4.
        quality: of jpeg and webp, 1 to 100; None = 95 for jpeg, and webp without loss.
        fps: frames per second of a clip.

    Raises:
        UserError: a clip's sides are odd, which mp4 does not hold, or PyAV is not installed.
    """
    if picture.ndim == 4:
        frames = [to_image(frame) for frame in picture]
        return _mp4(frames, fps) if image_format == "mp4" else apng(frames, fps)
    buffer = BytesIO()
    to_image(picture).save(buffer, format=image_format.upper(), **_options(image_format, quality))
    return buffer.getvalue()


def _options(image_format: str, quality: int | None) -> dict[str, Any]:
    if image_format == "jpeg":
        # colors at full resolution: preferences are often about them
        return {"quality": quality or JPEG_QUALITY, "subsampling": 0}
    if image_format == "webp":
        return {"lossless": True} if quality is None else {"quality": quality}
    return {}


def _mp4(frames: list[Image.Image], fps: float) -> bytes:
    from fractions import Fraction

    import av

    width, height = frames[0].size
    if width % 2 or height % 2:
        raise UserError(f"clips are {width}x{height} pixels, and mp4 holds even sides alone; choose png as image_format")
    buffer = BytesIO()
    with av.open(buffer, mode="w", format="mp4") as container:
        # one thread: the bytes must not depend on how many cores there are
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": CRF, "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return buffer.getvalue()
