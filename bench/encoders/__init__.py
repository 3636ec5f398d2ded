"""Image and text features: they condition networks and measure images."""
