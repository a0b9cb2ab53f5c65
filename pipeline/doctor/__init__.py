"""What stands in the way of a study, and what to do about it: ``paretoscope doctor``."""
