"""Why a model could not be had, whatever the libraries between made of it."""

import httpx
import pytest
from huggingface_hub import errors

from mmalign import pipelines
from mmalign.errors import UserError
from mmalign.hub import not_given


def wrapped(cause):
    """An error of diffusers around another."""
    try:
        try:
            raise cause
        except Exception as error:
            raise OSError("Cannot load model a/b. Please check out the root cause in the stacktrace above.") from error
    except OSError as error:
        return error


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (httpx.ConnectError("no name"), "the hub cannot be reached, and nothing was downloaded before; connect once, set HF_HOME"),
        (errors.LocalEntryNotFoundError("x"), "the hub cannot be reached, and nothing was downloaded before; connect once"),
        (
            errors.GatedRepoError("x", response=httpx.Response(403, request=httpx.Request("GET", "https://hub"))),
            "ask for access there first; then",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_reason_is_found_below_what_was_made_of_it(cause, said):
    assert said in not_given(wrapped(cause))


def test_what_is_not_the_hubs_is_nobodys_reason():
    assert not_given(wrapped(ValueError("a broken file"))) is None


def test_a_pipeline_that_cannot_be_had_is_one_sentence_with_a_remedy(monkeypatch):
    def unreachable(*given, **named):
        raise httpx.ConnectError("[Errno -2] Name or service not known")

    monkeypatch.setattr(pipelines.DiffusionPipeline, "load_config", unreachable)
    for opened in (pipelines.open_pipeline, pipelines.pipeline_class):
        with pytest.raises(UserError, match="cannot load a pipeline from nobody/nothing: the hub cannot be reached.*give a folder"):
            opened("nobody/nothing")
