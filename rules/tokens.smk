"""
Corpora, tokenised once by each model's tokenizer.

REQUIRED INPUTS:

    results/models/{model}/

OUTPUTS:

    tokens/{model}/{corpus}.npy                    the joined corpus as one stream of tokens
    tokens/{model}/{corpus}.ends.npy               the byte of the text at which each token ends
    tokens/{model}/{corpus}.documents.npy          the documents, each tokenised by itself
    tokens/{model}/{corpus}.documents.offsets.npy  the place at which each document starts
    tokens/{model}/{corpus}.documents.characters.npy   the number of characters of each document
    tokens/{model}/{corpus}.instructions.npy           the records of a set of instructions
    tokens/{model}/{corpus}.instructions.offsets.npy   the place at which each record starts
    tokens/{model}/{corpus}.instructions.responses.npy the number of tokens before each response
"""


rule tokens:
    input:
        model=lambda w: plan.base_model(w.model),
    output:
        tokens=f"{plan.results}/tokens/{{model}}/{{corpus}}.npy",
        ends=f"{plan.results}/tokens/{{model}}/{{corpus}}.ends.npy",
    log:
        f"{plan.logs}/tokens/{{model}}/{{corpus}}.log",
    benchmark:
        f"{plan.benchmarks}/tokens/{{model}}/{{corpus}}.tsv"
    priority: 1
    conda:
        "../envs/torch.yaml"
    threads: plan.threads
    resources:
        **plan.resources.tokenising(),
    params:
        job_spec=lambda w: plan.job_specs.tokens(w.model, w.corpus).json(),
    message:
        "Tokenising {wildcards.corpus} for {wildcards.model}"
    script:
        "../scripts/tokens.py"


rule tokens_of_documents:
    input:
        model=lambda w: plan.base_model(w.model),
    output:
        tokens=f"{plan.results}/tokens/{{model}}/{{corpus}}.documents.npy",
        offsets=f"{plan.results}/tokens/{{model}}/{{corpus}}.documents.offsets.npy",
        characters=f"{plan.results}/tokens/{{model}}/{{corpus}}.documents.characters.npy",
    log:
        f"{plan.logs}/tokens/{{model}}/{{corpus}}.documents.log",
    benchmark:
        f"{plan.benchmarks}/tokens/{{model}}/{{corpus}}.documents.tsv"
    priority: 1
    conda:
        "../envs/torch.yaml"
    threads: plan.threads
    resources:
        **plan.resources.tokenising(),
    params:
        job_spec=lambda w: plan.job_specs.tokens(w.model, w.corpus).json(),
    message:
        "Tokenising the documents of {wildcards.corpus} for {wildcards.model}"
    script:
        "../scripts/tokens_of_documents.py"


rule tokens_of_instructions:
    input:
        model=lambda w: plan.base_model(w.model),
    output:
        tokens=f"{plan.results}/tokens/{{model}}/{{corpus}}.instructions.npy",
        offsets=f"{plan.results}/tokens/{{model}}/{{corpus}}.instructions.offsets.npy",
        responses=f"{plan.results}/tokens/{{model}}/{{corpus}}.instructions.responses.npy",
    log:
        f"{plan.logs}/tokens/{{model}}/{{corpus}}.instructions.log",
    benchmark:
        f"{plan.benchmarks}/tokens/{{model}}/{{corpus}}.instructions.tsv"
    priority: 1
    conda:
        "../envs/torch.yaml"
    threads: plan.threads
    resources:
        **plan.resources.tokenising(),
    params:
        job_spec=lambda w: plan.job_specs.tokens(w.model, w.corpus).json(),
    message:
        "Tokenising the instructions of {wildcards.corpus} for {wildcards.model}"
    script:
        "../scripts/tokens_of_instructions.py"
