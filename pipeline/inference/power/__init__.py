"""What an experiment can detect before it runs."""
