"""What a query does not want: "not electronics", "no plastic or leather", "without sugar", "不要塑料", "除了鞋子"."""

from __future__ import annotations

import re

Span = tuple[int, int]
MAX_WORDS = 4  # of one phrase
_NOT_MEANT = r"(?:only|just|sure|too|very|so|matter|problem|idea|need|necessarily|bad|longer|expensive|pricey|cheap|later|more|less|one|yet|least)\b"
_ENGLISH = re.compile(
    r"(?:\b(?:but|and|please|,)\s+)?\b(?:not|no|without|except(?:\s+for)?|excluding|exclude|avoid|anything\s+but|other\s+than|nothing|"
    r"(?:i\s+)?(?:do\s+not|don['’]?t)\s+(?:want|like|need))\s+"
    rf"(?!{_NOT_MEANT})(?P<what>[^\s,.;:!?，。；！？、][^,.;:!?，。；！？、]*)",
    re.IGNORECASE,
)
_STOP = re.compile(
    r"\s+(?:and|but|for|under|over|below|above|with|please|that|which|who|in|on|at|if|because|so|to|as|is|are|not|no|without)\b",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"^(?:(?:made\s+(?:of|from|out\s+of)|any\s+more|any|anything|a|an|the|from|by|with|of|like|more|in|for)\s+)+",
    re.IGNORECASE,
)
_CHINESE = re.compile(
    r"(?:但|而且|请)?(?:不想要|不要|不喜欢|不含|不带|不是|不用|别要|别给我|除了|排除|避免|拒绝|非(?!常|洲|凡|要))"
    r"(?P<what>[^\s，,。；;！!？?但的]{1,16})"
)
_CHINESE_TAIL = re.compile(r"(?:外|了)$")
_CHINESE_LEAD = re.compile(r"^(?:任何|用|有)")


def find_negations(text: str) -> tuple[list[str], list[Span]]:
    """Phrases in the order they stand, and where each negation stands."""
    phrases: list[str] = []
    spans: list[Span] = []
    for pattern, split in ((_ENGLISH, _english), (_CHINESE, _chinese)):
        position = 0
        while (match := pattern.search(text, position)) is not None:
            found, length = split(match["what"])
            position = match.start("what") + max(length, 1)
            if found and not any(match.start() < end and start < position for start, end in spans):
                phrases += found
                spans.append((match.start(), position))
    return list(dict.fromkeys(phrases)), sorted(spans)


def _english(what: str) -> tuple[list[str], int]:
    """The phrases at the head of what follows a "not", and how many characters they take."""
    stop = _STOP.search(what)
    head = what[: stop.start()] if stop else what
    words = re.findall(r"\S+", head)
    parts, taken = re.split(r"\s+(?:or|nor)\s+", head), len(head)
    if len(parts) == 1 and len(words) > MAX_WORDS + 2:
        return [], len(head)  # a sentence, not a thing
    phrases = [" ".join(_LEAD.sub("", part.strip()).split()[:MAX_WORDS]) for part in parts]
    return [phrase.strip("\"'“”") for phrase in phrases if phrase], taken


def _chinese(what: str) -> tuple[list[str], int]:
    head = re.split(r"(?:以外|之外)", what)[0]
    parts = re.split(r"[和或及、]", head)
    phrases = [_CHINESE_TAIL.sub("", _CHINESE_LEAD.sub("", part)) for part in parts]
    outside = re.match(r"以外|之外", what[len(head) :])
    return [phrase for phrase in phrases if phrase], len(head) + (outside.end() if outside else 0)
