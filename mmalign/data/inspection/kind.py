"""Whether a source holds preferences among images, or among responses to prompts with pictures."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmalign import plugins
from mmalign.data import detect
from mmalign.data.pair_folder import SUFFIXES
from mmalign.data.responses import load
from mmalign.data.rows import exists
from mmalign.data.tables import Table
from mmalign.errors import UserError


def holds_responses(name: str, table: Table, given: Mapping[str, Any]) -> bool:
    """Whether the reader that is named reads responses; with "auto", whether one of responses fits and none of images finds images.

    Both kinds may have the columns prompt, chosen and rejected: the cells of the first row tell them apart.
    """
    if name != "auto":
        return name in plugins.names(load.PACKAGE) and name not in plugins.names(detect.PACKAGE)
    if not len(table) or not _fits(table, given):
        return False
    return not any(_finds_images(reader, table, given) for reader in detect.fitting(table, dict(given)))


def _fits(table: Table, given: Mapping[str, Any]) -> bool:
    try:
        load.choose("auto", table, given).example(table.row(0))
    except UserError:
        return False
    return True


def _finds_images(name: str, table: Table, given: Mapping[str, Any]) -> bool:
    plugin = plugins.load(detect.PACKAGE, name)
    known = {field: value for field, value in given.items() if field in inspect.signature(plugin).parameters}
    reader = plugin(**known).fitted(table.columns)
    try:
        images = reader.candidates(reader.arranged(table).row(0)).images
    except UserError:
        return False
    return all(not isinstance(image, Path) or image.suffix.lower() in SUFFIXES or exists(image) for image in images)
