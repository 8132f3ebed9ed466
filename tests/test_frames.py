"""A clip's score is the mean over its frames, whatever the frames are held in."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmalign.candidates import Label, scored
from mmalign.frames import judged, said, score_clips
from mmalign.reward import Reward


class Red(Reward):
    """Mean of the red channel, in levels; with a prompt, times its length."""

    needs_prompt = False
    differentiable = True
    range = (0.0, 255.0)
    unit = "level"
    licence = "none"
    source = "test"

    def _score(self, images, prompts):
        red = images[:, 0].mean(dim=(1, 2)) * 255
        return red if prompts is None else red * torch.tensor([len(prompt) for prompt in prompts])


class Vote(Red):
    """1 for the reddest image of a call, 0 for the others."""

    joint = True

    def _score(self, images, prompts):
        red = images[:, 0].mean(dim=(1, 2))
        return (red == red.max()).float()


def clip(*levels):
    return [Image.new("RGB", (2, 2), (level, 0, 0)) for level in levels]


def tensor(*clips):
    return torch.stack([torch.stack([torch.from_numpy(np.array(frame)) for frame in one]) for one in clips]).permute(0, 1, 4, 2, 3) / 255


def test_clips_of_several_lengths_and_pictures_are_scored_together():
    clips = [clip(10, 20, 60), clip(7), clip(0, 100)]
    torch.testing.assert_close(score_clips(Red(), clips), torch.tensor([30.0, 7.0, 50.0]))
    torch.testing.assert_close(score_clips(Red(), clips, ["a", "bb", "ccc"]), torch.tensor([30.0, 14.0, 150.0]))
    torch.testing.assert_close(score_clips(Red(), clips, "four"), torch.tensor([120.0, 28.0, 200.0]))
    assert score_clips(Red(), []).shape == (0,)


def test_a_tensor_of_clips_is_scored_as_its_frames_are():
    torch.testing.assert_close(score_clips(Red(), tensor(clip(10, 20), clip(30, 50)), ["a", "bb"]), torch.tensor([15.0, 80.0]))


@pytest.mark.parametrize("frames", [3, 5, 7, 81])
def test_a_clip_that_stands_still_has_exactly_its_frames_score(frames):
    level = 123
    assert score_clips(Red(), [clip(*[level] * frames)]).item() == Red().score(clip(level)).item()


def test_a_vote_is_held_frame_by_frame():
    """Of three frames the first clip is the reddest in two."""
    found = score_clips(Vote(), [clip(9, 9, 1), clip(1, 1, 9)], "a prompt")
    torch.testing.assert_close(found, torch.tensor([2 / 3, 1 / 3]))
    with pytest.raises(ValueError, match="a vote needs as many frames of each clip, and there are 1 to 2"):
        score_clips(Vote(), [clip(1, 2), clip(3)], "a prompt")


def test_the_judged_frames_are_the_middles_of_equal_parts():
    clips = torch.arange(8.0).view(1, 8, 1, 1, 1).expand(1, 8, 3, 2, 2)
    assert judged(clips, 2)[0, :, 0, 0, 0].tolist() == [2, 6]
    assert judged(clips, 99).shape[1] == 8
    assert judged(clips[:, 0]).shape == (1, 1, 3, 2, 2)


def test_candidates_may_be_clips():
    clips = (tensor(clip(10, 20, 30, 40), clip(0, 0, 0, 80)) * 255).byte()
    labels = {"red": Label(Red())}
    torch.testing.assert_close(scored(clips, "a", labels)[:, 0], torch.tensor([25.0, 20.0]))
    torch.testing.assert_close(scored(clips, "a", labels, frames=2)[:, 0], torch.tensor([30.0, 40.0]))  # the second and the fourth


def test_it_is_said_in_a_sentence():
    assert said(8) == "a clip's score is the mean over 8 evenly spaced frames, or all where it has fewer"
    assert said(5, all_have=True) == "a clip's score is the mean over 5 evenly spaced frames"
    assert said(1) == "a clip's score is that of its middle frame"
