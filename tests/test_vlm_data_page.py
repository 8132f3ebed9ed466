"""docs/vlm_data.md says what there is."""

import re
from pathlib import Path

from mmalign.config.mia import COUNTS, MiaConfig
from mmalign.config.realign import RealignConfig
from mmalign.config.rrpo import RrpoConfig
from mmalign.factory.mia import select
from mmalign.factory.questions import OWN, SHAPES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "vlm_data.md").read_text()


def test_its_configurations_are_there():
    named = set(re.findall(r"configs/[\w/]+\.yaml", PAGE))
    assert all((ROOT / name).is_file() for name in named)
    # every one that makes data is on the page, or says in its head that it is a variant
    assert {path.name for path in (ROOT / "configs" / "vlm" / "data").glob("*.yaml")} >= {
        Path(name).name for name in named if "/data/" in name
    }


def test_every_reason_against_an_answer_is_on_the_page():
    source = Path(select.__file__).read_text()
    reasons = re.findall(r'return "([a-z ]+)"', source)
    assert len(reasons) == 7
    assert all(reason in PAGE for reason in reasons)


def test_kinds_readers_and_defaults_are_on_the_page():
    assert all(f"`{name}`" in PAGE for name in [*COUNTS, *OWN, *SHAPES])
    mia, rrpo, realign = MiaConfig.model_fields, RrpoConfig.model_fields, RealignConfig.model_fields
    assert (mia["max_length_ratio"].default, mia["min_edit_distance"].default, mia["max_chosen"].default) == (4, 0.05, 512)
    assert (realign["max_similarity"].default, realign["duplicates"].default) == (0.99, 8)
    for section, text in ((mia, "MIA-DPO: `"), (rrpo, "RRPO: `"), (realign, "Re-Align: `")):
        part = PAGE.partition(f"## {text}")[2].partition("\n## ")[0]
        settings = set(re.findall(r"`(?:\w+: )?([a-z]+(?:_[a-z]+)+)`", part)) & {*mia, *rrpo, *realign}
        assert settings
        assert settings <= section.keys()
