# Times are comparable only while nothing else runs, so these two rules take every core.
rule time:
    input:
        OF.timed_data,
    output:
        f"{ROOT}/time/{{arms}}.json",
    log:
        f"{ROOT}/logs/time/{{arms}}.log",
    threads: workflow.cores or 1
    resources:
        gpu=GPUS,
        mem_mb=NEEDS.time_mib,
        runtime=NEEDS.time_minutes,
    params:
        root=OF.root,
        specs=OF.timed_specs,
        digest=OF.digests["time"],
    shell:
        "python -m mpno measure time --spec {params.specs:q} --root {params.root:q} --out {output:q} > {log:q} 2>&1"


rule probe_alone:
    input:
        OF.asked,
    output:
        f"{ROOT}/probes/{{probe}}.csv",
    log:
        f"{ROOT}/logs/probe/{{probe}}.log",
    wildcard_constraints:
        probe=OF.probes(exclusive=True),
    threads: workflow.cores or 1
    resources:
        gpu=GPUS,
        mem_mb=NEEDS.probe_mib,
        runtime=NEEDS.probe_minutes,
    params:
        question=OF.question,
        digest=OF.probe_digest,
    shell:
        "python -m mpno measure probe --ask {params.question:q} --out {output:q} > {log:q} 2>&1"


use rule probe_alone as probe with:
    wildcard_constraints:
        probe=OF.probes(exclusive=False),
    threads: 1


rule memory:
    input:
        OF.sized_data,
    output:
        f"{ROOT}/memory/{{arms}}.json",
    log:
        f"{ROOT}/logs/memory/{{arms}}.log",
    resources:
        mem_mb=NEEDS.memory_mib,
        runtime=NEEDS.memory_minutes,
    params:
        root=OF.root,
        specs=OF.sized_specs,
        digest=OF.digests["memory"],
    shell:
        "python -m mpno measure memory --spec {params.specs:q} --root {params.root:q} --out {output:q} > {log:q} 2>&1"
