"""A study is verified against the md5s pinned in git, and its network's tables within a tolerance."""

import subprocess
from shutil import copyfile

import polars as pl
import pytest
import yaml

from pipeline.artifacts.release import FROM_DATA, FROM_NETWORK, release, released_folder, verify
from pipeline.artifacts.storage import StudyPaths, md5, read_json, write_json
from pipeline.core.errors import MissingArtifact

RAW = "data/raw/log.jsonl"
STUDY = "data/studies/shop"
METRICS, FRONT, KPIS, ESTIMATES = FROM_NETWORK


def git(folder, *arguments):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, check=True)


def write_study(paths):
    """A finished study of two preferences and two groups."""
    tables = {
        METRICS: {
            "preference_id": ["p00", "p01", "p00", "p01", "p00"],
            "metric": ["recall", "recall", "mrr", "order_density", "click_loss"],
            "segment": ["all"] * 5,
            "value": [0.40, 0.50, None, 0.0, 6.0],
        },
        FRONT: {
            "preference_id": ["p00", "p01"],
            "recall": [0.40, 0.50],
            "order_density": [0.07, 0.06],
        },
        KPIS: {
            "group": ["g1", "g2", "g1"],
            "kpi": ["ctr", "ctr", "cvr"],
            "rate": [0.10, 0.12, None],
            # 10 % of 0.10 are 4 standard errors of the difference of two such rates
            "standard_error": [0.01 / (4 * 2**0.5), 0.01, None],
        },
    }
    for file, columns in tables.items():
        (paths.folder / file).parent.mkdir(parents=True)
        pl.DataFrame(columns).write_parquet(paths.folder / file)
    (paths.folder / ESTIMATES).parent.mkdir()
    write_json(paths.folder / ESTIMATES, [answer("H1", 0.8, 1.2), answer("H2")])
    for file in FROM_DATA:
        (paths.folder / file).parent.mkdir(exist_ok=True)
        (paths.folder / file).write_bytes(file.encode())


def answer(name, *interval):
    """A hypothesis' entry; undefined without an interval."""
    if not interval:
        return {"id": name, "slope": None, "cluster_robust": None}
    return {"id": name, "slope": sum(interval) / 2, "cluster_robust": {"interval": list(interval)}}


def pin(root, *names):
    """Pin files in dvc.lock, as DVC writes it, and commit it."""
    outs = [{"path": name, "hash": "md5", "md5": md5(root / name)} for name in names]
    stages = {"raw_events": {"outs": outs[:1]}, "study": {"deps": outs[:1], "outs": outs[1:]}}
    lock = yaml.safe_dump({"schema": "2.0", "stages": stages})
    (root / "dvc.lock").write_text(lock, encoding="utf-8")
    git(root, "add", "dvc.lock")
    git(root, "commit", "--quiet", "--message", "pins")


@pytest.fixture
def paths(tmp_path):
    """A clone with a finished, pinned and released study."""
    found = StudyPaths(root=tmp_path, name="shop")
    (tmp_path / RAW).parent.mkdir(parents=True)
    (tmp_path / RAW).write_bytes(b"one session\n")
    write_study(found)
    release(found)
    git(tmp_path, "init", "--quiet")
    pin(tmp_path, RAW, *(f"{STUDY}/{file}" for file in (*FROM_DATA, *FROM_NETWORK)))
    return found


def change(paths, file, column, factor, *, row=0):
    """Multiply one value of a table."""
    table = pl.read_parquet(paths.folder / file)
    values = table[column].to_list()
    values[row] *= factor
    table.with_columns(pl.Series(column, values)).write_parquet(paths.folder / file)


def test_the_same_bytes_are_identical(paths):
    found = verify(paths, RAW)

    assert found.passed
    assert found.identical == (RAW, *(f"{STUDY}/{file}" for file in (*FROM_DATA, *FROM_NETWORK)))
    assert (found.different, found.close, found.apart) == ((), (), ())


@pytest.mark.parametrize("name", [RAW, *(f"{STUDY}/{file}" for file in FROM_DATA)])
def test_other_data_is_different_and_fails(paths, name):
    (paths.root / name).write_bytes(b"other\n")

    found = verify(paths, RAW)

    assert not found.passed
    assert (found.different, found.close, found.apart) == ((name,), (), ())


@pytest.mark.parametrize(
    ("file", "column", "words"),
    [
        (METRICS, "value", "p00/recall: value 0.52, released 0.4"),
        (FRONT, "recall", "p00: recall 0.52, released 0.4"),
        (KPIS, "rate", "g1/ctr: rate 0.13, released 0.1"),
    ],
    ids=["metrics", "front", "kpis"],
)
def test_network_tables_are_close_within_their_tolerance_and_apart_beyond(
    paths, file, column, words
):
    original = paths.folder / file
    copyfile(original, paths.root / "original")
    verdicts = {}

    for per_cent in (-30, -11, -9, 5, 9, 11, 30):
        copyfile(paths.root / "original", original)
        change(paths, file, column, 1 + per_cent / 100)
        verdicts[per_cent] = verify(paths, RAW)

    for per_cent, found in verdicts.items():
        assert found.passed == (abs(per_cent) < 10)
        assert found.close == ((f"{STUDY}/{file}",) if found.passed else ())
        assert found.different == ()
    assert verdicts[30].apart[0] == words


def test_order_density_of_the_front_is_compared_too(paths):
    change(paths, FRONT, "order_density", 1.3, row=1)

    (line,) = verify(paths, RAW).apart

    assert line.startswith("p01: order_density 0.078")


def test_losses_are_not_compared(paths):
    change(paths, METRICS, "value", 2, row=4)

    assert verify(paths, RAW).close == (f"{STUDY}/{METRICS}",)


@pytest.mark.parametrize("released", [0.0, None], ids=["zero", "undefined"])
def test_a_value_that_appears_where_none_was_is_apart(paths, released):
    table = pl.read_parquet(paths.folder / METRICS)
    row = table["value"].to_list().index(released)
    values = [0.2 if n == row else value for n, value in enumerate(table["value"])]
    table.with_columns(value=pl.Series(values)).write_parquet(paths.folder / METRICS)

    (line,) = verify(paths, RAW).apart

    assert (
        line
        == f"{'p01/order_density' if released == 0 else 'p00/mrr'}: value 0.2, released {released}"
    )


@pytest.mark.parametrize(
    ("ours", "missing"),
    [
        (lambda table: table[1:], "p00/recall: value None, released 0.4"),
        (
            lambda table: table.vstack(
                table[:1].with_columns(preference_id=pl.lit("p02"), value=pl.lit(0.3))
            ),
            "p02/recall: value 0.3, released None",
        ),
    ],
    ids=["row-gone", "row-new"],
)
def test_a_row_in_one_of_the_tables_only_is_apart_and_named(paths, ours, missing):
    table = pl.read_parquet(paths.folder / METRICS)

    ours(table).write_parquet(paths.folder / METRICS)

    assert verify(paths, RAW).apart == (missing,)


@pytest.mark.parametrize(
    ("answers", "apart"),
    [
        ([answer("H1", 1.1, 1.5), answer("H2")], ()),
        ([answer("H1", 1.2, 1.6), answer("H2")], ()),
        ([answer("H1", 1.3, 1.7), answer("H2")], ("H1: 1.300 to 1.700, released 0.800 to 1.200",)),
        ([answer("H1", 0.3, 0.7), answer("H2")], ("H1: 0.300 to 0.700, released 0.800 to 1.200",)),
        ([answer("H1"), answer("H2")], ("H1: not answered in both",)),
        ([answer("H1", 0.8, 1.3), answer("H2", 0, 1)], ("H2: not answered in both",)),
        ([answer("H2")], ("H1: not answered in both",)),
    ],
    ids=["overlap", "touch", "above", "below", "undefined", "newly-answered", "dropped"],
)
def test_slopes_are_apart_where_their_intervals_do_not_overlap(paths, answers, apart):
    write_json(paths.folder / ESTIMATES, answers)

    found = verify(paths, RAW)

    assert found.apart == apart
    assert found.passed == (not apart)


def test_a_lock_rewritten_by_this_machine_does_not_count(paths):
    (paths.folder / FROM_DATA[0]).write_bytes(b"other\n")
    lock = paths.root / "dvc.lock"
    lock.write_text(lock.read_text("utf-8").replace(md5(paths.root / RAW), "0" * 32), "utf-8")
    git(paths.root, "add", "dvc.lock")

    assert verify(paths, RAW).different == (f"{STUDY}/{FROM_DATA[0]}",)


def test_a_file_that_is_not_there_names_the_command_that_makes_it(paths):
    (paths.folder / METRICS).unlink()

    with pytest.raises(MissingArtifact, match=r"offline_metrics\.parquet is missing.* make study"):
        verify(paths, RAW)


def test_without_a_committed_lock_there_is_nothing_to_compare_with(paths):
    git(paths.root, "rm", "--quiet", "--cached", "dvc.lock")
    git(paths.root, "commit", "--quiet", "--message", "no pins")

    with pytest.raises(MissingArtifact, match=r"no committed dvc\.lock .* in a clone"):
        verify(paths, RAW)


def test_a_file_without_a_pin_names_the_command_that_pins_it(paths):
    pin(paths.root, RAW)

    with pytest.raises(MissingArtifact, match=r"sessions\.parquet is not pinned .* 'dvc repro'"):
        verify(paths, RAW)


def test_a_table_that_differs_needs_a_released_one(paths):
    (released_folder(paths) / "group_kpis.parquet").unlink()
    assert verify(paths, RAW).passed  # identical to the pin: there is nothing to compare

    change(paths, KPIS, "rate", 1.01)

    with pytest.raises(MissingArtifact, match=r"no released group_kpis\.parquet .* make release"):
        verify(paths, RAW)


def test_release_copies_the_tables_of_the_network(paths):
    write_json(paths.folder / ESTIMATES, [answer("H1", 2, 3)])

    folder = release(paths)

    assert folder == paths.root / "data/released/shop"
    assert {file.name: md5(file) for file in folder.iterdir()} == {
        file.split("/")[1]: md5(paths.folder / file) for file in FROM_NETWORK
    }
    assert read_json(folder / "regression_estimates.json") == [answer("H1", 2, 3)]


def test_release_of_an_unfinished_study_names_the_command_that_goes_on(paths):
    (paths.folder / KPIS).unlink()

    with pytest.raises(MissingArtifact, match="dagster asset materialize --select group_kpis"):
        release(paths)


def test_a_collapsed_front_is_apart_though_every_point_is_close(paths):
    before = pl.read_parquet(paths.folder / FRONT)
    flat = before.with_columns(recall=pl.Series([0.43, 0.46]))
    flat.write_parquet(paths.folder / FRONT)

    found = verify(paths, RAW)

    # 0.46 / 0.43 - 1 = 7.0 %, released 0.50 / 0.40 - 1 = 25 %
    assert found.apart == ("the front spans 7.0% in recall, released 25.0%",)
