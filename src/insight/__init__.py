"""What a person reads: status, report, doctor, tables. Reads only, changes nothing."""
