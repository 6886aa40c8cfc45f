"""Rows of one topic as numpy columns, in arrival order: how high-rate records reach the rooms (decision 0001)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]


class Columns:
    """One topic's rows: event and arrival times (ms, arrival order) and value columns as numpy."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.event: Ints = table["event_time"].to_numpy()
        self.arrival: Ints = table["ingest_time"].to_numpy()
        self.value: pa.StructArray = table["value"].combine_chunks()

    def numbers(self, name: str, null: float) -> npt.NDArray[np.float64]:
        field = self.value.field(name)
        out: npt.NDArray[np.float64] = pc.fill_null(field.cast(pa.float64()), null).to_numpy(zero_copy_only=False)
        return out

    def among(self, name: str, *values: str) -> npt.NDArray[np.bool_]:
        field = pc.fill_null(pc.is_in(self.value.field(name), pa.array(values)), False)
        out: npt.NDArray[np.bool_] = field.to_numpy(zero_copy_only=False)
        return out


def columns(tables: dict[str, pa.Table]) -> dict[str, Columns]:
    return {topic: Columns(table) for topic, table in tables.items() if len(table)}
