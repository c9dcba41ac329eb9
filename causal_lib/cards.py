"""Cards: how a result shows itself in a notebook, as HTML without script, style sheet or network.

Colours are those of the reader's theme: JupyterLab's variables where there are some, else the
colours of the text around the card. A verdict is a word and a sign, its colour only repeats it.
"""

import math
from collections.abc import Sequence
from html import escape

_VERDICTS = {
    "supported": ("✓", "--jp-success-color1", "#00734d"),
    "weak": ("≈", "--jp-warn-color0", "#9a6400"),
    "extrapolated": ("△", "--jp-warn-color0", "#9a6400"),
    "refused": ("✕", "--jp-error-color1", "#b03a00"),
}
_SOFT = "opacity: .75"
_WIDTH = 320  # of a drawn interval, in pixels
_HEIGHT = 44
_MARGIN = 34  # room for the number at an end
_LETTER = 6.0  # width of a digit of the numbers


def card(
    title: str,
    headline: str = "",
    *,
    verdict: str = "",
    reasons: Sequence[str] = (),
    interval: tuple[float, float, float] | None = None,
    facts: Sequence[tuple[str, object]] = (),
    lines: Sequence[str] = (),
    formula: str = "",
) -> str:
    """The card of a result; whatever a text holds is shown as it is written, never as markup.

    Parameters
    ----------
    headline : the answer in one line.
    verdict : 'supported', 'weak', 'extrapolated' or 'refused'; '' where nothing is judged.
    reasons : why the verdict is not 'supported'.
    interval : value, low, high, to be drawn beside zero.
    facts : name and value, one a line; those without a value are left out.
    lines : of a rule, kept as they are.
    formula : in LaTeX, which JupyterLab typesets.
    """
    parts = [f'<div style="font-weight: 600">{_text(title)}</div>']
    if headline:
        parts.append(f'<div style="font-size: 1.25em">{_text(headline)}</div>')
    if verdict:
        sign, variable, colour = _VERDICTS[verdict]
        style = f"border-left: .3em solid var({variable}, {colour}); padding-left: .5em"
        why = f": {'; '.join(map(str, reasons))}" if reasons else ""
        parts.append(
            f'<div style="{style}">{sign} <strong>{_text(verdict)}</strong>{_text(why)}</div>'
        )
    if interval is not None:
        parts.append(interval_svg(*interval))
    rows = [(name, value) for name, value in facts if value not in (None, "")]
    if rows:
        items = "".join(
            f'<div><span style="{_SOFT}">{_text(name)}:</span> {_text(value)}</div>'
            for name, value in rows
        )
        parts.append(f"<div>{items}</div>")
    if lines:
        style = "white-space: pre-wrap; margin: 0; font-size: .95em; background: none; border: 0"
        parts.append(f'<pre style="{style}">{_text(chr(10).join(lines))}</pre>')
    if formula:
        parts.append(f'<div style="overflow-x: auto">${_text(formula)}$</div>')
    style = (
        "box-sizing: border-box; max-width: 34em; padding: .6em .8em; line-height: 1.5; "
        "border: 1px solid var(--jp-border-color1, rgba(128, 128, 128, .5)); "
        "border-radius: 4px; overflow-wrap: anywhere; "
        "color: var(--jp-content-font-color1, inherit); display: grid; gap: .35em"
    )
    return f'<div role="group" style="{style}">{"".join(parts)}</div>'


def interval_svg(value: float, low: float, high: float) -> str:
    """``value`` and its interval on a line with zero marked; '' where one of them is not finite."""
    if not all(map(math.isfinite, (value, low, high))):
        return ""
    left = min(low, 0.0)
    right = max(high, 0.0)
    if left == right:
        right = left + 1.0

    def place(number):
        share = (number - left) / (right - left)
        return round(_MARGIN + share * (_WIDTH - 2 * _MARGIN), 1)

    middle = 16
    zero = place(0.0)
    start = place(low)
    end = place(high)
    at = place(value)
    colour = "var(--jp-info-color1, #0072b2)"
    half = _LETTER * max(len(f"{low:.3g}"), len(f"{high:.3g}")) / 2
    texts = [(start, f"{low:.3g}"), (end, f"{high:.3g}")]
    if end - start < 2 * half + 6:  # the two numbers would run into each other
        spread = half + 3
        centre = min(max((start + end) / 2, 2 * spread), _WIDTH - 2 * spread)
        texts = [(centre - spread, texts[0][1]), (centre + spread, texts[1][1])]
    drawn = "".join(
        f'<text x="{x:.1f}" y="{_HEIGHT - 3}" text-anchor="middle">{text}</text>'
        for x, text in texts
    )
    label = f"{value:.4g}, interval {low:.4g} to {high:.4g}"
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'style="width: 100%; max-width: {_WIDTH}px; height: auto; display: block" '
        'font-size="11" fill="currentColor">'
        f'<line x1="4" x2="{_WIDTH - 4}" y1="{middle}" y2="{middle}" stroke="currentColor" '
        'stroke-opacity=".25"/>'
        f'<line x1="{zero}" x2="{zero}" y1="4" y2="28" stroke="currentColor" '
        'stroke-dasharray="3 2"/>'
        f'<text x="{zero + 3}" y="11" font-size="10">0</text>'
        f'<g style="stroke: {colour}; fill: {colour}">'
        f'<line x1="{start}" x2="{end}" y1="{middle}" y2="{middle}" stroke-width="3"/>'
        f'<line x1="{start}" x2="{start}" y1="11" y2="21" stroke-width="2"/>'
        f'<line x1="{end}" x2="{end}" y1="11" y2="21" stroke-width="2"/>'
        f'<circle cx="{at}" cy="{middle}" r="4.5"/></g>{drawn}</svg>'
    )


def _text(value):
    return escape(str(value))
