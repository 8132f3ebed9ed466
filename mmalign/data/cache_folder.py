"""The caches of a training run, each in a folder of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmalign.data.cache import TensorCache


@dataclass(frozen=True)
class CacheFolder:
    """What is computed once from data and frozen models.

    Attributes:
        images: latents, as mean and standard deviation of the VAE's posterior, with what the denoiser is told of each image's geometry.
        prompts: embeddings.
        errors: the reference's errors on fixed draws.
        tokens: of the prompts, where text encoders are trained.
        folder: where they lie; None = in memory.
    """

    images: TensorCache
    prompts: TensorCache
    errors: TensorCache
    tokens: TensorCache
    folder: Path | None = None

    @classmethod
    def at(cls, folder: Path | None, writes: bool = True) -> "CacheFolder":
        """The caches of a folder; None = in memory. ``writes`` = False leaves the disk as it is."""
        if folder is None:
            return cls(TensorCache(), TensorCache(), TensorCache(), TensorCache())
        folder = folder.expanduser()
        return cls(*(TensorCache(folder / name, writes) for name in ("images", "prompts", "errors", "tokens")), folder)

    @property
    def named(self) -> dict[str, TensorCache]:
        """The caches by what messages call their entries."""
        return {"images": self.images, "prompts": self.prompts, "reference errors": self.errors, "tokens": self.tokens}

    def refresh(self) -> None:
        """Takes in what other processes have put there."""
        for cache in self.named.values():
            cache.refresh()

    def lines(self) -> Iterator[str]:
        """What there is on the disk, a line for each; of tokens, which few runs need, where there are some."""
        for name, cache in self.named.items():
            if cache is self.tokens and not cache.shards:
                continue
            yield f"{name:<16} {sum(map(len, cache.shards)):>12,} {sized(sum(shard.size for shard in cache.shards)):>12}"


def sized(count: float) -> str:
    """Bytes in the largest unit that gives a number above 1.

    >>> sized(3 * 2**20)
    '3.0 MiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
