"""Usage import: reads CSV files record by record, in memory that does not grow with the file.

`records` splits files, `sources` parses their records into lines (with `lines`, `columns` and `fields`), `importer`
records them.

Memory used per file, beside a batch of lines:

- The id of each account that the file names.
- For a log without request ids: how often each of the last `numbering.WINDOW` distinct lines was seen. This is about
  40 MB, or more if more lines than that have the same timestamp. It is needed to number equal lines.
- For rollups that replace: 16 bytes per line taken (about 100 with the set around them).
"""
