import math


class LogRankWeight:
    def __init__(self, offset):
        self.offset = offset

    def weight(self, place):
        return 1 / math.log2(place + self.offset)
