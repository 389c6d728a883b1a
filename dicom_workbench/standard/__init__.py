"""What DICOM itself says: dictionary, values and their syntax, the attributes that become columns."""
