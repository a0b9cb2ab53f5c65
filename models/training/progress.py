"""A progress bar with clicks a second, on a terminal; nothing elsewhere."""

from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from models.batching import SessionBatch


def shown(
    batches: Iterator[SessionBatch], total: int, done: int, words: str
) -> Iterator[SessionBatch]:
    """The batches, while a bar says how far they are and how fast.

    Args:
        batches: What is shown.
        total: How many batches there are in all.
        done: How many of them were done before.
        words: What the bar is called.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[rate]} clicks/s"),
        TimeRemainingColumn(),
    )
    clicks = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(words, total=total, completed=done, rate="–")
        for batch in batches:
            yield batch
            clicks += int(batch.real_BT.sum())
            seconds = bar.tasks[task].elapsed or 0.0
            rate = f"{clicks / seconds:,.0f}" if seconds else "–"
            bar.update(task, advance=1, rate=rate)
