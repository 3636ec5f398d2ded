"""Latents on disk: encoded once by small autoencoders of the real classes, trained on, ranked and decoded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file, save_file

from bench import data, encode
from bench.data import latent_store, row_captions
from bench.data.channel_moments import ChannelMoments
from bench.data.latent_store import EncodingRecipe, Posterior, ShardedRows, Side
from bench.pretrained import frozen_autoencoder
from flowbench._core.errors import UserError

from .autoencoders import save_kl
from .data.pictures import encoded as written
from .data.pictures import fill, picture

SIZES = ["--resolution", "16", "--train", "40", "--validation", "24"]
FOUND = {
    "kl": lambda found: found.latent_dist.mean,
    "tiny": lambda found: found.latents,
    "dc": lambda found: found.latent,
}
KINDS = {"kl": "AutoencoderKL", "tiny": "AutoencoderTiny", "dc": "AutoencoderDC"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small autoencoder of each class with random weights, in its folder."""
    from diffusers import AutoencoderDC, AutoencoderTiny

    torch.manual_seed(0)
    wide = {"in_channels": 3, "out_channels": 3}
    encoder, decoder = ({f"{side}_block_out_channels": (8, 8)} for side in ("encoder", "decoder"))
    tiny = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    deep: dict[str, Any] = {"latent_channels": 4}
    for side in ("encoder", "decoder"):
        layers = {f"{side}_layers_per_block": (1, 1), f"{side}_qkv_multiscales": ((), ())}
        deep |= {f"{side}_block_types": "ResBlock", **layers}
    made: dict[str, Any] = {
        "tiny": AutoencoderTiny(**wide, **encoder, **decoder, **tiny),
        "dc": AutoencoderDC(**encoder, **decoder, **deep),
    }
    root = tmp_path_factory.mktemp("autoencoders")
    for name, model in made.items():
        model.save_pretrained(root / name)
    save_kl(root / "kl", scaling_factor=0.5, shift_factor=0.1)
    return {name: root / name for name in KINDS}


def encoded(out: Path, place: Path, *more: str) -> Path:
    """A folder of latents of ``shapes``."""
    given = ["--data", "shapes", *SIZES, "--autoencoder", str(place), "--out", str(out), *more]
    assert encode.main(given) == 0
    return out


@pytest.mark.parametrize("name", KINDS)
def test_a_class_is_read_and_undone_as_diffusers_does(name: str, folders: dict[str, Path]) -> None:
    import diffusers

    images = torch.from_numpy(data.load("shapes", train=3, validation=8).train.reference[np.arange(3)])
    ours = frozen_autoencoder.load(frozen_autoencoder.place(str(folders[name])))
    theirs = getattr(diffusers, KINDS[name]).from_pretrained(folders[name]).eval()
    scale, shift = (0.5, 0.1) if name == "kl" else (theirs.config.get("scaling_factor") or 1.0, 0.0)
    latents, deviation = ours.encode(images)
    with torch.no_grad():
        z = FOUND[name](theirs.encode(images / 127.5 - 1))
        pixels = (theirs.decode(z).sample + 1) * 127.5
    torch.testing.assert_close(latents, (z - shift) * scale)
    torch.testing.assert_close(ours.decode(latents), pixels, atol=1e-2, rtol=1e-4)
    assert (deviation is not None) == (name == "kl")
    assert latents.shape == (3, ours.channels, 16 // ours.factor, 16 // ours.factor)


def test_inputs_have_the_scale_of_the_training_side_and_references_are_the_images(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    store = encoded(tmp_path / "latents", folders["kl"])
    found, plain = data.load(f"encoded:{store}"), data.load("shapes", train=40, validation=24)
    inputs = found.train.batch(np.arange(40))
    assert inputs.shape == (40, 4, 8, 8)
    assert float(inputs.mean()) == pytest.approx(0, abs=1e-3)
    assert float(inputs.std(correction=0)) == pytest.approx(1, abs=1e-3)
    every = np.arange(24)
    assert np.array_equal(found.validation.reference[every], plain.validation.reference[every])
    assert found.train.captions == plain.train.captions
    model = frozen_autoencoder.load(frozen_autoencoder.place(str(folders["kl"])))
    latents = model.encode(torch.from_numpy(plain.validation.reference[every]))[0]
    values = found.train.scale.values(found.validation.batch(every))
    torch.testing.assert_close(values, latents, atol=2e-3, rtol=2e-3)
    few = data.load(f"encoded:{store}", train=10)
    assert few.train.captions != found.train.captions
    assert "10 of 40 of training are used" in few.notes[0]


def test_distributions_are_kept_for_training(folders: dict[str, Path], tmp_path: Path) -> None:
    both = data.load(f"encoded:{encoded(tmp_path / 'both', folders['kl'], '--posterior', 'mean+std')}")
    mean = data.load(f"encoded:{encoded(tmp_path / 'mean', folders['kl'])}")
    plain, every = data.load("shapes", train=40, validation=24), np.arange(40)
    means, deviations = frozen_autoencoder.load(frozen_autoencoder.place(str(folders["kl"]))).encode(
        torch.from_numpy(plain.train.reference[every])
    )
    assert deviations is not None
    scale = both.train.scale
    torch.testing.assert_close(scale.values(both.train.batch(every)), means, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(both.train.spread(every) * scale.std, deviations, atol=2e-3, rtol=2e-3)
    assert scale.std**2 == pytest.approx(
        float(means.var(correction=0) + deviations.square().mean()), rel=1e-2
    )
    assert both.digest != mean.digest
    assert both.validation.deviations is mean.train.deviations is None
    held = np.arange(24)
    assert np.array_equal(both.validation.stored[held], mean.validation.stored[held])


@pytest.mark.parametrize(("posterior", "latents"), [("mean", 1), ("mean+std", 2)])
def test_a_dry_run_states_the_size_and_writes_nothing(
    posterior: str,
    latents: int,
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = encoded(tmp_path / "latents", folders["kl"], "--posterior", posterior, "--dry-run")
    assert not out.exists()
    said = capsys.readouterr().out
    encoded(out, folders["kl"], "--posterior", posterior)
    shards = sum(file.stat().st_size for file in out.glob("*.safetensors"))
    expected = 40 * 512 * latents + 24 * (512 + 768)
    assert 0 < shards - expected < 1500, "the rest are headers"
    assert f": {expected / 1000:.3g} kB" in said
    assert ("twice the space" in said) == (latents == 2)


def test_a_dry_run_states_what_it_decodes(
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    given = ["--data", f"images:{fill(tmp_path / 'cats')}", "--resolution", "16"]
    for times in (1, 0):
        place = ["--autoencoder", str(folders["kl"]), "--out", str(tmp_path / "out")]
        assert encode.main([*given, *place, "--dry-run"]) == 0
        said = capsys.readouterr().out
        assert said.count(f"decoded once now, into {40 * 3 * 16 * 16 / 1000:.3g} kB at most") == times


def test_shards_do_not_depend_on_who_wrote_them_and_only_absent_ones_are_written(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent_store, "ROWS", 16)
    alone = tmp_path / "alone"
    sample = ["--posterior", "sample"]
    encoded(alone, folders["kl"], *sample)
    files = {file.name: file.read_bytes() for file in alone.iterdir()}
    for order in ((2, 1), (2, 1, 3), (7, 3, 5, 1, 2, 6, 4)):  # 5 shards
        parts = tmp_path / f"{len(order)} parts"
        for i in order:
            encoded(parts, folders["kl"], *sample, "--part", f"{i}/{len(order)}")
        assert files == {file.name: file.read_bytes() for file in parts.iterdir()}
    train = sorted(name for name in files if name.startswith("train"))
    assert len(train) == 3

    (alone / train[1]).write_bytes(files[train[1]][:-5])
    before = {file: file.stat().st_mtime_ns for file in alone.glob("*.safetensors")}
    encoded(alone, folders["kl"], *sample)
    assert {f.name for f, time in before.items() if f.stat().st_mtime_ns != time} == {train[1]}
    assert {file.name: file.read_bytes() for file in alone.iterdir()} == files
    rows, values = np.array([39, 0, 17, 17, 31]), ShardedRows(alone, tuple(train), "values")
    assert np.array_equal(values[rows], np.concatenate(values.parts)[rows])


def test_licences_are_kept(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of data as given or as their card states it, of the autoencoder by its card; they change nothing else."""
    place = shutil.copytree(folders["kl"], tmp_path / "kl")
    (place / "README.md").write_text("---\nlicense: mit\n---\n")
    plain, given = encoded(tmp_path / "plain", folders["kl"]), tmp_path / "given"
    assert (
        "licences: not stated of the data, not stated of the autoencoder (--licence"
        in capsys.readouterr().out
    )
    encoded(given, place, "--licence", "CC-BY-4.0")
    capsys.readouterr()
    assert encode.main(["--check", str(given)]) == 0
    assert "licences: CC-BY-4.0 of the data, mit of the autoencoder\n" in capsys.readouterr().out
    digests = [latent_store.read_index(folder).digest for folder in (plain, given)]
    assert digests[0] == digests[1]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(16):
        (pictures / f"{i}.png").write_bytes(written(picture(i)))
        (pictures / f"{i}.txt").write_text("a thing")
    (pictures / "README.md").write_text("---\nlicense: cc0-1.0\n---\n")
    source = ["--data", f"images:{pictures}", "--resolution", "16", "--autoencoder", str(place)]
    assert encode.main([*source, "--out", str(tmp_path / "own")]) == 0
    assert latent_store.read_index(tmp_path / "own").licences == {"data": "cc0-1.0", "autoencoder": "mit"}


def test_held_out_images_may_be_those_of_another_dataset(folders: dict[str, Path], tmp_path: Path) -> None:
    store = encoded(tmp_path / "latents", folders["kl"], "--validation-data", "scenes")
    found, alone = data.load(f"encoded:{store}"), encoded(tmp_path / "alone", folders["kl"])
    other = data.load("scenes", resolution=16, train=24, validation=1).train
    every = np.arange(24)
    assert np.array_equal(found.validation.reference[every], other.reference[every])
    assert found.validation.captions == other.captions
    assert found.train.captions == data.load(f"encoded:{alone}").train.captions
    name = "train-00000.safetensors"
    shards = [latent_store.ShardedRows(folder, (name,), "values")[np.arange(40)] for folder in (store, alone)]
    assert np.array_equal(*shards)


@pytest.mark.parametrize("posterior", ["mean", "mean+std"])
def test_shards_have_the_bytes_of_the_plan(
    posterior: Posterior, folders: dict[str, Path], tmp_path: Path
) -> None:
    store = encoded(tmp_path / "latents", folders["kl"], "--posterior", posterior)
    recipe = latent_store.read_index(store).recipe
    shards = list(store.glob("*.safetensors"))
    assert sum(f.stat().st_size - latent_store.layout(f)[1] for f in shards) == recipe.bytes
    one = replace(recipe, resolution=256, shape=(16, 32, 32), train=1, validation=0)
    assert one.bytes == {"mean": 32_768, "mean+std": 65_536}[posterior], (
        "the second is in table 7 of the study"
    )


def test_mistakes_are_one_sentence(
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = encoded(tmp_path / "latents", folders["kl"])
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    base = ["--data", "shapes", *SIZES, "--autoencoder", str(folders["kl"]), "--out", str(store)]
    for changed, said in (
        (["--posterior", "sample"], "name another folder"),
        (["--resolution", "15"], "the nearest is 16"),
        (["--autoencoder", str(tmp_path)], "holds no autoencoder model that diffusers can read"),
        (["--part", "3/2"], "say I/N"),
        (
            ["--autoencoder", str(folders["tiny"]), "--out", "n", "--posterior", "mean+std"],
            "is deterministic",
        ),
        (["--autoencoder", str(folders["dc"]), "--out", "n", "--posterior", "sample"], "is deterministic"),
        (["--train", "0"], "train is 0"),
        (["--data", f"encoded:{store}"], "latents already"),
    ):
        assert encode.main([*base, *changed]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(UserError, match="use --resolution 16"):
        data.load(f"encoded:{store}", resolution=32)
    with pytest.raises(UserError, match=r"there is no encoded\.json"):
        data.load(f"encoded:{tmp_path}")


def test_an_autoencoder_without_a_tensor_is_refused(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Path(shutil.copytree(folders["kl"], tmp_path / "vae"))
    file = place / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["decoder.conv_out.weight"]
    save_file(tensors, file, {"format": "pt"})
    given = ["--data", "shapes", *SIZES, "--autoencoder", str(place), "--out", str(tmp_path / "latents")]
    assert encode.main(given) == 2
    assert "is not a whole autoencoder model: it lacks weights, among them 'decoder.conv_out.weight'" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "latents").exists()


def test_damage_is_found(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = encoded(tmp_path / "latents", folders["kl"])
    assert encode.main(["--check", str(store)]) == 0
    shard = store / "validation-00000.safetensors"
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    assert encode.main(["--check", str(store)]) == 2
    assert "is not as it was written" in capsys.readouterr().err
    shard.write_bytes(raw[:-100])
    with pytest.raises(UserError, match=r"validation-00000\.safetensors is cut short"):
        data.load(f"encoded:{store}")
    shard.unlink()
    with pytest.raises(UserError, match=r"there is no validation-00000\.safetensors"):
        data.load(f"encoded:{store}")
    assert encode.main(["--check", str(store), "--train", "40"]) == 2
    assert "encodes nothing: leave --train out" in capsys.readouterr().err
    index = store / latent_store.INDEX
    whole = index.read_bytes()
    index.write_text('{"format": 1}')
    again = ["--data", "shapes", *SIZES, "--autoencoder", str(folders["kl"]), "--out", str(store)]
    assert encode.main(again) == 2
    assert "is damaged (KeyError: 'shards'): delete it and encode again" in capsys.readouterr().err
    index.unlink()
    assert encode.main(again) == 0
    assert index.read_bytes() == whole


def test_damaged_captions_and_text_that_is_not_complete_are_found(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = encoded(tmp_path / "latents", folders["kl"])
    index = latent_store.read_index(store)
    texts = row_captions.read_captions(store, index)
    row_captions.write_captions(store, {**texts, "train": [("another",), *texts["train"][1:]]})
    assert encode.main(["--check", str(store)]) == 2
    assert "captions.parquet is not as it was written" in capsys.readouterr().err
    replace(index, tables={}).write(store)  # as folders were written before
    assert encode.main(["--check", str(store)]) == 0
    (store / "text-01234567").mkdir()
    assert encode.main(["--check", str(store)]) == 2
    assert "text-01234567: not all captions are encoded" in capsys.readouterr().err
    (store / row_captions.ROW_CAPTIONS).write_bytes(b"PAR1")
    assert encode.main(["--check", str(store)]) == 2
    assert "its captions cannot be read" in capsys.readouterr().err


def test_captions_belong_to_the_content(folders: dict[str, Path], tmp_path: Path) -> None:
    store = encoded(tmp_path / "latents", folders["kl"])
    before = data.load(f"encoded:{store}").digest
    assert before == data.load(f"encoded:{store}").digest
    assert before != data.load(f"encoded:{store}", train=10).digest
    index = latent_store.read_index(store)
    captions = row_captions.read_captions(store, index)
    row_captions.write_captions(store, {**captions, "train": [("another", "more"), *captions["train"][1:]]})
    found = data.load(f"encoded:{store}")
    assert found.digest != before
    assert found.train.every() == (("another", "more"), *captions["train"][1:])
    assert (found.train.mix, data.load(f"encoded:{store},mix=.5").train.mix) == (None, 0.5)
    row_captions.write_captions(store, {**captions, "train": captions["train"][1:]})
    with pytest.raises(UserError, match="captions for 39 of 40 rows of train"):
        data.load(f"encoded:{store}")


def test_a_plan_needs_the_autoencoder(folders: dict[str, Path], tmp_path: Path) -> None:
    place = tmp_path / "vae"
    shutil.copytree(folders["kl"], place)
    store = encoded(tmp_path / "latents", place)
    data.get(f"encoded:{store}").check()
    place.rename(tmp_path / "moved")
    data.get.cache_clear()
    with pytest.raises(UserError, match=f"give --datasets encoded:{store},autoencoder=FOLDER"):
        data.get(f"encoded:{store}").check()
    data.get(f"encoded:{store},autoencoder={tmp_path / 'moved'}").check()


def test_two_encodings_do_not_share_a_folder(
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = tmp_path / "latents"

    def meanwhile(folder: Path, side: Side, number: int, recipe: EncodingRecipe, *content: Any) -> None:
        kept(folder, side, number, replace(recipe, posterior="sample"), *content)

    kept = latent_store.write_shard
    monkeypatch.setattr(latent_store, "write_shard", meanwhile)
    given = ["--data", "shapes", *SIZES, "--autoencoder", str(folders["kl"]), "--out", str(store)]
    assert encode.main(given) == 2
    assert "another command encodes something else into it" in capsys.readouterr().err


def test_another_autoencoder_may_not_decode(folders: dict[str, Path], tmp_path: Path) -> None:
    store = encoded(tmp_path / "latents", folders["kl"])
    other = data.load(f"encoded:{store},autoencoder={folders['tiny']}")
    with pytest.raises(UserError, match="the latents were made by AutoencoderKL-"):
        other.decode(other.train.batch(np.arange(1)))


@given(arrays(np.float64, st.tuples(st.integers(2, 5), *map(st.just, (2, 2, 3))), elements=st.floats(-9, 9)))
def test_moments_of_parts_are_those_of_the_whole(values: np.ndarray) -> None:
    whole = ChannelMoments.sum([ChannelMoments.of(values[:1]), ChannelMoments.of(values[1:])])
    assert whole.whole == pytest.approx((values.mean(), values.std()), abs=1e-6)
    means, deviations = whole.channels
    assert means == pytest.approx(values.mean((0, 2, 3)), abs=1e-9)
    assert deviations == pytest.approx(values.std((0, 2, 3)), abs=1e-6)


def test_gray_images_are_encoded_as_gray_ones_of_three_channels(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    store = encoded(tmp_path / "latents", folders["kl"], "--data", "digits")
    found = data.load(f"encoded:{store}")
    plain = data.load("digits", resolution=16, train=40, validation=24).validation.reference[np.arange(24)]
    assert np.array_equal(found.validation.reference[np.arange(24)], plain.repeat(3, axis=1))
    model = frozen_autoencoder.load(frozen_autoencoder.place(str(folders["kl"])))
    latents = model.encode(torch.from_numpy(plain))[0]
    values = found.train.scale.values(found.validation.batch(np.arange(24)))
    torch.testing.assert_close(values, latents, atol=2e-3, rtol=2e-3)
