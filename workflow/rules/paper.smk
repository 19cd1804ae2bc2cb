localrules:
    collect,
    table,
    figure,
    table_and_figure,
    claims,
    report,
    records,
    share,


rule collect:
    input:
        records=OF.records,
        reference=f"{REFERENCE}/{{item}}.csv",
    output:
        f"{OUT}/tidy/{{item}}/context.json",
    log:
        f"{OUT}/logs/collect/{{item}}.log",
    params:
        item=OF.context,
        root=OF.root,
        digest=OF.digests["paper"],
    shell:
        "python -m mpno collect --item {params.item:q} --root {params.root:q} --reference {input.reference:q} --out $(dirname {output:q}) > {log:q} 2>&1"


# One rule for each of the three things that an item may draw; only the files they write differ.
rule table:
    input:
        notebook=f"{NOTEBOOKS}/{{item}}.ipynb",
        context=f"{TIDY}/{{item}}/context.json",
    output:
        csv=report(f"{OUT}/tables/{{item}}.csv", category="Tables", labels={"item": "{item}"}),
        md=f"{OUT}/tables/{{item}}.md",
        tex=f"{OUT}/tables/{{item}}.tex",
        drawn=f"{OUT}/drawn/{{item}}.json",
        executed=f"{OUT}/notebooks/{{item}}.ipynb",
        html=f"{OUT}/notebooks/{{item}}.html",
    log:
        f"{OUT}/logs/notebook/{{item}}.log",
    wildcard_constraints:
        item=OF.names("table"),
    params:
        out=OF.out,
        digest=OF.digests["paper"],
    shell:
        "python -m mpno notebook {input.notebook:q} --tidy $(dirname {input.context:q}) --drawn {params.out:q} --out {output.executed:q} > {log:q} 2>&1"


use rule table as figure with:
    output:
        pdf=f"{OUT}/figures/{{item}}.pdf",
        png=report(f"{OUT}/figures/{{item}}.png", category="Figures", labels={"item": "{item}"}),
        svg=f"{OUT}/figures/{{item}}.svg",
        points=f"{OUT}/figures/{{item}}.csv",
        drawn=f"{OUT}/drawn/{{item}}.json",
        executed=f"{OUT}/notebooks/{{item}}.ipynb",
        html=f"{OUT}/notebooks/{{item}}.html",
    wildcard_constraints:
        item=OF.names("figure"),


use rule table as table_and_figure with:
    output:
        csv=report(f"{OUT}/tables/{{item}}.csv", category="Tables", labels={"item": "{item}"}),
        md=f"{OUT}/tables/{{item}}.md",
        tex=f"{OUT}/tables/{{item}}.tex",
        pdf=f"{OUT}/figures/{{item}}.pdf",
        png=report(f"{OUT}/figures/{{item}}.png", category="Figures", labels={"item": "{item}"}),
        svg=f"{OUT}/figures/{{item}}.svg",
        points=f"{OUT}/figures/{{item}}.csv",
        drawn=f"{OUT}/drawn/{{item}}.json",
        executed=f"{OUT}/notebooks/{{item}}.ipynb",
        html=f"{OUT}/notebooks/{{item}}.html",
    wildcard_constraints:
        item=OF.names("table_and_figure"),


# All items together, by the code that the plan has now; a run of some items, or a changed one, judges no claim.
rule claims:
    input:
        contexts=OF.contexts(),
        claims=HERE / "workflow" / "claims.yaml",
    output:
        json=f"{OUT}/claims/claims.json",
        csv=report(f"{OUT}/claims/claims.csv", category="Claims"),
        md=f"{OUT}/claims/claims.md",
        tex=f"{OUT}/claims/claims.tex",
    log:
        f"{OUT}/logs/claims.log",
    params:
        source=OF.digests["train"],
        digest=OF.digests["paper"],
    shell:
        "python -m mpno claims {input.contexts:q} --claims {input.claims:q} --source {params.source:q} --out $(dirname {output.json:q}) > {log:q} 2>&1"


rule report:
    input:
        files=OF.drawn(),
        contexts=[f"{TIDY}/{name}/context.json" for name in PLAN.items],
        claims=OF.claims(),
        drawn=OF.pages(),
    output:
        report(f"{OUT}/report/index.html", category="Report"),
    log:
        f"{OUT}/logs/report.log",
    params:
        claims=lambda _, input: ["--claims", input.claims] if input.claims else [],
        tidy=lambda _: TIDY,
        times=OF.times_file,
        jobs=OF.jobs,
        digest=OF.digests["paper"],
    shell:
        "python -m mpno report {input.drawn:q} {params.claims:q} --tidy {params.tidy:q} --times {params.times:q} --jobs {params.jobs:q} --out {output:q} > {log:q} 2>&1"


# Not part of `all`: nobody needs it who has the results.
rule share:
    input:
        f"{OUT}/report/index.html",
    output:
        f"{OUT}/report/mpno-{PLAN.scale}.zip",
    log:
        f"{OUT}/logs/share.log",
    params:
        digest=OF.digests["paper"],
    shell:
        "python -m mpno share {input:q} --out {output:q} > {log:q} 2>&1"


# What must hold of all records, whatever they say; it runs last.
rule records:
    input:
        contexts=OF.contexts(),
        drawn=OF.pages(),
        records=OF.all_records(),
    output:
        f"{OUT}/records.txt",
    log:
        f"{OUT}/logs/records.log",
    params:
        root=OF.root,
        digest=OF.digests["paper"],
    shell:
        "python -m mpno records {input.contexts:q} --root {params.root:q} --out {output:q} > {log:q} 2>&1"


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
