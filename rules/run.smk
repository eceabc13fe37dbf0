"""
A run: the jobs that it is told to do, its progress, and what its jobs have cost.

OUTPUTS:

    progress.json     written while the run goes on, and at its end
    tables/cost.csv   written at its end
"""

from meltpoint.workflow.target_jobs import mend_target_jobs

mend_target_jobs(sys.argv)


onstart:
    plan.bill.begin(workflow)


onsuccess:
    plan.bill.end()
    if Path(plan.page).exists():
        print(f"To read: {plan.page}", file=sys.stderr)


onerror:
    plan.bill.end()
