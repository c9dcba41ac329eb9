"""Plain definitions, one user at a time, under lenskit's names."""

import numpy as np


class Metric:
    def __init__(self, n=None, weight=None, items=None):
        self.n, self.weight, self.items = n, weight, items

    def measure_list(self, found, truth):
        places = np.isin(found.ids(), truth.ids()).nonzero()[0] + 1
        return self.value(places, len(found), len(truth))


class Recall(Metric):
    def value(self, places, listed, positives):
        return len(places) / positives


class Precision(Metric):
    def value(self, places, listed, positives):
        return len(places) / listed if listed else float("nan")


class DCG(Metric):
    def value(self, places, listed, positives):
        return sum(self.weight.weight(place) for place in places)


class NDCG(DCG):
    def value(self, places, listed, positives):
        best = range(1, min(self.n, positives) + 1)
        return super().value(places, listed, positives) / super().value(best, listed, positives)


class RecipRank(Metric):
    def value(self, places, listed, positives):
        return 1 / places[0] if len(places) else 0.0


class ListGini(Metric):
    def compute_list_data(self, found, truth):
        return found.ids()

    def global_aggregate(self, lists):
        counts = np.bincount(np.concatenate(lists), minlength=self.items)
        return np.abs(counts[:, None] - counts).sum() / (2 * self.items * counts.sum())
