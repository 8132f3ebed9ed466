"""A look at preference data before anything is trained on it: what it is, how much of it, and what is wrong with it."""

from mmalign.data.inspection.look import inspect
from mmalign.data.inspection.record import Inspection
from mmalign.data.inspection.responses import ResponseInspection, inspect_responses

__all__ = ["Inspection", "ResponseInspection", "inspect", "inspect_responses"]
