"""How often the aligned model beats its base, with intervals and controls, and the report that says so."""
