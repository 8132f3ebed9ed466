"""Base against aligned on the same prompts and the same noise, with a control that must come out even."""

import time
from collections.abc import Collection, Mapping, Sequence

from tqdm import tqdm

from mmalign.evaluation.findings import Findings
from mmalign.evaluation.plan import Options, Plan, check
from mmalign.evaluation.result import Evaluation, Group, Picture
from mmalign.evaluation.sampling import Request, Sampler, Source, seed_of
from mmalign.evaluation.selection import largest_wins
from mmalign.evaluation.side import Side
from mmalign.reward import Reward


def evaluate(
    base: Sampler,
    aligned: Sampler,
    prompts: Sequence[str],
    rewards: Mapping[str, Reward],
    aligned_to: str,
    seed: int = 0,
    seeds_per_prompt: int = 1,
    *,
    used_for_labels: Collection[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
    options: Options | None = None,
    progress: bool = True,
) -> Evaluation:
    """Compare two samplers under every reward, and the base with itself at other seeds under ``aligned_to``.

    Args:
        used_for_labels: rewards that made the training labels, ``aligned_to`` alone unless said; the others are independent.
        thresholds: rewards whose share of images at or above a score is wanted, such as ``{"oracle": 5}``.

    Raises:
        UserError: no prompt, a reward that is named and not given, or an image or score that is not a number.
    """
    labels = {aligned_to} if used_for_labels is None else set(used_for_labels)
    thresholds, options = dict(thresholds or {}), options or Options()
    check(prompts, rewards, {"aligned_to": [aligned_to], "used_for_labels": labels, "thresholds": thresholds}, seeds_per_prompt)
    started = time.perf_counter()
    plan = Plan(len(prompts), seeds_per_prompt, options)
    sides = [_side(name, sampler, prompts, seed, plan) for name, sampler in (("base", base), ("aligned", aligned))]
    with tqdm(total=plan.total, desc="evaluate", unit="image", disable=not progress) as bar:
        _draw(sides, plan, rewards, aligned_to, bar)
        pictures = _pictures(sides, plan, rewards, aligned_to, bar)
    found = Findings(sides, plan, rewards, aligned_to, seed)
    return found.evaluation(labels, thresholds, pictures, time.perf_counter() - started)


def _side(name: str, sampler: Sampler, prompts: Sequence[str], seed: int, plan: Plan) -> Side:
    source = Source(name, sampler, prompts, seed, plan.options.batch_size)
    return Side(source, {Request(prompt, 0) for prompt in plan.shown}, plan.diverse, plan.options.judged_frames)


def _draw(sides: Sequence[Side], plan: Plan, rewards: Mapping[str, Reward], aligned_to: str, bar: tqdm) -> None:
    # Both sides see the very same batches, so that equal models tie exactly even where arithmetic depends on the batch.
    for side in sides:
        side.run(plan.main, rewards, bar.update)
    sides[0].run(plan.control, {aligned_to: rewards[aligned_to]}, bar.update)
    for side in sides:
        side.run(side.missing(), {}, bar.update)


def _pictures(sides: Sequence[Side], plan: Plan, rewards: Mapping[str, Reward], aligned_to: str, bar: tqdm) -> list[Picture]:
    base, aligned = (side.table(aligned_to, [0])[:, 0] for side in sides)
    groups: dict[Group, list[int]] = {
        "even": plan.shown,
        "win": largest_wins(aligned - base, plan.options.extremes),
        "loss": largest_wins(base - aligned, plan.options.extremes),
    }
    for side in sides:  # the extremes are known only now, and a (prompt, seed) can be drawn again
        side.shown.update(Request(prompt, 0) for prompts in groups.values() for prompt in prompts)
        missing = side.missing()
        bar.total += len(missing)
        side.run(missing, {}, bar.update)
    return [_picture(sides, Request(prompt, 0), group, rewards) for group, prompts in groups.items() for prompt in prompts]


def _picture(sides: Sequence[Side], request: Request, group: Group, rewards: Mapping[str, Reward]) -> Picture:
    base, aligned = sides
    source = base.source
    return Picture(
        prompt=source.prompts[request.prompt],
        index=request.prompt,
        seed=seed_of(source.seed, request),
        group=group,
        base=base.pictures[request],
        aligned=aligned.pictures[request],
        base_scores={name: base.scores[name][request] for name in rewards},
        aligned_scores={name: aligned.scores[name][request] for name in rewards},
    )
