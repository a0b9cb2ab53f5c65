"""Any logged bandit table: one row per decision, with its propensity and its reward."""
