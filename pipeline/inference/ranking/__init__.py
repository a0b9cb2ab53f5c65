"""Which of the measured metrics a KPI follows: calibrated chances, and metrics not told apart."""
