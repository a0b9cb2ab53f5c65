"""Metrics and KPIs as the explorer writes them: their own names, readable."""

_ABBREVIATIONS = {"mrr", "ndcg", "ctr", "cvr"}


def metric_name(metric: str, cutoff: int | None) -> str:
    """``order_density`` at 20 as ``Order density@20``; a further cutoff is in the name already."""
    name, _, further = metric.partition("@")
    k = further or cutoff
    return f"{kpi_name(name)}@{k}" if k else kpi_name(name)


def kpi_name(kpi: str) -> str:
    """``units_per_exposure`` as ``Units per exposure``, ``ctr`` as ``CTR``."""
    words = kpi.split("_")
    words = [word.upper() if word in _ABBREVIATIONS else word for word in words]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def in_sentence(name: str) -> str:
    """A name inside a sentence: ``sale rate``, but ``CTR``."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]
