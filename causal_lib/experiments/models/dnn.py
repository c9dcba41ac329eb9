"""Benchmark of training the article's network beside the article's own loop."""

import numpy as np
import pandas as pd

from causal_lib.data.preprocess import preprocess_data
from causal_lib.experiments import peers
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.worlds.online_shop import shop

_PARTS = ("X_train", "y_train", "X_val", "y_val")
_DTYPES = ("float64", "float32")


@benchmark(
    "models.dnn",
    peer="the article's loop as printed (5.3.3): all rows in one step an epoch, GradientTape "
    "without tf.function",
)
def dnn(
    pairs: int = 3, *, epochs: int = 100, users: int = 2000, items: int = 500, days: int = 14
) -> dict:
    """Training the article's network on 63,700 rows of worlds.shop, 100 epochs, one thread: CPU
    seconds; losses.

    Both loops train the network of `build_model` on the rows of notebook 03, in fresh processes,
    and compute the validation loss every epoch. The tracing of our functions is included. By 'all
    rows' ours takes steps of the article's size; by 'mini-batches' those of its default, 1,024
    rows. CPU seconds do not count what else the machine does. Beside them stand those of the bare
    matrix products by numpy, a lower bound for any training of this network.
    """
    data = preprocess_data(shop(users, items, days, 0).log(), split="time", seed=0)
    runs = []
    distances = []
    excesses = []
    with peers.folder_with(**{name: getattr(data, name).to_numpy() for name in _PARTS}) as folder:

        def measure(function, dtype, epochs=epochs, **more):
            sizes = {"dtype": dtype, "epochs": epochs, **more}
            return peers.measure(f"network_training.{function}", sizes, folder=folder)

        for _ in range(pairs):
            for dtype in _DTYPES:
                found = {
                    "article": measure("article", dtype),
                    "all rows": measure("own", dtype),
                    "mini-batches": measure("own", dtype, batch_size=1024),
                }
                last = found["article"]["losses"][-1][1]
                validation = np.array(found["mini-batches"]["losses"])[:, 1]
                enough = int(np.argmax(validation <= last)) + 1
                found["until then"] = measure("own", dtype, enough, batch_size=1024)
                found["products"] = measure("matrix_products", dtype)
                reached = found["until then"]["losses"][-1][1]
                runs.append(
                    {
                        "dtype": dtype,
                        "article's last validation loss": last,
                        "our first as low": reached,
                        "our epochs until then": enough,
                        "CPU seconds": {name: one["cpu_seconds"] for name, one in found.items()},
                        "seconds": {name: one["seconds"] for name, one in found.items()},
                    }
                )
                excesses.append(reached - last)
                if dtype == "float64":
                    gaps = np.subtract(found["all rows"]["losses"], found["article"]["losses"])
                    distances.append(np.abs(gaps).max())
    cpu = pd.DataFrame([run["CPU seconds"] for run in runs], index=[run["dtype"] for run in runs])
    claims = [
        Claim.of(
            "float64, all rows: largest distance of a loss from the article's",
            [max(distances)],
            "at most 1e-6",
        ),
        Claim.of(
            "mini-batches: our validation loss where we stop less the article's last",
            [max(excesses)],
            "at most 0",
        ),
    ]
    for what, name, target in (
        ("all rows: rows a CPU second, ours / the article's", "all rows", "at least 1"),
        ("mini-batches: rows a CPU second, ours / the article's", "mini-batches", "at least 3"),
        (
            "CPU seconds to the same validation loss, the article's / ours",
            "until then",
            "at least 3",
        ),
    ):
        for dtype in _DTYPES:
            ratio = (cpu["article"] / cpu[name])[[dtype]]
            claims.append(Claim.of(f"{dtype}, {what}", ratio, target, statistic="median"))
    rows = len(data.y_train)
    speed = (
        (rows * epochs / cpu.drop(columns="until then"))
        .groupby(level=0)
        .median()
        .round()
        .to_dict("index")
    )
    return report(claims, rows=rows, epochs=epochs, **{"rows a CPU second": speed}, runs=runs)
