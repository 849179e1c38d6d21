"""Is a trajectory fit to be trained on: the doctor's checks, schema checks, named repairs, masks."""
