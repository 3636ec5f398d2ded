"""A first study in cells: train two formulations, draw from them, rank them, and add a formulation of your own.

For editors that run a cell at a time (Jupyter with jupytext, VS Code, Spyder), or ``python examples/first_study.py``.
"""

# %% [markdown]
# # A first study
# Handwritten digits, a few minutes on two CPU cores, nothing to download.

# %%
from pathlib import Path

import matplotlib.pyplot as plt

import flowbench as fb

RUN = "runs/first-study"
STEPS, SEEDS = 300, 2

# %% [markdown]
# ## Train
# The options are those of `python -m bench.grid`. Running this again trains only what is not there yet.

# %%
run = fb.train(["rf/lognorm(0,1)", "eps/linear"], datasets="digits", steps=STEPS, seeds=SEEDS, out=RUN)

# %% [markdown]
# ## Sample
# `load` opens any run, in a later session too. Every caption has an image, uint8 `[n, height, width, 3]`.

# %%
run = fb.load(RUN)
captions = [f"a photo of the digit {word}" for word in ("zero", "one", "two", "three", "four", "five", "six")]
for name in run:
    images = run[name].sample(captions, steps=25, cfg=2.5, seed=0)
    fb.sheet(images).save(f"{name.replace('/', '-')}.png")

# %% [markdown]
# ## Rank
# The study's ranking, as a pandas frame: each number with its 95 % interval.

# %%
COLUMNS = ["formulation", "rank_all", "val_loss", "fid", "fid_low", "fid_high", "clip"]
print(fb.rank(run)[COLUMNS].to_string(index=False))

# %% [markdown]
# ## A formulation of your own
# A path and a target, in a file that the training processes load. It joins the run: the same data, noise and network.

# %%
Path("late.py").write_text('''
from formulations import Formulation, register
from formulations.targets import velocity


@register("my/late(k)")
def late(k: float = 2.0) -> Formulation:
    """a = 1 - t, b = t^k; output the velocity: noise that enters late."""
    return Formulation(path=lambda t: (1 - t, t**k), target=velocity, sampler="lognorm(0,1)")
''')
run = fb.train([*run.names, "late.py:late"], datasets="digits", steps=STEPS, seeds=SEEDS, out=RUN)

# %% [markdown]
# ## One figure

# %%
ranking = fb.rank(run)
middle, low, high = (ranking[column] for column in ("fid", "fid_low", "fid_high"))
plt.figure(figsize=(6, 2))
plt.errorbar(middle, ranking["formulation"], xerr=[middle - low, high - middle], fmt="o", capsize=3)
plt.gca().invert_yaxis()  # the best on top
plt.xlabel("FID, lower is better")
plt.tight_layout()
plt.savefig("first-study.png", dpi=150)
