"""Bradley-Terry strengths from a table of wins."""

import numpy as np

ELO = 400 / np.log(10)
"""Points of Elo's scale for one unit of log-odds."""
HALF = 0.5
"""Wins that each side of a played pair gets beforehand, so that a model that never lost has a strength (a Jeffreys-type prior)."""


def strengths(wins: np.ndarray, steps: int = 10_000, tolerance: float = 1e-9) -> np.ndarray | None:
    """Strengths (M,) in points with mean 0, from ``wins`` (M, M): how often row was preferred to column, ties half to each.

    The minorization-maximization of Hunter (2004, Annals of Statistics 32), equation 3. None where some models were never compared, not
    even through others, so that no common scale is there.
    """
    played = wins + wins.T > 0
    if not _connected(played):
        return None
    wins = wins + HALF * played
    games, won = wins + wins.T, wins.sum(1)
    power = np.ones(len(wins))
    for _ in range(steps):
        new = won / (games / (power[:, None] + power[None])).sum(1)
        new /= np.exp(np.log(new).mean())
        done = np.abs(np.log(new / power)).max() < tolerance
        power = new
        if done:
            break
    return ELO * np.log(power)


def _connected(played: np.ndarray) -> bool:
    reached = np.zeros(len(played), dtype=bool)
    reached[0] = True
    for _ in range(len(played)):
        reached |= played[reached].any(0)
    return bool(reached.all())
