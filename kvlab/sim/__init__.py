"""LIBERO as kvlab uses it: tasks, episodes, render profiles, scripted experts and demonstrations."""

from kvlab.sim.gl import ensure_gl

ensure_gl()  # first of all: mujoco and robosuite bind to a GL library as they are imported
