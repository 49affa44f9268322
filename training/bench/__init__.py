"""What the bench measures with torch, one contestant a process, so that peak memory is its own."""
