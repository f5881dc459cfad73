"""Where networks look: explanation methods for pictures, videos and sequences, one file each."""

from nbpkg.attention.explain.methods import METHODS, Method, Options, explain
from nbpkg.attention.explain.randomise import randomise

__all__ = ["METHODS", "Method", "Options", "explain", "randomise"]
