"""The vocabulary: every name that a config, an experiment file or a record may hold."""

from __future__ import annotations

from typing import Literal, get_args

Scale = Literal["smoke", "desk", "gpu", "paper"]
Dataset = Literal["darcy", "navier-stokes", "shallow-water", "car", "ahmed"]
Source = Literal["fetch", "generate", "import"]
"""Where samples come from: public files, a solver, or files of the user's own."""
SourceChoice = Literal["auto", "fetch", "generate", "import"]
"""What a person may ask for; auto is settled before there is a spec."""
Medium = Literal["public", "fno2020"]
"""What a generated Darcy medium is made as: like the public set, or as the literature states it."""
Model = Literal["fno", "tfno", "sfno", "gino", "unet"]
Setting = Literal["full", "amp", "half", "mixed", "schedule"]
Transform = Literal["fft", "matmul"]
RunTransform = Literal["fft", "matmul", "sht"]
"""What a run may name: `sht` is the spherical models' word for `fft` along longitudes."""
SphericalTransform = Literal["sht", "matmul"]
Factorization = Literal["dense", "cp", "tucker", "tt"]
WeightLayout = Literal["joint", "corners"]
ContractionOption = Literal["A", "B", "C"]
PathStrategy = Literal["flops", "memory", "default"]
Stabiliser = Literal["none", "tanh", "hard_clip", "sigma_clip", "pre_scale", "norm"]
Saved = Literal["mxfp8", "mxfp8_e5m2", "mxfp8_up", "fp8_e4m3_sat", "fp8_e5m2_sat"]
"""What the backward pass needs may be kept in: a byte per number, and in mxfp8 one more for every 32."""
Middle = Literal["code", "amp"]
"""The middle phase of the precision schedule, as the authors' code has it or as amp alone."""
Loss = Literal["l2", "h1"]
Optimizer = Literal["adam", "adamw"]
Scheduler = Literal["none", "step", "one-cycle"]
Norm = Literal["none", "group", "instance"]
Skip = Literal["linear", "soft-gating", "identity"]
Embedding = Literal["nerf", "transformer"]
"""Frequencies of the sines and cosines that describe a coordinate."""
Evidence = Literal["native", "emulated", "simulated", "predicted", "stand-in data"]
"""How a number came about.

native: the processor has the instructions, detected at run time. emulated: the format's values and
roundings on widened operands. simulated: a half `fft` on a CPU, rounded after each one-dimensional
pass; rounding inside a GPU's transform is not modelled, so its errors are a lower estimate.
predicted: from traced shapes and dtypes. stand-in data: not the data set the paper used.
"""

SCALES: tuple[Scale, ...] = get_args(Scale)
DATASETS: tuple[str, ...] = get_args(Dataset)
MODELS: tuple[str, ...] = get_args(Model)
SETTINGS: tuple[str, ...] = get_args(Setting)
STABILISERS: tuple[str, ...] = get_args(Stabiliser)
MIDDLES: tuple[str, ...] = get_args(Middle)
SAVED: tuple[str, ...] = get_args(Saved)
EVIDENCE: tuple[str, ...] = get_args(Evidence)
