"""The process of a worker: ``python -m bench.worker.begin SUBMISSION INDEX TOKEN``. Reports it if torch cannot be loaded."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from bench.launch.codes import BROKEN
from bench.runfolder import submission as submissions
from bench.runfolder.failure import Failure


def main() -> int:
    """Load what a worker needs, and be one; returns the exit code. What cannot be loaded is noted as the reason."""
    try:
        from bench.worker import loop as worker
    except (
        Exception
    ) as error:  # too little address space, a library of another version, a full or broken disk
        found = Failure.of(error)
        failure = Failure(found.kind, f"the worker cannot be loaded: {found.message}", found.cause)
        submissions.write_end(
            Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], failure, traceback.format_exc()
        )
        return BROKEN
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
