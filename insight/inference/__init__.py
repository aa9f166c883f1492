"""From a trained model and images to instances, pictures and files."""
