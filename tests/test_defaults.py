"""What functions do when nothing is said: a default is part of every number that was made by it, so
to change one is a decision.
"""

import importlib
import inspect

import pytest

DEFAULTS = {
    ("evaluation.predictions", "evaluate"): {"threshold": 0.5, "k": 10, "n_boot": 200, "seed": 0},
    ("evaluation.predictions", "calibration_table"): {"bins": 10, "n_boot": 200, "seed": 0},
    ("explanation", "permutation_importance"): {"n_repeats": 10, "seed": 0},
    ("explanation", "integrated_gradients"): {"steps": 100},
    ("explanation", "edge_importance"): {"steps": 50},
    ("explanation", "explain"): {"exposure": "exposed", "outcome": "clicked", "like": 3, "seed": 0},
    ("features", "purchase_history"): {"outcome": "purchased"},
    ("features", "sequences"): {"length": 10, "dtype": "float32"},
    ("features", "log_mel"): {"bands": 20, "window": 256, "hop": 128, "floor": 1e-06},
    ("features", "importance"): {
        "method": "permutation",
        "n_repeats": 10,
        "max_rows": 20000,
        "seed": 0,
    },
    ("features", "select_features"): {"outcome": "purchased", "treatment": "exposed", "seed": 0},
    ("graph", "CausalGraph.to_pyagrum"): {"levels": 2},
    ("checks", "check_codes"): {"low": 0},
    ("evaluation.rankings", "evaluate_ranking"): {"n_boot": 500, "seed": 0},
    ("evaluation.rankings", "compare"): {"n_draws": 2000, "seed": 0},
    ("discovery.engines.additive", "search"): {"penalty": 2.0},
    ("discovery.auditing", "Audit.raise_errors"): {"name": "frame"},
    ("discovery.auditing", "audit"): {
        "missing": "raise",
        "moments": True,
        "near": 0.0001,
        "rare": 5,
        "strict": False,
    },
    ("discovery.engines.dagma", "acyclicity"): {"s": 1.0},
    ("discovery.search", "discover"): {"method": "order", "seed": 0},
    ("discovery.search", "without_cycles"): {"mark": 1},
    ("discovery.encoding", "encode"): {"standardise": True},
    ("discovery.engines.graph_network", "fit"): {
        "hidden": 6,
        "steps": 1000,
        "gain": 8.0,
        "seed": 0,
    },
    ("discovery.engines.order_search", "order_search"): {"seed": 0, "penalty": 2.0, "restarts": 50},
    ("discovery.score", "gaussian_bic"): {"penalty": 2.0},
    ("discovery.score", "bic"): {"penalty": 2.0},
    ("discovery.sortability", "sort_and_regress"): {"by": "r2", "seed": 0},
    ("discovery.stability", "Stability.graph"): {"threshold": 0.5},
    ("discovery.bootstrap", "edge_stability"): {
        "method": "order",
        "seed": 0,
        "sampling": "bootstrap",
        "n_jobs": 1,
        "progress": True,
    },
    ("discovery.stability", "calibration"): {"bins": 10},
    ("discovery.statistics", "Statistics.from_frame"): {"missing": "raise", "n_boot": 0, "seed": 0},
    ("discovery.statistics", "Statistics.from_parquet"): {
        "missing": "raise",
        "n_boot": 0,
        "seed": 0,
        "batch_rows": 131072,
    },
    ("discovery.statistics", "Statistics.from_sql"): {
        "missing": "raise",
        "n_boot": 0,
        "seed": 0,
        "chunk_rows": 100000,
    },
    ("discovery.engines.pretrained.discoverer", "EdgeProbabilities.graph"): {"threshold": 0.4},
    ("discovery.engines.pretrained.discoverer", "edge_probabilities"): {"seed": 0, "repeats": 4},
    ("discovery.engines.pretrained.familiarity", "fit"): {"kept": 1500},
    ("discovery.engines.pretrained.familiarity", "distance"): {"leave_out": False},
    ("discovery.engines.pretrained.features", "describe"): {"seed": 0},
    ("discovery.engines.pretrained.network", "PairNetwork"): {
        "hidden": 64,
        "layers": 4,
        "width": 16,
        "dropout": 0.05,
        "forget": 0.1,
        "messages": True,
        "triangles": True,
    },
    ("models.dnn", "build_model"): {"dtype": "float32", "seed": 0},
    ("models.dnn", "build_embedding_model"): {
        "dim": 16,
        "l2": 0.0001,
        "dtype": "float32",
        "seed": 0,
    },
    ("models.dnn", "build_sequence_model"): {
        "filters": 32,
        "width": 3,
        "dtype": "float32",
        "seed": 0,
    },
    ("models.dnn", "build_image_model"): {
        "n_outputs": 1,
        "filters": 8,
        "dim": 16,
        "dtype": "float32",
        "seed": 0,
    },
    ("models.dnn", "train_model"): {
        "epochs": 100,
        "batch_size": 1024,
        "learning_rate": 0.001,
        "patience": 10,
        "seed": 0,
        "verbose": True,
    },
    ("models.dnn", "predict"): {"batch_size": 8192},
    ("models.dnn", "embed"): {"layer": "embedding", "batch_size": 8192},
    ("models.factors", "Factors"): {"mean": 0.0, "levels": True},
    ("models.training", "fit"): {
        "epochs": 100,
        "batch_size": 2048,
        "learning_rate": 0.02,
        "patience": 20,
        "seed": 0,
        "progress": True,
        "verbose": False,
    },
    ("models.gnn", "convert_to_graph"): {"edge": "purchased", "dtype": "float32"},
    ("models.gnn", "EdgePredictor"): {"kind": "gcn"},
    ("models.gnn", "train_gnn"): {
        "outcome": "purchased",
        "kind": "gcn",
        "hidden": 32,
        "epochs": 300,
        "learning_rate": 0.01,
        "patience": 20,
        "batch_size": 4096,
        "seed": 0,
        "verbose": True,
    },
    ("models.graph_recommender", "GraphFactors"): {"kind": "lightgcn", "layers": 2},
    ("models.interactions", "Interactions.of"): {"value": "rating", "name": "ratings"},
    ("models.interactions", "hold_out"): {"share": 0.2, "by": "timestamp", "seed": 0},
    ("models.propensity", "by_popularity"): {"power": 0.5},
    ("models.propensity", "by_features"): {"c": 1.0, "seed": 0},
    ("models.propensity", "effective_sample_size"): {"clip": 0.0},
    ("models.propensity", "calibration"): {"bins": 10},
    ("models.recommender", "train_recommender"): {"seed": 0},
    ("worlds.product_catalogue", "catalogue"): {
        "n": 4000,
        "seed": 0,
        "visible_in": "text",
        "selection": 0.8,
    },
    ("worlds.opinions", "forum"): {
        "n_users": 5000,
        "n_topics": 40,
        "days": 120,
        "seed": 0,
        "selection": 1.0,
        "shock": 1.0,
    },
    ("worlds.credit", "LoanWorld.if_approved"): {"outcome": "risk"},
    ("worlds.credit", "LoanWorld.counterfactual"): {"seen": False, "lived": False},
    ("worlds.credit", "loans"): {"n": 20000, "seed": 0, "n_officers": 40, "appetite": 1.0},
    ("data.packages", "fetch"): {"progress": True},
    ("data.preprocess", "preprocess_data"): {
        "outcome": "purchased",
        "split": "time",
        "validation": 0.2,
        "test": 0.2,
        "impute": "median",
        "seed": 0,
    },
    ("worlds.ratings", "semi_synthetic"): {
        "rank": 20,
        "alpha": 0.25,
        "observed": 0.05,
        "randomised": 10,
        "seed": 0,
    },
    ("checks", "check_frame"): {"name": "frame", "complete": False, "varying": False},
    ("checks", "check_range"): {"open_low": False},
    ("worlds.random_models", "random_dag"): {"kind": "er", "degree": 2.0, "tiers": 4, "seed": 0},
    ("worlds.random_models", "simulate"): {
        "mechanism": "linear",
        "noise": "gaussian",
        "hidden": 0,
        "weights": (0.5, 2.0),
        "variances": (1.0, 1.0),
        "seed": 0,
    },
    ("worlds.random_models", "sample_network"): {"seed": 0},
    ("data.store", "Store.load"): {"replace": False},
    ("data.store", "Store.load_world"): {"replace": False},
    ("data.store", "Store.read"): {"chunk_rows": 50000},
    ("worlds.traffic", "city"): {"n_junctions": 60, "days": 14, "seed": 0},
    ("worlds.online_shop", "Shop.raw"): {"duplicates": 0.01, "missing": 0.05},
    ("worlds.online_shop", "Shop.potential_outcomes"): {"position": 1},
    ("worlds.online_shop", "shop"): {
        "n_users": 2000,
        "n_items": 200,
        "days": 14,
        "seed": 0,
        "slate": 10,
        "taste": "by_age",
        "price_factor": 1.0,
    },
    ("worlds.online_shop", "Shop.resimulate"): {"seed": 0},
}
"""Module and function -> defaults that are numbers, words, yes or no."""


def _said(default):
    return isinstance(default, int | float | str) or (
        isinstance(default, tuple) and default and isinstance(default[0], float)
    )


@pytest.mark.parametrize(("module", "name"), DEFAULTS)
def test_defaults(module, name):
    found = importlib.import_module(f"causal_lib.{module}")
    for part in name.split("."):
        found = getattr(found, part)
    defaults = {one: known.default for one, known in inspect.signature(found).parameters.items()}
    assert {one: default for one, default in defaults.items() if _said(default)} == DEFAULTS[
        module, name
    ]
