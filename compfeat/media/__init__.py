"""Video in and out: where frames come from and go to, and what is drawn on them."""
