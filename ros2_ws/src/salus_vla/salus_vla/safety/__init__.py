"""What keeps a policy's arm out of trouble: pure cores and file formats, numpy in and numpy out."""
