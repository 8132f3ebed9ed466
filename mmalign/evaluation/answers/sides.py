"""A base and its aligned self in one process: greedy answers of both to the same questions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mmalign import pipelines
from mmalign.errors import UserError
from mmalign.evaluation.answers.questions import AskedQuestion
from mmalign.images import open_image
from mmalign.vlm.answer import Answer, answers
from mmalign.vlm.encode import PromptEncoder
from mmalign.vlm.family import VlmFamily
from mmalign.vlm.load import load_model

ADAPTER_NAME = "aligned"
ADAPTER_FILE = "adapter_config.json"


class AlignedVlm:
    """Answers by the base, or by what alignment made of it.

    Args:
        family: the base.
        path: a folder with a PEFT adapter, or with the whole model.

    Raises:
        UserError: the folder holds neither, or what it holds belongs to another model.
    """

    def __init__(self, family: VlmFamily, path: str | Path):
        self.base, self.path = family, Path(path)
        self._other: VlmFamily | None = None
        if (self.path / ADAPTER_FILE).is_file():
            self._load_adapter()
        elif (self.path / "config.json").is_file():
            model, processor = load_model(self.path, dtype=family.model.dtype)
            self._other = pipelines.load_vlm(model.to(family.model.device), processor)
        else:
            raise UserError(f"{path} holds neither {ADAPTER_FILE} nor config.json; give the output folder of a training run")

    def _load_adapter(self) -> None:
        try:
            report = self.base.model.load_adapter(str(self.path), adapter_name=ADAPTER_NAME)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"the adapter in {self.path} does not fit this base ({reason}); give the base that it was trained on"
            ) from error
        # transformers tells what did not fit in place of raising
        if wrong := [name for kind in ("missing_keys", "unexpected_keys") for name in getattr(report, kind, None) or ()]:
            self.close()
            raise self._misfit(min(wrong))
        self.base.model.disable_adapters()

    def _misfit(self, reason: str) -> UserError:
        return UserError(f"the adapter in {self.path} does not fit this base ({reason}); give the base that it was trained on")

    @contextmanager
    def aligned(self) -> Iterator[VlmFamily]:
        """Inside it, the aligned model."""
        if self._other is not None:
            yield self._other
            return
        self.base.model.enable_adapters()
        try:
            yield self.base
        finally:
            self.base.model.disable_adapters()

    def close(self) -> None:
        """Takes the adapter out of the base again."""
        if self._other is None:
            # layers stay wrapped, and would keep the next adapter off
            self.base.model.enable_adapters()
            self.base.model.delete_adapter(ADAPTER_NAME)


def answer_all(
    family: VlmFamily,
    questions: Sequence[AskedQuestion],
    max_new_tokens: int = 64,
    batch_size: int = 16,
    options: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> list[Answer]:
    """Greedy answers, in the order of the questions; those with as many pictures are answered together.

    Args:
        options: of the processor.
        name: what the bar is called; None = no bar.

    Raises:
        UserError: a picture cannot be read, or the processor refuses it.
    """
    encoder, found = PromptEncoder(family.processor), {}
    order = sorted(range(len(questions)), key=lambda place: (len(questions[place].images), len(questions[place].text)))
    with tqdm(total=len(questions), desc=name, unit="answer", disable=name is None) as bar:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            said = answers(family, _encoded(encoder, [questions[place] for place in places], options or {}), max_new_tokens)
            found.update(zip(places, said, strict=True))
            bar.update(len(places))
    return [found[place] for place in range(len(questions))]


def _encoded(encoder: PromptEncoder, asked: Sequence[AskedQuestion], options: Mapping[str, Any]) -> Any:
    chats = [[_plain(encoder, turn) for turn in one.turns] for one in asked]
    images = [[open_image(source, one.origin) for source in one.images] for one in asked]
    films = {"videos": [[str(path) for path in one.videos] for one in asked]} if any(one.videos for one in asked) else {}
    return encoder.prompts(chats, images, **films, **options)


def _plain(encoder: PromptEncoder, turn: Mapping[str, Any]) -> dict[str, Any]:
    parts = [part if part["type"] != "text" else part | {"text": encoder.plain(part["text"])} for part in turn["content"]]
    return {"role": turn["role"], "content": parts}
