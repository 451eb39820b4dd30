"""Work on many cores: a pool of processes, and the steps each image takes in one."""
