"""Settings of a parameter file as the methods want them."""

from __future__ import annotations

from nbpkg.attention.explain.methods import Options
from nbpkg.settings.attention import ExplainSettings


def explain_options(settings: ExplainSettings, *, seed: int) -> Options:
    """Return what explanation methods can be set to.

    Parameters
    ----------
    settings
        Group ``compare.explain``.
    seed
        The experiment's seed, for SmoothGrad.
    """
    return Options(
        layer=settings.layer,
        batch_size=settings.batch_size,
        gradcam_weights=settings.gradcam_weights,
        occlusion_radius=tuple(settings.occlusion.radius),
        occlusion_stride=tuple(settings.occlusion.stride),
        occlusion_centred=settings.occlusion.centred,
        occlusion_fill=settings.occlusion.fill,
        steps=settings.steps,
        samples=settings.samples,
        noise=settings.noise,
        seed=seed,
    )
