"""The console script: it imports nothing before Ctrl-C is one line."""

import os
import sys


def main() -> int:
    """Run the command line; return its exit status."""
    try:
        from curation_assets.cli.main import main as command

        return command()
    except KeyboardInterrupt:
        print(
            "\ncuration: stopped; the same command continues where this one was", file=sys.stderr, flush=True
        )
        os._exit(130)  # what was being imported is taken apart by nobody
