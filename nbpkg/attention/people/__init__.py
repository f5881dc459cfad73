"""Where networks for several people look: Grad-CAM films, and how much of it lies on faces, bodies and motion."""
