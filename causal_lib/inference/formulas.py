"""Formulas in observational probabilities: sums, products and quotients, printed as LaTeX.

A name in a formula stands for a value of that variable. A sum binds its names, so that the same
name outside the sum is another value; LaTeX shows the bound one with a prime.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property


class Formula:
    """A probability, or formulas joined by a sum, a product or a quotient.

    >>> adjusted = add_up(["z"], times([Probability(("y",), ("x", "z")), Probability(("z",))]))
    >>> print(adjusted.latex())
    \\sum_{z}{P\\left(y \\mid x, z\\right) P\\left(z\\right)}
    >>> adjusted.free == {"x", "y"}
    True
    """

    @cached_property
    def free(self) -> frozenset[str]:
        """The variables whose values the formula needs."""
        return frozenset().union(*(part.free for part in self._parts()))

    def latex(self) -> str:
        """The formula in LaTeX."""
        return self._latex({name: label(name) for name in self.free})

    def to_dict(self) -> dict:
        """The formula as JSON types.

        ``op`` is 'P' (with ``vars`` and, where there are some, ``knowing``), 'sum' (with ``var``,
        one name, and ``term``), '*' or '/' (with ``op1`` and ``op2``).
        """
        raise NotImplementedError

    def _parts(self) -> tuple["Formula", ...]:
        return ()

    def _latex(self, labels):
        raise NotImplementedError


@dataclass(frozen=True)
class Probability(Formula):
    """P(names | given) in the observational distribution."""

    names: tuple[str, ...]
    given: tuple[str, ...] = ()

    @cached_property
    def free(self):
        """The variables whose values the formula needs."""
        return frozenset(self.names + self.given)

    def to_dict(self):
        """See `Formula.to_dict`."""
        found = {"op": "P", "vars": list(self.names)}
        return found | ({"knowing": list(self.given)} if self.given else {})

    def _latex(self, labels):
        inside = ", ".join(labels[name] for name in self.names)
        if self.given:
            inside += rf" \mid {', '.join(labels[name] for name in self.given)}"
        return rf"P\left({inside}\right)"


@dataclass(frozen=True)
class Product(Formula):
    """The product of ``factors``; 1 where there is none."""

    factors: tuple[Formula, ...]

    def _parts(self):
        return self.factors

    def to_dict(self):
        """See `Formula.to_dict`."""
        *before, found = [factor.to_dict() for factor in self.factors]
        for factor in reversed(before):
            found = {"op": "*", "op1": factor, "op2": found}
        return found

    def _latex(self, labels):
        inside = [factor._latex(labels) for factor in self.factors]
        for position, factor in enumerate(self.factors[:-1]):
            if isinstance(factor, Sum):
                # what follows does not belong to the sum
                inside[position] = rf"\left({inside[position]}\right)"
        return " ".join(inside)


@dataclass(frozen=True)
class Quotient(Formula):
    """``above`` divided by ``below``."""

    above: Formula
    below: Formula

    def _parts(self):
        return self.above, self.below

    def to_dict(self):
        """See `Formula.to_dict`."""
        return {"op": "/", "op1": self.above.to_dict(), "op2": self.below.to_dict()}

    def _latex(self, labels):
        return rf"\frac{{{self.above._latex(labels)}}}{{{self.below._latex(labels)}}}"


@dataclass(frozen=True)
class Sum(Formula):
    """The sum of ``term`` over all values of ``names``."""

    names: tuple[str, ...]
    term: Formula

    @cached_property
    def free(self):
        """The variables whose values the formula needs."""
        return self.term.free - set(self.names)

    def to_dict(self):
        """See `Formula.to_dict`."""
        found = self.term.to_dict()
        for name in reversed(self.names):
            found = {"op": "sum", "var": name, "term": found}
        return found

    def _latex(self, labels):
        bound = {name: labels[name] + "'" if name in labels else label(name) for name in self.names}
        over = ", ".join(bound.values())
        return rf"\sum_{{{over}}}{{{self.term._latex(labels | bound)}}}"


def times(factors: Iterable[Formula]) -> Formula:
    """The product of ``factors``, without a product inside a product."""
    flat = tuple(_flat(factors))
    return flat[0] if len(flat) == 1 else Product(flat)


def _flat(factors) -> Iterator[Formula]:
    for factor in factors:
        yield from factor.factors if isinstance(factor, Product) else [factor]


def add_up(names: Iterable[str], term: Formula) -> Formula:
    """The sum of ``term`` over ``names``; a probability that adds up to 1 is left out."""
    left = list(names)
    if left and isinstance(term, Sum):
        left += term.names
        term = term.term
    factors = list(_flat([term]))
    again = True
    while again:
        again = False
        for factor in factors:
            if not isinstance(factor, Probability) or len(factor.names) != 1:
                continue
            name = factor.names[0]
            others = [other for other in factors if other is not factor]
            if name in left and not any(name in other.free for other in others):
                factors = others
                left.remove(name)
                again = True
                break
    found = times(factors)
    return Sum(tuple(left), found) if left else found


def adjusted(treatment: str, outcome: str, adjustment: Iterable[str]) -> Formula:
    """P(outcome | do(treatment)) by adjustment for a back-door set."""
    adjustment = tuple(adjustment)
    conditional = Probability((outcome,), (treatment, *adjustment))
    if not adjustment:
        return conditional
    return Sum(adjustment, Product((conditional, Probability(adjustment))))


def mediated(treatment: str, outcome: str, mediators: Iterable[str]) -> Formula:
    """P(outcome | do(treatment)) by a front-door set."""
    mediators = tuple(mediators)
    conditional = Probability((outcome,), (*mediators, treatment))
    inner = Sum((treatment,), Product((conditional, Probability((treatment,)))))
    return Sum(mediators, Product((Probability(mediators, (treatment,)), inner)))


_ESCAPED = {"\\": r"\backslash ", "^": r"\hat{\ }", "~": r"\sim "}


def label(name: str) -> str:
    """``name`` in LaTeX's mathematics; letters and digits stand as they are."""
    if name.isalnum():
        return name
    inside = "".join(
        _ESCAPED.get(sign)
        or (r"\ " if sign.isspace() else rf"\{sign}" if sign in "_{}$&#%" else sign)
        for sign in name
    )
    return rf"\mathrm{{{inside}}}"
