"""A log as Parquet parts, in SQLite and in MySQL, and the ways to its statistics and policy values
that the benchmark `scale` compares.
"""

from collections.abc import Callable
from pathlib import Path

POLICY = {"policy": "target", "cluster": "user", "reward_range": (0.0, 1.0)}
PARTS = 10  # of their own; more are links to these
TABLE = "causal_lib_scale"


def write_parts(rows: int, columns: int) -> None:
    """Write ``rows`` rows of ``columns`` columns, at least 7, to the folder ``parts``.

    Two categories, a reward of 0 and 1, propensity and the policy's probability, a user, numbers.
    """
    import os

    import numpy as np
    import pandas as pd

    folder = Path("parts")
    folder.mkdir()
    most = 1_000_000
    part_rows = min(rows, most)
    own = min(PARTS, rows // part_rows)
    for part in range(own):
        rng = np.random.default_rng(part)
        chance = rng.uniform(0.05, 1, part_rows)
        found = {
            "city": np.array([f"city {k}" for k in range(8)])[rng.integers(8, size=part_rows)],
            "device": np.array(["ios", "web", "tv"])[rng.integers(3, size=part_rows)],
            "click": (rng.random(part_rows) < 0.05 + 0.1 * chance).astype(np.int8),
            "propensity_score": chance,
            # so that weights have the mean 1
            "target": np.clip(chance * rng.choice([0.5, 1.0, 1.5], part_rows), 0, 1),
            "user": rng.integers(0, 50_000, part_rows),
        }
        base = rng.standard_normal(part_rows)
        for k in range(columns - len(found)):
            found[f"x{k}"] = 1e3 * k + base + rng.standard_normal(part_rows)
        pd.DataFrame(found).to_parquet(folder / f"{part:03d}.parquet", index=False)
    for part in range(own, rows // part_rows):
        os.link(folder / f"{part % own:03d}.parquet", folder / f"{part:03d}.parquet")


def load_table(url: str) -> None:
    """Write all parts to the table `TABLE` of a database."""
    import pandas as pd
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    for number, part in enumerate(sorted(Path("parts").glob("*.parquet"))):
        how = "append" if number else "replace"
        pd.read_parquet(part).to_sql(TABLE, engine, if_exists=how, index=False, chunksize=20_000)
    engine.dispose()


def drop_table(url: str) -> None:
    """Drop the table `TABLE` of a database."""
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {TABLE}"))
    engine.dispose()


def statistics(engine: str, url: str, threads: int) -> Callable[[], dict]:
    """Count, mean and covariance of all columns."""
    import pandas as pd

    from causal_lib.discovery.statistics import Statistics

    if engine == "memory":
        frame = pd.read_parquet("parts")
    ways = {
        "memory": lambda: Statistics.from_frame(frame),
        "Parquet by pyarrow": lambda: Statistics.from_parquet("parts"),
        "rows fetched": lambda: Statistics.from_frame(_fetched(url)),
    }

    def sum_up():
        if engine in ways:
            return _moments(ways[engine]())
        return _moments(Statistics.from_sql(*_source(url, threads)))

    return sum_up


def values(engine: str, url: str, threads: int) -> Callable[[], dict]:
    """Value of a policy with its interval, over users."""
    import pandas as pd

    from causal_lib.policy import policy_values

    if engine == "memory":
        frame = pd.read_parquet("parts")

    def sum_up():
        if engine == "memory":
            found = policy_values(frame, **POLICY)
        elif engine == "rows fetched":
            found = policy_values(_fetched(url), **POLICY)
        else:
            connection, query = _source(url, threads)
            found = policy_values(query, connection=connection, **POLICY)
        answer = [[one.value, one.low, one.high] for one in found.values()]
        return {"rows": found["ips"].rounds, "answer": answer}

    return sum_up


def _source(url, threads):
    """A connection and the query of all rows; without ``url`` the parts, read by DuckDB."""
    if url:
        import sqlalchemy as sa

        return sa.create_engine(url), f"SELECT * FROM {TABLE}"
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    return connection, "SELECT * FROM read_parquet('parts/*.parquet', union_by_name = true)"


def _fetched(url):
    import pandas as pd
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    frame = pd.read_sql(sa.text(f"SELECT * FROM {TABLE}"), engine)
    engine.dispose()
    return frame


def _moments(stats):
    """Means and covariances in units of the standard deviations."""
    sizes = stats.cov.diagonal() ** 0.5
    correlations = stats.cov / sizes / sizes[:, None]
    return {"rows": stats.rows, "answer": [(stats.mean / sizes).tolist(), *correlations.tolist()]}
