"""A bad study stops before anything runs, with one sentence that names the key."""

import copy
import functools
import operator
import re
import shutil
from pathlib import Path

import pytest
import yaml

from meltpoint.errors import MeltpointError
from meltpoint.workflow.plan import Plan
from tests.support import tiny_study

SWEEP, CHAINS = "sweeps.pruning", "chains.order.chains"


def change(study: dict, key: str, value: object) -> None:
    """Sets what stands at a dotted key."""
    *parents, last = key.split(".")
    for parent in parents:
        study = study[parent]
    study[last] = value


def refusal(folder: Path, study: dict) -> str:
    """What is said of a study, on one line; nothing if it is taken."""
    try:
        Plan(copy.deepcopy(study), [folder / "studies/tiny.yaml"], folder).targets()
    except MeltpointError as error:
        message = str(error).removeprefix("tiny.yaml: ")
        return message if "\n" not in message and message != str(error) else f"unclear: {error}"
    return ""


# The key to set, its value as YAML, and how what is said begins, with the key that is named.
BAD = [
    # Methods, settings, levels, chains.
    (f"{SWEEP}.methods", "[wandaa]", f"{SWEEP}.methods: unknown method 'wandaa': did you mean 'wanda'"),
    (CHAINS, "[magnitude@0.5+wnda@0.5]", f"{CHAINS}: unknown method 'wnda': did you mean 'wanda'"),
    (f"{SWEEP}.methods", "['sparsegpt,percdam=0.1']",
     f"{SWEEP}: unknown setting 'percdam' of sparsegpt: did you mean 'percdamp'"),
    (f"{SWEEP}.settings", "{blocksze: [1]}",
     f"{SWEEP}.settings: none of its methods has a setting 'blocksze': did you mean 'blocksize'"),
    (f"{SWEEP}.settings", "{percdamp: [-1]}",
     f"{SWEEP}: sparsegpt: setting percdamp: must be greater than 0; it is"),
    (f"{SWEEP}.settings", "{percdamp: []}", f"{SWEEP}.settings.percdamp: must have 1 or more entries"),
    (CHAINS, "['wanda@0.5,seed=1,seed=2']", f"{CHAINS}: 'wanda@0.5,seed=1,seed=2' gives one setting"),
    (CHAINS, "[wanda@4bit]",
     f"{CHAINS}: wanda@4bit: no unstructured method takes this level; wanda takes a sparsity"),
    (CHAINS, "[wanda@0.5+rtn@9bit]",
     f"{CHAINS}: rtn@9bit: no quantization method takes 9 bits; rtn takes 2, 3, 4, 5, 6, 7 or 8"),
    (CHAINS, "[wanda]", f"{CHAINS}: wanda needs a level: a sparsity between 0 and 1"),
    (f"{SWEEP}.levels", "[1.5]", f"{SWEEP}.levels: 1.5 is no sparsity: it must lie between 0 and 1"),
    (f"{SWEEP}.levels", "[70]", f"{SWEEP}.levels: 70 is no level: write 0.7 for 70 %; and YAML reads "
     'an unquoted 1:10 as the number 70; write "1:10" in quotes'),
    (f"{SWEEP}.levels", "[50]",
     f"{SWEEP}.levels: 50 is no sparsity: it must lie between 0 and 1: write 0.5 for 50 %"),
    (f"{SWEEP}.levels", "['70%']", f"{SWEEP}.levels: '70%' is no level: write 0.7"),
    (CHAINS, "[rtn@4bit,group_size=64]", f"{CHAINS}: 'group_size=64' is no step: a list in [...] is "
     "split at each comma: quote the step that it belongs to"),
    (f"{SWEEP}.methods", "[sparsegpt,blocksize=64]",
     f"{SWEEP}.methods: 'blocksize=64' is no step: a list"),
    ("tables.pruning.order", "[wandaa]", "tables.pruning.order: 'wandaa' is no row: did you mean"),
    ("figures.pruning.order", "[wandaa]", "figures.pruning.order: 'wandaa' is no row: did you mean"),
    ("corpora.fixed", "{path: tokens.npy}",
     "corpora.fixed.path: tokens.npy holds tokens: write `tokens:`"),
    ("corpora.prose.path", "tiny.yaml",
     "corpora.prose.path: tiny.yaml: the suffix .yaml is not known to hold text"),
    (f"{SWEEP}.levels", "['4:4']", f"{SWEEP}.levels: 4:4 is no pattern: N:M keeps N of every M"),
    (f"{SWEEP}.levels", "[half a lot]", f"{SWEEP}.levels: 'half a lot' is no level: write a sparsity"),
    (CHAINS, "[wanda@0.5++gptq]", f"{CHAINS}: '' is no step: a step is method@level,key=value"),
    (CHAINS, "['wanda@0.5,samples']",
     f"{CHAINS}: 'samples' in 'wanda@0.5,samples' is no setting: write key=value"),
    # What YAML makes of words without quotes.
    (f"{SWEEP}.levels", "[0.5, 2:4]", f"{SWEEP}.levels: 124 is no level: YAML reads an unquoted 2:4 "
     'as the number 124; write "2:4" in quotes'),
    (f"{SWEEP}.levels", "[4:8]", f"{SWEEP}.levels: 248 is no level: YAML reads an unquoted 4:8 "
     'as the number 248; write "4:8" in quotes'),
    ("study", "2026", "study: must be a text; quote what YAML reads otherwise; it is 2026"),
    (f"{SWEEP}.models", "[no]", f"{SWEEP}.models.0: must be a text; quote"),
    # Names that stand for nothing.
    (f"{SWEEP}.models", "[tiyn]", f"{SWEEP}.models: undefined model 'tiyn': did you mean 'tiny'"),
    ("calibrations.default.corpus", "pros",
     "calibrations.default.corpus: undefined corpus 'pros': did you mean 'prose'"),
    ("evaluations.prose-32.perplexity", "wikitext",
     "evaluations.prose-32.perplexity: undefined corpus 'wikitext': known: fixed, notes, prose"),
    (CHAINS, "['wanda@0.5,calibration=ptb']", f"{CHAINS}: undefined calibration 'ptb': known:"),
    (f"{SWEEP}.evaluations", "[prose-23]",
     f"{SWEEP}.evaluations: undefined evaluation 'prose-23': did you mean 'prose-32'"),
    ("tables.pruning.source", "prune",
     "tables.pruning.source: undefined sweep or group of chains 'prune'"),
    ("tables.pruning.value", "bits", "tables.pruning.value: pruning is not evaluated on 'bits'"),
    # What does not go together.
    (CHAINS, "['wanda@0.5,calibration=given,samples=4']",
     f"{CHAINS}: samples cannot be set: the calibration 'given' is given as windows"),
    ("calibrations.notes.corpus", "fixed",
     "calibrations.notes.sampling: fixed is given as tokens, which have no documents"),
    ("calibrations.notes", "{corpus: fixed, sampling: first}",
     "calibrations.notes.sampling: fixed is given as tokens, which have no documents"),
    ("calibrations.notes", "{corpus: notes, min_characters: 9}",
     "calibrations.notes: min_characters belongs to sampling: first"),
    (CHAINS, "['hgsp@0.3,calibration=ptb']", f"{CHAINS}: undefined calibration 'ptb': known:"),
    (CHAINS, "['hgsp@0.3,prior=blockwise,loss_split=test']",
     f"{CHAINS}: undefined calibration 'test': did you mean 'notes'"),
    # Files.
    ("models.tiny.path", "nowhere", "models.tiny.path: nowhere does not exist"),
    ("corpora.prose.path", "no.txt", "corpora.prose.path: no.txt does not exist"),
    ("corpora.fixed.tokens", "no.npy", "corpora.fixed.tokens: no.npy does not exist"),
    ("calibrations.given.windows", "no.npy", "calibrations.given.windows: no.npy does not exist"),
    ("corpora.prose.path", "model", "corpora.prose.path: model is a folder, a file is needed"),
    ("models.tiny.path", "prose.txt", "models.tiny.path: prose.txt is a file, a folder is needed"),
    # Keys and types.
    ("colour", "red", "colour: there is no such key"),
    ("evaluations.prose-32.window_count", "8",
     "evaluations.prose-32.window_count: there is no such key: did you mean 'windows'?"),
    ("calibrations.default.sample", "8", "calibrations.default.sample: there is no such key"),
    ("models.tiny", "{file: x}",
     "models.tiny: needs one of the keys train or hub or path or gguf or package"),
    ("models.tiny", "{gguf: no.gguf}", "models.tiny.gguf: no.gguf does not exist"),
    ("models.tiny", "{gguf: model}", "models.tiny.gguf: model is a folder, a file is needed"),
    ("models.tiny", "{package: x, version: '1', file: x.gguf}", "models.tiny.sha256: this key is"),
    ("models.tiny", "{package: x, version: '>=1', sha256: " + "0" * 64 + ", file: x.gguf}",
     "models.tiny.version: must be one version, such as 1.2.0; it is '>=1'"),
    ("models.tiny", "{package: x, version: '1', sha256: abc, file: x.gguf}",
     "models.tiny.sha256: must be a SHA-256"),
    ("models.tiny", "{hub: owner/name.git, revision: " + "0" * 40 + "}",
     "models.tiny.hub: no repository can have this name: write `owner/name` as on its page"),
    ("corpora.prose", "{hub: a/b--c, split: test, revision: " + "0" * 40 + "}",
     "corpora.prose.hub: no repository can have this name"),
    ("models.tiny", "{hub: owner/name, revision: main}", "models.tiny.revision: must be a commit"),
    ("calibrations.default.samples", "many", "calibrations.default.samples: must be a whole"),
    (f"{SWEEP}.methods", "wanda", f"{SWEEP}.methods: must be a list, as in [a, b]; it is"),
    ("evaluations", "", "evaluations: must be keys with values, as in {key: value}; it has"),
    ("compute.device", "gpu", "compute.device: must be auto, cpu, mps, cuda"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "said"), BAD)
def test_bad_study_is_refused_in_one_sentence(untouched, key, value, said):
    study = tiny_study.study()
    change(study, key, yaml.safe_load(value))
    assert refusal(untouched.folder, study).startswith(said)


def test_a_seed_of_windows_that_are_not_drawn_is_refused(untouched):
    study = tiny_study.study()
    change(study, "calibrations.notes", {"corpus": "notes", "sampling": "first"})
    change(study, CHAINS, ["wanda@0.5,calibration=notes,seed=1"])
    said = f"{CHAINS}: seed cannot be set: the calibration 'notes' has sampling: first"
    assert refusal(untouched.folder, study).startswith(said)


def test_a_key_that_is_there_twice_is_refused_with_the_study(untouched, tmp_path):
    """Snakemake hands on the last of them alone."""
    file = tmp_path / "a.yaml"
    file.write_text(f"{tiny_study.STUDY}tables: {{}}\n")
    with pytest.raises(
        MeltpointError, match=r"^a\.yaml: tables: this key is there twice, in lines"
    ):
        Plan(yaml.safe_load(file.read_text()), [file], untouched.folder, read_documents=True)


def test_a_file_that_is_no_gguf_is_refused(untouched):
    study = tiny_study.study()
    change(study, "models.tiny", {"gguf": "prose.txt"})
    said = refusal(untouched.folder, study)
    assert said.startswith("models.tiny.gguf: ")
    assert said.endswith("prose.txt is no GGUF file: its first bytes are not GGUF")


def test_bit_widths_have_no_curve_to_be_fitted(untouched):
    study = tiny_study.study()
    study["sweeps"]["bits"] = study["sweeps"]["pruning"] | {"methods": ["rtn"], "levels": ["4bit"]}
    plan = Plan(study, [untouched.folder / "studies/tiny.yaml"], untouched.folder)
    assert plan.curves() == ["pruning"]


@pytest.mark.parametrize("key", ["study", "models", "evaluations", "tables.pruning.source"])
def test_missing_key_is_named(untouched, key):
    study = tiny_study.study()
    *parents, last = key.split(".")
    part = study
    for parent in parents:
        part = part[parent]
    del part[last]
    assert refusal(untouched.folder, study) == f"{key}: this key is needed"


WRONG = [None, 5, -0.5, True, "x", "", "../x", [], [None], {}, {"a": 1}, {5: 6}, [[1]]]


def keys(part: object, above: tuple = ()):
    """The keys of all that is in a study, as tuples."""
    if isinstance(part, list):
        part = dict(enumerate(part))
    if isinstance(part, dict):
        for key, value in part.items():
            yield (*above, key)
            yield from keys(value, (*above, key))


def test_nothing_of_a_wrong_type_ends_in_a_traceback(untouched):
    """Whatever stands in the place of any of the study's values is taken or refused."""
    messages = []
    for location in keys(tiny_study.study()):
        for value in WRONG:
            study = tiny_study.study()
            part = functools.reduce(operator.getitem, location[:-1], study)
            part[location[-1]] = value
            messages.append(refusal(untouched.folder, study))
    assert sum(map(bool, messages)) > 500
    assert not [message for message in messages if message.startswith("unclear")]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[0.5, \"2:4\"]", "[0.5, 2:4]", 'sweeps.pruning.levels: 124 is no level: YAML reads an '
         'unquoted 2:4 as the number 124; write "2:4" in quotes'),
        ("path: prose.txt", "path: prose.text", "corpora.prose.path: prose.text does not exist"),
    ],
)  # fmt: skip
def test_sentence_reaches_the_terminal(fresh, old, new, sentence):
    fresh.replace("studies/tiny.yaml", old, new)
    result = fresh.snakemake("-n")
    assert result.code != 0
    assert f"Error: tiny.yaml: {sentence}" in result.output
    assert_no_traceback(result.output)
    assert not (fresh.folder / "results").exists()


def test_two_studies_are_refused(fresh):
    """Snakemake would mix them key by key."""
    shutil.copy(fresh.folder / "studies/tiny.yaml", fresh.folder / "studies/other.yaml")
    result = fresh.snakemake("-n", studies=("studies/tiny.yaml", "studies/other.yaml"))
    assert result.code != 0
    assert re.search(r"Error: one study at a time: \S+tiny.yaml and \S+other.yaml", result.output)
    assert_no_traceback(result.output)


def test_study_replaces_the_default_one(fresh):
    """Nothing of config.yaml is left when another study is given."""
    default = "study: default\nmodels: {absent: {path: absent}}\nevaluations: {x: {size: bytes}}\n"
    (fresh.folder / "config.yaml").write_text(default)
    assert fresh.snakemake("-n").code == 0
    assert "models.absent.path: absent does not exist" in fresh.snakemake("-n", studies=()).output


def test_paths_are_relative_to_the_study(fresh, tmp_path):
    """Wherever the results go; they go where --directory says."""
    result = fresh.snakemake("-n", "--directory", str(tmp_path / "elsewhere"))
    assert result.code == 0, result.output
    assert re.search(r"link_model +2\n", result.output)


def test_pickled_model_is_refused_before_anything_runs(fresh):
    model = fresh.folder / "studies/model"
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    result = fresh.snakemake("-n")
    assert result.code != 0
    assert "models.tiny.path: studies/model holds pickled weights (pytorch_model.bin)" in (
        result.output
    )
    assert_no_traceback(result.output)


def assert_no_traceback(output: str) -> None:
    assert "Traceback" not in output
    assert 'File "' not in output
