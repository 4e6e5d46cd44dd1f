"""`curation ui` as people start and stop it: a process of its own, in the background, with its lock and its children."""
