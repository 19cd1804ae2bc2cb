rule data:
    output:
        f"{ROOT}/data/{{slug}}.h5",
    log:
        f"{ROOT}/logs/data/{{slug}}.log",
    resources:
        mem="2GB",
        runtime=60,
    params:
        spec=OF.data_spec,
        digest=OF.digests["data"],
    shell:
        "python -m mpno data make --spec {params.spec:q} --out {output:q} > {log:q} 2>&1"
