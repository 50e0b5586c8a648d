"""Video in and out: where frames come from and go to, their sound, and where a video is cut."""
