"""What reward scorers are made of: checkpoints, preparation of images, CLIP-type models, ports, judges."""
