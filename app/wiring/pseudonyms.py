"""Where the storefront's ids become pseudonyms: everything that faces the storefront or its files is wrapped, if there is a secret."""

from __future__ import annotations

from app.catalogue.ports import CatalogueStore, ShopDataStore
from app.privacy.pseudonymous import PseudonymousCatalogue, PseudonymousShopData
from app.privacy.pseudonyms import Pseudonyms
from app.settings import Settings


def pseudonyms_of(settings: Settings) -> Pseudonyms | None:
    secret = settings.pseudonym_secret
    return None if secret is None else Pseudonyms(secret.get_secret_value())


def outer_shop_data(settings: Settings, inner: ShopDataStore) -> ShopDataStore:
    ids = pseudonyms_of(settings)
    return inner if ids is None else PseudonymousShopData(inner, ids)


def outer_catalogue(settings: Settings, inner: CatalogueStore) -> CatalogueStore:
    ids = pseudonyms_of(settings)
    return inner if ids is None else PseudonymousCatalogue(inner, ids)
