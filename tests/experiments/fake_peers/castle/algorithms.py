import time

import numpy as np


class Notears:
    """Finds the chain of the columns as they stand."""

    def learn(self, rows):
        self.causal_matrix = np.eye(rows.shape[1], k=1)


class DAG_GNN:
    """Does not end within the limit of any test."""

    def learn(self, rows):
        time.sleep(600)
