"""Models by their names of the hub, in the user's cache as the hub's own library lays it out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.pretrained import frozen_autoencoder
from bench.pretrained.hub import Place
from flowbench._core.errors import UserError

from ..autoencoders import save_kl


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of ``some/model`` in a cache."""
    kept = tmp_path / "models--some--model"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return kept / "snapshots" / "abc"


@pytest.mark.parametrize("below", ["", "vae", "parts/vae"])
def test_a_model_in_a_folder_of_a_repository(below: str, repository: Path) -> None:
    folder = save_kl(repository / below)
    wanted = frozen_autoencoder.load(frozen_autoencoder.place(str(folder)))
    found = frozen_autoencoder.load(frozen_autoencoder.place(f"some/model/{below}".rstrip("/")))
    assert found.name == wanted.name
    images = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    assert torch.equal(found.encode(images)[0], wanted.encode(images)[0])


@pytest.mark.parametrize(
    ("name", "fetched"),
    [
        ("some/model", "hf download NAME"),
        ("some/model/vea", "hf download some/model --include 'vea/*'"),
        ("other/model/vae", "hf download other/model --include 'vae/*'"),
        ("/nowhere/some/vae", ""),
        ("a b/c?d/e", ""),
    ],
)
def test_a_name_that_is_not_there_is_one_sentence(name: str, fetched: str, repository: Path) -> None:
    save_kl(repository / "vae")
    with pytest.raises(UserError, match="the name is not in your cache") as error:
        frozen_autoencoder.load(Place(name, "--autoencoder ", "autoencoder", "diffusers"))
    assert fetched in str(error.value)
    assert len(str(error.value).splitlines()) == 1
