"""The command ``causal-lib``; heavy modules are imported by the sub-command that needs them: --help
is quick.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from causal_lib import paths

_OF_THE_CHECKOUT = (
    "run",
    "sweep",
    "report",
    "book",
    "bench",
    "reproduce",
    "pretrain",
)  # commands that read or write what is not in the package


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 something failed, 2 the request itself
    is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="causal-lib", description="Causal learning in recommender systems."
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    run = commands.add_parser("run", help="execute notebooks, write reports/runs/<run-id>")
    run.add_argument(
        "numbers", nargs="*", metavar="NN", help="notebooks by number; all when left out"
    )
    given = {
        "action": "append",
        "default": [],
        "metavar": "name=value",
        "help": "a parameter; may be repeated",
    }
    run.add_argument("-p", dest="given", **given)
    profile = "full: the article's sizes, of notebooks/full.yaml"
    run.add_argument("--profile", choices=["quick", "full"], default="quick", help=profile)
    run.add_argument(
        "--jobs", type=int, default=1, metavar="K", help="notebooks at a time (default 1)"
    )
    run.add_argument(
        "--resume",
        action="store_true",
        help="finish the newest unfinished run with the same parameters",
    )
    run.add_argument(
        "--in-place", action="store_true", help="write the outputs back into notebooks/"
    )

    sweep = commands.add_parser(
        "sweep", help="execute one notebook at many parameters, into one table and one figure"
    )
    sweep.add_argument("number", metavar="NN", help="notebook by number")
    values = given | {"metavar": "name=a,b", "help": "values of a parameter; 0:20 is 0 to 19"}
    sweep.add_argument("-p", dest="given", **values)
    sweep.add_argument(
        "--jobs", type=int, default=1, metavar="K", help="points at a time (default 1)"
    )
    sweep.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: one in reports/runs for the grid"
    )

    data = commands.add_parser("data", help="real data: list, fetch, check")
    data.add_argument("action", choices=["list", "fetch", "check"])
    data.add_argument("names", nargs="*", metavar="NAME", help="data sets; all when left out")

    commands.add_parser(
        "report", help="make the generated blocks of the READMEs and of the pages in reports anew"
    )

    book = commands.add_parser(
        "book", help="make the offline site of all notebooks, in English and Chinese"
    )
    book.add_argument(
        "--output", type=Path, metavar="DIR", help="replaced whole; default: reports/book"
    )

    bench = commands.add_parser(
        "bench", help="measure speed and memory into reports/benchmarks/NAME.json"
    )
    bench.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="benchmarks, e.g. discovery or discovery.speed; they are listed when left out",
    )
    bench.add_argument("--all", action="store_true", help="all of them, which takes hours")

    reproduce = commands.add_parser(
        "reproduce",
        help="run experiments of papers anew and keep ours beside theirs in "
        "reports/reproductions.toml",
    )
    reproduce.add_argument(
        "names", nargs="*", metavar="NAME", help="experiments; all when left out (an hour)"
    )
    reproduce.add_argument(
        "--jobs", type=int, default=2, metavar="K", help="processes at a time (default 2)"
    )

    study = commands.add_parser(
        "study", help="from a log of your own to an effect, a rule and one report"
    )
    study.add_argument(
        "log",
        metavar="LOG",
        help="CSV, Parquet (file or folder), Arrow, file.sqlite#table, file.duckdb#table, a SELECT "
        "or table:name at CAUSAL_LIB_DB",
    )
    study.add_argument("--roles", type=Path, metavar="FILE", help="default: roles.toml")
    study.add_argument(
        "--guess",
        action="store_true",
        help="write a first roles file from names and values, to be checked by you",
    )
    study.add_argument("--graph", type=Path, metavar="FILE", help="graph.toml of an earlier run")
    study.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: study-<name of the log>"
    )
    study.add_argument("--language", choices=["en", "zh"], default="en", help="of the report")
    study.add_argument("-p", dest="given", **given)

    explore = commands.add_parser(
        "explore", help="turn the answers of a finished study over, in a page on this machine"
    )
    explore.add_argument("folder", metavar="STUDY", help="folder of a study, or one above it")
    explore.add_argument("--port", type=int, default=0, metavar="N", help="default: a free one")
    explore.add_argument(
        "--no-browser", action="store_true", help="only print the address, open nothing"
    )
    explore.add_argument("--language", choices=["en", "zh"], default="en", help="to begin with")

    pretrain = commands.add_parser(
        "pretrain", help="make the weights of pretrained networks anew (an hour on 2 cores)"
    )
    pretrain.add_argument(
        "what",
        nargs="?",
        choices=["discovery", "effects"],
        default="discovery",
        help="the networks of discover(method='pretrained') or of the learner 'pretrained'",
    )
    pretrain.add_argument(
        "--quick", action="store_true", help="all of it in two minutes; the weights are of no use"
    )
    pretrain.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of examples and networks (default 0)"
    )
    pretrain.add_argument(
        "--jobs", type=int, default=2, metavar="K", help="processes at a time (default 2)"
    )
    pretrain.add_argument(
        "--output", type=Path, metavar="FILE", help="default: the package's file; quick: data/cache"
    )

    options = parser.parse_args(arguments)
    if options.version:
        from importlib.metadata import version

        print(f"causal-lib {version('causal-lib')}")
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    if options.command in _OF_THE_CHECKOUT and not paths.is_checkout():
        what = "needs a checkout of the repository, with its notebooks and reports"
        return _fail(
            f"`{options.command}` {what}: name its folder in the environment variable "
            "CAUSAL_LIB_ROOT",
            2,
        )
    verbs = {
        "run": _run,
        "sweep": _sweep,
        "data": _data,
        "report": _report,
        "book": _book,
        "bench": _bench,
        "reproduce": _reproduce,
        "pretrain": _pretrain,
        "study": _study,
        "explore": _explore,
    }
    return verbs[options.command](options)


def _run(options):
    from causal_lib.tooling.runner import UsageError, run, summary

    try:
        given = _named(options.given, UsageError)
        chosen = {
            name: getattr(options, name) for name in ("profile", "jobs", "resume", "in_place")
        }
        folder = run(options.numbers, given, **chosen)
    except UsageError as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        return _fail("interrupted; finish it with the same command and --resume", 130)
    text, good = summary(folder)
    print(text)
    return 0 if good else 1


def _sweep(options):
    from causal_lib.tooling.notebooks import UsageError
    from causal_lib.tooling.sweep import sweep

    try:
        given = _named(options.given, UsageError)
        found = sweep(options.number, given, jobs=options.jobs, out=options.out)
    except UsageError as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on with the points that are left", 130)
    failed = found.points[found.points["status"] != "ok"]
    print(f"{len(found.points) - len(failed)} of {len(found.points)} points ended well")
    for point in failed.to_dict("records"):
        at = " ".join(f"{name}={point[name]}" for name in given)
        print(f"failed: {at}: {point['error']} ({point['folder']})")
    print(f"look at {os.path.relpath(found.folder)}: points.csv, metrics.csv, sweep.png")
    return 1 if len(failed) else 0


def _named(texts, error):
    """Name -> value of the texts of -p; ``error`` for one that is no pair, or one given twice."""
    given = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            # the text itself may be a secret in the wrong place
            raise error("-p takes name=value")
        if name in given:
            raise error(f"parameter {name!r} is given twice")
        given[name] = value
    return given


def _study(options):
    from causal_lib.studies.errors import LogError

    path = options.roles or Path("roles.toml")
    try:
        given = _named(options.given, LogError)
        if options.guess:
            return _guess(options.log, path, given)
        from causal_lib.studies.run import Settings, study

        settings = vars(Settings.from_text(given))
        folder = options.out or Path(f"study-{_stem(options.log)}")
        found = study(
            options.log,
            path,
            graph=options.graph,
            folder=folder,
            language=options.language,
            **settings,
        )
    except LogError as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on after the last step", 130)
    print("\n".join(found.conclusion(options.language)))
    print(f"report: {os.path.relpath(folder / 'report.html')}")
    return 0


def _explore(options):
    import secrets
    import webbrowser

    from causal_lib.studies.errors import LogError
    from causal_lib.studies.explorer import explorer_page, make_server, read_study

    nonce = secrets.token_urlsafe(16)
    try:
        page = explorer_page(read_study(options.folder), language=options.language, nonce=nonce)
        server, address = make_server(page, port=options.port, nonce=nonce)
    except LogError as error:
        return _fail(error, 2)
    with server:
        print(f"{address}\nCtrl-C ends it", flush=True)
        if not options.no_browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def _guess(log, path, given):
    from causal_lib.studies.errors import LogError
    from causal_lib.studies.guess import guess_roles
    from causal_lib.studies.reading import read_log

    if path.exists():
        raise LogError(f"{path} is there already; move it, or name another file by --roles")
    if strange := sorted(given.keys() - {"encoding", "separator"}):
        raise LogError(f"unknown parameter {strange[0]!r}; known to --guess: encoding, separator")
    roles, notes = guess_roles(read_log(log, **given), **given)
    roles.write(path, notes)
    print("\n".join(notes))
    print(f"{path}: written; check it, then run the same command without --guess")
    return 0


def _stem(log):
    """The name of a log's file for a folder's name; 'log' where there is none."""
    name = Path(log.partition("#")[0]).name.partition(".")[0]
    return name if name.replace("-", "").replace("_", "").isalnum() else "log"


def _data(options):
    from causal_lib.data import sources

    try:
        if options.action == "list":
            print(sources.listing().to_string())
        elif options.action == "fetch":
            print(
                "fetched:",
                " ".join(sources.fetch(options.names or None)) or "nothing, all is there",
            )
        else:
            states = sources.check(options.names or None)
            print(states.to_string())
            return 0 if (states["state"] == "ok").all() else 1
    except sources.SourceError as error:
        return _fail(error, 1)
    return 0


def _report(options):
    from causal_lib.paths import write_text
    from causal_lib.tooling import readme

    for name, page in readme.PAGES.items():
        path = paths.ROOT / name
        try:
            write_text(path, readme.updated(path.read_text(encoding="utf-8"), page))
        except (FileNotFoundError, ValueError) as error:
            return _fail(error, 1)
        print(f"{name}: blocks are up to date")
    write_text(paths.COMMITTED / "RESULTS.md", readme.results_page())
    print("reports/RESULTS.md: written")
    write_text(paths.COMMITTED / "glossary.md", readme.glossary_page())
    print("reports/glossary.md: written")
    return 0


def _book(options):
    from causal_lib.tooling import book

    out = options.output or paths.ROOT / "reports" / "book"
    if out.exists() and any(out.iterdir()) and not (out / "objects.inv").exists():
        return _fail(f"--output {out} is a folder that holds no book; it would be lost", 2)
    warned = book.build(out)
    if warned:
        return _fail("the book was made, but:\n" + "\n".join(warned), 1)
    print(f"{os.path.relpath(out)}/index.html, in Chinese {os.path.relpath(out)}/zh/index.html")
    return 0


def _bench(options):
    from causal_lib.experiments import bench

    unknown = [name for name in options.names if not bench.known(name)]
    if unknown:
        return _fail(
            f"unknown benchmark {', '.join(unknown)}; known: {', '.join(bench.known())}", 2
        )
    if options.all and options.names:
        return _fail("bench takes names or --all, not both", 2)
    if not options.all and not options.names:
        print("\n".join(bench.known()))
        return _fail("bench needs names of these, or --all for all of them, which takes hours", 2)
    chosen = [part for name in options.names for part in bench.known(name)]
    for name in bench.known() if options.all else chosen:
        print(os.path.relpath(bench.write(name)), flush=True)
    return 0


def _reproduce(options):
    from causal_lib.data.sources import SourceError
    from causal_lib.experiments.reproductions import LEDGER, reproduce, table

    try:
        found = reproduce(options.names, n_jobs=options.jobs)
    except (SourceError, ValueError) as error:
        return _fail(error, 1)
    print(table(found).to_string(index=False))
    print(f"written to {os.path.relpath(LEDGER)}")
    return 0


def _pretrain(options):
    from dataclasses import replace

    if options.what == "effects":
        from causal_lib.experiments.pretrained.effects.recipe import QUICK, Recipe, pretrain
        from causal_lib.inference.pretrained.weights import PATH

        loss = "error"
    else:
        from causal_lib.discovery.engines.pretrained.weights import PATH
        from causal_lib.experiments.pretrained.recipe import QUICK, Recipe, pretrain

        loss = "loss"
    recipe = replace(QUICK if options.quick else Recipe(), seed=options.seed)
    path = options.output or (
        paths.ROOT / "data" / "cache" / "quick.safetensors" if options.quick else PATH
    )
    about = pretrain(recipe, path, n_jobs=options.jobs).about
    values = ", ".join(f"{value:.4f}" for value in about["validation"][loss])
    print(
        f"{os.path.relpath(path)}: {about['networks']} networks, validation {loss} {values}, "
        f"{about['minutes']} minutes"
    )
    return 0


def _fail(message, status):
    print(f"causal-lib: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
