"""What is wrong with latents of others is one sentence, that names the file, and nothing counts as written."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.data.latent_store import INDEX

from ...autoencoders import save_kl
from . import stored
from .test_from_latents import run


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_kl(tmp_path_factory.mktemp("vae") / "vae")


def refused(source: Path, vae: Path, out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The sentence of a conversion that does not succeed."""
    capsys.readouterr()
    assert run(source, vae, out, *more) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1, said
    assert "Traceback" not in said
    assert not (out / INDEX).exists()
    return said


FIRST = "00000/img-mean-std-00000000.npy"
NAN = np.concatenate([stored.means(), stored.deviations()], axis=1)[0]
NAN[2, 3, 4] = np.nan
HUGE = (
    b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (8, 80000, 80000), }"
).ljust(127) + b"\n"


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        (FIRST, stored.npy(NAN), f"{FIRST} is not finite, or too large"),
        (FIRST, stored.npy(np.full((8, 8, 8), 1e6, np.float32)), f"{FIRST} is not finite, or too large"),
        (FIRST, stored.npy(np.zeros((4, 8, 8), np.float32)), "is [4, 8, 8], not [8, h, h]"),
        (
            EARLY := "00000/img-mean-std-00000005.npy",
            stored.npy(np.zeros((8, 4, 4), np.float32)),
            f"{EARLY}: it is [8, 4, 4]",
        ),
        (EARLY, stored.npy(np.zeros((8, 99, 99), np.float32)), "more than the"),
        (EARLY, HUGE + bytes(2048), f"{EARLY}: it is cut short, or longer than it declares"),
        (EARLY, b"no array", f"{EARLY}: "),
        (EARLY, b"", f"{EARLY}: "),
        ("dataset.json", b'{"labels": null}', "has no class for 40 of 40 latents"),
        ("dataset.json", b'{"labels": [["a.npy", 1]]}', "has no class for 40 of 40 latents"),
        ("dataset.json", b'{"images": 3}', "it has no dataset.json with labels"),
        ("dataset.json", b"[" * 9000, "a.zip: "),
    ],
)
def test_members_of_a_zip(
    name: str, body: bytes, message: str, vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stored.edm2_zip(tmp_path / "a.zip", {**stored.edm2_members(), name: body})
    assert message in refused(source, vae, tmp_path / "out", capsys)


def test_objects_are_not_unpickled(vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = stored.npy(np.array([print], dtype=object))
    source = stored.edm2_zip(tmp_path / "a.zip", {**stored.edm2_members(), FIRST: body})
    assert "it does not hold numbers" in refused(source, vae, tmp_path / "out", capsys)


def test_a_zip_that_is_not_what_it_declares(
    vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stored.edm2_zip(tmp_path / "a.zip")
    raw = source.read_bytes()
    place = raw.index(stored.edm2_members()[FIRST]) + 400
    source.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    assert f"Bad CRC-32 for file {FIRST!r}" in refused(source, vae, tmp_path / "out", capsys)
    source.write_bytes(raw[:-200])
    assert "not a zip file" in refused(source, vae, tmp_path / "out", capsys)
    source.write_bytes(b"")
    assert "not a zip file" in refused(source, vae, tmp_path / "out", capsys)


def test_a_zip_of_less_than_it_unpacks_to(
    vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, whole = tmp_path / "a.zip", stored.edm2_members()
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as made:
        for name, body in whole.items():
            made.writestr(name, body + bytes(1 << 24) * (name == EARLY))
    size, declared = (struct.pack("<I", len(whole[EARLY]) + more) for more in (1 << 24, 0))
    source.write_bytes(source.read_bytes().replace(size, declared))
    assert f"{EARLY}: Bad CRC-32" in refused(source, vae, tmp_path / "out", capsys)


@pytest.mark.parametrize("name", [FIRST, EARLY, "dataset.json"])
def test_a_compressed_member_that_is_damaged(
    name: str, vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as made:
        for each, body in stored.edm2_members().items():
            made.writestr(each, body)
        start = made.getinfo(name).header_offset + 30 + len(name)
    raw = bytearray(source.read_bytes())
    raw[start] = 0xFF  # a block of a kind that there is not
    source.write_bytes(raw)
    assert "invalid block type" in refused(source, vae, tmp_path / "out", capsys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("labels"), "it has no tensor 'labels', but latents, latents_flip"),
        (lambda t: t.update(labels=t["labels"][:-1].clone()), "latents is [15, 4, 8, 8], not [14, 4, 8, 8]"),
        (lambda t: t.update(labels=t["labels"] * 0.5), "labels are no whole numbers"),
        (lambda t: t.update(latents=t["latents"][:, :3].clone()), "not [15, 4, 8, 8]"),
        (lambda t: t.update(latents=t["latents"].clone().fill_(torch.nan)), "is not finite, or too large"),
    ],
)
def test_tensors_of_lightningdit(
    change: Callable[[Any], Any], message: str, vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stored.lightningdit(tmp_path / "latents")
    file = source / "latents_rank00_shard001.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    assert message in refused(source, vae, tmp_path / "out", capsys)


def test_a_shard_of_lightningdit_that_is_cut_short(
    vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stored.lightningdit(tmp_path / "latents")
    file = source / "latents_rank00_shard001.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    assert f"{file}: " in refused(source, vae, tmp_path / "out", capsys)
    file.write_bytes(b"")
    assert f"{file}: " in refused(source, vae, tmp_path / "out", capsys)


def index(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Changes the entry of the second shard in the index."""

    def changed(folder: Path) -> None:
        whole = json.loads((folder / "index.json").read_text())
        change(whole["shards"][1])
        (folder / "index.json").write_text(json.dumps(whole))

    return changed


def shard(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Changes the bytes of the second shard."""

    def changed(folder: Path) -> None:
        (file,) = folder.glob("shard.00001.mds*")
        file.write_bytes(change(file.read_bytes()))

    return changed


CUT, NOISE = shard(lambda raw: raw[:-100]), shard(lambda raw: raw[:100] + bytes(20) + raw[120:])
OUTSIDE = index(lambda about: about["raw_data"].update(basename="../shard.00001.mds"))
HASH = index(lambda about: about["raw_data"].update(hashes={"sha1": "0" * 40}))


@pytest.mark.parametrize(
    ("compression", "change", "message"),
    [
        (None, CUT, "bytes, and"),
        ("zstd", CUT, "bytes, and"),
        ("zstd", NOISE, "it cannot be decompressed"),
        (None, shard(lambda raw: b"\x0f" + raw[1:]), "its rows are not those of index.json"),
        (None, shard(lambda raw: raw[:4] + b"\xff" + raw[5:]), "index.json"),
        (None, OUTSIDE, "outside its folder"),
        (None, HASH, "its sha1 is not the one in index.json"),
        ("zstd", index(lambda about: about.update(compression="br")), "it is compressed by br, read is zstd"),
        (None, index(lambda about: about.update(format="csv")), "is no index of MDS"),
        (
            None,
            index(lambda about: about.update(column_names=["a", "b", "c"])),
            "its shards differ in their columns",
        ),
        (None, lambda folder: (folder / "index.json").write_text("{"), "is no index of MDS"),
        (None, lambda folder: (folder / "shard.00001.mds").unlink(), "shard.00001.mds: "),
    ],
)
def test_shards_of_mds(
    compression: str | None,
    change: Callable[[Path], Any],
    message: str,
    vae: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = stored.mds(tmp_path / "mds", stored.eight_bits(28)[1], compression)
    change(source)
    assert message in refused(source, vae, tmp_path / "out", capsys, "--range", "28")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "has 8 bits, give --range R"),
        (["--range", "0"], "--range 0: must be"),
        (["--range", "nan"], "--range nan: must be"),
        (
            ["--range", "28", "--columns", "latent=vae_output"],
            "is not used as 'latent'; did you mean 'latents'",
        ),
        (["--range", "28", "--columns", "label=lable"], "has no such column; did you mean 'label'"),
        (["--range", "28", "--columns", "label"], "say USE=NAME"),
        (["--range", "28", "--columns", "label=label", "name=label_as_text"], "give one of label, name"),
        (["--range", "28", "--columns", "latents=label"], "--range does not apply"),
        (["--range", "28", "--flips"], "--flips does not apply to latents in MDS"),
        (["--range", "28", "--posterior", "mean"], "are samples; use --posterior sample"),
        (["--range", "28", "--classes", "NAMES"], "--classes does not apply"),
        (["--range", "28", "--resolution", "16"], "--resolution belongs to --data"),
        (["--range", "28", "--data", "shapes"], "--data and --latents are two sources"),
        (["--range", "28", "--train", "0"], "--train 0"),
        (
            ["--range", "28", "--columns", "label=label", "--classes", "NAMES"],
            "has 1 names, and mds has a class 2",
        ),
    ],
)
def test_options_that_do_not_fit(
    given: list[str], message: str, vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text("tench\n")
    source = stored.mds(tmp_path / "mds", stored.eight_bits(28)[1])
    given = [each.replace("NAMES", str(tmp_path / "names.txt")) for each in given]
    assert message in refused(source, vae, tmp_path / "out", capsys, *given)


def test_pickled_columns_and_rows_of_another_size(
    vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = ("str", None, [b"1"] * 9)
    pickled = stored.mds(tmp_path / "a", {"latents": ("pkl", None, [b"\x80\x04."] * 9), "label": label})
    assert "'latents' is pkl, and read are" in refused(pickled, vae, tmp_path / "out", capsys)
    odd = stored.mds(tmp_path / "b", {"latents": ("np16", None, [bytes(30)] * 9), "label": label})
    assert "15 values are no square latent of 4 channels" in refused(odd, vae, tmp_path / "out", capsys)
    words = ("str", None, [b"\xff"] * 9)
    text = stored.mds(tmp_path / "c", {"latents": ("np16", None, [bytes(512)] * 9), "label": words})
    assert "a row of 'label' cannot be read" in refused(text, vae, tmp_path / "out", capsys)
    blank = stored.mds(
        tmp_path / "e",
        {"latents": ("np16", None, [bytes(512)] * 9), "caption": ("str", None, [b"a"] * 8 + [b" "])},
    )
    assert "a row of 'caption' cannot be read (its caption is empty)" in refused(
        blank, vae, tmp_path / "out", capsys
    )
    none = stored.mds(tmp_path / "d", {"latents": ("np16", None, [bytes(512)] * 9)})
    assert "which column has the captions is unknown" in refused(none, vae, tmp_path / "out", capsys)


def test_other_files(vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = stored.edm2_zip(tmp_path / "edm2.zip")
    assert "did you mean" in refused(tmp_path / "edm3.zip", vae, tmp_path / "out", capsys)
    (tmp_path / "x.pt").write_bytes(b"")
    assert "read are EDM2's .zip" in refused(tmp_path / "x.pt", vae, tmp_path / "out", capsys)
    assert "--range does not apply to EDM2's latents" in refused(
        source, vae, tmp_path / "out", capsys, "--range", "28"
    )
    (tmp_path / "names.json").write_text("3")
    said = refused(source, vae, tmp_path / "out", capsys, "--classes", str(tmp_path / "names.json"))
    assert "cannot be read as names of classes by number" in said
    few = stored.edm2_zip(tmp_path / "few.zip", stored.edm2_members(1))
    assert "1 latents are too few for two sides" in refused(few, vae, tmp_path / "out", capsys)
