"""SSCD on random weights of its real architecture: features against its parts written out, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms
from torchvision.models import resnet50

from bench import dedup, encoders
from bench.encoders.check_encoder import check
from flowbench._core.errors import UserError

from ..data.pictures import encoded, picture


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the published ones: the network's tensors behind ``backbone.``."""
    torch.manual_seed(0)
    network = resnet50(num_classes=24)
    made = tmp_path_factory.mktemp("sscd") / "sscd.torchvision.pt"
    torch.save({f"backbone.{name}": tensor for name, tensor in network.state_dict().items()}, made)
    return made


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 40, 40), dtype=np.uint8))


def test_features_are_the_generalised_mean_behind_a_linear_layer(file: Path, images: torch.Tensor) -> None:
    state = {name.removeprefix("backbone."): each for name, each in torch.load(file).items()}
    network = resnet50(num_classes=24).eval()
    network.load_state_dict(state)
    body = torch.nn.Sequential(*list(network.children())[:-2])
    published = transforms.Compose(
        [
            transforms.Resize(288),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    with torch.no_grad():
        states = body(torch.stack([published(each) for each in pictures])).clamp_min(1e-6)
        pooled = (states**3).flatten(2).mean(2) ** (1 / 3)
        wanted = pooled @ state["fc.weight"].T + state["fc.bias"]
    found = encoders.extractor(f"sscd:{file}").image_features(images)
    torch.testing.assert_close(found, wanted / wanted.norm(dim=1, keepdim=True), atol=1e-5, rtol=1e-4)


def test_it_passes_the_check_of_encoders(file: Path) -> None:
    assert check(f"sscd:{file}")


def test_the_name_depends_on_the_weights_and_not_on_their_file(file: Path, tmp_path: Path) -> None:
    state = torch.load(file)
    save_file(state, tmp_path / "same.safetensors")
    state["backbone.fc.bias"] += 1
    torch.save(state, tmp_path / "other.pt")
    one, same, other = (
        encoders.extractor(f"sscd:{each}").name
        for each in (file, tmp_path / "same.safetensors", tmp_path / "other.pt")
    )
    assert one == same != other


class Unpickled:
    """Would run if its pickle were loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


def test_files_that_are_code_or_something_else_are_refused(file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pt"

    def refusal() -> str:
        with pytest.raises(UserError, match=r"ends in \.torchvision\.pt") as error:
            encoders.extractor(f"sscd:{bad}")
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "there is no such file" in refusal()
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(bad))
    assert "TorchScript, which is code" in refusal()
    torch.save({"fc.bias": Unpickled()}, bad)
    assert "Python objects, which are code" in refusal()
    torch.save([1], bad)
    assert "more than tensors by name" in refusal()
    bad.write_bytes(file.read_bytes()[:5000])
    assert "bad.pt" in refusal()
    state = torch.load(file)
    del state["backbone.layer1.0.conv1.weight"]
    torch.save(state, bad)
    assert "layer1.0.conv1.weight" in refusal()


def test_it_finds_near_duplicates(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(10):
        (folder / f"{i}.png").write_bytes(encoded(picture(i, (64, 64))))
        (folder / f"{i}.txt").write_text(f"thing {i}")
    (folder / "again.png").write_bytes(encoded(picture(3, (64, 64)).point(lambda value: min(255, value + 1))))
    (folder / "again.txt").write_text("thing 3")
    given = ["--data", f"images:{folder}", "--extractor", f"sscd:{file}", "--resolution", "64"]
    assert (
        dedup.main([*given, "--threshold", "0.999999", "--out", str(tmp_path / "out"), "--device", "cpu"])
        == 0
    )
    assert len((tmp_path / "out" / "drop.txt").read_text().split()) == 1
