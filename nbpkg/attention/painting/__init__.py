"""What people paint: strokes on disk, the painter in the browser, and maps made of strokes."""
