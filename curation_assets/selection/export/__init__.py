"""The chosen documents with their texts as a dataset in a folder, and what is done with such a folder."""
