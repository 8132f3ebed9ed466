"""What a request may ask for. The limits are enforced where the work is done, so that no way around the page leads past them."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mmalign.compare.view import View
from mmalign.errors import UserError
from mmalign.images import open_image, upright_size


@dataclass(frozen=True)
class Limits:
    """Most of everything.

    Attributes:
        side: of a picture, pixels.
        pixels: of a picture.
        steps: denoising steps of a picture.
        frames: of a clip.
        seeds, models: of a view.
        pictures: of a view: seeds times models.
        prompt: characters of a prompt, a negative prompt or a question.
        tokens: of an answer.
        uploads: files at once.
        upload_bytes: of a file.
        upload_pixels: of a picture that is uploaded.
    """

    side: int = 2048
    pixels: int = 2048 * 2048
    steps: int = 150
    frames: int = 161
    seeds: int = 16
    models: int = 8
    pictures: int = 64
    prompt: int = 2000
    tokens: int = 512
    uploads: int = 32
    upload_bytes: int = 32 * 2**20
    upload_pixels: int = 64 * 10**6

    def check(self, view: View) -> None:
        """Raises UserError where a view with every number filled in asks for more."""
        self.text(view.prompt, "the prompt")
        self.text(view.negative_prompt, "the negative prompt")
        width, height = view.width or 0, view.height or 0
        _most(max(width, height), self.side, "pixels on a side")
        _most(width * height, self.pixels, "pixels to a picture")
        _most(view.steps or 0, self.steps, "steps")
        _most(view.frames or 0, self.frames, "frames")
        _most(len(view.seeds), self.seeds, "seeds")
        _most(len(view.models), self.models, "models")
        _most(len(view.seeds) * len(view.models), self.pictures, "pictures (seeds times models)")

    def text(self, text: str, what: str) -> str:
        """The text as it was given. Raises UserError where it is too long."""
        if len(text) > self.prompt:
            raise UserError(f"{what} has {len(text)} characters; {self.prompt} are the most here")
        return text

    def answer(self, tokens: int) -> int:
        """The number of tokens as it was given. Raises UserError where it is no number of tokens that an answer may have."""
        if not 1 <= tokens <= self.tokens:
            raise UserError(f"an answer has 1 to {self.tokens} tokens here, not {tokens}")
        return tokens

    def upload(self, file: str | Path) -> Path:
        """The file as it was given. Raises UserError where it has too many bytes."""
        size = Path(file).stat().st_size
        if size > self.upload_bytes:
            raise UserError(f"{Path(file).name} has {size / 2**20:.0f} MB; {self.upload_bytes / 2**20:.0f} are the most here")
        return Path(file)

    def picture(self, file: str | Path) -> Image.Image:
        """An uploaded picture, in RGB. Raises UserError where it has too many bytes or pixels, or is none."""
        try:
            height, width = upright_size(self.upload(file))
        except (UserError, OSError) as error:
            raise self._unreadable(file, error) from error
        if width * height > self.upload_pixels:
            said = f"{Path(file).name} has {width} x {height} pixels"
            raise UserError(f"{said}; {self.upload_pixels / 1e6:.0f} million are the most here, so scale it down first")
        try:
            return open_image(Path(file))
        except UserError as error:
            raise self._unreadable(file, error) from error

    def pictures_of(self, files: list[str] | list[Path]) -> list[Image.Image]:
        """Uploaded pictures, in RGB. Raises UserError where they are too many, or one is too large or none."""
        if len(files) > self.uploads:
            raise UserError(f"these are {len(files)} pictures; {self.uploads} are the most at once")
        return [self.picture(file) for file in files]

    def _unreadable(self, file: str | Path, error: Exception) -> UserError:
        # the folder that an upload lies in is the server's own affair
        return UserError(str(error).replace(str(file), Path(file).name))


def _most(value: int, limit: int, what: str) -> None:
    if value > limit:
        raise UserError(f"{value} {what} are asked for; {limit} are the most here")


DEFAULT = Limits()
"""What one GPU draws for a team."""
