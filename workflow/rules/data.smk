rule data:
    output:
        f"{ROOT}/data/{{slug}}.h5",
    log:
        f"{ROOT}/logs/data/{{slug}}.log",
    wildcard_constraints:
        slug=OF.sets(fetched=False),
    resources:
        mem_mb=NEEDS.data_mib,
        runtime=NEEDS.data_minutes,
    params:
        spec=OF.data_spec,
        digest=OF.digests["data"],
    shell:
        "python -m mpno data make --spec {params.spec:q} --out {output:q} > {log:q} 2>&1"


# A rule of its own, for on a cluster it runs where Snakemake does: compute nodes often have no internet.
use rule data as download with:
    wildcard_constraints:
        slug=OF.sets(fetched=True),
