"""What the benchmarks ask of lenskit, in its own environment: lists, metrics, and the cost of
training.
"""

import pickle
import time


def _als():
    from lenskit.als import ImplicitMFScorer

    return ImplicitMFScorer(features=64)


def _lightgcn():
    from lenskit.graphs.lightgcn import LightGCNScorer

    return LightGCNScorer(embedding_size=64, epochs=50)


SCORERS = {"lenskit ALS": _als, "lenskit LightGCN": _lightgcn}


def recommend_lists(scorer: str) -> dict:
    """Lists of 10 items for the users of ``users.csv``, learned from ``train.csv``; seconds of
    training and recommending.
    """
    import pandas as pd
    import torch
    from lenskit.batch import recommend
    from lenskit.data import from_interactions_df
    from lenskit.pipeline import topn_pipeline

    torch.set_num_threads(1)
    users = pd.read_csv("users.csv")["user_id"].tolist()
    data = from_interactions_df(pd.read_csv("train.csv"))
    model = SCORERS[scorer]()
    start = time.perf_counter()
    pipeline = topn_pipeline(model)
    pipeline.train(data)
    trained = time.perf_counter()
    found = recommend(pipeline, users, 10, n_jobs=1)
    done = time.perf_counter()
    lists = [[int(item) for item in found.lookup(user_id=user).ids()] for user in users]
    return {"lists": lists, "train": trained - start, "recommend": done - trained}


def metrics() -> list[dict]:
    """lenskit's metrics of each case of ``cases.csv``: value or None for each user, and the Gini
    index of the lists.

    ``lists.csv`` and ``truth.csv`` have the columns case, user, item. Settings are those that count
    as ours do. Recall without n divides by all positives, with n by at most n. offset=1 is 1 /
    log2(1 + r); without it ranks 1 and 2 count alike. lenskit's precision divides by the items
    listed, ours by k.
    """
    import numpy as np
    import pandas as pd
    from lenskit.data import ItemList
    from lenskit.metrics import DCG, NDCG, ListGini, Precision, Recall, RecipRank
    from lenskit.metrics.ranking import LogRankWeight

    weight = LogRankWeight(offset=1)
    lists = dict(list(pd.read_csv("lists.csv").groupby(["case", "user"])))
    truth = dict(list(pd.read_csv("truth.csv").groupby(["case", "user"])))

    def items(part, key):
        found = part[key]["item"].to_numpy() if key in part else np.empty(0, dtype=np.int64)
        return ItemList(item_ids=found, ordered=True)

    reported = []
    for case, n_users, n_items, k in pd.read_csv("cases.csv").itertuples(index=False):
        pairs = [
            (items(lists, (case, user)), items(truth, (case, user))) for user in range(n_users)
        ]
        values = {}
        for name, metric in {
            "recall": Recall(),
            "precision": Precision(k),
            "NDCG": NDCG(k, weight=weight),
            "DCG": DCG(k, weight=weight),
            "MRR": RecipRank(k),
        }.items():
            values[name] = [
                float(metric.measure_list(*pair)) if len(pair[1]) else None for pair in pairs
            ]
        for user, (listed, _) in enumerate(pairs):
            if values["precision"][user] is not None:
                values["precision"][user] = (
                    values["precision"][user] * len(listed) / k if len(listed) else 0.0
                )
        gini = ListGini(k, items=n_items)
        parts = [gini.compute_list_data(*pair) for pair in pairs if len(pair[0])]
        reported.append({"users": values, "Gini": float(gini.global_aggregate(parts))})
    return reported


def als_cost() -> dict:
    """Cost of training ALS for three epochs on the (user, item, value) rows of ``data.npy``, and
    the bytes of the model.
    """
    import numpy as np
    import pandas as pd
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.pipeline import topn_pipeline
    from measuring import cost_of_call  # it lies beside this file

    def train(data):
        pipeline = topn_pipeline(ImplicitMFScorer(features=32, epochs=3))
        frame = pd.DataFrame(data[:, :2].astype(int), columns=["user_id", "item_id"])
        pipeline.train(from_interactions_df(frame))
        return pipeline

    found, _, answer = cost_of_call(train, np.load("small.npy"), lambda: np.load("data.npy"))
    return found | {"bytes": len(pickle.dumps(answer))}
