"""`python -m curation_assets.cli`: the command without its console script."""

import sys

from curation_assets.cli.main import main

sys.exit(main())
