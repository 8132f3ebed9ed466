"""MIA-DPO's preferences from questions about one picture (Liu et al. 2024, arXiv:2410.17637).

``mine`` makes them in memory: prompts with several pictures, the model's own answers, and those kept that looked elsewhere.
"""

from mmalign.factory.mia.mining import Mined, Miner, Mining, mine

__all__ = ["Mined", "Miner", "Mining", "mine"]
