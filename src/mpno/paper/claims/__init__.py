"""The paper's claims, each with the records and the rule that judge it, and what may be said of it here."""

from mpno.paper.claims.evaluate import evaluate_claims
from mpno.paper.claims.exports import write_claims
from mpno.paper.claims.model import load_claims

__all__ = ["evaluate_claims", "load_claims", "write_claims"]
