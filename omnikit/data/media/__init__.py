"""Audio, image and video files to arrays and back."""
