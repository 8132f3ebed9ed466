"""The rows that ``mmalign data rrpo`` writes: RRPO's columns."""

from typing import Any

import pyarrow as pa

from mmalign.factory.mia.rows import PICTURE, files
from mmalign.factory.rrpo.asking import question_of
from mmalign.factory.rrpo.mining import Mined
from mmalign.factory.rrpo.phrases import tagged

TEXTS = ("question", "answer", "pred", "answer_masked", "pred_masked", "video", "src", "sample_id", "form", "said", "origin")
COLUMNS = {**dict.fromkeys(TEXTS, pa.string()), "images": pa.list_(PICTURE)}


def row(one: Mined, image_format: str) -> dict[str, Any]:
    """A kept row: the film's place, or the clean frames."""
    assert one.pair is not None
    assert one.frames is not None
    question = question_of(one.asked, len(one.frames.images))
    return {
        "question": f"<video>{question}" if one.asked.videos else question,
        "answer": one.pair.chosen,
        "pred": one.pair.rejected,
        "answer_masked": tagged(one.pair.chosen, one.pair.spans[0]),
        "pred_masked": tagged(one.pair.rejected, one.pair.spans[1]),
        "video": str(one.asked.videos[0].absolute()) if one.asked.videos else None,
        "images": None if one.asked.videos else files(one.frames.sources, image_format),
        "src": one.asked.origin.rpartition("/")[2].partition(",")[0],
        "sample_id": one.asked.name or str(one.number),
        "form": one.form,
        "said": one.said,
        "origin": one.asked.origin,
    }
