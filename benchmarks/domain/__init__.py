"""Parts of ``benchmarks/domain_adaptation.py``."""
