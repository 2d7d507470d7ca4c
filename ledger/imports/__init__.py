"""Importing usage from CSV files, record by record, in memory that does not grow with the file.

`records` splits files, `sources` reads their records into lines (`lines`, by `columns` and `fields`), `importer`
records them.

What is kept for a file, beside a batch of lines: the id of each account that it names; of a log without request
ids, how often each of the last `numbering.WINDOW` distinct lines was seen (about 40 MB; more only where more lines
than that have one and the same timestamp), which is what finding the n-th such line takes; of rollups that replace,
16 bytes for each line taken (about 100 with the set around them).
"""
