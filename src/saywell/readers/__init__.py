"""Who checks: readers predict how a unit responds to examples from its description alone."""
