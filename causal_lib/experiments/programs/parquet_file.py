"""A Parquet file of mixed columns, and the ways to read it that the benchmarks of
`Statistics.from_parquet` compare.
"""

from collections.abc import Callable

FILE = "table.parquet"


def write_table(parts: int, rows: int) -> None:
    """Write `FILE`: ``parts`` times ``rows`` rows of 25 numbers, 5 counts, 8 flags and 12 columns
    of text.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    levels = np.array([f"level {i}" for i in range(20)])
    writer = None
    for _ in range(parts):
        columns = {f"number{i}": rng.standard_normal(rows) for i in range(25)}
        columns |= {f"count{i}": rng.poisson(3, rows) for i in range(5)}
        columns |= {f"flag{i}": rng.random(rows) < 0.3 for i in range(8)}
        columns |= {f"text{i}": levels[rng.integers(3 + i, size=rows)] for i in range(12)}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(FILE, table.schema)
        writer.write_table(table)
    writer.close()


def own_statistics() -> Callable[[], dict]:
    """Count, mean and covariance of all columns."""
    from causal_lib.discovery.statistics import Statistics

    return lambda: {"rows": Statistics.from_parquet(FILE).rows}


def read_by_defaults() -> Callable[[], dict]:
    """pyarrow reads the batches, nothing else."""
    import pyarrow.parquet as pq

    return lambda: {"rows": sum(batch.num_rows for batch in pq.ParquetFile(FILE).iter_batches())}


def read_by_our_options() -> Callable[[], dict]:
    """pyarrow reads the batches by the options that `Statistics.from_parquet` uses."""
    import pyarrow.parquet as pq

    text = [f"text{i}" for i in range(12)]

    def read():
        file = pq.ParquetFile(FILE, read_dictionary=text, pre_buffer=False, buffer_size=1 << 20)
        return {"rows": sum(batch.num_rows for batch in file.iter_batches(131_072))}

    return read
