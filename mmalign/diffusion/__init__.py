"""Image generators as policies: noise processes, the denoising policy, and what a model family must say of itself."""
