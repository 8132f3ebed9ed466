"""Blind votes: kept in one file, counted, and given back as preferences."""

from mmalign.votes.results import Results, results
from mmalign.votes.rounds import CHOICES, Contender, Revealed, Round, Settings
from mmalign.votes.store import Votes

__all__ = ["CHOICES", "Contender", "Results", "Revealed", "Round", "Settings", "Votes", "results"]
