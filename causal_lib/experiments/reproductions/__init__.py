"""Published numbers beside ours: `reproduce` runs an experiment, `ledger` keeps what came out,
failures too.
"""

from causal_lib.experiments.reproductions.ledger import LEDGER, Entry, read, table
from causal_lib.experiments.reproductions.runner import EXPERIMENTS, reproduce

__all__ = ["EXPERIMENTS", "LEDGER", "Entry", "read", "reproduce", "table"]
