from . import schema
from .manifest import SourceError
from .preprocess import preprocess_data
from .sources import bayes_net, check, fetch, listing, load, load_or_skip
from .store import Store, frame_checksum

__all__ = [
    "SourceError",
    "Store",
    "bayes_net",
    "check",
    "fetch",
    "frame_checksum",
    "listing",
    "load",
    "load_or_skip",
    "preprocess_data",
    "schema",
]
