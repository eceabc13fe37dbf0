"""Context of every script: sets threads and log, and puts errors into one sentence."""

import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.compute import Compute, is_out_of_memory
from meltpoint.errors import MeltpointError
from meltpoint.files import clear_disk_errors
from meltpoint.timing import imports, phase, report
from meltpoint.workflow.gpu_lease import gpu_of_job
from meltpoint.workflow.job_specs.documents import JobSpec
from meltpoint.workflow.transformers_import import import_transformers
from meltpoint.workflow.tries import counted_tries

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake


@contextlib.contextmanager
def job(
    snakemake: "Snakemake", computes: bool = True, on_device: bool = False
) -> Iterator[tuple[JobSpec, Compute]]:
    """Yields the rule's job spec and the study's compute settings.

    For a job that `computes` with torch, threads and precision are fixed before anything is imported.
    A job that computes on the study's device (`on_device`) gets a card to itself if that is a GPU. A
    MeltpointError ends the job with one sentence, in the log and on standard error.
    """
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=log, filemode="w", level=logging.INFO, format="%(message)s")
    logging.captureWarnings(True)
    # With a full disk, logging would print an error for every line that it cannot write.
    logging.raiseExceptions = False
    # Waiting threads give up their core soon: on a shared machine spinning triples the time of jobs.
    os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    compute = Compute(**snakemake.config["compute"])
    spec = JobSpec.read(snakemake.params.job_spec)
    logging.info("%s", spec.model_dump_json(indent=1))
    try:
        with contextlib.ExitStack() as stack:
            if computes:
                with imports():
                    compute.start()
            if computes and on_device:
                with phase("wait for a GPU"):
                    stack.enter_context(gpu_of_job(compute, snakemake.resources.gpu))
            if computes:
                with imports():
                    import_transformers()
            target = Path(snakemake.output[0])
            stack.enter_context(clear_disk_errors(target))
            stack.enter_context(counted_tries(target, spec.json()))
            yield spec, compute
        logging.info("seconds %s", json.dumps(report()))
    except MeltpointError as error:
        _end(str(error))
    except ModuleNotFoundError as error:
        logging.exception("failed")
        _end(
            f"the package {error.name!r} is missing here: run with --use-conda, or install what the "
            "rule's file in envs/ lists"
        )
    except Exception as error:
        logging.exception("failed")
        if isinstance(error, MemoryError) or is_out_of_memory(error):
            _end(
                f"out of memory on {compute.device}: set compute.batch to a smaller number (it is "
                f"{compute.batch}), or compute.device to another device"
            )
        traceback.print_exc()
        sys.exit(1)


def source_file(snakemake: "Snakemake", section: str, name: str | None) -> Path | None:
    """Path of a study's local model, corpus, calibration or data; None where it is not local.

    The plan hands these paths on in the config. As an input or a param a path would make results
    stale when it is moved; what counts is its content, whose hash is in the job spec.
    """
    path = snakemake.config["sources"][section].get(name)
    return None if path is None else Path(path)


def calibration_files(snakemake: "Snakemake", settings: dict, tokens: str = "tokens") -> list[Path]:
    """Files of a job's calibration: the windows that are given, or its input named `tokens`."""
    windows = source_file(snakemake, "calibrations", settings.get("calibration"))
    return [windows] if windows else [Path(file) for file in getattr(snakemake.input, tokens)]


def training_files(snakemake: "Snakemake", settings: dict) -> dict[str, list[Path]]:
    """Files of each text that a step is trained on, by its use: given windows, or its input `texts`."""
    from meltpoint.study.training_texts import DEFAULT, FILES

    files, found = list(snakemake.input.texts), {}
    for use, text in settings.get("texts", {}).items():
        if "file" in text:
            found[use] = [source_file(snakemake, "calibrations", DEFAULT)]
        else:
            count = len(FILES[text["form"]])
            found[use] = [Path(files.pop(0)) for _ in range(count)]
    return found


def _end(sentence: str) -> None:
    logging.error("%s", sentence)
    print(f"\nError: {sentence}\n", file=sys.stderr)
    sys.exit(1)
