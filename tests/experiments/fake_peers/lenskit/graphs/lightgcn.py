class LightGCNScorer:
    def __init__(self, embedding_size, epochs):
        self.embedding_size, self.epochs = embedding_size, epochs
