"""From a choice to its texts: a folder of Parquet or JSON lines that trainers read, with a manifest and a card; and what is done with it."""
