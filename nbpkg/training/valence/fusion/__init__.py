"""Fusion of several systems' decisions by support-vector regression, or of what they hold before their last layers."""
