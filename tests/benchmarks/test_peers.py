"""What makes ``benchmarks/peers.py`` a fair comparison, and the neighbours that it has itself."""

import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from models.batching import ordered_batches
from models.scoring.target_scores import target_places
from models.tokens import SessionTokens

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def room(monkeypatch):
    """A module of the benchmark, by its name in ``equal_search``."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: importlib.import_module(f"equal_search.{name}")


def tokens_of(*sessions):
    return SessionTokens.from_lists([[(item, 0) for item in session] for session in sessions])


TRAIN = tokens_of([0, 1, 2], [0, 1], [1, 3], [3, 3, 2])


def test_item_knn_divides_common_sessions_by_shrunk_supports(room):
    # sessions with each item: 2, 3, 2, 2; with both 0 and 1: 2
    method = room("neighbours").ItemKNN.fit(TRAIN, 4, k=2, shrinkage=1.0)

    scores = method.scores([np.array([3, 0]), np.array([1])]).toarray()

    together = {(0, 1): 2, (0, 2): 1, (1, 2): 1, (1, 3): 1}
    shrunk = np.sqrt([3, 4, 3, 3])
    value = {pair: n / (shrunk[pair[0]] * shrunk[pair[1]]) for pair, n in together.items()}
    np.testing.assert_allclose(scores[0], [0, value[0, 1], value[0, 2], 0], rtol=1e-6)
    # 1 has three neighbours, of which two are kept: 0 and one of the equal 2 and 3
    assert scores[1, 0] == pytest.approx(value[0, 1])
    assert sorted(scores[1, 2:]) == pytest.approx([0, value[1, 3]])


def test_vsknn_weighs_late_clicks_and_counts_similar_sessions(room):
    method = room("neighbours").VSKNN.fit(TRAIN, 4, k=2, sample=4)

    scores = method.scores([np.array([0, 3])]).toarray()

    # weights 1/2 and 1: the sessions have similarities .5, .5, 1, 1; the last two are the nearest
    np.testing.assert_allclose(scores[0], [0, 1, 1, 2])


def test_neighbours_leave_the_log_as_it_is(room):
    tokens = tokens_of([2, 1, 2, 0])

    matrix = room("neighbours").clicked(tokens, 4)

    assert matrix.toarray().tolist() == [[1, 1, 1, 0]]
    assert tokens.items.tolist() == [2, 1, 2, 0]


def test_vsknn_considers_recent_sessions_only(room):
    method = room("neighbours").VSKNN.fit(TRAIN, 4, k=4, sample=2)

    scores = method.scores([np.array([0, 1])]).toarray()

    # of the sessions with 0 or 1, the third (similarity 1) and the second (1/2 + 1) are the latest
    np.testing.assert_allclose(scores[0], [1.5, 2.5, 0, 1])


def test_peers_and_we_have_the_same_targets_in_the_same_order(room, tmp_path):
    long = np.random.default_rng(0).integers(0, 9, 80).tolist()
    tokens = tokens_of([1, 2], long, [4, 4, 5])
    cut = room("logs").last_clicks(tokens, room("logs").WINDOW)
    np.savez(
        tmp_path / "log.npz",
        test_items=cut.items, test_ordered=cut.ordered, test_offsets=cut.offsets,
    )  # fmt: skip

    theirs = room("children.protocol").Sessions.read(tmp_path / "log.npz", "test")

    assert cut.lengths.tolist() == [2, 51, 3]
    assert theirs.targets().tolist() == room("ranks").targets_of(cut).tolist()
    assert theirs.targets().tolist() == [2, *long[-50:], 4, 5]
    assert [len(prefix) for prefix in theirs.prefixes()] == [1, *range(1, 51), 1, 2]
    assert theirs.prefixes() == [one.tolist() for one in room("ranks").prefixes_of(cut)]
    (batch,) = ordered_batches(cut, batch_size=8, max_length=50)
    session, history = target_places(cut, batch)
    ours = batch.targets_BT[batch.real_BT].numpy()[np.lexsort([history, session])]
    assert ours.tolist() == theirs.targets().tolist()


def test_scores_and_vectors_have_the_same_ranks_with_ties_at_half(room):
    scores_PI = torch.tensor([[3.0, 1, 3, 3, 0], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]])
    targets = np.array([2, 4, 0])

    blocks = room("ranks").ranks_of_scores([scores_PI[:2], scores_PI[2:]], targets)
    vectors = room("ranks").ranks_of_vectors(scores_PI, torch.eye(5), targets)

    assert blocks.tolist() == vectors.tolist() == [2, 3, 5]


def test_recall_is_told_apart_for_repeated_clicks(room):
    tokens = tokens_of([1, 2, 1, 3], [4, 4])
    rank_P = np.array([1, 4, 30, 10])  # of 2, 1 again, 3 and 4 again

    found = room("ranks").Accuracy.of(rank_P, tokens)

    assert found == room("ranks").Accuracy(0.75, (1 + 1 / 4 + 1 / 10) / 4, repeats=1.0, others=0.5)
    assert room("ranks").Accuracy.of(rank_P[:1], tokens_of([1, 2])).repeats is None


def test_training_ends_when_the_time_is_up_and_keeps_the_best_validated_state(room):
    now, weight = [0.0], torch.zeros(1)
    recalls = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.1])

    def validate():
        now[0] += 1  # a validation takes time, which counts
        return next(recalls)

    budget = room("children.protocol").Budget(
        60, validate, lambda: {"weight": weight}, clock=lambda: now[0]
    )
    budget.start()
    is_over = False
    while not is_over:
        now[0] += 3
        weight += 1
        is_over = budget.is_spent()

    assert 60 <= budget.used < 65
    assert budget.steps == weight.item() == 19  # of 3 each, with 6 validations of 1
    assert list(recalls) == []
    assert budget.best_recall == 0.5
    assert budget.best["weight"].item() == 7  # the state at the second validation


def accuracy(room, validation, test):
    ranks = room("ranks")
    return room("runs").Result(
        validation=ranks.Accuracy(validation, 0.0), test=ranks.Accuracy(test, 0.0), seconds=1.0
    )


def test_validation_chooses_and_every_program_has_as_many_runs(room):
    search, programs = room("search"), room("programs").PROGRAMS
    done = []

    def get(run):
        done.append(run)
        rate = run.setting.get("learning_rate", run.setting.get("k"))
        return accuracy(room, validation=-rate, test=rate)

    names = ["ours, click endpoint", "SASRec", "GRU4Rec", "item-kNN"]
    budget = search.Budget(seconds=7.0, seeds=3, overrides={"training.click_loss": "gbce"})
    with ThreadPoolExecutor(2) as pool:
        found = search.search("jdata", names, budget, get, pool)

    for name in names[:3]:
        rates = [one["learning_rate"] for one in programs[name].searched]
        assert len(set(rates)) == 4
        assert found[name].chosen.setting["learning_rate"] == min(rates)  # the worst on test
        assert [one.test.recall for one in found[name].results] == [min(rates)] * 3
        seeds = {run.seed for run in done if run.program == name}
        assert seeds == {0, 1, 2}
    assert {run.seconds for run in done if run.program != "item-kNN"} == {7.0}
    changed = {run.program for run in done if "training.click_loss" in run.setting}
    assert changed == {"ours, click endpoint"}
    assert len(programs["item-kNN"].searched) == 4


def test_finished_runs_are_kept_and_an_unfinished_line_is_run_again(room, tmp_path):
    runs, file = room("runs"), tmp_path / "runs.jsonl"
    first, second = (
        runs.Run(
            log="jdata", program="SASRec", setting={"learning_rate": 0.1}, seed=seed, seconds=1
        )
        for seed in (0, 1)
    )
    store = runs.Store(file)
    store.get(first, lambda _: accuracy(room, 0.1, 0.2))
    store.get(second, lambda _: accuracy(room, 0.3, 0.4))
    file.write_text(file.read_text("utf-8")[:-10], encoding="utf-8")

    again = runs.Store(file)

    assert again.get(first, pytest.fail) == accuracy(room, 0.1, 0.2)
    assert again.get(second, lambda _: accuracy(room, 0.5, 0.6)).test.recall == 0.6
    assert runs.Store(file).find(second) == accuracy(room, 0.5, 0.6)


def test_every_click_has_a_state_also_beyond_the_window(room):
    windows = room("children.multitron_peer").windows

    found = windows([1, 2, 3, 4, 5], 3)

    assert found == [([1, 2, 3], 0), ([2, 3, 4], 2), ([3, 4, 5], 2)]
    assert windows([1, 2], 3) == [([1, 2], 0)]


def found_of(room, program, recalls):
    results = [accuracy(room, 0.0, recall) for recall in recalls]
    run = room("runs").Run(
        log="jdata", program=program, setting={"learning_rate": 0.1}, seed=0, seconds=1
    )
    return room("search").Found([(run, results[0])], run, results)


@pytest.mark.parametrize(
    ("ours", "answer"), [([0.40, 0.41, 0.42], "held"), ([0.36, 0.37, 0.38], "not held")]
)
def test_the_verdict_is_computed_from_the_difference_to_the_best_peer(room, ours, answer):
    programs = {
        "ours, click endpoint": found_of(room, "ours, click endpoint", ours),
        "SASRec": found_of(room, "SASRec", [0.40, 0.41, 0.42]),
        "item-kNN": found_of(room, "item-kNN", [0.3]),
    }

    lines = room("report").verdict(dict.fromkeys(("a", "b", "c", "d"), programs))

    assert f"**{answer}**" in lines[-2]
    assert "SASRec" in lines[4]
    error = (2 * 0.01**2 / 3) ** 0.5
    assert f"({(np.mean(ours) - 0.41) / error:+.1f} SE)" in lines[4]
