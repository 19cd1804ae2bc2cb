# Times are comparable only while nothing else runs, so this rule takes every core.
rule measure:
    input:
        OF.timed_data,
    output:
        f"{ROOT}/measure/{{arms}}.json",
    log:
        f"{ROOT}/logs/measure/{{arms}}.log",
    threads: workflow.cores or 1
    resources:
        gpu=GPUS,
        mem="4GB",
        runtime=120,
    params:
        specs=OF.timed_specs,
        digest=OF.digests["measure"],
    shell:
        "python -m mpno measure --spec {params.specs:q} --data {input:q} --out {output:q} > {log:q} 2>&1"
