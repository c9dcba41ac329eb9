from .base import World, listing
from .credit import FEATURES, loans
from .online_shop import PRICE_ON_POPULARITY, Shop, shop
from .opinions import EDGES, forum
from .product_catalogue import QUALITIES, RATE, catalogue, pictures
from .random_models import random_dag, sample_gaussian_network, sample_network, simulate
from .random_tables import draw
from .ratings import semi_synthetic
from .traffic import city

__all__ = [
    "EDGES",
    "FEATURES",
    "PRICE_ON_POPULARITY",
    "QUALITIES",
    "RATE",
    "Shop",
    "World",
    "catalogue",
    "city",
    "draw",
    "forum",
    "listing",
    "loans",
    "pictures",
    "random_dag",
    "sample_gaussian_network",
    "sample_network",
    "semi_synthetic",
    "shop",
    "simulate",
]
