"""What the ranker reads of each candidate. One piece of code: a live request, training and evaluation all call `features_of`."""

from app.features.ranking.candidates import Case, Found, Items, features_of
from app.features.ranking.facts import ItemFacts
from app.features.ranking.names import FEATURES, SOURCES
from app.features.ranking.shopper import Shopper

__all__ = ["FEATURES", "SOURCES", "Case", "Found", "ItemFacts", "Items", "Shopper", "features_of"]
