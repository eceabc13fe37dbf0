"""Links to a local model's files that follow the model where it is moved.

Snakemake rebuilds all results that depend on a job that ran, even if the job has only repaired a link.
The links are therefore repaired before Snakemake looks at them.
"""

import os
from pathlib import Path


def follow(linked: Path, source: Path) -> None:
    """Points the links in the folder `linked` to the files of their names in `source`.

    The folder keeps its time of change. Links to other content may be mended too: the job specs hold
    the hash of the content, and the model is then linked anew. Nothing happens where the model is not
    linked yet.
    """
    if not linked.is_dir():
        return
    stat = linked.stat()
    moved = [link for link in linked.iterdir() if link.is_symlink() and _is_moved(link, source)]
    for link in moved:
        mended = link.with_name(f".{link.name}.mended")
        mended.unlink(missing_ok=True)
        mended.symlink_to((source / link.name).resolve())
        mended.replace(link)
    if moved:
        os.utime(linked, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _is_moved(link: Path, source: Path) -> bool:
    file = (source / link.name).resolve()
    return file.exists() and link.readlink() != file
