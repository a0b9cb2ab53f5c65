"""Users who answer, for those who have no live traffic yet."""
