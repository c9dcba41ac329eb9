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
        help="benchmarks, e.g. discovery or discovery.speed; all when left out",
    )

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

    pretrain = commands.add_parser(
        "pretrain", help="make the weights of the pretrained discoverer anew (an hour on 2 cores)"
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
        "data": _data,
        "report": _report,
        "book": _book,
        "bench": _bench,
        "reproduce": _reproduce,
        "pretrain": _pretrain,
    }
    return verbs[options.command](options)


def _run(options):
    from causal_lib.tooling.runner import UsageError, run, summary

    try:
        given = {}
        for text in options.given:
            name, equals, value = text.partition("=")
            if not equals:
                # the text itself may be a secret in the wrong place
                raise UsageError("-p takes name=value")
            if name in given:
                raise UsageError(f"parameter {name!r} is given twice")
            given[name] = value
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
    parts = [part for name in options.names for part in bench.known(name)]
    for name in parts or bench.known():
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

    from causal_lib.discovery.engines.pretrained.weights import PATH
    from causal_lib.experiments.pretrained.recipe import QUICK, Recipe, pretrain

    recipe = replace(QUICK if options.quick else Recipe(), seed=options.seed)
    path = options.output or (
        paths.ROOT / "data" / "cache" / "quick.safetensors" if options.quick else PATH
    )
    about = pretrain(recipe, path, n_jobs=options.jobs).about
    loss = ", ".join(f"{value:.4f}" for value in about["validation"]["loss"])
    print(
        f"{os.path.relpath(path)}: {about['networks']} networks, validation loss {loss}, "
        f"{about['minutes']} minutes"
    )
    return 0


def _fail(message, status):
    print(f"causal-lib: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
