"""Text that others wrote, without what nobody sees: the one function for every way in and every way out."""

import unicodedata
from functools import lru_cache

_KEPT = frozenset("\n\t")
_HIDING = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Control, format (zero-width, bidirectional), unassigned and private characters, lone surrogates, and the two
separators that some terminals take for a line break."""
_BLANK = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0000, 0xE0FFF),
)
"""What shows as nothing and is of another category: fillers, blank letters, variation selectors, and tags whether
assigned or not (Unicode 17, DerivedCoreProperties.txt, Default_Ignorable_Code_Point; U+2800 is braille's blank)."""


def visible(text: str) -> str:
    """`text` without what shows as nothing, steers a terminal or reorders what is read; line feeds and tabs stay.

    The same again changes nothing more, and what is left can be written as UTF-8.
    """
    if text.isascii() and (text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable()):
        return text
    hidden = [each for each in set(text) if _hides(each)]
    return text.translate(dict.fromkeys(map(ord, hidden))) if hidden else text


@lru_cache(maxsize=4096)
def _hides(character: str) -> bool:
    if character in _KEPT:
        return False
    code = ord(character)
    return unicodedata.category(character) in _HIDING or any(first <= code <= last for first, last in _BLANK)
