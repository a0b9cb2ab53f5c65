"""Many past tests in one table: which metric predicts a KPI's lift in the next test."""
