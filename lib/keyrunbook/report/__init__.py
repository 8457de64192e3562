"""The report of a run: one HTML file, for somebody who was not there and has no AWS at hand.

`content` says what is in it, a pure function of the ledger's lines and of `result.json`; `page`
makes HTML of that. Nothing is asked of AWS, and what the run did not write down is said to be not
known. Two reports of one run have the same bytes.
"""
