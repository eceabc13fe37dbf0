"""
Base checkpoints.

OUTPUTS:

    results/models/{model}/  a Hugging Face folder: trained, linked from a hub's cache or a folder, or
                             decoded from a GGUF file
"""


rule train_model:
    output:
        directory("results/models/{model}"),
    log:
        f"{plan.logs}/models/{{model}}.log",
    benchmark:
        f"{plan.benchmarks}/models/{{model}}.tsv"
    wildcard_constraints:
        model=plan.names("models", "train"),
    conda:
        "../envs/torch.yaml"
    threads: plan.training_threads
    resources:
        **plan.resources.training(),
    params:
        job_spec=lambda w: plan.job_specs.model(w.model).json(),
    message:
        "Training {wildcards.model} (minutes)"
    script:
        "../scripts/train_model.py"


rule fetch_model:
    output:
        directory("results/models/{model}"),
    log:
        f"{plan.logs}/models/{{model}}.log",
    benchmark:
        f"{plan.benchmarks}/models/{{model}}.tsv"
    wildcard_constraints:
        model=plan.names("models", "hub"),
    localrule: True
    conda:
        "../envs/torch.yaml"
    resources:
        **plan.resources.linking(),
    params:
        job_spec=lambda w: plan.job_specs.model(w.model).json(),
    message:
        "Fetching {wildcards.model} from the hub"
    script:
        "../scripts/fetch_model.py"


rule link_model:
    output:
        directory("results/models/{model}"),
    log:
        f"{plan.logs}/models/{{model}}.log",
    benchmark:
        f"{plan.benchmarks}/models/{{model}}.tsv"
    wildcard_constraints:
        model=plan.names("models", "path"),
    localrule: True
    conda:
        "../envs/torch.yaml"
    resources:
        **plan.resources.linking(),
    params:
        job_spec=lambda w: plan.job_specs.model(w.model).json(),
    message:
        "Linking {wildcards.model}"
    script:
        "../scripts/link_model.py"


rule decode_model:
    output:
        directory("results/models/{model}"),
    log:
        f"{plan.logs}/models/{{model}}.log",
    benchmark:
        f"{plan.benchmarks}/models/{{model}}.tsv"
    wildcard_constraints:
        model=plan.names("models", "gguf"),
    conda:
        "../envs/gguf.yaml"
    resources:
        **plan.resources.decoding(),
    params:
        job_spec=lambda w: plan.job_specs.model(w.model).json(),
    message:
        "Decoding {wildcards.model}"
    script:
        "../scripts/decode_model.py"


rule decode_package:
    output:
        directory("results/models/{model}"),
    log:
        f"{plan.logs}/models/{{model}}.log",
    benchmark:
        f"{plan.benchmarks}/models/{{model}}.tsv"
    wildcard_constraints:
        model=plan.names("models", "package"),
    conda:
        "../envs/gguf.yaml"
    resources:
        **plan.resources.decoding(),
    params:
        job_spec=lambda w: plan.job_specs.model(w.model).json(),
    message:
        "Fetching {wildcards.model} from the package index, and decoding it"
    script:
        "../scripts/decode_package.py"
