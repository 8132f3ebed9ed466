"""How the embedded models were trained from scratch; ``mmalign.shapes.build`` runs it."""
