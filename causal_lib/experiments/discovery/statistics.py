"""Benchmarks of reading a Parquet file into statistics."""

from causal_lib.experiments.bench import benchmark, compare


@benchmark("discovery.statistics", peer="pyarrow reading the same columns in batches, its defaults")
def statistics(*, parts: int = 10, rows: int = 1_000_000, pairs: int = 5) -> dict:
    """Count, mean and covariance of 10^7 rows of 50 mixed columns (12 of them text) in a Parquet
    file.
    """
    return _own_against("read_by_defaults", parts, rows, pairs)


@benchmark(
    "discovery.statistics_reader",
    peer="pyarrow reading the same columns in batches, by the options that "
    "Statistics.from_parquet uses",
)
def statistics_reader(*, parts: int = 10, rows: int = 1_000_000, pairs: int = 5) -> dict:
    """Count, mean and covariance of 10^7 rows of 50 mixed columns (12 of them text) in a Parquet
    file.
    """
    return _own_against("read_by_our_options", parts, rows, pairs)


def _own_against(peer, parts, rows, pairs):
    return compare(
        "parquet_file.own_statistics",
        f"parquet_file.{peer}",
        prepare=("parquet_file.write_table", {"parts": parts, "rows": rows}),
        targets={"ratio of cpu_seconds": 1.5, "own peak_mb": 1000},
        pairs=pairs,
    )
