"""
A run: the summary of its plan, the jobs of its command line, its progress, and the cost of its jobs.

OUTPUTS:

    progress.json     written during the run and at its end
    tables/cost.csv   written at its end
"""

from meltpoint.workflow.target_jobs import mend_target_jobs

if workflow.is_main_process:
    print(plan.summary(workflow.resource_settings.cores), file=sys.stderr)
mend_target_jobs(sys.argv)


onstart:
    plan.bill.begin(workflow)


onsuccess:
    plan.bill.end()
    if Path(plan.page).exists():
        print(f"To read: {plan.page}", file=sys.stderr)


onerror:
    plan.bill.end()
