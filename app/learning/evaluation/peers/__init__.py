"""The peers that stand beside ours, by name."""

from __future__ import annotations

from app.learning.evaluation.peers.ease import Ease
from app.learning.evaluation.peers.factorisation import Bpr, Ials
from app.learning.evaluation.peers.item_knn import DEFAULTS, ItemKnn
from app.learning.evaluation.peers.peer import Params, Peer
from app.learning.evaluation.peers.popularity import Popularity
from app.learning.evaluation.peers.sasrec import SasRecPeer

_POPULARITY, _EASE, _IALS, _BPR, _SASREC = Popularity(), Ease(), Ials(), Bpr(), SasRecPeer()


def _is_undecayed(params: Params) -> bool:
    return params["decay"] == 1.0


def _is_recent(params: Params) -> bool:
    return params["half_life_days"] is not None


PEERS = {
    peer.name: peer
    for peer in (
        Peer("popularity", _POPULARITY, {"half_life_days": None}, lambda params: not _is_recent(params)),
        Peer("recent_popularity", _POPULARITY, {"half_life_days": 7.0}, _is_recent),
        Peer("item_knn", ItemKnn(), DEFAULTS),
        Peer("ease", _EASE, {"ridge": 300.0, "decay": 1.0}, _is_undecayed),
        Peer("ease_decayed", _EASE, {"ridge": 300.0, "decay": 0.9}),
        Peer("ials", _IALS, _IALS.start),
        Peer("bpr", _BPR, _BPR.start),
        Peer("sasrec", _SASREC, _SASREC.start),
    )
}
CHEAP = ("popularity", "recent_popularity", "item_knn")  # what a retraining run is judged beside, with their defaults
