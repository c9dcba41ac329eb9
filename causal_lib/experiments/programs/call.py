"""Call one function and print what it returns: ``python call.py MODULE.FUNCTION ARGUMENTS``.

MODULE lies in this folder or can be imported; ARGUMENTS are the keywords, as JSON. The last line of
the output is the result as JSON; whatever the function prints itself comes before it.
"""

import importlib
import json
import sys


def call(function: str, arguments: dict) -> object:
    """What ``function``, named as MODULE.FUNCTION, returns for these keywords."""
    module, name = function.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**arguments)


if __name__ == "__main__":
    print("\n" + json.dumps(call(sys.argv[1], json.loads(sys.argv[2])), allow_nan=False))
