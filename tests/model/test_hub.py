"""Models and corpora of a hub, against stand-ins: no real hub is asked.

The stand-in for models is a small server on this machine that answers what `huggingface_hub` asks of
one. That for data sets is in the place of `datasets.load_dataset` and notes its arguments.
"""

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import httpx
import huggingface_hub
import pytest

from meltpoint.data.corpora import documents
from meltpoint.errors import MeltpointError
from meltpoint.model import base_models
from tests.support.project import ROOT
from tests.support.tiny_models import save_model

SHA = "0123456789abcdef0123456789abcdef01234567"


class StandIn(http.server.BaseHTTPRequestHandler):
    """Serves folders as repositories at one revision; one of them is gated."""

    folders: ClassVar[dict[str, Path]] = {}

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self.describe("/".join(parts[2:4]), parts[4], parts[5])
        elif parts[0] == "api":
            self.reply(404, b"{}", {})
        else:
            self.file("/".join(parts[:2]), parts[-1], body)

    def describe(self, name: str, what: str, revision: str) -> None:
        if name == "some/gated":
            self.reply(401, b"{}", {"X-Error-Code": "GatedRepo"})
        elif name not in self.folders:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision != SHA:
            self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            files = sorted(self.folders[name].iterdir())
            tree = [
                {"type": "file", "path": f.name, "oid": f"{f.name}-etag", "size": f.stat().st_size}
                for f in files
            ]
            siblings = [{"rfilename": f.name} for f in files]
            found = tree if what == "tree" else {"id": name, "sha": SHA, "siblings": siblings}
            self.reply(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def file(self, name: str, file: str, body: bool) -> None:
        data = (self.folders[name] / file).read_bytes()
        headers = {"ETag": f'"{file}-etag"', "X-Repo-Commit": SHA}
        self.reply(200, data, headers, body)

    def reply(self, status: int, data: bytes, headers: dict, body: bool = True) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body and self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The stand-in's address."""
    folder = tmp_path_factory.mktemp("hub")
    whole = save_model(folder / "whole", "llama")
    (whole / "tokenizer.py").write_text("raise SystemExit('code that comes with a model was run')")
    pickled = save_model(folder / "pickled", "llama")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    StandIn.folders = {"some/whole": whole, "some/pickled": pickled}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


# Repository, revision and the sentence that refuses it; None where it can be had.
WANTED = {
    "whole": ("some/whole", SHA, None),
    "gated": ("some/gated", SHA, "is gated: accept its licence on its page, then log in"),
    "missing": ("some/missing", SHA, "there is no such repository"),
    "revision": ("some/whole", "f" * 40, "no such revision"),
    "pickled": ("some/pickled", SHA, "holds no model.safetensors"),
}
FETCH = """
import json, sys
from pathlib import Path
from meltpoint.errors import MeltpointError
from meltpoint.model import base_models
errors = {}
for target, (name, revision, _) in json.loads(sys.argv[1]).items():
    try:
        base_models.fetch(name, revision, Path(target), "models.m")
    except MeltpointError as error:
        errors[target] = str(error)
print(json.dumps(errors))
"""


@pytest.fixture(scope="module")
def fetched(hub, tmp_path_factory):
    """The folder that `base_models.fetch` has fetched all to, and its errors by name.

    It runs in a process of its own: the hub's address is read at import.
    """
    folder = tmp_path_factory.mktemp("fetched")
    # GPTQModel, which another test may have imported, sets places of its own for the hub's cache.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    kept |= {"HF_ENDPOINT": hub, "HF_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FETCH, json.dumps(WANTED)]
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_a_model_is_linked_from_the_cache(fetched):
    folder, errors = fetched
    assert "whole" not in errors
    weights = folder / "whole/model.safetensors"
    assert weights.is_symlink()
    assert weights.resolve().is_relative_to(folder / "cache")
    assert not list((folder / "whole").glob("*.py"))
    assert json.loads((folder / "whole/meltpoint.json").read_text())["status"] == "ok"


@pytest.mark.parametrize("target", [target for target, wanted in WANTED.items() if wanted[2]])
def test_what_cannot_be_had_is_one_sentence(fetched, target):
    folder, errors = fetched
    assert errors[target].startswith("models.m")
    assert WANTED[target][2] in errors[target]
    assert "\n" not in errors[target]
    assert not (folder / target).exists()


@pytest.mark.parametrize("error", [httpx.ReadTimeout(""), httpx.ProxyError("no proxy"), OSError()])
def test_a_network_that_fails_is_one_sentence(monkeypatch, error):
    """The client's errors are no errors of the system, and some have no text."""

    def stand_in(*arguments, **keywords):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", stand_in)
    with pytest.raises(
        MeltpointError, match=r"^models.m: some/whole at .* not in the cache"
    ) as caught:
        base_models.snapshot("some/whole", SHA, "models.m")
    assert f"({type(error).__name__}" in str(caught.value)


HUB_CORPUS = {
    "hub": "Salesforce/wikitext",
    "revision": SHA,
    "config": "wikitext-2-raw-v1",
    "data_files": None,
    "split": "test",
    "field": "text",
    "join": "\n\n",
}


def test_a_corpus_is_asked_for_at_its_revision(monkeypatch):
    import datasets

    asked = []

    def stand_in(*arguments, **keywords):
        asked.append((arguments, keywords))
        return datasets.Dataset.from_dict({"text": ["one", "", "two"]})

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    assert documents(HUB_CORPUS, None) == ["one", "", "two"]
    keywords = {"data_files": None, "split": "test", "revision": SHA}
    assert asked == [(("Salesforce/wikitext", "wikitext-2-raw-v1"), keywords)]


def test_a_corpus_that_cannot_be_had_is_one_sentence(monkeypatch):
    import datasets

    def stand_in(*arguments, **keywords):
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    with pytest.raises(MeltpointError, match=r"Salesforce/wikitext at 0123.* cannot be loaded"):
        documents(HUB_CORPUS, None)


def test_a_column_with_gaps_is_one_sentence(monkeypatch):
    import datasets

    rows = datasets.Dataset.from_dict({"text": ["one", None]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *arguments, **keywords: rows)
    with pytest.raises(MeltpointError, match=r"^Salesforce/wikitext: .* entry 2 of 2"):
        documents(HUB_CORPUS, None)
