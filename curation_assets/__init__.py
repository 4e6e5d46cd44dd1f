"""Choose the data that language models are trained on: scores, subsets and their comparison as Dagster assets."""
