"""LaTeX to MathML, which browsers draw by themselves: no script, no font, no request."""

from __future__ import annotations

import re
from functools import cache
from html import escape

__all__ = ["inline", "math"]

_PIECES = re.compile(r"\$(?P<math>[^$]+)\$|`(?P<code>[^`]+)`|\*\*(?P<strong>.+?)\*\*")
_PRIMED = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>(&#x0203[23];)</mi></msup>")


@cache
def math(latex: str, *, display: bool = False) -> str:
    r"""An element ``<math>``, which speaks its LaTeX to those who cannot see it.

    Parameters
    ----------
    latex : str
    display : bool
        On a line of its own.

    Returns
    -------
    str

    Examples
    --------
    >>> "<mi>z</mi>" in math("z^{(l)}")
    True
    """
    from latex2mathml.converter import convert

    drawn = str(convert(latex, display="block" if display else "inline"))
    # A prime stands high already; as a superscript it would be too small to see.
    drawn = _PRIMED.sub(r"<mrow>\1<mo>\2</mo></mrow>", drawn)
    return drawn.replace("<math ", f'<math alttext="{escape(latex, quote=True)}" ', 1)


def inline(words: str) -> str:
    """Words with ``$mathematics$``, `` `code` `` and ``**stress**`` as HTML.

    Examples
    --------
    >>> inline("a `b` **c** < d")
    'a <code>b</code> <strong>c</strong> &lt; d'
    """
    parts: list[str] = []
    end = 0
    for piece in _PIECES.finditer(words):
        parts.append(escape(words[end : piece.start()], quote=False))
        end = piece.end()
        if piece["math"]:
            parts.append(math(piece["math"]))
        elif piece["code"]:
            parts.append(f"<code>{escape(piece['code'], quote=False)}</code>")
        else:
            parts.append(f"<strong>{inline(piece['strong'])}</strong>")
    parts.append(escape(words[end:], quote=False))
    return "".join(parts)
