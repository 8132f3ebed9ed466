"""What other libraries say when they cannot give a model, in few words."""

NETWORK = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
"""Libraries whose errors say that there is no connection."""

UNREACHED = "; connect once, set HF_HOME to a cache that has it, or give a folder"


def hub_reason(error: Exception) -> str:
    """Why the hub did not give something, in few words."""
    from huggingface_hub import errors

    reasons = {
        errors.GatedRepoError: "its owner wants you to ask for access there first",
        errors.RepositoryNotFoundError: "there is no such repository, or it is private",
        errors.RevisionNotFoundError: "it has no such revision",
        errors.LocalEntryNotFoundError: "the hub cannot be reached, and nothing was downloaded before",
        errors.EntryNotFoundError: "it has no such file",
    }
    return next((reason for kind, reason in reasons.items() if isinstance(error, kind)), first_line(error))


def not_given(error: BaseException | None) -> str | None:
    """Why the hub did not give a model, with the remedy, whatever the libraries between made of it; None where it is not the hub."""
    from huggingface_hub import errors

    remedies = {
        errors.GatedRepoError: "; then log in with `hf auth login`",
        errors.RepositoryNotFoundError: "; look at its name, or log in with `hf auth login`",
        errors.LocalEntryNotFoundError: UNREACHED,
    }
    while error is not None:
        for kind, remedy in remedies.items():
            if isinstance(error, kind):
                return hub_reason(error) + remedy
        if type(error).__module__.partition(".")[0] in NETWORK:
            return f"the hub cannot be reached, and nothing was downloaded before{UNREACHED}"
        error = error.__cause__ or error.__context__
    return None


def first_line(error: Exception) -> str:
    """An error of another library, cut to its first sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
