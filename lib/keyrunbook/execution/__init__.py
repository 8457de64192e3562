"""Running the notebooks without a person: engine, warm kernel, progress, result.

Nothing is imported here: the kernels import `warm`, the command line imports `runner`, and neither
pays for the other.
"""
