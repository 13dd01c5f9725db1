"""What everything else stands on: errors, files, parameters, random numbers, the machine, checkpoints."""
