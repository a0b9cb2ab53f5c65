"""Study folders of the user's own: templates, and the questions of ``paretoscope quickstart``."""
