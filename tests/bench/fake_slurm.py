"""Stands in for sbatch, squeue, scontrol, scancel and sacct where no Slurm is; run as a program: DIR NAME ARGUMENTS.

Its state lies in DIR: ``jobs.json`` (id -> name and number of tasks, 0 for a plain job), and what a test has put
there: ``answers`` (one line for each call of sbatch: ``accept``, ``lose`` for accepted but timed out, ``mumble``, or the
words of a refusal), ``limit`` (of tasks in the queue), ``array`` (MaxArraySize), ``down``, ``help``, ``sacct``.
"""

import json
import os
import re
import sys
import time
from pathlib import Path

DIR, NAME, ARGUMENTS = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
LIMIT = """sbatch: error: QOSMaxSubmitJobPerUserLimit
sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, and so on)"""


def has(name: str) -> str | None:
    file = DIR / name
    return file.read_text() if file.exists() else None


def fail(words: str) -> None:
    print(words, file=sys.stderr)
    sys.exit(1)


def sbatch(jobs: dict[str, list]) -> None:
    if ARGUMENTS == ["--help"]:
        print(has("help") or "")
        return
    script = Path(ARGUMENTS[0]).read_text()
    answer, *later = (has("answers") or "accept").splitlines()
    (DIR / "answers").write_text("\n".join(later or ["accept"]))
    if answer not in ("accept", "lose", "mumble"):
        fail(f"sbatch: error: Batch job submission failed: {answer}")
    array = re.search(r"--array=0-(\d+)", script)
    tasks = int(array[1]) + 1 if array else 0
    if sum(max(n, 1) for _, n in jobs.values()) + max(tasks, 1) > int(has("limit") or 10**9):
        fail(LIMIT)
    job = str(100 + len(list((DIR / "scripts").iterdir())))
    (DIR / "scripts" / job).write_text(script)
    (DIR / "environment.json").write_text(json.dumps(dict(os.environ)))
    jobs[job] = [re.search(r"--job-name=(\S+)", script)[1], tasks]
    (DIR / "jobs.json").write_text(json.dumps(jobs))
    if answer == "lose":
        fail("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    print("Submitted batch job " + ("?" if answer == "mumble" else job))


def squeue(jobs: dict[str, list]) -> None:
    if "-n" in ARGUMENTS:
        print(
            "\n".join(job for job, (name, _) in jobs.items() if name == ARGUMENTS[ARGUMENTS.index("-n") + 1])
        )
        return
    listed = ARGUMENTS[ARGUMENTS.index("-j") + 1].split(",")
    if len(listed) == 1 and listed[0] not in jobs:
        fail("slurm_load_jobs error: Invalid job id specified")
    for job in listed:
        tasks = jobs.get(job, ["", -1])[1]
        for task in [job] if tasks == 0 else [f"{job}_{i}" for i in range(tasks)]:
            print(f"{task}|PENDING||Nodes required for job are DOWN, DRAINED|or reserved")


def scancel(jobs: dict[str, list]) -> None:
    (DIR / "jobs.json").write_text(json.dumps({k: v for k, v in jobs.items() if k not in ARGUMENTS}))


def main() -> None:
    with (DIR / "calls").open("a") as calls:
        calls.write(" ".join([NAME, *ARGUMENTS]) + "\n")
    if (down := has("down")) is not None:
        time.sleep(float(down or 0))
        fail(f"{NAME}: error: Unable to contact slurm controller (connect failure)")
    jobs = json.loads(has("jobs.json") or "{}")
    if NAME == "scontrol":
        print(f"MaxArraySize            = {has('array') or 1001}\nMaxJobCount             = 10000")
    elif NAME == "sacct":
        print(has("sacct") or "")
    else:
        {"sbatch": sbatch, "squeue": squeue, "scancel": scancel}[NAME](jobs)


if __name__ == "__main__":
    main()
