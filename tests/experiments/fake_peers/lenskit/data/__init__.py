import numpy as np


def from_interactions_df(frame):
    return frame


class ItemListCollection: ...


class ItemList:
    def __init__(self, item_ids, ordered=False):
        self._ids = np.asarray(item_ids)

    def __len__(self):
        return len(self._ids)

    def ids(self):
        return self._ids
