"""Folding: a search finds a text if the folded search text is part of the folded text.

Folding is Unicode's compatibility caseless matching (full case folding and NFKC, D146 in the Unicode Standard). It also
removes the dot above a small i, so that "istanbul" finds "İstanbul". `console/billing/src/folding.ts` is the same for
the page.

Folded texts are stored, and are compared by other versions of Python and by browsers. So only the characters of Unicode
14, the version of Python 3.11, are folded: their folding never changes. Other characters are compared as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from unicodedata import normalize

_NOT_FOLDED: Final = (
    "oo,1 7,3 8 2 l b2 13,1 1f,5 1k,7 s,3 7,a 7j 1p,38 1o,1 1e,h t,1n 6l,e n 8,a a,1 3,1 5,7 2,3 3 6,1 q,j n 8 3 "
    "3 3,1 2,d 4,a 5 2,2k b,4 4,1w n,i a,1 3,1 4,6 4,3 3,1f 5,13 6,2 4 5,8 2,2r a 4 5,6 3,2s a 4 5,6 3,1m 1g 4 "
    "7,3 h,2t 2,3 7,2 9,w 1n,3 u,22 o,9 7,d 5,v 21 11,3 14 11 g,1e 5j 2,4 2,1 ai,7n x,3e 7,ld n,8 p,20 2n,4h "
    "18,3o d,4h 1r,1v u,1 c,11 w,1c 26,2 1c 39,7 1p,k 1p,6 18,1 c,7 18,4 ev,1 7,1 13,1 7,1 9 2 2 2 w,1 1i g f,1 7 "
    "k,1 4 a 2u d,1 s e,2 y,e y,e 3x,3 ig,1k 1ed,y 9q,3e 3,d p,20 3j,1o 2i,b 5z,15 1t 2f,1 2w,1c 2n 2d,b 1c "
    "mlq,c2 55,7 5o,4 3,2 6,n 1o,2a 1z,p 39,17 27,3x 2w,n t,1k 1p,3 3j,h 8md,2j 6sv,1 2z,11 8,b 6,4 r 6 2 3 3 "
    "3i,f ce,1 1j,13 17,5 1g k 5,3 6 3s,3 5b,2 7,1 7,1 7,1 4,2 8 8,dc 1b,69 t,2b 18,3o 4f,h 11,4a d g 8 3,dl 7 17 "
    "a,gg 9,z 4,3 b,3a 14,bc 1g,1y 1b,aq 4,3l 17,l r,39 27,3 11,8 1x,1o 1i,q 14,8 2p,1e 19,34 1o,27 b,1 3,1 4,8 "
    "2,d 8,2 6,3u 2l 6,t 21,53 1j,1 13,x 1y,1m 1n,2q g,5v 1p,2r 2c,10 v,4 d,42 c,q 21,7 2c,b8 f,6w a,22 7,f9y 7,9 "
    "1z,l5 2k,9g 3,f55 9,41w 5f,k 1z,c9 2e 20 3,1 2,1 3,1 5 d 2 8 1u 5,1 9 8 t 5 6 2,2 8 9h,1 85,1 jj,12r 8 i,1 8 "
    "3 6,78 f,9d w,g 1n,158 h,14 25,xf 5 s 3 2,1 2 b 5 2 2,5 2,3 2 2 2 4 3 2,1 2 2 2 2 2 3 2,1 5 8 5 5 2 b i,4 4 "
    "6 i,g3 4v,1j u,c 19,3 a,6 3,1wd b,1ds5 f3,jp41"
)
"""All code points that Unicode 14 does not assign, and between them some assigned ones that fold to themselves and
combine with nothing. For each range: the distance of its start from the end of the previous range, and its length minus
one unless that is zero; in base 36."""


def _ranges() -> Iterator[str]:
    end = 0
    for word in _NOT_FOLDED.split():
        distance, _, more = word.partition(",")
        start = end + int(distance, 36)
        end = start + int(more or "0", 36)
        yield f"{chr(start)}-{chr(end)}"


_FOLDED: Final = re.compile(f"[^{''.join(_ranges())}]+")
_ALL_FOLDED_BELOW: Final = "\u0378"
_DOTTED_I: Final = re.compile("i\u0307+")


def _caseless(text: str) -> str:
    text = normalize("NFKC", normalize("NFD", text).casefold())
    text = normalize("NFKC", text.casefold())
    return normalize("NFKC", _DOTTED_I.sub("i", text))


def fold(text: str) -> str:
    """Returns the folded text. Folding it again changes nothing."""
    if text.isascii():
        return text.lower()
    if max(text) < _ALL_FOLDED_BELOW:
        return _caseless(text)
    return _FOLDED.sub(lambda known: _caseless(known[0]), text)


def folded_column(text: str | None) -> str | None:
    """Returns None if a database's lower() of ASCII letters gives the same result, as for most texts: see
    `db.statements.contains_text`."""
    if text is None or text.isascii():
        return None
    folded = fold(text)
    return None if folded == text.encode().lower().decode() else folded
