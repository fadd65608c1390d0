"""Random programs of the language: written, run in every backend, and cut down to what differs.

`grow` writes one, `judge` runs it against torch in float64, `shrink` makes a failing one small. A program is a
`.plan` text whose comments tell what it is called with (`text`).
"""
