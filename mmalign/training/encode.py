"""From preferences to cached latents and embeddings, so that a training step never encodes anything.

Equal prompts are encoded once, a second run over the same data finds everything done, and then no encoder is loaded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tqdm.auto import tqdm

from mmalign.config import DataConfig
from mmalign.data.broken import readable, settle_broken
from mmalign.data.cache_folder import CacheFolder
from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.objective import Objective
from mmalign.training.bucketing import buckets_for
from mmalign.training.dataset import Caches, EncodedExamples
from mmalign.training.encoder import Encoder, Found
from mmalign.training.opened import VAE, Opened
from mmalign.training.preferences import check_candidates, check_label, check_scores


@dataclass(frozen=True)
class Share:
    """This process's part in filling a cache on disk that all processes read; ``wait`` returns once every part is filled."""

    rank: int = 0
    world: int = 1
    wait: Callable[[], object] = lambda: None


def encode(
    opened: Opened,
    examples: Sequence[Example],
    config: DataConfig,
    objective: Objective,
    seed: int,
    share: Share = Share(),
    progress: bool = True,
    drawn: int = 0,
    caches: CacheFolder | None = None,
    tokens: bool = False,
) -> EncodedExamples:
    """Encodes all images and prompts that the caches do not hold yet; only what is needed for that is loaded.

    Args:
        opened: the pipeline with its family.
        examples: all with a number of candidates that the method compares, and with the same where it compares one number only.
        config: resolution, crop, flip, caption dropout, and the caches' folder (None keeps them in memory, once per process).
        objective: the method that they are for.
        seed: decides random crops and, during training, flips and dropped captions.
        share: this process's part.
        progress: show bars.
        drawn: candidates of a row that are drawn during the run, and come beside those here.
        caches: in place of those in the configuration's folder.
        tokens: keep the prompts' tokens too, for text encoders that are trained.

    Raises:
        UserError: images are broken, the rows are of different kinds, or the method does not read such labels; the message names the
            rows. Broken images are told once all others are in the cache, so that nothing is encoded again; or their rows are left out
            and counted, where the configuration says so.
    """
    caches = caches or CacheFolder.at(config.cache_dir)
    encoder = Encoder(opened, config, seed)
    found, prompts = read_through(encoder, examples, objective, drawn, share.rank == 0, progress)
    buckets = buckets_for(opened.family, config, [one.shapes for one in found])
    rows = [encoder.keyed(one, None if buckets is None else buckets.window(index)) for index, one in enumerate(found)]
    # dealt before looking at what is there: another process may be filling the caches already
    part = slice(share.rank, None, share.world) if caches.images.writes else slice(None)
    if missing := caches.prompts.missing(list(prompts)[part]):
        with opened.having(*opened.text_parts):
            encoder.fill_prompts(caches.prompts, {key: prompts[key] for key in missing}, progress)
    if tokens:
        encoder.fill_tokens(caches.tokens, {key: prompts[key] for key in list(prompts)[part]})
    lost = set(caches.images.missing(key for row in rows[part] for key in row.all_images))
    if todo := [i for i in range(len(rows))[part] if not lost.isdisjoint(rows[i].all_images)]:
        with opened.having(VAE):
            encoder.fill_images(caches.images, [(rows[i], found[i].place) for i in todo], examples, progress)
    share.wait()
    caches.refresh()
    # what is broken is known to the process that tried, and to all by its not being there
    lost = set(caches.images.missing(key for row in rows for key in row.all_images))
    whole = [i for i, row in enumerate(rows) if lost.isdisjoint(row.all_images)]
    if not whole:
        raise UserError(f"none of {len(examples):,} rows has images that can all be read; `mmalign data inspect SOURCE` tells why")
    places, buckets = [found[i].place for i in whole], None if buckets is None else buckets.only(whole)
    read_from = Caches(caches.images, caches.prompts, caches.tokens)
    return EncodedExamples(
        [rows[i] for i in whole], read_from, encoder.prompt_key(""), config.caption_dropout, seed, places, buckets, tokens=tokens
    )


def read_through(
    encoder: Encoder, examples: Sequence[Example], objective: Objective, drawn: int, tell: bool, progress: bool
) -> tuple[list[Found], dict[str, str]]:
    """What is found of the examples that can be read, and the prompts by key, the empty one among them.

    Raises:
        UserError: as ``encode`` does.
    """
    found: list[Found] = []
    prompts, broken = {encoder.prompt_key(""): ""}, []
    for place, example in tqdm(readable(examples, broken), total=len(examples), desc="reading", disable=not progress):
        check_length(objective, example, len(found[0].content) if found else None, drawn)
        check_label(objective, example)
        if not drawn:
            check_scores(objective, example)
        try:
            found.append(encoder.found(place, example))
        except UserError as error:
            broken.append(str(error))
        else:
            prompts[found[-1].row.prompt] = example.prompt
    settle_broken(broken, len(examples), encoder.config.on_broken if found else "raise", tell)
    return found, prompts


def check_length(objective: Objective, example: Example, expected: int | None, drawn: int = 0) -> None:
    """Raises UserError where a row cannot share a batch with those before."""
    count = len(example.images)
    if len(objective.candidates) > 1 or not count:
        check_candidates(objective, example, drawn)
    elif count != (expected or count):
        raise UserError(f"{example.origin} has {count} candidates, the rows before have {expected}; train on one kind at a time")
