"""Step 1: is this a language that the pool can answer in? Script and function words; no model, no memory of the text."""

from __future__ import annotations

import re
from collections.abc import Collection

from content.lexicon import primary
from pipelines.learning.text_features import words_of

_LISTED = {
    "en": (
        "the a and i i'm is are to of in it that my you not what me be have do can't don't with when was but so he she "
        "we for on this all want feel "
    ),
    "de": (
        "der die das und ich ist nicht zu in mein meine mich mir ein eine du wir es sie er kann will bin habe hat auf "
        "mit wenn aber so was wie den dem für auch noch mehr "
    ),
    "fr": ("le la les et je est pas une un de des que qui mon ma dans avec pour ne suis veux plus mais tout ce "),
    "es": ("el la los las y no es una un de que mi en con para por soy estoy quiero pero más todo lo se yo muy "),
    "it": ("il lo gli e non è una un di che mio mia in con per sono voglio ma più tutto mi si ho questo molto "),
    "nl": ("de het een en ik niet is mijn van dat in met voor op ben wil maar meer zijn je wat heb geen ook "),
    "pl": ("i nie jest się w na to że z do mnie mój jestem chcę ale już co jak mam bardzo "),
    "tr": ("ve bir bu ben değil için çok ne var yok istiyorum ama daha benim gibi kadar "),
    "pt": ("o a os as e não é uma um de que meu minha em com para por sou estou quero mas mais tudo eu muito "),
}
FUNCTION_WORDS = {lang: frozenset(listed.split()) for lang, listed in _LISTED.items()}
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")
_LETTER = re.compile(r"[^\W\d_]")
ENOUGH = 2  # function words that must speak for another language


def language_of(text: str, tag: str | None, known: Collection[str]) -> str | None:
    """The known language to read `text` in, or None if it is none of them.

    Parameters
    ----------
    tag
        BCP 47 as the app gave it; believed unless the words clearly say otherwise (a phone's tag is often its menu's language).
    known
        Primary language tags of the configured locales, first = the default.

    Examples
    --------
    >>> language_of("i can't sleep", "en", ["en", "de"])
    'en'
    >>> language_of("je ne dors pas et je suis fatigué", "fr", ["en", "de"]) is None
    True
    """
    letters = _LETTER.findall(text[:2_000])
    if letters and sum(1 for c in letters if _LATIN.match(c)) < len(letters) / 2:
        return None
    words = words_of(text[:2_000])
    found = {lang: sum(w in listed for w in words) for lang, listed in FUNCTION_WORDS.items()}
    best = max(found, key=lambda lang: (found[lang], lang in known))
    own = primary(tag) if tag else None
    at_hand = [lang for lang in known if lang in found]
    top_known = max(at_hand, key=lambda lang: found[lang], default=None)
    clear = found[best] >= ENOUGH and found[best] > found.get(own or "", 0) + 1
    if own is not None and own not in known:
        sure = top_known is not None and found[top_known] >= ENOUGH and found[top_known] > found.get(own, 0) + 1
        return top_known if sure else None
    if own is not None:
        if not clear:
            return own
        return best if best in known else (own if found[own] else None)
    if clear:
        return best if best in known else None
    return top_known if top_known is not None and found[top_known] else next(iter(known), None)
