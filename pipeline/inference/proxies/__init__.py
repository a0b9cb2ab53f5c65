"""What metrics are worth as proxies of a KPI: portfolio, launch rules, the next test."""
