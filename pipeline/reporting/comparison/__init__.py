"""Two or more studies on one page: ``paretoscope compare``."""
