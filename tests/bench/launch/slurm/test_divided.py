"""A command divided among the tasks of an array, and finished by one more job: latents and captions of ``bench.encode``."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import flowbench
from bench import encode

from ...autoencoders import save_kl
from ...encoders.small_models import sd3_models
from ...stand_ins import Cluster, flag, install

SLURM = ["--executor", "slurm", "--parts", "2", "--slurm.time=60"]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return install(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Latents and captions of a few shapes on the CPU, but for the folder behind ``--out``."""
    root = tmp_path_factory.mktemp("models")
    source = ["--data", "shapes", "--resolution", "16", "--train", "20", "--validation", "8"]
    text = f"t5:{sd3_models(root)['t5']}"
    return [*source, "--autoencoder", str(save_kl(root / "kl")), "--text", text, "--device", "cpu", "--out"]


def run(folder: Path) -> None:
    """Do in this process what the tasks of a job do on the cluster."""
    from submitit.core.utils import DelayedSubmission

    for file in sorted(folder.glob("*_submitted.pkl")):
        made = DelayedSubmission.load(file)
        made.result()
        assert made.function.checkpoint(*made.args).args == made.args, "what is requeued is the same"


def stored(folder: Path) -> dict[str, bytes]:
    """The files of a folder of latents but for those of jobs."""
    files = (file for file in folder.rglob("*") if file.is_file())
    names = {file.relative_to(folder): file.read_bytes() for file in files}
    return {str(name): content for name, content in names.items() if name.parts[0] != "slurm"}


def test_jobs_write_what_the_command_writes(
    words: list[str],
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("bench.data.latent_store.ROWS", 4)
    plain, divided = tmp_path / "plain", tmp_path / "divided"
    assert encode.main([*words, str(plain)]) == 0
    assert encode.main([*words, str(divided), *SLURM]) == 0
    assert "submitted as jobs 100, 101, 102, 103" in capsys.readouterr().out
    arrays = [flag(script, "array") for script in cluster.scripts().values()]
    assert arrays == ["0-1%2", None, "0-1%2", None]
    waits = [flag(script, "dependency") for script in cluster.scripts().values()]
    assert waits == [None, "afterany:100", "afterany:101", "afterany:102"]
    run(divided / "slurm" / "0")
    shards = list(divided.glob("*.safetensors"))
    assert len(shards) == 7, "all that the parts have to write"
    shards[0].unlink()  # as of a task that Slurm ended for good
    for job in range(1, 4):
        run(divided / "slurm" / str(job))
    assert stored(divided) == stored(plain)
    assert (divided / "slurm").stat().st_mode & 0o777 == 0o700


def test_the_command_of_the_page(words: list[str], cluster: Cluster, tmp_path: Path) -> None:
    page = (Path(flowbench.ROOT) / "docs" / "cluster.md").read_text(encoding="utf-8")
    line = next(shlex.split(line) for line in page.splitlines() if "bench.encode" in line)
    assert line[:3] == ["python", "-m", "bench.encode"]
    place = words[words.index("--autoencoder") + 1]
    changed = {"images:PATH": "shapes", "vae": place, "latents": str(tmp_path / "latents")}
    small = ["--resolution", "16", "--train", "20", "--validation", "8", "--device", "cpu"]
    assert encode.main([*(changed.get(word, word) for word in line[3:]), *small]) == 0
    for job in ("0", "1"):
        run(tmp_path / "latents" / "slurm" / job)
    assert encode.main(["--check", str(tmp_path / "latents")]) == 0


def test_on_gpus_unless_the_cpu_is_named(words: list[str], cluster: Cluster, tmp_path: Path) -> None:
    at = words.index("--device")
    assert encode.main([*words[:at], "--out", str(tmp_path / "cuda"), *SLURM]) == 0
    assert all(flag(script, "gpus-per-node") == "1" for script in cluster.scripts().values())
    assert encode.main([*words, str(tmp_path / "cpu"), *SLURM]) == 0
    assert flag(cluster.scripts()["104"], "gpus-per-node") is None


def test_jobs_of_a_folder_are_not_queued_twice(
    words: list[str], cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*words, str(tmp_path / "out"), *SLURM]
    assert encode.main(given) == 0
    assert encode.main(given) == 2
    assert "jobs 100, 101, 102, 103 that write it are in the queue: wait, or end them by `scancel 100" in (
        capsys.readouterr().err
    )


def test_where_one_is_refused_none_is_queued(
    words: list[str], cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.set("answers", "accept\nInvalid qos")
    assert encode.main([*words, str(tmp_path / "out"), *SLURM]) == 2
    assert capsys.readouterr().err == "error: sbatch failed: Invalid qos; none of the jobs is queued\n"
    assert cluster.jobs() == []


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--executor", "slurm"], "say by --parts N"),
        ([*SLURM, "--part", "1/2"], "and not by --part"),
        (["--parts", "2"], "--parts needs --executor slurm"),
        (["--slurm.time=60"], "--slurm.time needs --executor slurm"),
        (["--cluster.time=60"], "unknown option '--cluster.time'"),
        ([*SLURM, "--slurm.tiem=60"], "no option of Slurm"),
        (["--executor", "slrm"], "did you mean 'slurm'"),
        ([*SLURM, "--parts", "2000"], "at most 1001 tasks: take 1001"),
        ([*SLURM, "--data", "images:nowhere"], "nowhere"),
        ([*SLURM, "--autoencoder", "nowhere"], "nowhere"),
        ([*SLURM, "--text", "t5:nowhere"], "nowhere"),
    ],
)
def test_mistakes(
    more: list[str],
    part: str,
    words: list[str],
    cluster: Cluster,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert encode.main([*words, str(tmp_path / "out"), *more]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert cluster.scripts() == {}


def test_without_slurm(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert encode.main([*words, str(tmp_path / "out"), *SLURM]) == 2
    assert "not on PATH" in capsys.readouterr().err
