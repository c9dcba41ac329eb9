class ImplicitMFScorer:
    def __init__(self, features, epochs=1):
        self.features, self.epochs = features, epochs
