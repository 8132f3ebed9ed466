"""RRPO's preferences from questions about films (Sarkar and Etemad 2025, arXiv:2504.12083).

``mine`` makes them in memory: films spoiled, the model's answers, the wrong ones, and the phrases in which they differ from the right ones.
"""

from mmalign.factory.rrpo.mining import Helpers, Mined, Miner, Mining, mine

__all__ = ["Helpers", "Mined", "Miner", "Mining", "mine"]
