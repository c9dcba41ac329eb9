class Popular:
    """Whatever the scorer: the items with the most rows."""

    def __init__(self, scorer):
        self.scorer = scorer

    def train(self, data):
        self.items = data["item_id"].value_counts().index.to_numpy()


def topn_pipeline(scorer):
    return Popular(scorer)
