from .asking import Proposal, Proposals, descriptions, propose
from .language_models import Endpoint, LocalModel, ProposalError, Refused, Reply, parse

__all__ = [
    "Endpoint",
    "LocalModel",
    "Proposal",
    "ProposalError",
    "Proposals",
    "Refused",
    "Reply",
    "descriptions",
    "parse",
    "propose",
]
