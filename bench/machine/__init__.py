"""The machine that a process runs on: cores, memory, device, matrix products, folders, and timers."""
