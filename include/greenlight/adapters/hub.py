"""Model folders from the Hugging Face Hub: one commit, and only the kinds of file we accept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from greenlight.core.errors import InputError, UnavailableError
from greenlight.core.files import folder_in_the_making

WANTED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt",
          "README.md", "LICENSE*", "LICENCE*", "COPYING")  # fmt: skip

Download = Callable[..., str]
"""`huggingface_hub.snapshot_download`, or what stands in for it."""


class Hub:
    """Downloads snapshots. Nothing that a snapshot holds is executed."""

    def __init__(self, *, download: Download = snapshot_download) -> None:
        self._download = download

    def fetch(self, repository: str, *, revision: str, target: Path) -> Path:
        """Write the accepted files of one commit to `target`, whole or not at all.

        A `target` that is there already is returned: a commit never changes.

        Raises:
            InputError: the repository or the commit does not exist, or needs a licence accepted.
            UnavailableError: the Hub did not answer.
        """
        if target.is_dir():
            return target
        with folder_in_the_making(target) as making:
            try:
                self._download(
                    repo_id=repository,
                    revision=revision,
                    local_dir=str(making),
                    allow_patterns=list(WANTED),
                )
            except GatedRepoError as error:
                raise InputError(
                    f"hf://{repository} asks for its terms to be accepted: do so on its page and "
                    "set a token with `hf auth login`"
                ) from error
            except (RepositoryNotFoundError, RevisionNotFoundError) as error:
                raise InputError(f"the Hub has no {repository} at {revision}") from error
            except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
                raise UnavailableError(f"the Hub did not send {repository}: {error}") from error
        return target
