"""`curation ui`: Dagster's UI, its daemon and the code server, started, guarded and stopped as one."""
