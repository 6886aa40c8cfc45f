"""Writing log folders (contracts.md 2): `<out>/<topic>/part-00000.jsonl` or `.parquet`."""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow.parquet as pq

from simulator.rows import Log

FORMATS = ("jsonl", "parquet")


def check_format(fmt: str) -> None:
    """Raise ValueError for anything but `jsonl` and `parquet`."""
    if fmt not in FORMATS:
        raise ValueError(f"a log folder is written as {' or '.join(FORMATS)}, not as {fmt!r}")


def write_log(log: Log, out: Path, fmt: str = "jsonl") -> None:
    """Write a log in its order of arrival; an existing file of the same name is replaced.

    Raises
    ------
    ValueError
        Unknown format, or (Parquet only) a record that its topic's schema does not take.
    """
    check_format(fmt)
    for topic, records in sorted(log.items()):
        folder = out / topic
        folder.mkdir(parents=True, exist_ok=True)
        if fmt == "jsonl":
            with (folder / "part-00000.jsonl").open("wb") as file:
                file.writelines(orjson.dumps(record) + b"\n" for record in records)
            continue
        from schemas import rows  # the Arrow form needs the schemas; JSON does not

        table, defects = rows.from_dicts(topic, records)
        if defects:
            raise ValueError(
                f"{topic}: record {defects[0].index} has a defect ({defects[0].reason} {defects[0].field})"
            )
        pq.write_table(table, folder / "part-00000.parquet", row_group_size=65_536)
