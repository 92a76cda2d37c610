"""What a graph needs of the machine: a domain of its own, shared memory, a security policy."""
