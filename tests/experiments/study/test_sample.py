import pandas as pd

from causal_lib.experiments.study import sample


def test_the_committed_sample_is_what_the_script_makes(tmp_path):
    sample.write(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes() == (sample.FOLDER / path.name).read_bytes(), path.name


def test_the_truth_belongs_to_the_rows_of_the_log():
    log = pd.read_csv(sample.FOLDER / "own_log.csv").drop_duplicates()
    truth = pd.read_csv(sample.FOLDER / "own_log_truth.csv")
    keys = ["user", "item", "time"]
    assert len(log) == len(truth)
    assert len(log.merge(truth, on=keys)) == len(truth)
    assert "uplift" not in log
