localrules:
    collect,
    table,
    figure,
    report,


rule collect:
    input:
        runs=OF.records,
        timing=OF.timing,
        reference=f"{REFERENCE}/{{item}}.csv",
    output:
        context=f"{OUT}/tidy/{{item}}/context.json",
        errors=f"{OUT}/tidy/{{item}}/errors.csv",
        history=f"{OUT}/tidy/{{item}}/history.csv",
        arms=f"{OUT}/tidy/{{item}}/arms.csv",
        reference=f"{OUT}/tidy/{{item}}/reference.csv",
    log:
        f"{OUT}/logs/collect/{{item}}.log",
    params:
        item=OF.context,
        digest=OF.digests["paper"],
    shell:
        "python -m mpno collect --item {params.item:q} --timing {input.timing:q} --reference {input.reference:q} --out $(dirname {output.context:q}) > {log:q} 2>&1"


rule table:
    input:
        notebook=f"{NOTEBOOKS}/{{item}}.ipynb",
        context=rules.collect.output.context,
        tidy=[
            rules.collect.output.errors,
            rules.collect.output.history,
            rules.collect.output.arms,
            rules.collect.output.reference,
        ],
    output:
        csv=f"{OUT}/tables/{{item}}.csv",
        md=f"{OUT}/tables/{{item}}.md",
        tex=f"{OUT}/tables/{{item}}.tex",
        executed=f"{OUT}/notebooks/{{item}}.ipynb",
        html=f"{OUT}/notebooks/{{item}}.html",
    log:
        f"{OUT}/logs/notebook/{{item}}.log",
    wildcard_constraints:
        item=OF.names("table"),
    params:
        digest=OF.digests["paper"],
    shell:
        "python -m mpno notebook {input.notebook:q} --tidy $(dirname {input.context:q}) --drawn $(dirname {output.csv:q}) --out {output.executed:q} > {log:q} 2>&1"


rule figure:
    input:
        notebook=f"{NOTEBOOKS}/{{item}}.ipynb",
        context=rules.collect.output.context,
        tidy=[
            rules.collect.output.errors,
            rules.collect.output.history,
            rules.collect.output.arms,
            rules.collect.output.reference,
        ],
    output:
        pdf=f"{OUT}/figures/{{item}}.pdf",
        png=f"{OUT}/figures/{{item}}.png",
        svg=f"{OUT}/figures/{{item}}.svg",
        executed=f"{OUT}/notebooks/{{item}}.ipynb",
        html=f"{OUT}/notebooks/{{item}}.html",
    log:
        f"{OUT}/logs/notebook/{{item}}.log",
    wildcard_constraints:
        item=OF.names("figure"),
    params:
        digest=OF.digests["paper"],
    shell:
        "python -m mpno notebook {input.notebook:q} --tidy $(dirname {input.context:q}) --drawn $(dirname {output.pdf:q}) --out {output.executed:q} > {log:q} 2>&1"


rule report:
    input:
        drawn=OF.drawn(),
        contexts=OF.contexts(),
    output:
        f"{OUT}/report/index.html",
    log:
        f"{OUT}/logs/report.log",
    params:
        digest=OF.digests["paper"],
    shell:
        "python -m mpno report {input.contexts:q} --out {output:q} > {log:q} 2>&1"


# Not part of `all`: making the sets that no table uses takes longer than a smoke run may.
rule gallery:
    input:
        notebook=f"{NOTEBOOKS}/gallery.ipynb",
        data=OF.gallery(),
    output:
        OF.pictures(),
        executed=f"{OUT}/gallery/gallery.ipynb",
        html=f"{OUT}/gallery/gallery.html",
    log:
        f"{OUT}/logs/notebook/gallery.log",
    resources:
        mem="2GB",
        runtime=30,
    params:
        digest=OF.digests["paper"],
    shell:
        "python -m mpno notebook {input.notebook:q} {input.data:q} --drawn $(dirname {output.executed:q}) --out {output.executed:q} > {log:q} 2>&1"
