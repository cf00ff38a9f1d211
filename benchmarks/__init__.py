"""Measurements against peers: `python -m benchmarks [--quick] [names]`.

Each benchmark is a module with a table of cases and a function per peer (`_base.py`). Every peer of a case runs in its
own process with one thread (`_worker.py`), the timed calls of all peers take turns (`_harness.py`), and a time counts
only if the answer passed its check (`_report.py` names the others below the table).
"""
