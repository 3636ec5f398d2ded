"""``python -m bench.speed``: what the harness costs, measured on this machine. A benchmark, not a test.

Every line is the ratio of two things that are timed in alternation in one run, except plain facts (wall seconds of a
command, memory, rates of the chip), which carry a value and a unit. :mod:`bench.speed.timing` holds how a line is measured,
:mod:`bench.speed.sizes` at what size; the parts lie in ``training_steps``, ``evaluation`` and ``commands``.
:mod:`bench.speed.device_rates` measures a device for a dry run, in a process of its own.
"""
