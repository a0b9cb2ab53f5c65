"""``paretoscope doctor``: finds what prevents a study from running, and prints fixes."""
