"""What every report page shares: the frame with its style, sections, cards, and how the result was made."""

from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

import yaml


def document(title: str, sections: list[str]) -> str:
    """A whole page, UTF-8 text, that needs nothing but itself."""
    style = resources.files("mmalign.evaluation").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def section(title: str, body: str) -> str:
    """A part of a page under a heading; ``body`` is HTML."""
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>\n"


def card(title: str, body: str) -> str:
    """A box with a title; ``body`` is HTML."""
    return f'<div class="card"><h3>{escape(title)}</h3>{body}</div>'


def head_row(heads: list[str]) -> str:
    """The head of a table whose rows stand as blocks on a narrow screen."""
    cells = "".join(f'<th scope="col" role="columnheader">{head}</th>' for head in heads)
    return f'<thead role="rowgroup"><tr role="row">{cells}</tr></thead>'


def configuration(config: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """The resolved configuration and the versions of the software."""
    text = escape(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=100))
    rows = "".join(f"<tr><th scope=row>{escape(name)}</th><td>{escape(version)}</td></tr>" for name, version in versions.items())
    return section("Configuration", f"<pre>{text}</pre>") + section("Versions", f'<table class="versions">{rows}</table>')
