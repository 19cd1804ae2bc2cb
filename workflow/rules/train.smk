rule train:
    input:
        OF.run_data,
    output:
        spec=f"{ROOT}/runs/{{run}}/spec.json",
        history=f"{ROOT}/runs/{{run}}/history.csv",
        range=f"{ROOT}/runs/{{run}}/range.csv",
        metrics=f"{ROOT}/runs/{{run}}/metrics.json",
        model=f"{ROOT}/runs/{{run}}/model.safetensors",
    log:
        f"{ROOT}/logs/train/{{run}}.log",
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=NEEDS.train_mib,
        runtime=NEEDS.train_minutes,
    params:
        spec=OF.run_spec,
        digest=OF.digests["train"],
    shell:
        "python -m mpno train --spec {params.spec:q} --data {input:q} --out $(dirname {output.metrics:q}) > {log:q} 2>&1"
