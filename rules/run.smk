"""
Progress of a run, and what its jobs have cost.

OUTPUTS:

    progress.json     written while the run goes on, and at its end
    tables/cost.csv   written at its end
"""


onstart:
    plan.bill.progress.begin()


onsuccess:
    plan.bill.progress.end()
    plan.bill.write_ledger()


onerror:
    plan.bill.progress.end()
    plan.bill.write_ledger()
