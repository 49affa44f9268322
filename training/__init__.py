"""Everything that imports torch: data, training, checkpoints, generation. Needs neither app nor worker."""

import os

# OpenMP's threads spin while they wait for each other. On a machine that does something else too, a spinning thread
# holds the core the other one needs: two threads then trained at 20 tokens/s, waiting passively at 55 to 80. Must be
# set before torch is imported; whoever sets it already has a reason.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
