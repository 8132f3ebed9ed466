"""A model card with what an evaluation found: the table of win rates, with intervals, and the pictures."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mmalign.errors import UserError
from mmalign.evaluation.statistics import Interval
from mmalign.evaluation.verdict import percent, reading
from mmalign.evaluation.verdict import span as ends

REPORT = "report.json"
PICTURES = "side_by_side.png"
HEADING = "## Base against aligned"
HUB_ID = r"[A-Za-z0-9][\w.-]*/[\w.-]+"


def find_report(run: Path, given: Path | None = None) -> Path | None:
    """The report of an evaluation of a run: the one that is given, else the newest in its folder or one below, if any.

    Args:
        given: a ``report.json``, or the folder that holds it.

    Raises:
        UserError: what is given is no report.
    """
    if given is not None:
        place = given / REPORT if given.is_dir() else given
        if not place.is_file():
            raise UserError(f"there is no {REPORT} at {given}; give the output folder of `mmalign evaluate`")
        return place
    found = sorted([*run.glob(REPORT), *run.glob(f"*/{REPORT}")], key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def read_report(path: Path) -> dict[str, Any]:
    """A report's content. Raises UserError where it is none."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); evaluate again") from error
    if not isinstance(report, dict) or not report.get("comparisons"):
        raise UserError(f"{path} holds no comparisons; give the {REPORT} of `mmalign evaluate`")
    return report


def with_results(card: str, report: Mapping[str, Any], picture: str | None = None) -> str:
    """A card with a section on what was measured, in place of the one that it may have.

    Args:
        card: Markdown.
        report: content of a ``report.json``.
        picture: place of the pictures side by side, relative to the card; None = there are none.
    """
    shown = [f"![Base and aligned, the same prompts and noise]({picture})"] if picture else []
    section = "\n\n".join([HEADING, _verdict(report), _table(report), *_remarks(report), *shown, _measured_by(report)])
    without = re.sub(rf"\n*{re.escape(HEADING)}\n.*?(?=\n## |\Z)", "", card, flags=re.DOTALL).rstrip()
    before, use, after = without.partition("\n## Use")
    return f"{before.rstrip()}\n\n{section}\n{use}{after}".rstrip() + "\n"


def _verdict(report: Mapping[str, Any]) -> str:
    main = next((row for row in report["comparisons"] if row["reward"] == report["aligned_to"]), report["comparisons"][0])
    said = {"better": "beats its base", "no measurable difference": "is not measurably different from its base", "worse": "is worse"}
    rate = f"wins {percent(main['win_rate'])} of comparisons ({_span(main)}, {main['n']} prompts)"
    return f"Under `{main['reward']}` the aligned model {said[reading(main['low'], main['high'])]}: it {rate}."


def _table(report: Mapping[str, Any]) -> str:
    lines = ["| reward | aligned wins | 95 % interval | prompts | base mean | aligned mean |", "|---|---:|---:|---:|---:|---:|"]
    for row in report["comparisons"]:
        made = "made the labels" if row["used_for_labels"] else "made no labels"
        lines.append(_line(f"`{row['name']}` ({made})", row))
    if report.get("control"):
        lines.append(_line("control: base against base", report["control"]))
    return "\n".join(lines)


def _line(name: str, row: Mapping[str, Any]) -> str:
    cells = [name, percent(row["win_rate"]), _span(row), str(row["n"]), f"{row['base_mean']:.4g}", f"{row['aligned_mean']:.4g}"]
    return f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |"


def _span(row: Mapping[str, Any]) -> str:
    return ends(Interval(row.get("win_rate", row.get("value", 0.0)), row["low"], row["high"]))


def _remarks(report: Mapping[str, Any]) -> list[str]:
    said = [
        f"- {name}, {share['threshold']:g} or more: {percent(share['base']['value'])} before ({_span(share['base'])}), "
        f"{percent(share['aligned']['value'])} after ({_span(share['aligned'])})"
        for name, share in report.get("shares", {}).items()
        if "threshold" in share
    ]
    if diversity := report.get("diversity"):
        before, after = diversity["base"]["value"], diversity["aligned"]["value"]
        said.append(
            f"- pictures of one prompt are {after / before:.2f} times as different from one another as the base's" if before else ""
        )
    return ["\n".join(filter(None, said))] if any(said) else []


def _measured_by(report: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.get("versions", {}).items())
    how, drawn = report.get("config", {}), ""
    if how.get("num_inference_steps"):
        drawn = f" Drawn in {how['num_inference_steps']} steps with guidance {how['guidance_scale']:g}."
    return f"Measured by `{report.get('command', 'mmalign evaluate')}` ({versions}).{drawn} Intervals resample prompts; ties count half."


def for_hub(card: str) -> str:
    """A card whose header the hub takes: a base that is no model of the hub is left out, and how one was changed is said."""
    found = re.match(r"---\n(.*?)\n---\n", card, flags=re.DOTALL)
    if found is None:
        return card
    header = yaml.safe_load(found[1]) or {}
    base = str(header.pop("base_model", ""))
    if re.fullmatch(HUB_ID, base) and not base.startswith("shapes/") and not Path(base).exists():
        adapter = {"lora", "dora"} & set(header.get("tags", []))
        header |= {"base_model": base, "base_model_relation": "adapter" if adapter else "finetune"}
    return f"---\n{yaml.safe_dump(header, sort_keys=False).strip()}\n---\n{card[found.end() :]}"
