"""
Progress of a run, and what its jobs have cost.

OUTPUTS:

    progress.json     written while the run goes on, and at its end
    tables/cost.csv   written at its end
"""


onstart:
    plan.bill.begin(workflow)


onsuccess:
    plan.bill.end()
    if Path(plan.page).exists():
        print(f"To read: {plan.page}", file=sys.stderr)


onerror:
    plan.bill.end()
