"""Theory: quadrature and precision errors, their bounds, and advice on number formats that follows from them."""

from mpno.theory.advice import Advice, advise

__all__ = ["Advice", "advise"]
