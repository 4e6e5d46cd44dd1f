"""What is done before the UI is there: a look whether the state is free, and the corpus listed and its files registered."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from curation_assets.config.profile import Profile, ProfileError, load_profile
from curation_assets.engine.errors import one_line
from curation_assets.engine.lock import only_one


def main(ended: float) -> int:
    """Prepare the data folder of CURATION_PROFILE; return 0, or 2 with a line that says why not.

    `ended` is when the last UI of that folder did, in seconds since the epoch.
    """
    from curation_assets.defs.instance import instance_for, prepare
    from curation_assets.defs.run_graph import register_shards
    from curation_assets.defs.webserver.daemons import refuse_another

    profile: Profile | None = None
    try:
        profile = load_profile()
        prepare(profile)
        with instance_for(profile) as instance:
            refuse_another(instance, profile, ended, _tell)
        with ExitStack() as stack:
            try:
                stack.enter_context(only_one(profile))
            except ProfileError as busy:
                _tell(f"{busy}: that lists the corpus")
                return 0
            register_shards(profile, _tell)
    except Exception as error:
        reason = one_line(error, profile.data if profile else None)
        if reason is None:
            raise
        print(f"curation: {reason}", file=sys.stderr)
        return 2
    return 0


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
