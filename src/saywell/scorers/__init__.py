"""How well descriptions hold: retrieval, consistency, intervals and controls."""
