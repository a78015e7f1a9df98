"""Numbers in words: what tables on the page and in the terminal write."""

from collections.abc import Sequence

NOTHING = "\N{EN DASH}"
"""Stands in a table where there is no value."""
MINUS = "\N{MINUS SIGN}"


def share(value: float | None) -> str:
    """Return a share in 0..1 as a percentage, a dash for None.

    Example:
        >>> share(0.944)
        '94.4%'
    """
    return NOTHING if value is None else f"{value:.1%}"


def percent(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """Return a share in percent, a dash for None.

    Example:
        >>> percent(0.944), percent(0.02, sign=True)
        ('94.4', '+2.0')
    """
    return NOTHING if value is None else f"{100 * value:{'+' if sign else ''}z.{digits}f}"


def points(value: float | None) -> str:
    r"""Return a difference of shares in points with its sign, which zero does not have.

    Example:
        >>> points(0.215), points(0.0)
        ('+21.5', '0.0')
        >>> points(-0.01) == "\N{MINUS SIGN}1.0"
        True
    """
    text = percent(value, sign=True).replace("-", MINUS)
    return "0.0" if text == "+0.0" else text


def span(ends: Sequence[float], *, sign: bool = False) -> str:
    """Return an interval of shares in percent.

    Example:
        >>> span([0.5, 0.625]), span([-0.01, 0.02], sign=True)
        ('50.0-62.5', '-1.0..+2.0')
    """
    return (".." if sign else "-").join(percent(end, sign=sign) for end in ends)


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with so many decimals, a dash for None."""
    return NOTHING if value is None else f"{value:z.{digits}f}"


def p_value(p: float) -> str:
    """Return a p-value with as many digits as mean something.

    Example:
        >>> p_value(0.04321), p_value(0.00012)
        ('0.043', '<0.001')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"
