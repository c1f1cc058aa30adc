"""A shop with known true tastes, for the demo and for tests: seeded, about 1,200 products and 3,000 shoppers.

What a product says (words, attributes) tells all about it but its quality, which only behaviour shows.
"""

from app.catalogue.sample_shop.generate import SampleShop, generate_sample_shop
from app.catalogue.sample_shop.oracle import Oracle

__all__ = ["Oracle", "SampleShop", "generate_sample_shop"]
