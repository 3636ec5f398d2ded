"""Gets workers started and keeps them going: on this machine's device slots, or on a Slurm cluster."""
