"""What every room needs: configuration, errors with a way out, whole-or-nothing files, progress."""
