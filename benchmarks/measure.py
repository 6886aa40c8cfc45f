"""One measured replay in a process of its own: rows per CPU second, peak memory, size of a person's state.

python -m benchmarks.measure LOG jsonl|parquet      # prints one line of JSON
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipelines.graph import replay
from pipelines.settings import Settings
from pipelines.state_folder import StateFolder


def measure(log: Path, fmt: str) -> dict[str, Any]:
    """Replay `log` as study data; figures of the run."""
    settings = Settings(study_data=True)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        report = replay([log], Path(folder) / "out", fmt=fmt, settings=settings, state_dir=state)
        kept = StateFolder(state, settings).load()
    assert kept is not None
    sizes = [len(a) + len(b) for a, b in kept.people.values()]
    rows = sum(report["records_in"].values())
    return {
        "rows": rows,
        "people": report["people"],
        "days": round((report["last"] - report["first"]) / 86_400_000, 1),
        "cpu_s": report["cpu_s"],
        "wall_s": report["wall_s"],
        "rows_per_cpu_s": round(rows / report["cpu_s"]),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "largest_state_bytes": max(sizes, default=0),
        "dlq": sum(report["dlq"].values()),
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2])))
