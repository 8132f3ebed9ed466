"""Two samplers of clips compared: scores of frames, what the report shows, and that equal sides come out even."""

import base64
import json
import re
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from mmalign.evaluation.clips import SHOWN, SIDE, kept, moving, strip
from mmalign.evaluation.evaluate import evaluate
from mmalign.evaluation.plan import Options
from mmalign.evaluation.report import write_report
from mmalign.evaluation.table import text_table
from tests.evaluation.conftest import Brightness, Redness, noise

SMALL = Options(batch_size=7, pictures=3, extremes=1, diversity_prompts=4, diversity_draws=2, resamples=200, judged_frames=2, fps=8)
PROMPTS = [f"prompt number {i}" for i in range(12)]
REWARDS = {"redness": Redness(), "brightness": Brightness()}


def clips(prompts, seeds, frames=5, size=8):
    """Noise that grows brighter: frame f of 5 is the noise times (f + 1) / 5."""
    still = noise(prompts, seeds, size)
    return torch.stack([still * (frame + 1) / frames for frame in range(frames)], dim=1)


def redder(prompts, seeds):
    found = clips(prompts, seeds)
    found[:, :, 0] = found[:, :, 0] * 0.5 + 0.5
    return found


@pytest.fixture(scope="module")
def compared():
    return evaluate(clips, redder, PROMPTS, REWARDS, "redness", options=SMALL, progress=False)


def test_equal_sides_are_exactly_even():
    result = evaluate(clips, clips, PROMPTS, REWARDS, "redness", options=SMALL, progress=False).main.result
    assert (result.win_rate, result.low, result.high, result.ties) == (0.5, 0.5, 0.5, 12)


def test_a_score_is_the_mean_over_the_judged_frames(compared):
    """Of five frames two are judged, those in the middles of the halves: 1 and 3, with 2/5 and 4/5 of the noise."""
    base = compared.scores["redness"][0]
    still = noise(PROMPTS, compared.seeds[:, 0].tolist())[:, 0].mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(base[:, 0], still * 0.6, rtol=1e-5)
    assert compared.main.result.win_rate == 1


def test_the_same_clips_standing_still_score_as_their_frame():
    def still(prompts, seeds):
        return noise(prompts, seeds)[:, None].expand(-1, 5, -1, -1, -1)

    moving_side = evaluate(still, still, PROMPTS, REWARDS, "redness", options=SMALL, progress=False)
    pictures = evaluate(noise, noise, PROMPTS, REWARDS, "redness", options=SMALL, progress=False)
    assert np.array_equal(moving_side.scores["redness"][0], pictures.scores["redness"][0])
    assert moving_side.diversity.base == pictures.diversity.base
    assert pictures.clips is None
    assert "fps" not in pictures.settings


def test_what_was_drawn_is_told(compared):
    sentence = "Clips of 5 frames, 8 a second; a clip's score is the mean over 2 evenly spaced frames."
    assert sentence in text_table(compared)
    assert compared.settings["judged_frames"] == 2


def test_the_report_shows_clips_that_move(compared, tmp_path):
    page = write_report(compared, tmp_path).read_text()
    sources = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    assert len(sources) == 2 * len(compared.pictures)
    with Image.open(BytesIO(base64.b64decode(sources[0]))) as image:
        assert (image.n_frames, image.size) == (5, (8, 8))
        durations = [image.info["duration"] for number in range(5) if image.seek(number) is None and image.load()]
    assert sum(durations) == 625
    assert 'src="http' not in page
    assert "mean over 2 evenly spaced frames" in page
    assert json.loads((tmp_path / "report.json").read_text())["clips"] == {"frames": 5, "fps": 8, "judged": 2}
    with Image.open(tmp_path / "grid_base.png") as grid:
        assert grid.width > 4 * 192


def test_clips_are_kept_small():
    few = kept(torch.rand(81, 3, 48, 640))
    assert few.shape == (SHOWN, 19, SIDE, 3)  # 48 of 640 pixels, as 19.2 of 256
    assert kept(torch.rand(3, 10, 12)).shape == (10, 12, 3)


def test_kept_frames_are_evenly_spaced():
    shades = torch.arange(32).float().div(255).view(32, 1, 1, 1).expand(32, 3, 4, 4)
    assert kept(shades)[:, 0, 0, 0].tolist() == list(range(1, 32, 2))
    assert [frame[0, 0, 0] for frame in strip(kept(shades))] == [5, 13, 21, 29]


def test_times_of_frames_add_up():
    frames = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    content = base64.b64decode(moving(frames, 81 / 16).partition(",")[2])
    with Image.open(BytesIO(content)) as image:
        total = sum(image.info["duration"] for number in range(16) if image.seek(number) is None and image.load())
    assert total == round(1000 * 81 / 16)
