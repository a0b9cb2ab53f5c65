"""What the product claims, against the truth of simulated worlds.

Every claim is a function of the number of worlds that calls the product's own estimators, on arrays of
worlds where those take arrays.
"""
