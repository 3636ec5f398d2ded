"""What the user may ask Slurm for, in which words, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from submitit import SlurmExecutor

from bench import grid
from bench.launch.launchers import take
from bench.launch.slurm import slurm_options
from bench.launch.slurm.sbatch import parameters
from bench.launch.slurm.slurm_options import SlurmOptions, parse
from flowbench._core.errors import UserError

from ...stand_ins import make

HELP = """
  -A, --account=name          charge job to specified account
  -H, --hold                  submit job in held state
      --nice[=value]          decrease scheduling priority by value
      --reservation=name      allocate resources from named reservation
      --container             Path to OCI container bundle
      --mem=MB                minimum amount of real memory
                              --mem >= --mem-per-cpu if --mem is specified.
  -B  --extra-node-info=S[:C[:T]]  combine request of sockets per node,
"""


@pytest.fixture(autouse=True)
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An sbatch that only has a help text, alone on PATH."""
    program = tmp_path / "sbatch"
    program.write_text(f"#!/bin/sh\n/bin/cat <<'END'{HELP}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm_options.sbatch_options.cache_clear()
    return program


def read(*words: str) -> SlurmOptions:
    pairs, rest = take([f"--slurm.{word}" for word in words])
    assert not rest
    return parse(pairs.get("slurm", []))


def refusal(*words: str) -> str:
    with pytest.raises(UserError) as error:
        read(*words)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_pairs_are_taken_out_of_a_command_line() -> None:
    line = [
        "--steps",
        "3",
        "--slurm.partition=gpu",
        "--slurm.time",
        "30",
        "--slurm.hold",
        "--out",
        "x",
        "--slurm.exclusive",
    ]
    pairs, rest = take(line)
    assert pairs == {"slurm": [("partition", "gpu"), ("time", "30"), ("hold", ""), ("exclusive", "")]}
    assert rest == ["--steps", "3", "--out", "x"]


def test_every_parameter_of_submitit_can_be_set_or_is_refused_with_a_reason() -> None:
    for name in SlurmExecutor._valid_parameters():
        if name in slurm_options.REFUSED:
            assert name in refusal(f"{name}=1")
        else:
            values = {"stderr_to_stdout": "false", "time": "5", "signal_delay_s": "90"}
            chosen = read(f"{name}={values.get(name, '1')}")
            assert name in chosen.given or name == "stderr_to_stdout"


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["cpus-per-task=4"], {"cpus_per_task": 4}),
        (["cpus_per_task=4", "cpus-per-task=6"], {"cpus_per_task": 6}),
        (["gpus=a100:2"], {"gpus_per_node": "a100:2"}),
        (["gpus=0"], {"gpus_per_node": 0}),
        (["setup=module load x", "setup=ulimit -c 0"], {"setup": ["module load x", "ulimit -c 0"]}),
        (["srun-args=--mpi=none '--x=a b'"], {"srun_args": ["--mpi=none", "--x=a b"]}),
        (["exclusive"], {"exclusive": True}),
        (["exclusive=user"], {"exclusive": "user"}),
        (["exclusive", "exclusive=no"], {}),
        (["stderr-to-stdout=yes"], {"stderr_to_stdout": True}),
        (["use-srun=true", "nodes=1"], {"use_srun": True, "nodes": 1}),
        (["dependency=afterok:7"], {"dependency": "afterok:7"}),
    ],
)
def test_values_have_the_type_that_submitit_wants(words: list[str], given: dict[str, Any]) -> None:
    assert read(*words) == SlurmOptions(given, {})


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["reservation=r1"], {"reservation": "r1"}),
        (["nice"], {"nice": True}),
        (["nice=100"], {"nice": "100"}),
        (["nice=0"], {"nice": "0"}),
        (["hold", "hold=false"], {}),
        (["container=/image"], {"container": "/image"}),
        (["extra_node_info=1:2"], {"extra-node-info": "1:2"}),
    ],
)
def test_what_only_sbatch_understands_goes_to_sbatch(words: list[str], extra: dict[str, Any]) -> None:
    assert read(*words) == SlurmOptions({}, extra)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        *[("240", 240), ("30:00", 30), ("30:01", 31), ("1:30:00", 90), ("1-12", 2160), ("1-12:30", 2190)],
        *[("0-0:30:1", 31), ("2-00:00:00", 2880)],
    ],
)
def test_a_time_is_read_as_sbatch_reads_it(text: str, minutes: int) -> None:
    assert read(f"time={text}")["time"] == minutes


@given(st.integers(0, 20), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_the_two_long_forms_of_a_time_agree(days: int, hours: int, minutes: int, seconds: int) -> None:
    assert slurm_options.minutes(f"{days}-{hours}:{minutes}:{seconds}") == slurm_options.minutes(
        f"{24 * days + hours}:{minutes}:{seconds}"
    )


@pytest.mark.parametrize("text", ["", "0", "soon", "1-", "-5", "1:2:3:4", "1.5", "unlimited", "٣"])
def test_what_is_no_time_is_refused(text: str) -> None:
    assert "minutes or [DAYS-]HOURS:MINUTES:SECONDS are needed" in refusal(f"time={text}")


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("patition=x", "did you mean 'partition'"),
        ("gpu=1", "'gpus'"),
        ("reservations=x", "'reservation'"),
        ("ntasks-per-node=2", "--replicas gives their number"),
        ("use-srun=false", "only what srun has started"),
        ("array=0-3", "--slurm.array-parallelism"),
        ("job-name=x", "name"),
        ("signal=USR1", "--slurm.signal-delay-s"),
        ("no-requeue", "requeued"),
        ("additional_parameters={}", "--slurm.reservation=NAME"),
        ("cpus_per_task=many", "whole number"),
        ("cpus_per_task=0", "greater than 0"),
        ("gpus=one", "number of GPUs"),
        ("stderr_to_stdout=perhaps", "true or false"),
        ("partition=", "a value is needed"),
        ("comment=a\nb", "control characters"),
        ("srun_args='", "quotation"),
        ("time=3", "more than 3 min"),
    ],
)
def test_a_mistake_is_one_sentence(word: str, part: str) -> None:
    key = word.partition("=")[0]
    said = refusal(word)
    assert said.startswith(f"--slurm.{key}")
    assert part in said


@pytest.mark.parametrize("key", slurm_options.REFUSED)
def test_the_command_refuses_what_the_launcher_sets_itself(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for spelt in dict.fromkeys([key, key.replace("_", "-")]):
        argv = ["--executor", "slurm", "--out", str(tmp_path / "run"), f"--slurm.{spelt}=1"]
        assert grid.main(argv) == 2
        assert capsys.readouterr().err == f"error: --slurm.{spelt}=1: {slurm_options.REFUSED[key]}\n"
    assert not (tmp_path / "run").exists()


def test_nothing_that_the_launcher_sets_itself_can_be_asked_for(tmp_path: Path) -> None:
    """But what is sent next to its own: the user's setup, options of srun, and jobs to wait for."""
    asked = {"setup": ["mine"], "srun_args": ["--mine"], "array_parallelism": 9}
    chosen = parameters(make(tmp_path / "run", 2), asked, most=2, waits=["7"])
    assert "mine" in chosen["setup"]
    assert "--mine" in chosen["srun_args"]
    set_alone = {key for key in chosen if key not in asked} - {"dependency"}
    set_alone |= set(SlurmOptions({}, {}).parameters("cpu")["additional_parameters"])
    assert {"job_name", "requeue"} <= set_alone <= set(slurm_options.REFUSED)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("partitoin=gpu", "'partition'"), ("men=4G", "'mem'"), ("arrays=3", "'array-parallelism'")],
)
def test_the_command_names_the_nearest_option_that_may_be_given(
    word: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--executor", "slurm", "--out", str(tmp_path / "run"), f"--slurm.{word}"]
    for look in ((), ("--dry-run",), ("--status",)):
        assert grid.main([*argv, *look]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: --slurm.{word}: no option of Slurm, did you mean ")
        assert meant in said
        assert said.count("\n") == 1
        assert not any(f"'{refused.replace('_', '-')}'" in said for refused in slurm_options.REFUSED)


def test_the_warning_must_come_before_the_end() -> None:
    assert read("time=11", "signal-delay-s=599")["signal_delay_s"] == 599
    assert "--slurm.signal-delay-s" in refusal("time=11", "signal-delay-s=600")


def test_without_sbatch_only_submitits_options_are_known(sbatch: Path) -> None:
    sbatch.unlink()
    assert read("partition=gpu").given == {"partition": "gpu"}
    assert "sbatch cannot be asked" in refusal("reservation=r1")


def test_a_second_gpu_is_refused_where_it_would_be_idle() -> None:
    for words in ("gpus=2", "gpus=a100:4", "gpus-per-task=2"):
        with pytest.raises(UserError, match="a worker uses 1 GPU on a node, one a replica: ask for 1"):
            read(words).parameters("cuda")


@pytest.mark.parametrize(
    ("device", "replicas", "words", "sent"),
    [
        ("cuda", 4, [], {"gpus_per_node": 4, "cpus_per_task": 32}),
        ("cuda", 4, ["gpus=a100:4", "cpus_per_task=12"], {"gpus_per_node": "a100:4", "cpus_per_task": 12}),
        ("cuda", 8, ["nodes=2"], {"nodes": 2, "ntasks_per_node": 1, "gpus_per_node": 4, "cpus_per_task": 32}),
        ("cuda", 2, ["cpus_per_gpu=3"], {"gpus_per_task": 2, "cpus_per_gpu": 3}),
        ("cpu", 2, ["nodes=2"], {"nodes": 2, "ntasks_per_node": 1}),
    ],
)
def test_a_gpu_for_each_replica(device: str, replicas: int, words: list[str], sent: dict[str, Any]) -> None:
    found = read(*words).parameters(device, replicas)
    assert {key: found.get(key) for key in sent} == sent
    assert {key for key in found if "gpu" in key or "task" in key or key == "nodes"} == set(sent)


@pytest.mark.parametrize(
    ("replicas", "words", "sentence"),
    [
        (1, ["nodes=2"], "nodes=2: a worker of 1 replica does not divide .* --replicas that does, such as 2"),
        (4, ["nodes=3"], "nodes=3: a worker of 4 replicas does not divide .* such as 3"),
        (4, ["nodes=2", "gpus=4"], "a worker uses 2 GPUs on a node, one a replica: ask for 2"),
        (4, ["gpus=1"], "a worker uses 4 GPUs on a node, one a replica: ask for 4"),
    ],
)
def test_replicas_that_do_not_fit_are_refused(replicas: int, words: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read(*words).parameters("cuda", replicas)


@pytest.mark.parametrize(
    ("device", "words", "sent"),
    [
        ("auto", [], {"gpus_per_node": 1, "cpus_per_task": 8}),
        ("cuda", ["cpus_per_task=3"], {"gpus_per_node": 1, "cpus_per_task": 3}),
        ("cuda", ["cpus_per_gpu=3"], {"gpus_per_task": 1, "cpus_per_gpu": 3}),
        ("cpu", [], {}),
        ("cpu", ["gpus=1"], {"gpus_per_node": 1, "cpus_per_task": 8}),
        ("auto", ["gpus=0"], {"gpus_per_node": 0}),
        ("auto", ["gpus=a100:1"], {"gpus_per_node": "a100:1", "cpus_per_task": 8}),
        ("cpu", ["gpus=a100:2"], {"gpus_per_node": "a100:2", "cpus_per_task": 8}),
        ("auto", ["gres=gpu:1"], {"gres": "gpu:1", "cpus_per_task": 8}),
        ("auto", ["gres=lustre:1"], {"gres": "lustre:1", "gpus_per_node": 1, "cpus_per_task": 8}),
    ],
)
def test_one_gpu_with_eight_cores_unless_something_else_was_said(
    device: str, words: list[str], sent: dict[str, Any]
) -> None:
    always = {"time": 240, "signal_delay_s": 120, "array_parallelism": 256, "wckey": None}
    assert read(*words).parameters(device) == {**always, **sent, "additional_parameters": {"requeue": True}}
