"""The networks of sd-scripts and musubi-tuner on kohya's files, where the environment names checkouts of them; else skipped."""

import os

import pytest

from benchmarks import kohya_loads


@pytest.mark.parametrize("name", kohya_loads.MODELS)
def test_kohyas_programs_take_every_name_and_miss_none(name, tmp_path):
    variable = kohya_loads.PROGRAMS[kohya_loads.MODELS[name][0]]
    if variable not in os.environ:
        pytest.skip(f"needs a checkout, which {variable} names")
    _, in_the_file, made, missing, unexpected = kohya_loads.loaded(name, tmp_path)
    assert made == in_the_file
    assert (missing, unexpected) == (0, 0)
